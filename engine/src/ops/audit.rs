//! Proving that local files are in the archive: a memory card before it is formatted.
//!
//! A file counts as archived if a snapshot that is not dropped has a file of the same content, under
//! whatever name. Files are read and cut as a snapshot would; of the store only trees are read, and
//! nothing that is cold. Needs the identity: without trees, nobody can tell which of the stored chunks
//! a snapshot still has.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use crate::codec::Cutter;
use crate::error::Error;
use crate::files::{Cut, Globs, SourceFile, cut_file, gather, source};
use crate::format::{ChunkId, EntryKind, Hole, PackKind};
use crate::ops::browse::{Reached, ids, reach};
use crate::progress::{Problem, Progress};
use crate::repo::{Repository, TreeReader};

/// What was found of some local files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    pub files: u64,
    pub bytes: u64,
    /// Files that no snapshot has, in the order of their paths, and their sizes.
    pub missing: Vec<(PathBuf, u64)>,
    /// Files and folders that could not be read, and of which nothing is proven.
    pub failed: u64,
}

/// What a file holds: its size, its chunks, and where its holes are.
type Content = [u8; 16];

fn content(size: u64, chunks: &[ChunkId], holes: &[Hole]) -> Content {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes()).update(&(chunks.len() as u64).to_le_bytes());
    chunks.iter().for_each(|id| _ = hasher.update(&id.0));
    for hole in holes {
        hasher.update(&hole.offset.to_le_bytes()).update(&hole.bytes.to_le_bytes());
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Looks for each file at and below some paths in all snapshots.
pub fn audit(
    repository: &Repository,
    paths: &[PathBuf],
    exclude: &Globs,
    progress: &dyn Progress,
) -> Result<AuditReport, Error> {
    repository.identity()?;
    let (files, failed) = gather(paths, exclude, progress)?;
    progress.stage("reading trees");
    let archived = archived(repository, progress)?;
    progress.stage("reading files");
    progress.expect(files.len() as u64, files.iter().map(|(_, bytes)| bytes).sum());
    let auditor = Auditor {
        repository,
        archived,
        cutter: Cutter::new(
            &repository.secrets,
            repository.config.chunking,
            repository.settings()?.small_file_bytes,
        ),
        progress,
        report: Mutex::new(AuditReport { failed, ..AuditReport::default() }),
    };
    files.par_iter().try_for_each_init(Vec::new, |buffer, (path, _)| auditor.file(path, buffer))?;
    let mut report = auditor.report.into_inner().expect("nothing panics here");
    report.missing.sort();
    Ok(report)
}

/// Returns the contents of all files of all snapshots.
fn archived(repository: &Repository, progress: &dyn Progress) -> Result<HashSet<Content>, Error> {
    let reader = TreeReader::new(repository)?;
    let mut archived = HashSet::new();
    let mut add = |reached: Reached| {
        if let Reached::Entry(entry) = reached
            && entry.kind == EntryKind::File
        {
            let holes = entry.holes.as_deref().unwrap_or_default();
            archived.insert(content(entry.size.unwrap_or(0), &ids(entry)?, holes));
        }
        Ok(())
    };
    // What is in a damaged tree is not archived.
    let damaged = |error: Error| if error.is_of_object() { Ok(()) } else { Err(error) };
    reach(&reader, &repository.catalog.snapshots()?, progress, &mut add, &damaged)?;
    Ok(archived)
}

struct Auditor<'a> {
    repository: &'a Repository,
    archived: HashSet<Content>,
    cutter: Cutter,
    progress: &'a dyn Progress,
    report: Mutex<AuditReport>,
}

impl Auditor<'_> {
    fn file(&self, path: &Path, buffer: &mut Vec<u8>) -> Result<(), Error> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let read = self.read(path, buffer);
        let found = match &read {
            Ok((_, ids, content)) => self.archived.contains(content) && self.all_sound(ids)?,
            Err(_) => false,
        };
        let mut report = self.report.lock().expect("nothing panics here");
        match read {
            Ok((size, ..)) => {
                report.files += 1;
                report.bytes += size;
                if !found {
                    report.missing.push((path.to_owned(), size));
                }
                self.progress.advance(1, size);
            }
            Err(error) => {
                report.failed += 1;
                let message = format!("cannot read it: {error}");
                self.progress.problem(Problem { path: path.to_owned(), message });
            }
        }
        Ok(())
    }

    /// Reads and cuts a file. Returns its size, its chunks and what it holds.
    fn read(&self, path: &Path, buffer: &mut Vec<u8>) -> io::Result<(u64, Vec<ChunkId>, Content)> {
        let mut file = SourceFile::open(path)?;
        let size = file.stat.size;
        let mut ids = Vec::new();
        let (ranges, whole) = cut_file(&mut file, &self.cutter, buffer, &mut |cut: Cut| {
            ids.push(self.repository.secrets.chunk_id(PackKind::Cold, cut.raw));
            Ok::<(), io::Error>(())
        })?;
        if !whole || !file.held_still()? {
            return Err(io::Error::other("it changed meanwhile"));
        }
        let holes = source::holes(&ranges, size).unwrap_or_default();
        let content = content(size, &ids, &holes);
        Ok((size, ids, content))
    }

    /// Returns whether all chunks are in packs that are alive, and none was found lost.
    fn all_sound(&self, ids: &[ChunkId]) -> Result<bool, Error> {
        for id in ids {
            if self.repository.catalog.sound_chunk(id)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
