//! What the engine's verbs fail with. Every variant says what failed; `hint` says what to do next.

use std::path::PathBuf;

use crate::codec::CodecError;
use crate::files::private::Exposed;
use crate::format::{ChunkId, FormatError, RepositoryId, SlotId};
use crate::store::{StoreError, StoreErrorKind, layout};

/// The error of every verb.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no repository at {location}")]
    NoRepository { location: String },
    #[error("there is already a repository at {location}")]
    RepositoryExists { location: String },
    #[error("{location} is not empty and is not a repository")]
    NotEmpty { location: String },
    #[error("wrong password")]
    WrongPassword { slots: usize },
    #[error("the password opens key {}, which the owner does not list as valid", slot.short())]
    KeyRemoved { slot: SlotId },
    /// It was not tried.
    #[error("{object}: its password takes {mib} MiB of memory, more than is allowed")]
    PasswordMemory { object: String, mib: u64 },
    #[error("the identity does not belong to this repository")]
    WrongIdentity,
    #[error("the writer credential does not belong to this repository")]
    WrongCredential,
    #[error("reading names or contents needs a password or the identity")]
    NeedsIdentity,
    #[error(
        "the store does not honour create-only puts, so two writers could overwrite each other's objects"
    )]
    NoConditionalPut,
    #[error("the store does not accept the storage class {class}: {reason}")]
    NoClass { class: String, reason: String },
    #[error("{source}; these objects could not be deleted and stay in the store: {}", names.join(", "))]
    LeftBehind { names: Vec<String>, source: Box<Error> },
    #[error("no snapshot matches {name:?}")]
    NoSnapshot { name: String },
    #[error("{name:?} matches several snapshots")]
    AmbiguousSnapshot { name: String },
    #[error("{path} is not in the snapshot")]
    NotInSnapshot { path: String },
    #[error("{path} is a folder")]
    IsFolder { path: String },
    #[error("the original place of this part of the snapshot is not known: {reason}")]
    NoOriginal { reason: &'static str },
    #[error("the target {path} is not empty")]
    TargetNotEmpty { path: PathBuf },
    #[error("invalid pattern {pattern:?}: {reason}")]
    Pattern { pattern: String, reason: String },
    #[error("{what} is not valid: {reason}")]
    Input { what: String, reason: String },
    #[error("{object} is damaged: {reason}")]
    Damaged { object: String, reason: String },
    #[error("{object} needs a newer icecore: {reason}")]
    TooNew { object: String, reason: String },
    #[error(
        "this repository is older than when this computer last used it (entry {seen} then, {found} now): it was rolled back or restored from an old copy"
    )]
    RolledBack { seen: u64, found: u64 },
    #[error(
        "this is not the repository that this computer has seen: entry {number} of its log is different"
    )]
    Forked { number: u64 },
    #[error(
        "the store broke its promise: it replaced entry {number} of the log, which it had acknowledged, with another entry"
    )]
    PromiseBroken { number: u64 },
    #[error(
        "other hosts wrote {slots} entries of the log in a row, so this host could not add its own"
    )]
    Starved { slots: u32 },
    #[error(
        "this repository is older than the log head of --expect-head (entry {expected} expected, {found} found): it was rolled back or restored from an old copy"
    )]
    BehindHead { expected: u64, found: u64 },
    #[error("this is not the repository of --expect-head: entry {number} of its log is different")]
    NotHead { number: u64 },
    /// Raised inside the engine only: the catalog has taken in what the owner says does not count.
    #[error(
        "the owner has revoked a writer, or dismissed an entry of the log, since this run began"
    )]
    Reread,
    #[error("no writer has the name {name}")]
    NoWriter { name: String },
    #[error("several writers have the name {name}")]
    AmbiguousWriter { name: String },
    #[error("the writer credential of this host does not permit this")]
    MayNot,
    #[error("the writer credential of this host ({label}) was revoked by the owner")]
    Revoked { label: String },
    #[error("the writer credential of this host is not enrolled in this repository")]
    NotEnrolled,
    #[error("the catalog of repository {repository} failed")]
    Catalog { repository: RepositoryId, source: rusqlite::Error },
    /// Something in the cache, which nothing depends on.
    #[error("failed to {action} {path}")]
    Cache { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("failed to {action} {path}")]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{path} is not safe to use: {reason}")]
    Exposed { path: PathBuf, reason: Exposed },
    #[error("gave up waiting for {what}")]
    LockWait { what: String },
    #[error(transparent)]
    Store(StoreError),
    #[error("interrupted")]
    Interrupted,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Interrupted => Error::Interrupted,
            _ => Error::Store(error),
        }
    }
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }

    pub(crate) fn cache(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Cache { action, path, source }
    }

    /// Takes what failed for something of the cache.
    pub(crate) fn of_cache(self) -> Error {
        match self {
            Error::File { action, path, source } => Error::Cache { action, path, source },
            error => error,
        }
    }

    /// Returns whether the cache cannot be used where it is: it is read-only, full, of another user, or not to be made.
    pub fn is_of_cache(&self) -> bool {
        use rusqlite::ErrorCode;
        match self {
            // One that others could write to is no accident: its owner is to look at it.
            Error::Cache { .. } | Error::Exposed { reason: Exposed::Foreign(_), .. } => true,
            Error::Catalog { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(
                    ErrorCode::ReadOnly
                        | ErrorCode::CannotOpen
                        | ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::PermissionDenied
                        | ErrorCode::FileLockingProtocolFailed
                )
            ),
            _ => false,
        }
    }

    /// A chunk that the catalog does not know is lost.
    pub(crate) fn lost_chunk(id: &ChunkId) -> Error {
        let reason = "it is in no pack of the log".to_owned();
        Error::Damaged { object: format!("chunk {id}"), reason }
    }

    /// Wraps what is wrong with the bytes of an object.
    pub(crate) fn object(object: &str, error: impl Into<CodecError>) -> Error {
        let error = error.into();
        let (object, reason) = (object.to_owned(), error.to_string());
        match error {
            CodecError::Format(
                FormatError::TooNew { .. }
                | FormatError::UnknownFlags { .. }
                | FormatError::Unknown { .. },
            ) => Error::TooNew { object, reason },
            _ => Error::Damaged { object, reason },
        }
    }

    /// Returns the part that says what is wrong, without the name of the object.
    pub fn reason(&self) -> String {
        match self {
            Error::Damaged { reason, .. } | Error::TooNew { reason, .. } => reason.clone(),
            Error::Store(error) if error.kind == StoreErrorKind::NotFound => {
                "it is missing".to_owned()
            }
            Error::Store(error) => error.reason.clone(),
            error => error.to_string(),
        }
    }

    /// Returns whether an object of the store is missing or not what it was.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Damaged { .. }
            | Error::RolledBack { .. }
            | Error::Forked { .. }
            | Error::BehindHead { .. }
            | Error::NotHead { .. } => true,
            Error::Store(error) => {
                use StoreErrorKind::{Closed, Length, NotFound, Unreadable};
                matches!(error.kind, NotFound | Length | Unreadable | Closed)
            }
            _ => false,
        }
    }

    /// Returns whether an object must be thawed before it can be read.
    pub fn is_frozen(&self) -> bool {
        matches!(self, Error::Store(error) if error.kind == StoreErrorKind::Archived)
    }

    /// Returns whether the store was not reached, or the user did not want to wait for it.
    pub fn is_away(&self) -> bool {
        use StoreErrorKind::{Busy, Unreachable};
        match self {
            Error::Interrupted => true,
            Error::Store(error) => matches!(error.kind, Unreachable | Busy),
            _ => false,
        }
    }

    /// Returns whether this user may not read an object.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Store(error) if error.kind == StoreErrorKind::Closed)
    }

    /// Returns whether an object is there and a part of it is not what it was, or cannot be read.
    pub fn is_damage_of_content(&self) -> bool {
        let unreadable = |error: &StoreError| error.kind == StoreErrorKind::Unreadable;
        matches!(self, Error::Damaged { .. }) || matches!(self, Error::Store(e) if unreadable(e))
    }

    /// Returns whether an object is there and only a part of it cannot be read.
    pub fn is_partial(&self) -> bool {
        use StoreErrorKind::{Length, Unreadable};
        matches!(self, Error::Store(error) if matches!(error.kind, Length | Unreadable))
    }

    /// Returns whether a disk is full: that of the repository, or that of the cache.
    pub fn is_full_disk(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Error::Store(error) => error.kind == StoreErrorKind::NoSpace,
            Error::File { source, .. } => matches!(source.kind(), QuotaExceeded | StorageFull),
            Error::Catalog { source, .. } => {
                // What several processes share of a catalog is a file too, and has an error of its own.
                let no_room = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
                let code = source.sqlite_error().map(|error| error.extended_code);
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
                    || code == Some(no_room)
            }
            _ => false,
        }
    }

    /// Returns the repository whose catalog is damaged: it can be deleted and is made anew.
    pub fn broken_catalog(&self) -> Option<RepositoryId> {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Error::Catalog { repository, source } => source
                .sqlite_error_code()
                .filter(|code| matches!(code, DatabaseCorrupt | NotADatabase))
                .map(|_| *repository),
            _ => None,
        }
    }

    /// Returns whether objects of the log are gone or are no entries, so that a copy of them may help:
    /// another history is none of that, and neither is what a newer version wrote.
    pub fn is_rot(&self) -> bool {
        self.is_damage() && !matches!(self, Error::Forked { .. })
    }

    /// Returns whether the owner has written an entry of the log that only a newer program understands: what is before
    /// it can be read.
    pub fn is_newer(&self) -> bool {
        matches!(self, Error::TooNew { object, .. } if layout::log_number(object).is_some())
    }

    /// Returns whether an error is of one object, so that what does not need it can go on: damage,
    /// or a version from the future, which damage can look like.
    pub fn is_of_object(&self) -> bool {
        self.is_damage() || matches!(self, Error::TooNew { .. })
    }

    /// Returns what an error of an object is about, and what is wrong with it.
    pub fn object_and_reason(&self) -> (String, String) {
        match self {
            Error::Damaged { object, reason } | Error::TooNew { object, reason } => {
                (object.clone(), reason.clone())
            }
            Error::Store(error) => (error.name.clone(), error.reason.clone()),
            error => ("the store".to_owned(), error.to_string()),
        }
    }

    /// Returns what the user can do next, where what has failed says so itself.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Store(error) => error.remedy.as_deref(),
            Error::LeftBehind { source, .. } => source.remedy(),
            _ => None,
        }
    }

    /// Returns what the user can do next.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::NoRepository { .. } => {
                "check --repo, or create a repository there with `icecore init`"
            }
            Error::RepositoryExists { .. } => {
                "use it with `icecore snapshot`, or choose another place"
            }
            Error::NotEmpty { .. } => "choose an empty or a new folder",
            Error::WrongPassword { .. } => {
                "try again, or use the exported identity: --identity FILE opens the archive without a password"
            }
            Error::PasswordMemory { .. } => {
                "if the password was made like that and the machine has so much memory, allow it: --password-memory SIZE"
            }
            Error::KeyRemoved { .. } => {
                "somebody has put back a password that was removed or changed: use the one that is valid now, or the exported identity, and delete the object that `icecore check` names; if `key add` was interrupted, run it again"
            }
            Error::WrongIdentity => "use the identity that was exported from this repository",
            Error::WrongCredential => {
                "this may be another repository under an old name; open it once with its password to enrol this host"
            }
            Error::NeedsIdentity => "use --password-file, ICECORE_PASSWORD or --identity FILE",
            Error::NoConditionalPut => crate::store::NO_CREATE_ONLY,
            Error::NoClass { .. } => {
                "choose classes that it accepts: --pack-class STANDARD --hot-class STANDARD (Hot on Azure)"
            }
            Error::LeftBehind { source, .. } => return source.hint(),
            Error::NoSnapshot { .. } => "`icecore snapshots` lists them; `latest` is the newest",
            Error::AmbiguousSnapshot { .. } => "type more digits of the id",
            Error::NotInSnapshot { .. } => "`icecore ls -R SNAP` lists the paths in it",
            Error::IsFolder { .. } => "use `icecore restore` for folders",
            Error::TargetNotEmpty { .. } => {
                "choose a new folder, or what to do with existing files: --overwrite never|if-changed|always"
            }
            Error::NoOriginal { .. } => "choose a folder with --target DIR",
            Error::Damaged { object, .. } if is_kept(object) => {
                "on a host that has read it before, `icecore check --repair` puts it back; keep the repository as it is"
            }
            Error::Damaged { .. } => {
                "`icecore check` finds all damage and names the files; keep the repository as it is"
            }
            Error::TooNew { .. } => "update icecore",
            Error::RolledBack { .. } => {
                "do not write to it yet: was the NAS restored from a snapshot, or is another disk mounted? If you put back an old copy yourself, `icecore rebuild-index` accepts it; if only entries of the log are gone, `icecore check --repair` puts them back"
            }
            Error::Forked { .. } => {
                "do not write to it yet: was the NAS restored from a snapshot, or is another disk mounted? If you put back an old copy yourself, `icecore rebuild-index` accepts it"
            }
            Error::Reread => "run the command again",
            Error::NoWriter { .. } | Error::AmbiguousWriter { .. } => {
                "`icecore key writers` lists them; type the first digits of the id"
            }
            Error::MayNot => {
                "only the owner may do this: use --password-file, ICECORE_PASSWORD or --identity FILE"
            }
            Error::Revoked { .. } | Error::NotEnrolled => {
                "the owner enrols this host again: `icecore key enrol`, with the password"
            }
            Error::PromiseBroken { .. } => {
                "run the command again: it writes the lost entry again. Then move the archive to a store whose create-only puts are atomic"
            }
            Error::Starved { .. } => {
                "if many hosts write at once, run the command again later. If a stolen key floods the log, disable that key: `aws iam list-access-keys --user-name NAME`, then `aws iam update-access-key --user-name NAME --access-key-id ID --status Inactive`"
            }
            Error::BehindHead { .. } | Error::NotHead { .. } => {
                "do not write to it yet: was the NAS restored from a snapshot, is another disk mounted, or is the head that of another repository?"
            }
            Error::Catalog { .. } if self.is_full_disk() => {
                "the disk of the cache is full: free some space, or choose another disk with --cache-dir"
            }
            Error::Catalog { source, .. } => match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::CannotOpen) => {
                    "the cache cannot be written: choose another folder with --cache-dir"
                }
                Some(rusqlite::ErrorCode::SystemIoFailure) => {
                    "the disk of the cache has errors: choose another disk with --cache-dir"
                }
                _ => "`icecore rebuild-index` rebuilds the catalog; nothing is lost",
            },
            Error::Exposed { reason: Exposed::Foreign(_), .. } => {
                "run icecore as the user that owns it, change its owner (`chown`), or choose other folders: --cache-dir and --config-dir"
            }
            Error::Exposed { reason: Exposed::Writable, .. } => {
                "remove that right (`chmod go-w`), or choose other folders: --cache-dir and --config-dir"
            }
            Error::Exposed { reason: Exposed::Irregular, .. } => {
                "move it away and run the command again"
            }
            Error::LockWait { .. } => {
                "wait until that run ends, or stop it, then run the command again; --lock-wait 6h waits longer"
            }
            Error::Cache { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    "the disk of the cache is full: free some space, or choose another disk with --cache-dir"
                }
                _ => "the cache cannot be used there: choose another folder with --cache-dir",
            },
            Error::File { source, .. } => return file_hint(source),
            Error::Store(error) if error.kind == StoreErrorKind::Denied && error.of_system => {
                "check the permissions there: the folder may belong to another user, or the disk may be read-only"
            }
            Error::Store(error) => store_hint(error.kind),
            Error::Pattern { .. } | Error::Input { .. } | Error::Interrupted => return None,
        })
    }
}

