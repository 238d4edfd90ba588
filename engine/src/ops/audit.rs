//! Proving that local files are in the archive: a memory card before it is formatted.
//!
//! A file counts as archived if a snapshot that is not dropped has a file of the same content, under
//! whatever name, and the packs of its chunks are there. Files are read and cut as a snapshot would; of
//! the store only trees are read, and nothing that is cold. Needs the identity: without trees, nobody
//! can tell which of the stored chunks a snapshot still has.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use super::present::{Present, present};
use crate::codec::Cutter;
use crate::error::Error;
use crate::files::{Globs, Ignore, SourceFile, WasRead, Window, cut_file, gather, source};
use crate::format::{ChunkId, EntryKind, Hole, PackKind};
use crate::ops::browse::{Reached, ids, reach};
use crate::progress::{Problem, Progress};
use crate::repo::{Repository, TreeReader};

/// What was found of some local files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    pub files: u64,
    pub bytes: u64,
    /// Files that no snapshot has whole, in the order of their paths, and their sizes.
    pub missing: Vec<(PathBuf, u64)>,
    /// Files and folders that could not be read, and of which nothing is proven.
    pub failed: u64,
    /// Paths that were given and hold no file: perhaps a card that is not mounted.
    pub empty: Vec<PathBuf>,
    /// Objects of the archive that cannot be read, of trees that may have had what is missing.
    pub damaged: BTreeSet<String>,
    /// Packs that the log has and that are not there, or not as long as they were.
    pub packs_absent: u64,
}

impl AuditReport {
    /// Returns whether every path holds files, and all of these are archived.
    pub fn is_proven(&self) -> bool {
        self.files > 0 && self.missing.is_empty() && self.failed == 0 && self.empty.is_empty()
    }
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
    let mut report = AuditReport::default();
    let mut files = Vec::new();
    for path in paths {
        let (found, failed) = gather(std::slice::from_ref(path), exclude, progress)?;
        if found.is_empty() && failed == 0 {
            report.empty.push(path.clone());
        }
        files.extend(found);
        report.failed += failed;
    }
    progress.stage("listing packs");
    let present = present(repository)?;
    report.packs_absent = present.absent;
    progress.stage("reading files");
    progress.expect(files.len() as u64, files.iter().map(|(_, bytes)| bytes).sum());
    let auditor = Auditor {
        repository,
        present,
        cutter: Cutter::new(
            &repository.secrets,
            repository.config.chunking,
            repository.settings()?.small_file_bytes,
        ),
        progress,
        wanted: Mutex::default(),
        report: Mutex::new(report),
    };
    files
        .par_iter()
        .try_for_each_init(Window::default, |window, (path, _)| auditor.file(path, window))?;
    let mut report = auditor.report.into_inner().expect("nothing panics here");
    let mut wanted = auditor.wanted.into_inner().expect("nothing panics here");
    progress.stage("reading trees");
    tick_off(repository, &mut wanted, &mut report, progress)?;
    report.missing.extend(wanted.into_values().flatten());
    report.missing.sort();
    Ok(report)
}

/// Files to look for, by what they hold, and their sizes.
type Wanted = HashMap<Content, Vec<(PathBuf, u64)>>;

/// Takes out of `wanted` what a snapshot has; the newest, which is likely to have it, is read first.
fn tick_off(
    repository: &Repository,
    wanted: &mut Wanted,
    report: &mut AuditReport,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let reader = TreeReader::new(repository)?;
    let mut visit = |reached: Reached| {
        if let Reached::Entry(entry) = reached
            && entry.kind == EntryKind::File
        {
            let holes = entry.holes.as_deref().unwrap_or_default();
            wanted.remove(&content(entry.size.unwrap_or(0), &ids(entry)?, holes));
        }
        Ok(if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    // What is in a damaged tree is not archived.
    let mut damaged = |error: Error| {
        if !error.is_of_object() {
            return Err(error);
        }
        let (object, reason) = error.object_and_reason();
        if report.damaged.insert(object.clone()) {
            let message = format!("{reason}; what only this has counts as not archived");
            progress.problem(Problem { path: object.into(), message });
        }
        Ok(())
    };
    let mut rows = repository.catalog.snapshots()?;
    rows.reverse();
    reach(&reader, &rows, progress, &mut visit, &mut damaged)
}

struct Auditor<'a> {
    repository: &'a Repository,
    present: Present,
    cutter: Cutter,
    progress: &'a dyn Progress,
    wanted: Mutex<Wanted>,
    report: Mutex<AuditReport>,
}

impl Auditor<'_> {
    fn file(&self, path: &Path, window: &mut Window) -> Result<(), Error> {
        self.progress.go_on()?;
        let read = self.read(path, window);
        let sound = match &read {
            Ok((_, ids, _)) => self.all_sound(ids)?,
            Err(_) => false,
        };
        let mut report = self.report.lock().expect("nothing panics here");
        match read {
            Ok((size, _, content)) => {
                report.files += 1;
                report.bytes += size;
                let file = (path.to_owned(), size);
                if sound {
                    let mut wanted = self.wanted.lock().expect("nothing panics here");
                    wanted.entry(content).or_default().push(file);
                } else {
                    report.missing.push(file);
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
    fn read(&self, path: &Path, window: &mut Window) -> io::Result<(u64, Vec<ChunkId>, Content)> {
        let file = SourceFile::open(path, &|| !self.progress.interrupted())?;
        let size = file.stat.size;
        let mut ids = Vec::new();
        let read = cut_file(file, &self.cutter, window, |_, raw| {
            ids.push(self.repository.secrets.chunk_id(PackKind::Cold, raw));
            Ok::<(), io::Error>(())
        })?;
        let WasRead { file, ranges, whole } = read;
        if !whole || !file.held_still(Ignore::default())? {
            return Err(io::Error::other("it changed meanwhile"));
        }
        let holes = source::holes(&ranges, size).unwrap_or_default();
        let content = content(size, &ids, &holes);
        Ok((size, ids, content))
    }

    /// Returns whether each chunk is in a pack of the log that is there, and was not found lost in it.
    fn all_sound(&self, ids: &[ChunkId]) -> Result<bool, Error> {
        let catalog = &self.repository.catalog;
        'ids: for id in ids {
            for place in catalog.chunk_places(id)? {
                if self.present.packs.contains(&place.pack)
                    && catalog.lost_at(place.pack, place.slot)?.is_none()
                {
                    continue 'ids;
                }
            }
            return Ok(false);
        }
        Ok(true)
    }
}
