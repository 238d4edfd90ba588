//! Stores the restore jobs that this host began or continued.

use rusqlite::params;

use super::{Catalog, schema};
use crate::error::Error;
use crate::format::{JobId, Time};
use crate::repo::jobs::JobRow;

impl Catalog {
    /// Records a job, or replaces its row.
    pub fn put_job(&self, row: &JobRow) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(connection.execute(
            "INSERT OR REPLACE INTO jobs(id, object, asked, ended) VALUES(?, ?, ?, ?)",
            params![&row.id.0[..], row.object, row.asked, row.ended],
        ))?;
        Ok(())
    }

    /// Adds marks to a job. A mark is never removed.
    pub fn mark_job(&self, id: &JobId, asked: bool, ended: bool) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(connection.execute(
            "UPDATE jobs SET asked = asked OR ?, ended = ended OR ? WHERE id = ?",
            params![asked, ended, &id.0[..]],
        ))?;
        Ok(())
    }

    /// Records when a thaw was last requested, for a job or for a check.
    pub fn note_thaw(&self, job: Option<&JobId>, time: Time) -> Result<(), Error> {
        let connection = self.lock();
        self.wrap(schema::set_meta(&connection, &thaw_key(job), &time.seconds.to_le_bytes()))
    }

    /// Returns when this host last requested a thaw, for a job or for a check.
    pub fn noted_thaw(&self, job: Option<&JobId>) -> Result<Option<Time>, Error> {
        let connection = self.lock();
        let noted = self.wrap(schema::get_meta(&connection, &thaw_key(job)))?;
        let seconds = noted.and_then(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?)));
        Ok(seconds.map(|seconds| Time { seconds, nanos: 0 }))
    }

    /// Records when thaws of objects were requested, and with which tier. Forgets requests from before `over`,
    /// whose thaws are over.
    pub fn note_requests(
        &self,
        names: &[&str],
        (time, tier): (i64, u8),
        over: i64,
    ) -> Result<(), Error> {
        // In this order of bytes, an older request is the smaller value.
        let value = [&time.to_be_bytes()[..], &[tier]].concat();
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "DELETE FROM meta WHERE key LIKE 'thaw of %' AND value < ?",
                [&over.to_be_bytes()[..]],
            )?;
            for name in names {
                schema::set_meta(&transaction, &request_key(name), &value)?;
            }
            transaction.commit()
        })())
    }

    /// Returns when this host last requested the thaw of an object, and with which tier.
    pub fn noted_request(&self, name: &str) -> Result<Option<(i64, u8)>, Error> {
        let connection = self.lock();
        let noted = self.wrap(schema::get_meta(&connection, &request_key(name)))?;
        Ok(noted.and_then(|bytes| {
            let (time, tier) = bytes.split_at_checked(8)?;
            Some((i64::from_be_bytes(time.try_into().ok()?), *tier.first()?))
        }))
    }

    /// Returns all jobs that this host knows, including those that are over.
    pub fn jobs(&self) -> Result<Vec<JobRow>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT id, object, asked, ended FROM jobs")?
                .query_map([], |row| {
                    let id: Vec<u8> = row.get(0)?;
                    Ok(JobRow {
                        id: JobId::try_from(&id[..]).map_err(|error| schema::bad(&error))?,
                        object: row.get(1)?,
                        asked: row.get(2)?,
                        ended: row.get(3)?,
                    })
                })?
                .collect()
        })())
    }
}

/// Returns the key in `meta` of the time when a thaw was requested.
fn thaw_key(job: Option<&JobId>) -> String {
    job.map_or_else(|| "thaw check".to_owned(), |id| format!("thaw {id}"))
}

/// Returns the key in `meta` of the request of the thaw of an object.
fn request_key(name: &str) -> String {
    format!("thaw of {name}")
}
