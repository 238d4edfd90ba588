//! `check`: verifies the archive. Reading packs back is planned, priced and agreed to like a restore.

mod checking;
mod copies;
mod hints;
pub mod posture;
mod show;
mod written;

use icecore_engine::ops::check::{Check, CheckReport, ReadPlan, RepairSummary, plan_read, thaw};
use icecore_engine::ops::cold::{ColdRow, PackStates, Quote};
use icecore_engine::ops::frozen::HOT;
use icecore_engine::ops::restore::{Seed, seed};
use icecore_engine::ops::suspects::EmptiedHistory;
use icecore_engine::repo::PackRow;
use icecore_engine::store::{ObjectState, Tier};

use self::checking::{Checking, Repaired};
use crate::args::CheckArgs;
use crate::code;
use crate::commands::restore::{are_thawing, ordered_by, ready_of, thaws_requested};
use crate::commands::{bill_text, consent, poll};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, count, hours_after, now, size};
use crate::{mistyped, signals};

/// Price in dollars above which a check asks first.
const PRICE_ASKED: f64 = 0.01;

pub fn run(session: &Session, args: &CheckArgs) -> Result<u8, Failure> {
    if args.posture {
        return posture::run(session);
    }
    let seeds = mistyped::all_local(&args.seed)?;
    let mut read_data = args.read_data || args.read_data_subset.is_some();
    let reader = read_data || args.repair;
    let repository = match session.open_to_check(reader, args.repair) {
        // The profile names a password, perhaps for other computers. A run continues without it instead of failing.
        Err(failure) if failure.needs_no_key && signals::is_of_run() && !args.repair => {
            session.report.log(&format!("{}: checking without the password", failure.message));
            read_data = false;
            session.open_to_check_without_key()?
        }
        opened => opened?,
    };
    let mut checking = Checking {
        session,
        args,
        seeds,
        repository: &repository,
        selected: None,
        newer: 0,
        waiting: 0,
        thawing: 0,
        refused: false,
        frozen_in_copies: Vec::new(),
        put_back_read: 0,
        ready_by: None,
    };
    let mut plan = if read_data { Some(checking.plan()?) } else { None };
    let bar = session.bar("check");
    let begun = Check::begin(&repository, &bar);
    bar.finish();
    let mut check = begun?;
    if let Some(Err(failure)) = plan.as_mut().map(|plan| checking.thaw(plan)) {
        // Report the findings so far, although the user did not agree to reading.
        checking.waiting = checking.selected.unwrap_or(0);
        checking.refused = failure.code == code::TOO_COSTLY;
        show::show(&checking, &checking.finish(&mut check)?, None)?;
        return Err(failure);
    }
    if let Some(plan) = plan {
        checking.read(&mut check, plan)?;
    }
    let mut report = checking.finish(&mut check)?;
    let mut repaired = checking.repair_from_copies(&mut check, &mut report)?;
    // A mirror can be repaired only from its archive.
    if args.repair && report.needs_repair() && !repository.is_mirror() {
        match checking.repair(&mut check, &report) {
            Ok(summary) => {
                let (before, first) = repaired.unwrap_or((report, RepairSummary::default()));
                let packs_put_back = first.packs_put_back;
                repaired = Some((before, RepairSummary { packs_put_back, ..summary }));
            }
            Err(failure) => {
                show::show(&checking, &report, None)?;
                return Err(failure);
            }
        }
        report = checking.finish(&mut check)?;
    }
    show::show(&checking, &report, repaired.as_ref())?;
    Ok(code_of(&checking, &report))
}

/// Returns the exit code of a check. Entries that do not count have one of their own.
fn code_of(checking: &Checking, report: &CheckReport) -> u8 {
    match (report.damaged() > 0, checking.waiting) {
        (true, _) => code::DAMAGED,
        // An emptied history may be the work of a thief.
        (false, 0) if report.emptied.iter().any(EmptiedHistory::is_strange) => code::DOUBTFUL,
        (false, 0) if !report.frozen.is_empty() => code::INCOMPLETE,
        (false, 0) => code::DONE,
        _ => code::THAW_REQUESTED,
    }
}

