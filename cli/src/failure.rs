//! Errors as the user sees them: a message, a hint, an exit code.

use icecore_engine::error::Error;
use icecore_engine::format::RepositoryId;
use icecore_engine::ops::snapshot::ITSELF;
use icecore_engine::store::{Location, LocationError, StoreError, StoreErrorKind};

use crate::shell;

/// Exit codes, a contract with scripts.
pub mod code {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const INCOMPLETE: u8 = 3;
    /// There is nothing of that name in the snapshots.
    pub const NOTHING_FOUND: u8 = 4;
    pub const NO_REPOSITORY: u8 = 10;
    pub const WRONG_KEY: u8 = 12;
    pub const THAW_REQUESTED: u8 = 20;
    pub const TOO_COSTLY: u8 = 21;
    pub const DAMAGED: u8 = 22;
    /// Something in the log does not count, and the owner has not dismissed it.
    pub const DOUBTFUL: u8 = 23;
    /// `status`: the last good run is too long ago.
    pub const OVERDUE: u8 = 30;
    /// `status`: the last run has failed.
    pub const FAILING: u8 = 31;
    /// By SIGHUP, Ctrl-C and SIGTERM.
    pub const HUNG_UP: u8 = 129;
    pub const INTERRUPTED: u8 = 130;
    pub const TERMINATED: u8 = 143;

    /// All of them, with what they mean.
    pub const ALL: &[(u8, &str)] = &[
        (DONE, "done"),
        (FAILED, "failed: for example, a file or folder on this computer is missing"),
        (USAGE, "the command line, a variable or a profile is not valid; nothing was done"),
        (
            INCOMPLETE,
            "done, but something needs your attention: files could not be read completely, the snapshot is marked, listings are frozen, or `audit` found files that are not archived",
        ),
        (
            NOTHING_FOUND,
            "nothing was found: there is no snapshot, file, history, job, password or writer of that name",
        ),
        (NO_REPOSITORY, "there is no repository, or its disk is not mounted"),
        (WRONG_KEY, "wrong password, identity or writer credential"),
        (THAW_REQUESTED, "a thaw was requested: run the command again later"),
        (TOO_COSTLY, "the command would cost more than was agreed to; nothing was paid"),
        (
            DAMAGED,
            "damage was found, or `check --posture` found that this host could destroy the archive",
        ),
        (
            DOUBTFUL,
            "done, but an entry of the log does not count: someone may have stolen the keys of a host",
        ),
        (OVERDUE, "`status`: the newest snapshot of a profile is too old"),
        (FAILING, "`status`: the last run of a profile has failed"),
        (HUNG_UP, "ended by SIGHUP: the terminal was closed"),
        (INTERRUPTED, "interrupted by Ctrl-C"),
        (TERMINATED, "ended by SIGTERM"),
    ];
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
    /// The store could not be reached or was busy: later it may be there.
    pub transient: bool,
    /// The password may not be used here, and what needs none is possible without it.
    pub needs_no_key: bool,
    /// What the requests before it have cost; `None` if nothing was asked of a bucket.
    pub cost_usd: Option<f64>,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>, hint: Option<&str>) -> Failure {
        let hint = hint.map(str::to_owned);
        Failure { code, message: message.into(), hint, ..Failure::default() }
    }

    pub fn usage(message: impl Into<String>, hint: &str) -> Failure {
        Failure::new(code::USAGE, message, Some(hint))
    }

    /// Says of an object that is frozen where it is and how it is thawed, and of an older archive in a bucket what may
    /// have happened there.
    pub fn explained(self, location: &Location) -> Failure {
        if let Some(name) = &self.frozen {
            return Failure { hint: Some(crate::frozen::hint(location, name)), ..self };
        }
        if !location.is_remote() {
            return self;
        }
        let of_bucket = |hint: String| {
            ON_DISKS.iter().fold(hint, |hint, (disk, bucket)| hint.replace(disk, bucket))
        };
        Failure { hint: self.hint.map(of_bucket), ..self }
    }

    /// A check that failed is not to be told to check.
    pub fn of_check(self) -> Failure {
        let advised = self.hint.as_deref().is_some_and(|hint| hint.contains("`icecore check` "));
        if !advised {
            return self;
        }
        let hint = "keep the repository as it is: a copy of it may still have the object, or a missing disk may come back";
        Failure { hint: Some(hint.to_owned()), ..self }
    }

    /// Adjusts the hint to the command that has failed.
    pub fn of_command(self, name: &str) -> Failure {
        let goes_on = self.hint.as_deref().filter(|hint| [CONTINUE, CONTINUES].contains(hint));
        if let (Some(goes_on), "restore") = (goes_on, name) {
            // Only a restore that waits for a thaw knows again what it has put into its target.
            let hint = format!("{goes_on}; if the target is not empty, add --overwrite if-changed");
            return Failure { hint: Some(hint), ..self };
        }
        self.not_itself(name)
    }

    /// A hint does not name the command that has just failed, unless with other options or for another thing.
    fn not_itself(self, name: &str) -> Failure {
        let names = |hint: &str| {
            hint.contains(&format!("`icecore {name}`"))
                || name == "ls" && hint.contains("`icecore ls -R SNAP`")
        };
        if !self.hint.as_deref().is_some_and(names) {
            return self;
        }
        let hint = match name {
            "ls" => {
                "without a path, `ls` lists the top folder of the snapshot; -R lists everything below it"
            }
            "restore" => {
                "the provider's own tools can thaw it; `icecore jobs` shows what is thawing"
            }
            "jobs" => "without an id, `jobs` lists the restores that are waiting",
            "rebuild-index" => "delete the cache, or choose another folder for it with --cache-dir",
            "retire" => "without a name, `retire` lists the histories",
            "snapshot" => "omit --init, or choose another place",
            _ => "--help lists the options",
        };
        Failure { hint: Some(hint.to_owned()), ..self }
    }

    pub fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
        let message = format!("failed to {action} {}: {error}", crate::units::show(path));
        if action.starts_with("read") && error.kind() == std::io::ErrorKind::NotFound {
            return Failure::new(code::FAILED, message, Some(&crate::mistyped::hint(path)));
        }
        Failure::new(code::FAILED, message, file_hint(error))
    }
}

