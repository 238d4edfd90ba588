//! Which ranges of which packs are read together. Plan and execution share this, so that what was
//! priced is what is requested.

use std::collections::HashMap;
use std::ops::Range;

use crate::repo::PackKey;
use crate::repo::catalog::ChunkPlace;
use crate::repo::reader::{GAP_BYTES, coalesce};

/// Bytes of data in one batch, beyond which it is worked off.
const BATCH_BYTES: u64 = 128 << 20;
/// Files in one batch; each is open until the batch is written.
const BATCH_FILES: usize = 512;
/// Chunks that are planned at once.
pub(super) const CHUNKS_AT_ONCE: usize = 4096;

/// A chunk on its way to a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub place: ChunkPlace,
    /// The file, by its number in the batch.
    pub file: usize,
    /// Position in the data of the file.
    pub at: u64,
}

/// How full a batch of files is.
#[derive(Debug, Default)]
pub(super) struct Fill {
    bytes: u64,
    files: usize,
}

impl Fill {
    /// Adds a file; returns true if the batch is full with it.
    pub fn add(&mut self, data_bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(data_bytes);
        self.files += 1;
        self.bytes >= BATCH_BYTES || self.files >= BATCH_FILES
    }
}

/// Groups pieces into ranges that are read at once, pack by pack.
pub(super) fn groups(pieces: Vec<Piece>) -> Vec<(PackKey, Range<u64>, Vec<Piece>)> {
    let mut by_pack: HashMap<PackKey, Vec<Piece>> = HashMap::new();
    for piece in pieces {
        by_pack.entry(piece.place.pack).or_default().push(piece);
    }
    let mut groups = Vec::new();
    for (pack, mut pieces) in by_pack {
        pieces.sort_by_key(|piece| piece.place.offset);
        let coalesced = coalesce(pieces, GAP_BYTES, |piece| piece.place.range());
        groups.extend(coalesced.into_iter().map(|(range, inside)| (pack, range, inside)));
    }
    groups.sort_by_key(|(pack, range, _)| (*pack, range.start));
    groups
}
