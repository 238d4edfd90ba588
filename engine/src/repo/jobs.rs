//! The journal of restores that wait for a thaw. It is stored in the catalog of this host and as
//! objects, so that another machine with the identity can continue a restore.
//!
//! A job is recorded before its first thaw is requested, and its record never changes. Separate
//! marks record its progress.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::Repository;
use super::reader::seconds_now;
use crate::codec::keys::random;
use crate::error::Error;
use crate::format::job::JOB_BYTES_MAX;
use crate::format::{JobHeader, JobId, JobRecord, Time};
use crate::store::{StoreErrorKind, Tier, layout};

/// Maximum number of open jobs of one repository that are read.
const JOBS_MAX: usize = 10_000;
/// Number of seconds for which the request of a thaw is recorded. Every thaw is over long before.
const REQUESTS_KEPT: i64 = 10 * 86_400;

/// A restore in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is restored, and how.
    pub record: JobRecord,
    /// Whether every thaw was requested once. Then a pack that is cold now had a thawed copy that
    /// has expired, and another thaw costs money again.
    pub asked: bool,
    /// When a thaw was last requested; if this host does not know that, when the job began.
    pub thaw: Time,
}

impl Job {
    /// Returns the tier of its thaws.
    pub fn tier(&self) -> Tier {
        self.record.tier
    }

    /// Returns whether the job itself has requested a thaw. Otherwise its objects may have been thawing already.
    pub fn has_asked(&self) -> bool {
        self.asked || self.thaw != self.record.created
    }
}

/// A job that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProblem {
    /// Name of the object.
    pub object: String,
    /// Why it cannot be read.
    pub reason: String,
}

/// The row of a job in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// The job record, sealed because it contains file names.
    pub object: Vec<u8>,
    /// Whether every thaw was requested.
    pub asked: bool,
    /// Whether it is over.
    pub ended: bool,
}

impl Repository {
    /// Records a job. The second value is false if the store refused the record, so that no other
    /// machine can find it.
    pub fn begin_job(&self, record: JobRecord) -> Result<(Job, bool), Error> {
        let id = JobId(random());
        let header = JobHeader { repository: self.config.repository, job: id, salt: random() };
        let object = self.identity()?.seal_job(&header, &record);
        if object.len() as u64 > JOB_BYTES_MAX {
            let reason = "its patterns and paths are too long".to_owned();
            return Err(Error::Input { what: "the restore".into(), reason });
        }
        let row = JobRow { id, object: object.clone(), asked: false, ended: false };
        let kept = self.put_mark(&layout::job_record(&id), object)?;
        self.here(kept, self.catalog.put_job(&row))?;
        let thaw = record.created;
        Ok((Job { id, record, asked: false, thaw }, kept))
    }

    /// Records on this host when a thaw of a job is requested, so that the next run can estimate
    /// when it will be done.
    pub fn job_thaws(&self, job: &mut Job, time: Time) -> Result<(), Error> {
        job.thaw = time;
        self.note_thaw(Some(&job.id), time)
    }

    /// Records when a check requests a thaw.
    pub fn check_thaws(&self, time: Time) -> Result<(), Error> {
        self.note_thaw(None, time)
    }

    /// Returns when a check of this host last requested a thaw.
    pub fn check_thaw(&self) -> Result<Option<Time>, Error> {
        self.catalog.noted_thaw(None)
    }

    /// Returns when thaws were requested by jobs other than `own` and by a check of this host, each with the tier in
    /// the job record. Ended jobs of this host are included, because their thaws continue.
    pub fn other_thaws(&self, own: Option<&JobId>) -> Result<Vec<(Time, Tier)>, Error> {
        let (jobs, _) = self.jobs()?;
        let jobs = jobs.into_iter().filter(|job| Some(&job.id) != own && job.has_asked());
        let mut thaws: Vec<(Time, Tier)> = jobs.map(|job| (job.thaw, job.tier())).collect();
        let identity = self.identity()?;
        for row in self.catalog.jobs()?.into_iter().filter(|row| row.ended && Some(&row.id) != own)
        {
            let record = identity.open_job(self.config.repository, row.id, &row.object);
            if let (Some(time), Ok(record)) = (self.catalog.noted_thaw(Some(&row.id))?, record) {
                thaws.push((time, record.tier));
            }
        }
        // The tier of a check is not recorded; bulk takes the longest.
        thaws.extend(self.check_thaw()?.map(|time| (time, Tier::Bulk)));
        Ok(thaws)
    }

