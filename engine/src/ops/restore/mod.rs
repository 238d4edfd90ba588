//! Getting files back: the way of a photo out.
//!
//! A plan is made from trees and catalog alone. Execution goes through the selected files in the
//! order of their paths, which is about the order of the packs: a batch of files at a time, the
//! ranges that they need of each pack are read at once, every chunk is verified by its id, files
//! are written under temporary names, synced, and only then given their names.

mod batch;
mod finish;
mod place;
mod plan;
mod select;
mod verify;
mod write;

pub use plan::{PlannedPack, RestorePlan, plan};
pub use select::Selection;
pub use write::restore;

use std::path::PathBuf;

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
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub target: PathBuf,
    /// `None`: the target must be empty.
    pub overwrite: Option<Overwrite>,
    /// Remove what is in the target and not in the snapshot.
    pub delete: bool,
    /// Read every restored file again.
    pub verify: bool,
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    pub files: u64,
    pub bytes: u64,
    /// Files that were there already and were left.
    pub files_skipped: u64,
    /// Files that could not be restored; each was reported.
    pub files_failed: u64,
    /// Of these, files that damage in the store took.
    pub files_damaged: u64,
    /// Names that were removed by `delete`.
    pub deleted: u64,
    pub packs_fetched: u64,
    pub files_verified: u64,
    pub requests: Requests,
}
