//! What this host remembers of folding: how far it has looked for missing checkpoints, and how
//! large the ranges are that are not full yet, so that the requests can be predicted.

use rusqlite::Connection;

use super::{Catalog, schema};
use crate::error::Error;
use crate::format::checkpoint::CHECKPOINT_LEVELS;

/// Bytes of the entries in the newest range of each level.
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

    /// Returns how large the newest entries are on average, `number` being that of the last; `None`
    /// if that is not known.
    pub fn entry_bytes(&self, number: u64) -> Option<u64> {
        let count = number.checked_sub(1)? % CHECKPOINT_LEVELS[0] + 1;
        Some(self.0[0] / count).filter(|bytes| *bytes > 0)
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

    pub fn unfolded(&self) -> Result<Unfolded, Error> {
        self.wrap(get_unfolded(&self.lock()))
    }
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
