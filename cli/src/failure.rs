//! Errors as the user sees them: a message, a hint, an exit code.

use icecore_engine::error::{Argument, Error};
use icecore_engine::format::{JobId, PackKind, RepositoryId};
use icecore_engine::store::{
    Location, LocationError, ObjectName, StoreError, StoreErrorKind, layout,
};

use crate::code;
use crate::hint::Advice;
use crate::shell;

/// Why a command failed.
#[derive(Debug, Default)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    pub hint: Option<String>,
    /// The kind of advice in the hint, if some commands or archives need another hint.
    pub advice: Option<Advice>,
    /// The repository whose catalog is damaged, so that it can be rebuilt and the command repeated.
    pub broken_catalog: Option<RepositoryId>,
    /// The object that must be thawed before it can be read.
    pub frozen: Option<Box<ObjectName>>,
    /// Whether a disk is full: that of the repository or that of the cache.
    pub full_disk: bool,
    /// Whether the store could not be reached or was busy, so that a later run may succeed.
    pub transient: bool,
    /// Whether the store's credentials do not allow the request.
    pub denied: bool,
    /// Whether the archive is older than this computer last saw it, or is a different archive. Then the current
    /// archive may be elsewhere.
    pub gone_back: bool,
    /// Whether this host is not allowed to use a password, but could do without one.
    pub needs_no_key: bool,
    /// The cost of the requests before the failure; `None` if no request went to a bucket.
    pub cost_usd: Option<Box<f64>>,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>, hint: Option<&str>) -> Failure {
        let hint = hint.map(str::to_owned);
        Failure { code, message: message.into(), hint, ..Failure::default() }
    }

    pub fn usage(message: impl Into<String>, hint: &str) -> Failure {
        Failure::new(code::USAGE, message, Some(hint))
    }

    /// Returns the failure for a name that is already taken. Every command uses the same exit code for
    /// this.
    pub fn taken(message: impl Into<String>, hint: &str) -> Failure {
        Failure::new(code::FAILED, message, Some(hint))
    }

    /// Returns the failure for a new file whose name is taken.
    pub fn exists(path: &std::path::Path) -> Failure {
        Failure::taken(
            format!("{} already exists", crate::units::show(path)),
            "name another file, or delete this one if nothing needs it",
        )
    }

    /// Appends what was done before the failure to the message, if anything was.
    pub fn after(self, done: Option<String>) -> Failure {
        match done {
            Some(done) => {
                Failure { message: format!("{}; before that, {done}", self.message), ..self }
            }
            None => self,
        }
    }

    /// Replaces the hint.
    pub fn hinted(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), advice: None, ..self }
    }

    /// Adapts the hint to the location of the archive: how to thaw a frozen object there, or what may have happened to
    /// an older archive in a bucket.
    pub fn explained(self, location: &Location) -> Failure {
        if let Some(name) = &self.frozen {
            let (hint, advice) = (crate::frozen::hint(location, name), crate::frozen::advice(name));
            return Failure { hint: Some(hint), advice, ..self };
        }
        match self.advice {
            Some(Advice::InBucket(hint)) if location.is_remote() => self.hinted(hint),
            _ => self,
        }
    }

    /// Adapts the hint to the command that failed, so that it does not advise the same command again without a change.
    pub fn of_command(self, name: &str) -> Failure {
        if let (true, Some(keys)) = (self.denied, crate::hint::keys_for(name)) {
            return self.hinted(keys);
        }
        let hint = match (self.advice, name) {
            // Only a restore that waits for a thaw recognises the files that it has already put into its target.
            (Some(Advice::Continue(hint)), "restore") => {
                let more = "if the target is not empty, add --overwrite if-changed";
                return self.hinted(format!("{hint}; {more}"));
            }
            (Some(Advice::Check), "check") => {
                "keep the archive as it is: a copy of it may still have the object, or a missing disk may come back"
            }
            (Some(Advice::List), "ls") => {
                "without a path, `ls` lists the top folder of the snapshot; -R lists everything below it"
            }
            (Some(Advice::Restore), "restore") => {
                "the provider's own tools can thaw it; `icecore jobs` shows what is thawing"
            }
            (Some(Advice::RebuildIndex), "rebuild-index") => {
                "delete the cache, or choose another folder for it with --cache-dir"
            }
            (Some(Advice::Snapshot), "snapshot") => "omit --init, or choose another place",
            _ => return self,
        };
        self.hinted(hint)
    }

    /// Puts the id of the job into the hint, if the hint is to end the job.
    pub fn of_job(self, id: &JobId) -> Failure {
        match self.advice {
            Some(Advice::EndJob(before)) => {
                self.hinted(format!("{before}: icecore jobs cancel {}", id.short()))
            }
            _ => self,
        }
    }

    /// Returns the failure of a system call on a file. `action` is a verb with its preposition, such as `write into`.
    pub fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return Failure::exists(path);
        }
        let message = format!("failed to {action} {}: {error}", crate::units::show(path));
        if error.kind() == std::io::ErrorKind::NotFound {
            return Failure::new(code::FAILED, message, Some(&crate::meant::hint(path)));
        }
        Failure::new(code::FAILED, message, file_hint(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = exit_code(&error);
        let message = message(&error, code);
        let hint =
            error.remedy().or_else(|| crate::hint::hint(&error)).or_else(|| option_hint(&error));
        let advice = match error.remedy() {
            Some(_) => None,
            None => crate::hint::advice(&error),
        };
        let broken_catalog = error.broken_catalog();
        let there = match &error {
            Error::File { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some(crate::meant::hint(path))
            }
            Error::NoRepository { location } => no_repository(location).or_else(|| {
                let disk = match location.contains("://") {
                    true => "name",
                    false => "is its disk mounted, and where? Name",
                };
                Some(format!(
                    "{disk} the place where the archive is; a new one is created with `{} init`",
                    crate::pasted::at_place(location)
                ))
            }),
            _ => None,
        };
        let frozen = match &error {
            Error::Store(store) if error.is_frozen() => {
                Some(Box::new(ObjectName::from(&store.name)))
            }
            _ => None,
        };
        let full_disk = error.is_full_disk();
        let denied = matches!(
            &error,
            Error::Store(StoreError {
                kind: StoreErrorKind::Denied,
                of_system: false,
                remedy: None,
                ..
            })
        );
        let gone_back = matches!(error, Error::RolledBack { .. } | Error::Forked { .. });
        let transient = error.is_away() && !matches!(error, Error::Interrupted);
        let failure = Failure::new(code, message, hint);
        let (hint, advice) = match there {
            Some(there) => (Some(there), None),
            None => (failure.hint.clone(), advice),
        };
        let marks = Failure { broken_catalog, frozen, full_disk, transient, ..failure };
        Failure { denied, gone_back, hint, advice, ..marks }
    }
}

