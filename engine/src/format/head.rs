//! The head of the log as a short text that a person can carry to another host (spec section 6.1).

use std::fmt;
use std::str::FromStr;

use super::id::hex;
use super::{Digest, FormatError};

/// Number of hex digits that are printed. Finding two logs with the same digits takes 2^80
/// attempts.
pub const DIGITS: usize = 40;
/// Minimum number of digits that is accepted (2^64 attempts). Old heads have this many.
pub const DIGITS_MIN: usize = 32;
const DIGITS_MAX: usize = 64;

/// A state of the log that a host has seen: `12:9f3a…`, a number and the first hex digits of a
/// digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// Number of the entry, from 1.
    pub number: u64,
    /// The first digits of its digest, 32 to 64 in lower case.
    digits: String,
}

impl LogHead {
    /// Returns the head to print.
    pub fn new(number: u64, digest: &Digest) -> LogHead {
        LogHead { number, digits: hex(&digest.0[..DIGITS / 2]) }
    }

    /// Returns whether an entry with this digest is the one that the head names. Compares only the
    /// digits in the head.
    pub fn is_of(&self, digest: &Digest) -> bool {
        hex(&digest.0).starts_with(&self.digits)
    }
}

impl fmt::Display for LogHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.digits)
    }
}

impl FromStr for LogHead {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<LogHead, FormatError> {
        let parse = || {
            let (number, digits) = text.trim().split_once(':')?;
            let number = number.parse().ok().filter(|number| *number > 0)?;
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_head = is_hex && (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len());
            is_head.then(|| LogHead { number, digits: digits.to_ascii_lowercase() })
        };
        parse().ok_or(FormatError::Invalid { what: "head of a log" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let digest = Digest([0xa5; 32]);
        let head = LogHead::new(12, &digest);
        assert_eq!(head.to_string(), format!("12:{}", "a5".repeat(20)));
        assert_eq!(head.to_string().to_uppercase().parse(), Ok(head));
        let start = "a5".repeat(16);
        for bad in
            ["", "12", "12:", &format!("0:{start}"), "x:a5", "12:a5", ":", &format!("12:{start}g")]
        {
            assert!(bad.parse::<LogHead>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_head_is_compared_as_far_as_it_was_typed() {
        let mut digest = Digest([0xa5; 32]);
        let typed = |digits: usize| format!("12:{}", &"a5".repeat(40)[..digits]);
        for digits in [32, 33, 40, 63, 64] {
            let head: LogHead = typed(digits).parse().expect("enough digits");
            assert!(head.is_of(&digest), "{digits}");
        }
        assert!(typed(31).parse::<LogHead>().is_err() && typed(65).parse::<LogHead>().is_err());
        digest.0[31] ^= 1;
        let is_of = |digits, digest: &Digest| {
            typed(digits).parse::<LogHead>().expect("enough digits").is_of(digest)
        };
        assert!(is_of(63, &digest) && !is_of(64, &digest));
        digest.0[15] ^= 1;
        assert!(!is_of(32, &digest));
    }
}
