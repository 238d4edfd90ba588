//! A Bloom filter before the table of settled chunks: of a new chunk it says mostly that it is not there, so
//! that nothing of the table is read for it. It is small beside the table: its pages stay in memory where those of the
//! table do not, and a snapshot keeps what it has read.
//!
//! It is of the kind that sets eight bits in one block of 64 bytes (Putze, Sanders, Singler: Cache-,
//! Hash- and Space-Efficient Bloom Filters, 2007). Ids of chunks are as good as random: they are their own hash.
//! Bits are only ever set. Where one is missing, a chunk is stored twice, and nothing worse.

use std::sync::OnceLock;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, recent, schema};
use crate::error::Error;
use crate::format::ChunkId;

/// Words of a block; a chunk has one bit in each.
const BLOCK_WORDS: usize = 8;
/// Blocks of a row of the table, as many as a page of SQLite holds beside its own bytes.
const ROW_BLOCKS: u64 = 63;
const ROW_WORDS: usize = ROW_BLOCKS as usize * BLOCK_WORDS;
/// Chunks for each block at most: with so many, one new chunk in thirty is looked up in vain.
const BLOCK_CHUNKS: u64 = 64;
/// Rows of the smallest filter.
const ROWS_MIN: u64 = 16;
/// Rows of the largest: eight billion chunks.
const ROWS_MAX: u64 = 1 << 22;
/// Chunks that are put in at once when it grows.
const GROWN_AT_ONCE: usize = 1 << 16;

/// What a filter is large enough for, and what was put into it.
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: u64,
    chunks: u64,
}

impl Size {
    /// Returns the smallest that has room for so many chunks.
    fn of(chunks: u64) -> Size {
        let rows = chunks.div_ceil(ROW_BLOCKS * BLOCK_CHUNKS);
        Size { rows: rows.clamp(ROWS_MIN, ROWS_MAX), chunks: 0 }
    }

    fn has_room(self, chunks: u64) -> bool {
        self.rows == ROWS_MAX
            || self.chunks.saturating_add(chunks) <= self.rows * ROW_BLOCKS * BLOCK_CHUNKS
    }

    /// Returns the block of a chunk: ids in order have blocks in order.
    fn block(self, id: &ChunkId) -> u64 {
        let blocks = u128::from(self.rows * ROW_BLOCKS);
        let front = u64::from_be_bytes(id.0[..8].try_into().expect("eight bytes"));
        ((u128::from(front) * blocks) >> 64) as u64
    }

