//! The messages between the stages: jobs from the walk to the workers, and outcomes from the workers to the tree
//! builder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicbor::bytes::ByteVec;

use super::handover::{Pending, Promised};
use crate::files::source::Xattrs;
use crate::files::{Beside, Found, Stat};
use crate::format::{Hole, PackKind, Xattr};
use crate::repo::catalog::{CachedDatabase, CachedFile, CachedFolder, FolderRow};

/// Number of events by which the walk may be ahead of the tree builder.
pub(super) const EVENTS_MAX: usize = 64;

/// A file to read.
#[derive(Debug)]
pub(super) struct FileJob {
    pub path: PathBuf,
    pub stat: Stat,
    /// Number of its source.
    pub source: usize,
    /// What the last run recorded about it.
    pub older: Option<CachedFile>,
    /// Its role beside the main file that precedes it in the batch, if it lies beside one.
    pub beside: Option<Beside>,
    /// Which of its journals follow it in the batch.
    pub journals: [bool; 2],
}

/// The content of a file.
#[derive(Debug, Clone)]
pub(super) struct FileContent {
    /// The `stat` of the file when this content was read.
    pub stat: Stat,
    pub chunks: ByteVec,
    pub holes: Option<Vec<Hole>>,
    pub xattrs: Option<Vec<Xattr>>,
    /// False if some of them could not be read.
    pub has_all_xattrs: bool,
    /// False if the file changed while it was read, if this is an older version of it, or if the next run must report
    /// it again.
    pub trusted: bool,
    /// The mark of the tree entry.
    pub mark: Option<u64>,
    /// For a database: its journals, and the number of bytes that are stored for it.
    pub database: Option<CachedDatabase>,
    /// Whether a snapshot has an earlier version of it.
    pub replaces: bool,
}

impl FileContent {
    /// Returns the content that an earlier run recorded, with a `stat` and extended attributes that were read now.
    pub fn recorded(file: CachedFile, stat: Stat, xattrs: Xattrs, trusted: bool) -> FileContent {
        let CachedFile { chunks, holes, mark, database, replaces, .. } = file;
        let Xattrs { found: xattrs, problem } = xattrs;
        let has_all_xattrs = problem.is_none();
        FileContent {
            stat,
            chunks,
            holes,
            xattrs,
            has_all_xattrs,
            trusted,
            mark,
            database,
            replaces,
        }
    }

    /// Returns the number of bytes that are stored.
    pub fn bytes(&self) -> u64 {
        self.database.map_or(self.stat.size, |database| database.bytes)
    }
}

/// The content of one file in the snapshot; `None` if the snapshot does not contain it.
pub(super) type Outcome = Option<FileContent>;

/// A batch of neighbouring files of one kind.
pub(super) struct Work {
    pub kind: PackKind,
    pub jobs: Vec<FileJob>,
    /// The outcome of each job.
    pub outcomes: Promised<Vec<Outcome>>,
}

/// What the walk knows about one name in a folder.
#[derive(Debug)]
pub(super) enum NameState {
    /// Not a file, so there is nothing to read.
    NotFile,
    /// A file that has not changed since a run read it; `saved` if a snapshot has it.
    Known { file: Box<CachedFile>, saved: bool },
    /// A file that is left out because it lies beside a database.
    LeftOut,
    /// A file that a worker reads.
    Pending(Pending<Vec<Outcome>>, usize),
}

/// What the walk knows about the files of a folder.
#[derive(Debug)]
pub(super) enum Files {
    /// Nothing changed since the last run.
    Unchanged(CachedFolder),
    /// One state for each name.
    Read(Vec<NameState>),
}

/// A folder that the walk found.
#[derive(Debug)]
pub(super) struct FolderJob {
    /// Name in the folder above.
    pub name: Vec<u8>,
    pub path: PathBuf,
    /// The real location of each name in it, if it is a folder above the given paths.
    pub given: BTreeMap<Vec<u8>, PathBuf>,
    /// Key of its row in the stat cache; `None` for a folder that could not be listed.
    pub key: Option<i64>,
    pub inode: u64,
    pub signature: [u8; 32],
    pub found: Vec<Found>,
    pub files: Files,
    /// The row of the stat cache for files that have disappeared.
    pub gone: Option<FolderRow>,
}

impl FolderJob {
    /// Returns the path on disk of a name in the folder.
    pub fn path_of(&self, found: &Found) -> PathBuf {
        self.given.get(&found.name).cloned().unwrap_or_else(|| found.path_in(&self.path))
    }
}

/// Events that the walk sends to the tree builder, in the order of the walk.
#[derive(Debug)]
pub(super) enum Event {
    Enter(Box<FolderJob>),
    Leave,
}
