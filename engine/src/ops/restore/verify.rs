//! Reading restored files again and comparing them, chunk by chunk, with what they must be.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::RestoreSummary;
use super::batch::Cause;
use super::place::Layout;
use super::select::Selection;
use crate::error::Error;
use crate::files::{Folder, SourceFile};
use crate::format::{Entry, PackKind};
use crate::ops::browse::ids;
use crate::progress::{Problem, Progress};
use crate::repo::Repository;

struct Verifier<'a> {
    repository: &'a Repository,
    failed: &'a BTreeMap<PathBuf, Cause>,
    summary: &'a mut RestoreSummary,
    progress: &'a dyn Progress,
}

/// Compares every selected file in the target; what differs is reported and counted as failed.
pub(super) fn verify(
    selection: &Selection,
    root: &Folder,
    failed: &BTreeMap<PathBuf, Cause>,
    summary: &mut RestoreSummary,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let repository = selection.snapshot.trees.repository();
    let mut verifier = Verifier { repository, failed, summary, progress };
    selection.each_file(
        &mut |path, entry| verifier.file(entry, &root.path.join(path)),
        // The restore has named it.
        &mut |_, _| Ok(()),
    )
}

impl Verifier<'_> {
    fn file(&mut self, entry: &Entry, path: &Path) -> Result<(), Error> {
        if self.failed.contains_key(path) {
            return Ok(());
        }
        if self.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        match is_same(self.repository, entry, path) {
            Ok(true) => self.summary.files_verified += 1,
            Ok(false) => self.differs(path, "its content differs from the snapshot".to_owned()),
            Err(error) => self.differs(path, format!("cannot read it again: {error}")),
        }
        Ok(())
    }

    fn differs(&mut self, path: &Path, message: String) {
        self.summary.files_failed += 1;
        self.progress.problem(Problem { path: path.to_owned(), message });
    }
}

/// Compares the content of a file with what it must be.
pub(super) fn is_same(repository: &Repository, entry: &Entry, path: &Path) -> io::Result<bool> {
    let source = SourceFile::open(path)?;
    if Some(source.stat.size) != entry.size {
        return Ok(false);
    }
    let file = source.into_file();
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
        let mut left = hole.bytes;
        while left > 0 {
            let mut zeros = vec![1; left.min(1 << 20) as usize];
            file.read_exact_at(&mut zeros, hole.offset + hole.bytes - left)?;
            if zeros.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            left -= zeros.len() as u64;
        }
    }
    Ok(true)
}
