//! Errors as the user sees them: a message, a hint, an exit code.

use icecore_engine::error::Error;
use icecore_engine::format::RepositoryId;
use icecore_engine::store::{Location, LocationError, StoreError, StoreErrorKind};

/// Exit codes, a contract with scripts.
pub mod code {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const INCOMPLETE: u8 = 3;
    pub const NO_REPOSITORY: u8 = 10;
    pub const WRONG_KEY: u8 = 12;
    pub const THAW_REQUESTED: u8 = 20;
    pub const TOO_COSTLY: u8 = 21;
    pub const DAMAGED: u8 = 22;
    /// By Ctrl-C; 143 by SIGTERM, 129 by SIGHUP.
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command failed.
#[derive(Debug, Default)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    pub hint: Option<String>,
    /// The catalog of this repository is damaged: it can be made anew, and the command repeated.
    pub broken_catalog: Option<RepositoryId>,
    /// This object must be thawed before it can be read.
    pub frozen: Option<String>,
    /// A disk has no room: that of the repository or that of the cache.
    pub full_disk: bool,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>, hint: Option<&str>) -> Failure {
        let hint = hint.map(str::to_owned);
        Failure { code, message: message.into(), hint, ..Failure::default() }
    }

    pub fn usage(message: impl Into<String>, hint: &str) -> Failure {
        Failure::new(code::USAGE, message, Some(hint))
    }

    /// Says of an object that is frozen where it is and how it is thawed.
    pub fn explained(self, location: &Location) -> Failure {
        let Some(name) = &self.frozen else { return self };
        Failure { hint: Some(crate::frozen::hint(location, name)), ..self }
    }

    /// A check that failed is not to be told to check.
    pub fn of_check(self) -> Failure {
        let advised = self.hint.as_deref().is_some_and(|hint| hint.contains("`icecore check` "));
        if !advised {
            return self;
        }
        let hint = "keep the repository as it is: a copy of it may have the object, or its disk may come back";
        Failure { hint: Some(hint.to_owned()), ..self }
    }

    /// A hint does not name the command that has just failed, unless with other options or for another thing.
    pub fn of_command(self, name: &str) -> Failure {
        let names = |hint: &str| {
            hint.contains(&format!("`icecore {name}`"))
                || name == "ls" && hint.contains("`icecore ls -R SNAP`")
        };
        if !self.hint.as_deref().is_some_and(names) {
            return self;
        }
        let hint = match name {
            "ls" => "without a path it lists the top of the snapshot, with -R all that is below",
            "restore" => {
                "the provider's own tools can thaw it; `icecore jobs` shows what is being thawed"
            }
            "jobs" => "without an id it lists the restores that wait",
            "rebuild-index" => "delete the cache, or choose another folder for it with --cache-dir",
            "snapshot" => "leave --init off, or choose another place",
            _ => "--help shows what can be given",
        };
        Failure { hint: Some(hint.to_owned()), ..self }
    }

    pub fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
        let message = format!("failed to {action} {}: {error}", crate::units::show(path));
        Failure::new(code::FAILED, message, file_hint(error))
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
            Error::Interrupted => crate::signals::exit_code(),
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
        let hint = error.remedy().or_else(|| error.hint()).or_else(|| option_hint(&error));
        let broken_catalog = error.broken_catalog();
        let frozen = match &error {
            Error::Store(store) if error.is_frozen() => Some(store.name.clone()),
            _ => None,
        };
        let full_disk = error.is_full_disk();
        Failure { broken_catalog, frozen, full_disk, ..Failure::new(code, message, hint) }
    }
}

fn file_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Some("check the path"),
        std::io::ErrorKind::PermissionDenied => Some("check who may read and write there"),
        std::io::ErrorKind::StorageFull => Some(
            "the disk is full: free some space; a restore with --overwrite if-changed adds what is missing",
        ),
        std::io::ErrorKind::AlreadyExists => Some("it is there already: choose another name"),
        std::io::ErrorKind::IsADirectory => Some("it is a folder: name a file"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Some("the disk fails: look into the system's log")
        }
        _ => None,
    }
}

/// Returns what only the program knows: how its options are written.
fn option_hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Pattern { .. } => {
            Some("patterns are those of .gitignore: '*.cr3', '/2024/', '2024/**/IMG_*.jpg'")
        }
        Error::Interrupted => Some(
            "run it again to go on; a restore with --overwrite if-changed: what is whole stays",
        ),
        _ => None,
    }
}

impl From<LocationError> for Failure {
    fn from(error: LocationError) -> Self {
        Failure::usage(error.to_string(), &error.hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::from(Error::from(error))
    }
}