impl Checking<'_> {
    fn tier(&self) -> Tier {
        self.args.tier.into()
    }

    /// With `--repair`, puts damaged packs back from other copies, and replaces the report by what is found after that.
    /// Returns the earlier report and what was done, if anything was.
    fn repair_from_copies(
        &mut self,
        check: &mut Check,
        report: &mut CheckReport,
    ) -> Result<Option<Repaired>, Failure> {
        if !self.args.repair || report.errors.is_empty() {
            return Ok(None);
        }
        let put_back = self.put_back(check, report)?;
        let packs_put_back = put_back.packs;
        if packs_put_back == 0 {
            return Ok(None);
        }
        self.put_back_read = put_back.bytes_read;
        let before = std::mem::replace(report, self.finish(check)?);
        Ok(Some((before, RepairSummary { packs_put_back, ..RepairSummary::default() })))
    }

    /// Chooses what to read. Fails before anything is paid if the price exceeds the bound.
    fn plan(&mut self) -> Result<ReadPlan, Failure> {
        let bar = self.session.bar("asking the store");
        let plan = plan_read(self.repository, self.args.read_data_subset, &bar);
        bar.finish();
        let plan = plan?;
        if plan.continues {
            self.session
                .report
                .note("continuing with the data for which an earlier check has waited");
        }
        self.selected = Some(plan.packs.len());
        self.newer = plan.newer;
        let total = self.quote(&plan)?.map(|quote| quote.bill.total_usd());
        let hint = self.reads_less(&plan).unwrap_or("a larger --max-cost agrees to it");
        consent::bound(self.session, self.args.max_cost, total, "nothing was requested", hint)?;
        Ok(plan)
    }

    /// Returns how to read less, or why it cannot be less; `None` if only one object is read.
    fn reads_less(&self, plan: &ReadPlan) -> Option<&'static str> {
        match self.args.read_data_subset {
            _ if plan.continues => {
                Some("an earlier check waits for this data, and no share of it can be left out")
            }
            _ if plan.packs.len() < 2 => None,
            Some(_) => Some("a smaller --read-data-subset reads less"),
            None => Some("--read-data-subset 5% reads less"),
        }
    }

    /// Requests thaws. Asks the user first, as before a download that costs more than a cent.
    fn thaw(&mut self, plan: &mut ReadPlan) -> Result<(), Failure> {
        let cold = plan.states().cold;
        let thaws = cold > 0 && self.repository.store.can_thaw();
        // What is still thawing is not read now, so it costs nothing now.
        let mut paid = plan.clone();
        if !thaws && !self.args.wait {
            paid.packs.retain(|pack| pack.state.is_readable());
        }
        let quote = self.quote(&paid)?.filter(|_| !paid.packs.is_empty());
        if thaws || quote.is_some_and(|quote| quote.bill.total_usd() >= PRICE_ASKED) {
            self.agree(&paid, thaws)?;
        }
        if self.repository.store.can_thaw() {
            plan.begin(self.repository)?;
        }
        let hours = plan.hours(self.repository, self.tier());
        if !thaws {
            let noted = self.repository.check_thaw()?.filter(|_| plan.continues);
            self.ready_by = noted.map(|time| hours_after(time, hours));
            if self.ready_by.is_none() && plan.states().thawing > 0 {
                // A restore has requested them.
                let hours = |tier| plan.hours(self.repository, tier);
                self.ready_by = ordered_by(self.repository, None, hours)?;
            }
            return self.find_ready_by(plan, hours);
        }
        self.repository.check_thaws(now())?;
        self.ready_by = Some(hours_after(now(), hours));
        let bar = self.session.bar("requesting thaws");
        let asked = thaw(self.repository, plan, self.tier(), &bar);
        bar.finish();
        self.thawing = plan.states().thawing;
        let requested = cold.saturating_sub(plan.states().cold);
        asked.map_err(|error| Failure::from(error).after(thaws_requested(requested, cold)))?;
        self.find_ready_by(plan, hours)
    }

    /// Estimates when the thaws end, from the requests of this host: a check or a restore, each with
    /// its own tier.
    fn find_ready_by(&mut self, plan: &ReadPlan, hours: u32) -> Result<(), Failure> {
        if plan.states().thawing > 0 {
            let requested = plan.requested(self.repository)?;
            let others = self.ready_by.unwrap_or_else(|| hours_after(now(), hours));
            self.ready_by = Some(ready_of(requested, others));
        }
        Ok(())
    }

    /// Prices reading, including what this run has spent so far; `None` if the prices are not known.
    fn quote(&self, plan: &ReadPlan) -> Result<Option<Quote>, Failure> {
        let Some(prices) = self.session.prices()? else { return Ok(None) };
        let will = self.repository.store.requests().plus(&plan.predict(self.tier()));
        let hours = plan.hours(self.repository, self.tier());
        Ok(Quote::of(&prices, &will, plan.states(), hours))
    }

    /// Asks the user to agree to the price, unless the command line has a bound.
    fn agree(&self, plan: &ReadPlan, thaws: bool) -> Result<(), Failure> {
        let quote = self.quote(plan)?;
        let cost = quote.map_or("an unknown amount".to_owned(), |quote| bill_text(&quote.bill));
        let cold = plan.states().cold;
        let less = self.reads_less(plan).map(|less| format!("; {less}")).unwrap_or_default();
        let hint = format!("--max-cost USD agrees to a price{less}");
        let (question, message) = if thaws {
            let frozen = plan.packs.iter().filter(|pack| pack.state == ObjectState::Cold);
            let frozen = frozen.map(|pack| pack.bytes_there).sum::<u64>();
            let in_all = if cold == 1 { "" } else { " in all" };
            let packs = format!("{} ({}{in_all})", count(cold, "object"), size(frozen));
            let what = format!("the thaw of {packs} to read {}", agree(cold, "it", "them"));
            let hours = plan.hours(self.repository, self.tier());
            (
                consent::thaw_question(&what, self.tier(), hours, &cost),
                format!(
                    "reading {} costs {cost}, and {packs} must be thawed for it; nothing was requested",
                    size(plan.bytes())
                ),
            )
        } else {
            let bytes = size(plan.bytes());
            (
                format!("Read {bytes} from the bucket? It costs {cost}."),
                format!("reading {bytes} from the bucket costs {cost}; no photo data was read"),
            )
        };
        let asks = consent::can_ask(self.session);
        match consent::agrees(self.session, self.args.max_cost, asks, &question) {
            true => Ok(()),
            false => Err(Failure::new(code::TOO_COSTLY, message, Some(&hint))),
        }
    }

    /// Reads the readable packs, and with --wait the others as they become readable.
    fn read(&mut self, check: &mut Check, mut plan: ReadPlan) -> Result<(), Failure> {
        for polls in 0.. {
            let rows: Vec<PackRow> = plan.readable(true).cloned().collect();
            plan.packs.retain(|pack| !pack.state.is_readable());
            if !rows.is_empty() {
                let bar = self.session.bar("reading data");
                if self.repository.store.location().is_remote() {
                    bar.fetches(rows.iter().map(|row| row.bytes).sum());
                }
                let frozen = check.read(&rows, &bar);
                bar.finish();
                let frozen = frozen?;
                let frozen = rows.into_iter().filter(|row| frozen.contains(&row.key));
                plan.packs.extend(frozen.map(|row| ColdRow::new(row, ObjectState::Cold)));
            }
            self.waiting = plan.packs.len();
            if self.waiting == 0 || !self.args.wait || !self.repository.store.can_thaw() {
                break;
            }
            // Temporary copies that expired were paid for in vain. Do not thaw them again without asking.
            let thawing = plan.states().thawing;
            if thawing == 0 {
                break;
            }
            let total = self.selected.map_or(thawing, |packs| packs as u64);
            let ready = total.saturating_sub(thawing);
            poll::pause(self.session, polls, &poll::Packs { ready, total, by: self.ready_by })?;
            let bar = self.session.bar("asking the store");
            let looked = plan.look(self.repository, &bar);
            bar.finish();
            looked?;
        }
        self.thawing = plan.states().thawing;
        self.report_waiting(&plan);
        Ok(())
    }

    /// Reports what to do about the packs that cannot be read yet.
    fn report_waiting(&self, plan: &ReadPlan) {
        let report = &self.session.report;
        let PackStates { cold, thawing, .. } = plan.states();
        if !self.repository.store.can_thaw() && self.waiting > 0 {
            let left = self.waiting;
            report.note(&format!(
                "{} must first be thawed with the provider's own tools",
                count(left, "object")
            ));
            return;
        }
        if thawing > 0 {
            let hours = plan.hours(self.repository, self.tier());
            let thawing = are_thawing(thawing, "", self.ready_by, hours);
            let text = format!("{thawing}. Then run the same command again.");
            // This is the result of the command, so `-q` shows it too.
            if report.json { report.note(&text) } else { report.line(&text) }
        }
        if cold > 0 {
            report.note(&format!(
                "the thawed {} of {} expired before {} read; the same command requests the thaw again",
                agree(cold, "copy", "copies"),
                count(cold, "object"),
                agree(cold, "it was", "they were"),
            ));
        }
    }

    fn finish(&self, check: &mut Check) -> Result<CheckReport, Failure> {
        let bar = self.session.bar("check");
        let report = check.finish(&bar);
        bar.finish();
        Ok(report?)
    }

    fn repair(&self, check: &mut Check, found: &CheckReport) -> Result<RepairSummary, Failure> {
        if found.errors.iter().any(|error| error.is_closed) {
            // The data is not lost, but a repair would mark it as lost for all hosts.
            return Err(Failure::new(
                code::DAMAGED,
                "some objects belong to another user and only that user can read them: nothing was repaired",
                Some(
                    "run the command as that user, or let this user read the files of the archive",
                ),
            ));
        }
        if found.frozen.iter().any(|part| part.prefix != HOT) && !found.trees_checked {
            return Err(Failure::new(
                code::DAMAGED,
                "the folder listings are frozen, so icecore does not know which damaged parts are needed: nothing was repaired",
                Some(
                    "`icecore restore latest --target DIR --detach --max-cost USD` thaws the listings; then check again",
                ),
            ));
        }
        let bar = self.session.bar("reading local folders");
        let found = match self.seeds.is_empty() {
            true => Ok(Seed::default()),
            false => seed(self.repository, &self.seeds, &bar),
        };
        bar.finish();
        let found = found?;
        let bar = self.session.bar("repair");
        let repaired = check.repair(&found, now(), &bar);
        bar.finish();
        Ok(repaired?)
    }
}
