//! Disks that are mounted below the sources. A mount point without its disk looks like a folder that its owner emptied.
//! The difference is that its files used to be on a different device from the parent folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::handover::lock;
use super::last::is_less_than_half;
use super::options::SnapshotOptions;
use crate::error::Error;
use crate::format::{SnapshotEntry, SnapshotId};
use crate::repo::catalog::{Catalog, MountRow};
use crate::repo::{Repository, SnapshotRow};

/// The mounts that this host knows, and those that a run finds.
pub(super) struct Mounts {
    known: HashMap<i64, (u64, SnapshotEntry)>,
    seen: Mutex<Vec<(i64, u64)>>,
    away: Mutex<Vec<MissingMount>>,
}

/// A mount point whose disk is not mounted.
#[derive(Debug, Clone)]
pub(super) struct MissingMount {
    pub path: PathBuf,
    /// Number of files that were below it in the newest snapshot, …
    pub before: u64,
    /// … and number of files below it now.
    pub now: u64,
    /// The newest snapshot with these files.
    pub holder: SnapshotEntry,
}

/// A folder after everything below it was walked.
pub(super) struct Walked {
    /// Its row in the stat cache.
    pub key: i64,
    /// Whether it is on a different device from its parent folder.
    pub is_mount: bool,
    /// False if it could not be listed, or if a disk mounted on it would be left out.
    pub counts: bool,
    /// Number of files at any depth below it.
    pub files: u64,
}

impl Mounts {
    /// Loads the known mounts. If the owner has accepted the loss of one in this history, it no longer counts as
    /// missing.
    pub fn load(
        repository: &Repository,
        options: &SnapshotOptions,
        paths: &[Vec<u8>],
    ) -> Result<Mounts, Error> {
        let rows = repository.catalog.snapshots()?;
        let key = options.history_key(repository, paths);
        let is_accepted = |row: &SnapshotRow| {
            row.accepted && row.entry.host == options.host && row.entry.history_key() == key
        };
        let accepted = rows.iter().rposition(is_accepted);
        let mut known = HashMap::new();
        for MountRow { key, files, snapshot } in repository.catalog.mounts()? {
            let at = rows.iter().position(|row| row.entry.id == snapshot);
            let is_missed = |at: &usize| {
                rows[*at].entry.host == options.host && accepted.is_none_or(|other| other <= *at)
            };
            if let Some(at) = at.filter(is_missed) {
                known.insert(key, (files, rows[at].entry.clone()));
            }
        }
        Ok(Mounts { known, seen: Mutex::default(), away: Mutex::default() })
    }

    /// Records a folder. A mount point can count as missing although it has a few files, which lie below it when
    /// nothing is mounted.
    pub fn leave(&self, folder: &Walked, path: &Path) {
        let Walked { key, is_mount, counts, files } = *folder;
        if !counts {
            return;
        }
        if is_mount {
            lock(&self.seen).push((key, files));
        } else if let Some((before, holder)) = self.known.get(&key)
            && is_less_than_half(files, *before)
        {
            let (path, before, holder) = (path.to_owned(), *before, holder.clone());
            lock(&self.away).push(MissingMount { path, before, now: files, holder });
        }
    }

    pub fn away(&self) -> Vec<MissingMount> {
        lock(&self.away).clone()
    }

    /// Records the mounts that are in a new snapshot.
    pub fn remember(&self, catalog: &Catalog, id: &SnapshotId) -> Result<(), Error> {
        catalog.put_mounts(&lock(&self.seen), id)
    }
}
