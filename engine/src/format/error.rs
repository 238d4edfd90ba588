//! The reasons why bytes are not a valid object of the format.

/// The reason why bytes are not a valid object of this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end within a field.
    #[error("truncated: {what} needs {needed} bytes, but only {left} are left")]
    Truncated {
        /// The object or record that contains the field.
        what: &'static str,
        /// Length of the field, in bytes.
        needed: u64,
        /// Number of bytes that are left.
        left: u64,
    },
    /// A kind or codec is unknown; a newer program may know it (spec section 7).
    #[error("unknown {what} ({value})")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u8,
    },
    /// The object does not begin with its magic (spec section 1.3).
    #[error("not a valid {what}: its first bytes are wrong")]
    Magic {
        /// The object that was expected.
        what: &'static str,
    },
    /// The version is newer than this program; update it (spec section 7).
    #[error("{what} has format version {found}, but this program reads only up to {known}")]
    TooNew {
        /// The object.
        what: &'static str,
        /// Its version.
        found: u16,
        /// The newest version that this program reads.
        known: u16,
    },
    /// A critical flag is unknown; a newer program may know it (spec section 7).
    #[error("{what} needs a feature that this program does not have (flags {flags:#06x})")]
    UnknownFlags {
        /// The object.
        what: &'static str,
        /// All of its flags, known ones included.
        flags: u16,
    },
    /// A signature is not of scheme 1, ML-DSA-65, which makes a log entry void (spec section 7).
    #[error("unknown signature scheme ({scheme})")]
    UnknownScheme {
        /// Number of the scheme.
        scheme: u16,
    },
    /// A length or count is over its limit (spec section 8).
    #[error("{what}: {found} is over the limit of {max}")]
    Limit {
        /// The object or field.
        what: &'static str,
        /// Its length or count.
        found: u64,
        /// Its limit.
        max: u64,
    },
    /// A value is out of its range, or does not agree with other values.
    #[error("invalid {what}")]
    Invalid {
        /// The field.
        what: &'static str,
    },
    /// A record is not CBOR that matches its CDDL (spec section 1.2).
    #[error("invalid record in {what}: {reason}")]
    Record {
        /// The object or record.
        what: &'static str,
        /// The message of the CBOR decoder.
        reason: String,
    },
}

impl FormatError {
    /// Returns whether a newer program may be able to read the object.
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            FormatError::TooNew { .. }
                | FormatError::UnknownFlags { .. }
                | FormatError::Unknown { .. }
        )
    }
}
