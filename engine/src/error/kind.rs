//! Classifies errors, so that callers can decide what to do next.

use super::{Error, Exposed};
use crate::format::RepositoryId;
use crate::store::{ObjectName, StoreError, StoreErrorKind};

impl Error {
    /// Returns whether the cache folder cannot be used: it is read-only, full or owned by another user, or it cannot be
    /// created.
    pub fn is_of_cache(&self) -> bool {
        use rusqlite::ErrorCode;
        match self {
            // A folder that others can write to is not included, because its owner must fix it.
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

    /// Returns what is wrong, without the name of the object.
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

    /// Returns whether an object of the store is missing or changed.
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

    /// Returns whether this user has no permission to read an object.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Store(error) if error.kind == StoreErrorKind::Closed)
    }

    /// Returns whether an object is there, but a part of it has changed or cannot be read.
    pub fn is_damage_of_content(&self) -> bool {
        let unreadable = |error: &StoreError| error.kind == StoreErrorKind::Unreadable;
        matches!(self, Error::Damaged { .. }) || matches!(self, Error::Store(e) if unreadable(e))
    }

    /// Returns whether an object is there, but truncated or unreadable in part.
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
                // SQLite's shared memory is a file as well, with its own error code for a full disk.
                let no_room = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
                let code = source.sqlite_error().map(|error| error.extended_code);
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
                    || code == Some(no_room)
            }
            _ => false,
        }
    }

    /// Returns the repository whose catalog is damaged. The catalog can be deleted; the next run rebuilds it.
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

    /// Returns whether objects of the log are missing or damaged, so that copies of them may help. Copies do not help
    /// if the log has a different history or entries of a newer version.
    pub fn is_rot(&self) -> bool {
        self.is_damage() && !matches!(self, Error::Forked { .. })
    }

    /// Returns whether the log is damaged in an entry after number `known`, up to which it was read.
    pub fn cuts_log_after(&self, known: u64) -> bool {
        matches!(self, Error::Damaged { object: ObjectName::Entry(number), .. } if *number > known)
    }

    /// Returns whether the owner has written an entry of the log that only a newer program understands. The entries
    /// before it can be read.
    pub fn is_newer(&self) -> bool {
        matches!(self, Error::TooNew { object: ObjectName::Entry(_), .. })
    }

    /// Returns whether one object is damaged or too new, so that work that does not need it can continue. Damage can
    /// look like a newer version.
    pub fn is_of_object(&self) -> bool {
        self.is_damage() || matches!(self, Error::TooNew { .. })
    }

    /// Returns the name of the object that failed, and what is wrong with it.
    pub fn object_and_reason(&self) -> (String, String) {
        match self {
            Error::Damaged { object, reason } | Error::TooNew { object, reason } => {
                (object.to_string(), reason.clone())
            }
            Error::Store(error) => (error.name.clone(), error.reason.clone()),
            error => ("the store".to_owned(), error.to_string()),
        }
    }

    /// Returns what the user can do next, if the error of the store suggests it. This is more specific than the hint.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Store(error) => error.remedy.as_deref(),
            Error::LeftBehind { source, .. } => source.remedy(),
            _ => None,
        }
    }
}
