//! Restores a batch of files: reads the ranges that they need, and writes them under temporary
//! names.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::open::{Cause, FileTask, Filler, OTHER_LENGTH, OpenFile, Written};
use super::options::RestoreOptions;
use super::pieces::{CHUNKS_AT_ONCE, Fill, Piece, PieceGroup, groups};
use crate::error::Error;
use crate::files::Extent;
use crate::format::{ChunkId, PackKind};
use crate::progress::Progress;
use crate::repo::reader::Opener;
use crate::repo::{ChunkReader, PackRowId};
use crate::store::ObjectName;

/// Number of ranges that are fetched and written at the same time. The link and the disk work on some of them while
/// others are decrypted or wait for an answer. More ranges than the disk can absorb would only need memory.
const FETCHES: RangeInclusive<usize> = 4..=16;
/// Chunks from the seed that one thread handles together, so that it writes adjacent ones at once.
const SEEDED_AT_ONCE: usize = 16;
/// Largest chunk that is cut.
const LARGE_BYTES: u32 = 16 << 20;

/// A batch of files to write.
pub(super) struct FileBatch<'a> {
    reader: &'a ChunkReader<'a>,
    options: &'a RestoreOptions,
    progress: &'a dyn Progress,
    /// Sends each written file to the thread that syncs and names it.
    written: SyncSender<Written>,
    /// The pool of fetching threads; `None` if it could not be created.
    fetching: Option<ThreadPool>,
    tasks: Vec<FileTask>,
    fill: Fill,
    pub packs: BTreeSet<PackRowId>,
    /// Idle per-thread buffers.
    hands: Mutex<Vec<Hand>>,
    /// Locked while reading a chunk that is larger than any that icecore writes, so that only one such chunk is in
    /// memory at a time.
    large: Mutex<()>,
}

/// The buffers of a thread.
#[derive(Default)]
struct Hand {
    opener: Opener,
    extent: Extent,
}

/// The pieces to write.
#[derive(Default)]
struct Pieces {
    /// From packs, …
    packed: Vec<Piece>,
    /// … and from the seed.
    seeded: Vec<Piece>,
}

impl<'a> FileBatch<'a> {
    pub fn new(
        reader: &'a ChunkReader<'a>,
        options: &'a RestoreOptions,
        progress: &'a dyn Progress,
        written: SyncSender<Written>,
    ) -> Self {
        let threads = rayon::current_num_threads().clamp(*FETCHES.start(), *FETCHES.end());
        // Without a pool, the restore is slower.
        let fetching = ThreadPoolBuilder::new().num_threads(threads).build().ok();
        FileBatch {
            reader,
            options,
            progress,
            written,
            fetching,
            tasks: Vec::new(),
            fill: Fill::default(),
            packs: BTreeSet::new(),
            hands: Mutex::default(),
            large: Mutex::default(),
        }
    }

    /// Adds a file; returns true if the batch is now full.
    pub fn push(&mut self, task: FileTask) -> bool {
        let full = self.fill.add(task.entry.data_bytes());
        self.tasks.push(task);
        full
    }

    /// Writes all files of the batch, roughly in order, and hands over each as soon as it is written. Returns an error
    /// only if every other file would fail with it, too.
    pub fn run(&mut self) -> Result<(), Error> {
        let tasks = std::mem::take(&mut self.tasks);
        self.fill = Fill::default();
        let open: Vec<OpenFile> =
            tasks.into_iter().map(OpenFile::begin).collect::<Result<_, _>>()?;
        let mut pieces = Pieces::default();
        for (number, file) in open.iter().enumerate() {
            let (chunks, bytes) = file.chunks()?;
            let mut at = 0;
            for chunks in chunks.chunks(CHUNKS_AT_ONCE) {
                self.places((number, bytes), chunks, &mut at, &open, &mut pieces)?;
                if pieces.packed.len().max(pieces.seeded.len()) >= CHUNKS_AT_ONCE {
                    self.fetch(std::mem::take(&mut pieces), &open)?;
                }
            }
            if at != bytes {
                file.fail(OTHER_LENGTH, Cause::Damage);
            }
            // All pieces of this file are known now.
            file.done(1, &self.written)?;
        }
        self.fetch(pieces, &open)?;
        // The files that are left have failed.
        open.iter().try_for_each(|file| file.hand_over(&self.written))
    }

