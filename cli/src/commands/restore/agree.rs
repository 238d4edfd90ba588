//! What is paid for, and who agreed to it: prices of a plan, the bound, the question, the journal.

use icecore_engine::format::{JobId, JobRecord, Time};
use icecore_engine::ops::cold::Quote;
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::RestorePlan;
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::Tier;

use super::order::{Consent, Priced, TierPrice, tier_of};
use super::show::show_plan;
use crate::commands::{bill_text, consent};
use crate::failure::{Failure, code};
use crate::session::Session;
use crate::units::{count, now};

/// A restore as the one who pays sees it.
#[derive(Clone, Copy)]
pub(super) struct Deal<'a> {
    pub session: &'a Session,
    pub repository: &'a Repository,
    pub record: &'a JobRecord,
    pub consent: Consent,
    /// The job that the command line names.
    pub resumed: Option<JobId>,
}

/// What a thaw is paid for that has not been agreed to yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A restore that begins.
    First,
    /// The photos of a job that has thawed only listings: their price was not known when it began.
    Photos,
    /// What was thawed before, or more than what was agreed to.
    Again,
}

impl Deal<'_> {
    pub fn tier(&self) -> Tier {
        tier_of(self.record)
    }

    /// Prices a plan by every tier, with what this run has spent so far.
    pub fn price(&self, plan: &RestorePlan, days: u32) -> Result<Option<Priced>, Failure> {
        let Some(prices) = self.session.prices()? else { return Ok(None) };
        let mut spent = self.repository.store.requests();
        if plan.states().cold > 0 {
            // The journal: its listing, its record, and two marks.
            spent.list += 1;
            (0..3).for_each(|_| spent.add_put("", 0));
        }
        if let Some(class) = prices.gap(&spent.plus(&plan.predict(Tier::Bulk, days))) {
            let table = format!("the prices of {} do not include {class}", prices.region);
            self.session.report.note(&table);
            return Ok(None);
        }
        let tiers = Tier::ALL.map(|tier| {
            let quote = Quote {
                bill: prices.bill(&spent.plus(&plan.predict(tier, days))),
                packs_frozen: plan.states().cold,
                hours: plan.hours(self.repository, tier),
            };
            let spared_usd = prices.bill(&plan.spared(tier, days)).total_usd();
            TierPrice { tier, quote, spared_usd }
        });
        let free_gb = prices.egress_free_gb() as u64;
        Ok(Some(Priced { tiers, days, free_gb, region: prices.region, date: prices.date }))
    }

    /// Stops before anything is paid for that is over the bound.
    pub fn bound(&self, bill: Option<Bill>) -> Result<(), Failure> {
        let total = bill.map(|bill| bill.total_usd());
        // A job has its tier already.
        let hint = match self.resumed {
            Some(id) => format!(
                "`icecore jobs {}` shows what you would pay for; --seed DIR makes it cheaper",
                id.short()
            ),
            None => "--plan shows what you would pay for; --seed DIR makes it cheaper, and so does --tier bulk instead of standard".to_owned(),
        };
        consent::bound(self.session, self.consent.max_cost, total, "nothing was requested", &hint)
    }

    /// Asks whether a thaw may be paid for, unless the command line has a bound: --detach and --wait say when a run
    /// ends, and name no price. `of` says what it is that must be thawed.
    pub fn agree(
        &self,
        plan: &RestorePlan,
        priced: Option<&Priced>,
        need: Need,
        of: &str,
    ) -> Result<(), Failure> {
        let Consent { max_cost, ask, .. } = self.consent;
        if max_cost.is_some() {
            return Ok(());
        }
        let cost = priced.map(|priced| bill_text(&priced.bill(self.tier())));
        let cost = cost.unwrap_or_else(|| "an unknown amount".to_owned());
        if ask {
            show_plan(self.session, plan, priced);
            let hours = plan.hours(self.repository, self.tier());
            let question = consent::thaw_question("the thaw", self.tier(), hours, &cost);
            if consent::yes(self.session, &question) {
                return Ok(());
            }
        }
        let packs = format!("{}{of}", count(plan.states().cold, "object"));
        let (message, hint) = match need {
            Need::Again => (
                format!(
                    "{packs} must be thawed again, because copies have expired or the price was not agreed to; it costs {cost}; nothing was requested"
                ),
                "--max-cost USD agrees to it",
            ),
            Need::Photos => (
                format!(
                    "the folder listings can be read now; {packs} with photos must be thawed first, which costs {cost}; nothing was requested"
                ),
                "--max-cost USD agrees to it",
            ),
            Need::First => (
                format!("{packs} must be thawed first, which costs {cost}; nothing was requested"),
                "--max-cost USD agrees to a price; --plan shows what you would pay for",
            ),
        };
        Err(Failure::new(code::TOO_COSTLY, message, Some(hint)))
    }

    /// Finds a job that was begun by the same command: this run continues it.
    pub fn same_job(&self) -> Result<Option<Job>, Failure> {
        let wanted = plain(self.record);
        let (jobs, _) = self.repository.jobs()?;
        Ok(jobs.into_iter().find(|job| plain(&job.record) == wanted))
    }

    /// Returns what going on with a job would cost that was not agreed to: thawing again what was
    /// thawed before, more than what was agreed, or the photos of a job that was begun for listings.
    pub fn is_new_to(&self, job: &Job, plan: &RestorePlan, bill: Option<Bill>) -> Option<Need> {
        let dearer = match (job.record.agreed_micro_usd, bill) {
            (Some(0), _) if job.asked => return Some(Need::Again),
            (Some(0), _) => return Some(Need::Photos),
            (Some(agreed), Some(bill)) => bill.total_usd() * 1e6 > agreed as f64 * 1.02 + 1000.0,
            _ => false,
        };
        (dearer || self.has_expired(job, plan)).then_some(Need::Again)
    }

    /// Returns the same of a job whose listings are thawed. What they cost was agreed to when it began.
    pub fn listings_are_new_to(
        &self,
        job: &Job,
        plan: &RestorePlan,
        bill: Option<Bill>,
    ) -> Option<Need> {
        match job.record.agreed_micro_usd {
            Some(0) => self.has_expired(job, plan).then_some(Need::Again),
            _ => self.is_new_to(job, plan, bill),
        }
    }

    /// Returns whether packs that are cold now were thawed for this job before. After every thaw was
    /// asked for, what is cold has expired; before that, what an interrupted run asked for may have.
    fn has_expired(&self, job: &Job, plan: &RestorePlan) -> bool {
        let hours = plan.hours(self.repository, self.tier());
        let days = job.record.days;
        let warm_until =
            job.record.created.seconds + i64::from(hours) * 3600 + i64::from(days) * 86_400;
        job.asked || now().seconds > warm_until
    }

    /// Begins a job whose price was agreed to. What is free was agreed to as well.
    pub fn begin(&self, days: u32, bill: Option<Bill>) -> Result<Job, Failure> {
        let agreed = bill.map(|bill| bill.total_usd().max(self.consent.max_cost.unwrap_or(0.0)));
        self.begin_agreed(days, agreed.map(|dollars| ((dollars * 1e6).ceil() as u64).max(1)))
    }

    /// Begins a job that thaws listings first. Of the photos nothing is agreed to, unless the command line sets a bound.
    pub fn begin_listings(&self, days: u32) -> Result<Job, Failure> {
        let agreed = self.consent.max_cost.map_or(0, |dollars| (dollars * 1e6).ceil() as u64);
        self.begin_agreed(days, Some(agreed))
    }

    fn begin_agreed(&self, days: u32, agreed_micro_usd: Option<u64>) -> Result<Job, Failure> {
        let record = JobRecord { days, agreed_micro_usd, ..self.record.clone() };
        let (job, kept) = self.repository.begin_job(record)?;
        if !kept {
            self.session.report.note(
                "this role may not write under jobs/, so only this machine can continue the restore",
            );
        }
        Ok(job)
    }

    /// Two processes that fetch for one job would pay twice and be in each other's way.
    pub fn lock(&self, job: &Job) -> Result<std::fs::File, Failure> {
        self.repository.lock_job(&job.id)?.ok_or_else(|| {
            Failure::new(
                code::FAILED,
                format!("another process is working on job {}", job.id.short()),
                Some("wait until it ends, or stop it first"),
            )
        })
    }
}

/// Returns what makes a restore the same as another.
pub fn plain(record: &JobRecord) -> JobRecord {
    JobRecord { created: Time::default(), days: 1, agreed_micro_usd: None, ..record.clone() }
}
