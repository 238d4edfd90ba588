//! Reading files: each chunk is cut, named, looked up, compressed and sealed while it is in cache.

use std::io;
use std::path::Path;
use std::sync::mpsc::Receiver;

use super::batch::{Content, Delivery, FileJob, Outcome};
use super::run::Run;
use super::sealer::Sealer;
use crate::codec::Compressor;
use crate::error::Error;
use crate::files::{Cut, SourceFile, cut_file, source};
use crate::format::{PackKind, tree};
use crate::repo::Repository;
use crate::repo::catalog::Catalog;

/// A batch of neighbouring files of one kind.
pub(super) struct Work {
    pub kind: PackKind,
    pub jobs: Vec<FileJob>,
    pub delivery: Delivery,
}

/// What a thread needs to turn files into packs. Between batches it keeps its packs open.
struct Worker {
    view: Catalog,
    compressor: Compressor,
    buffer: Vec<u8>,
    hot: Sealer,
    cold: Sealer,
}

/// Works off batches until there are no more, then closes what is open.
pub(super) fn run(run: &Run, batches: Receiver<Work>) {
    let mut worker = Worker::new(run.repository).map_err(|error| run.fail(error)).ok();
    for Work { kind, jobs, delivery } in batches {
        let Some(worker) = worker.as_mut().filter(|_| !run.stopped()) else { continue };
        match worker.batch(run, kind, jobs) {
            Ok(outcomes) => delivery.finish(outcomes),
            Err(error) => run.fail(error),
        }
    }
    if let Some(mut worker) = worker.filter(|_| !run.stopped()) {
        worker.hot.close(run);
        worker.cold.close(run);
    }
}

/// Why one try at a file ended early.
enum Trouble {
    /// The file: it is named, the run goes on.
    File(io::Error),
    /// The store, the catalog or the user: the run ends.
    Run(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Run(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::File(error)
    }
}

impl Worker {
    fn new(repository: &Repository) -> Result<Self, Error> {
        Ok(Worker {
            view: repository.catalog.view()?,
            compressor: Compressor::default(),
            buffer: Vec::new(),
            hot: Sealer::new(PackKind::Hot),
            cold: Sealer::new(PackKind::Cold),
        })
    }

    fn batch(
        &mut self,
        run: &Run,
        kind: PackKind,
        jobs: Vec<FileJob>,
    ) -> Result<Vec<Outcome>, Error> {
        let folder = jobs.first().and_then(|job| job.path.parent()).unwrap_or(Path::new(""));
        let sealer = if kind == PackKind::Cold { &mut self.cold } else { &mut self.hot };
        sealer.turn_to(run, folder);
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            if run.stopped() {
                break;
            }
            outcomes.push(self.file(run, kind, job)?);
        }
        Ok(outcomes)
    }

    /// Reads a file, a second time if it changed or vanished meanwhile.
    fn file(&mut self, run: &Run, kind: PackKind, job: FileJob) -> Result<Outcome, Error> {
        let mut tried = self.attempt(run, kind, &job);
        if !matches!(tried, Ok(Content { trusted: true, .. }) | Err(Trouble::Run(_))) {
            tried = self.attempt(run, kind, &job);
        }
        let (torn, message, gone) = match tried {
            Ok(content) if content.trusted => {
                self.count(run, &job, &content);
                return Ok(Some(content));
            }
            Err(Trouble::Run(error)) => return Err(error),
            Ok(content) => (Some(content), "changed while it was read".to_owned(), false),
            Err(Trouble::File(error)) => {
                let gone = error.kind() == io::ErrorKind::NotFound;
                (None, format!("cannot read: {error}"), gone)
            }
        };
        // A file that was removed is not in the snapshot; one that cannot be read may be only ill.
        let older = if gone { None } else { self.older(run, &job)? };
        let (content, note) = match (older, torn) {
            (Some(older), _) => (Some(older), "; the last version that was read is kept"),
            (None, Some(torn)) => (Some(torn), "; it is stored as it was read"),
            (None, None) => (None, ""),
        };
        run.failed_file(&job.path, format!("{message}{note}"));
        if let Some(content) = &content {
            run.count(|totals| {
                totals.files_unmodified += 1;
                totals.bytes_processed += content.stat.size;
            });
        }
        run.advance(1, job.stat.size);
        Ok(content)
    }

    fn count(&self, run: &Run, job: &FileJob, content: &Content) {
        let same = |older: &crate::repo::catalog::CachedFile| {
            older.chunks == content.chunks && older.size == content.stat.size
        };
        run.count(|totals| {
            match &job.older {
                None => totals.files_new += 1,
                Some(older) if same(older) => totals.files_unmodified += 1,
                Some(_) => totals.files_changed += 1,
            }
            totals.bytes_processed += content.stat.size;
        });
        run.advance(1, job.stat.size);
    }

    /// Returns the version of the last run, if all of it is still stored.
    fn older(&mut self, run: &Run, job: &FileJob) -> Result<Option<Content>, Error> {
        let Some(older) = &job.older else { return Ok(None) };
        let mut packs = Vec::new();
        for id in tree::split_ids(&older.chunks).unwrap_or_default() {
            match self.view.sound_chunk(&id)? {
                Some(place) => packs.push(place.pack),
                None => return Ok(None),
            }
        }
        run.need(packs);
        let mut stat = job.stat;
        (stat.size, stat.mtime, stat.ctime, stat.inode) =
            (older.size, older.mtime, older.ctime, older.inode);
        let xattrs = source::xattrs(&job.path).unwrap_or_default();
        let (chunks, holes) = (older.chunks.clone(), older.holes.clone());
        Ok(Some(Content { stat, chunks, holes, xattrs, trusted: false }))
    }

    fn attempt(&mut self, run: &Run, kind: PackKind, job: &FileJob) -> Result<Content, Trouble> {
        let mut file = SourceFile::open(&job.path)?;
        let stat = file.stat;
        let mut chunks = Vec::new();
        let Worker { view, compressor, buffer, hot, cold } = self;
        let sealer = if kind == PackKind::Cold { cold } else { hot };
        sealer.next_file();
        let (ranges, whole) = cut_file(&mut file, &run.cutter, buffer, &mut |cut: Cut| {
            if run.stopped() {
                return Err(Trouble::Run(Error::Interrupted));
            }
            chunks.push(sealer.chunk(run, view, compressor, cut.raw, cut.left)?);
            Ok(())
        })?;
        if chunks.len() > tree::ENTRY_CHUNKS_MAX {
            return Err(io::Error::other("it has too many chunks for one file").into());
        }
        let xattrs = source::xattrs(&job.path)?;
        let holes = source::holes(&ranges, stat.size);
        let trusted = whole && file.held_still()?;
        Ok(Content { stat, chunks: tree::join_ids(&chunks), holes, xattrs, trusted })
    }
}
