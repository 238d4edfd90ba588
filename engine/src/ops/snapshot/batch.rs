//! Work on its way from the walk to the workers, and its outcome on the way to the trees.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use minicbor::bytes::ByteVec;

use crate::files::{Beside, Found, Stat};
use crate::format::{Hole, Xattr};
use crate::repo::catalog::{CachedDatabase, CachedFile, CachedFolder};

/// A file to read.
#[derive(Debug)]
pub(super) struct FileJob {
    pub path: PathBuf,
    pub stat: Stat,
    /// Number of its source.
    pub source: usize,
    /// What the last run knew of it.
    pub older: Option<CachedFile>,
    /// What it is to the file before it in the batch, if that turns out to be a database.
    pub beside: Option<Beside>,
    /// Which journals follow it in the batch.
    pub journals: [bool; 2],
}

/// What is known of a file's content.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// What the file was when this content was read.
    pub stat: Stat,
    pub chunks: ByteVec,
    pub holes: Option<Vec<Hole>>,
    pub xattrs: Option<Vec<Xattr>>,
    /// False if some of them could not be read.
    pub has_all_xattrs: bool,
    /// False if the file changed while it was read, is an older version carried over, or is to be
    /// named again by the next run.
    pub trusted: bool,
    /// As in the tree entry.
    pub mark: Option<u64>,
    /// If it is a database: its journals, and the bytes of what is stored without them.
    pub database: Option<CachedDatabase>,
}

impl Content {
    /// Returns the bytes of what is stored.
    pub fn bytes(&self) -> u64 {
        self.database.map_or(self.stat.size, |database| database.bytes)
    }
}

/// What became of one file; `None` if it is not in the snapshot.
pub(super) type Outcome = Option<Content>;

/// A batch that a worker has or will have.
#[derive(Debug, Default)]
pub(super) struct Batch {
    outcomes: Mutex<Option<Vec<Outcome>>>,
    done: Condvar,
}

impl Batch {
    fn finish(&self, outcomes: Vec<Outcome>) {
        *self.outcomes.lock().expect("nothing panics here") = Some(outcomes);
        self.done.notify_all();
    }

    /// Waits for the batch and takes the outcome of one file; `None` if no worker came to it.
    pub fn take(&self, index: usize) -> Option<Outcome> {
        let guard = self.outcomes.lock().expect("nothing panics here");
        let mut guard = self
            .done
            .wait_while(guard, |outcomes| outcomes.is_none())
            .expect("nothing panics here");
        guard.as_mut().and_then(|outcomes| outcomes.get_mut(index)).map(Option::take)
    }
}

/// A batch in the hands of a worker. Dropped without an outcome, it has none for any of its files, so that
/// no thread waits for a worker that panicked; a run ends there.
pub(super) struct Delivery(Option<Arc<Batch>>);

impl Delivery {
    pub fn of(batch: Arc<Batch>) -> Self {
        Delivery(Some(batch))
    }

    pub fn finish(mut self, outcomes: Vec<Outcome>) {
        if let Some(batch) = self.0.take() {
            batch.finish(outcomes);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(batch) = self.0.take() {
            batch.finish(Vec::new());
        }
    }
}

/// What the walk knows of one name in a folder.
#[derive(Debug)]
pub(super) enum State {
    /// No file: nothing to read.
    NotFile,
    /// A file that has not changed since a run read it; `saved` if a snapshot has it.
    Known { file: Box<CachedFile>, saved: bool },
    /// A file that is left out, because of the database that it lies beside.
    LeftOut,
    /// A file that a worker reads.
    Pending(Arc<Batch>, usize),
}

/// What the walk knows of the files of a folder.
#[derive(Debug)]
pub(super) enum Files {
    /// Nothing changed since the last run.
    Unchanged(CachedFolder),
    /// One state for each name.
    Read(Vec<State>),
}

/// A folder as the walk found it.
#[derive(Debug)]
pub(super) struct FolderJob {
    /// Name in the folder above.
    pub name: Vec<u8>,
    pub path: PathBuf,
    /// Where what is in it stands on disk, if it is a folder above the given paths.
    pub given: BTreeMap<Vec<u8>, PathBuf>,
    /// Row in the stat cache; `None` for a folder that could not be listed.
    pub key: Option<i64>,
    pub inode: u64,
    pub signature: [u8; 32],
    pub found: Vec<Found>,
    pub files: Files,
}

impl FolderJob {
    /// Returns where something in it stands on disk.
    pub fn path_of(&self, found: &Found) -> PathBuf {
        self.given.get(&found.name).cloned().unwrap_or_else(|| found.path_in(&self.path))
    }
}

/// Events that the walk sends to the assembler, in the order of the walk.
#[derive(Debug)]
pub(super) enum Event {
    Enter(Box<FolderJob>),
    Leave,
}
