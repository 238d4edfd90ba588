//! The folders and names that a restore keeps track of.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::aside::Stale;
use crate::files::{Folder, Stat};
use crate::format::{Entry, Time};

/// The position of the walk, in the snapshot and in the target.
pub(super) struct At {
    /// Names below the target.
    pub components: Vec<Vec<u8>>,
    /// The open folder; `None` until an entry in it is selected.
    pub folder: Option<Folder>,
    /// Path in the snapshot.
    pub path: PathBuf,
    /// Its number among the folders; `None` for the target.
    pub number: Option<usize>,
}

/// A folder that will be finished when everything in it is done.
pub(super) struct PendingFolder {
    /// The number of the parent folder.
    pub parent: Option<usize>,
    pub entry: Entry,
    pub was: Was,
}

/// Names of the folders from the target down, and the name in the last one.
pub(super) type Destination = (Vec<Vec<u8>>, Vec<u8>);

/// The state of a folder before the restore.
pub(super) enum Was {
    NotOpened,
    /// Something else is in the way and stays there; it was reported.
    Blocked,
    /// It did not exist, or an earlier restore created it and was killed before it finished the
    /// folder.
    Made,
    There(Before),
}

pub(super) struct Before {
    pub mode: u32,
    pub mtime: Time,
    /// Whether it was made writable.
    pub widened: bool,
    pub written: bool,
    /// Whether everything in it that is not in the snapshot is removed, so that it becomes equal to
    /// the folder in the snapshot.
    pub mirrors: bool,
}

impl Was {
    /// Returns the state of the target; `before` is `None` if it did not exist.
    pub fn of(before: Option<Stat>) -> Was {
        let before = before.filter(|stat| !stat.is_unfinished());
        before.map_or(Was::Made, |stat| Was::there(stat, false))
    }

    pub fn there(stat: Stat, widened: bool) -> Was {
        let Stat { mode, mtime, .. } = stat;
        Was::There(Before { mode, mtime, widened, written: false, mirrors: false })
    }
}

/// An additional name of a file.
pub(super) struct Further {
    pub place: Destination,
    pub entry: Entry,
    /// Whether it replaces an existing file.
    pub replaces: bool,
    pub stale: Stale,
}

pub(super) fn components(names: &[Vec<u8>]) -> PathBuf {
    names.iter().map(|name| OsStr::from_bytes(name)).collect()
}