/// Returns the exit code of an error.
fn exit_code(error: &Error) -> u8 {
    match error {
        // A bucket that does not exist is like a folder that does not exist.
        Error::NoRepository { .. }
        | Error::Store(StoreError { kind: StoreErrorKind::NoBucket, .. }) => code::NO_REPOSITORY,
        Error::Store(StoreError {
            kind: StoreErrorKind::Location | StoreErrorKind::NoCredentials,
            ..
        })
        | Error::Pattern { .. } => code::USAGE,
        Error::Input { what, .. } if is_typed(what) => code::USAGE,
        Error::AmbiguousSnapshot { .. } | Error::AmbiguousWriter { .. } => code::USAGE,
        Error::NoSnapshot { .. } | Error::NotInSnapshot { .. } | Error::NoWriter { .. } => {
            code::NOTHING_FOUND
        }
        // Files of another user are not damaged.
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
        // Commands that can continue without these objects exit with this code, so all others do too.
        Error::Store(store) if error.is_frozen() && is_moved(&ObjectName::from(&store.name)) => {
            code::INCOMPLETE
        }
        error if error.is_damage() => code::DAMAGED,
        _ => code::FAILED,
    }
}

/// Returns whether a frozen object is a folder listing or a small file. Commands that cannot thaw need to read these,
/// and only a lifecycle rule or another program can have moved them to an archive class. Other objects that must stay
/// readable are not included, because an archive cannot be opened without them.
fn is_moved(object: &ObjectName) -> bool {
    matches!(object, ObjectName::Pack(PackKind::Meta | PackKind::Hot, _))
}

