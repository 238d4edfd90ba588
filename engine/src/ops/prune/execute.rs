//! Executing a prune: the log gives up snapshots, packs and orphans in one entry, and only then is
//! anything deleted. Killed anywhere, the next prune goes on: what the log has given up and still
//! lies there is deleted by it.

use std::collections::BTreeSet;

use super::plan::{Needed, PrunePlan};
use crate::error::Error;
use crate::format::{LogEntry, PackId, PackKind, PackRange, SnapshotId, Time};
use crate::progress::Progress;
use crate::repo::{PackState, Repository};
use crate::store::{StoreErrorKind, layout};

/// What a prune has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneSummary {
    pub snapshots_dropped: u64,
    /// Objects that were deleted, those of earlier prunes included.
    pub objects_deleted: u64,
    pub bytes_freed: u64,
}

/// Executes a plan. What has become needed since it was made stays: the log decides at its head.
pub fn prune(
    repository: &Repository,
    plan: &PrunePlan,
    time: Time,
    progress: &dyn Progress,
) -> Result<PruneSummary, Error> {
    // A snapshot of this host that is under way has packs that only its catalog knows.
    let _lock = repository
        .catalog
        .writer_lock(|| progress.stage("waiting for another run of this host"))?;
    let mut summary = PruneSummary::default();
    repository.commit(|| {
        let entry = compose(repository, plan, time)?;
        summary.snapshots_dropped = entry.dropped.len() as u64;
        Ok((!entry.is_empty()).then_some(entry))
    })?;
    progress.stage("deleting");
    delete(repository, &mut summary, progress)?;
    Ok(summary)
}

/// Makes the entry of a prune from the catalog at the head of the log.
fn compose(repository: &Repository, plan: &PrunePlan, time: Time) -> Result<LogEntry, Error> {
    let catalog = &repository.catalog;
    let (dropped, kept): (Vec<_>, Vec<_>) =
        catalog.snapshots()?.into_iter().partition(|row| plan.drop.contains(&row.entry.id));
    let needed = Needed::new(kept.into_iter().flat_map(|row| row.entry.packs));
    let mut ordinals = BTreeSet::new();
    for doomed in plan.doomed() {
        let Some(row) = catalog.pack(doomed.key)? else { continue };
        // Another writer may have counted on it since.
        if let (PackState::Committed, Some(ordinal)) = (row.state, row.ordinal)
            && row.id == doomed.id
            && !needed.contains(ordinal)
        {
            ordinals.insert(ordinal);
        }
    }
    let mut orphans: Vec<PackId> = Vec::new();
    for orphan in &plan.orphans {
        // Its writer may have put it into the log since.
        if catalog.pack_state(&orphan.id)?.is_none() {
            orphans.push(orphan.id);
        }
    }
    Ok(LogEntry {
        dropped: dropped.into_iter().map(|row| row.entry.id).collect(),
        tombstones: ranges(ordinals),
        orphans,
        ..LogEntry::new(time)
    })
}

fn ranges(ordinals: BTreeSet<u64>) -> Vec<PackRange> {
    let mut ranges: Vec<PackRange> = Vec::new();
    for ordinal in ordinals {
        match ranges.last_mut() {
            Some(range) if range.first + range.count == ordinal => range.count += 1,
            _ => ranges.push(PackRange { first: ordinal, count: 1 }),
        }
    }
    ranges
}

/// Deletes whatever the log has given up, by this prune or an earlier one.
fn delete(
    repository: &Repository,
    summary: &mut PruneSummary,
    progress: &dyn Progress,
) -> Result<(), Error> {
    for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
        for object in repository.store.list(layout::prefix(kind), None)? {
            let Some(id) = layout::pack_id(kind, &object.name) else { continue };
            if repository.catalog.pack_state(&id)? != Some(PackState::Tombstoned) {
                continue;
            }
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            match repository.store.delete(&object.name) {
                // Another prune was faster.
                Err(error) if error.kind == StoreErrorKind::NotFound => continue,
                deleted => deleted?,
            }
            summary.objects_deleted += 1;
            summary.bytes_freed += object.bytes;
            progress.advance(1, object.bytes);
        }
    }
    Ok(())
}

/// Makes a dropped snapshot visible again, if every pack that it needs is still there.
pub fn undrop(repository: &Repository, id: &SnapshotId, time: Time) -> Result<(), Error> {
    repository.commit(|| {
        let dropped = repository.catalog.dropped_snapshots()?;
        let Some(row) = dropped.into_iter().find(|row| row.entry.id == *id) else {
            return Ok(None);
        };
        if !repository.catalog.all_committed(&row.entry.packs)? {
            let reason = "packs that it needs were reclaimed already".to_owned();
            return Err(Error::Input { what: format!("snapshot {}", id.short()), reason });
        }
        Ok(Some(LogEntry { undropped: vec![*id], ..LogEntry::new(time) }))
    })
}
