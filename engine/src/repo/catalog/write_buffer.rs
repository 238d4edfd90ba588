//! The write buffer: contains new chunks until compaction moves them to the table of settled
//! chunks.

use rusqlite::Connection;

use super::rows::{self, ChunkLocation, ChunkTable};
use super::schema;
use crate::format::ChunkId;

/// Inserts new chunks.
pub(super) fn insert(
    connection: &Connection,
    chunks: &mut [ChunkLocation],
) -> rusqlite::Result<()> {
    let new = rows::insert(connection, ChunkTable::WriteBuffer, chunks)?;
    set_count(connection, count(connection)?.saturating_add(new))
}

pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    schema::get_count(connection, "write_buffer")
}

pub(super) fn set_count(connection: &Connection, count: u64) -> rusqlite::Result<()> {
    schema::set_meta(connection, "write_buffer", &count.to_le_bytes())
}

/// Returns whether a chunk is in the write buffer.
pub(super) fn has(connection: &Connection, id: &ChunkId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM write_buffer WHERE id = ?")?.exists([&id.0[..]])
}
