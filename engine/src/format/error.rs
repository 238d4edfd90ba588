//! What can be wrong with bytes.

/// Why some bytes are not a valid object of this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("truncated: {what} needs {needed} bytes, but only {left} are left")]
    Truncated { what: &'static str, needed: u64, left: u64 },
    #[error("unknown {what} ({value})")]
    Unknown { what: &'static str, value: u8 },
    #[error("not a valid {what} (bad magic number)")]
    Magic { what: &'static str },
    #[error("{what} has format version {found}, but this program reads only up to {known}")]
    TooNew { what: &'static str, found: u16, known: u16 },
    #[error("{what} needs a feature that this program does not have (flags {flags:#06x})")]
    UnknownFlags { what: &'static str, flags: u16 },
    #[error("unknown signature scheme ({scheme})")]
    UnknownScheme { scheme: u16 },
    #[error("{what}: {found} is over the limit of {max}")]
    Limit { what: &'static str, found: u64, max: u64 },
    #[error("invalid {what}")]
    Invalid { what: &'static str },
    #[error("invalid record in {what}: {reason}")]
    Record { what: &'static str, reason: String },
}

impl FormatError {
    /// Returns whether a newer program may read what this one cannot.
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            FormatError::TooNew { .. }
                | FormatError::UnknownFlags { .. }
                | FormatError::Unknown { .. }
        )
    }
}
