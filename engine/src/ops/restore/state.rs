//! What a restore remembers of the folders and names that it has come to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::aside::Stale;
use crate::files::{Folder, Stat};
use crate::format::{Entry, Time};

/// Where the walk is: in the snapshot and in the target.
pub(super) struct At {
    /// Names below the target.
    pub components: Vec<Vec<u8>>,
    /// The open folder; `None` while nothing in it was picked yet.
    pub folder: Option<Folder>,
    /// Path in the snapshot.
    pub path: PathBuf,
    /// Its number among the folders; `None` for the target.
    pub number: Option<usize>,
}

/// A folder that is finished when everything in it is done.
pub(super) struct PendingFolder {
    /// The number of the one above.
    pub parent: Option<usize>,
    pub entry: Entry,
    pub was: Was,
}

/// Names of the folders from the target down, and of what is in the last one.
pub(super) type Destination = (Vec<Vec<u8>>, Vec<u8>);

/// What a folder was before the restore.
pub(super) enum Was {
    NotOpened,
    /// Something is in the way that stays; it was reported.
    Blocked,
    /// It was not there, or an earlier restore made it and was killed before it finished it.
    Made,
    There(Before),
}

pub(super) struct Before {
    pub mode: u32,
    pub mtime: Time,
    /// It was made writable.
    pub widened: bool,
    pub written: bool,
    /// All that is in it and not in the snapshot is removed: it becomes the folder of the snapshot.
    pub mirrors: bool,
}

impl Was {
    /// Returns what the target was; `None` if it was not there.
    pub fn of(before: Option<Stat>) -> Was {
        let before = before.filter(|stat| !stat.is_unfinished());
        before.map_or(Was::Made, |stat| Was::there(stat, false))
    }

    pub fn there(stat: Stat, widened: bool) -> Was {
        let Stat { mode, mtime, .. } = stat;
        Was::There(Before { mode, mtime, widened, written: false, mirrors: false })
    }
}

/// A further name of a file.
pub(super) struct Further {
    pub place: Destination,
    pub entry: Entry,
    /// Something there gives way to it.
    pub replaces: bool,
    pub stale: Stale,
}

pub(super) fn components(names: &[Vec<u8>]) -> PathBuf {
    names.iter().map(|name| OsStr::from_bytes(name)).collect()
}
