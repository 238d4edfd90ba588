//! Finds the files that have changed by themselves: with another content than in the snapshot before, but the same size
//! and the same times. The snapshots that have them are marked until the owner accepts them, and the last full snapshot
//! before a marked one stays, which has the good versions (spec section 4.3).

use std::path::PathBuf;

use crate::error::Error;
use crate::format::{Entry, EntryKind, SnapshotEntry};
use crate::ops::browse::{self, Change, Snapshot};
use crate::ops::histories::HistoryId;
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// A snapshot that is marked because files in it have changed by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotted {
    pub entry: SnapshotEntry,
    /// The last full snapshot before it, which has the versions from before; `None` if it was dropped.
    pub before: Option<SnapshotEntry>,
    /// The real paths of these files, without a leading slash.
    pub files: Vec<PathBuf>,
}

/// Returns the snapshots that are marked because files have changed by themselves, in the order of the log.
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

/// Returns whether two versions of a file have the same size and time. Databases and torn files do not count.
fn is_same_but(a: &Entry, b: &Entry) -> bool {
    let is_plain = |entry: &Entry| entry.kind == EntryKind::File && entry.mark.is_none();
    is_plain(a) && is_plain(b) && (a.size, a.mtime) == (b.size, b.mtime)
}
