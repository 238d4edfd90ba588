//! How a verb tells what it is doing. The engine never prints.

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

/// Hears of progress, from many threads.
pub trait Progress: Send + Sync {
    /// More work was found.
    fn expect(&self, _files: u64, _bytes: u64) {}
    /// Returns whether anybody looks at totals; finding them costs a second scan.
    fn wants_totals(&self) -> bool {
        false
    }
    /// Work was done.
    fn advance(&self, _files: u64, _bytes: u64) {}
    /// What is being done now.
    fn stage(&self, _what: &str) {}
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
