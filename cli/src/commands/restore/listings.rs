//! Handles a restore whose folder listings are frozen because trees were moved to an archive class. The job first thaws
//! the listings that it needs, and then fetches the photos. This stage is not recorded anywhere. It is derived from the
//! state of the store whenever the job is resumed.

use std::time::Instant;

use icecore_engine::error::Error;
use icecore_engine::format::{PackKind, Time};
use icecore_engine::ops::browse;
use icecore_engine::ops::cold::PackStates;
use icecore_engine::ops::frozen::plan_listings;
use icecore_engine::ops::restore::{ConsentNeed, RestoreOptions, RestorePlan, check_target, thaw};
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::ObjectName;
use serde_json::{Value, json};

use super::agree::Deal;
use super::order::Priced;
use super::ready::{ready_by_plan, ready_of};
use super::show::{are_thawing, plan_json, show_plan, thaws_requested};
use crate::answers;
use crate::code;
use crate::commands::{cost_line, poll, requests_json, spent};
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{hours_after, now};

/// Number of additional days for which thawed listings are kept, because they are read again when the photos are
/// thawed. They are small.
const DAYS_MORE: u32 = 7;

/// A restore that may have to thaw listings first.
pub(super) struct Listings<'a> {
    pub deal: Deal<'a>,
    pub options: &'a RestoreOptions,
    pub days: Option<u32>,
    pub only_plan: bool,
    pub started: Instant,
}

impl Listings<'_> {
    /// Runs a restore. If it finds frozen listings, thaws these and starts it again.
    pub fn before(
        &self,
        mut job: Option<Job>,
        restore: impl Fn(Option<Job>) -> Result<u8, Failure>,
    ) -> Result<u8, Failure> {
        let mut warm_and_frozen: Option<Box<ObjectName>> = None;
        loop {
            let failure = match restore(job.clone()) {
                Err(failure) => failure,
                done => return done,
            };
            let Some(name) = failure.frozen.clone() else { return Err(failure) };
            let can_thaw = self.deal.repository.store.can_thaw() && is_listing(&name);
            if !can_thaw || warm_and_frozen.as_ref() == Some(&name) {
                return Err(failure);
            }
            let plan = self.plan(&name)?;
            let PackStates { cold, thawing, .. } = plan.states();
            if cold + thawing == 0 {
                // The listing has just become readable, or the store reports it as readable but refuses to return it.
                warm_and_frozen = Some(name);
                continue;
            }
            if let Some(code) = self.thaw(plan, &mut job)? {
                return Ok(code);
            }
        }
    }

    fn plan(&self, name: &ObjectName) -> Result<RestorePlan, Failure> {
        let Deal { session, repository, record, .. } = self.deal;
        let row = browse::resolve(repository, &record.snapshot.to_string())?;
        let bar = session.bar("checking listings");
        let plan = plan_listings(repository, &row, name, &bar);
        bar.finish();
        let mut plan = plan?;
        // Readable listings cost almost nothing.
        plan.packs.retain(|pack| !pack.state.is_readable());
        plan.sum_up();
        Ok(plan)
    }

    /// Shows the plan, asks for consent, requests thaws and waits. Returns the exit code if the run ends here; `None`
    /// if it continues with the restore.
    fn thaw(&self, mut plan: RestorePlan, job: &mut Option<Job>) -> Result<Option<u8>, Failure> {
        let Deal { session, repository, consent, .. } = self.deal;
        let days = self.days.unwrap_or_else(|| plan.days()) + DAYS_MORE;
        let priced = self.deal.price(&plan, days)?;
        let bill = priced.as_ref().map(|priced| priced.bill(self.deal.tier()));
        if self.only_plan {
            show_listings(session, &plan, priced.as_ref());
            self.deal.bound(bill)?;
            return Ok(Some(code::DONE));
        }
        self.deal.bound(bill)?;
        self.check_target(job)?;
        if job.is_none() {
            *job = self.deal.same_job()?;
        }
        if plan.states().cold > 0 {
            let need = match &job {
                Some(job) => self.deal.continued(job, &plan, bill).need_of_listings(),
                None => Some(ConsentNeed::First),
            };
            if let Some(need) = need {
                self.deal.agree(&plan, priced.as_ref(), need, " with folder listings")?;
            }
        }
        let begun = match job.take() {
            Some(job) => job,
            // The number of days for the photos is determined later.
            None => self.deal.begin_listings(self.days.unwrap_or(1))?,
        };
        let begun = job.insert(begun);
        let lock = self.deal.lock(begun)?;
        let (tier, total) = (self.deal.tier(), plan.packs.len() as u64);
        let thawing = plan.states().thawing;
        let by = match plan.states().cold {
            0 => ready_by_plan(repository, begun, &plan)?,
            _ => {
                repository.job_thaws(begun, now())?;
                hours_after(begun.thaw, plan.hours(repository, tier))
            }
        };
        let bar = session.bar("requesting thaws");
        let asked = thaw(repository, &mut plan, self.deal.tier(), days, &bar);
        bar.finish();
        if let Err(error) = asked {
            let id = begun.id.short();
            session.report.note(&format!("to continue: icecore jobs resume {id}"));
            let requested = total.saturating_sub(plan.states().cold + thawing);
            return Err(Failure::from(error).after(thaws_requested(requested, total - thawing)));
        }
        let by = ready_of(plan.requested(repository)?, by);
        for polls in 0.. {
            let PackStates { cold, thawing, .. } = plan.states();
            if cold + thawing == 0 {
                break;
            }
            if !consent.wait || cold > 0 {
                self.report(&plan, begun, priced.as_ref(), by)?;
                return Ok(Some(code::THAW_REQUESTED));
            }
            let ready = total.saturating_sub(thawing);
            poll::pause(session, polls, &poll::Packs { ready, total, by: Some(by) })?;
            plan.look(repository, &session.bar("checking listings"))?;
        }
        drop(lock);
        Ok(None)
    }

    /// Checks the target before anything is billed. Files that the job itself has restored are accepted.
    fn check_target(&self, job: &mut Option<Job>) -> Result<(), Failure> {
        let Err(error) = check_target(self.deal.repository, self.options) else { return Ok(()) };
        if matches!(error, Error::TargetNotEmpty { .. }) && job.is_none() {
            *job = self.deal.same_job()?;
            if job.is_some() {
                return Ok(());
            }
        }
        Err(error.into())
    }

    /// Reports what was requested, and what to do when it is ready.
    fn report(
        &self,
        plan: &RestorePlan,
        job: &Job,
        priced: Option<&Priced>,
        by: Time,
    ) -> Result<(), Failure> {
        let Deal { session, repository, .. } = self.deal;
        let requests = repository.store.requests();
        let cost = spent(session, &requests)?;
        let PackStates { cold, thawing, .. } = plan.states();
        let hours = plan.hours(repository, self.deal.tier());
        if session.report.json {
            session.report.object(
                "summary",
                json!({
                    "stage": "listings", "files": 0, "bytes": 0, "packs_fetched": 0,
                    "bytes_fetched": requests.bytes_fetched, "packs_waiting": cold + thawing,
                    "hours": hours, "job_id": job.id.to_string(),
                    "requests": requests_json(&requests), "cost_usd": cost,
                    "predicted_usd": priced.map(|p| p.bill(self.deal.tier()).total_usd()),
                    "duration_s": answers::without_waiting(self.started).as_secs_f64(),
                }),
            );
            return Ok(());
        }
        let report = &session.report;
        report.line(&format!(
            "the folder listings of this snapshot are frozen: {}. Then run: icecore jobs resume {} (it shows the price of the photos before it requests them)",
            are_thawing(cold + thawing, " with folder listings", Some(by), hours),
            job.id.short()
        ));
        report.line(&cost_line(report, cost, &requests));
        Ok(())
    }
}

