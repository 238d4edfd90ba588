//! The undelete window: packs that a dropped snapshot needs are kept until it ends.
//!
//! The window begins when the store received the entry that dropped the snapshot, and lasts as long as the settings
//! say. If deleting a pack before the minimum storage duration of its class costs as much as keeping it, the window
//! lasts at least until the first of the packs of the snapshot has reached this duration. Both times depend only on
//! this snapshot, so a date that a prune has announced does not change when other things are dropped or deleted later.
//!
//! Only the owner can end the window earlier. Packs that a writer has tombstoned within the window are kept until it
//! ends, so that the owner has time to revoke a stolen writer, whose tombstones then do not count.

use std::collections::BTreeMap;

use super::minimums::{Minimums, free_at};
use super::plan::{PrunePlan, Recoverable};
use super::reclaim::{Conditions, DAY_SECONDS, Decision, Why};
use super::still_there::StillThere;
use crate::error::Error;
use crate::format::{Ordinals, SnapshotEntry, SnapshotId, Time};
use crate::repo::{PackRow, Repository, SnapshotRow};
use crate::store::layout;

/// If a clock is further ahead of the newest object than this, it is doubted.
const DOUBTED_SECONDS: i64 = 60 * DAY_SECONDS;

/// Returns the time of the newest entry of the log if the clock of this host is implausibly far ahead of it. Returns
/// `None` for a store that reports the time, because its clock is used instead.
pub fn doubtful_clock(repository: &Repository, now: Time) -> Result<Option<Time>, Error> {
    if repository.store.time().is_some() {
        return Ok(None);
    }
    let listed = repository.store.list(layout::LOG, None)?;
    let newest = listed.iter().map(|object| object.modified).max();
    let newest = newest.filter(|newest| now.seconds.saturating_sub(*newest) > DOUBTED_SECONDS);
    Ok(newest.map(|seconds| Time { seconds, nanos: 0 }))
}

/// The packs that are kept so that dropped snapshots can be undeleted.
#[derive(Debug, Default)]
pub(super) struct HeldPacks {
    /// The packs of each snapshot, with the time until which they are kept.
    packs: Vec<(Ordinals, i64)>,
    /// The snapshots that can be undeleted, in the order of the log.
    pub snapshots: Vec<Recoverable>,
}

impl HeldPacks {
    /// Finds the packs that dropped snapshots need, and those of the snapshots in `gone`, which are dropped now.
    pub fn find(
        repository: &Repository,
        gone: Vec<SnapshotEntry>,
        packs: &StillThere,
        minimums: &Minimums,
        conditions: Conditions,
    ) -> Result<HeldPacks, Error> {
        let Conditions { terms, now, .. } = conditions;
        let mut held = HeldPacks::default();
        let days = match terms.end_window && repository.is_owner() {
            true => 0,
            false => i64::from(repository.settings()?.undelete_days()),
        };
        if days == 0 && minimums.are_over(now) {
            return Ok(held);
        }
        let StillThere { committed, given_up } = packs;
        let there = Ordinals::from_ranges(committed.ranges().into_iter().chain(given_up.ranges()));
        let is_there = |entry: &SnapshotEntry| there.contains_all(&entry.packs);
        let dropped = repository.catalog.dropped_snapshots()?.into_iter();
        let dropped: Vec<SnapshotRow> = dropped.filter(|row| is_there(&row.entry)).collect();
        let since = match days {
            0 => BTreeMap::new(),
            _ => dropped_at(repository, &dropped, now)?,
        };
        let dropped = dropped.into_iter().map(|row| {
            let since = since.get(&row.entry.id).copied();
            (row.entry, since)
        });
        let gone = gone.into_iter().map(|entry| (entry, Some(now.seconds)));
        for (entry, since) in dropped.chain(gone).filter(|(entry, _)| is_there(entry)) {
            let packs = Ordinals::from_ranges(entry.packs.iter().copied());
            // If the time of the drop is unknown, the snapshot counts as dropped now.
            let window = since.unwrap_or(now.seconds).saturating_add(days * DAY_SECONDS);
            let until = minimums.first(&packs).map_or(window, |over| window.max(over));
            if until > now.seconds {
                if committed.contains_all(&entry.packs) {
                    let until = Time { seconds: until, nanos: 0 };
                    held.snapshots.push(Recoverable { id: entry.id, until });
                }
                held.packs.push((packs, until));
            }
        }
        Ok(held)
    }

