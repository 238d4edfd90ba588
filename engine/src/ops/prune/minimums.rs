//! When the minimum days of packs are over, which the class of each has.

use super::reclaim::{DAY_SECONDS, Terms, whole_days};
use crate::format::{Ordinals, Time};
use crate::repo::PackRow;
use crate::store::ClassFacts;

/// When the minimum days of packs are over: the ordinal of each pack whose class has some, and the time; the first at
/// the beginning.
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

    /// Returns whether they are over for all packs.
    pub fn are_over(&self, now: Time) -> bool {
        self.0.iter().all(|(_, over)| *over <= now.seconds)
    }

    /// Returns when they are over for the first of some packs. Those that other snapshots need have a say too: a later
    /// prune may drop these.
    pub fn first(&self, packs: &Ordinals) -> Option<i64> {
        let first = self.0.iter().find(|(ordinal, _)| packs.contains(*ordinal));
        first.map(|(_, over)| *over)
    }
}

/// Returns when the minimum days of a pack are over, of which so many are left; to the second, as nothing stays after
/// that.
pub(super) fn free_at(row: &PackRow, free_in_days: u32, now: Time) -> i64 {
    let days_min = whole_days(now.seconds - row.added).saturating_add(free_in_days);
    row.added.saturating_add(i64::from(days_min) * DAY_SECONDS)
}
