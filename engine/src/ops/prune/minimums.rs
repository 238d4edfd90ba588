//! Computes when the minimum days of packs are over, which depend on their classes.

use super::reclaim::{DAY_SECONDS, Terms, whole_days};
use crate::format::{Ordinals, Time};
use crate::repo::PackRow;
use crate::store::ClassFacts;

/// The ordinals of packs whose classes have minimum days, with the times when these are over, sorted by time.
pub(super) struct Minimums(Vec<(u64, i64)>);

impl Minimums {
    pub fn of(packs: &[PackRow], terms: &Terms) -> Minimums {
        let over = packs.iter().filter_map(|row| {
            let class = ClassFacts::find(terms.provider?, &row.class)?;
            let over = row.added.saturating_add(i64::from(class.days_min) * DAY_SECONDS);
            (class.days_min > 0).then_some((row.ordinal?, over))
        });
        let mut over: Vec<(u64, i64)> = over.collect();
        over.sort_unstable_by_key(|(_, over)| *over);
        Minimums(over)
    }

    /// Returns whether the minimum days of all packs are over.
    pub fn are_over(&self, now: Time) -> bool {
        self.0.iter().all(|(_, over)| *over <= now.seconds)
    }

    /// Returns when the minimum days of the first of some packs are over. Includes packs that other snapshots need,
    /// because a later prune may drop these snapshots.
    pub fn first(&self, packs: &Ordinals) -> Option<i64> {
        let first = self.0.iter().find(|(ordinal, _)| packs.contains(*ordinal));
        first.map(|(_, over)| *over)
    }
}

/// Returns when the minimum days of a pack are over, if `free_in_days` of them are left. The result is exact to the
/// second, because the pack may be deleted right after that.
pub(super) fn free_at(row: &PackRow, free_in_days: u32, now: Time) -> i64 {
    let days_min = whole_days(now.seconds - row.added).saturating_add(free_in_days);
    row.added.saturating_add(i64::from(days_min) * DAY_SECONDS)
}