    /// Returns the time until which a pack is kept, if a snapshot that can be undeleted needs it.
    pub fn until(&self, row: &PackRow) -> Option<i64> {
        let ordinal = row.ordinal?;
        let needing = self.packs.iter().filter(|(packs, _)| packs.contains(ordinal));
        needing.map(|(_, until)| *until).max()
    }
}

impl PrunePlan {
    /// Keeps packs that would be deleted while a snapshot that needs them can still be undeleted. The snapshots in `gone`
    /// are dropped by this plan.
    pub(super) fn hold(
        &mut self,
        repository: &Repository,
        gone: Vec<SnapshotEntry>,
        packs: &StillThere,
        minimums: &Minimums,
        conditions: Conditions,
    ) -> Result<(), Error> {
        let held = HeldPacks::find(repository, gone, packs, minimums, conditions)?;
        let now = self.now;
        let kept = Decision::Keep(Why::Undelete);
        let is_held_at =
            |row: &PackRow, seconds| held.until(row).is_some_and(|until| until > seconds);
        for (row, decision) in &mut self.dead {
            let is_held = match *decision {
                Decision::Delete => is_held_at(row, now.seconds),
                Decision::Wait { free_in_days } => is_held_at(row, free_at(row, free_in_days, now)),
                _ => false,
            };
            if is_held {
                *decision = kept;
            }
        }
        for pack in &mut self.partly {
            let is_held = match pack.decision {
                Decision::Wait { free_in_days } => {
                    is_held_at(&pack.row, free_at(&pack.row, free_in_days, now))
                }
                _ => (pack.goes() || pack.wants_thaw()) && is_held_at(&pack.row, now.seconds),
            };
            if is_held {
                pack.decision = kept;
            }
        }
        let needed = Ordinals::from_ranges(held.packs.iter().flat_map(|(packs, _)| packs.ranges()));
        let given_up = &packs.given_up;
        self.given_up_early = given_up.without(&given_up.without(&needed));
        self.recoverable = held.snapshots;
        Ok(())
    }
}

/// Returns when each snapshot was dropped, by the clock of the store: the time at which it received the entry that
/// dropped the snapshot. If the listing lacks this entry, uses the time of the next one in it, which is later.
///
/// In a folder, a writer can set the time of the file of its entry. So there no entry counts as older than one before
/// it, except than one from the future.
fn dropped_at(
    repository: &Repository,
    rows: &[SnapshotRow],
    now: Time,
) -> Result<BTreeMap<SnapshotId, i64>, Error> {
    let drops = repository.catalog.drops()?;
    let numbers = rows.iter().filter_map(|row| drops.get(&row.entry.id));
    let Some(first) = numbers.min() else { return Ok(BTreeMap::new()) };
    let is_folder = repository.store.time().is_none();
    let before = first.checked_sub(1).filter(|before| *before > 0 && !is_folder).map(layout::log);
    let listed = repository.store.list(layout::LOG, before.as_deref())?;
    let entries = listed.iter().filter_map(|object| {
        let number = layout::log_number(&object.name)?;
        Some((number, object.modified))
    });
    let mut entries: BTreeMap<u64, i64> = entries.collect();
    if is_folder {
        let mut latest = i64::MIN;
        for modified in entries.values_mut() {
            *modified = latest.max(*modified);
            latest = if *modified <= now.seconds { *modified } else { latest };
        }
    }
    let at = rows.iter().filter_map(|row| {
        let (_, modified) = entries.range(*drops.get(&row.entry.id)?..).next()?;
        Some((row.entry.id, *modified))
    });
    Ok(at.collect())
}
