//! Determines the state of a waiting restore: the states of its objects in the store, and what to do next.

use icecore_engine::format::Time;
use icecore_engine::ops::cold::PackStates;
use icecore_engine::ops::restore::{PlannedPack, RestorePlan, plan};
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::{ClassFacts, ObjectState, Tier};

use super::restore::{are_thawing, options_of, plan_frozen, ready_by_plan, with_selection};
use crate::code;
use crate::failure::Failure;
use crate::session::Session;
use crate::units::{agree, count, day_clock, hours_after, now};

/// Why a job whose snapshot no longer exists cannot be continued.
pub const GONE: &str = "its snapshot was replaced or dropped";

/// The state of a job according to the store. A thaw may be done long before the latest time.
pub enum Standing {
    /// The remaining part of the restore.
    Photos(RestorePlan),
    /// Its folder listings are frozen, so its files are not known yet.
    Listings(RestorePlan),
    /// Its snapshot no longer exists.
    Gone(Failure),
    /// It cannot be planned, for this reason.
    Unknown(Failure),
}

impl Standing {
    /// Asks the store for the state of a job.
    pub fn of(session: &Session, repository: &Repository, job: &Job) -> Standing {
        let mut found = None;
        let asked = with_selection(repository, &job.record, |selection| {
            let bar = session.bar("asking the store");
            let plan = plan(selection, &options_of(session, &job.record), &bar);
            bar.finish();
            found = Some(plan?);
            Ok(code::DONE)
        });
        let failure = match (asked, found) {
            (Ok(_), Some(plan)) => return Standing::Photos(plan),
            (Ok(_), None) => Failure::new(code::FAILED, "the restore has no plan", None),
            (Err(failure), _) => failure,
        };
        match plan_frozen(session, repository, job, &failure) {
            Some(Ok(plan)) => Standing::Listings(plan),
            Some(Err(failure)) => Standing::Unknown(failure),
            None if failure.code == code::NOTHING_FOUND => Standing::Gone(failure),
            None => Standing::Unknown(failure),
        }
    }

    /// Returns how many objects are cold, thawing, and readable.
    fn states(&self) -> Option<PackStates> {
        self.plan().map(RestorePlan::states)
    }

    /// Returns what still has to be thawed and fetched; `None` if that is unknown.
    pub fn plan(&self) -> Option<&RestorePlan> {
        match self {
            Standing::Photos(plan) | Standing::Listings(plan) => Some(plan),
            Standing::Gone(_) | Standing::Unknown(_) => None,
        }
    }

    /// Returns whether everything can be fetched now; `None` if that is not known.
    pub fn is_ready(&self) -> Option<bool> {
        match self {
            Standing::Photos(plan) => Some(plan.states().waiting() == 0),
            Standing::Listings(_) | Standing::Gone(_) => Some(false),
            Standing::Unknown(_) => None,
        }
    }

    /// Returns whether a thaw was requested for a job, of photos or of listings.
    pub fn is_requested(&self, job: &Job) -> bool {
        let is_thawing = self.states().is_some_and(|states| states.thawing > 0);
        is_thawing || job.has_asked()
    }

    /// Returns whether the cold objects of a job were thawed before.
    fn has_expired(&self, repository: &Repository, job: &Job) -> bool {
        match self {
            Standing::Photos(_) => job.asked,
            // There is no mark for requested listings, but after this time they would be thawed.
            Standing::Listings(plan) => {
                let by = hours_after(job.thaw, plan.hours(repository, job.tier()));
                job.thaw != job.record.created && by.seconds < now().seconds
            }
            Standing::Gone(_) | Standing::Unknown(_) => false,
        }
    }

    /// Returns the latest time at which the objects of a job are ready, if nothing more has to be requested.
    pub fn ready_by(&self, repository: &Repository, job: &Job) -> Result<Option<Time>, Failure> {
        match self.plan() {
            Some(plan) if plan.states().thawing > 0 => {
                ready_by_plan(repository, job, plan).map(Some)
            }
            _ => ready_by_class(repository, job),
        }
    }

