//! What a run has found in the log, and what follows from it for the exit code.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use icecore_engine::ops::histories::after_latest;

use crate::code;
use crate::failure::Failure;

/// What a run has found in the log.
#[derive(Default)]
pub struct LogFindings {
    /// Whether an entry does not count.
    pub is_doubtful: AtomicBool,
    /// Whether an entry has the signature of this computer and is not from it.
    pub is_stolen: AtomicBool,
    /// Whether the run has reported the object `log/mirror`.
    pub is_mark_said: AtomicBool,
    /// The damage after which the log could not be read.
    pub cut: OnceLock<String>,
}

impl LogFindings {
    /// Returns the exit code of a command that would otherwise have ended with this one.
    pub fn code(&self, done: u8, is_unattended: bool) -> u8 {
        match done {
            code::DONE if self.cut.get().is_some() => code::DAMAGED,
            code::DONE if is_unattended && self.is_in_doubt() => code::DOUBTFUL,
            code => code,
        }
    }

    fn is_in_doubt(&self) -> bool {
        [&self.is_doubtful, &self.is_stolen].iter().any(|found| found.load(Ordering::SeqCst))
    }

    /// Fails if this name means the newest snapshot, and newer ones may be behind damage.
    pub fn expect_newest(&self, name: &str) -> Result<(), Failure> {
        match self.cut.get() {
            Some(damage) if after_latest(name).is_some() => Err(Failure::new(
                code::DAMAGED,
                format!("{damage}, so icecore does not know which snapshot is {name}"),
                Some(
                    "`icecore check --repair` on a computer that has used this archive before may repair the log. Until then, `icecore snapshots` lists those before the damage: name one by its id",
                ),
            )),
            _ => Ok(()),
        }
    }
}
