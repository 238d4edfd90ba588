//! Executes a prune. First it deletes objects that earlier log entries have tombstoned. Then one log entry drops
//! snapshots and tombstones packs and orphans, and only then are these deleted. Then it copies live chunks out of
//! packs, and another log entry tombstones those packs. If the run is killed at any point, the next prune continues: it
//! reuses the copies that were uploaded, and deletes tombstoned objects that still exist.

use std::collections::BTreeSet;

use super::plan::{ORPHAN_SECONDS_MIN, PackObject, PrunePlan, STILL_NEEDED, needed};
use super::repack::{Moves, copy, going, moved};
use crate::error::Error;
use crate::format::{LogEntry, Ordinals, PackId, Settings, SnapshotId, Time};
use crate::ops::histories::HistoryId;
use crate::progress::{Problem, Progress, Unit};
use crate::repo::{PackState, Repository, SnapshotRow};
use crate::store::StoreErrorKind;

/// The result of a prune.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneSummary {
    /// Number of snapshots that were dropped.
    pub snapshots_dropped: u64,
    /// Number of packs whose live chunks were moved to other packs.
    pub packs_repacked: u64,
    /// Bytes of the new packs and their parity.
    pub bytes_written: u64,
    /// Number of objects that were deleted, including those that earlier prunes tombstoned.
    pub objects_deleted: u64,
    /// Number of deleted objects that were the parity of packs.
    pub parity_deleted: u64,
    /// Bytes of the deleted objects.
    pub bytes_freed: u64,
    /// Number of objects that cannot be read, or that were tombstoned although a current or dropped snapshot needs
    /// them.
    pub damaged: u64,
}

/// Executes a plan. Packs that have become needed since the plan was made stay, because the state at the head of the
/// log decides.
///
/// Unneeded packs are deleted before the copying, so that there is space for the copies. Packs that were tombstoned
/// earlier are deleted first, because that needs no log entry, for which a full disk may have no space. If there is
/// still no space, the reserve is used.
pub fn prune(
    repository: &Repository,
    plan: &PrunePlan,
    time: Time,
    progress: &dyn Progress,
) -> Result<PruneSummary, Error> {
    let mut summary = PruneSummary::default();
    prune_into(repository, plan, time, &mut summary, progress)?;
    Ok(summary)
}

/// Like [`prune`], but also returns in `summary` what was done before a failure.
pub fn prune_into(
    repository: &Repository,
    plan: &PrunePlan,
    time: Time,
    summary: &mut PruneSummary,
    progress: &dyn Progress,
) -> Result<(), Error> {
    repository.expect_main()?;
    // Wait for a snapshot of this host, whose packs are not in the log yet.
    let _lock = repository.catalog.writer_lock(progress)?;
    // A host must check every signature itself before it deletes anything.
    repository.check_signatures(progress)?;
    let has_reserve = repository.store.has_reserve();
    let pruned = execute(repository, plan, time, summary, progress);
    if has_reserve {
        repository.store.keep_reserve();
    }
    pruned
}

fn execute(
    repository: &Repository,
    plan: &PrunePlan,
    time: Time,
    summary: &mut PruneSummary,
    progress: &dyn Progress,
) -> Result<(), Error> {
    progress.stage("deleting");
    summary.damaged += plan.report_refused(progress);
    give_up_leftovers_again(repository, plan, time)?;
    delete(repository, plan.leftovers.iter().cloned(), summary, progress)?;
    let (left, bytes) = repository.store.sweep_all(time.seconds - ORPHAN_SECONDS_MIN)?;
    summary.objects_deleted += left;
    summary.bytes_freed += bytes;
    let mut given_up = LogEntry::new(time);
    with_reserve(repository, || {
        repository.settle_uploads()?;
        repository.commit(|| {
            given_up = give_up(repository, plan, time)?;
            Ok((!given_up.is_empty()).then(|| given_up.clone()))
        })
    })?;
    summary.snapshots_dropped = given_up.dropped.len() as u64;
    give_up_again(repository, &given_up)?;
    let orphans = plan.orphans.iter().cloned();
    progress.stage("deleting");
    let doomed = plan.doomed().flat_map(|row| plan.objects_of(row));
    delete(repository, doomed.chain(orphans), summary, progress)?;
    if plan.moving.packs.is_empty() {
        return Ok(());
    }
    // Other hosts may have written since the plan was made. Packs that now stay need not be copied.
    let going = going(repository, &plan.moving, &newcomers(repository, plan)?)?;
    progress.stage("repacking");
    let copied = copy(repository, &plan.moving, &going, progress)?;
    summary.bytes_written = copied.bytes;
    summary.damaged += copied.damaged;
    let mut given_up = LogEntry::new(time);
    // Commit the copies that were uploaded, even if the disk has no space for the others. This frees space.
    with_reserve(repository, || {
        repository.commit(|| {
            let moved = moved(repository, &plan.moving, &newcomers(repository, plan)?)?;
            let from = moved.moves.iter().map(|moved| moved.from);
            let tombstones = from.collect::<Ordinals>().ranges();
            let Moves { moves, added: packs } = moved;
            given_up = LogEntry { packs, tombstones, moved: moves, ..LogEntry::new(time) };
            Ok((!given_up.is_empty()).then(|| given_up.clone()))
        })
    })?;
    summary.packs_repacked = given_up.moved.len() as u64;
    give_up_again(repository, &given_up)?;
    progress.stage("deleting");
    let packs = plan.moved().flat_map(|row| plan.objects_of(row));
    delete(repository, packs, summary, progress)?;
    copied.full.map_or(Ok(()), Err)
}

