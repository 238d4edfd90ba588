//! Proves that local files are in the archive, for example before a memory card is formatted.
//!
//! A file counts as archived if a snapshot that is not dropped contains a file with the same
//! content, under any name, and the packs of its chunks exist. Files are read and cut as for a
//! snapshot. From the store, only trees are read, which are never cold. The audit needs the
//! identity, because only trees show which of the stored chunks a snapshot still contains.

mod wanted;

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use super::present::{Present, present};
use crate::codec::Cutter;
use crate::error::Error;
use crate::files::{
    Beside, Database, Gathered, Globs, Ignore, NoCopy, ReadBuffer, Sight, SourceFile, WasRead,
    cut_file, gather, source,
};
use crate::format::{ChunkId, EntryKind, PackKind};
use crate::ops::browse::{Reached, ids, reach};
use crate::progress::{Problem, Progress, Unit};
use crate::repo::{Repository, TreeReader};
pub use wanted::AuditReport;
use wanted::{ContentHash, FileGroup, Kind, SoughtFile, SoughtFiles, content, group};

/// One form in which a file may be archived: the chunks of each part, and a hash of the part's
/// content.
type Way = Vec<(Vec<ChunkId>, ContentHash)>;

/// Searches all snapshots for each file at and below some paths.
pub fn audit(
    repository: &Repository,
    paths: &[PathBuf],
    exclude: &Globs,
    progress: &dyn Progress,
) -> Result<AuditReport, Error> {
    repository.identity()?;
    let mut report = AuditReport::default();
    let mut all = Gathered::default();
    for path in paths {
        let found = gather(std::slice::from_ref(path), exclude, progress)?;
        if found.files.is_empty() && found.failed.is_empty() {
            report.empty.push(path.clone());
        }
        all.files.extend(found.files);
        all.failed.extend(found.failed);
        all.litter.extend(found.litter);
    }
    // One path may be below another, so drop duplicates.
    let Gathered { mut files, mut failed, mut litter } = all;
    let mut seen = HashSet::new();
    files.retain(|(path, _)| seen.insert(path.clone()));
    let each = |paths: &mut Vec<PathBuf>| {
        paths.sort_unstable();
        paths.dedup();
        paths.len() as u64
    };
    (report.failed, report.litter) = (each(&mut failed), each(&mut litter));
    drop((seen, failed, litter));
    progress.stage("listing objects");
    let present = present(repository)?;
    report.packs_absent = present.absent;
    progress.stage("reading files");
    progress.expect(Unit::Files, files.len() as u64, files.iter().map(|(_, bytes)| bytes).sum());
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
    group(files)
        .par_iter()
        .try_for_each_init(ReadBuffer::default, |window, group| auditor.group(group, window))?;
    let mut report = auditor.report.into_inner().expect("nothing panics here");
    let mut wanted = auditor.wanted.into_inner().expect("nothing panics here");
    progress.stage("reading listings");
    tick_off(repository, &mut wanted, &mut report, progress)?;
    wanted.end(&mut report, progress);
    report.missing.sort();
    Ok(report)
}

