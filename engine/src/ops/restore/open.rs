//! Files that are being written. Many threads write at once, and each collects adjacent chunks
//! before it writes them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard};

use super::aside::Stale;
use super::pieces::Piece;
use super::sparse::Layout;
use crate::error::Error;
use crate::files::{Extent, Folder, Output, TempFile};
use crate::format::pack::TAG_BYTES;
use crate::format::{ChunkId, Entry};
use crate::ops::browse::ids;
use crate::progress::Progress;

pub(super) const OTHER_LENGTH: &str = "its chunks differ in length from the file";

/// A file to write.
pub(super) struct FileTask {
    pub folder: Folder,
    pub entry: Entry,
    /// Whether it replaces an existing file.
    pub replaces: bool,
    /// The journals that must not be beside it.
    pub stale: Stale,
}

/// A file whose content is written, but neither synced nor named.
pub(super) struct Written {
    pub task: FileTask,
    pub path: PathBuf,
    /// The file, or why it could not be written.
    pub result: Result<TempFile, (String, Cause)>,
}

impl Written {
    fn output(&self) -> Option<Arc<Output>> {
        self.result.as_ref().ok()?.output.clone()
    }
}

/// Why a file could not be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A pack that it needs turned out to be cold; another run may restore it.
    Cold,
    Damage,
    /// Any failure on this machine.
    Local,
}

/// A file that is being written.
pub(super) struct OpenFile {
    layout: Layout,
    /// Number of pieces that are not written yet, plus one until all pieces are known.
    left: AtomicUsize,
    /// `None` after it was handed over to be synced and named.
    file: Mutex<Option<Written>>,
}

impl OpenFile {
    /// Begins a file. Returns an error only if every other file would fail with it, too.
    pub fn begin(task: FileTask) -> Result<OpenFile, Error> {
        let path = task.folder.path_of(&task.entry.name);
        let bytes = task.entry.size.unwrap_or(0);
        let temp = task.folder.create_temp(bytes, task.entry.data_bytes());
        let result = match temp {
            Ok(temp) => Ok(temp),
            Err(error) => Err(local(error, &path)?),
        };
        let layout = Layout::new(task.entry.holes.clone());
        let file = Mutex::new(Some(Written { task, path, result }));
        Ok(OpenFile { layout, left: AtomicUsize::new(1), file })
    }

    fn file(&self) -> MutexGuard<'_, Option<Written>> {
        self.file.lock().expect("nothing panics here")
    }

    /// Returns the chunks of the file, and their total length.
    pub fn chunks(&self) -> Result<(Vec<ChunkId>, u64), Error> {
        let file = self.file();
        let Some(Written { task, .. }) = &*file else { return Ok((Vec::new(), 0)) };
        Ok((ids(&task.entry)?, task.entry.data_bytes()))
    }

    /// Counts a piece that will be written.
    pub fn expect(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks the file as failed with the first failure, and removes the written part.
    pub fn fail(&self, message: impl ToString, cause: Cause) {
        if let Some(Written { result: result @ Ok(_), .. }) = &mut *self.file() {
            *result = Err((message.to_string(), cause));
        }
    }

    /// Counts pieces that are written. Hands the file over after the last one.
    pub fn done(&self, pieces: usize, written: &SyncSender<Written>) -> Result<(), Error> {
        if self.left.fetch_sub(pieces, Ordering::AcqRel) > pieces {
            return Ok(());
        }
        self.hand_over(written)
    }

    /// Hands the file over as it is, unless that has happened already.
    pub fn hand_over(&self, written: &SyncSender<Written>) -> Result<(), Error> {
        let Some(mut file) = self.file().take() else { return Ok(()) };
        if let Ok(temp) = &mut file.result {
            // Many files wait for their sync, so do not keep a second descriptor of each.
            temp.output = None;
        }
        // The receiver ends early only after a failure, which it reports itself.
        written.send(file).map_err(|_| Error::Interrupted)
    }
}

/// Returns why a file cannot be written. If every other file would fail as well, as on a full disk,
/// returns an error.
fn local(error: io::Error, path: &Path) -> Result<(String, Cause), Error> {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem => {
            let source = io::Error::from(error.kind());
            Err(Error::File { action: "write", path: path.to_owned(), source })
        }
        _ => Ok((format!("cannot write: {error}"), Cause::Local)),
    }
}

