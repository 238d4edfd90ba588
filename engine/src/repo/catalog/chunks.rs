//! Where chunks are.

use rusqlite::OptionalExtension;

use super::{Catalog, PackKey, schema};
use crate::error::Error;
use crate::format::{ChunkId, Frame};

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkPlace {
    pub pack: PackKey,
    /// Position in the table of the pack.
    pub slot: u32,
    /// Byte offset of the frame in the pack.
    pub offset: u64,
    pub frame: Frame,
}

impl ChunkPlace {
    /// Returns the bytes of the pack that hold it.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.offset..self.offset + u64::from(self.frame.stored_bytes)
    }
}

impl Catalog {
    /// Finds a chunk in a pack that is neither tombstoned nor still on its way.
    pub fn chunk(&self, id: &ChunkId) -> Result<Option<ChunkPlace>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(&format!("{CHUNK_PLACES} LIMIT 1"))?
                .query_row([&id.0[..]], |row| chunk_place(id, row))
                .optional()
        })())
    }

    /// Finds a chunk in all packs that are alive: several writers may have stored it.
    pub fn chunk_places(&self, id: &ChunkId) -> Result<Vec<ChunkPlace>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(CHUNK_PLACES)?
                .query_map([&id.0[..]], |row| chunk_place(id, row))?
                .collect()
        })())
    }

    /// Counts chunks in committed packs.
    pub fn chunk_count(&self) -> Result<u64, Error> {
        let sql = "SELECT COALESCE(SUM(rows), 0) FROM packs WHERE state = 2";
        let count: i64 = self.wrap(self.lock().query_row(sql, [], |row| row.get(0)))?;
        Ok(count as u64)
    }

    /// Goes through all chunks in the order of their ids, each with all its places, in whatever
    /// state their packs are. What is read is one moment of the catalog.
    pub fn each_chunk(
        &self,
        mut visit: impl FnMut(&[ChunkPlace]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let view = self.view()?;
        let connection = view.lock();
        let sql = "SELECT pack, slot, offset, raw, stored, codec, id FROM chunks ORDER BY id, pack";
        let mut statement = self.wrap(connection.prepare(sql))?;
        let mut rows = self.wrap(statement.query([]))?;
        let mut places: Vec<ChunkPlace> = Vec::new();
        while let Some(row) = self.wrap(rows.next())? {
            let place = self.wrap((|| {
                let id = row.get_ref(6)?.as_blob().map_err(|error| schema::bad(&error))?;
                let id = ChunkId(id.try_into().map_err(|error| schema::bad(&error))?);
                chunk_place(&id, row)
            })())?;
            if places.last().is_some_and(|last| last.frame.id != place.frame.id) {
                visit(&places)?;
                places.clear();
            }
            places.push(place);
        }
        if places.is_empty() { Ok(()) } else { visit(&places) }
    }
}

/// The places of a chunk in packs that are alive.
const CHUNK_PLACES: &str = "SELECT c.pack, c.slot, c.offset, c.raw, c.stored, c.codec
    FROM chunks c JOIN packs p ON p.key = c.pack WHERE c.id = ? AND p.state IN (1, 2)";

fn chunk_place(id: &ChunkId, row: &rusqlite::Row) -> rusqlite::Result<ChunkPlace> {
    let codec: u8 = row.get(5)?;
    Ok(ChunkPlace {
        pack: PackKey(row.get(0)?),
        slot: row.get(1)?,
        offset: row.get::<_, i64>(2)? as u64,
        frame: Frame {
            id: *id,
            raw_bytes: row.get(3)?,
            stored_bytes: row.get(4)?,
            codec: codec.try_into().map_err(|error| schema::bad(&error))?,
        },
    })
}
