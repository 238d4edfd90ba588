//! Progress reporting. The engine calls [`Progress`] and never prints.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::error::Error;

/// A wait for another process of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The other process, as a noun phrase: `another run on this host`.
    pub what: &'static str,
    /// Time since the wait began.
    pub waited: Duration,
    /// The process that has the lock; `None` where the system does not show it.
    pub holder: Option<Holder>,
}

/// The process that has a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id on this host.
    pub process: u32,
    /// When it acquired the lock, if it recorded that.
    pub since: Option<SystemTime>,
}

/// A failure of one file or object that did not stop the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the file or name of the object; empty if neither is known.
    pub path: PathBuf,
    /// What went wrong, without the path.
    pub message: String,
}

/// Unit in which a stage counts its work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Files on a disk.
    #[default]
    Files,
    /// Objects of the store: packs, log entries, checkpoints.
    Objects,
    /// Snapshots whose trees are read.
    Snapshots,
}

/// Receives progress reports, from many threads.
///
/// A stage announces its work and then does it. The total of a stage is final after [`Progress::expect`] or
/// [`Progress::counted`]; until then, it covers only the work found so far. A stage that announces nothing has no
/// total.
pub trait Progress: Send + Sync {
    /// Begins the next stage, named `what`. Earlier counts belong to the previous stage.
    fn stage(&self, _what: &str) {}
    /// Announces work of the stage. May be called repeatedly.
    fn found(&self, _unit: Unit, _count: u64, _bytes: u64) {}
    /// Ends the announcements of the stage.
    fn counted(&self) {}
    /// Announces all work of the stage at once.
    fn expect(&self, unit: Unit, count: u64, bytes: u64) {
        self.found(unit, count, bytes);
        self.counted();
    }
    /// Returns whether totals are shown; finding them costs a second scan.
    fn wants_totals(&self) -> bool {
        false
    }
    /// Reports finished work, in the unit of the stage and in bytes. Bytes of a file may come before the file itself.
    fn advance(&self, _count: u64, _bytes: u64) {}
    /// Reports content that was added to a pack but is not uploaded yet: its size in the files, and its size in the
    /// pack.
    fn queued(&self, _file_bytes: u64, _pack_bytes: u64) {}
    /// Reports that a file or object failed and the run continues.
    fn problem(&self, _problem: Problem) {}
    /// Reports that uploads of packs begin, or that they end if the numbers are negative. An interrupted run still
    /// finishes the uploads that have begun.
    fn uploads(&self, _packs: i64, _bytes: i64) {}
    /// Reports a wait for another process. It is called repeatedly while the wait lasts; an error ends the wait.
    fn waits(&self, _wait: &Wait) -> Result<(), Error> {
        self.check_interrupted()
    }
    /// Reports that a wait is over.
    fn waited(&self) {}
    /// Returns whether to stop the run. The engine calls this often; the run stops as soon as nothing would be left
    /// half done.
    fn interrupted(&self) -> bool {
        false
    }
    /// Checks that the run was not interrupted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if [`Progress::interrupted`] returns true.
    fn check_interrupted(&self) -> Result<(), Error> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Ignores all reports, and never interrupts a run.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
