//! Restores that wait for a thaw: begins, lists, continues and cancels them.
//!
//! A job is recorded in the archive before its first thaw is requested, so a run that is killed loses nothing that was
//! paid for, and any computer with the key can continue it:
//!
//! ```text
//! plan_restore ──► quote ──► the user agrees ──► begin_job ──► thaw_job ──► (hours) ──► continue_job
//!                                        jobs ──► request_of ──► plan_restore ──► consent_need ──┘
//! ```
//!
//! ```
//! use icecore_engine::archive::*;
//! # fn main() -> Result<(), Error> {
//! # let temp = tempfile::tempdir().expect("a temporary folder");
//! # let url = temp.path().join("archive");
//! # let place = Place::new(url.to_str().expect("a path"), &temp.path().join("state"))?;
//! # let now = Time::from(std::time::SystemTime::now());
//! # let (archive, _) = Archive::init(&place, InitOptions::new("a long password", now))?;
//! # let photos = std::fs::canonicalize("examples").expect("a folder");
//! # archive.snapshot(&SnapshotOptions::of([photos], "nas", now), &Silent)?;
//! let mut request = RestoreRequest { snapshot: "latest".into(), ..RestoreRequest::default() };
//! request.options.target = temp.path().join("restored");
//! let mut plan = archive.plan_restore(&request, &Silent)?;
//! let quote = archive.quote(&plan, Tier::Bulk, &Prices::built_in(None));
//! // Show the quote, and ask the user.
//! let agreed_usd = Some(quote.bill.total_usd());
//! let terms = JobTerms { tier: Tier::Bulk, agreed_usd, host: "nas".into(), time: now };
//! let mut job = archive.begin_job(&request, &plan, &terms)?;
//! archive.thaw_job(&mut job, &mut plan, now, &Silent)?;
//!
//! // Hours later, perhaps in another process:
//! let job = &archive.jobs()?.open[0];
//! let request = archive.request_of(job);
//! let plan = archive.plan_restore(&request, &Silent)?;
//! let quote = archive.quote(&plan, job.tier(), &Prices::built_in(None));
//! # assert_eq!(plan.states().cold, 0);
//! if plan.states().cold == 0 || archive.consent_need(job, &quote, now).is_none() {
//!     let restored = archive.continue_job(job, &request, &plan, &Silent)?;
//!     assert_eq!(restored.files_waiting, 0);
//! }
//! assert!(archive.jobs()?.open.is_empty());
//! # let job = archive.begin_job(&request, &plan, &terms)?;
//! # archive.cancel(job.id)?;
//! # assert!(archive.jobs()?.open.is_empty());
//! # Ok(())
//! # }
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Archive, RestoreRequest};
use crate::error::Error;
use crate::format::{JobId, JobRecord, Time};
use crate::ops::cold::Quote;
use crate::ops::restore::{
    self, ConsentNeed, ContinuedJob, RestoreOptions, RestorePlan, RestoreSummary, agreed_micro_usd,
};
use crate::progress::Progress;
use crate::repo::{Job, JobProblem};
use crate::store::Tier;

/// To what the user has agreed, and who began the restore.
#[derive(Debug, Clone)]
pub struct JobTerms {
    /// The tier of the thaw.
    pub tier: Tier,
    /// The price to which the user has agreed, in US dollars; `None` if it is unknown.
    pub agreed_usd: Option<f64>,
    /// The name of this computer.
    pub host: String,
    /// When the restore begins.
    pub time: Time,
}

/// The restores that wait.
#[derive(Debug, Clone, Default)]
pub struct JobList {
    /// Those that are not over, oldest first.
    pub open: Vec<Job>,
    /// Records that cannot be read.
    pub problems: Vec<JobProblem>,
}

impl Archive {
    /// Lists the restores that wait for a thaw, of every computer.
    ///
    /// # Errors
    /// [`Error::NeedsIdentity`] if the archive is not open for reading, [`Error::Store`] if the jobs cannot be listed.
    pub fn jobs(&self) -> Result<JobList, Error> {
        let (open, problems) = self.repository.jobs()?;
        Ok(JobList { open, problems })
    }

