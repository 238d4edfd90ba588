//! Room that a folder keeps for the next prune: on a disk without a free block the entry that gives up
//! packs would not fit, and nothing could ever be deleted.

use std::path::PathBuf;

use super::{Location, Store, StoreError, folder, layout};
use crate::codec::random;

/// Bytes of the reserve: more than an entry of the log and the local catalog take, as a rule.
const RESERVE_BYTES: usize = 1 << 20;

impl Store {
    /// Makes the reserve of a folder if it is missing. Without room for it there is none, which is no
    /// error: the next run tries again.
    pub fn keep_reserve(&self) {
        let Some(path) = self.reserve() else { return };
        if path.exists() {
            return;
        }
        // Bytes that no file system stores as nothing.
        let mut content = Vec::with_capacity(RESERVE_BYTES);
        while content.len() < RESERVE_BYTES {
            content.extend_from_slice(&random::<4096>());
        }
        if folder::create(&path, &content).is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Gives the room of the reserve to whatever is written next. Returns false if there was none.
    pub fn release_reserve(&self) -> bool {
        self.reserve().is_some_and(|path| std::fs::remove_file(path).is_ok())
    }

    pub fn has_reserve(&self) -> bool {
        self.reserve().is_some_and(|path| path.exists())
    }

    fn reserve(&self) -> Option<PathBuf> {
        match self.location() {
            Location::Folder(folder) => Some(folder.join(layout::RESERVE)),
            Location::Bucket { .. } => None,
        }
    }

    /// Returns whether nothing keeps writers of different hosts apart: a folder on a file system that
    /// has neither hard links nor a rename that replaces nothing.
    pub fn is_for_one_host(&self, prefix: &str) -> Result<bool, StoreError> {
        let Location::Folder(folder) = self.location() else { return Ok(false) };
        folder::takes_turns(&folder.join(prefix))
            .map_err(|error| StoreError::of_file(prefix, &error))
    }
}
