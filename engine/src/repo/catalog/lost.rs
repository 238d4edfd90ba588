//! Stores the chunks that are known to be missing or damaged, or that a revoked writer has added. The log lists some
//! (spec section 6.2), and this host has found others when it read them.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Catalog, PackRowId, schema};
use crate::error::Error;
use crate::format::{LogEntry, Lost, Ordinals, PackRange};

/// The source of the information that chunks are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostBy {
    /// The log, which every host reads.
    Log,
    /// This host, which has read the chunks.
    Reading,
}

impl LostBy {
    fn is_by_log(self) -> bool {
        self == LostBy::Log
    }
}

/// The problem of a pack that the store does not list.
pub const MISSING: &str = "it is missing";
/// The problem of chunks beyond the end of a pack that was truncated.
const TRUNCATED: &str = "it is truncated";

const LOST_BY_LOG: &str = "a part of it is lost, as an earlier repair found";

/// Records the chunks that a log entry lists as lost or as found again. Packs that are not in the log do not change.
pub(super) fn apply(connection: &Connection, entry: &LogEntry) -> rusqlite::Result<()> {
    for (lost, again) in
        entry.lost.iter().map(|lost| (lost, false)).chain(entry.found.iter().map(|f| (f, true)))
    {
        let Some((pack, rows)) = key_and_rows(connection, lost)? else { continue };
        // A statement may name more chunks than the pack has, up to 2^64.
        let beyond = Ordinals::from_ranges([PackRange { first: rows, count: u64::MAX }]);
        let slots = Ordinals::from_ranges(lost.slots.iter().copied()).without(&beyond);
        if again {
            remove(connection, pack, LostBy::Log, &slots)?;
        } else {
            // Two statements may name the same chunk, which is counted once.
            let slots = slots.without(&marked(connection, pack)?);
            add(connection, pack, LostBy::Log, &slots, None)?;
        }
    }
    Ok(())
}

/// Returns the row of the pack that a statement names, and its number of chunks.
fn key_and_rows(
    connection: &Connection,
    lost: &Lost,
) -> rusqlite::Result<Option<(PackRowId, u64)>> {
    connection
        .prepare_cached("SELECT key, rows FROM packs WHERE ordinal = ?")?
        .query_row([schema::signed(lost.pack)], |row| {
            Ok((PackRowId(row.get(0)?), row.get::<_, i64>(1)? as u64))
        })
        .optional()
}

