//! Errors of the engine. Every variant says what failed; what the user can do about it is for the program to say.

mod argument;
mod kind;
mod mirror;

pub use argument::Argument;
pub use mirror::MirrorError;

use std::path::PathBuf;

use crate::codec::CodecError;
use crate::format::{ChunkId, FormatError, JobId, RepositoryId, SlotId};
use crate::store::{ObjectName, StoreError, StoreErrorKind};

/// Why a private file or folder cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exposed {
    /// It is owned by another user, who has this user id.
    #[error("it belongs to another user (uid {0})")]
    Foreign(u32),
    /// Its mode lets other users write to it.
    #[error("other users can write to it")]
    Writable,
    /// It is a symlink, a device or another special file.
    #[error("it is not a regular file")]
    Irregular,
}

/// The error type of every operation of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `config` at the location, so there is no repository to open.
    #[error("there is no archive at {location}")]
    NoRepository {
        /// Path of the folder, or URL of the bucket and prefix.
        location: String,
    },
    /// `init` found a repository at the location. Open it, or choose another location.
    #[error("there is already an archive at {location}")]
    RepositoryExists {
        /// Path of the folder, or URL of the bucket and prefix.
        location: String,
    },
    /// `init` found other files at the location, which is probably a mistake.
    #[error("{location} is not empty and is not an archive")]
    NotEmpty {
        /// Path of the folder, or URL of the bucket and prefix.
        location: String,
    },
    /// The repository or mirror would be inside the folder or the prefix of another repository. Choose another place.
    #[error("{location} is inside another archive, {outer}")]
    InsideRepository {
        /// Path of the folder, or URL of the bucket and prefix.
        location: String,
        /// The other repository, in the same form.
        outer: String,
    },
    /// The password opens none of the key slots that were tried.
    #[error("wrong password{}", untried(*slots, *left_out))]
    WrongPassword {
        /// Number of key slots that were tried.
        slots: usize,
        /// Number of key slots that were not tried, because there are too many (spec section 4.2).
        left_out: usize,
    },
    /// The password opened a key slot that is not in the owner's list of valid ones (spec section 4.2).
    #[error("the password opens key {}, which the owner does not list as valid", slot.short())]
    KeyRemoved {
        /// Id of the key slot; its object should be deleted.
        slot: SlotId,
    },
    /// A key slot was not tried, because its Argon2id cost exceeds the memory that the caller allows.
    #[error("{object}: its password takes {mib} MiB of memory, more than is allowed")]
    PasswordMemory {
        /// Name of the object of the key slot.
        object: ObjectName,
        /// Memory that one attempt needs, in MiB.
        mib: u64,
    },
    /// The public key, owner or first writer that follows from the identity is not the one in
    /// `config`.
    #[error("the identity does not belong to this archive")]
    WrongIdentity,
    /// `config` does not agree with the writer credential of this host (spec section 3.6).
    #[error("the writer credential does not belong to this archive")]
    WrongCredential,
    /// The repository was opened with a writer credential, which opens no pack.
    #[error("reading names or contents needs a password or the identity")]
    NeedsIdentity,
    /// In this store, two create-only puts to the same name can both succeed (spec section 6). Use another store.
    #[error(
        "the store does not honour create-only puts, so two writers could overwrite each other's objects"
    )]
    NoConditionalPut,
    /// The probe before `init` could not put an object in a storage class. Choose another class.
    #[error("the store does not accept the storage class {class}: {reason}")]
    NoClass {
        /// Name of the storage class.
        class: String,
        /// The store's answer.
        reason: String,
    },
    /// An operation failed, and so did deleting the objects that it had put. Delete them by hand.
    #[error("{source}; these objects could not be deleted and stay in the store: {}", names.join(", "))]
    LeftBehind {
        /// Names of the objects.
        names: Vec<String>,
        /// The first failure.
        source: Box<Error>,
    },
    /// No visible snapshot has this name: the first digits of its id, `latest`, `latest~2`, `latest@2026-01-28`.
    #[error("no snapshot matches {name:?}")]
    NoSnapshot {
        /// The name that was looked up.
        name: String,
    },
    /// Several snapshot ids begin with these digits. Use more digits.
    #[error("{name:?} matches several snapshots")]
    AmbiguousSnapshot {
        /// The name that was looked up.
        name: String,
    },
    /// The snapshot has no entry at this path.
    #[error("{path} is not in the snapshot")]
    NotInSnapshot {
        /// Path in the snapshot.
        path: String,
    },
    /// The content of a file was requested, but the entry is a folder.
    #[error("{path} is a folder")]
    IsFolder {
        /// Path in the snapshot.
        path: String,
    },
    /// A restore to the original place is not possible. Choose a target folder.
    #[error("the original place of this part of the snapshot is not known: {reason}")]
    NoOriginal {
        /// Why the place is not known.
        reason: &'static str,
    },
    /// The target of a restore contains files, and the options do not decide whether to overwrite them.
    #[error("the target {path} is not empty")]
    TargetNotEmpty {
        /// The target folder.
        path: PathBuf,
    },
    /// A pattern that selects or excludes files is malformed.
    #[error("invalid pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern as the user typed it.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument of the caller is not valid.
    #[error("{what} is not valid: {reason}")]
    Input {
        /// Which argument.
        what: Argument,
        /// What is wrong with it.
        reason: String,
    },
    /// An object, a chunk or a file of this host does not decode or does not authenticate.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// Name of the object, chunk or file.
        object: ObjectName,
        /// What is wrong with its bytes.
        reason: String,
    },
    /// An object has a version, flag or codec that only a newer program knows (spec section 7). Update the program.
    #[error("{object} needs a newer icecore: {reason}")]
    TooNew {
        /// Name of the object.
        object: ObjectName,
        /// What this program does not know.
        reason: String,
    },
    /// The log ends before the last entry that this host has read (spec section 6.1).
    #[error(
        "this archive is older than when this computer last used it (entry {seen} then, {found} now): it was rolled back or restored from an old copy"
    )]
    RolledBack {
        /// Number of the last entry that this host has read.
        seen: u64,
        /// Number of the last entry that is there now.
        found: u64,
    },
    /// An entry of the log differs from the one that this host has read before (spec section 6.1).
    #[error(
        "this is not the archive that this computer has seen: entry {number} of its log is different"
    )]
    Forked {
        /// Number of the entry.
        number: u64,
    },
    /// The store acknowledged an entry and then replaced it with another one (spec section 6.1). Run the operation
    /// again.
    #[error(
        "the store broke its promise: it replaced entry {number} of the log, which it had acknowledged, with another entry"
    )]
    PromiseBroken {
        /// Number of the entry.
        number: u64,
    },
    /// Other writers took every slot of the log that this host tried (spec section 6.3). Try again later.
    #[error(
        "other hosts wrote {slots} entries of the log in a row, so this host could not add its own{}",
        most_by(.writer.as_deref())
    )]
    Starved {
        /// Number of slots that were lost.
        slots: u32,
        /// The label of the writer that took most of them, if they are by an enrolled writer.
        writer: Option<String>,
    },
    /// The log ends before the head that the user expects (spec section 6.1).
    #[error(
        "this archive is older than the log head of --expect-head (entry {expected} expected, {found} found): it was rolled back or restored from an old copy"
    )]
    BehindHead {
        /// Number of the entry in the expected head.
        expected: u64,
        /// Number of the last entry that is there.
        found: u64,
    },
    /// The log has a different entry at the number of the expected head (spec section 6.1).
    #[error("this is not the archive of --expect-head: entry {number} of its log is different")]
    NotHead {
        /// Number of the entry in the expected head.
        number: u64,
    },
    /// The owner has revoked a writer or dismissed an entry since this run began. The engine reads the log again; if
    /// the error reaches the caller, run the operation again.
    #[error(
        "the owner has revoked a writer, or dismissed an entry of the log, since this run began"
    )]
    Reread,
    /// No enrolled writer has this label, or an id that begins with these digits.
    #[error("no writer has the name {name}")]
    NoWriter {
        /// The label or digits that were looked up.
        name: String,
    },
    /// Several enrolled writers have this label, or ids that begin with these digits. Use more digits of the id.
    #[error("several writers have the name {name}")]
    AmbiguousWriter {
        /// The label or digits that were looked up.
        name: String,
    },
    /// The entry contains a statement that this writer has no right to make (spec section 6.1).
    #[error("the writer credential of this host does not permit this")]
    MayNot,
    /// The owner has revoked this writer. The owner can enrol the host again.
    #[error("the writer credential of this host ({label}) was revoked by the owner")]
    Revoked {
        /// Label of the writer.
        label: String,
    },
    /// This host has no writer credential, or no entry of the log enrols its writer.
    #[error("the writer credential of this host is not enrolled in this archive")]
    NotEnrolled,
    /// SQLite failed on the local catalog. The catalog is a cache and can be rebuilt.
    #[error("the catalog of archive {repository} failed")]
    Catalog {
        /// The repository that the catalog belongs to.
        repository: RepositoryId,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// A system call failed on a file of the cache. The cache can be rebuilt.
    #[error("failed to {action} {path}")]
    Cache {
        /// What failed, as a verb: `read`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A system call failed on a local file outside the cache.
    #[error("failed to {action} {path}")]
    File {
        /// What failed, as a verb: `read`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A private file or folder of this host is not used, because another user could have changed it.
    #[error("{path} is not safe to use: {reason}")]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Which rule it breaks.
        reason: Exposed,
    },
    /// Another process on this host held a lock for longer than the caller was willing to wait.
    #[error("gave up waiting for {what}")]
    LockWait {
        /// What was waited for, and for how long.
        what: String,
    },
    /// Another process on this host works on a job.
    #[error("another process is working on job {}", .job.short())]
    JobInUse {
        /// The job.
        job: JobId,
    },
    /// The store failed; the kind of the error distinguishes transient from permanent failures.
    #[error(transparent)]
    Store(StoreError),
    /// A mirror would have been written to, or cannot be made from these two locations.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The user interrupted the run, see [`crate::progress::Progress::interrupted`].
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

/// Names the writer that took most of the slots.
fn most_by(writer: Option<&str>) -> String {
    writer.map_or(String::new(), |label| format!("; most of them are by the writer {label:?}"))
}

/// Describes how many key slots were not tried.
fn untried(slots: usize, left_out: usize) -> String {
    match left_out {
        0 => String::new(),
        _ => format!(
            ": it opens none of the {slots} key slots that were tried; {left_out} more were not"
        ),
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

    /// Converts a file error into a cache error.
    pub(crate) fn of_cache(self) -> Error {
        match self {
            Error::File { action, path, source } => Error::Cache { action, path, source },
            error => error,
        }
    }

    /// Returns the error for a chunk that is not in the catalog.
    pub(crate) fn lost_chunk(id: &ChunkId) -> Error {
        Error::damaged(format!("chunk {id}"), "it is in no pack of the log")
    }

    /// Returns the error for a damaged object, chunk or file.
    pub(crate) fn damaged(object: impl Into<ObjectName>, reason: impl Into<String>) -> Error {
        Error::Damaged { object: object.into(), reason: reason.into() }
    }

    /// Returns the error for an object that does not decode.
    pub(crate) fn object(object: impl Into<ObjectName>, error: impl Into<CodecError>) -> Error {
        let error = error.into();
        let (object, reason) = (object.into(), error.to_string());
        match error {
            CodecError::Format(
                FormatError::TooNew { .. }
                | FormatError::UnknownFlags { .. }
                | FormatError::Unknown { .. },
            ) => Error::TooNew { object, reason },
            _ => Error::Damaged { object, reason },
        }
    }
}
