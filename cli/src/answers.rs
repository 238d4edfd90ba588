//! Measures how long a command waits for a person, because that does not count as its duration.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Total milliseconds that this run has waited for answers.
static WAITED_MS: AtomicU64 = AtomicU64::new(0);

/// Returns the time since `started`, without the time spent waiting for answers.
pub fn without_waiting(started: Instant) -> Duration {
    started.elapsed().saturating_sub(Duration::from_millis(WAITED_MS.load(Ordering::Relaxed)))
}

/// Waits for an answer. This time does not count as duration of the command.
pub fn waiting<T>(ask: impl FnOnce() -> T) -> T {
    let asked = Instant::now();
    let answer = ask();
    let waited = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    WAITED_MS.fetch_add(waited, Ordering::Relaxed);
    answer
}
