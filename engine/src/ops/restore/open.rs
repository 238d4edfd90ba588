//! Files that are being written. Many threads write at once, and each collects adjacent chunks
//! before it writes them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::aside::Stale;
use super::pieces::Piece;
use super::place::Layout;
use crate::error::Error;
use crate::files::{Folder, Run, TempFile};
use crate::format::Entry;
use crate::format::pack::TAG_BYTES;
use crate::progress::Progress;

pub(super) const OTHER_LENGTH: &str = "its chunks differ in length from the file";

/// A file to write.
pub(super) struct Task {
    pub folder: Folder,
    pub entry: Entry,
    /// Whether it replaces an existing file.
    pub replaces: bool,
    /// The journals that must not be beside it.
    pub stale: Stale,
}

/// A file whose content is written, but neither synced nor named.
pub(super) struct Written {
    pub task: Task,
    pub path: PathBuf,
    /// The file; or why it is not there.
    pub result: Result<TempFile, (String, Cause)>,
}

/// Why a file could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A pack that it needs turned out to be cold; another run may restore it.
    Cold,
    Damage,
    /// Any failure on this machine.
    Local,
}

/// A file that is being written.
pub(super) struct Open {
    layout: Layout,
    path: PathBuf,
    state: Mutex<State>,
}

/// What there is of a file, or why there is nothing.
type State = Result<TempFile, (String, Cause)>;

impl Open {
    /// Begins a file. An error is something that every other file would fail with.
    pub fn begin(task: &Task) -> Result<Open, Error> {
        let path = task.folder.path_of(&task.entry.name);
        let bytes = task.entry.size.unwrap_or(0);
        let temp = task.folder.create_temp(bytes, task.entry.data_bytes());
        let state = match temp {
            Ok(temp) => Ok(temp),
            Err(error) => Err(local(error, &path)?),
        };
        let layout = Layout::new(task.entry.holes.clone());
        Ok(Open { layout, path, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics here")
    }

    /// Marks the file as failed with the first failure, and removes the written part.
    pub fn fail(&self, message: impl ToString, cause: Cause) {
        let mut state = self.state();
        if state.is_ok() {
            *state = Err((message.to_string(), cause));
        }
    }

    pub fn close(self, task: Task) -> Written {
        let mut result = self.state.into_inner().expect("no writer panicked");
        if let Ok(temp) = &mut result {
            // Many files wait for their sync; until then, they need not be open twice.
            temp.output = None;
        }
        Written { task, path: self.path, result }
    }
}

/// Reports why a file cannot be written. A full disk fails every file: that is an error.
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
    open: &'a [Open],
    /// Chunks put together as they lie in a file, …
    run: &'a mut Run,
    /// … by its number; none before the first chunk.
    file: Option<usize>,
    progress: &'a dyn Progress,
}

impl<'a> Filler<'a> {
    pub fn new(open: &'a [Open], run: &'a mut Run, progress: &'a dyn Progress) -> Self {
        Filler { open, run, file: None, progress }
    }

    /// Appends a chunk to the collected content if it follows that in its file. Otherwise, or if
    /// the memory is full, writes the collected content first.
    pub fn put(&mut self, piece: &Piece, raw: &[u8]) -> Result<(), Error> {
        // The chunk may come from another pack or from the seed, and the length in the table may be
        // false.
        if raw.len() != piece.place.frame.raw_bytes as usize {
            self.fail(piece, OTHER_LENGTH, Cause::Damage);
            return Ok(());
        }
        for (offset, range) in self.open[piece.file].layout.pieces(piece.at, raw.len() as u64) {
            self.go_to(piece.file, offset)?;
            let mut rest = self.run.add(&raw[range]);
            while !rest.is_empty() {
                self.flush()?;
                rest = self.run.add(rest);
            }
        }
        self.advance(piece);
        Ok(())
    }

    /// Returns the memory from which a chunk will be written, with [`TAG_BYTES`] more, to open the
    /// chunk in place; `None` if the chunk is split by holes or too long.
    pub fn room(&mut self, piece: &Piece) -> Result<Option<&mut [u8]>, Error> {
        let bytes = piece.place.frame.raw_bytes as usize;
        let pieces = self.open[piece.file].layout.pieces(piece.at, bytes as u64);
        let [(offset, _)] = pieces[..] else { return Ok(None) };
        self.go_to(piece.file, offset)?;
        if self.run.room(bytes + TAG_BYTES).is_none() {
            self.flush()?;
        }
        Ok(self.run.room(bytes + TAG_BYTES))
    }

    /// Adds a chunk that was opened in its [`Filler::room`].
    pub fn take(&mut self, piece: &Piece) {
        self.run.grow(piece.place.frame.raw_bytes as usize);
        self.advance(piece);
    }

    fn advance(&self, piece: &Piece) {
        self.progress.advance(0, u64::from(piece.place.frame.raw_bytes));
    }

    /// Moves to a place of a file, after writing the content collected elsewhere.
    fn go_to(&mut self, file: usize, offset: u64) -> Result<(), Error> {
        if (self.file, self.run.end()) != (Some(file), offset) {
            self.flush()?;
            self.file = Some(file);
            self.run.begin(offset);
        }
        Ok(())
    }

    /// Writes the collected content.
    pub fn flush(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.map(|file| &self.open[file]) else { return Ok(()) };
        // Nothing is written to a file that has failed.
        let output = file.state().as_ref().ok().and_then(|temp| temp.output.clone());
        if let Err(error) = self.run.write(output.as_deref()) {
            let (message, cause) = local(error, &file.path)?;
            file.fail(message, cause);
        }
        Ok(())
    }

    pub fn is_failed(&self, piece: &Piece) -> bool {
        self.open[piece.file].state().is_err()
    }

    pub fn fail(&self, piece: &Piece, message: impl ToString, cause: Cause) {
        self.open[piece.file].fail(message, cause);
    }
}
