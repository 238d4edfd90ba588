//! Working off what is read: each chunk is named, looked up, compressed and sealed while it is in cache.
//!
//! The workers take turns: one reads and cuts, and goes on with what it has cut while the next one
//! reads. Before they seal, chunks get their places in the order of the files, so that the same library
//! makes the same packs whatever the threads do, and a dry run predicts what the run does.

use std::io;
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex};

use super::batch::{Content, FileJob, Outcome};
use super::run::{Known, Run, lock};
use super::sealer::{NewChunk, OpenPack, Sealer};
use super::source::{Item, Read, Source, Task, Work};
use crate::codec::Compressor;
use crate::error::Error;
use crate::files::Window;
use crate::files::source::{self, Xattrs};
use crate::format::{ChunkId, Codec, PackKind, tree};
use crate::repo::Place;
use crate::repo::catalog::{CachedFile, Catalog};

/// What the workers of a run share.
pub(super) struct Line {
    source: Mutex<Source>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

struct Turn {
    /// The task whose chunks get their places next.
    next: u64,
    /// That task has no worker any more.
    broken: bool,
    placer: Placer,
}

impl Line {
    pub fn new(run: &Run, batches: Receiver<Work>) -> Result<Line, Error> {
        let turn = Turn { next: 0, broken: false, placer: Placer::new(run)? };
        let (source, turn) = (Mutex::new(Source::new(batches)), Mutex::new(turn));
        Ok(Line { source, turn, changed: Condvar::new() })
    }

    /// Works off tasks until there are no more.
    pub fn work(&self, run: &Run) {
        let mut leaving = Leaving { line: self, in_hand: false };
        let mut worker = match Worker::new(run) {
            Ok(worker) => worker,
            Err(error) => return run.fail(error),
        };
        while lock(&self.source).next(run, &mut worker.task) {
            leaving.in_hand = true;
            match worker.prepare(run).and_then(|()| self.place(run, &mut worker)) {
                Ok(true) => leaving.in_hand = false,
                Ok(false) => return,
                Err(error) => return run.fail(error),
            }
            worker.seal(run);
        }
    }

    /// Takes no more batches.
    pub fn give_up(&self) {
        self.source.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).close();
    }

    /// Gives the chunks of a task their places, when it is its turn. Returns false if there is none.
    fn place(&self, run: &Run, worker: &mut Worker) -> Result<bool, Error> {
        let number = worker.task.number;
        let waits = |turn: &mut Turn| turn.next != number && !turn.broken;
        let turn = self.changed.wait_while(lock(&self.turn), waits);
        let mut turn = turn.expect("no thread of a run panics while it holds a lock");
        if turn.broken || run.stopped() {
            return Ok(false);
        }
        turn.placer.place(run, worker)?;
        turn.next += 1;
        drop(turn);
        self.changed.notify_all();
        Ok(true)
    }

    /// Closes the packs that are open, when all workers are done.
    pub fn close(&self, run: &Run) {
        let mut turn = lock(&self.turn);
        turn.placer.hot.close(run);
        turn.placer.cold.close(run);
    }
}

/// Drop guard of a worker that exits, also by a panic: no other worker waits for its ticket, nor the
/// walk for somebody to take a batch.
struct Leaving<'a> {
    line: &'a Line,
    in_hand: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.in_hand {
            let turn = self.line.turn.lock();
            turn.unwrap_or_else(|poisoned| poisoned.into_inner()).broken = true;
            self.line.changed.notify_all();
        }
        self.line.give_up();
    }
}

/// A chunk of a task, by its place in the window.
struct Made {
    id: ChunkId,
    is_new: bool,
    /// The last full snapshot has it.
    is_in_last: bool,
    place: Range<usize>,
    /// Where it is compressed, if it is.
    packed: Option<Range<usize>>,
}

