//! Snapshots that list the same folders over and over.
//!
//! Folders that are equal share their tree, so a few kilobytes can list more entries than anybody
//! could ever restore: sixty folders, each of which has the next one twice. Copies of folders are
//! none of that: they list again only as much as there are of them.

use std::collections::HashSet;

use crate::error::Error;
use crate::format::ChunkId;
use crate::format::tree::AGAIN_FACTOR;

/// What a walk has listed so far.
#[derive(Debug, Default)]
pub struct Sharing {
    seen: HashSet<[u8; 32]>,
    /// Entries of folders that were listed for the first time, …
    first: u64,
    /// … and again.
    again: u64,
}

impl Sharing {
    /// Counts a folder that was listed. Fails if it was once too often.
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

/// Returns whether entries are listed too often, of which `first` are different.
pub fn is_too_much(again: u64, first: u64) -> bool {
    again > first.saturating_mul(AGAIN_FACTOR)
}

/// The error of a walk that ends here.
pub fn too_much() -> Error {
    let reason = format!(
        "its folders list the same entries more than {AGAIN_FACTOR} times; list and restore its parts one by one"
    );
    Error::Damaged { object: "a tree".to_owned(), reason }
}
