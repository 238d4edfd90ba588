//! Planning a prune from the log alone: which packs no snapshot needs. Reads no tree and no name.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::format::{PackRange, SnapshotId};
use crate::repo::{PackRow, PackState, Repository};

/// What dropping snapshots would leave without use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    pub snapshots_kept: u64,
    pub snapshots_dropped: u64,
    /// All packs of the log.
    pub packs: u64,
    /// Packs that no kept snapshot needs.
    pub dead: Vec<PackRow>,
}

/// Plans as if the snapshots in `drop` were gone. Changes nothing.
pub fn plan(repository: &Repository, drop: &BTreeSet<SnapshotId>) -> Result<PrunePlan, Error> {
    let mut plan = PrunePlan::default();
    let mut kept = Vec::new();
    for row in repository.catalog.snapshots()? {
        if drop.contains(&row.entry.id) {
            plan.snapshots_dropped += 1;
        } else {
            plan.snapshots_kept += 1;
            kept.extend(row.entry.packs);
        }
    }
    let needed = Needed::new(kept);
    let packs = repository.catalog.packs(PackState::Committed)?;
    plan.packs = packs.len() as u64;
    plan.dead = packs
        .into_iter()
        .filter(|pack| pack.ordinal.is_some_and(|ordinal| !needed.contains(ordinal)))
        .collect();
    Ok(plan)
}

/// The ordinals of packs that snapshots need: disjoint runs in order, so that one is found among
/// millions of packs in a few steps, however many snapshots there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// First ordinal and the one after the last.
    runs: Vec<(u64, u64)>,
}

impl Needed {
    /// Unites ranges, which may overlap and come in any order.
    pub fn new(ranges: impl IntoIterator<Item = PackRange>) -> Needed {
        let ends = |range: PackRange| (range.first, range.first.saturating_add(range.count));
        let mut all: Vec<(u64, u64)> = ranges.into_iter().map(ends).collect();
        all.sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (first, end) in all {
            match runs.last_mut() {
                Some(run) if first <= run.1 => run.1 = run.1.max(end),
                _ if first < end => runs.push((first, end)),
                _ => {}
            }
        }
        Needed { runs }
    }

    /// Returns whether a snapshot needs the pack of this ordinal.
    pub fn contains(&self, ordinal: u64) -> bool {
        let after = self.runs.partition_point(|(first, _)| *first <= ordinal);
        after > 0 && ordinal < self.runs[after - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(ranges: &[(u64, u64)]) -> Needed {
        Needed::new(ranges.iter().map(|(first, count)| PackRange { first: *first, count: *count }))
    }

    #[test]
    fn ranges_are_united() {
        let found = needed(&[(20, 5), (0, 4), (4, 2), (2, 1), (22, 10), (40, 0), (0, 4)]);
        assert_eq!(found.runs, [(0, 6), (20, 32)]);
        let inside: Vec<u64> = (0..50).filter(|ordinal| found.contains(*ordinal)).collect();
        let expected: Vec<u64> = (0..6).chain(20..32).collect();
        assert_eq!(inside, expected);
    }

    #[test]
    fn ranges_without_an_end_are_taken() {
        let found = needed(&[(u64::MAX - 1, 9), (u64::MAX, 1)]);
        assert!(found.contains(u64::MAX - 1));
        assert!(!found.contains(u64::MAX - 2));
        assert!(!needed(&[]).contains(0));
        assert!(!needed(&[(7, 0)]).contains(7));
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_looking_at_each_range(
            ranges in proptest::collection::vec((0u64..60, 0u64..9), 0..20),
        ) {
            let found = needed(&ranges);
            for ordinal in 0..80 {
                let inside = ranges.iter().any(|(first, count)| (*first..first + count).contains(&ordinal));
                proptest::prop_assert_eq!(found.contains(ordinal), inside);
            }
        }
    }
}