    /// Records that thaws of objects are requested now.
    pub fn note_requests(&self, names: &[&str], tier: Tier) -> Result<(), Error> {
        let now = seconds_now();
        let request = (now, tier as u8);
        match self.catalog.note_requests(names, request, now.saturating_sub(REQUESTS_KEPT)) {
            // These times are only informative, so a failure of the catalog does not matter.
            Err(error) if error.is_of_cache() => Ok(()),
            noted => noted,
        }
    }

    /// Returns when this host last requested the thaw of an object, and with which tier. A thaw that another computer
    /// has requested is not known.
    pub fn noted_request(&self, name: &str) -> Result<Option<(Time, Tier)>, Error> {
        let noted = match self.catalog.noted_request(name) {
            Err(error) if error.is_of_cache() => None,
            noted => noted?,
        };
        Ok(noted.map(|(seconds, tier)| (Time { seconds, nanos: 0 }, Tier::of_number(tier))))
    }

    fn note_thaw(&self, job: Option<&JobId>, time: Time) -> Result<(), Error> {
        match self.catalog.note_thaw(job, time) {
            // This time is only informative, so a failure of the catalog does not matter.
            Err(error) if error.is_of_cache() => Ok(()),
            noted => noted,
        }
    }

    /// Returns the ids of jobs that are over: finished or cancelled.
    pub fn ended_jobs(&self) -> Result<BTreeSet<JobId>, Error> {
        Ok(self.job_ids()?.1)
    }

    /// Returns the ids of jobs that are not over, of any computer. Needs no identity. Without the right to list them,
    /// relies on the records of this host.
    pub fn open_jobs(&self) -> Result<BTreeSet<JobId>, Error> {
        match self.job_ids() {
            Ok((known, ended)) => Ok(known.difference(&ended).copied().collect()),
            Err(_) => {
                let rows = self.catalog.jobs()?.into_iter();
                Ok(rows.filter(|row| !row.ended).map(|row| row.id).collect())
            }
        }
    }

    /// Returns the ids of all jobs, and of those that are over.
    fn job_ids(&self) -> Result<(BTreeSet<JobId>, BTreeSet<JobId>), Error> {
        let rows = self.catalog.jobs()?;
        let mut ended: BTreeSet<JobId> =
            rows.iter().filter(|row| row.ended).map(|row| row.id).collect();
        let mut known: BTreeSet<JobId> = rows.iter().map(|row| row.id).collect();
        for object in self.store.list(layout::JOBS, None)? {
            known.extend(job_of(&object.name));
            ended.extend(id_of(&object.name, "/ended"));
        }
        Ok((known, ended))
    }

    /// Marks that every thaw of a job was requested.
    pub fn job_asked(&self, job: &mut Job) -> Result<(), Error> {
        job.asked = true;
        let kept = self.mark(job.id, layout::job_asked(&job.id))?;
        self.here(kept, self.catalog.mark_job(&job.id, true, false))
    }

    /// Marks that a job is over: finished or cancelled.
    pub fn end_job(&self, id: &JobId) -> Result<(), Error> {
        let kept = self.mark(*id, layout::job_ended(id))?;
        self.here(kept, self.catalog.mark_job(id, false, true))
    }

    /// If the store has the record, a failure of the catalog does not matter.
    fn here(&self, kept: bool, noted: Result<(), Error>) -> Result<(), Error> {
        match noted {
            Err(error) if kept && error.is_of_cache() => Ok(()),
            noted => noted,
        }
    }

    /// Acquires the lock of a job, so that only one process of this host works on the job; `None`
    /// if another process has it. The kernel releases the lock when the process ends.
    pub fn lock_job(&self, id: &JobId) -> Result<Option<std::fs::File>, Error> {
        self.catalog.try_lock(&format!("job-{id}.lock"))
    }

