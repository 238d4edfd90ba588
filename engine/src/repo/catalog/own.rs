//! Stores entries that this host has appended to the log: the newest acknowledged one, and those
//! that the store acknowledged and then lost, which must be appended again. Nothing is stored before the store has
//! acknowledged an entry.

use rusqlite::{OptionalExtension, params};

use super::{Catalog, LogTables, schema};
use crate::error::Error;

/// An entry of this host that the store has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its row in the catalog.
    pub key: i64,
    /// Number of the slot that it was in.
    pub number: u64,
    /// The object, as it was acknowledged.
    pub object: Vec<u8>,
}

impl LogTables {
    /// Records that an entry must be appended again.
    pub fn owe(&self, number: u64, object: &[u8]) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("INSERT INTO owed(number, object) VALUES(?, ?)")?
                .execute(params![schema::signed(number), object])
        })())?;
        Ok(())
    }
}

impl Catalog {
    /// Records an acknowledged entry and replaces the previous one.
    pub fn acknowledged(&self, number: u64, object: &[u8]) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM own", [])?;
            transaction
                .prepare_cached("INSERT INTO own(number, object) VALUES(?, ?)")?
                .execute(params![schema::signed(number), object])?;
            transaction.commit()
        })())
    }

    /// Returns the last acknowledged entry, if it is in this slot.
    pub fn own_entry(&self, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT object FROM own WHERE number = ?")?
                .query_row([schema::signed(number)], |row| row.get(0))
                .optional()
        })())
    }

    /// Returns the last acknowledged entry with its number.
    pub fn newest_own(&self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT number, object FROM own")?
                .query_row([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
                .optional()
        })())
    }

    /// Returns the entries that must be appended again, in order.
    pub fn owed(&self) -> Result<Vec<Owed>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT key, number, object FROM owed ORDER BY key")?
                .query_map([], |row| {
                    let number = row.get::<_, i64>(1)? as u64;
                    Ok(Owed { key: row.get(0)?, number, object: row.get(2)? })
                })?
                .collect()
        })())
    }

    /// Deletes the record of an entry that was appended again.
    pub fn said_again(&self, owed: &Owed) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(connection.execute("DELETE FROM owed WHERE key = ?", [owed.key]))?;
        Ok(())
    }
}
