//! `check`: proves the archive. Reading packs back is planned, priced and agreed to like a restore.

mod show;

use std::io::{BufRead, IsTerminal, Write};

use icecore_engine::ops::check::{Check, CheckReport, ReadPlan, RepairSummary, plan_read, thaw};
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::{Seed, seed};
use icecore_engine::repo::{PackRow, Repository};
use icecore_engine::store::Tier;

use crate::args::{CheckArgs, TierName};
use crate::commands::poll;
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{dollars, now, size};

pub fn run(session: &Session, args: &CheckArgs) -> Result<u8, Failure> {
    let read_data = args.read_data || args.read_data_subset.is_some();
    let reader = read_data || args.repair;
    let repository = session.open_to_check(reader, args.repair)?;
    let mut checking = Checking { session, args, repository: &repository, waiting: 0 };
    let plan = if read_data { Some(checking.plan()?) } else { None };
    let bar = session.bar("check");
    let begun = Check::begin(&repository, &bar);
    bar.finish();
    let mut check = begun?;
    if let Some(plan) = plan {
        checking.read(&mut check, plan)?;
    }
    let mut report = checking.finish(&mut check)?;
    let mut repaired = None;
    if args.repair && !report.errors.is_empty() {
        let summary = checking.repair(&mut check)?;
        repaired = Some((report, summary));
        report = checking.finish(&mut check)?;
    }
    let damaged = !report.errors.is_empty();
    show::show(&checking, &report, repaired.as_ref())?;
    Ok(match (damaged, checking.waiting) {
        (true, _) => code::DAMAGED,
        (false, 0) => code::DONE,
        _ => code::THAW_REQUESTED,
    })
}

/// The report before a repair, and what the repair did.
type Repaired = (CheckReport, RepairSummary);

/// A check on its way.
struct Checking<'a> {
    session: &'a Session,
    args: &'a CheckArgs,
    repository: &'a Repository,
    /// Packs that were to be read and cannot be read yet.
    waiting: usize,
}

impl Checking<'_> {
    fn tier(&self) -> Tier {
        match self.args.tier {
            TierName::Bulk => Tier::Bulk,
            TierName::Standard => Tier::Standard,
        }
    }

    /// Chooses what to read, and asks for thaws if that was agreed to. Nothing is paid for before.
    fn plan(&self) -> Result<ReadPlan, Failure> {
        let mut plan = plan_read(self.repository, self.args.read_data_subset)?;
        if plan.goes_on {
            self.session.report.note("going on with the packs that an earlier check had thawed");
        }
        let bill = self.price(&plan)?;
        self.bound(bill)?;
        let (cold, _) = plan.waiting();
        if cold == 0 || !self.repository.store.can_thaw() {
            return Ok(plan);
        }
        self.agree(&plan, bill)?;
        let bar = self.session.bar("asking for thaws");
        let asked = thaw(self.repository, &mut plan, self.tier(), &bar);
        bar.finish();
        asked?;
        Ok(plan)
    }

    /// Prices reading, with what this run has spent so far; `None` if that is not known.
    fn price(&self, plan: &ReadPlan) -> Result<Option<Bill>, Failure> {
        let Some(prices) = self.session.prices()? else { return Ok(None) };
        let will = self.repository.store.requests().plus(&plan.predict(self.tier()));
        Ok(prices.gap(&will).is_none().then(|| prices.bill(&will)))
    }

    /// Stops before anything is paid for that is over the bound.
    fn bound(&self, bill: Option<Bill>) -> Result<(), Failure> {
        let (Some(max), true) = (self.args.max_cost, self.session.location()?.is_remote()) else {
            return Ok(());
        };
        let (message, hint) = match bill.map(|bill| bill.total_usd()) {
            Some(total) if total <= max => return Ok(()),
            Some(total) => (
                format!(
                    "it would cost about {}, more than {}; nothing was requested",
                    dollars(total),
                    dollars(max)
                ),
                "--read-data-subset 5% reads less; --tier bulk is cheaper",
            ),
            None => (
                "what it costs is not known, so --max-cost cannot hold".to_owned(),
                "give the prices of the store: --prices FILE",
            ),
        };
        Err(Failure::new(code::TOO_COSTLY, message, Some(hint)))
    }

    /// Asks whether a thaw may be paid for, unless the command line says so.
    fn agree(&self, plan: &ReadPlan, bill: Option<Bill>) -> Result<(), Failure> {
        if self.args.max_cost.is_some() || self.args.wait || self.args.detach {
            return Ok(());
        }
        let (cold, _) = plan.waiting();
        let bytes = plan.readable(false).map(|row| row.bytes).sum();
        let cost = bill.map_or("an unknown amount".to_owned(), |bill| dollars(bill.total_usd()));
        let report = &self.session.report;
        if std::io::stdin().is_terminal() && !report.json && !report.quiet {
            eprint!("Thaw {cold} packs of {} and read them, for about {cost}? [y/N] ", size(bytes));
            let _ = std::io::stderr().flush();
            let mut answer = String::new();
            let read = std::io::stdin().lock().read_line(&mut answer);
            if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
                return Ok(());
            }
        }
        Err(Failure::new(
            code::TOO_COSTLY,
            format!(
                "{cold} packs of {} must be thawed to be read, for about {cost}; nothing was requested",
                size(bytes)
            ),
            Some(
                "--detach or --wait asks for the thaw, --max-cost USD bounds it; --read-data-subset 5% reads less",
            ),
        ))
    }

    /// Reads what is readable, and with --wait the rest as it becomes so.
    fn read(&mut self, check: &mut Check, mut plan: ReadPlan) -> Result<(), Failure> {
        for polls in 0.. {
            let rows: Vec<PackRow> = plan.readable(true).cloned().collect();
            plan.packs.retain(|(_, state)| !state.is_readable());
            if !rows.is_empty() {
                let bar = self.session.bar("reading packs");
                let read = check.read(&rows, &bar);
                bar.finish();
                read?;
            }
            self.waiting = plan.packs.len();
            if self.waiting == 0 || !self.args.wait || !self.repository.store.can_thaw() {
                break;
            }
            if plan.waiting().0 > 0 {
                // Copies that have ended were paid for in vain: that is not done again unasked.
                break;
            }
            let left = self.waiting;
            self.session.report.note(&format!("{left} packs are being thawed"));
            poll::pause(self.session, polls, &format!("waiting for {left} packs"))?;
            plan.look(self.repository)?;
        }
        if self.waiting > 0 {
            let hours = plan.hours(self.repository, self.tier());
            let left = self.waiting;
            self.session.report.note(&if self.repository.store.can_thaw() {
                format!("{left} packs are being thawed: run the same command again in {hours} hours at most")
            } else {
                format!("{left} packs must be brought back with the provider's own tools first")
            });
        }
        Ok(())
    }

    fn finish(&self, check: &mut Check) -> Result<CheckReport, Failure> {
        let bar = self.session.bar("check");
        let report = check.finish(&bar);
        bar.finish();
        Ok(report?)
    }

    fn repair(&self, check: &mut Check) -> Result<RepairSummary, Failure> {
        let bar = self.session.bar("looking through local folders");
        let found = match self.args.seed.is_empty() {
            true => Ok(Seed::default()),
            false => seed(self.repository, &self.args.seed, &bar),
        };
        bar.finish();
        let found = found?;
        let bar = self.session.bar("repair");
        let repaired = check.repair(&found, now(), &bar);
        bar.finish();
        Ok(repaired?)
    }
}
