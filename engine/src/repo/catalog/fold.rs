//! What this host remembers of folding: how far it has looked for missing checkpoints, and how
//! large the ranges are that are not full yet, so that the requests can be predicted.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, Position, schema};
use crate::codec::NOTHING_SEEN;
use crate::error::Error;
use crate::format::Digest;
use crate::format::checkpoint::{CHECKPOINT_LEVELS, CHECKPOINT_STEP};
use crate::format::signed::entry_bytes;

/// Bytes that the entries in the newest range of each level take in the first part of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unfolded(pub [u64; CHECKPOINT_LEVELS.len()]);

impl Unfolded {
    /// Counts the entry with this number, the one after those that were counted.
    pub fn add(&mut self, number: u64, entry_bytes: u64) {
        for (count, bytes) in CHECKPOINT_LEVELS.into_iter().zip(&mut self.0) {
            let begins = (number - 1).is_multiple_of(count);
            *bytes = if begins { entry_bytes } else { bytes.saturating_add(entry_bytes) };
        }
    }

    /// Returns how large the objects of the newest entries are on average, `number` being that of the last; `None`
    /// if that is not known.
    pub fn entry_bytes(&self, number: u64) -> Option<u64> {
        let count = number.checked_sub(1)? % CHECKPOINT_LEVELS[0] + 1;
        Some(self.0[0] / count).filter(|bytes| *bytes > 0).map(entry_bytes)
    }
}

impl Catalog {
    /// Returns the entry up to which this host has seen or written all checkpoints.
    pub fn folded(&self) -> Result<u64, Error> {
        let folded = self.wrap(schema::get_meta(&self.lock(), "folded"))?;
        // None of ours has another length; looking again harms nothing.
        Ok(folded.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    pub fn set_folded(&self, number: u64) -> Result<(), Error> {
        self.wrap(schema::set_meta(&self.lock(), "folded", &number.to_le_bytes()))
    }

    /// Returns what had been seen of the log up to an entry; `None` where that is not remembered.
    pub fn seen_at(&self, number: u64) -> Result<Option<Digest>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let Position { number: last, seen, .. } = schema::position(&connection)?;
            if number == 0 || number == last {
                return Ok(Some(if number == 0 { NOTHING_SEEN } else { seen }));
            }
            let found: Option<Vec<u8>> = connection
                .prepare_cached("SELECT digest FROM seen WHERE number = ?")?
                .query_row([schema::signed(number)], |row| row.get(0))
                .optional()?;
            let digest =
                |bytes: Vec<u8>| Digest::try_from(&bytes[..]).map_err(|error| schema::bad(&error));
            found.map(digest).transpose()
        })())
    }

    /// Returns the last of the entries whose signatures this host has not checked itself; 0 if there are none.
    pub fn vouched(&self) -> Result<u64, Error> {
        self.wrap(schema::get_count(&self.lock(), "vouched"))
    }

    /// Remembers up to which entry the owner vouches for signatures that this host has not checked.
    pub fn set_vouched(&self, number: u64) -> Result<(), Error> {
        self.wrap(schema::set_meta(&self.lock(), "vouched", &number.to_le_bytes()))
    }

    pub fn unfolded(&self) -> Result<Unfolded, Error> {
        self.wrap(get_unfolded(&self.lock()))
    }
}

/// Remembers what has been seen up to an entry with which checkpoints end.
pub(super) fn remember(
    connection: &Connection,
    number: u64,
    seen: &Digest,
) -> rusqlite::Result<()> {
    if number.is_multiple_of(CHECKPOINT_STEP) {
        connection
            .prepare_cached("INSERT OR REPLACE INTO seen(number, digest) VALUES(?, ?)")?
            .execute(params![schema::signed(number), &seen.0[..]])?;
    }
    Ok(())
}

/// Counts an entry that is taken in.
pub(super) fn count(
    connection: &Connection,
    number: u64,
    entry_bytes: u64,
) -> rusqlite::Result<()> {
    let mut unfolded = get_unfolded(connection)?;
    unfolded.add(number, entry_bytes);
    schema::set_meta(connection, "unfolded", unfolded.0.map(u64::to_le_bytes).as_flattened())
}

fn get_unfolded(connection: &Connection) -> rusqlite::Result<Unfolded> {
    let stored = schema::get_meta(connection, "unfolded")?.unwrap_or_default();
    let mut unfolded = Unfolded::default();
    for (bytes, stored) in unfolded.0.iter_mut().zip(stored.as_chunks().0) {
        *bytes = u64::from_le_bytes(*stored);
    }
    Ok(unfolded)
}
