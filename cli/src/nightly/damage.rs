//! Damage that a run has found and that stands until the same step passes. Does no I/O, except to look for drills.

use jiff::Timestamp;

use super::profiles::Night;
use super::record::{self, CHECK, DRILL, PRUNE, Record, Step};
use super::step::Ended;
use crate::code;

/// Returns the step of the last run in which it came to a verdict, if that was damage.
pub fn found<'r>(records: &'r [Record], name: &str) -> Option<(Timestamp, &'r Step)> {
    record::last_verdict(records, name).filter(|(_, step)| step.code == code::DAMAGED)
}

/// Returns the damage that an earlier run has found and no later one has found mended. A step that the profile no
/// longer asks for does not count, and neither does a copy, which each run tries again until it is complete.
pub fn standing(night: &Night, records: &[Record]) -> Option<Box<Ended>> {
    let profile = night.profile();
    let wanted = [
        (CHECK, profile.check.is_some()),
        (DRILL, profile.drill.is_some()),
        (PRUNE, profile.prune.is_some()),
    ];
    let found = wanted.into_iter().filter(|(_, is_wanted)| *is_wanted).find_map(|(name, _)| {
        let (time, step) = found(records, name)?;
        // A drill by hand proves as much as one by a run.
        let is_proven = name == DRILL && night.drills().photo().is_some_and(|photo| photo > time);
        (!is_proven).then(|| step.clone())
    })?;
    let hint =
        format!("`icecore {} check` names what is damaged, and what repairs it", night.flags);
    Some(Box::new(Ended { step: found, hint: Some(hint), transient: false }))
}
