//! Errors as the user sees them: a message, a hint, an exit code.

use icecore_engine::error::Error;
use icecore_engine::store::{StoreError, StoreErrorKind};

/// Exit codes, a contract with scripts.
pub mod code {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const INCOMPLETE: u8 = 3;
    pub const NO_REPOSITORY: u8 = 10;
    pub const WRONG_KEY: u8 = 12;
    pub const DAMAGED: u8 = 22;
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn usage(message: impl Into<String>, hint: &str) -> Failure {
        Failure { code: code::USAGE, message: message.into(), hint: Some(hint.to_owned()) }
    }

    pub fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
        Failure {
            code: code::FAILED,
            message: format!("failed to {action} {}: {error}", crate::units::show(path)),
            hint: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NoRepository { .. } => code::NO_REPOSITORY,
            Error::Store(StoreError { kind: StoreErrorKind::Location, .. })
            | Error::Pattern { .. } => code::USAGE,
            Error::WrongPassword { .. }
            | Error::WrongIdentity
            | Error::WrongCredential
            | Error::NeedsIdentity => code::WRONG_KEY,
            Error::Interrupted => code::INTERRUPTED,
            error if error.is_damage() => code::DAMAGED,
            _ => code::FAILED,
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            message.push_str(": ");
            message.push_str(&error.to_string());
            source = error.source();
        }
        Failure { code, message, hint: error.hint().map(str::to_owned) }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::from(Error::from(error))
    }
}
