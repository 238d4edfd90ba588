//! Finds writers that have emptied a history or dropped its newest full snapshot. Both may be what the owner wanted, and
//! both are what a thief of a writer's key can do, so the owner must hear of them.

use std::collections::{BTreeMap, HashSet};

use crate::error::Error;
use crate::format::signed::OWNER;
use crate::format::{SnapshotId, Time, WriterId};
use crate::ops::histories::{History, HistoryId, claimed_shrunk, histories};
use crate::repo::{Repository, SnapshotRow};

/// A history whose newest snapshots have no files, although one before them has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmptiedHistory {
    /// The first of the snapshots without files.
    pub row: SnapshotRow,
    /// The snapshot before it.
    pub before: SnapshotRow,
    /// Whether all snapshots without files are marked. Such a mark shows that the files of a computer were missing, as
    /// those of a disk that is not mounted; and policies neither count nor drop the snapshot.
    pub is_marked: bool,
}

impl EmptiedHistory {
    /// Returns whether no icecore writes such a snapshot by itself, because it would mark the snapshot.
    pub fn is_strange(&self) -> bool {
        !self.is_marked && self.before.entry.files >= 2
    }
}

/// A dropped snapshot that was the newest full one of its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedNewest {
    /// The snapshot.
    pub row: SnapshotRow,
    /// The writer that has dropped it.
    pub writer: WriterId,
    /// The number of the entry that dropped it.
    pub number: u64,
}

/// Finds the histories that a writer has emptied, unless the owner has accepted that. `empty` are snapshots without files
/// according to their trees, because the number of files in the log is only what its writer says.
pub fn emptied(rows: &[SnapshotRow], empty: &HashSet<SnapshotId>) -> Vec<EmptiedHistory> {
    let is_empty = |row: &SnapshotRow| {
        let is_excused = row.accepted || row.writer == OWNER;
        !is_excused && (row.entry.files == 0 || empty.contains(&row.entry.id))
    };
    let of_history = |history: History| {
        let full = history.rows.iter().rposition(|row| !is_empty(row))?;
        let (before, row) = (&history.rows[full], history.rows.get(full + 1)?);
        let is_marked = history.rows[full + 1..].iter().all(|row| row.entry.marked.is_some());
        let found = EmptiedHistory { row: row.clone(), before: before.clone(), is_marked };
        (before.entry.files > 0).then_some(found)
    };
    histories(rows).into_iter().filter_map(of_history).collect()
}

/// Finds the snapshots that were the newest full ones of their histories when a writer dropped them, and that can still
/// come back. A policy never drops such a snapshot, only a person or a thief does.
pub fn dropped_newest(repository: &Repository) -> Result<Vec<DroppedNewest>, Error> {
    let catalog = &repository.catalog;
    let dropped = catalog.dropped_snapshots()?;
    if dropped.is_empty() {
        return Ok(Vec::new());
    }
    let drops = catalog.drops()?;
    let there = catalog.snapshots()?;
    let mut shrunk = catalog.shrunk()?;
    shrunk.extend(claimed_shrunk(&there));
    let mut members: BTreeMap<HistoryId, Vec<&SnapshotRow>> = BTreeMap::new();
    for row in there.iter().chain(&dropped).filter(|row| is_full(row, &shrunk)) {
        members.entry(HistoryId::of(&row.entry)).or_default().push(row);
    }
    let order = |row: &SnapshotRow| -> (u64, Time) { (row.number, row.entry.time) };
    let mut found = Vec::new();
    for row in dropped.iter().filter(|row| is_full(row, &shrunk)) {
        let Some(number) = drops.get(&row.entry.id).copied() else { continue };
        let was_there = |other: &SnapshotRow| {
            other.number < number && drops.get(&other.entry.id).is_none_or(|at| *at >= number)
        };
        let mut others = members.get(&HistoryId::of(&row.entry)).into_iter().flatten();
        if others.any(|other| order(other) > order(row) && was_there(other)) {
            continue;
        }
        let author = catalog.author_of(number)?.filter(|author| *author != OWNER);
        if let Some(writer) = author
            && can_return(repository, row)?
        {
            found.push(DroppedNewest { row: row.clone(), writer, number });
        }
    }
    Ok(found)
}

fn is_full(row: &SnapshotRow, shrunk: &HashSet<SnapshotId>) -> bool {
    let is_shrunk = shrunk.contains(&row.entry.id) && !row.accepted;
    row.entry.files > 0 && !row.is_marked() && !is_shrunk && !row.apart
}

/// Returns whether a dropped snapshot can be undeleted, at least after the revocation of a writer.
fn can_return(repository: &Repository, row: &SnapshotRow) -> Result<bool, Error> {
    let packs = &row.entry.packs;
    Ok(repository.catalog.all_committed(packs)?
        || !repository.catalog.given_up_by(packs)?.is_empty())
}
