//! Determines when the objects of a restore, a check or a prune are thawed, from the recorded requests for thaws.

use icecore_engine::format::{JobId, Time};
use icecore_engine::ops::cold::Requested;
use icecore_engine::ops::prune::{PrunePlan, ThawingPacks};
use icecore_engine::ops::restore::RestorePlan;
use icecore_engine::repo::{Job, Repository};
use icecore_engine::store::Tier;

use crate::failure::Failure;
use crate::units::{hours_after, now};
use crate::waves::OpenWave;

/// Returns when the last thaw ends that a check, or a job other than `own`, has requested; `None` if no such thaw may
/// still be running. `hours` is how long a thaw takes.
pub fn ordered_by(
    repository: &Repository,
    own: Option<&JobId>,
    hours: impl Fn(Tier) -> u32,
) -> Result<Option<Time>, Failure> {
    let thaws = repository.other_thaws(own)?.into_iter();
    let thaws = thaws.map(|(time, tier)| hours_after(time, hours(tier)));
    Ok(thaws.filter(|by| by.seconds > now().seconds).max_by_key(|by| by.seconds))
}

/// Returns the latest time at which the objects of a plan are ready whose thaws another job or a check has requested.
/// If this host has no record of such a request, assumes that it was made just now, because the store reports neither
/// the time nor the tier of a thaw.
fn ready_by_others(
    repository: &Repository,
    job: &Job,
    plan: &RestorePlan,
) -> Result<Time, Failure> {
    let own = hours_after(job.thaw, plan.hours(repository, job.tier()));
    let others = ordered_by(repository, Some(&job.id), |tier| plan.hours_by(repository, tier))?;
    Ok(others.filter(|by| by.seconds < own.seconds).unwrap_or(own))
}

/// Returns the latest time at which the thaws of a plan are done, if nothing more has to be requested. Each object has
/// the time of its own request; `others` is the time of the objects whose request this host has not recorded.
pub fn ready_of(requested: Requested, others: Time) -> Time {
    match requested {
        Requested { by: Some(by), by_others: 0 } => by,
        Requested { by: Some(by), .. } if by.seconds > others.seconds => by,
        _ => others,
    }
}

/// Returns the latest time at which the thaws of a job are done, if nothing more has to be requested.
pub fn ready_by_plan(
    repository: &Repository,
    job: &Job,
    plan: &RestorePlan,
) -> Result<Time, Failure> {
    let requested = plan.requested(repository)?;
    let others = match (requested.by_others, job.has_asked()) {
        (0, _) | (_, true) => hours_after(job.thaw, plan.hours_by(repository, job.tier())),
        (_, false) => ready_by_others(repository, job, plan)?,
    };
    Ok(ready_of(requested, others))
}

/// Returns the latest time at which the thaws of an open wave are done, if nothing more has to be requested. `plan` has the
/// objects of the wave.
pub fn ready_by_wave(
    repository: &Repository,
    wave: &OpenWave,
    plan: &RestorePlan,
) -> Result<Time, Failure> {
    let others = hours_after(Time { seconds: wave.began, nanos: 0 }, wave.hours);
    Ok(ready_of(plan.requested(repository)?, others))
}

/// Returns the latest time at which all objects from which a prune copies needed data are thawed. An earlier run or a
/// restore may have requested their thaws; `tier` is the tier of the thaws that the prune itself has requested.
pub fn ready_by_prune(
    repository: &Repository,
    plan: &PrunePlan,
    tier: Tier,
) -> Result<Time, Failure> {
    let thawing = ThawingPacks::of(plan);
    // The tier of a thaw that another computer has requested is not known.
    let tier = if plan.on_their_way().next().is_some() { Tier::Bulk } else { tier };
    let others = hours_after(now(), thawing.hours_by(repository, tier));
    Ok(ready_of(thawing.requested(repository)?, others))
}
