//! Waiting for a person to answer: it is no part of how long a command takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Milliseconds that this run has waited for answers.
static WAITED_MS: AtomicU64 = AtomicU64::new(0);

/// Returns how long something took, without the time that it waited for answers.
pub fn without_waiting(started: Instant) -> Duration {
    started.elapsed().saturating_sub(Duration::from_millis(WAITED_MS.load(Ordering::Relaxed)))
}

/// Waits for an answer, which is no part of how long the command took.
pub fn waiting<T>(ask: impl FnOnce() -> T) -> T {
    let asked = Instant::now();
    let answer = ask();
    let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    WAITED_MS.fetch_add(waited, Ordering::Relaxed);
    answer
}
