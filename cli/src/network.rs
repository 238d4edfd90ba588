//! Says when the network is away and when it is back: in the bar if there is one, in a plain line if not.

use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use icecore_engine::format::Time;
use icecore_engine::store::{Away, StoreErrorKind, Watch};

use crate::progress;
use crate::report::Report;
use crate::{signals, units};

/// What the bar said before the network went away.
static BEFORE: Mutex<Option<String>> = Mutex::new(None);

fn before() -> MutexGuard<'static, Option<String>> {
    BEFORE.lock().expect("no code panics with it")
}

/// Watches over what waits for the store.
#[derive(Debug)]
pub struct Network {
    pub report: Report,
}

impl Watch for Network {
    fn interrupted(&self) -> bool {
        signals::interrupted()
    }

    fn away(&self, away: &Away) {
        let since = units::local_clock(time(away.since));
        let text = format!("{}, trying again since {since}", what(away));
        if let Some(bar) = progress::shown() {
            before().get_or_insert_with(|| bar.message());
            bar.set_message(text.clone());
        }
        self.say(&format!("{text}: {}", away.reason));
    }

    fn back(&self, away: &Away) {
        if let (Some(message), Some(bar)) = (before().take(), progress::shown()) {
            bar.set_message(message);
        }
        let since = units::local_clock(time(away.since));
        self.say(&match away.kind {
            StoreErrorKind::Busy => format!("the store answers again; it was busy since {since}"),
            StoreErrorKind::Credentials => "the store accepts the credentials again".to_owned(),
            _ => format!("network is back; it was away since {since}"),
        });
    }
}

impl Network {
    /// Prints a line above the bar, if there is one.
    fn say(&self, text: &str) {
        match progress::shown() {
            Some(bar) => bar.suspend(|| self.report.note(text)),
            None => self.report.note(text),
        }
    }
}

fn what(away: &Away) -> &'static str {
    match away.kind {
        StoreErrorKind::Busy => "the store is busy",
        StoreErrorKind::Credentials => "the store refuses the credentials",
        _ => "network is away",
    }
}

fn time(time: SystemTime) -> Time {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}
