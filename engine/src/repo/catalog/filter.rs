//! A Bloom filter before the table of chunks: of a new chunk it says mostly that it is not there, so that
//! nothing is read for it. In the catalog it is a few blocks a page; a snapshot has all of them in memory.
//!
//! It is of the kind that sets eight bits in one block of 64 bytes (Putze, Sanders, Singler: Cache-,
//! Hash- and Space-Efficient Bloom Filters, 2007). Ids of chunks are as good as random: they are their own hash.
//! Bits are only ever set. Where one is missing, a chunk is stored twice, and nothing worse.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, schema};
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
        if (ROWS_MIN..=ROWS_MAX).contains(&size.rows) {
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

/// Puts chunks that the table has just got into the filter, in the same transaction. `ids` ascend.
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

/// Makes the filter anew, twice as large, of all chunks that the table has.
fn grow(connection: &Connection, chunks: u64) -> rusqlite::Result<()> {
    make(connection, chunks.saturating_mul(2))?;
    let mut statement = connection.prepare("SELECT DISTINCT id FROM chunks ORDER BY id")?;
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
        let found: Option<Vec<u8>> = connection
            .prepare_cached("SELECT bits FROM filter WHERE row = ?")?
            .query_row([row as i64], |row| row.get(0))
            .optional()?;
        let mut words = vec![0; ROW_WORDS];
        if let Some(found) = found {
            read_row(&found, &mut words)?;
        }
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

fn read_row(bytes: &[u8], words: &mut [u64]) -> rusqlite::Result<()> {
    let (found, rest) = bytes.as_chunks::<8>();
    if found.len() != words.len() || !rest.is_empty() {
        return Err(schema::bad("a row of the filter has another length"));
    }
    words.iter_mut().zip(found).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
    Ok(())
}

/// The filter in memory: eight bits for each chunk or more.
#[derive(Debug)]
pub struct Filter {
    size: Size,
    words: Vec<AtomicU64>,
}

impl Filter {
    fn block(&self, id: &ChunkId) -> &[AtomicU64] {
        let at = self.size.block(id) as usize * BLOCK_WORDS;
        &self.words[at..at + BLOCK_WORDS]
    }

    /// Returns whether a chunk may be in the catalog; if not, it is not.
    pub fn may_have(&self, id: &ChunkId) -> bool {
        self.block(id).iter().zip(bits(id)).all(|(word, bit)| word.load(Relaxed) & bit != 0)
    }

    /// Takes in a chunk that the catalog has got since.
    pub fn add(&self, id: &ChunkId) {
        self.block(id).iter().zip(bits(id)).for_each(|(word, bit)| _ = word.fetch_or(bit, Relaxed));
    }
}

impl Catalog {
    /// Reads the filter as it is now.
    pub fn filter(&self) -> Result<Filter, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let size = Size::read(&connection)?.unwrap_or(Size::of(0));
            let mut words: Vec<AtomicU64> = Vec::with_capacity(size.rows as usize * ROW_WORDS);
            let mut statement = connection.prepare("SELECT row, bits FROM filter ORDER BY row")?;
            let mut rows = statement.query([])?;
            let mut read = vec![0; ROW_WORDS];
            while let Some(row) = rows.next()? {
                let number = u64::try_from(row.get::<_, i64>(0)?).ok();
                let number = number.filter(|number| *number < size.rows);
                let number =
                    number.ok_or_else(|| schema::bad("a row of the filter is behind it"))?;
                let bytes = row.get_ref(1)?.as_blob().map_err(|error| schema::bad(&error))?;
                read_row(bytes, &mut read)?;
                // Rows that nothing was put into are not there.
                words.resize_with(number as usize * ROW_WORDS, AtomicU64::default);
                words.extend(read.iter().copied().map(AtomicU64::new));
            }
            words.resize_with(size.rows as usize * ROW_WORDS, AtomicU64::default);
            Ok(Filter { size, words })
        })())
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
            let sql = "INSERT INTO chunks(id, pack, slot, offset, raw, stored, codec)
                VALUES(?, 1, 0, 0, 0, 0, 0)";
            connection.prepare_cached(sql).unwrap().execute([&id.0[..]]).unwrap();
        }
        add(connection, ids).unwrap();
    }

    #[test]
    fn it_has_all_that_was_put_in_and_little_else_however_it_grew() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
        let empty = catalog.filter().unwrap();
        assert!(!ids(1000).iter().any(|id| empty.may_have(id)));
        let mut all: Vec<ChunkId> = Vec::new();
        let capacity = (ROWS_MIN * ROW_BLOCKS * BLOCK_CHUNKS) as usize;
        for count in [1, 999, capacity - 1000, 1, 50_000] {
            let new = ids(count);
            insert(&catalog.lock(), &new);
            all.extend(new);
            let filter = catalog.filter().unwrap();
            assert!(all.iter().all(|id| filter.may_have(id)), "{} chunks", all.len());
            assert_eq!(filter.size.chunks, all.len() as u64);
            let others = ids(20_000);
            let wrong = others.iter().filter(|id| filter.may_have(id)).count();
            assert!(wrong < 1000, "{wrong} of 20,000, with {} chunks", all.len());
            others.iter().for_each(|id| filter.add(id));
            assert!(others.iter().all(|id| filter.may_have(id)));
        }
        assert!(catalog.filter().unwrap().size.rows > 2 * ROWS_MIN);
    }

    #[test]
    fn a_damaged_one_is_an_error() {
        let damage = [
            "UPDATE filter SET bits = x'00'",
            "UPDATE filter SET row = row + 100000",
            "UPDATE filter SET row = -row - 1",
            "UPDATE meta SET value = x'0000' WHERE key = 'filter'",
            "UPDATE meta SET value = zeroblob(24) WHERE key = 'filter'",
            "UPDATE meta SET value = x'ffffffffffffffff0000000000000000' WHERE key = 'filter'",
        ];
        for damage in damage {
            let folder = tempfile::tempdir().unwrap();
            let catalog =
                Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
            insert(&catalog.lock(), &ids(100));
            assert!(catalog.lock().execute(damage, []).unwrap() > 0);
            assert!(catalog.filter().is_err(), "{damage}");
        }
    }
}
