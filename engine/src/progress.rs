//! What a verb reports about its work. The engine never prints.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::error::Error;

/// A wait for another process of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub what: &'static str,
    pub waited: Duration,
    /// `None` where the system does not say.
    pub holder: Option<Holder>,
}

/// The process that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    /// Since when it is at work, if it said so.
    pub since: Option<SystemTime>,
}

/// Something that went wrong with one file and did not stop the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub message: String,
}

/// What a stage counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    #[default]
    Files,
    /// Objects of the store: packs, log entries, checkpoints.
    Objects,
    Snapshots,
}

/// Receives progress, from many threads.
///
/// The work of a stage is announced, then done. Its total is final after [`Progress::expect`], or after
/// [`Progress::counted`]; before that it is only what was found so far. A stage that announces nothing has no total.
pub trait Progress: Send + Sync {
    /// Another stage begins: what was counted so far belongs to the one before.
    fn stage(&self, _what: &str) {}
    /// More work was found, and there may be more.
    fn found(&self, _unit: Unit, _count: u64, _bytes: u64) {}
    /// All work of this stage was found.
    fn counted(&self) {}
    /// All work of this stage is known.
    fn expect(&self, unit: Unit, count: u64, bytes: u64) {
        self.found(unit, count, bytes);
        self.counted();
    }
    /// Returns whether totals are shown; finding them costs a second scan.
    fn wants_totals(&self) -> bool {
        false
    }
    /// Work was done: so many of what the stage counts, and so many bytes of the total. Bytes of a file may come
    /// before the file itself.
    fn advance(&self, _count: u64, _bytes: u64) {}
    /// Content became part of a pack that is uploaded later: bytes of files, and bytes in the pack.
    fn queued(&self, _file_bytes: u64, _pack_bytes: u64) {}
    fn problem(&self, _problem: Problem) {}
    /// Packs have begun (or, below zero, ended) their way to the store. An interrupted run still finishes them.
    fn uploads(&self, _packs: i64, _bytes: i64) {}
    /// Another process has what this one needs: called again and again until it is free. An error ends the wait.
    fn waits(&self, _wait: &Wait) -> Result<(), Error> {
        self.go_on()
    }
    /// The wait is over.
    fn waited(&self) {}
    /// Asked often: true stops the run as soon as nothing is left half done.
    fn interrupted(&self) -> bool {
        false
    }
    /// Fails if the run was interrupted.
    fn go_on(&self) -> Result<(), Error> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Hears nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