    /// Acquires the lock of a job, because two processes that fetch for one job would pay twice and interfere with each
    /// other.
    ///
    /// # Errors
    /// [`Error::JobInUse`] if another process of this host has it.
    pub fn claim_job(&self, id: &JobId) -> Result<std::fs::File, Error> {
        self.lock_job(id)?.ok_or(Error::JobInUse { job: *id })
    }

    /// Acquires the lock of a restore into a folder, given by its real path, so that only one process of this host runs
    /// it; `None` if another process has the lock.
    pub fn lock_restore(
        &self,
        target: &std::path::Path,
        record: &JobRecord,
    ) -> Result<Option<std::fs::File>, Error> {
        use std::os::unix::ffi::OsStrExt;
        let mut hasher = blake3::Hasher::new();
        hasher.update(target.as_os_str().as_bytes()).update(&plain(record).encode_padded());
        let hash = hasher.finalize().to_hex();
        self.catalog.try_lock(&format!("target-{}.lock", &hash[..16]))
    }

    /// Finds a job that the same command has begun.
    pub fn same_job(&self, record: &JobRecord) -> Result<Option<Job>, Error> {
        let wanted = plain(record);
        Ok(self.jobs()?.0.into_iter().find(|job| plain(&job.record) == wanted))
    }

    fn mark(&self, job: JobId, name: String) -> Result<bool, Error> {
        let header = JobHeader { repository: self.config.repository, job, salt: [0; 32] };
        self.put_mark(&name, header.encode())
    }

    /// Puts a small object; returns false if this role may not write. An existing object stays.
    fn put_mark(&self, name: &str, object: Vec<u8>) -> Result<bool, Error> {
        match self.store.create(name, "", Bytes::from(object)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == StoreErrorKind::Denied => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the jobs that are not over, oldest first, and those that cannot be read.
    pub fn jobs(&self) -> Result<(Vec<Job>, Vec<JobProblem>), Error> {
        let identity = self.identity()?;
        let rows = self.catalog.jobs()?;
        let listed = self.store.list(layout::JOBS, None)?;
        let names: BTreeSet<String> = listed.into_iter().map(|object| object.name).collect();
        let mut found: BTreeMap<JobId, JobRow> =
            rows.into_iter().map(|row| (row.id, row)).collect();
        let mut problems = Vec::new();
        let open = names.iter().filter_map(|name| Some((name, job_of(name)?)));
        let open = open.filter(|(_, id)| !names.contains(&layout::job_ended(id)));
        for (name, id) in open.take(JOBS_MAX) {
            if found.contains_key(&id) {
                continue;
            }
            match self.store.get(name, JOB_BYTES_MAX) {
                Ok(object) => {
                    let object = object.to_vec();
                    found.insert(id, JobRow { id, object, asked: false, ended: false });
                }
                Err(error) => {
                    problems.push(JobProblem { object: name.clone(), reason: error.reason });
                }
            }
        }
        let mut jobs = Vec::new();
        for (id, row) in found {
            if row.ended || names.contains(&layout::job_ended(&id)) {
                continue;
            }
            let asked = row.asked || names.contains(&layout::job_asked(&id));
            match identity.open_job(self.config.repository, id, &row.object) {
                Ok(record) => {
                    let thaw = self.catalog.noted_thaw(Some(&id))?.unwrap_or(record.created);
                    jobs.push(Job { id, record, asked, thaw });
                }
                Err(error) => {
                    let object = layout::job_record(&id);
                    problems.push(JobProblem { object, reason: error.to_string() });
                }
            }
        }
        jobs.sort_by_key(|job| (job.record.created, job.id));
        Ok((jobs, problems))
    }
}

/// Returns the fields of a record that are equal for the same restore.
fn plain(record: &JobRecord) -> JobRecord {
    JobRecord { created: Time::default(), days: 1, agreed_micro_usd: None, ..record.clone() }
}

/// Returns the id in the name of a job's record.
fn job_of(name: &str) -> Option<JobId> {
    id_of(name, "/record")
}

/// Returns the id in the name of an object of a job.
fn id_of(name: &str, object: &str) -> Option<JobId> {
    name.strip_prefix(layout::JOBS)?.strip_prefix('/')?.strip_suffix(object)?.parse().ok()
}
