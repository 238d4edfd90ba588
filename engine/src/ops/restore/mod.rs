//! Restores files from a snapshot.
//!
//! A plan is made from trees and catalog alone. Execution goes through the selected files in the
//! order of their paths, which is about the order of the packs: a batch of files at a time, the
//! ranges that they need of each pack are read at once, those of the first files first, every chunk is
//! verified by its id, files are written under temporary names, synced, and only then given their
//! names. A file does not wait for its batch: an interrupted run keeps every file that is complete.

mod aside;
mod batch;
mod delete;
mod finish;
mod folders;
mod link;
mod open;
mod original;
mod parents;
mod pieces;
mod place;
mod plan;
mod removals;
mod seed;
mod select;
mod target;
mod thaw;
mod verify;
mod write;

pub use original::Original;
pub use place::Layout;
pub use plan::{PlannedPack, RestorePlan, plan};
pub use seed::{Seed, seed};
pub use select::Selection;
pub use target::{check_target, prepare_target, real_path};
pub use thaw::thaw;
pub use write::restore;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::files::{Folder, Links, Stat};
use crate::format::tree::MARK_COPY;
use crate::format::{Entry, EntryKind};
use crate::repo::{PackKey, Repository};
use crate::store::Requests;

/// What happens to a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    Never,
    /// Replaced if its size or its time is another.
    IfChanged,
    Always,
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Where to; empty for a plan that is only looked at.
    pub target: PathBuf,
    /// `None`: the target must be empty.
    pub overwrite: Option<Overwrite>,
    /// Remove what is in the target and not in the snapshot.
    pub delete: bool,
    /// Read every restored file again.
    pub verify: bool,
    /// Make pipes, sockets and devices too.
    pub special: bool,
    /// Which symlinks in the target may stand for folders of the snapshot.
    pub links: Links,
    /// Folders of this program: no target may lie in one, and none is deleted.
    pub protect: Vec<PathBuf>,
    /// It goes on with an earlier run: what that run finished stays.
    pub resume: bool,
    /// Chunks that need not be fetched.
    pub seed: Option<Arc<Seed>>,
    /// Packs that cannot be read yet: files that need one of them wait for another run.
    pub unreadable: Arc<HashSet<PackKey>>,
}

/// What has the name of a file already.
enum There {
    Nothing,
    IsReplaced,
    Stays(Stat),
}

/// What becomes of something that has the name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InTheWay {
    Stays,
    IsReplaced,
    /// The options do not say what should happen to it.
    Refused,
}

/// Decides about what has the name of an entry in `folder`; plan and execution ask the same.
fn in_the_way(
    repository: &Repository,
    options: &RestoreOptions,
    there: &Stat,
    entry: &Entry,
    folder: &Folder,
) -> std::io::Result<InTheWay> {
    let same = looks_same(there, entry, folder);
    Ok(match options.overwrite {
        // Of the same size and time, it is what an earlier run of this restore finished.
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

/// Returns whether what is there looks like the entry in the snapshot. Some file systems keep
/// times to hundredths of a second, or to two seconds.
fn looks_same(there: &Stat, entry: &Entry, folder: &Folder) -> bool {
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
    // What has journals has more than its own size and time tell.
    if entry.mark == Some(MARK_COPY) && aside::has_journals(folder, &entry.name) {
        return false;
    }
    let (a, b) = (there.mtime, entry.mtime);
    let coarse = a.nanos.is_multiple_of(10_000_000) && a.seconds.abs_diff(b.seconds) <= 2;
    Some(there.size) == entry.size && (a == b || coarse)
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    pub files: u64,
    pub bytes: u64,
    /// Files that were there already and were left.
    pub files_skipped: u64,
    /// Of these, files that are not those of the snapshot.
    pub files_differing: u64,
    /// Files that wait for a pack that cannot be read yet.
    pub files_waiting: u64,
    /// Files that could not be restored; each was reported.
    pub files_failed: u64,
    /// Of these, files that damage in the store took.
    pub files_damaged: u64,
    /// Symlinks that are where the snapshot has a folder, and were not followed.
    pub links_in_the_way: u64,
    /// Pipes, sockets and devices, which were not asked for.
    pub special_left: u64,
    /// Names that were removed by `delete`.
    pub deleted: u64,
    pub packs_fetched: u64,
    pub files_verified: u64,
    pub requests: Requests,
}
