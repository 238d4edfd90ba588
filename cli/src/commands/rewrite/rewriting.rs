//! The state of a running rewrite: its options, and what it has done.

use std::path::PathBuf;

use icecore_engine::files::on_disk;
use icecore_engine::format::Time;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::rewrite::RewriteSummary;
use icecore_engine::repo::Repository;

use crate::args::RewriteArgs;
use crate::session::Session;

/// The results of a rewrite.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub rewritten: RewriteSummary,
    pub objects_deleted: u64,
    pub bytes_freed: u64,
    pub bytes_written: u64,
    /// Number of packs that are being thawed, to be copied without the erased data, …
    pub thawing: u64,
    /// … and of those whose thaws this run has requested.
    pub requested: u64,
    /// The latest time at which they are thawed.
    pub ready_by: Option<Time>,
    /// Names of the packs that could not be erased.
    pub left: Vec<String>,
    /// Names of the packs that stay because snapshots that are set apart name them.
    pub held: Vec<String>,
    /// Whether the archive has nothing of the files any more: no snapshot has them, no dropped one either, and no object.
    pub nothing_left: bool,
    /// Number of unreadable chunks in the remaining packs that other files need.
    pub damaged: u64,
}

/// A running rewrite.
pub(super) struct Rewriting<'a> {
    pub session: &'a Session,
    pub args: &'a RewriteArgs,
    pub repository: &'a Repository,
    /// The paths in every spelling that a snapshot may contain.
    pub paths: Vec<Vec<u8>>,
    pub terms: Terms,
    /// The prices for calculations.
    pub priced: Prices,
    /// The prices that are shown; `None` if nothing is billed or the prices are not known.
    pub prices: Option<Prices>,
}

/// Returns the paths on this computer that the next snapshot would include again.
pub(super) fn still_there(paths: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    paths.iter().filter_map(|path| on_disk(path))
}
