//! Chooses the clock for the time of an entry.

use icecore_engine::format::Time;
use icecore_engine::repo::Repository;

use crate::units::now;

/// Returns the time by the clock of the store, or by that of this host if the store does not report
/// one.
pub fn time_of(repository: &Repository) -> Time {
    repository.store.time().map_or_else(now, |seconds| Time { seconds, nanos: 0 })
}
