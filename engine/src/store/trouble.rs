//! Why a request failed, and whether to repeat it.

use std::time::Duration;

use http::StatusCode;

/// The reason for rejecting an answer that looks like a web page.
pub(super) const PAGE: &str = "a web page answered instead of the store, perhaps a login page";

/// The kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The URL names no kind of store that icecore supports.
    Location,
    /// There is no object of this name.
    NotFound,
    /// There is no such bucket.
    NoBucket,
    /// The credentials are missing, wrong or expired.
    Credentials,
    /// The source of the credentials has none: its settings are wrong, or its program failed.
    NoCredentials,
    /// The credentials are valid, but lack the permission.
    Denied,
    /// The object is in an archive class and must be thawed first.
    Archived,
    /// No answer.
    Unreachable,
    /// The store is too busy, and repeating the request did not help.
    Busy,
    /// The disk of a folder is full, or a quota is used up.
    NoSpace,
    /// The disk of a folder failed.
    Disk,
    /// An object does not have the length that it must have.
    Length,
    /// The disk cannot read the data back: a bad sector.
    Unreadable,
    /// This user has no permission to read an object in a folder.
    Closed,
    /// A link or a file is in the place of a folder of the archive.
    NoFolder,
    /// A setting of this host does not match the store: the region, the clock.
    Settings,
    /// The store lacks a required function.
    Unsupported,
    /// The user has stopped the run while it waited for the store.
    Interrupted,
    /// None of these.
    Other,
}

/// Whether a request that failed may succeed if it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    /// Yes, and the store did not execute the request.
    Unsent,
    /// Yes, but the store may have executed the request already.
    Sent,
    /// Only if the store has answered before in this run. Otherwise a setting of this host is wrong, such as the scheme
    /// of the endpoint, and the user must change it.
    OnceServed,
    /// With other credentials. `awaited` is true if the present ones have expired, so that it is
    /// worth waiting for new ones.
    Credentials {
        awaited: bool,
    },
}

/// The failure of a request without a usable answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Trouble {
    pub kind: StoreErrorKind,
    pub again: Retry,
    pub reason: String,
    /// What the user can do, if more is known than the kind.
    pub remedy: Option<String>,
}

impl Trouble {
    pub fn new(kind: StoreErrorKind, again: Retry, reason: impl Into<String>) -> Trouble {
        Trouble { kind, again, reason: reason.into(), remedy: None }
    }

    pub fn never(reason: String) -> Trouble {
        Trouble::new(StoreErrorKind::Other, Retry::Never, reason)
    }

    pub fn idle(after: Duration) -> Trouble {
        let reason = format!("no data was sent or received for {:.0?}", after);
        Trouble::new(StoreErrorKind::Unreachable, Retry::Sent, reason)
    }

    pub fn page() -> Trouble {
        let remedy = "open a web page in a browser: the network may want you to log in first; the endpoint may also be that of a web server";
        let trouble = Trouble::new(StoreErrorKind::Unreachable, Retry::Sent, PAGE);
        Trouble { remedy: Some(remedy.to_owned()), ..trouble }
    }

    /// Returns the trouble for a web page, with its status, which helps to find out who sent the
    /// page.
    pub fn page_of(status: StatusCode) -> Trouble {
        Trouble { reason: format!("{PAGE} ({})", status.as_u16()), ..Trouble::page() }
    }

    /// Returns the trouble for an answer that no store gives to this request.
    pub fn foreign(status: StatusCode) -> Trouble {
        let status = status.as_u16();
        Trouble::lie(format!("something other than the store answered ({status})"))
    }

    /// Returns the trouble for an answer that cannot be true.
    pub fn lie(reason: impl Into<String>) -> Trouble {
        Trouble::new(StoreErrorKind::Unreachable, Retry::Sent, reason)
    }
}