    fn read(connection: &Connection) -> rusqlite::Result<Option<Size>> {
        let Some(bytes) = schema::get_meta(connection, "filter")? else { return Ok(None) };
        let size = match bytes.as_chunks() {
            ([rows, chunks], []) => {
                Size { rows: u64::from_le_bytes(*rows), chunks: u64::from_le_bytes(*chunks) }
            }
            _ => return Err(schema::bad("the size of the filter")),
        };
        // A damaged catalog must not ask for more memory than there is.
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
fn bits(id: &ChunkId) -> [u64; BLOCK_WORDS] {
    let hash = u64::from_be_bytes(id.0[8..16].try_into().expect("eight bytes"));
    std::array::from_fn(|word| 1 << (hash >> (6 * word) & 63))
}

/// Counts the chunks that were put in.
pub(super) fn chunks(connection: &Connection) -> rusqlite::Result<u64> {
    Ok(Size::read(connection)?.map_or(0, |size| size.chunks))
}

/// Puts chunks in that the table has just got, in the same transaction. `ids` ascend.
pub(super) fn add(connection: &Connection, ids: &[ChunkId]) -> rusqlite::Result<()> {
    let count = ids.len() as u64;
    match Size::read(connection)? {
        Some(size) if size.has_room(count) => set(connection, size, ids),
        size => grow(connection, size.map_or(0, |size| size.chunks).saturating_add(count)),
    }
}

/// Makes an empty filter for a catalog that will have so many chunks, and a quarter more before it must
/// grow.
pub(super) fn make(connection: &Connection, chunks: u64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM filter", [])?;
    Size::of(chunks.saturating_add(chunks / 4)).write(connection)
}

/// Rebuilds the filter, twice as large, of all chunks that the table has.
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

/// Reads a row; one that nothing was put into is not there.
fn read_row(connection: &Connection, row: u64) -> rusqlite::Result<Vec<u64>> {
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

/// The filter in memory, as far as somebody has asked for it. It must be opened again when chunks have been
/// settled.
#[derive(Debug)]
pub struct Filter {
    size: Size,
    rows: Vec<OnceLock<Vec<u64>>>,
}

impl Filter {
    /// Returns whether a chunk may be in the table. If false, it certainly is not.
    pub fn may_have(&self, catalog: &Catalog, id: &ChunkId) -> Result<bool, Error> {
        let block = self.size.block(id);
        let number = block / ROW_BLOCKS;
        let at = (block % ROW_BLOCKS) as usize * BLOCK_WORDS;
        let row = &self.rows[number as usize];
        let words = match row.get() {
            Some(words) => words,
            None => {
                let read = catalog.wrap(read_row(&catalog.lock(), number))?;
                row.get_or_init(|| read)
            }
        };
        let mut bits = words[at..at + BLOCK_WORDS].iter().zip(bits(id));
        if bits.all(|(word, bit)| word & bit != 0) {
            return Ok(true);
        }
        catalog.wrap(recent::has(&catalog.lock(), id))
    }
}

impl Catalog {
    /// Opens the filter without reading any of it.
    pub fn filter(&self) -> Result<Filter, Error> {
        let size = self.wrap(Size::read(&self.lock()))?.unwrap_or(Size::of(0));
        let mut rows = Vec::new();
        rows.resize_with(size.rows as usize, OnceLock::new);
        Ok(Filter { size, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::random;
    use crate::format::{Digest, RepositoryId};

    fn ids(count: usize) -> Vec<ChunkId> {
        let mut ids: Vec<ChunkId> = (0..count).map(|_| ChunkId(random())).collect();
        ids.sort_unstable();
        ids
    }

    fn insert(connection: &Connection, ids: &[ChunkId]) {
        for id in ids {
            let sql = "INSERT INTO settled VALUES(?, 1, 0, 0, 0, 0, 0)";
            connection.prepare_cached(sql).unwrap().execute([&id.0[..]]).unwrap();
        }
        add(connection, ids).unwrap();
    }

    #[test]
    fn it_has_all_that_was_put_in_and_little_else_however_it_grew() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
        let has = |filter: &Filter, id: &ChunkId| filter.may_have(&catalog, id).unwrap();
        let empty = catalog.filter().unwrap();
        assert!(!ids(1000).iter().any(|id| has(&empty, id)));
        let mut all: Vec<ChunkId> = Vec::new();
        let capacity = (ROWS_MIN * ROW_BLOCKS * BLOCK_CHUNKS) as usize;
        for count in [1, 999, capacity - 1000, 1, 50_000] {
            let new = ids(count);
            insert(&catalog.lock(), &new);
            all.extend(new);
            let filter = catalog.filter().unwrap();
            assert!(all.iter().all(|id| has(&filter, id)), "{} chunks", all.len());
            assert_eq!(filter.size.chunks, all.len() as u64);
            let others = ids(20_000);
            let wrong = others.iter().filter(|id| has(&filter, id)).count();
            assert!(wrong < 1000, "{wrong} of 20,000, with {} chunks", all.len());
        }
        assert!(catalog.filter().unwrap().size.rows > 2 * ROWS_MIN);
    }

    #[test]
    fn a_damaged_one_is_an_error() {
        let damage = [
            "UPDATE filter SET bits = x'00'",
            "UPDATE meta SET value = x'0000' WHERE key = 'filter'",
            "UPDATE meta SET value = zeroblob(24) WHERE key = 'filter'",
            "UPDATE meta SET value = x'ffffffffffffffff0000000000000000' WHERE key = 'filter'",
        ];
        for damage in damage {
            let folder = tempfile::tempdir().unwrap();
            let catalog =
                Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
            let ids = ids(100);
            insert(&catalog.lock(), &ids);
            assert!(catalog.lock().execute(damage, []).unwrap() > 0);
            let filter = catalog.filter();
            let asked = filter.and_then(|filter| filter.may_have(&catalog, &ids[0]));
            assert!(asked.is_err(), "{damage}");
        }
    }
}
