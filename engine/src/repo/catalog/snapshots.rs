//! Snapshots, visible and dropped.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{Catalog, schema};
use crate::error::Error;
use crate::format::{LogEntry, Ordinals, PackRange, SnapshotEntry, SnapshotId};

/// A snapshot as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub entry: SnapshotEntry,
    /// The log entry that added it.
    pub number: u64,
}

impl Catalog {
    /// Returns the snapshots that are not dropped, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotRow>, Error> {
        self.snapshots_where(false)
    }

    /// Returns the snapshots that were dropped, oldest first.
    pub fn dropped_snapshots(&self) -> Result<Vec<SnapshotRow>, Error> {
        self.snapshots_where(true)
    }

    fn snapshots_where(&self, dropped: bool) -> Result<Vec<SnapshotRow>, Error> {
        let mut rows = self.wrap(rows(&self.lock(), dropped))?;
        rows.sort_by_key(|row| (row.entry.time, row.number));
        Ok(rows)
    }

    pub fn has_snapshot(&self, id: &SnapshotId) -> Result<bool, Error> {
        let connection = self.lock();
        self.wrap(connection.query_row(
            "SELECT EXISTS(SELECT 1 FROM snapshots WHERE id = ?)",
            [&id.0[..]],
            |row| row.get(0),
        ))
    }

    /// Counts the snapshots that were ever dropped and are not back.
    pub fn dropped_count(&self) -> Result<u64, Error> {
        let sql = "SELECT COUNT(*) FROM snapshots WHERE dropped = 1";
        let count: i64 = self.wrap(self.lock().query_row(sql, [], |row| row.get(0)))?;
        Ok(count as u64)
    }
}

/// Takes in what a log entry says of snapshots (spec section 6.2).
pub(super) fn apply(
    connection: &Connection,
    number: u64,
    entry: &LogEntry,
) -> rusqlite::Result<()> {
    for snapshot in &entry.snapshots {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO snapshots(id, number, dropped, entry) VALUES(?, ?, 0, ?)",
            )?
            .execute(params![&snapshot.id.0[..], number as i64, encode(snapshot)])?;
    }
    for (ids, dropped) in [(&entry.dropped, true), (&entry.undropped, false)] {
        for id in ids {
            connection
                .prepare_cached("UPDATE snapshots SET dropped = ? WHERE id = ?")?
                .execute(params![dropped, &id.0[..]])?;
        }
    }
    if entry.moved.is_empty() {
        return Ok(());
    }
    let moves: BTreeMap<u64, &[PackRange]> =
        entry.moved.iter().map(|moved| (moved.from, &moved.to[..])).collect();
    let mut gone: Vec<u64> = Vec::new();
    for mut snapshot in rows(connection, false)?.into_iter().map(|row| row.entry) {
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

fn encode(entry: &SnapshotEntry) -> Vec<u8> {
    minicbor::to_vec(entry).expect("encoding into memory does not fail")
}

fn rows(connection: &Connection, dropped: bool) -> rusqlite::Result<Vec<SnapshotRow>> {
    connection
        .prepare_cached("SELECT number, entry FROM snapshots WHERE dropped = ?")?
        .query_map([dropped], |row| {
            let entry: Vec<u8> = row.get(1)?;
            let entry = minicbor::decode(&entry).map_err(|error| schema::bad(&error))?;
            Ok(SnapshotRow { number: row.get::<_, i64>(0)? as u64, entry })
        })?
        .collect()
}
