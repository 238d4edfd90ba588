//! A rewrite on its way: what it was asked for, and what it has done.

use std::path::PathBuf;

use icecore_engine::files::on_disk;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::rewrite::RewriteSummary;
use icecore_engine::repo::Repository;

use crate::args::RewriteArgs;
use crate::session::Session;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub rewritten: RewriteSummary,
    pub objects_deleted: u64,
    pub bytes_freed: u64,
    pub bytes_written: u64,
    /// Packs that are being thawed, to be copied without what goes.
    pub thawing: u64,
    /// Packs that could not be erased, by their names in the store.
    pub left: Vec<String>,
    /// Packs that snapshots name which are set apart.
    pub held: Vec<String>,
    /// Chunks in those that are left which other files need and that cannot be read.
    pub damaged: u64,
}

/// A rewrite on its way.
pub(super) struct Rewriting<'a> {
    pub session: &'a Session,
    pub args: &'a RewriteArgs,
    pub repository: &'a Repository,
    /// The paths in every spelling that a snapshot may have.
    pub paths: Vec<Vec<u8>>,
    pub terms: Terms,
    /// What is counted by.
    pub priced: Prices,
    /// What is shown; `None` if nothing costs anything, or the prices are not known.
    pub prices: Option<Prices>,
}

/// Returns the paths that the next snapshot would take again, as they are on this computer.
pub(super) fn still_there(paths: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    paths.iter().filter_map(|path| on_disk(path))
}