    /// Records a restore, before [`Archive::thaw_job`] requests its thaws. If the credentials may not write under
    /// `jobs/`, only this computer can continue it. A seed is not recorded.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`] or [`Error::AmbiguousSnapshot`] if the name of the snapshot matches none or several,
    /// [`Error::Input`] if paths and patterns are too long for a record (1 MiB), [`Error::NeedsIdentity`] if the archive
    /// is not open for reading.
    pub fn begin_job(
        &self,
        request: &RestoreRequest,
        plan: &RestorePlan,
        terms: &JobTerms,
    ) -> Result<Job, Error> {
        let RestoreRequest { snapshot, path, include, exclude, options } = request;
        let row = crate::ops::browse::resolve(&self.repository, snapshot)?;
        let target = restore::real_path(&options.target);
        let record = JobRecord {
            snapshot: row.entry.id,
            created: terms.time,
            host: terms.host.clone(),
            path: super::restore::inside(path).into(),
            include: include.clone(),
            exclude: exclude.clone(),
            target: target.as_os_str().as_bytes().to_vec().into(),
            overwrite: options.overwrite.into(),
            delete: options.delete,
            verify: options.verify,
            tier: terms.tier,
            days: plan.days(),
            seeds: Vec::new(),
            agreed_micro_usd: agreed_micro_usd(terms.agreed_usd, None),
            special: options.special.then_some(true),
        };
        Ok(self.repository.begin_job(record)?.0)
    }

    /// Requests a thaw of every frozen pack of the plan of a job, for the days and in the tier of its record. This call
    /// incurs the cost to which the user has agreed. Packs that are thawing are not requested twice.
    ///
    /// # Errors
    /// [`Error::JobInUse`] if another process of this computer works on the job, [`Error::Store`] if the store refuses a
    /// thaw; the plan says which packs are thawing.
    pub fn thaw_job(
        &self,
        job: &mut Job,
        plan: &mut RestorePlan,
        time: Time,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let _lock = self.repository.claim_job(&job.id)?;
        self.repository.job_thaws(job, time)?;
        let (tier, days) = (job.tier(), job.record.days);
        restore::thaw(&self.repository, plan, tier, days, progress)?;
        self.repository.job_asked(job)
    }

    /// Returns the request with which a job continues: plan it again to see what is readable now. Files are deleted in
    /// the target only by the run that begins a restore, because others may have added some since. On another computer,
    /// set a target that exists there.
    pub fn request_of(&self, job: &Job) -> RestoreRequest {
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        let record = &job.record;
        let options = RestoreOptions {
            target: path(&record.target),
            overwrite: record.overwrite.into(),
            verify: record.verify,
            special: record.special == Some(true),
            resume: true,
            ..RestoreOptions::default()
        };
        RestoreRequest {
            snapshot: record.snapshot.to_string(),
            path: path(&record.path),
            include: record.include.clone(),
            exclude: record.exclude.clone(),
            options,
        }
    }

    /// Returns why the user must agree again before frozen packs of a job are thawed: a price above the agreed one, or
    /// copies that were paid for and have expired. `None` if the consent of the first day is enough. `quote` is the
    /// price of the rest.
    pub fn consent_need(&self, job: &Job, quote: &Quote, now: Time) -> Option<ConsentNeed> {
        let usd = Some(quote.bill.total_usd());
        ContinuedJob { job, usd, hours: quote.hours, now }.need()
    }

    /// Restores what can be read now, and ends the job if nothing is left to wait for. `plan` is the latest plan of
    /// `request`, which is that of [`Archive::request_of`] or differs in its target.
    ///
    /// # Errors
    /// As [`Archive::restore`], and [`Error::JobInUse`] if another process of this computer works on the job.
    pub fn continue_job(
        &self,
        job: &Job,
        request: &RestoreRequest,
        plan: &RestorePlan,
        progress: &dyn Progress,
    ) -> Result<RestoreSummary, Error> {
        let _lock = self.repository.claim_job(&job.id)?;
        let mut request = request.clone();
        request.options.unreadable = Arc::new(plan.unreadable());
        let done = self.restore(&request, progress)?;
        if done.is_over() {
            self.repository.end_job(&job.id)?;
        }
        Ok(done)
    }

    /// Cancels a job. Restored files stay, and thawed copies expire by themselves.
    ///
    /// # Errors
    /// [`Error::JobInUse`] if another process of this computer works on the job, [`Error::Store`] or [`Error::Catalog`]
    /// if neither the archive nor this computer can record that it is over.
    pub fn cancel(&self, job: JobId) -> Result<(), Error> {
        let _lock = self.repository.claim_job(&job)?;
        self.repository.end_job(&job)
    }
}
