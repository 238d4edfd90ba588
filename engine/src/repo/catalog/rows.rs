//! Rows of the catalog, and how the log's entries stand to it.

use rusqlite::{Connection, params};

use crate::format::{Digest, Frame, WriterId};

/// The row of a pack in this catalog; another catalog of the same repository has other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRowId(pub i64);

/// How far the log has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the last entry read; 0 for none.
    pub number: u64,
    /// Digest of that entry, or of `config`.
    pub head: Digest,
    /// What has been seen of the log up to there (spec section 6.1).
    pub seen: Digest,
}

/// A slot of the log that is taken in.
#[derive(Debug, Clone, Copy)]
pub struct TakenSlot<'a> {
    pub number: u64,
    pub digest: Digest,
    /// What has been seen of the log with it.
    pub seen: Digest,
    /// Bytes that it takes in the first part of a checkpoint.
    pub bytes: u64,
    /// The object, where it is to be kept.
    pub object: Option<&'a [u8]>,
}

/// Who has said an entry, and whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub author: WriterId,
    /// The author is revoked: what it added is kept apart, and nothing else counts.
    pub revoked: bool,
    /// The author is neither this host nor the owner.
    pub is_other: bool,
    /// Why the entry is doubtful, although it counts.
    pub doubt: Option<&'static str>,
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLocation {
    pub pack: PackRowId,
    /// Position in the table of the pack.
    pub slot: u32,
    /// Byte offset of the frame in the pack.
    pub offset: u64,
    pub frame: Frame,
}

impl ChunkLocation {
    /// Returns the bytes of the pack that hold it.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset + u64::from(self.frame.stored_bytes)
    }
}

/// Sorts chunks in the order of the table; the first of several rows with one key is the one that stays.
pub(super) fn sort(chunks: &mut [ChunkLocation]) {
    chunks.sort_unstable_by_key(|chunk| (chunk.frame.id, chunk.pack, chunk.slot));
}

/// Puts chunks into one of the two tables, and returns how many were not in it. They are brought into the
/// order of the key: so they are written several times faster.
pub(super) fn insert(
    connection: &Connection,
    table: ChunkTable,
    chunks: &mut [ChunkLocation],
) -> rusqlite::Result<u64> {
    sort(chunks);
    let mut statement = connection.prepare_cached(match table {
        ChunkTable::Recent => "INSERT OR IGNORE INTO recent VALUES(?, ?, ?, ?, ?, ?, ?)",
        ChunkTable::Settled => "INSERT OR IGNORE INTO settled VALUES(?, ?, ?, ?, ?, ?, ?)",
    })?;
    let mut inserted = 0;
    for ChunkLocation { pack, slot, offset, frame } in &*chunks {
        inserted += statement.execute(params![
            &frame.id.0[..],
            pack.0,
            slot,
            *offset as i64,
            frame.raw_bytes,
            frame.stored_bytes,
            frame.codec as u8
        ])?;
    }
    Ok(inserted as u64)
}

/// Where chunks are put.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChunkTable {
    Recent,
    Settled,
}
