//! Records the disks that were mounted below sources in the newest snapshot. Only this host knows
//! them.

use rusqlite::params;

use super::{Catalog, schema};
use crate::error::Error;
use crate::format::SnapshotId;

/// A disk that was mounted below a source.
#[derive(Debug, Clone, Copy)]
pub struct MountRow {
    /// Key of its mount point in the stat cache.
    pub key: i64,
    /// Number of files below it.
    pub files: u64,
    /// The newest snapshot that contains these files.
    pub snapshot: SnapshotId,
}

impl Catalog {
    /// Returns the disks that were mounted.
    pub fn mounts(&self) -> Result<Vec<MountRow>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT key, files, snapshot FROM mounts")?
                .query_map([], |row| {
                    let id: Vec<u8> = row.get(2)?;
                    let snapshot = SnapshotId::try_from(&id[..]);
                    let snapshot = snapshot.map_err(|error| schema::bad(&error))?;
                    let (key, files) = (row.get(0)?, row.get::<_, i64>(1)? as u64);
                    Ok(MountRow { key, files, snapshot })
                })?
                .collect()
        })())
    }

    /// Records the mount points of a snapshot, and deletes mount points from which no snapshot
    /// contains files.
    pub fn put_mounts(&self, mounts: &[(i64, u64)], snapshot: &SnapshotId) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for (key, files) in mounts {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO mounts(key, files, snapshot) VALUES(?, ?, ?)",
                    )?
                    .execute(params![key, schema::signed(*files), &snapshot.0[..]])?;
            }
            transaction.execute(
                "DELETE FROM mounts WHERE files = 0
                 OR snapshot NOT IN (SELECT id FROM snapshots WHERE dropped = 0)",
                [],
            )?;
            transaction.commit()
        })())
    }
}
