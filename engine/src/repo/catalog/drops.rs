//! Stores each statement that drops or undeletes a snapshot, so that a plan can show what the log would say without
//! those of a writer.

use rusqlite::{Connection, params};

use super::{Catalog, schema};
use crate::error::Error;
use crate::format::{SnapshotId, WriterId};

/// What would change if the entries of a writer, starting at a number, did not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Undone {
    /// Dropped snapshots that would be visible. Those that these entries have added are not included, because they would
    /// be set apart.
    pub back: u64,
    /// Visible snapshots that would be dropped.
    pub dropped_again: u64,
}

impl Catalog {
    /// Returns what would change if the entries of a writer, starting at a number, dropped and undeleted nothing. The
    /// last of the other statements about a snapshot decides.
    pub fn without(&self, writer: &WriterId, from: u64) -> Result<Undone, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection.prepare_cached(WITHOUT)?.query_row(
                params![&writer.0[..], schema::signed(from)],
                |row| {
                    let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
                    Ok(Undone { back: number(0)?, dropped_again: number(1)? })
                },
            )
        })())
    }
}

/// What changes without the entries of a writer (?1) from a number on (?2). A snapshot that is set apart stays apart.
const WITHOUT: &str = "
    WITH own AS (SELECT number FROM authors WHERE writer = ?1 AND number >= ?2),
    found AS (
        SELECT dropped > 0 AS is_dropped, COALESCE(
            (SELECT drops FROM drops WHERE snapshot = snapshots.place AND number NOT IN (SELECT number FROM own)
             ORDER BY key DESC LIMIT 1), 0) AS would_be
        FROM snapshots
        WHERE place IN (SELECT snapshot FROM drops WHERE number IN (SELECT number FROM own))
        AND apart = 0 AND (writer <> ?1 OR number < ?2))
    SELECT COALESCE(SUM(is_dropped AND NOT would_be), 0), COALESCE(SUM(would_be AND NOT is_dropped), 0) FROM found";

/// Records that an entry drops or undeletes a snapshot, before that is applied. `changes` is false if the snapshot was
/// dropped or visible already.
pub(super) fn remember(
    connection: &Connection,
    number: u64,
    id: &SnapshotId,
    drops: bool,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO drops(number, snapshot, drops, changes)
             SELECT ?1, place, ?2, (dropped > 0) <> ?2 FROM snapshots WHERE id = ?3",
        )?
        .execute(params![schema::signed(number), drops, &id.0[..]])?;
    Ok(())
}
