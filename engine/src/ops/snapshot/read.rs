//! Reads files in order and cuts them into chunks. All workers share this input, and one at a time uses it.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use super::context::Context;
use super::database::{self, DatabaseSet, OpenedFile, ReadFile};
use super::handover::Promised;
use super::jobs::{FileJob, Outcome, Work};
use crate::files::{Beside, ReadBuffer, SourceFile};
use crate::format::PackKind;

/// Approximate number of bytes of one task. Small files share a task.
const TASK_BYTES: usize = 1 << 20;
/// Maximum number of items of one task.
const ITEMS_MAX: usize = 512;

/// The unit of work of a worker: some chunks, and the events between them.
#[derive(Default)]
pub(super) struct Task {
    /// Tasks are numbered in the order of the files.
    pub number: u64,
    pub window: ReadBuffer,
    pub items: Vec<Item>,
}

/// An event, in the order of the files.
pub(super) enum Item {
    /// Files of another kind or folder follow.
    Batch(PackKind, PathBuf),
    /// A file is begun, or begun again.
    Begin(PackKind),
    /// A chunk of the file: its range in the window, and the number of bytes from its start to the end of the file.
    Chunk { kind: PackKind, raw: Range<usize>, left: u64 },
    /// A file was read, or could not be read.
    End(Box<FileJob>, io::Result<Box<ReadFile>>),
    /// A file is left out because it lies beside a database.
    LeftOut(Box<FileJob>),
    /// A batch is done.
    Deliver(Promised<Vec<Outcome>>),
}

/// Reads batch by batch.
pub(super) struct Source {
    /// `None` after the last worker has stopped.
    batches: Option<Receiver<Work>>,
    batch: Option<ReadingBatch>,
    /// Bytes of a file that are read but not cut.
    rest: ReadBuffer,
    tasks: u64,
}

struct ReadingBatch {
    kind: PackKind,
    jobs: std::vec::IntoIter<FileJob>,
    outcomes: Promised<Vec<Outcome>>,
    file: Option<ReadingFile>,
    /// How to treat the files that lie beside the last main file.
    set: DatabaseSet,
}

struct ReadingFile {
    job: Box<FileJob>,
    /// Whether this is the second attempt.
    again: bool,
    opened: Option<OpenedFile>,
}

impl Source {
    pub fn new(batches: Receiver<Work>) -> Self {
        Source { batches: Some(batches), batch: None, rest: ReadBuffer::default(), tasks: 0 }
    }

    /// Reads and cuts the next part of the files into `task`. Returns false if there is no more.
    pub fn next(&mut self, context: &Context, task: &mut Task) -> bool {
        task.items.clear();
        std::mem::swap(&mut task.window, &mut self.rest);
        let has_room = |task: &Task| {
            let window = &task.window;
            !window.is_full() && window.cut_bytes() < TASK_BYTES && task.items.len() < ITEMS_MAX
        };
        while has_room(task) {
            match &mut self.batch {
                Some(batch) => {
                    if context.stopped() {
                        return false;
                    }
                    if batch.step(context, task) {
                        continue;
                    }
                    if let Some(ReadingBatch { outcomes, .. }) = self.batch.take() {
                        task.items.push(Item::Deliver(outcomes));
                    }
                }
                // Never wait for a batch while this task has items, because other threads may be waiting for those.
                None => match self.receive(task.items.is_empty()) {
                    Some(Work { kind, jobs, outcomes }) => {
                        let folder = jobs.first().and_then(|job| job.path.parent());
                        let folder = folder.unwrap_or(Path::new("")).to_owned();
                        task.items.push(Item::Batch(kind, folder));
                        let jobs = jobs.into_iter();
                        let (file, set) = (None, DatabaseSet::Ordinary);
                        self.batch = Some(ReadingBatch { kind, jobs, outcomes, file, set });
                    }
                    None => break,
                },
            }
        }
        self.rest.move_uncut_from(&mut task.window);
        if task.items.is_empty() {
            return false;
        }
        task.number = self.tasks;
        self.tasks += 1;
        true
    }

    /// Accepts no more batches, so that a sender does not block.
    pub fn close(&mut self) {
        (self.batch, self.batches) = (None, None);
    }

