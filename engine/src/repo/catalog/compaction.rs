//! Compaction: moves chunks from the write buffer to the table of settled chunks.
//!
//! Ids arrive in random order. In a very large table, each new chunk would go to a page of its own, which must be read
//! from the disk. The write buffer is smaller, and more of its pages are in memory. The excess is moved in id
//! order, round-robin over the id space, so that one page after the other receives its chunks. This is the
//! log-structured merge-tree of O'Neil et al. (1996) with two components.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::write_buffer::{count, set_count};
use super::{Catalog, bloom, schema};
use crate::error::Error;
use crate::format::ChunkId;

/// Maximum number of chunks in the write buffer while few chunks are settled, …
const BUFFERED_MIN: u64 = 1 << 18;
/// … and otherwise the fraction of the settled chunks: one in this many.
const BUFFERED_SHARE: u64 = 16;
/// Number of chunks that are moved in one transaction.
const MOVED_AT_ONCE: u64 = 1 << 14;
/// The largest id. After it, the moves start again from the smallest.
const LAST: ChunkId = ChunkId([0xff; 32]);

impl Catalog {
    /// Moves the excess of the write buffer to the table of settled chunks, and calls `check_interrupted` between transactions to
    /// allow an interruption. No other thread may do so at the same time. Open filters must be opened again afterwards,
    /// even if this fails.
    pub fn compact(&self, check_interrupted: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        while self.wrap(compact(&mut self.lock(), BUFFERED_MIN))? {
            check_interrupted()?;
        }
        Ok(())
    }
}

/// Moves some chunks if the write buffer has more than `most`. Returns whether it moved any.
fn compact(connection: &mut Connection, most: u64) -> rusqlite::Result<bool> {
    // Another process of this host may be inserting chunks of log entries that it has read.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let buffered = count(&transaction)?;
    let most = most.max(bloom::chunks(&transaction)? / BUFFERED_SHARE);
    if buffered <= most {
        return Ok(false);
    }
    let after = schema::get_meta(&transaction, "settled_to")?.unwrap_or_default();
    let wanted = (buffered - most).min(MOVED_AT_ONCE);
    let last: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT id FROM write_buffer WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?")?
        .query_row(params![after, schema::signed(wanted - 1)], |row| row.get(0))
        .optional()?;
    let to = last.clone().unwrap_or(LAST.0.to_vec());
    let ids = ids(&transaction, &after, &to)?;
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO settled SELECT * FROM write_buffer WHERE id > ? AND id <= ?",
        )?
        .execute([&after, &to])?;
    let moved = transaction
        .prepare_cached("DELETE FROM write_buffer WHERE id > ? AND id <= ?")?
        .execute([&after, &to])?;
    bloom::add(&transaction, &ids)?;
    // Once all chunks are moved, the count is 0, whatever it was before.
    let all = after.is_empty() && last.is_none();
    set_count(&transaction, if all { 0 } else { buffered.saturating_sub(moved as u64) })?;
    schema::set_meta(&transaction, "settled_to", &last.unwrap_or_default())?;
    transaction.commit()?;
    Ok(true)
}

/// Returns the ids of the chunks of the write buffer in a range, in order.
fn ids(connection: &Connection, after: &[u8], to: &[u8]) -> rusqlite::Result<Vec<ChunkId>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT id FROM write_buffer WHERE id > ? AND id <= ? ORDER BY id",
        )?
        .query_map([after, to], |row| {
            let id = row.get_ref(0)?.as_blob().map_err(|error| schema::bad(&error))?;
            Ok(ChunkId(id.try_into().map_err(|error| schema::bad(&error))?))
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::ChunkLocation;
    use super::super::write_buffer::insert;
    use super::*;
    use crate::codec::random;
    use crate::format::{Codec, Digest, Frame, RepositoryId};
    use crate::repo::PackRowId;

    fn chunk(id: [u8; 32], pack: i64) -> ChunkLocation {
        let frame = Frame { id: ChunkId(id), raw_bytes: 1, stored_bytes: 2, codec: Codec::Stored };
        ChunkLocation { pack: PackRowId(pack), slot: 0, offset: 0, frame }
    }

    #[test]
    fn all_chunks_are_found_in_either_table_and_few_stay_in_the_write_buffer() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
        let rows = |table: &str| {
            let sql = format!("SELECT COUNT(*) FROM {table}");
            let count: i64 = catalog.lock().query_row(&sql, [], |row| row.get(0)).unwrap();
            count as u64
        };
        let mut all = Vec::new();
        for round in 0..20 {
            let mut new = Vec::new();
            for _ in 0..500 {
                let id = random();
                new.extend([chunk(id, round), chunk(id, 100 + round)]);
            }
            // The smallest and the largest id must be handled like any other.
            new.push(chunk([[0; 32], [0xff; 32]][round as usize % 2], round));
            all.extend(new.clone());
            insert(&catalog.lock(), &mut new).unwrap();
            insert(&catalog.lock(), &mut new).unwrap();
            while compact(&mut catalog.lock(), 700).unwrap() {}
            let counted = count(&catalog.lock()).unwrap();
            assert_eq!(counted, rows("write_buffer"), "round {round}");
            assert!(rows("write_buffer") <= 700.max(rows("settled") / 16 + 1), "round {round}");
            assert_eq!(rows("chunks") as usize, all.len());
            let filter = catalog.filter().unwrap();
            assert!(all.iter().all(|chunk| filter.may_have(&catalog, &chunk.frame.id).unwrap()));
        }
        assert!(all.iter().all(|chunk| {
            catalog.chunk_in(chunk.pack, &chunk.frame.id).unwrap() == Some(*chunk)
        }));
        assert!(rows("write_buffer") > 0 && rows("settled") > 0);
    }

    #[test]
    fn a_wrong_count_ends_in_a_right_one() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
        insert(&catalog.lock(), &mut [chunk([7; 32], 1), chunk([9; 32], 1)]).unwrap();
        set_count(&catalog.lock(), u64::MAX).unwrap();
        catalog.compact(|| Ok(())).unwrap();
        assert_eq!(count(&catalog.lock()).unwrap(), 0);
        assert!(catalog.chunk_in(PackRowId(1), &ChunkId([9; 32])).unwrap().is_some());
    }

    #[test]
    fn neither_table_is_gone_through_for_one_chunk_nor_sorted_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(folder.path(), RepositoryId([1; 16]), Digest([2; 32])).unwrap();
        let connection = catalog.lock();
        let plan = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map([], |row| row.get(3)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let all = plan("SELECT pack, slot, id FROM chunks ORDER BY id, pack");
        assert!(all.iter().any(|step| step.contains("MERGE")), "{all:?}");
        assert!(!all.iter().any(|step| step.contains("TEMP B-TREE")), "{all:?}");
        for sql in [super::super::chunks::sound_sql(), super::super::chunks::places_sql()] {
            let one = plan(&sql.replace('?', "x'00'"));
            let searches = |table| one.iter().any(|s| s.starts_with(&format!("SEARCH {table} ")));
            assert!(searches("write_buffer") && searches("settled"), "{one:?}");
        }
    }
}