/// Returns an error with its causes.
fn message(error: &Error, code: u8) -> String {
    let mut message = match error {
        Error::Interrupted => interruption(code).to_owned(),
        error => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let text = error.to_string();
        // SQLite repeats its own error text.
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = error.source();
    }
    message
}

/// Returns whether an argument of the engine is one that the user typed.
fn is_typed(what: &Argument) -> bool {
    use Argument::{Date, History, OwnRepository, Paths};
    matches!(what, Date(_) | History(_) | OwnRepository | Paths)
}

/// Returns a message about what is there instead of a repository, if `init` cannot use it.
pub fn no_repository(location: &str) -> Option<String> {
    if let Some((above, last)) = location.rsplit_once('/').filter(|_| location.contains("://")) {
        let is_part = layout::PREFIXES.contains(&last) && !above.ends_with("/");
        return is_part.then(|| {
            let above = shell::word(above);
            format!("check the place: is this a part of an archive at {above}?")
        });
    }
    let path = std::path::Path::new(location);
    let is_repository = |path: &std::path::Path| {
        let has = |prefix: &str| path.join(prefix).is_dir();
        path.join(layout::CONFIG).is_file() && (has(layout::LOG) || has(layout::KEYS))
    };
    let above = path.parent().filter(|above| is_repository(above));
    if let Some(above) = above {
        let above = shell::word(&crate::units::show(above));
        return Some(format!("this is a part of an archive: name the whole one, {above}"));
    }
    if path.is_file() {
        return Some(
            "check the place: it is a file, and an archive is a folder or a bucket".to_owned(),
        );
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let names: Vec<std::ffi::OsString> = entries.map(|entry| entry.file_name()).collect();
    let is_begun = |name: &std::ffi::OsString| {
        [layout::PROBE, layout::KEYS, layout::RESERVE].iter().any(|of_init| name == of_init)
    };
    if !names.is_empty() && names.iter().all(is_begun) {
        let hint = "a first command was interrupted here: run it again (`icecore snapshot --init PATH`, or `icecore init`)";
        return Some(hint.to_owned());
    }
    (!names.is_empty()).then(|| {
        "check the place: this folder has other files in it; a new archive needs an empty or a new folder".to_owned()
    })
}

/// Returns what interrupted a run, by its exit code.
fn interruption(exit: u8) -> &'static str {
    match exit {
        code::HUNG_UP => "interrupted by SIGHUP: the terminal was closed",
        code::TERMINATED => "interrupted by SIGTERM",
        _ => "interrupted",
    }
}

fn file_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Some("check the permissions there"),
        std::io::ErrorKind::StorageFull => Some(
            "the disk is full: free some space; then a restore with --overwrite if-changed adds the missing files",
        ),
        std::io::ErrorKind::IsADirectory => Some("it is a folder: name a file"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Some("the disk has errors: check the system log")
        }
        _ => None,
    }
}

/// Returns the hint for an option of the command line, which the engine does not know.
fn option_hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Pattern { .. } => {
            Some("patterns look like '*.CR3', '2024/*/IMG_0042.*' or /home/maria/photos/2024")
        }
        Error::Input { what, .. } => argument_hint(what),
        Error::Interrupted => Some(crate::hint::continuing()),
        _ => None,
    }
}

/// Returns the hint for an argument of the command line.
fn argument_hint(what: &Argument) -> Option<&'static str> {
    Some(match what {
        Argument::Date(_) => "write latest@2026-10-31 for the newest snapshot before that day",
        Argument::OwnRepository => {
            "do not name it: a snapshot of a folder that contains the archive leaves the archive out by itself. To copy an archive, use `icecore mirror`"
        }
        Argument::Paths => "`icecore snapshot --help` shows how folders and files are named",
        Argument::History(_) => "a name has 1 to 255 bytes and no control characters",
        Argument::Target(_) => {
            "choose a folder outside of the archive and of the folders of icecore"
        }
        Argument::Label => "choose another one with --label",
        Argument::Other(_) => return None,
    })
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
    use crate::hint::{CONTINUE, CONTINUES};

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
            let failure = Failure { advice: Some(Advice::Continue(hint)), ..failure };
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