/// Fills some files with chunks, for one thread.
pub(super) struct Filler<'a> {
    open: &'a [OpenFile],
    /// Collects adjacent chunks of one file, …
    extent: &'a mut Extent,
    /// … which has this index; `None` before the first chunk.
    file: Option<usize>,
    /// Number of pieces in `extent` that are not counted as written yet.
    pieces: usize,
    written: &'a SyncSender<Written>,
    progress: &'a dyn Progress,
}

impl<'a> Filler<'a> {
    pub fn new(
        open: &'a [OpenFile],
        extent: &'a mut Extent,
        written: &'a SyncSender<Written>,
        progress: &'a dyn Progress,
    ) -> Self {
        Filler { open, extent, file: None, pieces: 0, written, progress }
    }

    /// Appends a chunk to the collected content if the chunk follows it in the file. Otherwise, or
    /// if the memory is full, writes the collected content first.
    pub fn put(&mut self, piece: &Piece, raw: &[u8]) -> Result<(), Error> {
        // The chunk may come from another pack or from the seed, so its length can differ from the
        // one in the table.
        if raw.len() != piece.place.frame.raw_bytes as usize {
            self.fail(piece, OTHER_LENGTH, Cause::Damage);
            return Ok(());
        }
        for (offset, range) in self.open[piece.file].layout.pieces(piece.at, raw.len() as u64) {
            self.go_to(piece.file, offset)?;
            let mut rest = self.extent.add(&raw[range]);
            while !rest.is_empty() {
                self.flush()?;
                rest = self.extent.add(rest);
            }
        }
        self.advance(piece)
    }

    /// Returns memory in the write buffer into which the caller can decrypt a chunk in place, with
    /// [`TAG_BYTES`] extra bytes; `None` if the chunk is split by holes or too long.
    pub fn room(&mut self, piece: &Piece) -> Result<Option<&mut [u8]>, Error> {
        let bytes = piece.place.frame.raw_bytes as usize;
        let pieces = self.open[piece.file].layout.pieces(piece.at, bytes as u64);
        let [(offset, _)] = pieces[..] else { return Ok(None) };
        self.go_to(piece.file, offset)?;
        if self.extent.room(bytes + TAG_BYTES).is_none() {
            self.flush()?;
        }
        Ok(self.extent.room(bytes + TAG_BYTES))
    }

    /// Adds a chunk that was decrypted into [`Filler::room`].
    pub fn take(&mut self, piece: &Piece) -> Result<(), Error> {
        self.extent.grow(piece.place.frame.raw_bytes as usize);
        self.advance(piece)
    }

    fn advance(&mut self, piece: &Piece) -> Result<(), Error> {
        self.progress.advance(0, u64::from(piece.place.frame.raw_bytes));
        // An empty piece is not in the write buffer, so count it at once.
        if self.file != Some(piece.file) {
            return self.open[piece.file].done(1, self.written);
        }
        self.pieces += 1;
        Ok(())
    }

    /// Moves to an offset of a file. If that does not continue the collected content, writes this
    /// first.
    fn go_to(&mut self, file: usize, offset: u64) -> Result<(), Error> {
        if (self.file, self.extent.end()) != (Some(file), offset) {
            self.flush()?;
            self.file = Some(file);
            self.extent.begin(offset);
        }
        Ok(())
    }

    /// Writes the collected content, and hands the file over if nothing else is left to write.
    pub fn flush(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.map(|file| &self.open[file]) else { return Ok(()) };
        // A file that has failed has no output, so nothing is written to it.
        let output = file.file().as_ref().and_then(Written::output);
        if let Err(error) = self.extent.write(output.as_deref()) {
            let path = file.file().as_ref().map(|file| file.path.clone());
            let (message, cause) = local(error, &path.unwrap_or_default())?;
            file.fail(message, cause);
        }
        // Close the second descriptor before the file is handed over.
        drop(output);
        file.done(std::mem::take(&mut self.pieces), self.written)
    }

    pub fn is_failed(&self, piece: &Piece) -> bool {
        self.open[piece.file].file().as_ref().is_some_and(|file| file.result.is_err())
    }

    pub fn fail(&self, piece: &Piece, message: impl ToString, cause: Cause) {
        self.open[piece.file].fail(message, cause);
    }
}
