//! A batch of files: read the ranges they need, write them under temporary names.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::RestoreOptions;
use super::pieces::{CHUNKS_AT_ONCE, Fill, Piece, groups};
use super::place::Layout;
use crate::error::Error;
use crate::files::{Folder, TempFile};
use crate::format::{ChunkId, Entry, PackKind};
use crate::ops::browse::ids;
use crate::progress::Progress;
use crate::repo::reader::Spare;
use crate::repo::{ChunkReader, PackKey};

/// Ranges that are fetched from a bucket at the same time at least, so that the link carries some while
/// others wait for an answer.
const FETCHES: usize = 4;
/// Largest chunk that is cut.
const LARGE_BYTES: u32 = 16 << 20;
const OTHER_LENGTH: &str = "its chunks have another length than the file";

/// A file to write.
pub(super) struct Task {
    pub folder: Folder,
    pub entry: Entry,
}

/// A file of a batch whose content is written, but neither synced nor named.
pub(super) struct Written {
    pub task: Task,
    pub path: PathBuf,
    /// The file, closed; or why it is not there.
    pub result: Result<TempFile, (String, Cause)>,
}

/// Why a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A pack that it needs turned out to be cold: another run may restore it.
    Cold,
    Damage,
    /// Anything on this machine.
    Local,
}

/// Files that wait to be written.
pub(super) struct Batch<'a> {
    reader: &'a ChunkReader<'a>,
    options: &'a RestoreOptions,
    progress: &'a dyn Progress,
    /// Threads that fetch from a bucket, if the cores are too few.
    fetching: Option<ThreadPool>,
    tasks: Vec<Task>,
    fill: Fill,
    pub packs: BTreeSet<PackKey>,
    /// Memory to open chunks in, of the threads that are not at it.
    spares: Mutex<Vec<Spare>>,
    /// Held for chunks larger than any that this program writes: one at a time.
    large: Mutex<()>,
}

/// A file that is being written.
struct Open {
    temp: Mutex<Option<TempFile>>,
    layout: Layout,
    path: PathBuf,
    failure: Mutex<Option<(String, Cause)>>,
}

/// Chunks on their way to files.
#[derive(Default)]
struct Pieces {
    /// From packs, …
    packed: Vec<Piece>,
    /// … and from the seed.
    seeded: Vec<Piece>,
}

impl<'a> Batch<'a> {
    pub fn new(
        reader: &'a ChunkReader<'a>,
        options: &'a RestoreOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        let is_remote = reader.repository().store.location().is_remote();
        // Without them it takes longer.
        let pool = || ThreadPoolBuilder::new().num_threads(FETCHES).build().ok();
        let wanted = is_remote && rayon::current_num_threads() < FETCHES;
        let fetching = wanted.then(pool).flatten();
        Batch {
            reader,
            options,
            progress,
            fetching,
            tasks: Vec::new(),
            fill: Fill::default(),
            packs: BTreeSet::new(),
            spares: Mutex::default(),
            large: Mutex::default(),
        }
    }

    /// Adds a file; returns true if the batch is full with it.
    pub fn push(&mut self, task: Task) -> bool {
        let full = self.fill.add(task.entry.data_bytes());
        self.tasks.push(task);
        full
    }

    /// Writes all files of the batch. An error is something that every other file would fail with.
    pub fn run(&mut self) -> Result<Vec<Written>, Error> {
        let tasks = std::mem::take(&mut self.tasks);
        self.fill = Fill::default();
        let open: Vec<Open> = tasks.iter().map(open_task).collect();
        for (file, task) in tasks.iter().enumerate() {
            if let Err(error) = begin(&open[file], task) {
                fatal(&error, &open[file].path)?;
                fail(&open[file], format!("cannot write: {error}"), Cause::Local);
            }
        }
        let mut pieces = Pieces::default();
        for (file, task) in tasks.iter().enumerate() {
            let mut at = 0;
            let chunks = ids(&task.entry)?;
            for chunks in chunks.chunks(CHUNKS_AT_ONCE) {
                self.places((file, &task.entry), chunks, &mut at, &open, &mut pieces)?;
                if pieces.packed.len().max(pieces.seeded.len()) >= CHUNKS_AT_ONCE {
                    self.fetch(std::mem::take(&mut pieces), &open)?;
                }
            }
            if at != task.entry.data_bytes() && !is_failed(&open[file]) {
                fail(&open[file], OTHER_LENGTH.to_owned(), Cause::Damage);
            }
        }
        self.fetch(pieces, &open)?;
        Ok(tasks.into_iter().zip(open).map(close).collect())
    }