/// Does work that needs little space. If the disk is full, releases the reserve and tries again.
fn with_reserve(
    repository: &Repository,
    mut needs_room: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    match needs_room() {
        Err(error) if error.is_full_disk() && repository.store.release_reserve() => needs_room(),
        done => done,
    }
}

/// Returns the packs of snapshots that are not in the plan.
fn newcomers(repository: &Repository, plan: &PrunePlan) -> Result<Ordinals, Error> {
    let rows = repository.catalog.snapshots()?.into_iter().map(|row| row.entry);
    let new = rows.filter(|entry| !plan.kept.contains(&entry.id) && !plan.drop.contains(&entry.id));
    Ok(Ordinals::from_ranges(new.flat_map(|entry| entry.packs)))
}

/// Composes the entry that tombstones unneeded packs, from the catalog at the head of the log.
fn give_up(repository: &Repository, plan: &PrunePlan, time: Time) -> Result<LogEntry, Error> {
    let catalog = &repository.catalog;
    let (dropped, kept): (Vec<_>, Vec<_>) = catalog
        .snapshots()?
        .into_iter()
        .chain(catalog.apart_snapshots()?)
        .map(|row| row.entry)
        .partition(|entry| plan.drop.contains(&entry.id));
    let needed = Ordinals::from_ranges(kept.into_iter().flat_map(|entry| entry.packs));
    let mut tombstones = Vec::new();
    for doomed in plan.doomed() {
        let Some(row) = catalog.pack(doomed.key)? else { continue };
        // Another writer may have begun to rely on the pack.
        if let (PackState::Committed, Some(ordinal)) = (row.state, row.ordinal)
            && row.id == doomed.id
            && !needed.contains(ordinal)
        {
            tombstones.push(ordinal);
        }
    }
    let mut orphans: BTreeSet<PackId> = BTreeSet::new();
    let is_clear = !repository.has_doubts()?;
    if !is_clear {
        tombstones.clear();
    }
    for orphan in plan.orphans.iter().filter(|_| is_clear) {
        // Its writer may have added it to the log in the meantime. Packs of this host that are only uploaded are not in
        // use, because this run has the writer lock.
        if matches!(catalog.pack_state(&orphan.id)?, None | Some(PackState::Uploaded)) {
            orphans.insert(orphan.id);
        }
    }
    Ok(LogEntry {
        dropped: dropped.into_iter().map(|entry| entry.id).collect(),
        tombstones: tombstones.into_iter().collect::<Ordinals>().ranges(),
        orphans: orphans.into_iter().collect(),
        ..LogEntry::new(time)
    })
}

/// Repeats the tombstones and the orphans of an entry before the first object is deleted. If the entry rots before another
/// host has read it, the second one still says that these packs are dead (docs/protocol.md, "put twice").
fn give_up_again(repository: &Repository, given_up: &LogEntry) -> Result<(), Error> {
    if given_up.tombstones.is_empty() && given_up.orphans.is_empty() {
        return Ok(());
    }
    with_reserve(repository, || {
        repository.commit(|| {
            // An entry that names a pack of the log as an orphan is void, and another host may have added one just now.
            let mut orphans = Vec::new();
            for id in &given_up.orphans {
                if repository.catalog.pack_by_id(id)?.is_none_or(|row| row.ordinal.is_none()) {
                    orphans.push(*id);
                }
            }
            let tombstones = given_up.tombstones.clone();
            Ok(Some(LogEntry { tombstones, orphans, ..LogEntry::new(given_up.time) }))
        })
    })
}

/// Repeats the tombstones of an earlier run that was killed before it had deleted everything, perhaps between its two
/// entries. If there is no space for an entry, deletes the objects nevertheless, because that makes space.
fn give_up_leftovers_again(
    repository: &Repository,
    plan: &PrunePlan,
    time: Time,
) -> Result<(), Error> {
    let (mut tombstones, mut orphans) = (Vec::new(), Vec::new());
    for leftover in &plan.leftovers {
        match repository.catalog.pack_by_id(&leftover.id)?.and_then(|row| row.ordinal) {
            Some(ordinal) => tombstones.push(ordinal),
            None => orphans.push(leftover.id),
        }
    }
    let tombstones = tombstones.into_iter().collect::<Ordinals>().ranges();
    let given_up = LogEntry { tombstones, orphans, ..LogEntry::new(time) };
    match give_up_again(repository, &given_up) {
        Err(error) if error.is_full_disk() => Ok(()),
        done => done,
    }
}

