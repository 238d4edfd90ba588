//! Reports when the network is away and when it is back, and counts the bytes that it transfers.

use std::time::SystemTime;

use icecore_engine::format::Time;
use icecore_engine::store::{Away, StoreErrorKind, Watch};

use crate::progress;
use crate::report::Report;
use crate::{signals, units};

/// Receives reports about waits for the store.
#[derive(Debug)]
pub struct Network {
    pub report: Report,
    /// The name of the store in messages.
    pub place: String,
}

impl Watch for Network {
    fn interrupted(&self) -> bool {
        signals::interrupted()
    }

    fn away(&self, away: &Away) {
        let since = units::local_clock(time(away.since));
        let text = format!("{}, trying again since {since}", what(away));
        progress::set_away(Some(text.clone()));
        self.report.note(&format!("{text}: {}", away.reason));
    }

    fn back(&self, away: &Away) {
        progress::set_away(None);
        let since = units::local_clock(time(away.since));
        self.report.note(&match away.kind {
            StoreErrorKind::Busy => {
                format!("the store answers again; it had been busy since {since}")
            }
            StoreErrorKind::Credentials | StoreErrorKind::NoCredentials => {
                "the store accepts the credentials again".to_owned()
            }
            _ => format!("the network is back; it had been away since {since}"),
        });
    }

    fn broken_promise(&self, number: u64, then: &str) {
        let what = format!(
            "this store broke its promise: it acknowledged entry {number} of the log and then lost it; {then}. Move the archive to a store whose create-only puts are atomic"
        );
        self.report.problem(&self.place, &what);
    }

    fn not_copied(&self, number: u64, place: &str, then: &str) {
        let what = format!(
            "this copy was promoted without entry {number} of the log, which this computer has seen at {place}; {then}"
        );
        self.report.problem(&self.place, &what);
    }

    fn sent(&self, bytes: i64) {
        progress::sent(bytes);
    }

    fn received(&self, bytes: u64) {
        progress::received(bytes);
    }
}

fn what(away: &Away) -> &'static str {
    match away.kind {
        StoreErrorKind::Busy => "the store is busy",
        StoreErrorKind::Credentials | StoreErrorKind::NoCredentials => {
            "the store refuses the credentials"
        }
        _ => "network is away",
    }
}

fn time(time: SystemTime) -> Time {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}
