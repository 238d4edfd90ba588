//! Keeps objects that this host can put back if the store loses them: `config`, and the newest log entries that no
//! checkpoint contains.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Catalog, LogTables, Position, SnapshotRow, schema, snapshots};
use crate::error::Error;
use crate::files::private;
use crate::format::{RepositoryId, SlotId};

/// Maximum number of entries that are kept. Those of a full range are usually in a checkpoint.
const ENTRIES_MAX: u64 = 128;
/// Maximum size of these entries together, not counting the newest.
const BYTES_MAX: u64 = 64 << 20;

/// Key of the row with the place of the repository.
const PLACE: &str = "location";
/// Key of the row with the key slot that last opened the repository.
pub(super) const LAST_SLOT: &str = "last slot";

/// A kept `config`, and how far the host has read the log that belongs to it.
#[derive(Debug, Clone)]
pub struct KeptConfig {
    /// The object `config`.
    pub object: Vec<u8>,
    /// How far the log was read.
    pub position: Position,
}

fn known_in(connection: &Connection) -> rusqlite::Result<Vec<SlotId>> {
    let listed = schema::get_meta(connection, "slots")?;
    if let Some(listed) = listed.and_then(|stored| minicbor::decode(&stored).ok()) {
        // A slot that is not in the owner's list does not count.
        return Ok(listed);
    }
    let last = schema::get_meta(connection, LAST_SLOT)?;
    Ok(last.and_then(|id| id.try_into().ok()).map(SlotId).into_iter().collect())
}

impl LogTables {
    /// Returns an entry of the log if it is kept.
    pub fn kept_entry(&self, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT object FROM entries WHERE number = ?")?
                .query_row([schema::signed(number)], |row| row.get(0))
                .optional()
        })())
    }

    /// Deletes kept entries that a checkpoint contains.
    pub fn forget_entries(&self, numbers: &RangeInclusive<u64>) -> Result<(), Error> {
        let (first, last) = (schema::signed(*numbers.start()), schema::signed(*numbers.end()));
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("DELETE FROM entries WHERE number BETWEEN ? AND ?")?
                .execute([first, last])
        })())?;
        Ok(())
    }

    /// Keeps `config`, and the place of the repository if none is known.
    pub fn keep_config(&self, object: &[u8], place: &str) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap((|| {
            if schema::get_meta(&connection, "config")?.as_deref() != Some(object) {
                schema::set_meta(&connection, "config", object)?;
            }
            match schema::get_meta(&connection, PLACE)? {
                None => schema::set_meta(&connection, PLACE, place.as_bytes()),
                Some(_) => Ok(()),
            }
        })())
    }

    /// Keeps the place of the repository.
    pub fn keep_place(&self, place: &str) -> Result<(), Error> {
        self.wrap(schema::set_meta(&self.lock(), PLACE, place.as_bytes()))
    }

    /// Returns where this host last used the repository; `None` if it has not used it yet.
    pub fn place(&self) -> Result<Option<String>, Error> {
        let place = self.wrap(schema::get_meta(&self.lock(), PLACE))?;
        Ok(place.and_then(|place| String::from_utf8(place).ok()))
    }

    /// Returns the kept `config`.
    pub fn kept_config(&self) -> Result<Option<Vec<u8>>, Error> {
        self.wrap(schema::get_meta(&self.lock(), "config"))
    }
}

impl Catalog {
    /// Finds the kept `config` of each repository that was at a place, in the catalogs in `cache_dir`.
    pub fn kept_configs(cache_dir: &Path, location: &str) -> Vec<KeptConfig> {
        let folders = std::fs::read_dir(cache_dir).into_iter().flatten().flatten();
        folders
            .filter_map(|folder| read_config(&folder.path().join("catalog.sqlite"), location))
            .collect()
    }

    /// Returns the key slots that the catalog of a repository in `cache_dir` knows: those that the owner has listed or,
    /// if there is no list, the slot that last opened the repository.
    pub fn known_slots(cache_dir: &Path, repository: RepositoryId) -> Vec<SlotId> {
        let known = open_trusted(&catalog_of(cache_dir, repository));
        known.and_then(|connection| known_in(&connection).ok()).unwrap_or_default()
    }