/// What may have happened to an archive that is not the one that was here: on a disk, and in a bucket.
const ON_DISKS: [(&str, &str); 2] = [
    (
        "was the NAS restored from a snapshot, or is another disk mounted?",
        "were older versions of its objects put back, or is this another prefix?",
    ),
    (
        "was the NAS restored from a snapshot, is another disk mounted, or is the head that of another repository?",
        "were older versions of its objects put back, or is the head that of another prefix?",
    ),
];

/// How what is wrong with a date or a history begins, and what is wrong with the paths of a snapshot.
const DATE: &str = "the date ";
const HISTORY: &str = "the history ";
const PATHS: &str = "the list of paths";
/// How what is wrong with the target of a restore begins, and what is wrong with a label.
const TARGET: &str = "the target ";
const LABEL: &str = "the label";

/// What to do after a run that a person has interrupted.
const CONTINUE: &str = "run the same command again to continue";
/// What is said of a run that a program or the system has ended: it may start the next one by itself.
const CONTINUES: &str = "the next run of the same command continues";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NoRepository { .. } => code::NO_REPOSITORY,
            Error::Store(StoreError { kind: StoreErrorKind::Location, .. })
            | Error::Pattern { .. } => code::USAGE,
            Error::Input { what, .. }
                if what.starts_with(DATE) || what == PATHS || what.starts_with(HISTORY) =>
            {
                code::USAGE
            }
            Error::AmbiguousSnapshot { .. } | Error::AmbiguousWriter { .. } => code::USAGE,
            Error::NoSnapshot { .. } | Error::NotInSnapshot { .. } | Error::NoWriter { .. } => {
                code::NOTHING_FOUND
            }
            // The files of another user are not damaged.
            error if error.is_closed() => code::FAILED,
            Error::WrongPassword { .. }
            | Error::PasswordMemory { .. }
            | Error::KeyRemoved { .. }
            | Error::WrongIdentity
            | Error::WrongCredential
            | Error::MayNot
            | Error::Revoked { .. }
            | Error::NotEnrolled
            | Error::NeedsIdentity => code::WRONG_KEY,
            Error::Interrupted => crate::signals::exit_code(),
            error if error.is_damage() => code::DAMAGED,
            _ => code::FAILED,
        };
        let mut message = match &error {
            Error::Interrupted => interruption(code).to_owned(),
            error => error.to_string(),
        };
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            let text = error.to_string();
            // SQLite says its own error twice.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = error.source();
        }
        let hint =
            error.remedy().or_else(|| crate::hint::hint(&error)).or_else(|| option_hint(&error));
        let broken_catalog = error.broken_catalog();
        let there = match &error {
            Error::File { action: "read", path, source }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Some(crate::mistyped::hint(path))
            }
            Error::NoRepository { location } => no_repository(location).or_else(|| {
                Some(format!(
                    "check --repo, or create a repository there: `icecore --repo {} init`",
                    shell::word(location)
                ))
            }),
            _ => None,
        };
        let frozen = match &error {
            Error::Store(store) if error.is_frozen() => Some(store.name.clone()),
            _ => None,
        };
        let full_disk = error.is_full_disk();
        let transient = error.is_away() && !matches!(error, Error::Interrupted);
        let failure = Failure::new(code, message, hint);
        let hint = there.or(failure.hint);
        Failure { broken_catalog, frozen, full_disk, transient, hint, ..failure }
    }
}

