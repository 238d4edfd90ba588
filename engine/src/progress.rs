//! Reports of the engine about its work. The engine never prints.

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
    /// When it took the lock, if it has noted that.
    pub since: Option<SystemTime>,
}

/// Something that went wrong with one file and did not stop the run.
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

/// Receives progress, from many threads.
///
/// The work of a stage is announced, then done. Its total is final after [`Progress::expect`], or after
/// [`Progress::counted`]; before that it is only what was found so far. A stage that announces nothing has no total.
pub trait Progress: Send + Sync {
    /// Begins another stage, named `what`. All counts so far belong to the stage before.
    fn stage(&self, _what: &str) {}
    /// Announces work of the stage; more may follow.
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
    /// Reports content that became part of a pack, which is uploaded later: bytes of files, and bytes in the pack.
    fn queued(&self, _file_bytes: u64, _pack_bytes: u64) {}
    /// Reports that a file or object failed and the run continues.
    fn problem(&self, _problem: Problem) {}
    /// Reports uploads of packs that begin, or that end if the numbers are negative. An interrupted run still finishes
    /// those that have begun.
    fn uploads(&self, _packs: i64, _bytes: i64) {}
    /// Reports a wait for another process. It is called repeatedly while the wait lasts; an error ends the wait.
    fn waits(&self, _wait: &Wait) -> Result<(), Error> {
        self.go_on()
    }
    /// Reports that a wait is over.
    fn waited(&self) {}
    /// Returns whether to stop the run. It is called often; the run stops as soon as nothing is left half done.
    fn interrupted(&self) -> bool {
        false
    }
    /// Checks that the run was not interrupted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if [`Progress::interrupted`] returns true.
    fn go_on(&self) -> Result<(), Error> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Ignores all reports, and never interrupts a run.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
