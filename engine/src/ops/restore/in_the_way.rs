//! Decides what to do with a file or folder that already has the name of an entry in the target.

use super::options::{Overwrite, RestoreOptions};
use super::{aside, verify};
use crate::files::{Folder, Stat, is_database};
use crate::format::tree::MARK_COPY;
use crate::format::{Entry, EntryKind};
use crate::repo::Repository;

/// What already exists at the path of a file.
pub(super) enum There {
    Nothing,
    IsReplaced,
    Stays {
        /// Whether it looks like the entry.
        same: bool,
    },
}

/// How a restore treats an existing file or folder at the path of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    Stays {
        /// Whether it looks like the entry.
        same: bool,
    },
    IsReplaced,
    /// The options do not allow replacing it.
    Refused,
}

/// Decides what to do with `there`, which has the name of an entry in `folder`. Plan and execution
/// share this decision.
pub(super) fn in_the_way(
    repository: &Repository,
    options: &RestoreOptions,
    there: &Stat,
    entry: &Entry,
    folder: &Folder,
) -> std::io::Result<InTheWay> {
    let same = || looks_same(repository, there, entry, folder);
    let is_resumed = options.resume;
    Ok(match options.overwrite {
        // With the same size and time, an earlier run of this restore has finished it.
        None if is_resumed && same() => InTheWay::Stays { same: true },
        None => InTheWay::Refused,
        Some(Overwrite::Never) => InTheWay::Stays { same: same() },
        Some(Overwrite::IfChanged) if same() => InTheWay::Stays { same: true },
        Some(Overwrite::Always)
            if is_resumed && same() && verify::is_same(repository, entry, folder)? =>
        {
            InTheWay::Stays { same: true }
        }
        Some(Overwrite::IfChanged | Overwrite::Always) => InTheWay::IsReplaced,
    })
}

/// Returns whether an existing file that stays looks like the entry; `None` if the entry is written.
pub(super) fn stays(
    repository: &Repository,
    options: &RestoreOptions,
    entry: &Entry,
    folder: &Folder,
) -> Option<bool> {
    let there = folder.stat(&entry.name).ok()??;
    match in_the_way(repository, options, &there, entry, folder).ok()? {
        InTheWay::Stays { same } => Some(same),
        InTheWay::Refused => Some(looks_same(repository, &there, entry, folder)),
        InTheWay::IsReplaced => None,
    }
}

/// Sizes of databases are multiples of this, the smallest page of SQLite.
const DATABASE_PAGE_MIN: u64 = 512;

/// Returns whether the existing file looks like the entry in the snapshot. Some file systems round
/// times to hundredths of a second, or to two seconds. Databases are compared by their content:
/// SQLite can change a database without changing its size and time, because the edits are in its
/// journal, and the copy that a snapshot stores includes them.
pub(super) fn looks_same(
    repository: &Repository,
    there: &Stat,
    entry: &Entry,
    folder: &Folder,
) -> bool {
    if there.kind != entry.kind || there.kind == EntryKind::Folder {
        return false;
    }
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Symlink => {
            let target = folder.link_target(&entry.name);
            return target.is_ok_and(|there| entry.target.as_ref().is_some_and(|t| there == **t));
        }
        _ => return there.rdev == entry.device.unwrap_or(0),
    }
    // Size and time of a database with journals do not show its whole content.
    let is_copy = entry.mark == Some(MARK_COPY);
    if is_copy && aside::has_journals(folder, &entry.name) {
        return verify::is_same_database(repository, entry, folder).unwrap_or(false);
    }
    let (a, b) = (there.mtime, entry.mtime);
    let coarse = a.nanos.is_multiple_of(10_000_000) && a.seconds.abs_diff(b.seconds) <= 2;
    if Some(there.size) != entry.size || !(a == b || coarse) {
        return false;
    }
    !may_be_database(there, entry, folder)
        || verify::is_same(repository, entry, folder).unwrap_or(false)
        || is_copy && verify::is_same_database(repository, entry, folder).unwrap_or(false)
}

/// Returns whether the entry or the existing file is a database. A file that cannot be read does not
/// count as one.
fn may_be_database(there: &Stat, entry: &Entry, folder: &Folder) -> bool {
    let begins_like_one = || {
        let file = folder.open_file(&entry.name);
        file.and_then(|file| is_database(&file)).unwrap_or(false)
    };
    entry.mark == Some(MARK_COPY)
        || (there.size > 0 && there.size.is_multiple_of(DATABASE_PAGE_MIN) && begins_like_one())
}
