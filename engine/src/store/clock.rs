//! The clock of a remote store, as its answers show it. Ages of objects in the store are computed
//! by this clock alone.

use std::sync::Mutex;
use std::time::Instant;

use http::HeaderMap;
use http::header::DATE;

/// The store's last known time, in seconds since 1970 UTC, and when it arrived.
#[derive(Debug, Default)]
pub(super) struct StoreClock(Mutex<Option<(i64, Instant)>>);

impl StoreClock {
    /// Reads the time from the headers of an answer, if they have one.
    pub fn hear(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(seconds) = date.and_then(seconds_of) {
            *self.0.lock().expect("nothing panics here") = Some((seconds, Instant::now()));
        }
    }

    /// Returns the current time of the store; `None` before the first answer.
    pub fn time(&self) -> Option<i64> {
        let heard = *self.0.lock().expect("nothing panics here");
        let (seconds, at) = heard?;
        let since = i64::try_from(at.elapsed().as_secs()).unwrap_or(i64::MAX);
        Some(seconds.saturating_add(since))
    }
}

/// Parses a date of an HTTP header, `Fri, 31 Dec 2027 00:00:00 GMT`.
pub(super) fn seconds_of(date: &str) -> Option<i64> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_sets_the_clock() {
        let clock = StoreClock::default();
        assert_eq!(clock.time(), None);
        let hear = |date: &str| {
            clock.hear(&[(DATE, date.parse().unwrap())].into_iter().collect());
            clock.time()
        };
        assert_eq!(hear("no date"), None);
        let later = hear("Fri, 31 Dec 2027 00:00:00 GMT").unwrap();
        assert!((1_830_211_200..1_830_211_260).contains(&later), "{later}");
        assert_eq!(hear("nonsense").map(|time| time >= later), Some(true), "it is not forgotten");
        let earlier = hear("Sun, 29 Nov 2026 12:00:00 GMT").unwrap();
        assert!(earlier < later, "a clock may be set back");
    }
}