/// A chunk that has its place.
struct Placed {
    pack: Arc<OpenPack>,
    place: Place,
    /// Number of the chunk in the task.
    chunk: usize,
}

/// What a thread needs to turn files into packs.
struct Worker {
    view: Catalog,
    compressor: Compressor,
    task: Task,
    chunks: Vec<Made>,
    /// Compressed chunks, one after the other.
    packed: Vec<u8>,
    placed: Vec<Placed>,
}

impl Worker {
    fn new(run: &Run) -> Result<Self, Error> {
        Ok(Worker {
            view: run.repository.catalog.view()?,
            compressor: Compressor::default(),
            task: Task::default(),
            chunks: Vec::new(),
            packed: Vec::new(),
            placed: Vec::new(),
        })
    }

    /// Names, looks up and compresses the chunks of the task.
    fn prepare(&mut self, run: &Run) -> Result<(), Error> {
        let Worker { view, compressor, task, chunks, packed, .. } = self;
        chunks.clear();
        let bytes = task.window.cut_bytes();
        if packed.len() < bytes {
            // Fresh from the system, so that what is not used takes no memory; and as much as is ever needed.
            *packed = vec![0; bytes.max(run.cutter.window_bytes())];
        }
        for item in &task.items {
            let Item::Chunk(kind, cut) = item else { continue };
            if run.stopped() {
                return Err(Error::Interrupted);
            }
            let place = cut.place.clone();
            let id = run.repository.secrets.chunk_id(*kind, task.window.raw(&place));
            chunks.push(Made { id, is_new: false, is_in_last: false, place, packed: None });
        }
        // Held no longer than it is needed: the log of the catalog grows until old moments end.
        let moment = run.hold(view)?;
        for chunk in &mut *chunks {
            let known = moment.knows(&chunk.id)?;
            chunk.is_new = known.is_new();
            chunk.is_in_last = matches!(known, Known::InLast | Known::LostInLast);
        }
        drop(moment);
        let mut used = 0;
        for chunk in chunks.iter_mut().filter(|chunk| chunk.is_new) {
            let raw = task.window.raw(&chunk.place);
            let bytes = compressor.compress_into(raw, &mut packed[used..used + raw.len()]);
            chunk.packed = bytes.map(|bytes| used..used + bytes);
            used += bytes.unwrap_or(0);
        }
        Ok(())
    }

    /// Seals the chunks that have their places.
    fn seal(&mut self, run: &Run) {
        seal(run, &self.task.window, &self.packed, &self.chunks, &mut self.placed);
    }
}

fn seal(run: &Run, window: &Window, packed: &[u8], chunks: &[Made], placed: &mut Vec<Placed>) {
    for Placed { pack, place, chunk } in placed.drain(..) {
        let chunk = &chunks[chunk];
        let content = match &chunk.packed {
            Some(place) => &packed[place.clone()],
            None => window.raw(&chunk.place),
        };
        pack.seal(run, place, content);
    }
}

/// What is done in the order of the files.
struct Placer {
    view: Catalog,
    hot: Sealer,
    cold: Sealer,
    /// Chunks of the file in hand.
    chunks: Vec<ChunkId>,
    /// All of them are in the last full snapshot.
    same: bool,
    /// Bytes of the file in hand that were reported as done.
    reported: u64,
    /// What became of the files of the batch in hand.
    outcomes: Vec<Outcome>,
    /// What the file is beside which the next ones may lie.
    main: Main,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Main {
    /// No database.
    File,
    /// A database that is stored whole: nothing beside it is.
    Whole,
    /// A database that needs its journals of the same time.
    WithJournals,
}

impl Placer {
    fn new(run: &Run) -> Result<Self, Error> {
        Ok(Placer {
            view: run.repository.catalog.view()?,
            hot: Sealer::new(PackKind::Hot),
            cold: Sealer::new(PackKind::Cold),
            chunks: Vec::new(),
            same: true,
            reported: 0,
            outcomes: Vec::new(),
            main: Main::File,
        })
    }

