//! Finds the packs that still exist and that a dropped snapshot may rely on.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::format::{Ordinals, SnapshotEntry, SnapshotId, WriterId};
use crate::repo::stored::Inventory;
use crate::repo::{PackRow, PackState, Repository, SnapshotRow};

/// The packs that a dropped snapshot may rely on. If it needs any other pack, it cannot be
/// undeleted.
pub(super) struct StillThere {
    /// Packs of the log that are not tombstoned.
    pub committed: Ordinals,
    /// Packs that only writers have tombstoned and whose objects still exist.
    pub given_up: Ordinals,
}

impl StillThere {
    pub fn of(
        repository: &Repository,
        committed: &[PackRow],
        inventory: &Inventory,
    ) -> Result<StillThere, Error> {
        let given_up = repository.catalog.packs(PackState::Tombstoned)?.into_iter();
        let given_up = given_up.filter(|row| row.by_writer && inventory.find(row).is_some());
        Ok(StillThere {
            committed: committed.iter().filter_map(|row| row.ordinal).collect(),
            given_up: given_up.filter_map(|row| row.ordinal).collect(),
        })
    }
}

/// A dropped snapshot that cannot be undeleted only because writers have tombstoned packs that it needs. The packs still
/// exist, and revoking these writers makes them alive again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocable {
    /// The snapshot.
    pub id: SnapshotId,
    /// The writers, each with the first entry from which on it must be revoked.
    pub writers: BTreeMap<WriterId, u64>,
}

/// Finds the snapshots among some dropped ones that a revocation of writers brings back.
pub fn revocable(repository: &Repository, rows: &[SnapshotRow]) -> Result<Vec<Revocable>, Error> {
    let catalog = &repository.catalog;
    let mut lacking: Vec<&SnapshotEntry> = Vec::new();
    for row in rows {
        if !catalog.all_committed(&row.entry.packs)? {
            lacking.push(&row.entry);
        }
    }
    if lacking.is_empty() {
        return Ok(Vec::new());
    }
    let inventory = Inventory::list(repository)?;
    let committed = catalog.packs(PackState::Committed)?;
    let StillThere { committed, given_up } = StillThere::of(repository, &committed, &inventory)?;
    let there = Ordinals::from_ranges(committed.ranges().into_iter().chain(given_up.ranges()));
    let drops = catalog.drops()?;
    let mut found = Vec::new();
    for entry in lacking.into_iter().filter(|entry| there.contains_all(&entry.packs)) {
        let mut writers = catalog.given_up_by(&entry.packs)?;
        // What dropped the snapshot may come before what tombstoned its packs.
        if let Some(number) = drops.get(&entry.id)
            && let Some(author) = catalog.author_of(*number)?
            && let Some(from) = writers.get_mut(&author)
        {
            *from = (*number).min(*from);
        }
        if !writers.is_empty() {
            found.push(Revocable { id: entry.id, writers });
        }
    }
    Ok(found)
}
