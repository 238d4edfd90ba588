//! The head of the log as a short text that can be carried to a host by hand (spec section 6.1).

use std::fmt;
use std::str::FromStr;

use super::id::{hex, unhex};
use super::{Digest, FormatError};

/// A state of the log that somebody has seen: `12:9f3a…`, a number and 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Number of the entry, from 1.
    pub number: u64,
    /// The first bytes of its digest.
    pub start: [u8; 16],
}

impl LogHead {
    pub fn new(number: u64, digest: &Digest) -> LogHead {
        let start = *digest.0.first_chunk().expect("a digest has 32 bytes");
        LogHead { number, start }
    }
}

impl fmt::Display for LogHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hex(&self.start))
    }
}

impl FromStr for LogHead {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<LogHead, FormatError> {
        let parse = || {
            let (number, start) = text.trim().split_once(':')?;
            let number = number.parse().ok().filter(|number| *number > 0)?;
            Some(LogHead { number, start: unhex(&start.to_ascii_lowercase())? })
        };
        parse().ok_or(FormatError::Invalid { what: "head of a log" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let head = LogHead::new(12, &Digest([0xa5; 32]));
        assert_eq!(head.to_string(), "12:a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
        assert_eq!(head.to_string().to_uppercase().parse(), Ok(head));
        for bad in ["", "12", "12:", "0:a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "x:a5", "12:a5", ":"] {
            assert!(bad.parse::<LogHead>().is_err(), "{bad}");
        }
    }
}
