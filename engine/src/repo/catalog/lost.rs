//! Chunks that somebody found missing or damaged where they are (spec section 6.2).

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, PackKey, schema};
use crate::error::Error;
use crate::format::{LogEntry, Ordinals, PackRange};

/// Takes in what a log entry says is lost. Packs that are not in the log are not touched.
pub(super) fn apply(connection: &Connection, entry: &LogEntry) -> rusqlite::Result<()> {
    for lost in &entry.lost {
        let pack: Option<i64> = connection
            .prepare_cached("SELECT key FROM packs WHERE ordinal = ?")?
            .query_row([schema::signed(lost.pack)], |row| row.get(0))
            .optional()?;
        let Some(pack) = pack else { continue };
        for range in lost.slots.iter().filter(|range| range.count > 0) {
            let last = range.first.saturating_add(range.count - 1);
            connection
                .prepare_cached("INSERT OR IGNORE INTO lost(pack, first, last) VALUES(?, ?, ?)")?
                .execute(params![pack, schema::signed(range.first), schema::signed(last)])?;
        }
    }
    Ok(())
}

impl Catalog {
    /// Returns whether a chunk was found lost where it is.
    pub fn is_lost(&self, pack: PackKey, slot: u32) -> Result<bool, Error> {
        let sql = "SELECT EXISTS(SELECT 1 FROM lost WHERE pack = ? AND ? BETWEEN first AND last)";
        let connection = self.lock();
        self.wrap((|| {
            connection.prepare_cached(sql)?.query_row(params![pack.0, slot], |row| row.get(0))
        })())
    }

    /// Returns the slots of a pack in which chunks were found lost.
    pub fn lost_slots(&self, pack: PackKey) -> Result<Ordinals, Error> {
        let connection = self.lock();
        let ranges: Vec<PackRange> = self.wrap((|| {
            connection
                .prepare_cached("SELECT first, last FROM lost WHERE pack = ?")?
                .query_map([pack.0], |row| {
                    let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
                    let count = last.saturating_sub(first).saturating_add(1) as u64;
                    Ok(PackRange { first: first as u64, count })
                })?
                .collect()
        })())?;
        Ok(Ordinals::from_ranges(ranges))
    }

    /// Returns whether anything in a pack was found lost.
    pub fn has_lost(&self, pack: PackKey) -> Result<bool, Error> {
        let sql = "SELECT EXISTS(SELECT 1 FROM lost WHERE pack = ?)";
        let connection = self.lock();
        self.wrap((|| connection.prepare_cached(sql)?.query_row([pack.0], |row| row.get(0)))())
    }
}
