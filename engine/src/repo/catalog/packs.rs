//! Stores packs and their chunks: those in the log, and those of this host that are not in it yet. All chunks of a pack
//! whose entry is kept apart, because its author is revoked, are stored as lost.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Catalog, ChunkLocation, LogTables, LostBy, PackRowId, Standing, lost, schema, write_buffer,
};
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, ROW_BYTES, decode_table};
use crate::format::signed::OWNER;
use crate::format::{
    Digest, FormatError, LogEntry, Ordinals, PackId, PackKind, PackRange, PackRecord, WriterId,
};

/// The state of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackState {
    /// Its upload has begun.
    Uploading = 0,
    /// It is in the store, and no entry of the log names it yet.
    Uploaded = 1,
    /// It is in the log, and alive.
    Committed = 2,
    /// It is in the log, and may be deleted.
    Tombstoned = 3,
}

/// A pack in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    /// Its row.
    pub key: PackRowId,
    /// Its id.
    pub id: PackId,
    /// Its state.
    pub state: PackState,
    /// Its number in the order in which the log added packs; `None` if it is not in the log.
    pub ordinal: Option<u64>,
    /// Its kind.
    pub kind: PackKind,
    /// Size of the object.
    pub bytes: u64,
    /// BLAKE3 of its header, table and trailer.
    pub digest: Digest,
    /// CRC-64/NVME of the whole object.
    pub crc64: u64,
    /// The storage class that it was written with; empty for the store's default.
    pub class: String,
    /// Number of chunks in it.
    pub rows: u64,
    /// When the log added the pack, in seconds since 1970 UTC by the clock of its writer; 0 if it is not in the log.
    pub added: i64,
    /// Whether a prune of this host has requested its thaw.
    pub thaw_asked: bool,
    /// Whether only writers have tombstoned the pack, not the owner.
    pub by_writer: bool,
}

const COLUMNS: &str = "key, id, state, ordinal, kind, bytes, digest, crc64, class, rows, added, thaw_asked, by_writer";

fn pack_row(row: &Row) -> rusqlite::Result<PackRow> {
    let digest: Vec<u8> = row.get(6)?;
    Ok(PackRow {
        key: PackRowId(row.get(0)?),
        id: pack_id(&row.get::<_, Vec<u8>>(1)?)?,
        state: match row.get(2)? {
            0 => PackState::Uploading,
            1 => PackState::Uploaded,
            2 => PackState::Committed,
            3 => PackState::Tombstoned,
            other => return Err(schema::bad(&format!("state {other}"))),
        },
        ordinal: row.get::<_, Option<i64>>(3)?.map(|ordinal| ordinal as u64),
        kind: pack_kind(row.get(4)?)?,
        bytes: row.get::<_, i64>(5)? as u64,
        digest: Digest::try_from(&digest[..]).map_err(|error| schema::bad(&error))?,
        crc64: row.get::<_, i64>(7)? as u64,
        class: row.get(8)?,
        rows: row.get::<_, i64>(9)? as u64,
        added: row.get::<_, Option<i64>>(10)?.unwrap_or(0),
        thaw_asked: row.get(11)?,
        by_writer: row.get(12)?,
    })
}

impl LogTables {
    /// Finds a pack by its id.
    pub fn pack_by_id(&self, id: &PackId) -> Result<Option<PackRow>, Error> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM packs WHERE id = ?");
        self.wrap(
            (|| connection.prepare_cached(&sql)?.query_row([&id.0[..]], pack_row).optional())(),
        )
    }
}

