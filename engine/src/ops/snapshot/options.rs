//! What a snapshot is to contain.

use std::path::PathBuf;
use std::time::Duration;

use crate::files::{ExcludeOptions, Ignore};
use crate::format::{HistoryKey, Time};
use crate::repo::Repository;

/// What to take.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    pub paths: Vec<PathBuf>,
    /// The real, absolute path of the folder in which all `paths` were named by relative ones, if they were (spec
    /// section 4.7, key 10).
    pub base: Option<PathBuf>,
    pub host: String,
    pub tags: Vec<String>,
    /// The name of the history that it adds to; without one, the host and the set of sources are it.
    pub history: Option<String>,
    /// When the snapshot is taken, for its record.
    pub time: Time,
    pub exclude: ExcludeOptions,
    /// Read every file, changed or not.
    pub force: bool,
    /// How many of the unmodified files are read all the same, in millionths, those first that have not been read for
    /// the longest time. One with another content than before has changed by itself (spec section 4.3, key 10).
    pub reread: u32,
    /// What is not asked to tell whether a file has changed.
    pub ignore: Ignore,
    /// Read and count, store nothing.
    pub dry_run: bool,
    /// Name and version of the program.
    pub program: String,
    /// Folders that are never taken: the cache of this program, for one.
    pub skip: Vec<PathBuf>,
    /// How long it uploads before it looks again whether the owner has revoked this host; `None`: five minutes.
    pub look_again: Option<Duration>,
}

impl SnapshotOptions {
    /// Returns the options of a snapshot of some files and folders: everything in them, as a history of this host.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>, host: &str, time: Time) -> Self {
        let (paths, host) = (paths.into_iter().collect(), host.to_owned());
        SnapshotOptions { paths, host, time, ..SnapshotOptions::default() }
    }

    /// Returns what the history is known by that it adds to, beside the host.
    pub(super) fn history_key(&self, repository: &Repository, paths: &[Vec<u8>]) -> HistoryKey {
        match &self.history {
            Some(name) => HistoryKey::Named(name.clone()),
            None => HistoryKey::Paths(repository.secrets.paths_key(paths)),
        }
    }
}
