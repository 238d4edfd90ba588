//! The steps of a restore: seed, plan, price, agree, thaw, fetch what is readable, wait.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use icecore_engine::error::Error;
use icecore_engine::format::{JobRecord, Time};
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::{
    RestoreOptions, RestorePlan, RestoreSummary, Selection, check_target, plan, prepare_target,
    real_path, restore, seed, thaw,
};
use icecore_engine::progress::Progress;
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::{Requests, Tier};

use super::show::{Priced, show_plan, show_summary};
use super::tier_of;
use crate::args::WaitArgs;
use crate::commands::{consent, poll};
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{dollars, now, show};

/// What the user agreed to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consent {
    pub max_cost: Option<f64>,
    pub wait: bool,
    pub detach: bool,
    /// Somebody can be asked.
    pub ask: bool,
}

impl Consent {
    pub fn of(session: &Session, args: &WaitArgs) -> Consent {
        Consent {
            max_cost: args.max_cost,
            wait: args.wait,
            detach: args.detach,
            ask: consent::can_ask(session),
        }
    }
}

/// A restore on its way.
pub struct Flow<'a> {
    pub session: &'a Session,
    pub selection: &'a Selection<'a>,
    pub options: RestoreOptions,
    pub record: &'a JobRecord,
    /// `None`: as many as it takes to fetch everything.
    pub days: Option<u32>,
    pub consent: Consent,
    pub started: Instant,
}