impl Catalog {
    /// Finds a pack by its row.
    pub fn pack(&self, key: PackRowId) -> Result<Option<PackRow>, Error> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM packs WHERE key = ?");
        self.wrap((|| connection.prepare_cached(&sql)?.query_row([key.0], pack_row).optional())())
    }

    /// Returns all packs in a state.
    pub fn packs(&self, state: PackState) -> Result<Vec<PackRow>, Error> {
        let connection = self.lock();
        let sql = format!("SELECT {COLUMNS} FROM packs WHERE state = ? ORDER BY key");
        self.wrap((|| {
            connection.prepare_cached(&sql)?.query_map([state as u8], pack_row)?.collect()
        })())
    }

    /// Returns whether all packs of some ranges are in the log and not tombstoned.
    pub fn all_committed(&self, ranges: &[PackRange]) -> Result<bool, Error> {
        let connection = self.lock();
        for range in ranges {
            let end = range.first.saturating_add(range.count).min(i64::MAX as u64);
            let sql = "SELECT COUNT(*) FROM packs WHERE ordinal >= ? AND ordinal < ? AND state = 2";
            let first = range.first.min(i64::MAX as u64) as i64;
            let alive: i64 = self.wrap(
                connection
                    .prepare_cached(sql)
                    .and_then(|mut found| found.query_row([first, end as i64], |row| row.get(0))),
            )?;
            if alive as u64 != range.count {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the state of a pack by its id.
    pub fn pack_state(&self, id: &PackId) -> Result<Option<PackState>, Error> {
        Ok(self.pack_by_id(id)?.map(|row| row.state))
    }

    /// Records a pack before its upload begins, so that it is known even after a crash.
    pub fn upload_begins(&self, record: &PackRecord) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(insert(&connection, record, PackState::Uploading, None))?;
        Ok(())
    }

    /// Records that a pack was uploaded. Its chunks count as known from then on.
    pub fn upload_done(&self, record: &PackRecord) -> Result<PackRowId, Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            let id = &record.id.0[..];
            let uploaded = transaction
                .prepare_cached(
                    "UPDATE packs SET state = 1 WHERE id = ? AND state = 0 RETURNING key",
                )?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let Some(key) = uploaded else {
                // A prune has orphaned it in the meantime. A run that relies on it looks it up again.
                let sql = "SELECT key FROM packs WHERE id = ?";
                return transaction.query_row(sql, [id], |row| row.get(0)).map(PackRowId);
            };
            let mut places = places(PackRowId(key), record).map_err(|error| schema::bad(&error))?;
            write_buffer::insert(&transaction, &mut places)?;
            transaction.commit()?;
            Ok(PackRowId(key))
        })())
    }

    /// Deletes the record of a pack whose upload never finished.
    pub fn upload_lost(&self, id: &PackId) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(connection.execute("DELETE FROM packs WHERE id = ? AND state = 0", [&id.0[..]]))?;
        Ok(())
    }

    /// Of these packs, returns the records of those that were uploaded and are not in the log.
    pub fn uploaded_among(&self, packs: &HashSet<PackRowId>) -> Result<Vec<PackRecord>, Error> {
        let mut records = self.open_packs(PackState::Uploaded)?;
        let uploaded = self.packs(PackState::Uploaded)?.into_iter();
        let wanted: HashSet<PackId> =
            uploaded.filter(|row| packs.contains(&row.key)).map(|row| row.id).collect();
        records.retain(|record| wanted.contains(&record.id));
        Ok(records)
    }

    /// Returns the records of the packs in a state that are not in the log.
    pub fn open_packs(&self, state: PackState) -> Result<Vec<PackRecord>, Error> {
        let connection = self.lock();
        // The second condition lets SQLite use the index.
        let open = "state = ? AND state < 2";
        let sql = format!("SELECT {COLUMNS}, chunks FROM packs WHERE {open} ORDER BY key");
        self.wrap((|| {
            connection
                .prepare_cached(&sql)?
                .query_map([state as u8], |row| {
                    let pack = pack_row(row)?;
                    Ok(PackRecord {
                        id: pack.id,
                        kind: pack.kind,
                        bytes: pack.bytes,
                        digest: pack.digest,
                        crc64: pack.crc64,
                        class: pack.class,
                        table: row.get::<_, Vec<u8>>(13)?.into(),
                    })
                })?
                .collect()
        })())
    }

    /// Records that a prune has requested thaws, so that packs which are not fetched in time are not thawed repeatedly.
    pub fn thaw_was_asked(&self, packs: &[PackRowId]) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for pack in packs {
                transaction
                    .prepare_cached("UPDATE packs SET thaw_asked = 1 WHERE key = ?")?
                    .execute([pack.0])?;
            }
            transaction.commit()
        })())
    }

    /// Translates packs of this catalog to ranges of ordinals. `added` are the packs that the entry being composed
    /// adds. They follow all packs of the log, in this order.
    pub fn ordinals(
        &self,
        needed: &std::collections::BTreeSet<PackRowId>,
        added: &[PackRecord],
    ) -> Result<Vec<PackRange>, Error> {
        let next = self.next_ordinal()?;
        let new: std::collections::HashMap<PackId, u64> =
            added.iter().zip(next..).map(|(record, ordinal)| (record.id, ordinal)).collect();
        let mut ordinals = Vec::with_capacity(needed.len());
        for key in needed {
            let Some(pack) = self.pack(*key)? else { continue };
            ordinals.extend(pack.ordinal.or_else(|| new.get(&pack.id).copied()));
        }
        Ok(ordinals.into_iter().collect::<Ordinals>().ranges())
    }

    /// Returns the row ids of the packs with these ordinals. Skips ordinals that no pack has.
    pub fn pack_keys(&self, ranges: &[PackRange]) -> Result<HashSet<PackRowId>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let mut keys = HashSet::new();
            let mut statement =
                connection.prepare_cached("SELECT key FROM packs WHERE ordinal BETWEEN ? AND ?")?;
            for range in ranges.iter().filter(|range| range.count > 0) {
                let last = range.first.saturating_add(range.count - 1);
                let ends = [range.first, last].map(schema::signed);
                let found = statement.query_map(ends, |row| Ok(PackRowId(row.get(0)?)))?;
                for key in found {
                    keys.insert(key?);
                }
            }
            Ok(keys)
        })())
    }

    /// Returns whether an entry may still name all of these packs.
    pub fn all_usable<'a>(
        &self,
        packs: impl IntoIterator<Item = &'a PackRowId>,
    ) -> Result<bool, Error> {
        for key in packs {
            match self.pack(*key)? {
                Some(pack) if matches!(pack.state, PackState::Uploaded | PackState::Committed) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Returns the ordinal of the next pack that the log adds.
    pub fn next_ordinal(&self) -> Result<u64, Error> {
        self.wrap(next_ordinal(&self.lock()))
    }
}

pub(super) enum ApplyError {
    Sqlite(rusqlite::Error),
    Format(FormatError),
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> Self {
        ApplyError::Sqlite(error)
    }
}

impl From<FormatError> for ApplyError {
    fn from(error: FormatError) -> Self {
        ApplyError::Format(error)
    }
}

/// Applies the packs that a log entry adds. Returns the chunks that must be inserted into the table.
pub(super) fn add(
    connection: &Connection,
    number: u64,
    entry: &LogEntry,
    standing: Standing,
) -> Result<Vec<ChunkLocation>, ApplyError> {
    let first = next_ordinal(connection)?;
    let mut chunks = Vec::new();
    for ((record, ordinal), index) in entry.packs.iter().zip(first..).zip(0..) {
        if standing.is_other {
            forget_upload(connection, &record.id)?;
        }
        let place = schema::signed(super::places::place(number, index));
        let writer = &standing.author.0[..];
        let known: Option<(i64, u8)> = connection
            .prepare_cached("SELECT key, state FROM packs WHERE id = ?")?
            .query_row([&record.id.0[..]], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match known {
            Some((_, state)) if state == PackState::Committed as u8 => {
                return Err(FormatError::Invalid { what: "entry: it adds a pack twice" }.into());
            }
            Some((key, before)) => {
                // A pack that was orphaned before an entry added it stays tombstoned.
                let state = if before == PackState::Tombstoned as u8 {
                    PackState::Tombstoned
                } else {
                    PackState::Committed
                };
                connection
                    .prepare_cached(
                        "UPDATE packs SET state = ?, ordinal = ?, added = ?, chunks = NULL,
                         place = ?, writer = ? WHERE key = ?",
                    )?
                    .execute(params![
                        state as u8,
                        ordinal as i64,
                        entry.time.seconds,
                        place,
                        writer,
                        key
                    ])?;
                // The chunks of a pack that this host uploaded have been in the table since the upload.
                if before != PackState::Uploaded as u8 {
                    chunks.extend(places(PackRowId(key), record)?);
                }
            }
            None => {
                let state = PackState::Committed;
                let added = Some((ordinal, entry.time.seconds));
                let key = insert(connection, record, state, added)?;
                connection
                    .prepare_cached("UPDATE packs SET place = ?, writer = ? WHERE key = ?")?
                    .execute(params![place, writer, key])?;
                chunks.extend(places(PackRowId(key), record)?);
            }
        }
        if standing.revoked {
            let all = PackRange { first: 0, count: record.table.len() as u64 / ROW_BYTES as u64 };
            let key = connection
                .prepare_cached("SELECT key FROM packs WHERE id = ?")?
                .query_row([&record.id.0[..]], |row| row.get(0).map(PackRowId))?;
            let (by, why) = (LostBy::Log, Some(REVOKED));
            lost::add(connection, key, by, &Ordinals::from_ranges([all]), why)?;
        }
    }
    Ok(chunks)
}

/// The problem of a pack whose writer is revoked. Nothing relies on it.
const REVOKED: &str = "its writer is revoked";

/// Deletes the record of an upload of this host if another writer has added the pack to the log. The table in that
/// entry may be false, so a run that relies on the pack uploads its chunks again.
fn forget_upload(connection: &Connection, id: &PackId) -> rusqlite::Result<()> {
    let key: Option<i64> = connection
        .prepare_cached("DELETE FROM packs WHERE id = ? AND state < 2 RETURNING key")?
        .query_row([&id.0[..]], |row| row.get(0))
        .optional()?;
    if let Some(key) = key {
        connection.prepare_cached("DELETE FROM write_buffer WHERE pack = ?")?.execute([key])?;
    }
    Ok(())
}

/// Marks the packs that a log entry tombstones.
pub(super) fn give_up(
    connection: &Connection,
    number: u64,
    entry: &LogEntry,
    author: WriterId,
) -> rusqlite::Result<()> {
    let by_writer = author != OWNER;
    for range in &entry.tombstones {
        let end = range.first.saturating_add(range.count).min(i64::MAX as u64);
        connection.execute(
            "UPDATE packs SET by_writer = ?3 AND (state < 3 OR by_writer),
             given_up = CASE WHEN state < 3 THEN ?4 ELSE given_up END, state = 3
             WHERE ordinal >= ?1 AND ordinal < ?2",
            params![
                range.first.min(i64::MAX as u64) as i64,
                end as i64,
                by_writer,
                schema::signed(number)
            ],
        )?;
    }
    Ok(())
}

/// Marks the orphans that a log entry names. They stay dead even if the author is revoked, because they may be deleted
/// by now, and the writer who uploaded one could still add it.
pub(super) fn orphan(connection: &Connection, entry: &LogEntry) -> rusqlite::Result<()> {
    for id in &entry.orphans {
        connection.execute(
            "INSERT INTO packs(id, state, kind, bytes, digest, crc64, class, rows)
             VALUES(?, 3, 1, 0, zeroblob(32), 0, '', 0) ON CONFLICT(id) DO UPDATE SET state = 3
             WHERE ordinal IS NULL",
            [&id.0[..]],
        )?;
    }
    Ok(())
}

fn next_ordinal(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT COALESCE(MAX(ordinal) + 1, 0) FROM packs";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
}

fn insert(
    connection: &Connection,
    record: &PackRecord,
    state: PackState,
    added: Option<(u64, i64)>,
) -> rusqlite::Result<i64> {
    // The table is stored here only until the pack is in the log, which then contains the table.
    let table = (state == PackState::Uploading).then_some(&record.table[..]);
    connection
        .prepare_cached(
            "INSERT INTO packs(id, state, ordinal, kind, bytes, digest, crc64, class, rows, added, chunks)
             VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            &record.id.0[..],
            state as u8,
            added.map(|(ordinal, _)| ordinal as i64),
            record.kind as u8,
            record.bytes as i64,
            &record.digest.0[..],
            record.crc64 as i64,
            record.class,
            (record.table.len() / crate::format::pack::ROW_BYTES) as i64,
            added.map(|(_, time)| time),
            table,
        ])?;
    Ok(connection.last_insert_rowid())
}

/// Returns the locations of the chunks of a pack according to its table.
fn places(pack: PackRowId, record: &PackRecord) -> Result<Vec<ChunkLocation>, FormatError> {
    let mut offset = HEADER_BYTES as u64;
    let frames = (0..).zip(decode_table(&record.table, record.bytes)?);
    let places = frames.map(|(slot, frame)| {
        let place = ChunkLocation { pack, slot, offset, frame };
        offset += u64::from(frame.stored_bytes);
        place
    });
    Ok(places.collect())
}

/// Converts the column `kind` of a pack row.
fn pack_kind(kind: u8) -> rusqlite::Result<PackKind> {
    PackKind::try_from(kind).map_err(|error| schema::bad(&error))
}

fn pack_id(blob: &[u8]) -> rusqlite::Result<PackId> {
    PackId::try_from(blob).map_err(|error| schema::bad(&error))
}
