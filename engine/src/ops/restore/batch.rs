//! A batch of files: read the ranges they need, write them under temporary names.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Mutex;

use rayon::prelude::*;

use super::place::Layout;
use crate::error::Error;
use crate::files::{Folder, TempFile};
use crate::format::{ChunkId, Entry};
use crate::ops::browse::ids;
use crate::progress::Progress;
use crate::repo::catalog::ChunkPlace;
use crate::repo::reader::coalesce;
use crate::repo::{ChunkReader, PackKey};
use crate::store::StoreErrorKind;

/// Bytes of data in one batch, beyond which it is worked off.
const BATCH_BYTES: u64 = 128 << 20;
/// Files in one batch; each is open until the batch is written.
const BATCH_FILES: usize = 512;
/// Chunks of one file that are planned at once.
const CHUNKS_AT_ONCE: usize = 4096;

/// A file to write.
pub(super) struct Task {
    pub folder: Folder,
    pub entry: Entry,
}

/// A file of a batch whose content is written, but neither synced nor named.
pub(super) struct Written {
    pub task: Task,
    pub path: PathBuf,
    /// The file, closed; or why it is not there, and whether damage in the store is to blame.
    pub result: Result<TempFile, (String, bool)>,
}

/// Files that wait to be written.
pub(super) struct Batch<'a> {
    reader: &'a ChunkReader<'a>,
    progress: &'a dyn Progress,
    tasks: Vec<Task>,
    bytes: u64,
    pub packs: BTreeSet<PackKey>,
}

/// A file that is being written.
struct Open {
    temp: Mutex<Option<TempFile>>,
    layout: Layout,
    path: PathBuf,
    failure: Mutex<Option<(String, bool)>>,
}

/// A chunk on its way to a file.
struct Piece {
    place: ChunkPlace,
    file: usize,
    /// Position in the data of the file.
    at: u64,
}

impl Piece {
    fn range(&self) -> Range<u64> {
        self.place.offset..self.place.offset + u64::from(self.place.frame.stored_bytes)
    }
}

impl<'a> Batch<'a> {
    pub fn new(reader: &'a ChunkReader<'a>, progress: &'a dyn Progress) -> Self {
        Batch { reader, progress, tasks: Vec::new(), bytes: 0, packs: BTreeSet::new() }
    }

    /// Adds a file; returns true if the batch is full with it.
    pub fn push(&mut self, task: Task) -> bool {
        self.bytes += task.entry.data_bytes();
        self.tasks.push(task);
        self.bytes >= BATCH_BYTES || self.tasks.len() >= BATCH_FILES
    }

    /// Writes all files of the batch. An error is something that every other file would fail with.
    pub fn run(&mut self) -> Result<Vec<Written>, Error> {
        let tasks = std::mem::take(&mut self.tasks);
        self.bytes = 0;
        let open: Vec<Open> = tasks.iter().map(open_task).collect();
        for (file, task) in tasks.iter().enumerate() {
            if let Err(error) = begin(&open[file], task) {
                fatal(&error, &open[file].path)?;
                fail(&open[file], format!("cannot write: {error}"), false);
            }
        }
        let mut pieces = Vec::new();
        for (file, task) in tasks.iter().enumerate() {
            let mut at = 0;
            let chunks = ids(&task.entry)?;
            for chunks in chunks.chunks(CHUNKS_AT_ONCE) {
                self.places(file, chunks, &mut at, &open, &mut pieces)?;
                if pieces.len() >= CHUNKS_AT_ONCE {
                    self.fetch(std::mem::take(&mut pieces), &open)?;
                }
            }
            if at != task.entry.data_bytes() && !is_failed(&open[file]) {
                let message = "its chunks have another length than the file".to_owned();
                fail(&open[file], message, true);
            }
        }
        self.fetch(pieces, &open)?;
        Ok(tasks.into_iter().zip(open).map(close).collect())
    }

    fn places(
        &mut self,
        file: usize,
        chunks: &[ChunkId],
        at: &mut u64,
        open: &[Open],
        pieces: &mut Vec<Piece>,
    ) -> Result<(), Error> {
        for id in chunks {
            match self.reader.place(id) {
                Ok(place) => {
                    self.packs.insert(place.pack);
                    pieces.push(Piece { place, file, at: *at });
                    *at += u64::from(place.frame.raw_bytes);
                }
                Err(error) if error.is_damage() => fail(&open[file], error.to_string(), true),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads and writes pieces, pack by pack, on all cores.
    fn fetch(&self, pieces: Vec<Piece>, open: &[Open]) -> Result<(), Error> {
        let mut by_pack: HashMap<PackKey, Vec<Piece>> = HashMap::new();
        for piece in pieces {
            by_pack.entry(piece.place.pack).or_default().push(piece);
        }
        let mut groups = Vec::new();
        for (pack, mut pieces) in by_pack {
            pieces.sort_by_key(|piece| piece.place.offset);
            let coalesced = coalesce(pieces, Piece::range);
            groups.extend(coalesced.into_iter().map(|(range, inside)| (pack, range, inside)));
        }
        groups.sort_by_key(|(pack, range, _)| (*pack, range.start));
        groups
            .into_par_iter()
            .try_for_each(|(pack, range, pieces)| self.group(pack, range, &pieces, open))
    }

    /// Reads one range of one pack and writes what it holds.
    fn group(
        &self,
        pack: PackKey,
        range: Range<u64>,
        pieces: &[Piece],
        open: &[Open],
    ) -> Result<(), Error> {
        if self.progress.interrupted() {
            return Err(Error::Interrupted);
        }
        let window = self.reader.pack(pack).and_then(|pack| {
            let window = self.reader.fetch(&pack, range)?;
            Ok((pack, window))
        });
        let (pack, window) = match window {
            Ok(opened) => opened,
            Err(error) if passes(&error) => {
                let damaged = error.is_damage();
                for piece in pieces {
                    fail(&open[piece.file], error.to_string(), damaged);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for piece in pieces {
            let file = &open[piece.file];
            if is_failed(file) {
                continue;
            }
            match self.reader.open(&pack, &window, &piece.place) {
                Ok(raw) => {
                    if let Err(error) = write(file, piece, &raw) {
                        fatal(&error, &file.path)?;
                        fail(file, format!("cannot write: {error}"), false);
                    }
                }
                Err(error) => fail(file, error.to_string(), true),
            }
            self.progress.advance(0, u64::from(piece.place.frame.raw_bytes));
        }
        Ok(())
    }
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
        (None, None) => Err(("it was not written".to_owned(), false)),
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
    *file.temp.lock().expect("nothing panics here") = Some(temp);
    Ok(())
}

fn write(file: &Open, piece: &Piece, raw: &[u8]) -> io::Result<()> {
    let handle = {
        let guard = file.temp.lock().expect("nothing panics here");
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
    file.failure.lock().expect("nothing panics here").is_some()
}

/// Marks a file as failed and removes what was written of it.
fn fail(file: &Open, message: String, damaged: bool) {
    file.failure.lock().expect("nothing panics here").get_or_insert((message, damaged));
    file.temp.lock().expect("nothing panics here").take();
}

/// Returns whether an error of the store takes only the files that need this pack.
fn passes(error: &Error) -> bool {
    error.is_damage()
        || matches!(error, Error::Store(error) if error.kind == StoreErrorKind::Archived)
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
