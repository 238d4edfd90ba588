//! Looks up the locations of chunks, and has the rule by which a new snapshot may rely on one (`sound_sql`).

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, ChunkLocation, PackRowId, schema};
use crate::error::Error;
use crate::format::{ChunkId, Frame};

impl Catalog {
    /// Finds a chunk in a pack that is neither tombstoned nor still being uploaded. Returns a place where the chunk was
    /// found lost only if it has no other place.
    pub fn chunk(&self, id: &ChunkId) -> Result<Option<ChunkLocation>, Error> {
        self.wrap(one_place(&self.lock(), id, &first_sql()))
    }

    /// Finds chunks as [`chunk`](Self::chunk) does, but in one transaction. Otherwise each lookup would acquire and
    /// release the locks of the catalog.
    pub fn chunks(&self, ids: &[ChunkId]) -> Result<Vec<Option<ChunkLocation>>, Error> {
        let (connection, sql) = (self.lock(), first_sql());
        self.wrap((|| {
            let moment = connection.unchecked_transaction()?;
            let found = ids.iter().map(|id| one_place(&moment, id, &sql)).collect();
            moment.commit().and(found)
        })())
    }

    /// Finds a chunk on which a new snapshot may rely: in a pack as for [`chunk`](Self::chunk), and neither known to be
    /// lost nor by a revoked writer, whose chunks count as lost.
    pub fn sound_chunk(&self, id: &ChunkId) -> Result<Option<ChunkLocation>, Error> {
        self.wrap(one_place(&self.lock(), id, &sound_sql()))
    }

    /// Returns the packs of such chunks, looked up in one transaction; `None` if one of the chunks is not found.
    pub fn sound_packs(&self, ids: &[ChunkId]) -> Result<Option<BTreeSet<PackRowId>>, Error> {
        let (connection, sql) = (self.lock(), sound_sql());
        self.wrap((|| {
            let moment = connection.unchecked_transaction()?;
            let pack = |id| Ok(one_place(&moment, id, &sql)?.map(|place| place.pack));
            let packs = ids.iter().map(pack).collect();
            moment.commit().and(packs)
        })())
    }

    /// Returns the location of a chunk in a pack, whatever the state of the pack.
    pub fn chunk_in(&self, pack: PackRowId, id: &ChunkId) -> Result<Option<ChunkLocation>, Error> {
        let sql =
            "SELECT pack, slot, offset, raw, stored, codec FROM chunks WHERE id = ? AND pack = ?";
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_row(params![&id.0[..], pack.0], |row| chunk_place(id, row))
                .optional()
        })())
    }

    /// Returns all chunks of a pack in the order of their slots. Scans the whole table, so this is only for packs whose
    /// own table cannot be read.
    pub fn chunks_in(&self, pack: PackRowId) -> Result<Vec<ChunkLocation>, Error> {
        let connection = self.lock();
        let sql = "SELECT pack, slot, offset, raw, stored, codec, id FROM chunks
            WHERE pack = ? ORDER BY slot";
        self.wrap((|| connection.prepare_cached(sql)?.query_map([pack.0], any_place)?.collect())())
    }

    /// Finds a chunk in all packs that are alive, because several writers may have stored it. Places where it was found
    /// lost come last.
    pub fn chunk_places(&self, id: &ChunkId) -> Result<Vec<ChunkLocation>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(&places_sql())?
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

    /// Counts the chunks that the catalog has for each pack. Scans the whole table and counts here, because SQLite
    /// would first sort all rows in a file as large as the table.
    pub fn chunk_counts(&self) -> Result<HashMap<PackRowId, u64>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let mut counts = HashMap::new();
            let mut statement = connection.prepare_cached("SELECT pack FROM chunks")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                *counts.entry(PackRowId(row.get(0)?)).or_default() += 1;
            }
            Ok(counts)
        })())
    }

    /// Calls `visit` for each chunk in the order of their ids, with all its places, whatever the states of their packs.
    /// Reads in one transaction.
    pub fn each_chunk(
        &self,
        mut visit: impl FnMut(&[ChunkLocation]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let view = self.view()?;
        let connection = view.lock();
        let sql = "SELECT pack, slot, offset, raw, stored, codec, id FROM chunks ORDER BY id, pack";
        let mut statement = self.wrap(connection.prepare(sql))?;
        let mut rows = self.wrap(statement.query([]))?;
        let mut places: Vec<ChunkLocation> = Vec::new();
        while let Some(row) = self.wrap(rows.next())? {
            let place = self.wrap(any_place(row))?;
            if places.last().is_some_and(|last| last.frame.id != place.frame.id) {
                visit(&places)?;
                places.clear();
            }
            places.push(place);
        }
        if places.is_empty() { Ok(()) } else { visit(&places) }
    }
}

/// Selects the places of a chunk in packs that are alive.
const CHUNK_PLACES: &str = "SELECT c.pack, c.slot, c.offset, c.raw, c.stored, c.codec
    FROM chunks c JOIN packs p ON p.key = c.pack WHERE c.id = ? AND p.state IN (1, 2)";

/// Condition on [`CHUNK_PLACES`]: the chunk was found lost at this place.
const LOST: &str =
    "EXISTS(SELECT 1 FROM lost l WHERE l.pack = c.pack AND c.slot BETWEEN l.first AND l.last)";

pub(super) fn places_sql() -> String {
    format!("{CHUNK_PLACES} ORDER BY {LOST}")
}

pub(super) fn sound_sql() -> String {
    format!("{CHUNK_PLACES} AND NOT {LOST} LIMIT 1")
}

fn first_sql() -> String {
    format!("{} LIMIT 1", places_sql())
}

fn one_place(
    connection: &Connection,
    id: &ChunkId,
    sql: &str,
) -> rusqlite::Result<Option<ChunkLocation>> {
    connection.prepare_cached(sql)?.query_row([&id.0[..]], |row| chunk_place(id, row)).optional()
}

/// Reads a row that has the id of its chunk in the seventh column.
fn any_place(row: &rusqlite::Row) -> rusqlite::Result<ChunkLocation> {
    let id = row.get_ref(6)?.as_blob().map_err(|error| schema::bad(&error))?;
    chunk_place(&ChunkId(id.try_into().map_err(|error| schema::bad(&error))?), row)
}

fn chunk_place(id: &ChunkId, row: &rusqlite::Row) -> rusqlite::Result<ChunkLocation> {
    let codec: u8 = row.get(5)?;
    Ok(ChunkLocation {
        pack: PackRowId(row.get(0)?),
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
