//! Stores the visible and the dropped snapshots.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, params};

use super::{Catalog, Standing, drops, schema};
use crate::error::Error;
use crate::format::{
    LogEntry, Ordinals, PackRange, ROTTED, Replaced, SnapshotEntry, SnapshotId, Tagged, WriterId,
};

/// Result of a comparison of a snapshot's trees with those of the snapshot before: it is no smaller, …
const FULL: i64 = 1;
/// … or it has less than half as many files.
const HAS_SHRUNK: i64 = 2;

/// A snapshot in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// What the log says about it.
    pub entry: SnapshotEntry,
    /// Number of the log entry that added it.
    pub number: u64,
    /// The author of the entry that added it.
    pub writer: WriterId,
    /// Whether the owner has accepted it as it is.
    pub accepted: bool,
    /// Whether it is set apart because its writer is revoked.
    pub apart: bool,
}

impl SnapshotRow {
    /// Returns whether the snapshot is marked, because many files are missing or because some were corrupted on disk,
    /// and the owner has not accepted it.
    pub fn is_marked(&self) -> bool {
        self.entry.marked.is_some() && !self.accepted
    }

    /// Returns whether the snapshot is marked because files in it were corrupted on disk. A mark has only one reason,
    /// so missing files are not the reason here.
    pub fn is_rotted(&self) -> bool {
        self.is_marked() && self.entry.marked == Some(ROTTED)
    }
}

impl Catalog {
    /// Returns the snapshots that are not dropped, in the order of the log, which does not depend on clocks.
    pub fn snapshots(&self) -> Result<Vec<SnapshotRow>, Error> {
        self.wrap(rows(&self.lock(), false, Some(false)))
    }

    /// Returns the snapshots that were dropped, in the order of the log, including those that were set apart before.
    pub fn dropped_snapshots(&self) -> Result<Vec<SnapshotRow>, Error> {
        self.wrap(rows(&self.lock(), true, None))
    }

    /// Returns the snapshots that are set apart because their writer is revoked.
    pub fn apart_snapshots(&self) -> Result<Vec<SnapshotRow>, Error> {
        self.wrap(rows(&self.lock(), false, Some(true)))
    }

    /// Records that the trees of some snapshots were compared with those of earlier ones: which are no smaller, and
    /// which have shrunk.
    pub fn set_compared<'a>(
        &self,
        full: &[SnapshotId],
        shrunk: impl IntoIterator<Item = &'a SnapshotId>,
    ) -> Result<(), Error> {
        let full = full.iter().map(|id| (id, FULL));
        let found = full.chain(shrunk.into_iter().map(|id| (id, HAS_SHRUNK)));
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for (id, how) in found {
                transaction
                    .prepare_cached("UPDATE snapshots SET compared = ? WHERE id = ?")?
                    .execute(params![how, &id.0[..]])?;
            }
            transaction.commit()
        })())
    }

    /// Returns the snapshots that [`Catalog::set_compared`] recorded as no smaller.
    pub fn compared(&self) -> Result<HashSet<SnapshotId>, Error> {
        self.found(FULL)
    }

    /// Returns the snapshots that [`Catalog::set_compared`] recorded as shrunk. The owner may have accepted them since
    /// then.
    pub fn shrunk(&self) -> Result<HashSet<SnapshotId>, Error> {
        self.found(HAS_SHRUNK)
    }

    fn found(&self, how: i64) -> Result<HashSet<SnapshotId>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT id FROM snapshots WHERE compared = ?")?
                .query_map([how], |row| {
                    let id: Vec<u8> = row.get(0)?;
                    SnapshotId::try_from(&id[..]).map_err(|error| schema::bad(&error))
                })?
                .collect()
        })())
    }

    /// Returns whether a snapshot is in the log.
    pub fn has_snapshot(&self, id: &SnapshotId) -> Result<bool, Error> {
        let connection = self.lock();
        self.wrap(connection.query_row(
            "SELECT EXISTS(SELECT 1 FROM snapshots WHERE id = ?)",
            [&id.0[..]],
            |row| row.get(0),
        ))
    }

    /// Returns the number of the log entry that dropped each dropped snapshot.
    pub fn drops(&self) -> Result<HashMap<SnapshotId, u64>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT id, dropped FROM snapshots WHERE dropped > 0")?
                .query_map([], |row| {
                    let id: Vec<u8> = row.get(0)?;
                    let id = SnapshotId::try_from(&id[..]).map_err(|error| schema::bad(&error))?;
                    Ok((id, row.get::<_, i64>(1)? as u64))
                })?
                .collect()
        })())
    }

    /// Counts the snapshots that were dropped and not undeleted.
    pub fn dropped_count(&self) -> Result<u64, Error> {
        let sql = "SELECT COUNT(*) FROM snapshots WHERE dropped > 0";
        let count: i64 = self.wrap(self.lock().query_row(sql, [], |row| row.get(0)))?;
        Ok(count as u64)
    }
}

