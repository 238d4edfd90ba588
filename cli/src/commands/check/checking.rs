//! A check on its way: what it was asked for, and how far it is.

use std::path::PathBuf;

use icecore_engine::format::Time;
use icecore_engine::ops::check::{CheckReport, RepairSummary};
use icecore_engine::repo::Repository;

use crate::args::CheckArgs;
use crate::session::Session;

/// The report before a repair, and what the repair did.
pub(super) type Repaired = (CheckReport, RepairSummary);

/// A check on its way.
pub(super) struct Checking<'a> {
    pub session: &'a Session,
    pub args: &'a CheckArgs,
    /// Folders that a repair may read, as they are on this computer.
    pub seeds: Vec<PathBuf>,
    pub repository: &'a Repository,
    /// Packs that are read back, or will be; `None` if that is not asked for.
    pub selected: Option<usize>,
    /// Packs that were to be read and cannot be read yet.
    pub waiting: usize,
    /// Those of them that are being thawed.
    pub thawing: u64,
    /// The price of reading was not agreed to.
    pub refused: bool,
    /// The latest time at which the packs are thawed that this run or an earlier one has requested.
    pub ready_by: Option<Time>,
}
