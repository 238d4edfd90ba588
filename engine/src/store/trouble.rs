//! What kind of thing went wrong with a request, and whether to repeat it.

use std::time::Duration;

use http::StatusCode;

/// Why an answer that looks like a web page is none of the store.
pub(super) const PAGE: &str = "a web page answered instead of the store, perhaps a login page";

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The URL names no store we know.
    Location,
    NotFound,
    NoBucket,
    /// The credentials are missing, wrong or expired.
    Credentials,
    /// The credentials are right and may not do this.
    Denied,
    /// The object is in an archive class and must be thawed first.
    Archived,
    /// No answer.
    Unreachable,
    /// The store is too busy, and was asked again long enough.
    Busy,
    NoSpace,
    /// The disk of a folder failed.
    Disk,
    /// An object has another length than it must have.
    Length,
    /// The disk does not give back what was written: a bad sector.
    Unreadable,
    /// This user may not read an object in a folder.
    Closed,
    /// What this host has set does not fit the store: the region, the clock.
    Settings,
    /// The store does not have a function that is needed.
    Unsupported,
    /// The user has stopped the run while it waited for the store.
    Interrupted,
    Other,
}

/// Whether a request that failed may succeed if it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    /// Yes, and the store has not done it.
    Unsent,
    /// Yes, but the store may have done it already.
    Sent,
    /// With other credentials. `awaited` if it is worth waiting for them: these have expired.
    Credentials {
        awaited: bool,
    },
}

/// A request without a usable answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Trouble {
    pub kind: StoreErrorKind,
    pub again: Retry,
    pub reason: String,
    /// What to do about it, where that is known better than from the kind.
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

    /// A page with its status, which leads to what has sent it.
    pub fn page_of(status: StatusCode) -> Trouble {
        Trouble { reason: format!("{PAGE} ({})", status.as_u16()), ..Trouble::page() }
    }

    /// An answer that no store makes to what it was asked.
    pub fn foreign(status: StatusCode) -> Trouble {
        let status = status.as_u16();
        Trouble::lie(format!("something other than the store answered ({status})"))
    }

    /// An answer that is not true.
    pub fn lie(reason: impl Into<String>) -> Trouble {
        Trouble::new(StoreErrorKind::Unreachable, Retry::Sent, reason)
    }
}