    fn places(
        &mut self,
        (file, task): (usize, &Entry),
        chunks: &[ChunkId],
        at: &mut u64,
        open: &[Open],
        pieces: &mut Pieces,
    ) -> Result<(), Error> {
        let places = self.reader.repository().catalog.chunks(chunks)?;
        for (id, place) in chunks.iter().zip(places) {
            let Some(place) = place else {
                fail(&open[file], Error::lost_chunk(id).to_string(), Cause::Damage);
                continue;
            };
            let bytes = u64::from(place.frame.raw_bytes);
            // A few bytes can name a chunk a million times: nothing is written for that.
            if bytes > task.data_bytes() - *at {
                fail(&open[file], OTHER_LENGTH.to_owned(), Cause::Damage);
                return Ok(());
            }
            let piece = Piece { place, file, at: *at };
            *at += bytes;
            if self.options.seed.as_ref().is_some_and(|seed| seed.has(id)) {
                pieces.seeded.push(piece);
            } else {
                self.packs.insert(place.pack);
                pieces.packed.push(piece);
            }
        }
        Ok(())
    }

    /// Reads and writes pieces, pack by pack, many at the same time.
    fn fetch(&self, pieces: Pieces, open: &[Open]) -> Result<(), Error> {
        let Pieces { mut packed, seeded } = pieces;
        // What the seed held when it was looked through and does not hold now is in a pack.
        let lost: Vec<Option<Piece>> = seeded
            .into_par_iter()
            .map(|p| self.put_from_seed(p, open))
            .collect::<Result<_, _>>()?;
        packed.extend(lost.into_iter().flatten());
        let fetch = || {
            groups(packed).into_par_iter().try_for_each(|(pack, range, pieces)| {
                let is_large = |piece: &Piece| piece.place.frame.raw_bytes > LARGE_BYTES;
                if pieces.iter().any(is_large) {
                    let _alone = lock(&self.large);
                    return self.group(pack, range, &pieces, open, &mut Spare::default());
                }
                let mut spare = lock(&self.spares).pop().unwrap_or_default();
                let done = self.group(pack, range, &pieces, open, &mut spare);
                lock(&self.spares).push(spare);
                done
            })
        };
        match &self.fetching {
            Some(pool) => pool.install(fetch),
            None => fetch(),
        }
    }

    /// Writes a piece from the seed; returns it if it is not there any more.
    fn put_from_seed(&self, piece: Piece, open: &[Open]) -> Result<Option<Piece>, Error> {
        self.progress.go_on()?;
        let seed = self.options.seed.as_ref();
        let raw = seed.and_then(|seed| seed.read(self.reader.repository(), &piece.place.frame.id));
        let Some(raw) = raw else { return Ok(Some(piece)) };
        self.put(&open[piece.file], &piece, &raw)?;
        Ok(None)
    }