/// Returns whether an object contains folder listings.
pub fn is_listing(name: &ObjectName) -> bool {
    matches!(name, ObjectName::Pack(PackKind::Meta, _))
}

/// Plans the thaw of the listings of a job, if the failure was caused by frozen listings.
pub fn plan_frozen(
    session: &Session,
    repository: &Repository,
    job: &Job,
    failure: &Failure,
) -> Option<Result<RestorePlan, Failure>> {
    let name = failure.frozen.as_ref().filter(|name| is_listing(name))?;
    let planned = || {
        let row = browse::resolve(repository, &job.record.snapshot.to_string())?;
        let bar = session.bar("checking listings");
        let plan = plan_listings(repository, &row, name, &bar);
        bar.finish();
        Ok(plan?)
    };
    Some(planned())
}

/// Shows the plan of a thaw of listings.
pub fn show_listings(session: &Session, plan: &RestorePlan, priced: Option<&Priced>) {
    let report = &session.report;
    if report.json {
        report.object("summary", listings_json(plan, priced));
        return;
    }
    report.line("the folder listings of this snapshot are frozen and must be thawed first; the price of the photos is known after that");
    show_plan(session, plan, priced);
}

/// Returns the fields of a plan of a thaw of listings.
pub fn listings_json(plan: &RestorePlan, priced: Option<&Priced>) -> Value {
    let mut value = plan_json(plan, priced);
    value["stage"] = json!("listings");
    value
}
