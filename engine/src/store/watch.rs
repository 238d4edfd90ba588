//! What a store reports while it works: that it waits, and the bytes that move.

use std::fmt;
use std::time::SystemTime;

use super::StoreErrorKind;

/// Receives what a store waits for and what moves over its link, from many threads; says whether to wait.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Asked often: true ends what waits for the store.
    fn interrupted(&self) -> bool {
        false
    }
    /// The store is out of reach and is asked again and again.
    fn away(&self, _away: &Away) {}
    /// The store answers again.
    fn back(&self, _away: &Away) {}
    /// The store has acknowledged an entry of the log and has lost it; `then` is what becomes of that.
    fn broken_promise(&self, _number: u64, _then: &str) {}
    /// Bytes of a request have left for the store. Below zero: that request failed, and they are sent again.
    fn sent(&self, _bytes: i64) {}
    /// Bytes of an object have arrived.
    fn received(&self, _bytes: u64) {}
}

/// A store that is out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// When the last byte moved, or the first request failed.
    pub since: SystemTime,
    pub kind: StoreErrorKind,
    pub reason: String,
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
