//! Prices of a restore, and consent to them: the bound, the question, and the record in the journal.

use std::fs::File;
use std::path::Path;

use icecore_engine::format::{JobId, JobRecord};
use icecore_engine::ops::cold::Quote;
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::{
    ConsentNeed, ContinuedJob, RestorePlan, agreed_micro_usd, real_path,
};
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::Tier;

use super::order::{Consent, Priced, TierPrice};
use super::places::CopyBills;
use super::show::show_plan;
use crate::code;
use crate::commands::{bill_text, consent};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, count, now, show_target};

/// The parts of a restore that determine its price and the consent to it.
#[derive(Clone, Copy)]
pub struct Deal<'a> {
    pub session: &'a Session,
    pub repository: &'a Repository,
    pub record: &'a JobRecord,
    pub consent: Consent,
    /// The job in the command line, if this is `jobs resume`.
    pub resumed: Option<JobId>,
}

impl Deal<'_> {
    pub fn tier(&self) -> Tier {
        self.record.tier
    }

    /// Prices a plan with each tier, including what this run has spent so far.
    pub fn price(&self, plan: &RestorePlan, days: u32) -> Result<Option<Priced>, Failure> {
        let Some(CopyBills { bill: at_copies, prices: of_copy }) =
            CopyBills::of(self.session, plan)
        else {
            return Ok(None);
        };
        let own = self.session.prices()?;
        let is_free = !self.repository.store.location().is_remote();
        // An archive in a folder has no prices, but its copy may have.
        let of_copy = of_copy.filter(|_| is_free && at_copies.total_usd() > 0.0);
        let Some(prices) = own.or(of_copy) else { return Ok(None) };
        let spent = self.repository.store.requests();
        let own_requests = |plan: &RestorePlan, tier| spent.plus(&plan.predict_job(tier, days));
        if let Some(class) = prices.gap(&own_requests(plan, Tier::Bulk)) {
            let table = format!("the prices of {} do not include {class}", prices.region);
            self.session.report.note(&table);
            return Ok(None);
        }
        let bill = |plan: &RestorePlan, tier| match is_free {
            true => Bill::default(),
            false => prices.bill(&own_requests(plan, tier)),
        };
        // Compute the saving by the seed as the difference of two quotes, because a pack that is thawed already needs
        // no thaw.
        let without_seed = (plan.seed_bytes > 0).then(|| plan.without_seed());
        let copies_without_seed =
            without_seed.as_ref().and_then(|plan| CopyBills::of(self.session, plan));
        let tiers = Tier::ALL.map(|tier| {
            let quote = Quote {
                bill: bill(plan, tier).plus(at_copies),
                packs_frozen: plan.states().cold,
                hours: plan.hours(self.repository, tier),
            };
            let without = without_seed.as_ref().map(|without| {
                let copies = copies_without_seed.as_ref().map_or(at_copies, |copies| copies.bill);
                bill(without, tier).plus(copies).total_usd()
            });
            let with = quote.bill.total_usd();
            let spared_usd = without.map_or(0.0, |without| (without - with).max(0.0));
            TierPrice { tier, quote, spared_usd }
        });
        let free_gb = prices.egress_free_gb() as u64;
        Ok(Some(Priced { tiers, days, free_gb, region: prices.region, date: prices.date }))
    }

    /// Fails if the price exceeds the bound, before anything is billed.
    pub fn bound(&self, bill: Option<Bill>) -> Result<(), Failure> {
        let total = bill.map(|bill| bill.total_usd());
        // A resumed job already has its tier.
        let hint = match self.resumed {
            Some(id) => format!(
                "`icecore jobs {}` shows what you would pay for; --seed DIR makes it cheaper",
                id.short()
            ),
            None => format!(
                "--plan shows what you would pay for; --seed DIR makes it cheaper{}",
                match self.tier() {
                    Tier::Bulk => "",
                    _ => ", and so does --tier bulk",
                }
            ),
        };
        let (max, spared) = (self.consent.max_cost, "nothing was requested");
        match (max, total) {
            // A copy in a bucket is paid for, although the archive is in a folder.
            (Some(max), Some(_)) => consent::within(max, total, spared, &hint)?,
            _ => consent::bound(self.session, max, total, spared, &hint)?,
        }
        // Damage that is found while reading is not in the plan.
        let left = max.map(|max| (max - total.unwrap_or(0.0)).max(0.0));
        self.repository.limit_copies(left);
        Ok(())
    }

    /// Asks the user to agree to the price of a thaw, unless the command line has a bound. --detach and --wait do not
    /// count as consent, because they name no price. `of` describes the content of the objects to thaw.
    pub fn agree(
        &self,
        plan: &RestorePlan,
        priced: Option<&Priced>,
        need: ConsentNeed,
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
            ConsentNeed::Again => (
                format!(
                    "{packs} of this restore must still be thawed: {}. It costs {cost}; nothing was requested",
                    agree(
                        plan.states().cold,
                        "its thaw was not requested, or the thawed copy has expired",
                        "their thaws were not requested, or the thawed copies have expired",
                    )
                ),
                "--max-cost USD agrees to it",
            ),
            ConsentNeed::Photos => (
                format!(
                    "the folder listings can be read now; {packs} with photos must be thawed first, which costs {cost}; nothing was requested"
                ),
                "--max-cost USD agrees to it",
            ),
            ConsentNeed::First => (
                format!("{packs} must be thawed first, which costs {cost}; nothing was requested"),
                "--max-cost USD agrees to a price; --plan shows what you would pay for",
            ),
        };
        Err(Failure::new(code::TOO_COSTLY, message, Some(hint)))
    }

    /// Finds a job that the same command has begun. This run continues it.
    pub fn same_job(&self) -> Result<Option<Job>, Failure> {
        Ok(self.repository.same_job(self.record)?)
    }

    /// Returns a job as it is continued now, with the price of the rest.
    pub fn continued<'a>(
        &self,
        job: &'a Job,
        plan: &RestorePlan,
        bill: Option<Bill>,
    ) -> ContinuedJob<'a> {
        let hours = plan.hours(self.repository, self.tier());
        ContinuedJob { job, usd: bill.map(|bill| bill.total_usd()), hours, now: now() }
    }

    /// Begins a job to whose price the user has agreed. A free job counts as agreed to.
    pub fn begin(&self, days: u32, bill: Option<Bill>) -> Result<Job, Failure> {
        let usd = bill.map(|bill| bill.total_usd());
        self.begin_agreed(days, agreed_micro_usd(usd, self.consent.max_cost))
    }

    /// Begins a job that thaws listings first. The user has not agreed to any price for the photos, unless the command
    /// line has a bound.
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

    /// Locks the restore, because two processes that run the same command would both pay for it. Different restores may
    /// use one target at the same time.
    pub fn lock_restore(&self, target: &Path) -> Result<File, Failure> {
        self.repository.lock_restore(&real_path(target), self.record)?.ok_or_else(|| {
            Failure::new(
                code::FAILED,
                format!("the same restore is already running in {}", show_target(target)),
                Some("wait until it ends, or stop it first"),
            )
        })
    }

    /// Locks a job, because two processes that fetch for one job would pay twice and interfere with each other.
    pub fn lock(&self, job: &Job) -> Result<File, Failure> {
        Ok(self.repository.claim_job(&job.id)?)
    }
}