    /// Reads one range of one pack and writes what it holds.
    fn group(
        &self,
        pack: PackKey,
        range: Range<u64>,
        pieces: &[Piece],
        open: &[Open],
        spare: &mut Spare,
    ) -> Result<(), Error> {
        self.progress.go_on()?;
        let window = self.reader.pack(pack).and_then(|pack| {
            let window = self.reader.fetch(&pack, range)?;
            Ok((pack, window))
        });
        if let Err(error) = &window
            && !error.is_of_object()
        {
            if !error.is_frozen() {
                return window.map(drop);
            }
            for piece in pieces {
                fail(&open[piece.file], error.to_string(), Cause::Cold);
            }
            return Ok(());
        }
        for piece in pieces {
            let file = &open[piece.file];
            if is_failed(file) {
                continue;
            }
            let opened = match &window {
                Ok((pack, _)) if pack.row.kind == PackKind::Meta => Err(Error::Damaged {
                    object: format!("chunk {}", piece.place.frame.id),
                    reason: "it is a tree where file data belongs".to_owned(),
                }),
                Ok((pack, window)) => {
                    match self.reader.open_in(pack, window, &piece.place, spare) {
                        Ok(opened) => {
                            self.put(file, piece, opened.raw)?;
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
                Err(error) if error.is_partial() => self.reader.read_alone(&piece.place),
                Err(error) => Err(Error::Damaged {
                    object: format!("chunk {}", piece.place.frame.id),
                    reason: error.to_string(),
                }),
            };
            match opened.or_else(|e| self.reader.rescue(&piece.place.frame.id, pack, e)) {
                Ok(raw) => self.put(file, piece, &raw)?,
                Err(error) if error.is_frozen() => fail(file, error.to_string(), Cause::Cold),
                Err(error) => fail(file, error.to_string(), Cause::Damage),
            }
        }
        Ok(())
    }

    fn put(&self, file: &Open, piece: &Piece, raw: &[u8]) -> Result<(), Error> {
        if let Err(error) = write(file, piece, raw) {
            fatal(&error, &file.path)?;
            fail(file, format!("cannot write: {error}"), Cause::Local);
        }
        self.progress.advance(0, u64::from(piece.place.frame.raw_bytes));
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics here")
}

fn open_task(task: &Task) -> Open {
    Open {
        temp: Mutex::new(None),
        layout: Layout::new(task.entry.holes.clone()),
        path: task.folder.path_of(&task.entry.name),
        failure: Mutex::new(None),
    }
}

fn close((task, file): (Task, Open)) -> Written {
    let temp = file.temp.into_inner().expect("no writer panicked");
    let failure = file.failure.into_inner().expect("no writer panicked");
    let result = match (failure, temp) {
        (Some(failure), _) => Err(failure),
        (None, None) => Err(("it was not written".to_owned(), Cause::Local)),
        (None, Some(mut temp)) => {
            // Many files wait for their sync; they need not be open meanwhile.
            temp.file = None;
            Ok(temp)
        }
    };
    Written { task, path: file.path, result }
}

fn begin(file: &Open, task: &Task) -> io::Result<()> {
    let temp = task.folder.create_temp()?;
    // What is not written stays a hole.
    if let Some(file) = &temp.file {
        file.set_len(task.entry.size.unwrap_or(0))?;
    }
    *lock(&file.temp) = Some(temp);
    Ok(())
}

fn write(file: &Open, piece: &Piece, raw: &[u8]) -> io::Result<()> {
    let handle = {
        let guard = lock(&file.temp);
        match guard.as_ref() {
            Some(TempFile { file: Some(file), .. }) => file.try_clone()?,
            _ => return Ok(()),
        }
    };
    for (offset, range) in file.layout.pieces(piece.at, raw.len() as u64) {
        std::os::unix::fs::FileExt::write_all_at(&handle, &raw[range], offset)?;
    }
    Ok(())
}

fn is_failed(file: &Open) -> bool {
    lock(&file.failure).is_some()
}

/// Marks a file as failed and removes what was written of it.
fn fail(file: &Open, message: String, cause: Cause) {
    lock(&file.failure).get_or_insert((message, cause));
    lock(&file.temp).take();
}

/// A full disk fails every file: stop.
fn fatal(error: &io::Error, path: &std::path::Path) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem => {
            let source = io::Error::from(error.kind());
            Err(Error::File { action: "write", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
