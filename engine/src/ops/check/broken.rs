//! What is wrong with the log.

use crate::format::Digest;

/// What is wrong with the log, as far as it can be put back.
#[derive(Debug, Default)]
pub(super) struct Broken {
    pub config: bool,
    /// Entries that are damaged or missing, and which they were; the newest first.
    pub entries: Vec<(u64, Digest)>,
    /// The newest entry that is there, if the store has gone back.
    pub ends_at: Option<u64>,
    /// It cannot be read to its end, so that nothing can be appended to it.
    pub unreadable: bool,
}
