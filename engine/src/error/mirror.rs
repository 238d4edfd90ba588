//! Errors of mirrors.

/// The reason why a mirror is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// A writer attempted to change a mirror. It must write to the archive of the mirror, or the
    /// mirror must be promoted.
    #[error("{location} is a mirror: a second copy, which only `icecore mirror` writes")]
    ReadOnly {
        /// Location of the mirror.
        location: String,
    },
    /// Both locations are the same.
    #[error("{location} cannot be a mirror of itself")]
    Itself {
        /// The location.
        location: String,
    },
    /// The location of the mirror contains an archive of its own.
    #[error("{location} is an archive of its own and not a mirror")]
    NotMirror {
        /// Location of the archive.
        location: String,
    },
    /// The mirror is a copy of another repository.
    #[error("{location} is a mirror of another archive")]
    OtherArchive {
        /// Location of the mirror.
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
    /// An entry of the mirror differs from that of the archive.
    #[error(
        "the archive and its mirror have different histories: entry {number} of their logs differs"
    )]
    Differs {
        /// Number of the entry.
        number: u64,
    },
    /// A prune deleted objects of the archive before they could be copied.
    #[error("a prune has deleted objects of the archive while they were to be copied")]
    Moving,
}
