//! The flaw of an object: a text for the user, and flags for the program.

use std::fmt;

use crate::error::Error;

/// The flaw of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flaw {
    pub text: String,
    /// Whether the parity of the pack can repair it.
    pub is_healable: bool,
    /// Whether the object belongs to another user, and only that user can read it.
    pub is_closed: bool,
    /// Whether nothing is damaged, but an entry of the log does not count or is doubtful.
    pub is_of_doubt: bool,
    /// Whether only reading data finds it again: the catalog records which chunks are damaged, but not this.
    pub is_of_reading: bool,
}

impl Flaw {
    /// Returns the flaw of an entry of the log that does not count or is doubtful.
    pub fn of_doubt(reason: String) -> Flaw {
        Flaw { is_of_doubt: true, ..Flaw::from(reason) }
    }

    /// Returns this flaw as one that only reading data finds again.
    pub fn of_reading(self) -> Flaw {
        Flaw { is_of_reading: true, ..self }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.is_healable { "; its parity can repair it" } else { "" };
        write!(f, "{}{more}", self.text)
    }
}

impl From<String> for Flaw {
    fn from(text: String) -> Flaw {
        Flaw {
            text,
            is_healable: false,
            is_closed: false,
            is_of_doubt: false,
            is_of_reading: false,
        }
    }
}

impl From<&str> for Flaw {
    fn from(text: &str) -> Flaw {
        Flaw::from(text.to_owned())
    }
}

impl From<&Error> for Flaw {
    fn from(error: &Error) -> Flaw {
        Flaw { is_closed: error.is_closed(), ..Flaw::from(error.reason()) }
    }
}
