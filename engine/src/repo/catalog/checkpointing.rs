//! Stores the state of checkpointing on this host: how far it has looked for missing checkpoints,
//! and the sizes of the incomplete ranges, which serve to predict requests.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, LogTables, Position, schema};
use crate::codec::NOTHING_SEEN;
use crate::error::Error;
use crate::format::Digest;
use crate::format::checkpoint::{CHECKPOINT_LEVELS, CHECKPOINT_STEP};
use crate::format::signed::entry_bytes;

/// On each level of checkpoints, the newest range of log entries is incomplete and has no checkpoint yet. Contains, for
/// each level, the size of the entries so far in the first part of that future checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenRanges(pub [u64; CHECKPOINT_LEVELS.len()]);

impl OpenRanges {
    /// Counts the entry with this number, which must be the next one.
    pub fn add(&mut self, number: u64, entry_bytes: u64) {
        for (count, bytes) in CHECKPOINT_LEVELS.into_iter().zip(&mut self.0) {
            let begins = (number - 1).is_multiple_of(count);
            *bytes = if begins { entry_bytes } else { bytes.saturating_add(entry_bytes) };
        }
    }

    /// Returns the average length of the objects of the newest entries, or `None` if it is not
    /// known. `number` is the number of the last entry.
    pub fn entry_bytes(&self, number: u64) -> Option<u64> {
        let count = number.checked_sub(1)? % CHECKPOINT_LEVELS[0] + 1;
        Some(self.0[0] / count).filter(|bytes| *bytes > 0).map(entry_bytes)
    }
}

impl LogTables {
    /// Records the last entry whose signature this host has not checked, because the owner vouches
    /// for it.
    pub fn set_vouched(&self, number: u64) -> Result<(), Error> {
        self.wrap(schema::set_meta(&self.lock(), "vouched", &number.to_le_bytes()))
    }
}

impl Catalog {
    /// Returns the entry up to which this host has seen or written all checkpoints.
    pub fn checkpointed(&self) -> Result<u64, Error> {
        let checkpointed = self.wrap(schema::get_meta(&self.lock(), "checkpointed"))?;
        // icecore never writes a value of another length, and looking for checkpoints again does no
        // harm.
        Ok(checkpointed.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// Records the entry up to which this host has seen or written all checkpoints.
    pub fn set_checkpointed(&self, number: u64) -> Result<(), Error> {
        self.wrap(schema::set_meta(&self.lock(), "checkpointed", &number.to_le_bytes()))
    }

    /// Returns the hash of the log up to an entry; `None` if it is not recorded.
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

    /// Returns the last entry whose signature this host has not checked itself; 0 if there is none.
    pub fn vouched(&self) -> Result<u64, Error> {
        self.wrap(schema::get_count(&self.lock(), "vouched"))
    }

    /// Returns, for each level of checkpoints, the size of the entries of the newest range.
    pub fn open_ranges(&self) -> Result<OpenRanges, Error> {
        self.wrap(get_open_ranges(&self.lock()))
    }
}

/// Records the hash of the log up to an entry at which checkpoints end.
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

/// Counts an entry that is applied.
pub(super) fn count(
    connection: &Connection,
    number: u64,
    entry_bytes: u64,
) -> rusqlite::Result<()> {
    let mut open_ranges = get_open_ranges(connection)?;
    open_ranges.add(number, entry_bytes);
    schema::set_meta(connection, "open_ranges", open_ranges.0.map(u64::to_le_bytes).as_flattened())
}

fn get_open_ranges(connection: &Connection) -> rusqlite::Result<OpenRanges> {
    let stored = schema::get_meta(connection, "open_ranges")?.unwrap_or_default();
    let mut open_ranges = OpenRanges::default();
    for (bytes, stored) in open_ranges.0.iter_mut().zip(stored.as_chunks().0) {
        *bytes = u64::from_le_bytes(*stored);
    }
    Ok(open_ranges)
}
