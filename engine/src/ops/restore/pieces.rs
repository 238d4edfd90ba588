//! Decides which ranges of which packs are read together. Plan and execution share this module, so
//! that exactly the priced requests are made.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::tree::DEPTH_MAX;
use crate::repo::PackRowId;
use crate::repo::catalog::ChunkLocation;
use crate::repo::reader::{GAP_BYTES, coalesce};

/// A batch with this many bytes of data is full.
pub(super) const BATCH_BYTES: u64 = 128 << 20;
/// Maximum number of files in one batch, if the process may open as many.
const FILES_MAX: usize = 512;
/// Minimum number of files in one batch.
const FILES_MIN: usize = 8;
/// Descriptors that the process needs for other things: the catalog, packs, connections, the seed.
const FILES_BESIDES: u64 = 128;
/// One in this many descriptors may be used for open folders above the current one.
const LEVELS_SHARE: u64 = 8;
const LEVELS_MIN: usize = 16;
/// Descriptors that a file of a batch needs: the file, its folder, and the file opened for direct I/O while it is
/// written. In addition, one batch of files waits to be synced, and another is being synced and named.
const OPEN_FOR_A_FILE: u64 = 3 + 2 + 2;
/// Number of chunks to plan at once.
pub(super) const CHUNKS_AT_ONCE: usize = 4096;

/// A chunk to be written to a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub place: ChunkLocation,
    /// The index of the file in the batch.
    pub file: usize,
    /// Position in the data of the file.
    pub at: u64,
}

/// Tracks how full a batch of files is.
#[derive(Debug)]
pub(super) struct Fill {
    bytes: u64,
    files: usize,
    files_max: usize,
}

impl Default for Fill {
    fn default() -> Self {
        Fill { bytes: 0, files: 0, files_max: batch_files_max() }
    }
}

impl Fill {
    /// Adds a file; returns true if the batch is now full.
    pub fn add(&mut self, data_bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(data_bytes);
        self.files += 1;
        self.bytes >= BATCH_BYTES || self.files >= self.files_max
    }
}

/// Returns the maximum number of files in a batch.
pub(super) fn batch_files_max() -> usize {
    files_max(open_files())
}

/// Returns how many files this process may have open.
fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

fn files_max(open: Option<u64>) -> usize {
    let spare = open.map_or(u64::MAX, |open| {
        open.saturating_sub(FILES_BESIDES).saturating_sub(levels(Some(open)) as u64)
    });
    usize::try_from(spare / OPEN_FOR_A_FILE).unwrap_or(FILES_MAX).clamp(FILES_MIN, FILES_MAX)
}

/// Returns how many folders a restore keeps open, from the target down to the current one.
pub(super) fn levels_open() -> usize {
    levels(open_files())
}

fn levels(open: Option<u64>) -> usize {
    let spare = open.map_or(u64::MAX, |open| open.saturating_sub(FILES_BESIDES));
    usize::try_from(spare / LEVELS_SHARE).unwrap_or(DEPTH_MAX).clamp(LEVELS_MIN, DEPTH_MAX)
}

/// Pieces of one pack that one request reads.
pub(super) struct PieceGroup {
    pub pack: PackRowId,
    pub range: Range<u64>,
    pub pieces: Vec<Piece>,
}

/// Groups pieces into ranges of packs that are read at once. The groups are sorted by the first file that needs each of
/// them.
pub(super) fn groups(pieces: Vec<Piece>) -> Vec<PieceGroup> {
    let mut by_pack: HashMap<PackRowId, Vec<Piece>> = HashMap::new();
    for piece in pieces {
        by_pack.entry(piece.place.pack).or_default().push(piece);
    }
    let mut groups = Vec::new();
    for (pack, mut pieces) in by_pack {
        pieces.sort_by_key(|piece| piece.place.offset);
        let coalesced = coalesce(pieces, GAP_BYTES, |piece| piece.place.range());
        groups.extend(coalesced.into_iter().map(|(range, pieces)| PieceGroup {
            pack,
            range,
            pieces,
        }));
    }
    let first = |pieces: &[Piece]| pieces.iter().map(|piece| piece.file).min();
    groups.sort_by_key(|group| (first(&group.pieces), group.pack, group.range.start));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_within_the_open_files_of_a_process() {
        let open = |limit| {
            let batches = OPEN_FOR_A_FILE * files_max(Some(limit)) as u64;
            FILES_BESIDES + levels(Some(limit)) as u64 + batches
        };
        for limit in [256, 512, 1024, 2048, 4096, 65_536, u64::MAX] {
            assert!(open(limit) <= limit, "{limit}");
        }
        assert_eq!((files_max(Some(512)), levels(Some(512))), (48, 48));
        assert_eq!([files_max(None), files_max(Some(65_536)), files_max(Some(0))], [512, 512, 8]);
    }
}