/// Returns the slots of a pack that the log lists as lost.
fn marked(connection: &Connection, pack: PackRowId) -> rusqlite::Result<Ordinals> {
    let sql = "SELECT first, last FROM lost WHERE pack = ? AND by_log = 1 AND problem IS NULL";
    let ranges: Vec<PackRange> = connection
        .prepare_cached(sql)?
        .query_map([pack.0], |row| Ok(range(row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Ordinals::from_ranges(ranges))
}

pub(super) fn add(
    connection: &Connection,
    pack: PackRowId,
    by: LostBy,
    slots: &Ordinals,
    problem: Option<&str>,
) -> rusqlite::Result<()> {
    for range in slots.ranges() {
        let last = range.first.saturating_add(range.count - 1);
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO lost(pack, by_log, first, last, problem)
                VALUES(?, ?, ?, ?, ?)",
            )?
            .execute(params![
                pack.0,
                by.is_by_log(),
                schema::signed(range.first),
                schema::signed(last),
                problem
            ])?;
    }
    Ok(())
}

/// Removes slots from those recorded as lost.
pub(super) fn remove(
    connection: &Connection,
    pack: PackRowId,
    by: LostBy,
    slots: &Ordinals,
) -> rusqlite::Result<()> {
    let rows: Vec<(i64, i64, Option<String>)> = connection
        .prepare_cached("SELECT first, last, problem FROM lost WHERE pack = ? AND by_log = ?")?
        .query_map(params![pack.0, by.is_by_log()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (first, last, problem) in rows {
        let all = Ordinals::from_ranges([range(first, last)]);
        if !all.meets(slots) {
            continue;
        }
        connection
            .prepare_cached(
                "DELETE FROM lost WHERE pack = ? AND by_log = ? AND first = ? AND last = ?",
            )?
            .execute(params![pack.0, by.is_by_log(), first, last])?;
        add(connection, pack, by, &all.without(slots), problem.as_deref())?;
    }
    Ok(())
}

pub(super) fn slots(
    connection: &Connection,
    pack: PackRowId,
    by: LostBy,
) -> rusqlite::Result<Ordinals> {
    let ranges: Vec<PackRange> = connection
        .prepare_cached("SELECT first, last FROM lost WHERE pack = ? AND by_log = ?")?
        .query_map(params![pack.0, by.is_by_log()], |row| Ok(range(row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Ordinals::from_ranges(ranges))
}

/// Converts a row of the table to a range.
fn range(first: i64, last: i64) -> PackRange {
    let count = last.saturating_sub(first).saturating_add(1) as u64;
    PackRange { first: first as u64, count }
}

impl Catalog {
    /// Returns the source and the reason if a chunk is known to be lost in a pack. The findings of this host have
    /// priority over the log.
    pub fn lost_at(&self, pack: PackRowId, slot: u32) -> Result<Option<(LostBy, String)>, Error> {
        let sql = "SELECT by_log, problem FROM lost
            WHERE pack = ? AND ? BETWEEN first AND last ORDER BY by_log LIMIT 1";
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_row(params![pack.0, slot], |row| {
                    let by = if row.get(0)? { LostBy::Log } else { LostBy::Reading };
                    let problem: Option<String> = row.get(1)?;
                    Ok((by, problem.unwrap_or_else(|| LOST_BY_LOG.to_owned())))
                })
                .optional()
        })())
    }

    /// Records the packs that are missing, in which every chunk is lost, and those that are `truncated`, with the slots
    /// beyond their end. Packs that were missing before and are not among them exist again.
    pub fn set_missing(
        &self,
        packs: &[PackRowId],
        truncated: &[(PackRowId, Ordinals)],
    ) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            transaction
                .prepare_cached("DELETE FROM lost WHERE by_log = 0 AND problem IN (?, ?)")?
                .execute([MISSING, TRUNCATED])?;
            for pack in packs {
                let rows: Option<i64> = transaction
                    .prepare_cached("SELECT rows FROM packs WHERE key = ?")?
                    .query_row([pack.0], |row| row.get(0))
                    .optional()?;
                let count = rows.unwrap_or(0) as u64;
                if count == 0 {
                    continue;
                }
                let all = Ordinals::from_ranges([PackRange { first: 0, count }]);
                // Chunks that were found damaged stay recorded as damaged when the pack comes back.
                let rest = all.without(&slots(&transaction, *pack, LostBy::Reading)?);
                add(&transaction, *pack, LostBy::Reading, &rest, Some(MISSING))?;
            }
            for (pack, beyond) in truncated {
                let rest = beyond.without(&slots(&transaction, *pack, LostBy::Reading)?);
                add(&transaction, *pack, LostBy::Reading, &rest, Some(TRUNCATED))?;
            }
            transaction.commit()
        })())
    }

    /// Returns the slots of a pack in which chunks are lost.
    pub fn lost_slots(&self, pack: PackRowId, by: LostBy) -> Result<Ordinals, Error> {
        self.wrap(slots(&self.lock(), pack, by))
    }

    /// Returns the slots of a pack that a repair has marked as lost. Does not include slots that count as lost only
    /// because their writer is revoked.
    pub fn marked_lost(&self, pack: PackRowId) -> Result<Ordinals, Error> {
        self.wrap(marked(&self.lock(), pack))
    }

    /// Returns the packs in the log in which a repair has marked every chunk as lost. Nothing relies on them, so it
    /// does not matter whether their objects exist.
    pub fn lost_whole(&self) -> Result<HashSet<PackRowId>, Error> {
        let sql = "SELECT p.key FROM packs p JOIN lost l ON l.pack = p.key
            WHERE p.state = 2 AND p.rows > 0 AND l.by_log = 1 AND l.problem IS NULL
            GROUP BY p.key HAVING SUM(l.last - l.first + 1) >= p.rows";
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_map([], |row| row.get(0).map(PackRowId))?
                .collect()
        })())
    }

    /// Returns whether anything in a pack is lost.
    pub fn has_lost(&self, pack: PackRowId) -> Result<bool, Error> {
        let sql = "SELECT EXISTS(SELECT 1 FROM lost WHERE pack = ?)";
        let connection = self.lock();
        self.wrap((|| connection.prepare_cached(sql)?.query_row([pack.0], |row| row.get(0)))())
    }

    /// Returns the damage that this host found when it read packs that are alive: each pair of a pack and a problem
    /// once.
    pub fn found_lost(&self) -> Result<Vec<(PackRowId, String)>, Error> {
        let sql = "SELECT DISTINCT l.pack, l.problem FROM lost l JOIN packs p ON p.key = l.pack
            WHERE l.by_log = 0 AND p.state = 2 ORDER BY l.pack";
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(sql)?
                .query_map([], |row| {
                    let problem: Option<String> = row.get(1)?;
                    Ok((PackRowId(row.get(0)?), problem.unwrap_or_default()))
                })?
                .collect()
        })())
    }
}
