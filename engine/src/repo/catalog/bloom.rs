//! A Bloom filter for the table of settled chunks. It answers most lookups of new chunks without reading the table. The
//! filter is small: its pages stay in memory when those of the table do not, and a snapshot keeps the parts that it has
//! read.
//!
//! It is a blocked filter that sets eight bits in one block of 64 bytes (Putze, Sanders, Singler: Cache-, Hash- and
//! Space-Efficient Bloom Filters, 2007). Chunk ids are as good as random, so they serve as their own hash. Bits are
//! never cleared. At worst, a missing bit makes a snapshot store a chunk twice.

use rusqlite::{Connection, OptionalExtension, params};

use super::schema;
use crate::format::ChunkId;

/// Number of words in a block. A chunk sets one bit in each.
pub(super) const BLOCK_WORDS: usize = 8;
/// Number of blocks in a row of the table: as many as fit into a page of SQLite.
pub(super) const ROW_BLOCKS: u64 = 63;
const ROW_WORDS: usize = ROW_BLOCKS as usize * BLOCK_WORDS;
/// Maximum number of chunks per block. At this load, one new chunk in thirty is looked up in vain.
pub(super) const BLOCK_CHUNKS: u64 = 64;
/// Number of rows of the smallest filter.
pub(super) const ROWS_MIN: u64 = 16;
/// Number of rows of the largest filter, enough for eight billion chunks.
const ROWS_MAX: u64 = 1 << 22;
/// Number of chunks that are added at once when the filter grows.
const GROWN_AT_ONCE: usize = 1 << 16;

/// The size of a filter, and the number of chunks that were added to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub rows: u64,
    pub chunks: u64,
}

impl Size {
    /// Returns the smallest size with room for this many chunks.
    pub fn of(chunks: u64) -> Size {
        let rows = chunks.div_ceil(ROW_BLOCKS * BLOCK_CHUNKS);
        Size { rows: rows.clamp(ROWS_MIN, ROWS_MAX), chunks: 0 }
    }

    fn has_room(self, chunks: u64) -> bool {
        self.rows == ROWS_MAX
            || self.chunks.saturating_add(chunks) <= self.rows * ROW_BLOCKS * BLOCK_CHUNKS
    }

    /// Returns the block of a chunk. Ascending ids have ascending blocks.
    pub fn block(self, id: &ChunkId) -> u64 {
        let blocks = u128::from(self.rows * ROW_BLOCKS);
        let front = u64::from_be_bytes(id.0[..8].try_into().expect("eight bytes"));
        ((u128::from(front) * blocks) >> 64) as u64
    }

    pub fn read(connection: &Connection) -> rusqlite::Result<Option<Size>> {
        let Some(bytes) = schema::get_meta(connection, "filter")? else { return Ok(None) };
        let size = match bytes.as_chunks() {
            ([rows, chunks], []) => {
                Size { rows: u64::from_le_bytes(*rows), chunks: u64::from_le_bytes(*chunks) }
            }
            _ => return Err(schema::bad("the size of the filter")),
        };
        // A damaged catalog must not make the program allocate more memory than the host has.
        if (ROWS_MIN..=ROWS_MAX).contains(&size.rows) && size.has_room(0) {
            return Ok(Some(size));
        }
        Err(schema::bad("the size of the filter"))
    }

    fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        let bytes = [self.rows.to_le_bytes(), self.chunks.to_le_bytes()].concat();
        schema::set_meta(connection, "filter", &bytes)
    }
}

/// Returns the bits of a chunk in its block.
pub(super) fn bits(id: &ChunkId) -> [u64; BLOCK_WORDS] {
    let hash = u64::from_be_bytes(id.0[8..16].try_into().expect("eight bytes"));
    std::array::from_fn(|word| 1 << (hash >> (6 * word) & 63))
}

/// Returns the number of chunks that were added.
pub(super) fn chunks(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(Size::read(connection)?.map_or(0, |size| size.chunks))
}

/// Adds chunks that the table has just received, in the same transaction. `ids` must ascend.
pub(super) fn add(connection: &Connection, ids: &[ChunkId]) -> rusqlite::Result<()> {
    let count = ids.len() as u64;
    match Size::read(connection)? {
        Some(size) if size.has_room(count) => set(connection, size, ids),
        size => grow(connection, size.map_or(0, |size| size.chunks).saturating_add(count)),
    }
}

/// Creates an empty filter with room for this many chunks and a quarter more before it must grow.
pub(super) fn make(connection: &Connection, chunks: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM filter", [])?;
    Size::of(chunks.saturating_add(chunks / 4)).write(connection)
}

/// Rebuilds the filter at twice the size from all chunks in the table.
fn grow(connection: &Connection, chunks: u64) -> rusqlite::Result<()> {
    make(connection, chunks.saturating_mul(2))?;
    let mut statement = connection.prepare("SELECT DISTINCT id FROM settled ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut ids = Vec::new();
    loop {
        let row = rows.next()?;
        if row.is_none() || ids.len() == GROWN_AT_ONCE {
            let size = Size::read(connection)?.ok_or_else(|| schema::bad("filter"))?;
            set(connection, size, &ids)?;
            ids.clear();
        }
        let Some(row) = row else { return Ok(()) };
        let id = row.get_ref(0)?.as_blob().map_err(|error| schema::bad(&error))?;
        ids.push(ChunkId(id.try_into().map_err(|error| schema::bad(&error))?));
    }
}

fn set(connection: &Connection, size: Size, ids: &[ChunkId]) -> rusqlite::Result<()> {
    let row_of = |id: &ChunkId| size.block(id) / ROW_BLOCKS;
    for ids in ids.chunk_by(|a, b| row_of(a) == row_of(b)) {
        let row = row_of(&ids[0]);
        let mut words = read_row(connection, row)?;
        for id in ids {
            let at = (size.block(id) % ROW_BLOCKS) as usize * BLOCK_WORDS;
            words[at..at + BLOCK_WORDS]
                .iter_mut()
                .zip(bits(id))
                .for_each(|(word, bit)| *word |= bit);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        connection
            .prepare_cached("INSERT OR REPLACE INTO filter(row, bits) VALUES(?, ?)")?
            .execute(params![row as i64, bytes])?;
    }
    Size { chunks: size.chunks.saturating_add(ids.len() as u64), ..size }.write(connection)
}

/// Reads a row of the filter. Empty rows are not stored.
pub(super) fn read_row(connection: &Connection, row: u64) -> rusqlite::Result<Vec<u64>> {
    let found: Option<Vec<u8>> = connection
        .prepare_cached("SELECT bits FROM filter WHERE row = ?")?
        .query_row([row as i64], |row| row.get(0))
        .optional()?;
    let Some(found) = found else { return Ok(vec![0; ROW_WORDS]) };
    match found.as_chunks::<8>() {
        (words, []) if words.len() == ROW_WORDS => {
            Ok(words.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
        }
        _ => Err(schema::bad("a row of the filter has another length")),
    }
}