/// Applies the snapshots that a log entry adds.
pub(super) fn add(
    connection: &Connection,
    number: u64,
    entry: &LogEntry,
    standing: Standing,
) -> rusqlite::Result<()> {
    for snapshot in &entry.snapshots {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO snapshots(id, number, dropped, rank, entry, writer, apart)
                 VALUES(?, ?, 0, (SELECT COALESCE(MAX(place), 0) + 1 FROM snapshots), ?, ?, ?)",
            )?
            .execute(params![
                &snapshot.id.0[..],
                number as i64,
                encode(snapshot),
                &standing.author.0[..],
                standing.revoked
            ])?;
    }
    Ok(())
}

/// Applies the changes in a log entry to existing snapshots (spec section 6.2).
pub(super) fn apply(
    connection: &Connection,
    number: u64,
    entry: &LogEntry,
) -> rusqlite::Result<()> {
    for Replaced { new, old } in entry.replaced.iter().flatten() {
        let found = connection
            .prepare_cached(
                "UPDATE snapshots SET rank = old.rank FROM (SELECT rank FROM snapshots WHERE id = ?1) AS old
                 WHERE id = ?2",
            )?
            .execute([&old.0[..], &new.0[..]])?;
        if found > 0 {
            drop_snapshot(connection, number, old)?;
        }
    }
    for Tagged { snapshot, tags } in entry.tagged.iter().flatten() {
        retag(connection, snapshot, tags)?;
    }
    for id in &entry.dropped {
        drop_snapshot(connection, number, id)?;
    }
    for id in &entry.undropped {
        drops::remember(connection, number, id, false)?;
        connection
            .prepare_cached("UPDATE snapshots SET dropped = 0 WHERE id = ?")?
            .execute([&id.0[..]])?;
    }
    for id in entry.accepted.iter().flatten() {
        connection
            .prepare_cached("UPDATE snapshots SET accepted = 1 WHERE id = ?")?
            .execute([&id.0[..]])?;
    }
    if entry.moved.is_empty() {
        return Ok(());
    }
    let moves: BTreeMap<u64, &[PackRange]> =
        entry.moved.iter().map(|moved| (moved.from, &moved.to[..])).collect();
    let mut gone: Vec<u64> = Vec::new();
    for mut snapshot in rows(connection, false, Some(false))?.into_iter().map(|row| row.entry) {
        let before = Ordinals::from_ranges(snapshot.packs.iter().copied());
        let mut more: Vec<PackRange> = Vec::new();
        for (from, to) in moves.iter().filter(|(from, _)| before.contains(**from)) {
            gone.push(*from);
            more.extend(*to);
        }
        if !gone.is_empty() {
            more.extend(before.without(&gone.drain(..).collect()).ranges());
            snapshot.packs = Ordinals::from_ranges(more).ranges();
            connection
                .prepare_cached("UPDATE snapshots SET entry = ? WHERE id = ?")?
                .execute(params![encode(&snapshot), &snapshot.id.0[..]])?;
        }
    }
    Ok(())
}

/// Drops a snapshot. If it is dropped twice, the first entry counts.
fn drop_snapshot(connection: &Connection, number: u64, id: &SnapshotId) -> rusqlite::Result<()> {
    drops::remember(connection, number, id, true)?;
    connection
        .prepare_cached("UPDATE snapshots SET dropped = ? WHERE id = ? AND dropped = 0")?
        .execute(params![number as i64, &id.0[..]])?;
    Ok(())
}

/// Replaces the tags of a snapshot.
fn retag(connection: &Connection, id: &SnapshotId, tags: &[String]) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached("SELECT entry FROM snapshots WHERE id = ?")?;
    let mut found = select.query([&id.0[..]])?;
    let Some(row) = found.next()? else { return Ok(()) };
    let mut entry = decode(&row.get::<_, Vec<u8>>(0)?)?;
    entry.tags = tags.to_vec();
    connection
        .prepare_cached("UPDATE snapshots SET entry = ? WHERE id = ?")?
        .execute(params![encode(&entry), &id.0[..]])?;
    Ok(())
}

fn decode(entry: &[u8]) -> rusqlite::Result<SnapshotEntry> {
    minicbor::decode(entry).map_err(|error| schema::bad(&error))
}

fn encode(entry: &SnapshotEntry) -> Vec<u8> {
    minicbor::to_vec(entry).expect("encoding into memory does not fail")
}

/// Reads the snapshots that are dropped, or those that are not. `apart` restricts this to those that are set apart,
/// or to those that are not.
pub(super) fn rows(
    connection: &Connection,
    dropped: bool,
    apart: Option<bool>,
) -> rusqlite::Result<Vec<SnapshotRow>> {
    connection
        .prepare_cached(
            "SELECT number, entry, accepted, writer, apart FROM snapshots
             WHERE (dropped > 0) = ?1 AND apart = COALESCE(?2, apart) ORDER BY rank, place",
        )?
        .query_map(params![dropped, apart], |row| {
            let entry = decode(&row.get::<_, Vec<u8>>(1)?)?;
            let (number, accepted) = (row.get::<_, i64>(0)? as u64, row.get(2)?);
            let writer: Vec<u8> = row.get(3)?;
            let writer = WriterId::try_from(&writer[..]).map_err(|error| schema::bad(&error))?;
            Ok(SnapshotRow { entry, number, writer, accepted, apart: row.get(4)? })
        })?
        .collect()
}