    fn places(
        &mut self,
        (file, data_bytes): (usize, u64),
        chunks: &[ChunkId],
        at: &mut u64,
        open: &[OpenFile],
        pieces: &mut Pieces,
    ) -> Result<(), Error> {
        let places = self.reader.repository().catalog.chunks(chunks)?;
        for (id, place) in chunks.iter().zip(places) {
            let Some(place) = place else {
                open[file].fail(Error::lost_chunk(id), Cause::Damage);
                continue;
            };
            let bytes = u64::from(place.frame.raw_bytes);
            // A hostile entry of a few bytes can name a chunk a million times. Write nothing beyond its length.
            if bytes > data_bytes - *at {
                open[file].fail(OTHER_LENGTH, Cause::Damage);
                return Ok(());
            }
            let piece = Piece { place, file, at: *at };
            open[file].expect();
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

    /// Reads and writes pieces, pack by pack, on many threads.
    fn fetch(&self, pieces: Pieces, open: &[OpenFile]) -> Result<(), Error> {
        match &self.fetching {
            Some(pool) => pool.install(|| self.fetch_here(pieces, open)),
            None => self.fetch_here(pieces, open),
        }
    }

    fn fetch_here(&self, pieces: Pieces, open: &[OpenFile]) -> Result<(), Error> {
        let Pieces { mut packed, seeded } = pieces;
        // Chunks that have disappeared from the seed since it was scanned are read from packs.
        let lost = seeded
            .par_chunks(SEEDED_AT_ONCE)
            .map(|pieces| self.with_hand(open, |_, filler| self.put_from_seed(pieces, filler)));
        packed.extend(lost.collect::<Result<Vec<_>, _>>()?.into_iter().flatten());
        // Start the groups in order, so that the first files are complete first. After an interruption, the parts of
        // incomplete files are read again.
        groups(packed).into_iter().par_bridge().try_for_each(|group| {
            let is_large = |piece: &Piece| piece.place.frame.raw_bytes > LARGE_BYTES;
            let _alone = group.pieces.iter().any(is_large).then(|| lock(&self.large));
            self.with_hand(open, |opener, filler| self.group(&group, opener, filler))
        })
    }

    /// Lends a thread its buffers, and writes the collected content at the end.
    fn with_hand<T>(
        &self,
        open: &[OpenFile],
        work: impl FnOnce(&mut Opener, &mut Filler) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut hand = lock(&self.hands).pop().unwrap_or_default();
        let mut filler = Filler::new(open, &mut hand.extent, &self.written, self.progress);
        let done = work(&mut hand.opener, &mut filler)?;
        filler.flush()?;
        lock(&self.hands).push(hand);
        Ok(done)
    }

    /// Writes pieces from the seed; returns those that have disappeared.
    fn put_from_seed(&self, pieces: &[Piece], filler: &mut Filler) -> Result<Vec<Piece>, Error> {
        let mut lost = Vec::new();
        for piece in pieces {
            self.progress.check_interrupted()?;
            let (seed, id) = (self.options.seed.as_ref(), &piece.place.frame.id);
            match seed.and_then(|seed| seed.read(self.reader.repository(), id)) {
                Some(raw) => filler.put(piece, &raw)?,
                None => lost.push(*piece),
            }
        }
        Ok(lost)
    }

    /// Reads one range of one pack and writes the chunks in it.
    fn group(
        &self,
        group: &PieceGroup,
        opener: &mut Opener,
        filler: &mut Filler,
    ) -> Result<(), Error> {
        let PieceGroup { pack, range, pieces } = group;
        self.progress.check_interrupted()?;
        let window = self.reader.pack(*pack).and_then(|pack| {
            let window = self.reader.fetch(&pack, range.clone())?;
            Ok((pack, window))
        });
        if let Err(error) = &window
            && !error.is_of_object()
        {
            if !error.is_frozen() {
                return window.map(drop);
            }
            pieces.iter().for_each(|piece| filler.fail(piece, error, Cause::Cold));
            return Ok(());
        }
        for piece in pieces {
            if filler.is_failed(piece) {
                continue;
            }
            let opened = match &window {
                Ok((pack, _)) if pack.row.kind == PackKind::Meta => Err(Error::damaged(
                    format!("chunk {}", piece.place.frame.id),
                    "it is a folder listing, where file data belongs",
                )),
                Ok((pack, window)) => match filler.room(piece)? {
                    Some(room) => {
                        let opened = self.reader.open_to(pack, window, &piece.place, opener, room);
                        opened.map(|()| None)
                    }
                    None => self.reader.open(pack, window, &piece.place).map(Some),
                },
                Err(error) if error.is_partial() => self.reader.read_alone(&piece.place).map(Some),
                Err(error) => Err(Error::Damaged {
                    object: match error {
                        Error::Store(error) => ObjectName::from(&error.name),
                        Error::Damaged { object, .. } => object.clone(),
                        _ => format!("chunk {}", piece.place.frame.id).into(),
                    },
                    reason: error.reason(),
                }),
            };
            let rescue = |error| self.reader.rescue(&piece.place.frame.id, *pack, error).map(Some);
            match opened.or_else(rescue) {
                Ok(Some(raw)) => filler.put(piece, &raw)?,
                Ok(None) => filler.take(piece)?,
                Err(error) if error.is_frozen() => filler.fail(piece, error, Cause::Cold),
                Err(error) => filler.fail(piece, error, Cause::Damage),
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics here")
}
