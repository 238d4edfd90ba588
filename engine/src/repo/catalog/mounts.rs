//! The disks that were mounted below sources in the newest snapshot. Only this host knows them.

use rusqlite::params;

use super::{Catalog, schema};
use crate::error::Error;
use crate::format::SnapshotId;

impl Catalog {
    /// Returns the key of each mount point in the stat cache, the files below it, and the newest snapshot that has them.
    pub fn mounts(&self) -> Result<Vec<(i64, u64, SnapshotId)>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT key, files, snapshot FROM mounts")?
                .query_map([], |row| {
                    let id: Vec<u8> = row.get(2)?;
                    let id = SnapshotId::try_from(&id[..]).map_err(|error| schema::bad(&error))?;
                    Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, id))
                })?
                .collect()
        })())
    }

    /// Records the mount points of a snapshot, and forgets those of which no snapshot has files.
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