/// Says what is there instead of a repository, if it is something that `init` cannot use.
fn no_repository(location: &str) -> Option<String> {
    let path = std::path::Path::new(location);
    let is_repository =
        |path: &std::path::Path| path.join("config").is_file() && path.join("log").is_dir();
    let above = path.parent().filter(|above| is_repository(above));
    if let Some(above) = above {
        let above = crate::units::show(above);
        return Some(format!("this is a part of a repository: name the whole one, --repo {above}"));
    }
    if path.is_file() {
        return Some(
            "check --repo: it is a file, and a repository is a folder or a bucket".to_owned(),
        );
    }
    let is_used = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    is_used.then(|| {
        "check --repo: this folder has other files in it; a new repository needs an empty or a new folder".to_owned()
    })
}

/// Says by what a run was interrupted, by its exit code.
fn interruption(exit: u8) -> &'static str {
    match exit {
        code::HUNG_UP => "interrupted by SIGHUP: the terminal was closed",
        code::TERMINATED => "interrupted by SIGTERM",
        _ => "interrupted",
    }
}

fn file_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Some("check the path"),
        std::io::ErrorKind::PermissionDenied => Some("check the permissions there"),
        std::io::ErrorKind::StorageFull => Some(
            "the disk is full: free some space; then a restore with --overwrite if-changed adds the missing files",
        ),
        std::io::ErrorKind::AlreadyExists => Some("it already exists: choose another name"),
        std::io::ErrorKind::IsADirectory => Some("it is a folder: name a file"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Some("the disk has errors: check the system log")
        }
        _ => None,
    }
}

/// Returns what only the program knows: how its options are written.
fn option_hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Pattern { .. } => {
            Some("patterns look like '*.CR3', '2024/*/IMG_0042.*' or /home/maria/photos/2024")
        }
        Error::Input { what, .. } if what.starts_with(DATE) => {
            Some("write latest@2026-10-31 for the newest snapshot before that day")
        }
        Error::Input { what, reason } if what == PATHS && reason.ends_with(ITSELF) => Some(
            "do not name it: a snapshot of a folder that contains the repository leaves the repository out by itself. To copy a repository, use `rsync -a`",
        ),
        Error::Input { what, .. } if what.starts_with(HISTORY) => {
            Some("a name has 1 to 255 bytes and no control characters")
        }
        Error::Input { what, .. } if what.starts_with(TARGET) => {
            Some("choose a folder outside of the archive and of the folders of icecore")
        }
        Error::Input { what, .. } if what == LABEL => Some("choose another one with --label"),
        Error::Input { what, .. } if what == PATHS => {
            Some("`icecore snapshot --help` shows how folders and files are named")
        }
        Error::Interrupted => Some(match crate::signals::exit_code() {
            code::INTERRUPTED => CONTINUE,
            _ => CONTINUES,
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended_a_run_is_said() {
        let said = [code::HUNG_UP, code::INTERRUPTED, code::TERMINATED].map(interruption);
        assert_eq!(
            said,
            [
                "interrupted by SIGHUP: the terminal was closed",
                "interrupted",
                "interrupted by SIGTERM"
            ]
        );
        for hint in [CONTINUE, CONTINUES] {
            let failure = Failure::new(code::TERMINATED, "ended", Some(hint));
            let hint = failure.of_command("restore").hint.unwrap_or_default();
            assert!(hint.contains("--overwrite if-changed"), "{hint}");
        }
    }

    #[test]
    fn a_bucket_is_on_no_nas() {
        let bucket = Location::parse("s3://photos-bucket/photos").unwrap();
        let folder = Location::parse("./nas").unwrap();
        for error in [|| Error::Forked { number: 3 }, || Error::NotHead { number: 3 }] {
            let hint = |place| Failure::from(error()).explained(place).hint.unwrap();
            assert!(hint(&folder).contains("NAS"), "{}", hint(&folder));
            let said = hint(&bucket);
            assert!(!said.contains("NAS") && !said.contains("disk"), "{said}");
            assert!(said.contains("another prefix?"), "{said}");
        }
    }
}