    fn sealer(&mut self, kind: PackKind) -> &mut Sealer {
        if kind == PackKind::Cold { &mut self.cold } else { &mut self.hot }
    }

    fn place(&mut self, run: &Run, worker: &mut Worker) -> Result<(), Error> {
        let Worker { task, chunks, packed, placed, .. } = worker;
        let mut number = 0;
        for item in task.items.drain(..) {
            match item {
                Item::Batch(kind, folder) => self.sealer(kind).turn_to(run, &folder),
                Item::Begin(kind) => {
                    self.chunks.clear();
                    self.same = true;
                    self.reported = 0;
                    self.sealer(kind).next_file(run);
                }
                Item::Chunk(kind, cut) => {
                    let made = &chunks[number];
                    self.chunks.push(made.id);
                    self.same &= made.is_in_last;
                    if made.is_new {
                        let raw_bytes = made.place.len();
                        let (codec, content_bytes) = match &made.packed {
                            Some(place) => (Codec::Zstd, place.len()),
                            None => (Codec::Stored, raw_bytes),
                        };
                        let chunk = NewChunk { id: made.id, raw_bytes, codec, content_bytes };
                        let seal_rest = || seal(run, &task.window, packed, chunks, placed);
                        let (pack, place) =
                            self.sealer(kind).place(run, &chunk, cut.left, seal_rest)?;
                        placed.push(Placed { pack, place, chunk: number });
                    }
                    // A film takes an hour: its bytes count before it is done.
                    run.advance(0, made.place.len() as u64);
                    self.reported += made.place.len() as u64;
                    number += 1;
                }
                Item::End(job, read) => {
                    let chunks = std::mem::take(&mut self.chunks);
                    let left = job.stat.size.saturating_sub(std::mem::take(&mut self.reported));
                    if job.beside.is_some() && self.main == Main::Whole {
                        run.advance(1, left);
                        self.outcomes.push(None);
                        continue;
                    }
                    let outcome = self.file(run, &job, read.map(|read| *read), &chunks)?;
                    if job.beside.is_none() {
                        self.main = Main::of(outcome.as_ref());
                    }
                    run.advance(1, left);
                    self.outcomes.push(outcome);
                }
                Item::LeftOut(job) => {
                    run.advance(1, job.stat.size);
                    self.outcomes.push(None);
                }
                Item::Deliver(delivery) => delivery.finish(std::mem::take(&mut self.outcomes)),
            }
        }
        Ok(())
    }

    /// Decides what of a file is in the snapshot.
    fn file(
        &mut self,
        run: &Run,
        job: &FileJob,
        read: io::Result<Read>,
        chunks: &[ChunkId],
    ) -> Result<Outcome, Error> {
        let read = read.and_then(|read| {
            if chunks.len() > tree::ENTRY_CHUNKS_MAX {
                return Err(io::Error::other("it has too many chunks for one file"));
            }
            Ok(read)
        });
        let is_part = job.beside.is_some() && self.main == Main::WithJournals;
        let (torn, message, gone) = match read {
            Ok(read) if read.trusted => {
                let (problem, of_xattrs) = (read.problem.clone(), read.xattrs.problem.clone());
                let mut content = content(read, chunks);
                if let Some(problem) = of_xattrs {
                    run.failed_file(&job.path, problem);
                }
                if let Some(problem) = problem {
                    // Read again by the next run, which names it again.
                    content.trusted = false;
                    run.failed_file(&job.path, problem);
                }
                count(run, &self.view, job, &content)?;
                let same = self.same && !content.chunks.is_empty();
                let database = is_part || content.database.is_some();
                run.count_of_source(job.source, content.stat.size, same, database);
                return Ok(Some(content));
            }
            Ok(read) => {
                let message = match (&read.problem, &read.no_copy) {
                    (Some(problem), _) => problem.clone(),
                    (None, Some(why)) => {
                        format!("SQLite cannot copy it ({why}), and it changed while it was read")
                    }
                    (None, None) => "changed while it was read".to_owned(),
                };
                let mark = Some(tree::MARK_TORN);
                (Some(Content { mark, ..content(read, chunks) }), message, false)
            }
            Err(error) => {
                let gone = error.kind() == io::ErrorKind::NotFound;
                (None, format!("cannot read: {error}"), gone)
            }
        };
        // A file that was removed is not in the snapshot; one that cannot be read may be only ill.
        let older = if gone || is_part { None } else { self.older(run, job)? };
        let (content, note) = match (older, torn) {
            (Some(older), _) => (Some(older), "; the last version that was read is kept"),
            (None, Some(torn)) => (Some(torn), "; it is stored as it was read"),
            (None, None) => (None, ""),
        };
        run.failed_file(&job.path, format!("{message}{note}"));
        if let Some(content) = &content {
            let older = job.older.as_ref().filter(|older| older.chunks == content.chunks);
            let same = match (&run.last, older) {
                (Some(last), Some(older)) => last.has_file(&self.view, &older.chunks)?,
                _ => false,
            };
            let database = is_part || content.database.is_some();
            run.count_of_source(job.source, content.stat.size, same, database);
            count(run, &self.view, job, content)?;
        }
        Ok(content)
    }

