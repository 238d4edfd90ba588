//! Finds files that were corrupted on disk: their content differs from the previous snapshot, but their size and times
//! are the same. Snapshots with such files are marked until the owner accepts them. The last full snapshot before a
//! marked one is kept, because it contains the good versions (spec section 4.3).

use std::path::PathBuf;

use crate::error::Error;
use crate::format::{Entry, EntryKind, SnapshotEntry};
use crate::ops::browse::{self, Change, Snapshot};
use crate::ops::histories::HistoryId;
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// A snapshot that is marked because files in it were corrupted on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotted {
    /// The snapshot.
    pub entry: SnapshotEntry,
    /// The last full snapshot before it, which contains the good versions; `None` if it was dropped.
    pub before: Option<SnapshotEntry>,
    /// The real paths of the corrupted files, without a leading slash.
    pub files: Vec<PathBuf>,
}

/// Returns the snapshots that are marked because files were corrupted on disk, in log order.
///
/// # Errors
/// Fails if a tree cannot be read.
pub fn rotted(repository: &Repository, trees: &TreeReader) -> Result<Vec<Rotted>, Error> {
    let rows = repository.catalog.snapshots()?;
    let mut found = Vec::new();
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.is_rotted()) {
        let history = HistoryId::of(&row.entry);
        let is_full = |row: &&SnapshotRow| !row.is_marked() && HistoryId::of(&row.entry) == history;
        let before = rows[..at].iter().rev().find(is_full);
        let mut files = Vec::new();
        if let Some(before) = before {
            let old = Snapshot::open(trees, before.clone())?;
            let new = Snapshot::open(trees, row.clone())?;
            browse::diff(&old, &new, &mut |found| {
                let is_rotted = found.change == Change::Modified
                    && found.before.zip(found.after).is_some_and(|(a, b)| is_same_but(a, b));
                files.extend(is_rotted.then(|| found.path.to_owned()));
                Ok(())
            })?;
        }
        let before = before.map(|row| row.entry.clone());
        found.push(Rotted { entry: row.entry.clone(), before, files });
    }
    Ok(found)
}

/// Returns whether two versions of a file have the same size and time. Returns false for databases and for files that
/// changed while they were read.
fn is_same_but(a: &Entry, b: &Entry) -> bool {
    let is_plain = |entry: &Entry| entry.kind == EntryKind::File && entry.mark.is_none();
    is_plain(a) && is_plain(b) && (a.size, a.mtime) == (b.size, b.mtime)
}
