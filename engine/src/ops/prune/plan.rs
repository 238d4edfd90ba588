//! Planning a prune from the log and listings alone: what becomes of packs that no snapshot needs,
//! and of objects that no log entry knows. Reads no tree and no name, changes nothing.

use std::collections::BTreeSet;

use super::reclaim::{Decision, PackUse, Terms, Usage, decide};
use crate::error::Error;
use crate::format::{PackId, PackKind, PackRange, SnapshotId, Time};
use crate::ops::cost::Prices;
use crate::repo::{PackRow, PackState, Repository};
use crate::store::{ObjectState, Requests, layout};

const DAY_SECONDS: i64 = 86_400;
/// An object that the log does not know may be on its way: it is left alone for so long. Taking it
/// sooner would harm nobody, but make its writer send it again.
const ORPHAN_SECONDS_MIN: i64 = 2 * DAY_SECONDS;

/// Bytes of a small entry of the log.
const ENTRY_BYTES: u64 = 1 << 10;

/// An object under `packs/`, `hot/` or `meta/` that no log entry knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub id: PackId,
    pub name: String,
    pub bytes: u64,
}

/// What a prune will do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrunePlan {
    pub snapshots_kept: u64,
    /// Snapshots that are dropped.
    pub drop: BTreeSet<SnapshotId>,
    /// All packs of the log.
    pub packs: u64,
    /// Packs that no kept snapshot needs, and what becomes of each.
    pub dead: Vec<(PackRow, Decision)>,
    /// Objects of interrupted runs that are old enough to go.
    pub orphans: Vec<Orphan>,
    /// Objects of interrupted runs that stay for now.
    pub orphans_waiting: u64,
    /// What an earlier prune gave up and did not delete any more.
    pub leftovers: Vec<Orphan>,
    /// What the entry that it appends asks of the store beyond itself.
    pub fold: Requests,
}

impl PrunePlan {
    /// Returns the dead packs that go.
    pub fn doomed(&self) -> impl Iterator<Item = &PackRow> {
        self.dead.iter().filter(|(_, decision)| *decision == Decision::Delete).map(|(row, _)| row)
    }

    /// Returns the dead packs that wait for their free day, and in how many days that is.
    pub fn waiting(&self) -> impl Iterator<Item = (&PackRow, u32)> {
        self.dead.iter().filter_map(|(row, decision)| match decision {
            Decision::Wait { free_in_days } => Some((row, *free_in_days)),
            _ => None,
        })
    }

    /// Predicts the requests that executing it will make from here on.
    pub fn predict(&self) -> Requests {
        let mut requests = Requests::default();
        let deletes = self.doomed().count() + self.orphans.len() + self.leftovers.len();
        if !self.drop.is_empty() || deletes > self.leftovers.len() {
            requests.add_put("", 0);
            requests = requests.plus(&self.fold);
        }
        // The head of the log, and the three prefixes that are looked through for what goes.
        requests.list += 4;
        // The last entry is read again: it must be the same.
        requests.get += 1;
        requests.bytes_fetched += ENTRY_BYTES;
        let standard = requests.class("");
        standard.get += 1;
        standard.bytes_fetched += ENTRY_BYTES;
        requests.delete += deletes as u64;
        requests
    }

    /// Returns the bytes that are freed.
    pub fn bytes_freed(&self) -> u64 {
        let objects = self.orphans.iter().chain(&self.leftovers).map(|object| object.bytes);
        self.doomed().map(|row| row.bytes).chain(objects).sum()
    }
}

/// Plans as if the snapshots in `drop` were gone.
pub fn plan(
    repository: &Repository,
    drop: &BTreeSet<SnapshotId>,
    terms: &Terms,
    prices: &Prices,
    now: Time,
) -> Result<PrunePlan, Error> {
    let fold = repository.predict_fold(1, ENTRY_BYTES)?;
    let mut plan = PrunePlan { fold, ..PrunePlan::default() };
    let mut kept = Vec::new();
    for row in repository.catalog.snapshots()? {
        if drop.contains(&row.entry.id) {
            plan.drop.insert(row.entry.id);
        } else {
            plan.snapshots_kept += 1;
            kept.extend(row.entry.packs);
        }
    }
    let needed = Needed::new(kept);
    let packs = repository.catalog.packs(PackState::Committed)?;
    plan.packs = packs.len() as u64;
    for row in packs {
        if row.ordinal.is_some_and(|ordinal| !needed.contains(ordinal)) {
            let age_days = days(now.seconds - row.added);
            let decision = decide_dead(row.kind, &row.class, row.bytes, age_days, terms, prices);
            plan.dead.push((row, decision));
        }
    }
    objects(repository, &mut plan, terms, prices, now)?;
    Ok(plan)
}

fn decide_dead(
    kind: PackKind,
    class: &str,
    bytes: u64,
    age_days: u32,
    terms: &Terms,
    prices: &Prices,
) -> Decision {
    let state = ObjectState::Cold;
    let pack =
        PackUse { kind, class: class.to_owned(), bytes, age_days, state, usage: Usage::Dead };
    decide(&pack, terms, prices)
}

fn days(seconds: i64) -> u32 {
    u32::try_from((seconds / DAY_SECONDS).max(0)).unwrap_or(u32::MAX)
}

/// Looks for objects that the log does not know, or has given up.
fn objects(
    repository: &Repository,
    plan: &mut PrunePlan,
    terms: &Terms,
    prices: &Prices,
    now: Time,
) -> Result<(), Error> {
    let settings = repository.settings()?;
    for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
        let class = match kind {
            PackKind::Meta => "",
            PackKind::Hot => &settings.hot_class,
            PackKind::Cold => &settings.pack_class,
        };
        for object in repository.store.list(layout::prefix(kind), None)? {
            let Some(id) = layout::pack_id(kind, &object.name) else { continue };
            let found = Orphan { id, name: object.name, bytes: object.bytes };
            match repository.catalog.pack_state(&id)? {
                Some(PackState::Tombstoned) => plan.leftovers.push(found),
                Some(_) => {}
                None => {
                    let age = now.seconds - object.modified;
                    let decision = decide_dead(kind, class, found.bytes, days(age), terms, prices);
                    if age >= ORPHAN_SECONDS_MIN && decision == Decision::Delete {
                        plan.orphans.push(found);
                    } else {
                        plan.orphans_waiting += 1;
                    }
                }
            }
        }
    }
    Ok(())
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
