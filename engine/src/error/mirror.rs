//! Errors of second copies: why one is not written.

/// Why a mirror is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// A writer was to change a mirror. Write to the archive that it is a copy of, or promote it.
    #[error("{location} is a mirror: a second copy, which only `icecore mirror` writes")]
    ReadOnly {
        /// Where the mirror is.
        location: String,
    },
    /// Both places are the same.
    #[error("{location} cannot be a mirror of itself")]
    Itself {
        /// Where it is.
        location: String,
    },
    /// The place of the mirror contains an archive that other runs write to.
    #[error("{location} is an archive of its own and not a mirror")]
    NotMirror {
        /// Where the archive is.
        location: String,
    },
    /// The mirror is the copy of another repository.
    #[error("{location} is a mirror of another archive")]
    OtherArchive {
        /// Where the mirror is.
        location: String,
    },
    /// The archive has fewer log entries than its mirror.
    #[error(
        "the archive is older than its mirror: its log ends at entry {from}, and that of the mirror at entry {to}"
    )]
    Shorter {
        /// Number of the last entry of the archive.
        from: u64,
        /// Number of the last entry of the mirror.
        to: u64,
    },
    /// An entry of the mirror is not that of the archive.
    #[error(
        "the archive and its mirror have different histories: entry {number} of their logs differs"
    )]
    Differs {
        /// Number of the entry.
        number: u64,
    },
    /// Another run has deleted objects of the archive while they were copied.
    #[error("a prune has deleted objects of the archive while they were to be copied")]
    Moving,
}