/// Returns whether hosts keep copies of an object.
fn is_kept(object: &str) -> bool {
    object == layout::CONFIG || layout::log_number(object).is_some()
}

fn file_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Some("the disk is full: free some space, or choose a folder on another disk")
        }
        std::io::ErrorKind::ReadOnlyFilesystem => {
            Some("the disk is read-only: choose another folder, or mount the disk writable")
        }
        std::io::ErrorKind::PermissionDenied => Some("check the permissions there"),
        std::io::ErrorKind::NotFound => Some("check the path"),
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            Some("something else already exists there: choose another path")
        }
        _ => Some(DISK_HINT),
    }
}

/// What to do when the operating system fails at something that should work.
const DISK_HINT: &str = "the disk or its file system has errors: check the system log";

fn store_hint(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Location => {
            "a repository is a folder path, s3://bucket/prefix, gs://… or az://…"
        }
        StoreErrorKind::NotFound => {
            "an object is missing: `icecore check` names the files that need it"
        }
        StoreErrorKind::NoBucket => {
            "icecore never creates buckets: create it first, or check the name"
        }
        StoreErrorKind::Credentials => {
            "check the credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or AWS_PROFILE"
        }
        StoreErrorKind::Denied => {
            "this is not allowed: `icecore policy backup` prints the rights in S3 that a host needs which takes snapshots, `icecore policy restore` those of a host that also reads"
        }
        StoreErrorKind::Archived => {
            "the object is in an archive class and must be thawed first: `icecore restore` does that"
        }
        StoreErrorKind::Unreachable => {
            "check the network and the endpoint, then run the command again: uploaded data is not sent twice; --retry-for 2h waits longer"
        }
        StoreErrorKind::Busy => {
            "try again later: uploaded data is not sent twice; --retry-for 2h waits longer"
        }
        StoreErrorKind::NoSpace => {
            "the disk is full: free some space (`icecore prune --now` frees what no snapshot needs), then run the command again; uploaded data is not sent twice"
        }
        StoreErrorKind::Disk => DISK_HINT,
        StoreErrorKind::Length => {
            "an object is truncated: `icecore check` names the files that need it"
        }
        StoreErrorKind::Unreadable => {
            "the disk cannot read the object: copy the repository to another disk, then run `icecore check`"
        }
        StoreErrorKind::Closed => {
            "the files of the repository belong to another user: let this user read them, then run the command again"
        }
        StoreErrorKind::Settings => "check AWS_REGION and the clock of this computer",
        StoreErrorKind::Unsupported => {
            "this server lacks a function of S3 that icecore needs: use another store, or a folder"
        }
        StoreErrorKind::Interrupted => "run the command again: uploaded data is not sent twice",
        StoreErrorKind::Other => {
            "the store or its disk failed: check both, then run the command again; uploaded data is not sent twice"
        }
    }
}
