//! Limits trees that list the same folders over and over.
//!
//! Equal folders share their tree, so a few kilobytes can list more entries than could ever be
//! restored: for example, sixty folders, each of which contains the next one twice. Ordinary copies
//! of folders are harmless, because a folder is listed only as often as it exists.

use std::collections::HashSet;

use crate::error::Error;
use crate::format::ChunkId;
use crate::format::tree::AGAIN_FACTOR;

/// The number of entries that a walk has listed so far.
#[derive(Debug, Default)]
pub struct Sharing {
    seen: HashSet<[u8; 32]>,
    /// Number of entries in folders that were listed for the first time, …
    first: u64,
    /// … and in folders that were listed again.
    again: u64,
}

impl Sharing {
    /// Counts a listed folder. Fails if entries were repeated too often.
    pub fn count(&mut self, chunks: &[ChunkId], entries: usize) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        chunks.iter().for_each(|id| _ = hasher.update(&id.0));
        let count = match self.seen.insert(*hasher.finalize().as_bytes()) {
            true => &mut self.first,
            false => &mut self.again,
        };
        *count += entries as u64;
        if is_too_much(self.again, self.first) { Err(too_much()) } else { Ok(()) }
    }
}

/// Returns whether `again` repeated entries are too many for `first` different ones.
pub fn is_too_much(again: u64, first: u64) -> bool {
    again > first.saturating_mul(AGAIN_FACTOR)
}

/// Returns the error that ends such a walk.
pub fn too_much() -> Error {
    let reason = format!(
        "its folders list the same entries more than {AGAIN_FACTOR} times; list and restore its parts one by one"
    );
    Error::damaged("a tree", reason)
}
