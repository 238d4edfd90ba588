//! What a restore is to do, and what it did.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::seed::Seed;
use crate::files::Links;
use crate::repo::PackRowId;
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
    /// Continues an earlier run, whose finished files stay.
    pub resume: bool,
    /// Chunks that need not be fetched.
    pub seed: Option<Arc<Seed>>,
    /// Packs that cannot be read yet: files that need one of them wait for another run.
    pub unreadable: Arc<HashSet<PackRowId>>,
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
