//! Reads restored files again, and compares them with the snapshot, chunk by chunk.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::open::Cause;
use super::options::RestoreSummary;
use super::parents::Parents;
use super::select::Selection;
use super::sparse::Layout;
use crate::error::Error;
use crate::files::{Database, Folder, Links, NoFolder, SourceFile};
use crate::format::tree::MARK_COPY;
use crate::format::{Entry, PackKind};
use crate::ops::browse::ids;
use crate::progress::{Problem, Progress};
use crate::repo::Repository;

/// The paths of existing files that stay. Only their hashes are kept, because there may be millions.
#[derive(Default)]
pub(super) struct Kept {
    hasher: RandomState,
    paths: HashSet<u64>,
}

impl Kept {
    pub fn add(&mut self, path: &Path) {
        self.paths.insert(self.hasher.hash_one(path));
    }

    fn has(&self, path: &Path) -> bool {
        self.paths.contains(&self.hasher.hash_one(path))
    }
}

/// Compares restored files with the snapshot.
pub(super) struct Verifier<'a> {
    pub selection: &'a Selection<'a>,
    /// Files that failed before, which are skipped.
    pub failed: &'a BTreeMap<PathBuf, Cause>,
    /// Existing files that stay.
    pub kept: &'a Kept,
    pub summary: &'a mut RestoreSummary,
    pub progress: &'a dyn Progress,
}

impl Verifier<'_> {
    /// Compares every selected file in the target. Reports files that differ, and counts them as
    /// failed.
    pub fn verify(mut self, root: &Folder, links: &Links) -> Result<(), Error> {
        self.progress.stage("reading again");
        let mut parents = Parents::new(Some(root.clone()), links.clone());
        self.selection.each_file(
            &mut |path, entry| self.file(entry, &root.path.join(path), parents.of(path)),
            // The restore has reported these folders.
            &mut |_, _| Ok(()),
        )
    }

    fn file(
        &mut self,
        entry: &Entry,
        path: &Path,
        folder: &Result<Folder, NoFolder>,
    ) -> Result<(), Error> {
        if self.failed.contains_key(path) {
            return Ok(());
        }
        self.progress.check_interrupted()?;
        let repository = self.selection.snapshot.trees.repository();
        let same = match folder {
            Ok(folder) => match is_same(repository, entry, folder) {
                // The database itself stays where it was.
                Ok(false) if entry.mark == Some(MARK_COPY) && self.kept.has(path) => {
                    is_same_database(repository, entry, folder)
                }
                same => same,
            },
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        match same {
            Ok(true) => self.summary.files_verified += 1,
            Ok(false) => self.differs(path, "its content differs from the snapshot".to_owned()),
            Err(error) => self.differs(path, format!("cannot read it again: {error}")),
        }
        self.progress.advance(1, entry.data_bytes());
        Ok(())
    }

    fn differs(&mut self, path: &Path, message: String) {
        self.summary.files_failed += 1;
        // A file that failed does not also count as already there.
        if self.kept.has(path) {
            self.summary.files_skipped = self.summary.files_skipped.saturating_sub(1);
            self.summary.files_kept_wrong += 1;
        }
        self.progress.problem(Problem { path: path.to_owned(), message });
    }
}

/// Compares the content of a file in `folder` with its entry.
pub(super) fn is_same(repository: &Repository, entry: &Entry, folder: &Folder) -> io::Result<bool> {
    contains(repository, entry, &folder.open_file(&entry.name)?)
}

/// Compares a database in `folder` with its entry, which SQLite has copied for the snapshot. The header of such a copy
/// differs from that of the database, so another copy is compared.
pub(super) fn is_same_database(
    repository: &Repository,
    entry: &Entry,
    folder: &Folder,
) -> io::Result<bool> {
    // The copy opens this path again, and fails if it leads to a different file.
    let path = folder.path_of(&entry.name);
    let Some(database) = Database::sniff(&path, &folder.open_file(&entry.name)?)? else {
        return Ok(false);
    };
    let copy = database.copy(repository.catalog.folder_path(), &|| false);
    copy.map_or(Ok(false), |copy| contains(repository, entry, &copy))
}

/// Returns whether a file contains exactly what an entry describes.
fn contains(repository: &Repository, entry: &Entry, source: &SourceFile) -> io::Result<bool> {
    if Some(source.stat.size) != entry.size {
        return Ok(false);
    }
    // Read only ranges with data, because a hole may be larger than any disk.
    let data = source.data_ranges()?;
    let file = source.file();
    let layout = Layout::new(entry.holes.clone());
    let mut at = 0;
    for id in ids(entry).map_err(io::Error::other)? {
        let place = repository.catalog.chunk(&id).map_err(io::Error::other)?;
        let Some(place) = place else { return Ok(false) };
        let bytes = u64::from(place.frame.raw_bytes);
        let mut raw = vec![0; bytes as usize];
        for (offset, range) in layout.pieces(at, bytes) {
            file.read_exact_at(&mut raw[range], offset)?;
        }
        if repository.secrets.chunk_id(PackKind::Cold, &raw) != id {
            return Ok(false);
        }
        at += bytes;
    }
    for hole in entry.holes.iter().flatten() {
        let end = hole.offset + hole.bytes;
        let first = data.partition_point(|range| range.end <= hole.offset);
        for range in data[first..].iter().take_while(|range| range.start < end) {
            let (mut at, end) = (range.start.max(hole.offset), range.end.min(end));
            while at < end {
                let mut zeros = vec![1; (end - at).min(1 << 20) as usize];
                file.read_exact_at(&mut zeros, at)?;
                if zeros.iter().any(|byte| *byte != 0) {
                    return Ok(false);
                }
                at += zeros.len() as u64;
            }
        }
    }
    Ok(true)
}