impl Flow<'_> {
    fn repository(&self) -> &Repository {
        self.selection.snapshot.trees.repository()
    }

    fn tier(&self) -> Tier {
        tier_of(self.record)
    }

    /// Looks through local folders for chunks that need not be fetched.
    pub fn seed(&mut self, folders: &[PathBuf]) -> Result<(), Failure> {
        if folders.is_empty() {
            return Ok(());
        }
        let bar = self.session.bar("looking at the seed");
        let found = seed(self.repository(), folders, &bar);
        bar.finish();
        self.options.seed = Some(Arc::new(found?));
        Ok(())
    }

    fn plan(&self) -> Result<RestorePlan, Failure> {
        let bar = self.session.bar("planning");
        let plan = plan(self.selection, &self.options, &bar);
        bar.finish();
        Ok(plan?)
    }

    /// Prices a plan by every tier, with what this run has spent so far.
    fn price(&self, plan: &RestorePlan) -> Result<Option<Priced>, Failure> {
        let Some(prices) = self.session.prices()? else { return Ok(None) };
        let days = self.days.unwrap_or_else(|| plan.days());
        let mut spent = self.repository().store.requests();
        if plan.states()[0] > 0 {
            // The journal: its listing, its record, and two marks.
            spent.list += 1;
            (0..3).for_each(|_| spent.add_put("", 0));
        }
        if let Some(class) = prices.gap(&spent.plus(&plan.predict(Tier::Bulk, days))) {
            let table = format!("the prices of {} do not tell what {class} costs", prices.region);
            self.session.report.note(&table);
            return Ok(None);
        }
        let tiers = Tier::ALL.map(|tier| {
            let bill = prices.bill(&spent.plus(&plan.predict(tier, days)));
            let spared = prices.bill(&plan.spared(tier, days)).total_usd();
            (tier, plan.hours(self.repository(), tier), bill, spared)
        });
        Ok(Some(Priced { tiers, days, region: prices.region, date: prices.date }))
    }

    /// Shows the plan and does nothing.
    pub fn only_plan(&self) -> Result<u8, Failure> {
        let plan = self.plan()?;
        let priced = self.price(&plan)?;
        show_plan(self.session, &plan, priced.as_ref());
        self.bound(priced.map(|priced| priced.bill(self.tier())))?;
        Ok(code::DONE)
    }

    /// Restores. `job` is the journal of the run that this one goes on with.
    pub fn run(&mut self, mut job: Option<Job>) -> Result<u8, Failure> {
        // Before anything is paid for.
        if let Err(error) = check_target(self.repository(), &self.options) {
            // The same command again goes on with what it began.
            let begun = matches!(error, Error::TargetNotEmpty { .. }) && job.is_none();
            job = if begun { self.same_job()? } else { None };
            if job.is_none() {
                return Err(error.into());
            }
            self.options.resume = true;
        }
        let _alone =
            self.repository().lock_target(&real_path(&self.options.target))?.ok_or_else(|| {
                Failure::new(
                    code::FAILED,
                    format!("another restore is at work in {}", show(&self.options.target)),
                    Some("let it end, or stop it first"),
                )
            })?;
        let mut plan = self.plan()?;
        let priced = self.price(&plan)?;
        let bill = priced.as_ref().map(|priced| priced.bill(self.tier()));
        self.bound(bill)?;
        let [cold, thawing, _] = plan.states();
        if cold + thawing == 0 || !self.repository().store.can_thaw() {
            let _lock = job.as_ref().map(|job| self.lock(job)).transpose()?;
            return self.fetch(plan, job, priced);
        }
        if cold > 0 {
            // What is replaced frees its space again, but nobody knows when.
            let adds = self.options.overwrite.is_none();
            prepare_target(&self.options, if adds { plan.write_bytes } else { 0 })?;
        }
        if job.is_none() {
            job = self.same_job()?;
        }
        let days = self.days.unwrap_or_else(|| plan.days());
        if cold > 0 {
            let again = job.as_ref().map(|job| self.is_new_to(job, &plan, bill));
            // Who began the job agreed to it: to that price, and up to the first copy that ends.
            if again != Some(false) {
                self.agree(&plan, priced.as_ref(), again.unwrap_or(false))?;
            }
        }
        let mut job = match job {
            Some(job) => job,
            None => self.begin(days, bill)?,
        };
        let lock = self.lock(&job)?;
        let bar = self.session.bar("asking for thaws");
        let asked = thaw(self.repository(), &mut plan, self.tier(), days, &bar);
        bar.finish();
        if let Err(error) = asked {
            let id = job.id.short();
            self.session.report.note(&format!("`icecore jobs resume {id}` goes on with it"));
            return Err(error.into());
        }
        // Also when an earlier run asked for everything and was killed before this mark.
        if !job.asked {
            self.repository().job_asked(&mut job)?;
        }
        let code = self.fetch(plan, Some(job), priced);
        drop(lock);
        code
    }

    /// Two processes that fetch for one job would pay twice and be in each other's way.
    fn lock(&self, job: &Job) -> Result<std::fs::File, Failure> {
        self.repository().lock_job(&job.id)?.ok_or_else(|| {
            Failure::new(
                code::FAILED,
                format!("another process is at work on job {}", job.id.short()),
                Some("let it end, or stop it first"),
            )
        })
    }

    /// Finds a job that was begun by the same command: it is gone on with.
    fn same_job(&self) -> Result<Option<Job>, Failure> {
        let plain = |record: &JobRecord| JobRecord {
            created: Time::default(),
            days: 1,
            agreed_micro_usd: None,
            ..record.clone()
        };
        let wanted = plain(self.record);
        let (jobs, _) = self.repository().jobs()?;
        Ok(jobs.into_iter().find(|job| plain(&job.record) == wanted))
    }

    /// Returns whether going on with a job would cost what nobody agreed to: thawing again what
    /// was thawed before, or more than what was agreed.
    fn is_new_to(&self, job: &Job, plan: &RestorePlan, bill: Option<Bill>) -> bool {
        let dearer = match (job.record.agreed_micro_usd, bill) {
            (Some(agreed), Some(bill)) => bill.total_usd() * 1e6 > agreed as f64 * 1.02 + 1000.0,
            _ => false,
        };
        dearer || has_expired(job, plan, self)
    }

    fn begin(&self, days: u32, bill: Option<Bill>) -> Result<Job, Failure> {
        let agreed = bill.map(|bill| bill.total_usd().max(self.consent.max_cost.unwrap_or(0.0)));
        let agreed_micro_usd = agreed.map(|dollars| (dollars * 1e6).ceil() as u64);
        let record = JobRecord { days, agreed_micro_usd, ..self.record.clone() };
        let (job, kept) = self.repository().begin_job(record)?;
        if !kept {
            self.session.report.note(
                "the store does not let this role write under jobs/: only this machine can go on with the restore",
            );
        }
        Ok(job)
    }

    /// Stops before anything is paid for that is over the bound.
    fn bound(&self, bill: Option<Bill>) -> Result<(), Failure> {
        let total = bill.map(|bill| bill.total_usd());
        let hint = "--plan shows what for; --tier bulk and --seed DIR make it cheaper";
        consent::bound(self.session, self.consent.max_cost, total, "nothing was requested", hint)
    }

    /// Asks whether a thaw may be paid for, unless the command line says so. `again` is set if
    /// packs were thawed before and their copies have expired.
    fn agree(
        &self,
        plan: &RestorePlan,
        priced: Option<&Priced>,
        again: bool,
    ) -> Result<(), Failure> {
        let Consent { max_cost, wait, detach, ask } = self.consent;
        if max_cost.is_some() || (!again && (wait || detach)) {
            return Ok(());
        }
        let cost = priced.map(|priced| dollars(priced.bill(self.tier()).total_usd()));
        let cost = cost.unwrap_or_else(|| "an unknown amount".to_owned());
        if ask {
            show_plan(self.session, plan, priced);
            let tier = self.tier().name();
            if consent::yes(
                self.session,
                &format!("Ask for the thaw by tier {tier}, for about {cost}?"),
            ) {
                return Ok(());
            }
        }
        let [cold, ..] = plan.states();
        let (message, hint) = if again {
            (
                format!(
                    "{cold} packs are cold that were thawed before and have expired, or that nobody agreed to pay for: about {cost}"
                ),
                "agree to it with --max-cost USD; nothing was requested".to_owned(),
            )
        } else {
            (
                format!("{cold} packs must be thawed first, for about {cost}; nothing was requested"),
                "--plan shows the price; --detach or --wait asks for the thaw, --max-cost USD bounds it"
                    .to_owned(),
            )
        };
        Err(Failure { code: code::TOO_COSTLY, message, hint: Some(hint), ..Failure::default() })
    }

    /// Fetches what is readable, and the rest as it becomes so, or ends until the next run.
    fn fetch(
        &mut self,
        mut plan: RestorePlan,
        mut job: Option<Job>,
        priced: Option<Priced>,
    ) -> Result<u8, Failure> {
        let mut total = RestoreSummary::default();
        let mut polls = 0;
        'rounds: loop {
            let before = plan.states()[2];
            self.options.unreadable = Arc::new(plan.unreadable());
            let bar = self.session.bar("restore");
            bar.expect(plan.files, plan.bytes);
            let restored = restore(self.selection, &self.options, &bar);
            bar.finish();
            add(&mut total, restored?);
            // What this run has finished stays, and what is put beside it from here on too.
            self.options.resume = true;
            self.options.delete = false;
            if total.files_waiting == 0 {
                break;
            }
            if self.options.unreadable.is_empty() {
                // Copies ended, or the seed changed, while it was read.
                plan = self.plan()?;
            }
            if !self.consent.wait {
                break;
            }
            while plan.states()[2] == before {
                if plan.states()[0] > 0 {
                    // Copies of what was fetched already may end.
                    plan = self.plan()?;
                    if plan.states()[0] > 0 {
                        job = self.journal(job, &plan, priced.as_ref())?;
                        return Err(expired(job.as_ref()));
                    }
                    continue 'rounds;
                }
                self.pause(&plan, polls)?;
                polls += 1;
                let bar = self.session.bar("looking at packs");
                let looked = plan.look(self.repository(), &bar);
                bar.finish();
                looked?;
            }
        }
        job = match total.files_waiting {
            0 => job,
            _ => self.journal(job, &plan, priced.as_ref())?,
        };
        let over = total.files_waiting == 0 && total.files_failed == total.files_damaged;
        if let Some(job) = job.as_ref().filter(|_| over) {
            self.repository().end_job(&job.id)?;
        }
        let job = job.map(|job| job.id);
        show_summary(self, &plan, &total, job.as_ref(), priced.as_ref())?;
        if total.files_waiting > 0 {
            return Ok(code::THAW_REQUESTED);
        }
        if total.files_failed > total.files_damaged {
            let hint = "hint: run it again with --overwrite if-changed: what is whole stays";
            self.session.report.note(hint);
        }
        if total.files_damaged > 0 {
            self.session.report.note(
                "hint: `icecore check --read-data` names all damage; with --repair --seed DIR it stores again what a local folder still holds",
            );
        }
        Ok(match (total.files_damaged, total.files_failed) {
            (0, 0) => code::DONE,
            (0, _) => code::FAILED,
            _ => code::DAMAGED,
        })
    }

    /// Begins a job if files wait for what the plan took for readable, and there is none yet.
    fn journal(
        &self,
        job: Option<Job>,
        plan: &RestorePlan,
        priced: Option<&Priced>,
    ) -> Result<Option<Job>, Failure> {
        if job.is_some() || !self.repository().store.can_thaw() {
            return Ok(job);
        }
        let days = self.days.unwrap_or_else(|| plan.days());
        let mut begun = self.begin(days, priced.map(|priced| priced.bill(self.tier())))?;
        // Nobody agreed to a thaw: going on asks first.
        self.repository().job_asked(&mut begun)?;
        Ok(Some(begun))
    }

    /// Waits until it is time to look again, longer each time.
    fn pause(&self, plan: &RestorePlan, polls: u32) -> Result<(), Failure> {
        let [cold, thawing, readable] = plan.states();
        let all = cold + thawing + readable;
        self.session.report.note(&format!("{readable} of {all} packs are readable"));
        poll::pause(self.session, polls, &format!("waiting for {} packs", cold + thawing))
    }

    /// Returns all that was requested by this run.
    pub fn requests(&self) -> Requests {
        self.repository().store.requests()
    }
}

