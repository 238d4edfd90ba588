//! The Bloom filter of the catalog as one run keeps it in memory.

use std::sync::OnceLock;

use super::bloom::{BLOCK_WORDS, ROW_BLOCKS, Size, bits, read_row};
use super::{Catalog, write_buffer};
use crate::error::Error;
use crate::format::ChunkId;

/// The filter in memory. Rows are read when they are first needed. It must be opened again after chunks have been
/// settled.
#[derive(Debug)]
pub struct Filter {
    size: Size,
    rows: Vec<OnceLock<Vec<u64>>>,
}

impl Filter {
    /// Returns whether a chunk may be in the catalog. If false, it certainly is not.
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
        catalog.wrap(write_buffer::has(&catalog.lock(), id))
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
    use rusqlite::Connection;

    use super::super::bloom::{BLOCK_CHUNKS, ROWS_MIN, add};
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
