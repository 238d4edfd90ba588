//! The damage in the log.

use crate::format::Digest;

/// The damage in the log that a repair can undo by putting objects back.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub config: bool,
    /// Numbers and digests of entries that are damaged or missing, the newest first.
    pub entries: Vec<(u64, Digest)>,
    /// Number of the newest entry that exists, if the store was rolled back.
    pub ends_at: Option<u64>,
    /// Whether the log cannot be read to its end, so that nothing can be appended to it.
    pub unreadable: bool,
}