    /// Returns the version of the last run, if it is good and all of it is still stored.
    fn older(&mut self, run: &Run, job: &FileJob) -> Result<Option<Content>, Error> {
        let Some(older) = job.older.as_ref().filter(|older| older.is_good_alone()) else {
            return Ok(None);
        };
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
        let Xattrs { found: xattrs, problem } = source::xattrs(&job.path);
        let (chunks, holes) = (older.chunks.clone(), older.holes.clone());
        let has_all_xattrs = problem.is_none();
        let (mark, database) = (older.mark, older.database);
        let trusted = false;
        let content =
            Content { stat, chunks, holes, xattrs, has_all_xattrs, trusted, mark, database };
        Ok(Some(content))
    }
}

impl Main {
    fn of(outcome: Option<&Content>) -> Main {
        match outcome {
            Some(Content { mark: Some(tree::MARK_COPY), .. }) => Main::Whole,
            // An older version is kept only if it is good alone.
            Some(Content { database: Some(database), trusted, mark: None, .. })
                if !trusted && database.journals.are_empty() =>
            {
                Main::Whole
            }
            Some(Content { database: Some(_), .. }) => Main::WithJournals,
            _ => Main::File,
        }
    }
}

fn content(read: Read, chunks: &[ChunkId]) -> Content {
    let Read { stat, holes, xattrs, trusted, mark, database, .. } = read;
    let Xattrs { found: xattrs, problem } = xattrs;
    let (chunks, has_all_xattrs) = (tree::join_ids(chunks), problem.is_none());
    Content { stat, chunks, holes, xattrs, has_all_xattrs, trusted, mark, database }
}

fn count(run: &Run, view: &Catalog, job: &FileJob, content: &Content) -> Result<(), Error> {
    let same =
        |older: &CachedFile| older.chunks == content.chunks && older.size == content.stat.size;
    let saved = match &job.older {
        Some(older) => run.saved.has_file(view, &older.chunks)?,
        None => false,
    };
    // What a card or a sync program left empty says nothing.
    let is_moved = job.older.is_none()
        && !content.chunks.is_empty()
        && run.saved.has_file(view, &content.chunks)?;
    run.count(|totals| {
        match job.older.as_ref().filter(|_| saved) {
            None if is_moved => totals.files_moved += 1,
            None => totals.files_new += 1,
            Some(older) if same(older) => totals.files_unmodified += 1,
            Some(_) => totals.files_changed += 1,
        }
        totals.bytes_processed += content.bytes();
    });
    Ok(())
}