/// Removes from `wanted` the files that snapshots contain. Reads the newest snapshot first, which
/// probably has most of them.
fn tick_off(
    repository: &Repository,
    wanted: &mut SoughtFiles,
    report: &mut AuditReport,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let reader = TreeReader::new(repository)?;
    let mut visit = |reached: Reached| {
        if let Reached::Entry(entry) = reached
            && entry.kind == EntryKind::File
        {
            let holes = entry.holes.as_deref().unwrap_or_default();
            wanted.found(&content(entry.size.unwrap_or(0), &ids(entry)?, holes));
            wanted.met(&entry.name, entry.mark);
        }
        Ok(if wanted.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    // Files in a damaged tree do not count as archived.
    let mut damaged = |error: Error| {
        if !error.is_of_object() {
            return Err(error);
        }
        let (object, reason) = error.object_and_reason();
        if report.damaged.insert(object.clone()) {
            let message = format!("{reason}; files that are only in it count as not archived");
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
    wanted: Mutex<SoughtFiles>,
    report: Mutex<AuditReport>,
}

impl Auditor<'_> {
    /// Reads a file and the files beside it. If it is a database, these are parts of it.
    fn group(&self, group: &FileGroup, window: &mut ReadBuffer) -> Result<(), Error> {
        self.progress.check_interrupted()?;
        let (path, bytes) = &group.main;
        let database = self.open(path).and_then(|file| Database::sniff(path, &file));
        let Ok(Some(database)) = database else {
            let plain =
                std::iter::once(&group.main).chain(group.beside.iter().map(|(file, _)| file));
            return plain.into_iter().try_for_each(|(path, bytes)| {
                self.progress.check_interrupted()?;
                let read = self.open(path).and_then(|file| self.read(file, window));
                let read = read.map(|content| vec![vec![content]]);
                self.note(path, *bytes, read, Kind::Plain)
            });
        };
        let folder = self.repository.catalog.folder_path();
        let mut ways = Vec::new();
        let copied = database.copy(folder, &|| self.progress.interrupted());
        let kind = match copied {
            Ok(copy) => {
                ways.extend(self.read(copy, window).map(|content| vec![content]));
                Kind::Database { no_copy: None }
            }
            Err(NoCopy::Stopped) => return Err(Error::Interrupted),
            Err(why) => Kind::Database { no_copy: Some(why.reason().to_owned()) },
        };
        // A snapshot may contain the database file itself with its journals. Take the `stat` only
        // now, because SQLite, when run as root, sets the owner of a journal that it opens, which
        // changes its ctime.
        let sight = Sight::of(path);
        let parts = group.beside.iter().filter(|(_, beside)| matches!(beside, Beside::Journal(_)));
        let parts = std::iter::once(path).chain(parts.map(|((path, _), _)| path));
        let plain =
            parts.map(|path| self.read(self.open(path)?, window)).collect::<io::Result<Vec<_>>>();
        let is_still = sight.and_then(|sight| sight.is_still(path, Ignore::default()));
        match plain {
            Ok(plain) if is_still.is_ok_and(|still| still) => ways.push(plain),
            Ok(_) => {}
            Err(error) if ways.is_empty() => return self.note(path, *bytes, Err(error), kind),
            Err(_) => {}
        }
        self.note(path, *bytes, Ok(ways), kind)
    }

    /// Records a file to search for. It counts as archived if snapshots contain all parts of one of
    /// its forms.
    fn note(
        &self,
        path: &Path,
        bytes: u64,
        ways: io::Result<Vec<Way>>,
        kind: Kind,
    ) -> Result<(), Error> {
        let mut sound = Vec::new();
        for way in ways.iter().flatten() {
            let ids = way.iter().map(|(ids, _)| self.all_sound(ids));
            if ids.collect::<Result<Vec<_>, _>>()?.into_iter().all(|sound| sound) {
                sound.push(way.iter().map(|(_, content)| *content).collect());
            }
        }
        let mut report = self.report.lock().expect("nothing panics here");
        match ways {
            Ok(_) => {
                report.files += 1;
                report.bytes += bytes;
                let mut wanted = self.wanted.lock().expect("nothing panics here");
                wanted.add(SoughtFile { path: path.to_owned(), bytes, ways: sound, kind });
                self.progress.advance(1, bytes);
            }
            Err(error) => {
                report.failed += 1;
                let message = format!("cannot read it: {error}");
                self.progress.problem(Problem { path: path.to_owned(), message });
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<SourceFile> {
        SourceFile::open(path, &|| !self.progress.interrupted())
    }

    /// Reads and cuts a file. Returns its chunks and the hash of its content.
    fn read(
        &self,
        file: SourceFile,
        window: &mut ReadBuffer,
    ) -> io::Result<(Vec<ChunkId>, ContentHash)> {
        let size = file.stat.size;
        let mut ids = Vec::new();
        let read = cut_file(file, &self.cutter, window, |_, raw| {
            ids.push(self.repository.secrets.chunk_id(PackKind::Cold, raw));
            Ok::<(), io::Error>(())
        })?;
        let WasRead { file, ranges, whole } = read;
        if !whole || !file.held_still(Ignore::default())? {
            return Err(io::Error::other("it changed while it was read"));
        }
        let holes = source::holes(&ranges, size).unwrap_or_default();
        let content = content(size, &ids, &holes);
        Ok((ids, content))
    }

    /// Returns whether each chunk is in a pack that exists and is in the log, and is not known to
    /// be lost there.
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
