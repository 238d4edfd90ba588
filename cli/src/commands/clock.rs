//! Which clock counts.

use icecore_engine::format::Time;
use icecore_engine::repo::Repository;

use crate::units::now;

/// Returns the time by the clock of the store, or by the one here if the store has none.
pub fn time_of(repository: &Repository) -> Time {
    repository.store.time().map_or_else(now, |seconds| Time { seconds, nanos: 0 })
}
