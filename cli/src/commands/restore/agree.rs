//! What is paid for, and who agreed to it: prices of a plan, the bound, the question, the journal.

use icecore_engine::format::{JobRecord, Time};
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::RestorePlan;
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::Tier;

use super::flow::Consent;
use super::show::{Priced, show_plan};
use super::tier_of;
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
}

impl Deal<'_> {
    pub fn tier(&self) -> Tier {
        tier_of(self.record)
    }

    /// Prices a plan by every tier, with what this run has spent so far.
    pub fn price(&self, plan: &RestorePlan, days: u32) -> Result<Option<Priced>, Failure> {
        let Some(prices) = self.session.prices()? else { return Ok(None) };
        let mut spent = self.repository.store.requests();
        if plan.states()[0] > 0 {
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
            let bill = prices.bill(&spent.plus(&plan.predict(tier, days)));
            let spared = prices.bill(&plan.spared(tier, days)).total_usd();
            (tier, plan.hours(self.repository, tier), bill, spared)
        });
        let free_gb = prices.egress_free_gb() as u64;
        Ok(Some(Priced { tiers, days, free_gb, region: prices.region, date: prices.date }))
    }

    /// Stops before anything is paid for that is over the bound.
    pub fn bound(&self, bill: Option<Bill>) -> Result<(), Failure> {
        let total = bill.map(|bill| bill.total_usd());
        let hint =
            "--plan shows what you would pay for; --tier bulk and --seed DIR make it cheaper";
        consent::bound(self.session, self.consent.max_cost, total, "nothing was requested", hint)
    }

    /// Asks whether a thaw may be paid for, unless the command line says so. `again` is set if
    /// packs were thawed before and their copies have expired. `of` says what they are packs of.
    pub fn agree(
        &self,
        plan: &RestorePlan,
        priced: Option<&Priced>,
        again: bool,
        of: &str,
    ) -> Result<(), Failure> {
        let Consent { max_cost, wait, detach, ask } = self.consent;
        if max_cost.is_some() || (!again && (wait || detach)) {
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
        let packs = format!("{}{of}", count(plan.states()[0], "object"));
        let (message, hint) = if again {
            (
                format!(
                    "{packs} must be thawed again, because copies have expired or the price was not agreed to; it costs {cost}; nothing was requested"
                ),
                "--max-cost USD agrees to it".to_owned(),
            )
        } else {
            (
                format!("{packs} must be thawed first, which costs {cost}; nothing was requested"),
                "--plan shows the price; --detach or --wait requests the thaw, --max-cost USD limits its price"
                    .to_owned(),
            )
        };
        Err(Failure { code: code::TOO_COSTLY, message, hint: Some(hint), ..Failure::default() })
    }

    /// Finds a job that was begun by the same command: this run continues it.
    pub fn same_job(&self) -> Result<Option<Job>, Failure> {
        let wanted = plain(self.record);
        let (jobs, _) = self.repository.jobs()?;
        Ok(jobs.into_iter().find(|job| plain(&job.record) == wanted))
    }

    /// Returns whether going on with a job would cost what nobody agreed to: thawing again what
    /// was thawed before, or more than what was agreed.
    pub fn is_new_to(&self, job: &Job, plan: &RestorePlan, bill: Option<Bill>) -> bool {
        let dearer = match (job.record.agreed_micro_usd, bill) {
            (Some(agreed), Some(bill)) => bill.total_usd() * 1e6 > agreed as f64 * 1.02 + 1000.0,
            _ => false,
        };
        dearer || self.has_expired(job, plan)
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

    pub fn begin(&self, days: u32, bill: Option<Bill>) -> Result<Job, Failure> {
        let agreed = bill.map(|bill| bill.total_usd().max(self.consent.max_cost.unwrap_or(0.0)));
        let agreed_micro_usd = agreed.map(|dollars| (dollars * 1e6).ceil() as u64);
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
