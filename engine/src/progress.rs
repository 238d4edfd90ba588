//! How a verb tells what it is doing. The engine never prints.

use std::path::PathBuf;

use crate::error::Error;

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
