//! Types of rows in the catalog, and of entries of the log that are applied to it.

use rusqlite::{Connection, params};

use crate::format::{Digest, Frame, WriterId};

/// Id of a pack's row in this catalog. Another catalog of the same repository has other row ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackRowId(pub i64);

/// How far the log has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the last entry read; 0 for none.
    pub number: u64,
    /// Digest of that entry, or of `config`.
    pub head: Digest,
    /// Running hash of the log up to that entry (spec section 6.1).
    pub seen: Digest,
}

/// A slot of the log that is being applied.
#[derive(Debug, Clone, Copy)]
pub struct TakenSlot<'a> {
    /// Its number.
    pub number: u64,
    /// BLAKE3 of the object in it.
    pub digest: Digest,
    /// Running hash of the log, including this slot.
    pub seen: Digest,
    /// Its size in the first part of a checkpoint.
    pub bytes: u64,
    /// The object, if the catalog is to keep it.
    pub object: Option<&'a [u8]>,
}

/// The author of an entry, and whether the entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The author.
    pub author: WriterId,
    /// Whether the author is revoked, or the owner has declared the entry void. Then the additions of the entry are kept apart, and nothing else in it counts.
    pub revoked: bool,
    /// Whether the author is neither this host nor the owner.
    pub is_other: bool,
    /// Why the entry is doubtful, although it counts.
    pub doubt: Option<&'static str>,
}

/// The location of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLocation {
    /// The pack.
    pub pack: PackRowId,
    /// Position in the table of the pack.
    pub slot: u32,
    /// Byte offset of the frame in the pack.
    pub offset: u64,
    /// Its row in the table of the pack.
    pub frame: Frame,
}

impl ChunkLocation {
    /// Returns the byte range of the chunk in the pack.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset + u64::from(self.frame.stored_bytes)
    }
}

/// Sorts chunks in the order of the table. Of several rows with the same key, the table keeps the first.
pub(super) fn sort(chunks: &mut [ChunkLocation]) {
    chunks.sort_unstable_by_key(|chunk| (chunk.frame.id, chunk.pack, chunk.slot));
}

/// Inserts chunks into one of the two tables, and returns how many were new. Sorts them by key first, which makes the
/// insertion several times faster.
pub(super) fn insert(
    connection: &Connection,
    table: ChunkTable,
    chunks: &mut [ChunkLocation],
) -> rusqlite::Result<u64> {
    sort(chunks);
    let mut statement = connection.prepare_cached(match table {
        ChunkTable::WriteBuffer => "INSERT OR IGNORE INTO write_buffer VALUES(?, ?, ?, ?, ?, ?, ?)",
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

/// The table into which chunks are inserted.
#[derive(Debug, Clone, Copy)]
pub(super) enum ChunkTable {
    WriteBuffer,
    Settled,
}
