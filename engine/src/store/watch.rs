//! Reports about what a store waits for and about the bytes that it transfers.

use std::fmt;
use std::time::SystemTime;

use super::StoreErrorKind;

/// Receives reports about waits and transferred bytes, from many threads, and decides whether to
/// keep waiting.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Returns true to end all waits for the store. Called often.
    fn interrupted(&self) -> bool {
        false
    }
    /// The store cannot be reached, and the request is being repeated.
    fn away(&self, _away: &Away) {}
    /// The store answers again.
    fn back(&self, _away: &Away) {}
    /// The store has lost an entry of the log that it had acknowledged; `then` says what icecore
    /// does about it.
    fn broken_promise(&self, _number: u64, _then: &str) {}
    /// A copy that was promoted lacks an entry of the log that this host has read at `place`; `then` says what icecore
    /// does about it.
    fn not_copied(&self, _number: u64, _place: &str, _then: &str) {}
    /// Bytes of a request were sent. Negative if the request failed and these bytes will be sent
    /// again.
    fn sent(&self, _bytes: i64) {}
    /// Bytes of an object have arrived.
    fn received(&self, _bytes: u64) {}
}

/// The report about a store that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Since when it cannot be reached: the time of the last byte, or of the first failed request.
    pub since: SystemTime,
    /// What failed last.
    pub kind: StoreErrorKind,
    /// Why.
    pub reason: String,
}

/// Ignores all reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