/// Deletes objects if the log has tombstoned their packs, in this prune or in an earlier one that did not finish.
fn delete(
    repository: &Repository,
    objects: impl Iterator<Item = PackObject>,
    summary: &mut PruneSummary,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let needed = needed(repository)?;
    let objects: Vec<PackObject> = objects.collect();
    progress.expect(Unit::Objects, objects.len() as u64, 0);
    for object in objects {
        let is_parity = object.is_parity();
        let PackObject { id, name, bytes } = object;
        let Some(row) = repository.catalog.pack_by_id(&id)? else { continue };
        if row.state != PackState::Tombstoned {
            continue;
        }
        // icecore never tombstones a pack that a visible snapshot names, so this tombstone is wrong
        // or hostile.
        if row.ordinal.is_some_and(|ordinal| needed.contains(ordinal)) {
            progress.problem(Problem { path: name.into(), message: STILL_NEEDED.to_owned() });
            summary.damaged += 1;
            continue;
        }
        progress.check_interrupted()?;
        match repository.store.delete(&name) {
            // Another prune has deleted it first.
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            deleted => deleted?,
        }
        summary.objects_deleted += 1;
        summary.parity_deleted += u64::from(is_parity);
        summary.bytes_freed += bytes;
        progress.advance(1, 0);
    }
    Ok(())
}

/// Undeletes a dropped snapshot if every pack that it needs is still alive. It becomes visible again, or set apart
/// again.
pub fn undelete(repository: &Repository, id: &SnapshotId, time: Time) -> Result<(), Error> {
    repository.commit(|| {
        let dropped = repository.catalog.dropped_snapshots()?;
        let Some(row) = dropped.into_iter().find(|row| row.entry.id == *id) else {
            return Ok(None);
        };
        if !repository.catalog.all_committed(&row.entry.packs)? {
            let reason = "objects that it needs are already deleted".to_owned();
            return Err(Error::Input { what: format!("snapshot {}", id.short()).into(), reason });
        }
        Ok(Some(LogEntry { undropped: vec![*id], ..LogEntry::new(time) }))
    })
}

/// Drops snapshots and nothing else. A later prune deletes their packs. Returns how many of the snapshots existed.
pub fn forget(
    repository: &Repository,
    ids: &BTreeSet<SnapshotId>,
    time: Time,
) -> Result<u64, Error> {
    let mut count = 0;
    repository.commit(|| {
        let rows = repository.catalog.snapshots()?.into_iter().map(|row| row.entry.id);
        let dropped: Vec<SnapshotId> = rows.filter(|id| ids.contains(id)).collect();
        count = dropped.len() as u64;
        let entry = LogEntry { dropped, ..LogEntry::new(time) };
        Ok((!entry.is_empty()).then_some(entry))
    })?;
    Ok(count)
}

/// Sets the number of days for which a dropped snapshot can be undeleted. Returns whether the
/// number changed.
pub fn set_undelete_days(repository: &Repository, days: u16, time: Time) -> Result<bool, Error> {
    let mut is_other = false;
    repository.commit(|| {
        let settings = repository.settings()?;
        is_other = settings.undelete_days() != days;
        let settings = Settings { undelete_days: Some(days), ..settings };
        Ok(is_other.then(|| LogEntry { settings: Some(settings), ..LogEntry::new(time) }))
    })?;
    Ok(is_other)
}

/// Accepts a marked snapshot as full, and with it the earlier snapshots of its history that are marked because files
/// are missing. Snapshots that are marked because files were corrupted on disk keep their mark, because it protects the
/// good versions; and if such a snapshot is accepted, that says nothing about what is missing from earlier ones. Returns the snapshots that were not accepted before.
pub fn accept(
    repository: &Repository,
    id: &SnapshotId,
    time: Time,
) -> Result<Vec<SnapshotId>, Error> {
    let mut accepted = Vec::new();
    repository.commit(|| {
        let rows = repository.catalog.snapshots()?;
        let Some(at) = rows.iter().position(|row| row.entry.id == *id) else {
            return Err(Error::NoSnapshot { name: id.short() });
        };
        let history = HistoryId::of(&rows[at].entry);
        let is_before = |row: &&SnapshotRow| {
            row.is_marked() && !row.is_rotted() && HistoryId::of(&row.entry) == history
        };
        let end = if rows[at].is_rotted() { 0 } else { at };
        let before = rows[..end].iter().filter(is_before);
        // The snapshot itself may be unmarked, because a prune may have found from its trees that it has shrunk.
        let this = rows[at..=at].iter().filter(|row| !row.accepted);
        accepted = before.chain(this).map(|row| row.entry.id).collect();
        let entry = LogEntry { accepted: Some(accepted.clone()), ..LogEntry::new(time) };
        Ok((!entry.is_empty()).then_some(entry))
    })?;
    Ok(accepted)
}