    /// Describes when the files of a job can be fetched.
    pub fn text(&self, repository: &Repository, job: &Job) -> Result<String, Failure> {
        let by_then = match self.ready_by(repository, job)? {
            Some(by) if by.seconds > now().seconds => format!("by {}", day_clock(by)),
            _ => "soon".to_owned(),
        };
        Ok(match (self, self.states()) {
            (Standing::Gone(_), _) => format!("no: {GONE}"),
            (_, None) => by_then,
            (Standing::Photos(_), Some(PackStates { cold: 0, thawing: 0, .. })) => "now".to_owned(),
            (Standing::Listings(_), Some(PackStates { cold: 0, .. })) => {
                format!("folder listings {by_then}")
            }
            (_, Some(PackStates { cold: 0, thawing, readable })) if readable > 0 => {
                format!("{readable} of {}, the rest {by_then}", readable + thawing)
            }
            (_, Some(PackStates { cold: 0, .. })) => by_then,
            (_, Some(PackStates { cold, thawing, readable })) => {
                let (all, expired) = (cold + thawing + readable, self.has_expired(repository, job));
                match (cold == all, expired) {
                    (true, true) => "no: the thaw has expired".to_owned(),
                    (true, false) => "no: not requested yet".to_owned(),
                    (false, true) => format!("{cold} of {all} must be thawed again"),
                    (false, false) => format!("{cold} of {all} not requested yet"),
                }
            }
        })
    }

    /// Describes the next step for the user. `cost` is the price of this step.
    pub fn next_step(&self, repository: &Repository, job: &Job, cost: &str) -> Option<String> {
        let (plan, of) = match self {
            Standing::Photos(plan) => (plan, ""),
            Standing::Listings(plan) => (plan, " with folder listings"),
            Standing::Gone(_) | Standing::Unknown(_) => return None,
        };
        let resume = format!("icecore jobs resume {}", job.id.short());
        let PackStates { cold, thawing, readable } = plan.states();
        let objects = format!("{cold} of {}{of}", count(cold + thawing + readable, "object"));
        let asks = match readable {
            0 => "This asks".to_owned(),
            1 => "The other one can be read now. This asks".to_owned(),
            _ => format!("The other {readable} can be read now. This asks"),
        };
        Some(match (cold, thawing) {
            (0, 0) => {
                let until = match first_end(&plan.packs) {
                    Some(end) => format!("; the first copy expires on {}", day_clock(end)),
                    None => String::new(),
                };
                format!("everything can be fetched now{until}. Run: {resume}")
            }
            (0, _) => {
                let tier = job.tier();
                let by = ready_by_plan(repository, job, plan).ok()?;
                let thaws = are_thawing(thawing, of, Some(by), plan.hours(repository, tier));
                format!("{thaws}. Then run: {resume}")
            }
            _ if self.has_expired(repository, job) => {
                let copies = agree(cold, "its thawed copy has", "their thawed copies have");
                format!(
                    "{objects} must be thawed again, because {copies} expired. It costs {cost}. {asks}: {resume}"
                )
            }
            _ => {
                let have = agree(cold, "has", "have");
                format!(
                    "{objects} {have} not been requested yet. It costs {cost}. {asks}: {resume}"
                )
            }
        })
    }
}

/// Returns when the first of some thawed copies expires.
fn first_end(packs: &[PlannedPack]) -> Option<Time> {
    let ends = packs.iter().filter_map(|pack| match pack.state {
        ObjectState::Thawed { until } => Some(until),
        _ => None,
    });
    ends.min().map(|seconds| Time { seconds, nanos: 0 })
}

/// Returns the latest time at which the thaws of a job are done, assuming that its objects are in the class in the
/// settings.
fn ready_by_class(repository: &Repository, job: &Job) -> Result<Option<Time>, Failure> {
    let class = repository.settings()?.pack_class;
    let provider = repository.store.location().provider();
    let facts = provider.and_then(|provider| ClassFacts::find(provider, &class));
    // The store does not report the tier of thaws that were in progress when the job began.
    let tier = if job.has_asked() { job.tier() } else { Tier::Bulk };
    let hours = facts.map_or(0, |facts| tier.hours(facts));
    Ok((hours > 0).then(|| hours_after(job.thaw, hours)))
}
