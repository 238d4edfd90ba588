//! The state of a running check.

use std::path::PathBuf;

use icecore_engine::format::Time;
use icecore_engine::ops::check::{CheckReport, RepairSummary};
use icecore_engine::repo::Repository;

use crate::args::CheckArgs;
use crate::session::Session;

/// The report before a repair, and what the repair did.
pub(super) type Repaired = (CheckReport, RepairSummary);

/// A running check.
pub(super) struct Checking<'a> {
    pub session: &'a Session,
    pub args: &'a CheckArgs,
    /// Local folders from which a repair may read.
    pub seeds: Vec<PathBuf>,
    pub repository: &'a Repository,
    /// Number of packs to read back; `None` if the user did not ask for that.
    pub selected: Option<usize>,
    /// Number of packs that were stored after the check began that this run continues. They are not read.
    pub newer: usize,
    /// Number of the selected packs that cannot be read yet.
    pub waiting: usize,
    /// Number of the latter that are being thawed.
    pub thawing: u64,
    /// Whether the user did not agree to the price of reading.
    pub refused: bool,
    /// Objects of other copies that could replace damaged ones, but are frozen.
    pub frozen_in_copies: Vec<String>,
    /// Number of packs that were put back from copies and read again.
    pub put_back_read: u64,
    /// The latest time at which requested thaws are done, including those of earlier runs.
    pub ready_by: Option<Time>,
}