    fn receive(&self, wait: bool) -> Option<Work> {
        let batches = self.batches.as_ref()?;
        if wait { batches.recv().ok() } else { batches.try_recv().ok() }
    }
}

impl ReadingBatch {
    /// Continues with the current file, or begins the next one. Returns false if there is none.
    fn step(&mut self, context: &Context, task: &mut Task) -> bool {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let Some(job) = self.jobs.next() else { return false };
                let job = Box::new(job);
                let leaves_out = match (job.beside, &self.set) {
                    (None, _) => {
                        self.set = DatabaseSet::Ordinary;
                        false
                    }
                    (Some(_), DatabaseSet::Ordinary) => false,
                    (Some(_), DatabaseSet::Copied) => true,
                    (Some(beside), DatabaseSet::Read(..)) => beside == Beside::Volatile,
                };
                if leaves_out {
                    task.items.push(Item::LeftOut(job));
                    return true;
                }
                self.file.insert(ReadingFile { job, again: false, opened: None })
            }
        };
        let next = self.jobs.as_slice();
        let read = match file.step(context, self.kind, next, &mut self.set, task) {
            Ok(None) => return true,
            Ok(Some(read)) => Ok(read),
            Err(error) => Err(error),
        };
        // A file that changed or vanished meanwhile is read once more.
        let trusted = read.as_ref().is_ok_and(|read| read.trusted);
        if !trusted && !file.again {
            (file.again, file.opened) = (true, None);
        } else if let Some(ReadingFile { job, .. }) = self.file.take() {
            task.items.push(Item::End(job, read.map(Box::new)));
        }
        true
    }
}

impl ReadingFile {
    /// Reads the next part of the file. At the end of the file, returns what is known about it. `next` are the files
    /// that follow it.
    fn step(
        &mut self,
        context: &Context,
        kind: PackKind,
        next: &[FileJob],
        set: &mut DatabaseSet,
        task: &mut Task,
    ) -> io::Result<Option<ReadFile>> {
        let is_part = self.job.beside.is_some() && !matches!(set, DatabaseSet::Ordinary);
        let kind_of = |opened: &OpenedFile| {
            // A database is hot, because it changes often and in place.
            if is_part || opened.taken.is_database() { PackKind::Hot } else { kind }
        };
        let mut opened = match self.opened.take() {
            Some(opened) => opened,
            None => {
                let opened =
                    database::open(context, &self.job, &|| open(context, &self.job.path, next));
                task.items.push(Item::Begin(opened.as_ref().map_or(kind, kind_of)));
                opened?
            }
        };
        let kind = kind_of(&opened);
        let (mut cuts, mut left) = (Vec::new(), opened.reading.left());
        let stepped = opened.reading.step(&context.cutter, &mut task.window, &mut cuts);
        for raw in cuts {
            let bytes = raw.len() as u64;
            task.items.push(Item::Chunk { kind, raw, left });
            left = left.saturating_sub(bytes);
        }
        stepped.inspect_err(|_| task.window.forget_uncut())?;
        // If the run has failed, the next call notices that.
        if !opened.reading.is_over() || context.stopped() {
            self.opened = Some(opened);
            return Ok(None);
        }
        let OpenedFile { reading, taken } = opened;
        let was_read = reading.end()?;
        let mut read = taken.end(context, &self.job, &was_read)?;
        if is_part {
            read.trusted &= set.is_still(context)?;
        } else if self.job.beside.is_none() {
            *set = taken.set(&self.job.path);
        }
        Ok(Some(read))
    }
}

/// Opens a file. If it must wait for a lease to be released, also requests the release of leases on the next files.
/// Otherwise, a slow server would delay each of them in turn.
fn open(context: &Context, path: &Path, next: &[FileJob]) -> io::Result<SourceFile> {
    let has_asked = Cell::new(false);
    SourceFile::open(path, &|| {
        if !has_asked.replace(true) {
            for job in next {
                // The file is opened for reading later, if it exists.
                let _ = SourceFile::open(&job.path, &|| false);
            }
        }
        !context.stopped()
    })
}
