//! The options of a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use crate::files::{ExcludeOptions, Ignore};
use crate::format::{HistoryKey, Time};
use crate::repo::Repository;

/// What to archive, and how.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    /// The files and folders to archive: real, absolute paths.
    pub paths: Vec<PathBuf>,
    /// If all `paths` were given as relative paths, the real, absolute path of the folder that they are relative to
    /// (spec section 4.7, key 10).
    pub base: Option<PathBuf>,
    /// The name of this computer.
    pub host: String,
    /// Tags of the snapshot.
    pub tags: Vec<String>,
    /// The name of the history that the snapshot belongs to; without one, the host and the set of sources identify the
    /// history.
    pub history: Option<String>,
    /// The time of the snapshot, for its record.
    pub time: Time,
    /// What is left out.
    pub exclude: ExcludeOptions,
    /// Read every file, even if it is unchanged.
    pub force: bool,
    /// How many of the unmodified files are read nevertheless, in millionths, beginning with those that have not been
    /// read for the longest time. If the content of such a file has changed, the disk has changed it (spec section 4.3,
    /// key 10).
    pub reread: u32,
    /// Fields of `stat` to ignore when deciding whether a file has changed.
    pub ignore: Ignore,
    /// Read and count, but store nothing.
    pub dry_run: bool,
    /// Name and version of the program.
    pub program: String,
    /// Folders that are never archived, such as the cache of this program.
    pub skip: Vec<PathBuf>,
    /// How often a run that uploads checks whether the owner has revoked this host; every five minutes if `None`.
    pub look_again: Option<Duration>,
}

impl SnapshotOptions {
    /// Returns the options for a snapshot of everything in some files and folders, in a history of this host.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>, host: &str, time: Time) -> Self {
        let (paths, host) = (paths.into_iter().collect(), host.to_owned());
        SnapshotOptions { paths, host, time, ..SnapshotOptions::default() }
    }

    /// Returns what identifies the history of the snapshot in addition to the host.
    pub(super) fn history_key(&self, repository: &Repository, paths: &[Vec<u8>]) -> HistoryKey {
        match &self.history {
            Some(name) => HistoryKey::Named(name.clone()),
            None => HistoryKey::Paths(repository.secrets.paths_key(paths)),
        }
    }
}
