//! Finds snapshots that have shrunk, by comparing trees. The marks in the log are not enough, because their writer may
//! be an old program or a thief. Needs the identity.

use std::collections::{BTreeSet, HashSet};

use crate::error::Error;
use crate::format::{Entry, EntryKind, SnapshotId, tree};
use crate::ops::browse::{Snapshot, diff};
use crate::ops::histories::histories;
use crate::ops::snapshot::is_less_than_half;
use crate::progress::Progress;
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// If a snapshot has fewer files than this, all of them may be edited in one day.
const CHANGED_FILES_MIN: u64 = 5;

/// The result of comparing trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Unmarked snapshots that have less than half as many files as the last full snapshot before them.
    pub shrunk: BTreeSet<SnapshotId>,
    /// Snapshots whose trees cannot be read; they are among `shrunk`.
    pub unreadable: BTreeSet<SnapshotId>,
}

/// Compares each snapshot that is not marked with the last full one of its history. Records the findings in the
/// catalog. Snapshots that were found full are not compared again.
pub fn compare(
    repository: &Repository,
    rows: &[SnapshotRow],
    progress: &dyn Progress,
) -> Result<Compared, Error> {
    let mut compared = Compared::default();
    let trees = TreeReader::new(repository)?;
    let known: HashSet<SnapshotId> = repository.catalog.compared()?;
    let mut full = Vec::new();
    for history in histories(rows) {
        let mut last: Option<&SnapshotRow> = None;
        for row in history.rows.iter().filter(|row| !row.is_marked()) {
            progress.check_interrupted()?;
            let id = row.entry.id;
            let before = last.filter(|_| !row.accepted && !known.contains(&id));
            let has_shrunk = match before.map(|last| has_shrunk(&trees, last, row)) {
                None => false,
                Some(Err(error)) if error.is_of_object() => {
                    compared.unreadable.insert(id);
                    true
                }
                Some(has_shrunk) => has_shrunk?,
            };
            if has_shrunk {
                compared.shrunk.insert(id);
                continue;
            }
            if before.is_some() {
                full.push(id);
            }
            last = Some(row);
        }
    }
    repository.catalog.set_compared(&full, &compared.shrunk)?;
    Ok(compared)
}

/// Returns whether the snapshot `row` contains less than half of the files of `last` with the same content, at any
/// path.
fn has_shrunk(trees: &TreeReader, last: &SnapshotRow, row: &SnapshotRow) -> Result<bool, Error> {
    let (a, b) = (Snapshot::open(trees, last.clone())?, Snapshot::open(trees, row.clone())?);
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut removed, mut added) = (0, 0);
    diff(&a, &b, &mut |found| {
        let file = |entry: Option<&Entry>| {
            entry.filter(|entry| entry.kind == EntryKind::File).map(content)
        };
        let is_database = |entry: Option<&Entry>| {
            entry.is_some_and(|e| matches!(e.mark, Some(tree::MARK_COPY | tree::MARK_TORN)))
        };
        // The catalog of a photo program changes whenever it is used.
        if is_database(found.before) && is_database(found.after) {
            return Ok(());
        }
        let (before, after) = (file(found.before), file(found.after));
        if before == after {
            return Ok(());
        }
        removed += u64::from(after.is_none());
        added += u64::from(before.is_none());
        gone.extend(before);
        come.extend(after);
        Ok(())
    })?;
    let files = last.entry.files;
    let left = files.saturating_sub(removed) + added;
    if files < CHANGED_FILES_MIN {
        return Ok(files >= 2 && is_less_than_half(left, files));
    }
    let lost = missing(gone, come);
    Ok(is_less_than_half(files.saturating_sub(lost), files))
}

/// Returns eight bytes of a hash over the content of a file.
fn content(entry: &Entry) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&entry.size.unwrap_or(0).to_le_bytes());
    entry.chunks.iter().for_each(|chunks| _ = hasher.update(chunks));
    let hash = hasher.finalize();
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

/// Counts the elements of one list that the other lacks, with multiplicity.
fn missing(mut of: Vec<u64>, mut from: Vec<u64>) -> u64 {
    of.sort_unstable();
    from.sort_unstable();
    let mut from = from.into_iter().peekable();
    let mut missing = 0;
    for id in of {
        while from.next_if(|other| *other < id).is_some() {}
        missing += u64::from(from.next_if(|other| *other == id).is_none());
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_counts_as_often_as_it_is_there() {
        assert_eq!(missing(vec![3, 1, 1, 2], vec![1, 4, 2, 0]), 2);
        assert_eq!(missing(vec![], vec![1]), 0);
        assert_eq!(missing(vec![5, 5], vec![]), 2);
    }
}
