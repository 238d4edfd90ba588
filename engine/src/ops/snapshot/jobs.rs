//! What the stages hand to each other: jobs from the walk to the workers, outcomes from these to the trees.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicbor::bytes::ByteVec;

use super::pending::{Pending, Promised};
use crate::files::{Beside, Found, Stat};
use crate::format::{Hole, PackKind, Xattr};
use crate::repo::catalog::{CachedDatabase, CachedFile, CachedFolder, FolderRow};

/// Events that the walk may be ahead of the trees.
pub(super) const EVENTS_MAX: usize = 64;

/// A file to read.
#[derive(Debug)]
pub(super) struct FileJob {
    pub path: PathBuf,
    pub stat: Stat,
    /// Number of its source.
    pub source: usize,
    /// What the last run knew of it.
    pub older: Option<CachedFile>,
    /// Which journal it is of the file before it in the batch, if that file is a database.
    pub beside: Option<Beside>,
    /// Which journals follow it in the batch.
    pub journals: [bool; 2],
}

/// What is known of a file's content.
#[derive(Debug, Clone)]
pub(super) struct FileContent {
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

impl FileContent {
    /// Returns the bytes of what is stored.
    pub fn bytes(&self) -> u64 {
        self.database.map_or(self.stat.size, |database| database.bytes)
    }
}

/// What is in the snapshot of one file; `None` if nothing is.
pub(super) type Outcome = Option<FileContent>;

/// A batch of neighbouring files of one kind.
pub(super) struct Work {
    pub kind: PackKind,
    pub jobs: Vec<FileJob>,
    /// The outcome of each job.
    pub outcomes: Promised<Vec<Outcome>>,
}

/// What the walk knows of one name in a folder.
#[derive(Debug)]
pub(super) enum NameState {
    /// No file: nothing to read.
    NotFile,
    /// A file that has not changed since a run read it; `saved` if a snapshot has it.
    Known { file: Box<CachedFile>, saved: bool },
    /// A file that is left out, because of the database that it lies beside.
    LeftOut,
    /// A file that a worker reads.
    Pending(Pending<Vec<Outcome>>, usize),
}

/// What the walk knows of the files of a folder.
#[derive(Debug)]
pub(super) enum Files {
    /// Nothing changed since the last run.
    Unchanged(CachedFolder),
    /// One state for each name.
    Read(Vec<NameState>),
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
    /// What the stat cache keeps of files that have disappeared.
    pub gone: Option<FolderRow>,
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
