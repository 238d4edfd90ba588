//! Defines the tables of the catalog, and opens a file that may not be a catalog at all.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::Position;
use crate::codec::NOTHING_SEEN;
use crate::format::{Digest, RepositoryId};

/// Version of the schema, incremented whenever a table changes. A catalog of another version is rebuilt.
const VERSION: u32 = 19;

/// SQLite's default cache size for a connection, enough for most sorting.
const CACHE_KIB: i64 = -16_384;

const TABLES: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- place: number of the entry that added it, and its index in that. writer: the author of that entry.
-- state: 0 being uploaded, 1 uploaded and not in the log, 2 in the log, 3 tombstoned. added: time of
-- the log entry, by the clock of its writer. read_slots: a bit for each chunk that was read back and
-- verified, at read_at or later; read_asked: a check that waits for thaws has chosen it and has not read it yet.
-- by_writer: it is tombstoned, and the owner has not said so. given_up: the first entry that tombstoned it.
CREATE TABLE packs(
    key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, state INTEGER NOT NULL, ordinal INTEGER UNIQUE,
    kind INTEGER NOT NULL, bytes INTEGER NOT NULL, digest BLOB NOT NULL, crc64 INTEGER NOT NULL,
    class TEXT NOT NULL, rows INTEGER NOT NULL, added INTEGER, chunks BLOB,
    place INTEGER UNIQUE, writer BLOB, by_writer INTEGER NOT NULL DEFAULT 0, given_up INTEGER,
    thaw_asked INTEGER NOT NULL DEFAULT 0, read_at INTEGER NOT NULL DEFAULT 0, read_slots BLOB,
    read_asked INTEGER NOT NULL DEFAULT 0);
CREATE INDEX packs_open ON packs(state) WHERE state < 2;
-- A chunk may be in several packs: when one dies, the others still have it. New chunks are inserted into the write
-- buffer. Compaction moves many at once, in the order of ids, to `settled`, which may have millions.
CREATE TABLE write_buffer(
    id BLOB NOT NULL, pack INTEGER NOT NULL, slot INTEGER NOT NULL, offset INTEGER NOT NULL,
    raw INTEGER NOT NULL, stored INTEGER NOT NULL, codec INTEGER NOT NULL,
    PRIMARY KEY(id, pack)) WITHOUT ROWID;
CREATE TABLE settled(
    id BLOB NOT NULL, pack INTEGER NOT NULL, slot INTEGER NOT NULL, offset INTEGER NOT NULL,
    raw INTEGER NOT NULL, stored INTEGER NOT NULL, codec INTEGER NOT NULL,
    PRIMARY KEY(id, pack)) WITHOUT ROWID;
CREATE VIEW chunks AS SELECT * FROM write_buffer UNION ALL SELECT * FROM settled;
-- A Bloom filter of the ids in `settled`: `bits` is 63 blocks of it.
CREATE TABLE filter(row INTEGER PRIMARY KEY, bits BLOB NOT NULL);
-- Runs of slots that are lost. by_log: listed in the log (1), or found by this host when it read them (0).
CREATE TABLE lost(
    pack INTEGER NOT NULL, by_log INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    problem TEXT, PRIMARY KEY(pack, by_log, first, last)) WITHOUT ROWID;
-- place: in the order of the log. dropped: the entry that dropped it, 0 if it is visible. rank: the place of the first one that it replaces, or its own.
-- accepted: by the owner, though marked. compared: its trees with those before. apart: its writer is revoked.
CREATE TABLE snapshots(
    place INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, number INTEGER NOT NULL, dropped INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0, compared INTEGER NOT NULL DEFAULT 0, entry BLOB NOT NULL,
    writer BLOB NOT NULL, apart INTEGER NOT NULL DEFAULT 0);
-- The statements about snapshots (places) in entries that count, in the order of the log. drops: drops the snapshot (1) or
-- undeletes it (0). changes: the snapshot was not in that state already.
CREATE TABLE drops(
    key INTEGER PRIMARY KEY, number INTEGER NOT NULL, snapshot INTEGER NOT NULL, drops INTEGER NOT NULL,
    changes INTEGER NOT NULL);
CREATE INDEX drops_snapshot ON drops(snapshot);
CREATE INDEX drops_number ON drops(number);
-- Who may speak. rights: 1 add, 2 prune.
CREATE TABLE writers(
    id BLOB PRIMARY KEY, key BLOB NOT NULL, label TEXT NOT NULL, rights INTEGER NOT NULL,
    number INTEGER NOT NULL) WITHOUT ROWID;
-- The author of each entry that is not void. ours: whether this host has sent it, null if that is not known.
CREATE TABLE authors(number INTEGER PRIMARY KEY, writer BLOB NOT NULL, ours INTEGER);
-- The entries that this host has sent, until it reads them in the log.
CREATE TABLE sent(digest BLOB PRIMARY KEY) WITHOUT ROWID;
-- Entries that change nothing, or that are doubtful and count. previous: the digest of the object before it.
CREATE TABLE voids(
    number INTEGER PRIMARY KEY, digest BLOB NOT NULL, previous BLOB NOT NULL, reason TEXT NOT NULL,
    counts INTEGER NOT NULL);
