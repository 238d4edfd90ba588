//! Decides what to do with a file or folder that already has the name of an entry in the target.

use super::options::{Overwrite, RestoreOptions};
use super::{aside, verify};
use crate::files::{Folder, Stat};
use crate::format::tree::MARK_COPY;
use crate::format::{Entry, EntryKind};
use crate::repo::Repository;

/// What already exists at the path of a file.
pub(super) enum There {
    Nothing,
    IsReplaced,
    Stays(Stat),
}

/// How a restore treats an existing file or folder at the path of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    Stays,
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
    let same = looks_same(there, entry, folder);
    Ok(match options.overwrite {
        // With the same size and time, an earlier run of this restore has finished it.
        None if options.resume && same => InTheWay::Stays,
        None => InTheWay::Refused,
        Some(Overwrite::Never) => InTheWay::Stays,
        Some(Overwrite::IfChanged) if same => InTheWay::Stays,
        Some(Overwrite::Always)
            if options.resume && same && verify::is_same(repository, entry, folder)? =>
        {
            InTheWay::Stays
        }
        Some(Overwrite::IfChanged | Overwrite::Always) => InTheWay::IsReplaced,
    })
}

/// Returns whether the existing file looks like the entry in the snapshot. Some file systems round
/// times to hundredths of a second, or to two seconds.
pub(super) fn looks_same(there: &Stat, entry: &Entry, folder: &Folder) -> bool {
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
    if entry.mark == Some(MARK_COPY) && aside::has_journals(folder, &entry.name) {
        return false;
    }
    let (a, b) = (there.mtime, entry.mtime);
    let coarse = a.nanos.is_multiple_of(10_000_000) && a.seconds.abs_diff(b.seconds) <= 2;
    Some(there.size) == entry.size && (a == b || coarse)
}
