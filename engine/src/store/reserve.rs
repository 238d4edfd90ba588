//! Disk space that is reserved in a folder for the next prune. On a full disk, the log entry that tombstones packs
//! would not fit, so nothing could ever be deleted.

use std::path::PathBuf;

use super::{Location, Store, StoreError, folder, layout};
use crate::codec::random;

/// Size of the reserve, usually more than a log entry and the local catalog need.
const RESERVE_BYTES: usize = 1 << 20;

impl Store {
    /// Creates the reserve of a folder if it is missing. A full disk is not an error; the next run tries again.
    pub fn keep_reserve(&self) {
        let Some(path) = self.reserve() else { return };
        if path.exists() {
            return;
        }
        // Use bytes that no file system can compress.
        let mut content = Vec::with_capacity(RESERVE_BYTES);
        while content.len() < RESERVE_BYTES {
            content.extend_from_slice(&random::<4096>());
        }
        if folder::create(&path, &content).is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Deletes the reserve, so that its space is free for the next write. Returns false if there was none.
    pub fn release_reserve(&self) -> bool {
        self.reserve().is_some_and(|path| std::fs::remove_file(path).is_ok())
    }

    /// Returns whether there is a reserve.
    pub fn has_reserve(&self) -> bool {
        self.reserve().is_some_and(|path| path.exists())
    }

    fn reserve(&self) -> Option<PathBuf> {
        match self.location() {
            Location::Folder(folder) => Some(folder.join(layout::RESERVE)),
            Location::Bucket { .. } => None,
        }
    }

    /// Returns whether writers of different hosts could overwrite each other's objects: true for a folder on a file
    /// system with neither hard links nor a rename that never replaces.
    pub fn is_for_one_host(&self, prefix: &str) -> Result<bool, StoreError> {
        let Location::Folder(folder) = self.location() else { return Ok(false) };
        folder::takes_turns(&folder.join(prefix))
            .map_err(|error| StoreError::of_file(prefix, &error))
    }
}
