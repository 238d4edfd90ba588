//! The state that all stages of a snapshot share: inputs, counts and reports, and how one stage
//! stops the others.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::dedup::Dedup;
use super::handover::lock;
use super::last::{Last, Saved};
use super::mounts::Mounts;
use super::options::SnapshotOptions;
use super::reread::Reread;
use super::roots::{self, Roots};
use super::stat_cache::now;
use super::totals::{SourceTotals, Totals};
use crate::codec::Cutter;
use crate::error::Error;
use crate::files::Exclude;
use crate::format::authority::Rights;
use crate::format::{Settings, Time};
use crate::progress::{Problem, Progress};
use crate::repo::Repository;

/// Kinds of rows in the stat cache, hashed into their keys with the path of a folder: the folder
/// itself, …
pub(super) const FOLDER: &[u8] = b"folder";
/// … the files that were in it before most of them disappeared, …
pub(super) const GONE: &[u8] = b"gone";
/// … and a folder above given paths.
pub(super) const GIVEN: &[u8] = b"given";

/// The warning for a file whose content has changed although its size and times have not.
const ROTTED_TEXT: &str =
    "its content has changed, but its size and its times have not: the disk may be failing";

/// How often a run that uploads checks whether its host has been revoked.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// What all stages of one attempt share.
pub(super) struct Context<'a> {
    pub repository: &'a Repository,
    pub options: &'a SnapshotOptions,
    pub exclude: &'a Exclude,
    pub settings: Settings,
    pub cutter: Cutter,
    /// When the attempt began. A file that has changed since then may change again without a
    /// visible change of its times.
    pub started: Time,
    pub roots: Roots,
    /// The last full snapshot, with which the new one is compared.
    pub last: Option<Last>,
    pub saved: Saved,
    pub reread: Reread,
    pub mounts: Mounts,
    pub dedup: Dedup,
    pub progress: &'a dyn Progress,
    totals: Mutex<Totals>,
    /// When the log was last read.
    looked: Mutex<Instant>,
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
}

impl<'a> Context<'a> {
    pub fn new(
        repository: &'a Repository,
        options: &'a SnapshotOptions,
        exclude: &'a Exclude,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let settings = repository.settings()?;
        // Keep the memory of the catalog small, because packs need it.
        repository.catalog.keep_little()?;
        if !options.dry_run {
            repository.catalog.compact(|| progress.check_interrupted())?;
        }
        let chunking = repository.config.chunking;
        let roots = roots::find(&options.paths, repository.store.location())?;
        let sources = vec![SourceTotals::default(); roots.paths.len()];
        Ok(Context {
            repository,
            options,
            exclude,
            cutter: Cutter::new(&repository.secrets, chunking, settings.small_file_bytes),
            settings,
            started: now(),
            last: Last::find(repository, options, &roots.paths)?,
            saved: Saved::find(repository)?,
            reread: Reread::find(repository, options, &roots.paths)?,
            mounts: Mounts::load(repository, options, &roots.paths)?,
            dedup: Dedup::new(&repository.catalog)?,
            roots,
            progress,
            totals: Mutex::new(Totals { sources, ..Totals::default() }),
            looked: Mutex::new(Instant::now()),
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    pub fn totals(&self) -> Totals {
        lock(&self.totals).clone()
    }

    /// Returns the totals of the whole run, compared with the last full snapshot.
    pub fn totals_of_run(&self) -> Totals {
        let totals = self.totals();
        match &self.last {
            Some(last) => totals.since(last.entry.files),
            None => totals,
        }
    }

    /// Fails if the owner has revoked this host since the log was last read. Reads the log only at intervals. A run may
    /// take days, and everything that it uploads after a revocation would be lost.
    pub fn expect_still_enrolled(&self) -> Result<(), Error> {
        let mut looked = lock(&self.looked);
        if looked.elapsed() < self.options.look_again.unwrap_or(LOOK_AGAIN) {
            return Ok(());
        }
        self.repository.expect_still(Rights::ADD)?;
        *looked = Instant::now();
        Ok(())
    }

    /// Returns the number of packs that were uploaded.
    pub fn packs_written(&self) -> u64 {
        lock(&self.totals).packs_written
    }

    pub fn count(&self, with: impl FnOnce(&mut Totals)) {
        with(&mut lock(&self.totals));
    }

    pub fn problem(&self, path: &Path, message: String) {
        self.progress.problem(Problem { path: path.to_owned(), message });
    }

    /// Reports a file that is not in the snapshot as it is on the disk.
    pub fn failed_file(&self, path: &Path, message: String) {
        self.count(|totals| totals.files_failed += 1);
        self.problem(path, message);
    }

    /// Counts and reports a file whose content has changed although its size and times have not.
    pub fn rotted_file(&self, path: &Path) {
        self.count(|totals| totals.files_rotted += 1);
        self.problem(path, ROTTED_TEXT.to_owned());
    }

    /// Counts and reports a file that is damaged on disk and is stored as it is.
    pub fn damaged_file(&self, path: &Path, message: String) {
        self.count(|totals| totals.damaged.push(path.to_owned()));
        self.problem(path, message);
    }

    /// Counts names that are left out as litter.
    pub fn count_litter(&self, names: u64) {
        self.count(|totals| totals.litter_left_out += names);
    }

    /// Records a path that is left out because it is on another file system.
    pub fn left_out(&self, path: PathBuf) {
        self.count(|totals| totals.mounts_left_out.push(path));
    }

    /// Records the path of the repository itself, which is left out.
    pub fn left_out_repository(&self, path: PathBuf) {
        self.count(|totals| totals.repository_left_out = Some(path));
    }

    /// Ends the attempt with an error. Only the first error is kept, because it is the cause of the
    /// others.
    pub fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.stop();
    }

    /// Ends the attempt: all stages stop.
    pub fn stop(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Returns the error that ended the attempt.
    pub fn failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    /// Returns whether the run must end, because of a failure or because the user interrupted it.
    pub fn stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.progress.interrupted()
    }

    /// Counts the files of a source.
    pub fn count_source(&self, source: usize, with: impl FnOnce(&mut SourceTotals)) {
        self.count(|totals| with(&mut totals.sources[source]));
    }

    /// Counts one file of a source.
    pub fn count_of_source(&self, source: usize, bytes: u64, same: bool, database: bool) {
        self.count_source(source, |totals| {
            totals.files += 1;
            totals.empty += u64::from(bytes == 0);
            totals.same += u64::from(bytes > 0 && same);
            totals.databases += u64::from(bytes > 0 && !same && database);
        });
    }

    /// Compacts the write buffer of the catalog, so that lookups stay fast.
    pub fn compact(&self) -> Result<(), Error> {
        self.dedup.compact(&self.repository.catalog, || self.progress.check_interrupted())
    }

    /// Returns the key of a folder in the stat cache, by its real path.
    pub fn folder_key(&self, what: &[u8], disk: &Path) -> i64 {
        let mut hasher = self.repository.secrets.local_hasher();
        let key = hasher.update(what).update(disk.as_os_str().as_bytes()).finalize();
        key.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// Returns the keyed hash that replaces a name in the stat cache.
    pub fn name_key(&self, name: &[u8]) -> [u8; 16] {
        let hash = self.repository.secrets.local_hasher().update(b"name").update(name).finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&hash.as_bytes()[..16]);
        key
    }
}
