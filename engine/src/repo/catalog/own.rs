//! Stores entries that this host has appended to the log: the newest acknowledged one, and those
//! that the store acknowledged and then lost, which must be appended again.
//!
//! Also stores the digest of each entry before it is sent. So a host notices an entry that somebody else has signed with
//! its key.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::authors::verdicts;
use super::{Catalog, LogTables, schema};
use crate::error::Error;
use crate::format::{Digest, PackRange, WriterId};

/// Set if the catalog was built as a whole. Then the sender is known only for entries that were read later.
const IS_WHOLE: &str = "whole";

const GIVEN_UP_BY: &str = "
    SELECT authors.writer, MIN(packs.given_up) FROM packs JOIN authors ON authors.number = packs.given_up
    WHERE packs.ordinal >= ? AND packs.ordinal < ? AND packs.state = 3 AND packs.by_writer GROUP BY authors.writer";

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

/// Records that the catalog has read the whole log.
pub(super) fn is_whole(connection: &Connection) -> rusqlite::Result<()> {
    schema::set_meta(connection, IS_WHOLE, &[])
}

/// Returns whether this host has sent an entry that it now reads; `None` if that is not known.
pub(super) fn is_ours(connection: &Connection, entry: &Digest) -> rusqlite::Result<Option<bool>> {
    let sent =
        connection.prepare_cached("DELETE FROM sent WHERE digest = ?")?.execute([&entry.0[..]])?;
    let is_known = schema::get_meta(connection, IS_WHOLE)?.is_some();
    Ok((is_known || sent > 0).then_some(sent > 0))
}

impl Catalog {
    /// Records durably that this host is about to send an entry.
    pub fn sends(&self, entry: &Digest) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection
                .prepare_cached("INSERT OR IGNORE INTO sent(digest) VALUES(?)")?
                .execute([&entry.0[..]])?;
            connection.pragma_update(None, "synchronous", "NORMAL")
        })())
    }

    /// Returns the numbers of the entries that a writer has signed, that this host has not sent, and that count.
    pub fn not_ours(&self, writer: &WriterId) -> Result<Vec<u64>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let verdicts = verdicts(&connection)?;
            let revoked = verdicts.revoked.get(writer).copied().unwrap_or(u64::MAX);
            let numbers: Vec<u64> = connection
                .prepare_cached("SELECT number FROM authors WHERE writer = ? AND ours = 0")?
                .query_map([&writer.0[..]], |row| Ok(row.get::<_, i64>(0)? as u64))?
                .collect::<rusqlite::Result<_>>()?;
            let counts = |number: &u64| *number < revoked && !verdicts.void.contains(number);
            Ok(numbers.into_iter().filter(counts).collect())
        })())
    }

    /// Returns the author of an entry that counts; `None` if it is not known.
    pub fn author_of(&self, number: u64) -> Result<Option<WriterId>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT writer FROM authors WHERE number = ?")?
                .query_row([schema::signed(number)], |row| {
                    let writer: Vec<u8> = row.get(0)?;
                    WriterId::try_from(&writer[..]).map_err(|error| schema::bad(&error))
                })
                .optional()
        })())
    }

    /// Returns the writers that have tombstoned packs of some ranges, each with its first such entry. Ignores packs
    /// that the owner has tombstoned too.
    pub fn given_up_by(&self, ranges: &[PackRange]) -> Result<BTreeMap<WriterId, u64>, Error> {
        let connection = self.lock();
        let mut found: BTreeMap<WriterId, u64> = BTreeMap::new();
        let mut add = |range: &PackRange| -> rusqlite::Result<()> {
            let end = range.first.saturating_add(range.count).min(i64::MAX as u64);
            let first = range.first.min(i64::MAX as u64);
            let mut select = connection.prepare_cached(GIVEN_UP_BY)?;
            let mut rows = select.query([first as i64, end as i64])?;
            while let Some(row) = rows.next()? {
                let writer: Vec<u8> = row.get(0)?;
                let writer = WriterId::try_from(&writer[..]).map_err(|e| schema::bad(&e))?;
                let number = row.get::<_, i64>(1)? as u64;
                found.entry(writer).and_modify(|from| *from = number.min(*from)).or_insert(number);
            }
            Ok(())
        };
        self.wrap(ranges.iter().try_for_each(&mut add))?;
        Ok(found)
    }

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
    pub fn forget_owed(&self, owed: &Owed) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(connection.execute("DELETE FROM owed WHERE key = ?", [owed.key]))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CatalogBuilder, LogFollower, Standing, TakenSlot};
    use super::*;
    use crate::format::{LogEntry, RepositoryId, Time};
    use crate::progress::Silent;

    const WRITER: WriterId = WriterId([3; 16]);

    fn read(catalog: &impl LogFollower, number: u64) {
        let digest = Digest([number as u8; 32]);
        let taken = TakenSlot { number, digest, seen: digest, bytes: 0, object: None };
        let (revoked, is_other, doubt) = (false, false, None);
        let standing = Standing { author: WRITER, revoked, is_other, doubt };
        catalog.apply(&taken, &LogEntry::new(Time { seconds: 0, nanos: 0 }), standing).unwrap();
    }

    #[test]
    fn an_entry_that_was_not_sent_is_known_if_the_log_was_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let (id, genesis) = (RepositoryId([1; 16]), Digest([2; 32]));
        let begin = || CatalogBuilder::begin(folder.path(), id, genesis, &Silent).unwrap();
        let builder = begin();
        read(&builder, 1);
        let catalog = builder.finish(false, &Silent).unwrap();
        assert_eq!(catalog.not_ours(&WRITER).unwrap(), [0; 0]);
        // The process may die between sending an entry and reading it.
        catalog.sends(&Digest([2; 32])).unwrap();
        drop(catalog);
        let catalog = Catalog::open(folder.path(), id, genesis).unwrap();
        (2..=3).for_each(|number| read(&catalog, number));
        assert_eq!(catalog.not_ours(&WRITER).unwrap(), [3]);
        assert_eq!(catalog.not_ours(&WriterId([4; 16])).unwrap(), [0; 0]);
        drop(catalog);
        // The owner has ruled on an entry, so the catalog was built again.
        let again = |trusted| {
            let builder = begin();
            (1..=3).for_each(|number| read(&builder, number));
            builder.finish(trusted, &Silent).unwrap().not_ours(&WRITER).unwrap()
        };
        assert_eq!(again(true), [3]);
        // The user has ordered a rebuild without trust in this host, which ends the warning.
        assert_eq!(again(false), [0; 0]);
    }
}