/// Copies have ended while others were waited for.
fn expired(job: Option<&Job>) -> Failure {
    let id = job.map(|job| job.id.short()).unwrap_or_default();
    let hint = format!("`icecore jobs resume {id} --max-cost USD` thaws them again");
    let message = "packs are cold that were readable: copies have expired, or the seed has changed";
    Failure::new(code::TOO_COSTLY, message, Some(&hint))
}

/// Returns whether packs that are cold now were thawed for this job before. After every thaw was
/// asked for, what is cold has expired; before that, what an interrupted run asked for may have.
fn has_expired(job: &Job, plan: &RestorePlan, flow: &Flow) -> bool {
    let hours = plan.hours(flow.repository(), flow.tier());
    let warm_until =
        job.record.created.seconds + i64::from(hours) * 3600 + i64::from(job.record.days) * 86_400;
    job.asked || now().seconds > warm_until
}

/// Adds what one more round did.
fn add(total: &mut RestoreSummary, round: RestoreSummary) {
    total.files += round.files;
    total.bytes = total.bytes.saturating_add(round.bytes);
    total.packs_fetched += round.packs_fetched;
    total.deleted += round.deleted;
    // Each round tries again what failed before.
    total.files_failed = round.files_failed;
    total.files_damaged = round.files_damaged;
    total.files_verified = round.files_verified;
    total.special_left = round.special_left;
    // What an earlier round restored is skipped by the next.
    total.files_skipped = round.files_skipped.saturating_sub(total.files - round.files);
    total.files_waiting = round.files_waiting;
}