    /// Returns the key slots that are known to be genuine, like [`Catalog::known_slots`].
    pub fn genuine_slots(&self) -> Result<Vec<SlotId>, Error> {
        self.wrap(known_in(&self.lock()))
    }

    /// Stores the key slot that has opened the repository.
    pub fn remember_slot(&self, slot: SlotId) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(match schema::get_meta(&connection, LAST_SLOT) {
            Ok(Some(known)) if known == slot.0 => Ok(()),
            Ok(_) => schema::set_meta(&connection, LAST_SLOT, &slot.0),
            Err(error) => Err(error),
        })
    }

    /// Forgets what this host has sent, if the catalog of a repository in `cache_dir` was used at another place: the
    /// store at this place has not lost it. For a user who continues at this place.
    pub fn forget_sent_elsewhere(cache_dir: &Path, repository: RepositoryId, location: &str) {
        let path = catalog_of(cache_dir, repository);
        if open_kept(&path, location).is_some() {
            return;
        }
        if let Some(connection) = open_trusted(&path) {
            // A catalog that cannot be changed is not carried over either.
            let _ = connection.execute_batch("DELETE FROM own; DELETE FROM owed;");
        }
    }

    /// Returns the snapshots that the catalog of a repository in `cache_dir` lists, without accessing the repository.
    pub fn known_snapshots(cache_dir: &Path, repository: RepositoryId) -> Vec<SnapshotRow> {
        let known = open_trusted(&catalog_of(cache_dir, repository));
        let rows = known.and_then(|open| snapshots::rows(&open, false, Some(false)).ok());
        rows.unwrap_or_default()
    }

    /// Returns the snapshots that the catalogs in `cache_dir` list for a place, without accessing the place itself.
    pub fn kept_snapshots(cache_dir: &Path, location: &str) -> Vec<SnapshotRow> {
        let folders = std::fs::read_dir(cache_dir).into_iter().flatten().flatten();
        let rows = folders.filter_map(|folder| {
            let connection = open_kept(&folder.path().join("catalog.sqlite"), location)?;
            snapshots::rows(&connection, false, Some(false)).ok()
        });
        rows.flatten().collect()
    }
}

fn catalog_of(cache_dir: &Path, repository: RepositoryId) -> PathBuf {
    cache_dir.join(repository.to_string()).join("catalog.sqlite")
}

/// Opens a catalog; `None` if there is none, or if other users can write to it.
fn open_trusted(path: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    private::is_trusted(path).then(|| Connection::open_with_flags(path, flags).ok())?
}

/// Opens a catalog without changing it; `None` if it belongs to another place, is not a catalog, or
/// is writable by other users.
fn open_kept(path: &Path, location: &str) -> Option<Connection> {
    let connection = open_trusted(path)?;
    let place = schema::get_meta(&connection, "location").ok().flatten();
    (place.as_deref() == Some(location.as_bytes())).then_some(connection)
}

/// Reads the kept `config` of one catalog.
fn read_config(path: &Path, location: &str) -> Option<KeptConfig> {
    let connection = open_kept(path, location)?;
    let object = schema::get_meta(&connection, "config").ok().flatten()?;
    Some(KeptConfig { object, position: schema::position(&connection).ok()? })
}

/// Keeps an applied entry, and deletes the oldest ones beyond the limits.
pub(super) fn keep(connection: &Connection, number: u64, object: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO entries(number, object) VALUES(?, ?)")?
        .execute(params![schema::signed(number), object])?;
    connection
        .prepare_cached(
            "DELETE FROM entries WHERE number <= ?1 OR number < ?2 AND number IN (
                 SELECT number FROM (
                     SELECT number, SUM(length(object)) OVER (ORDER BY number DESC) AS bytes
                     FROM entries) WHERE bytes > ?3)",
        )?
        .execute(params![
            schema::signed(number.saturating_sub(ENTRIES_MAX)),
            schema::signed(number),
            schema::signed(BYTES_MAX),
        ])?;
    Ok(())
}