-- Places of void entries that add a pack which is there: they name that pack too.
CREATE TABLE places_again(place INTEGER PRIMARY KEY, ordinal INTEGER NOT NULL);
-- The newest entries of the log as they are, as far as no checkpoint has them.
CREATE TABLE entries(number INTEGER PRIMARY KEY, object BLOB NOT NULL);
-- What had been seen of the log up to an entry, for those with which checkpoints end.
CREATE TABLE seen(number INTEGER PRIMARY KEY, digest BLOB NOT NULL);
-- The newest entry that the store has acknowledged to this host, and those that it has lost since.
CREATE TABLE own(number INTEGER PRIMARY KEY, object BLOB NOT NULL);
CREATE TABLE owed(
    key INTEGER PRIMARY KEY, number INTEGER NOT NULL, object BLOB NOT NULL);
-- The folders of the last runs. `packs` is null until it is known which packs a folder needs.
CREATE TABLE folders(
    key INTEGER PRIMARY KEY, inode INTEGER NOT NULL, signature BLOB, children BLOB NOT NULL, tree BLOB NOT NULL,
    packs BLOB, detail BLOB NOT NULL);
CREATE INDEX folders_inode ON folders(inode);
CREATE INDEX folders_open ON folders(key) WHERE packs IS NULL;
-- Where disks were mounted below sources: key as in `folders`, files below, the newest snapshot that has them.
CREATE TABLE mounts(key INTEGER PRIMARY KEY, files INTEGER NOT NULL, snapshot BLOB NOT NULL);
-- Restores that wait for a thaw, sealed; each is an object of the repository too.
CREATE TABLE jobs(
    id BLOB PRIMARY KEY, object BLOB NOT NULL, asked INTEGER NOT NULL, ended INTEGER NOT NULL);
";

/// Why a catalog cannot be used as it is.
enum Unusable {
    /// The file is missing, foreign, damaged or of another version, and must be rebuilt.
    Broken,
    /// The disk or the operating system failed.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Unusable::Broken,
            // A missing table or a blob of a wrong length is not from icecore.
            Some(ErrorCode::Unknown) | None => Unusable::Broken,
            _ => Unusable::Failed(error),
        }
    }
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(60))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // After a power cut the newest transactions may be gone, which is acceptable for a cache.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    // Enables the stability guarantee of the query planner. Otherwise SQLite plans each lookup of a chunk again
    // for its bound values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a catalog; `None` if it must be rebuilt.
pub(super) fn open(
    path: &Path,
    repository: RepositoryId,
    genesis: Digest,
) -> rusqlite::Result<Option<Connection>> {
    match try_open(path, repository, genesis) {
        Ok(connection) => Ok(Some(connection)),
        Err(Unusable::Broken) => Ok(None),
        Err(Unusable::Failed(error)) => Err(error),
    }
}

fn try_open(
    path: &Path,
    repository: RepositoryId,
    genesis: Digest,
) -> Result<Connection, Unusable> {
    if !path.exists() {
        return Err(Unusable::Broken);
    }
    let connection = connect(path)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let ours = get_meta(&connection, "repository")?.as_deref() == Some(&repository.0[..])
        && get_meta(&connection, "genesis")?.as_deref() == Some(&genesis.0[..]);
    // A damaged page elsewhere is noticed when it is read; quick_check on each start would be slow.
    if version != VERSION || !ours {
        return Err(Unusable::Broken);
    }
    position(&connection)?;
    Ok(connection)
}

pub(super) fn create(
    path: &Path,
    repository: RepositoryId,
    genesis: Digest,
) -> rusqlite::Result<Connection> {
    let mut connection = connect(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    set_meta(&transaction, "repository", &repository.0)?;
    set_meta(&transaction, "genesis", &genesis.0)?;
    set_meta(&transaction, "head", &genesis.0)?;
    set_meta(&transaction, "position", &0u64.to_le_bytes())?;
    set_meta(&transaction, "seen", &NOTHING_SEEN.0)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(connection)
}

pub(super) fn get_meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()
}

pub(super) fn set_meta(connection: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)")?
        .execute(params![key, value])?;
    Ok(())
}

/// Returns the count under a key; 0 if there is none.
pub(super) fn get_count(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    let Some(bytes) = get_meta(connection, key)? else { return Ok(0) };
    Ok(u64::from_le_bytes(bytes.as_slice().try_into().map_err(|error| bad(&error))?))
}

pub(super) fn position(connection: &Connection) -> rusqlite::Result<Position> {
    // A single statement reads all three, because another process of this host may move the position in between.
    let (number, head, seen): (Vec<u8>, Vec<u8>, Vec<u8>) = connection
        .prepare_cached(
            "SELECT p.value, h.value, s.value FROM meta p, meta h, meta s
             WHERE p.key = 'position' AND h.key = 'head' AND s.key = 'seen'",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let number = <[u8; 8]>::try_from(&number[..]).map_err(|error| bad(&error))?;
    let head = Digest::try_from(&head[..]).map_err(|error| bad(&error))?;
    let seen = Digest::try_from(&seen[..]).map_err(|error| bad(&error))?;
    Ok(Position { number: u64::from_le_bytes(number), head, seen })
}

/// Converts a number from an untrusted source. Clamps one that is too large, because no stored number is that large.
pub(super) fn signed(number: u64) -> i64 {
    number.min(i64::MAX as u64) as i64
}

/// Returns the error for a value that icecore never writes into a catalog.
pub(super) fn bad(error: &(impl std::fmt::Display + ?Sized)) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        rusqlite::types::Type::Blob,
        format!("unexpected value: {error}").into(),
    )
}
