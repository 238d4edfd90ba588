//! The options of a restore, and its result.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::seed::Seed;
use crate::files::Links;
use crate::format::OverwriteRule;
use crate::repo::PackRowId;
use crate::store::Requests;

/// What to do with an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays.
    Never,
    /// Replaced if its size or its time differs or, for a database, its content.
    IfChanged,
    /// Replaced, whatever its size and its time are.
    Always,
}

/// The rule as the record of a job has it.
impl From<Option<Overwrite>> for OverwriteRule {
    fn from(overwrite: Option<Overwrite>) -> Self {
        match overwrite {
            None => OverwriteRule::Refuse,
            Some(Overwrite::Never) => OverwriteRule::Never,
            Some(Overwrite::IfChanged) => OverwriteRule::IfChanged,
            Some(Overwrite::Always) => OverwriteRule::Always,
        }
    }
}

impl From<OverwriteRule> for Option<Overwrite> {
    fn from(rule: OverwriteRule) -> Self {
        match rule {
            OverwriteRule::Refuse => None,
            OverwriteRule::Never => Some(Overwrite::Never),
            OverwriteRule::IfChanged => Some(Overwrite::IfChanged),
            OverwriteRule::Always => Some(Overwrite::Always),
        }
    }
}

/// A part of a selection, in the order in which files are restored. Paths are those below the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// The first file; empty for the first of all.
    pub from: PathBuf,
    /// The first file that is left out; `None` for the end.
    pub until: Option<PathBuf>,
}

impl Span {
    /// Returns whether a file belongs to the part.
    pub fn contains(&self, path: &Path) -> bool {
        path >= self.from.as_path() && !self.ends_before(path)
    }

    /// Returns whether a file comes after the part.
    pub fn ends_before(&self, path: &Path) -> bool {
        self.until.as_ref().is_some_and(|until| path >= until.as_path())
    }
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Target folder; empty for a plan that will not be executed.
    pub target: PathBuf,
    /// If `None`, the target must be empty.
    pub overwrite: Option<Overwrite>,
    /// Remove files in the target that are not in the snapshot.
    pub delete: bool,
    /// Read every restored file again, and compare it with the snapshot.
    pub verify: bool,
    /// Create pipes, sockets and devices, too.
    pub special: bool,
    /// Which symlinks in the target may stand for folders of the snapshot.
    pub links: Links,
    /// Folders of this program. The target may not be inside one of them, and none of them is
    /// deleted.
    pub protect: Vec<PathBuf>,
    /// Continues an earlier run, whose finished files stay.
    pub resume: bool,
    /// Chunks that need not be fetched.
    pub seed: Option<Arc<Seed>>,
    /// Packs that cannot be read yet. Files that need one of them wait for a later run.
    pub unreadable: Arc<HashSet<PackRowId>>,
    /// Restores only files of this part. Those that come after it wait for a later run.
    pub only: Option<Span>,
}

/// The result of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Number of files that were written.
    pub files: u64,
    /// Their total size.
    pub bytes: u64,
    /// Files that already existed and were kept.
    pub files_skipped: u64,
    /// Of these, files that differ from the snapshot.
    pub files_differing: u64,
    /// Files that wait for a pack that cannot be read yet.
    pub files_waiting: u64,
    /// Files that come after the part that was to be restored.
    pub files_later: u64,
    /// Files that could not be restored; each was reported.
    pub files_failed: u64,
    /// Of these, files that failed because of damage in the store.
    pub files_damaged: u64,
    /// Of these, folders whose listings are damaged, with an unknown number of files.
    pub folders_failed: u64,
    /// Of the files that failed, existing ones that were kept, but whose content turned out to differ.
    pub files_kept_wrong: u64,
    /// Symlinks in place of a folder of the snapshot that were not followed.
    pub links_in_the_way: u64,
    /// Pipes, sockets and devices that were skipped because `special` is false.
    pub special_left: u64,
    /// Names that were removed because of `delete`.
    pub deleted: u64,
    /// Number of packs of which something was read.
    pub packs_fetched: u64,
    /// Number of files that were read again and are as in the snapshot.
    pub files_verified: u64,
    /// The requests that were made.
    pub requests: Requests,
}

impl RestoreSummary {
    /// Returns whether a later run would restore no more: no file waits, and only files that are damaged in the store
    /// have failed.
    pub fn is_over(&self) -> bool {
        self.files_waiting == 0 && self.files_failed == self.files_damaged
    }
}
