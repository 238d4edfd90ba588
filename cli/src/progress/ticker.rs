//! The thread that shows progress. It samples several times a second, so that rates are right, and prints as often as
//! is useful to the reader.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::show::{self, Shown};
use super::state::{BarState, How, lock};
use crate::report::Report;
use crate::screen;

/// Variable with the seconds between two lines of a log or two objects.
pub const EVERY_VARIABLE: &str = "ICECORE_PROGRESS_SECONDS";

const TICK: Duration = Duration::from_millis(200);
/// A step that ends sooner shows nothing.
const FIRST_TICK: Duration = Duration::from_millis(100);
/// Time between two lines of a log.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Time between two JSON objects.
const JSON_EVERY: Duration = Duration::from_secs(1);

/// When the last line was printed. Successive steps share this, so that they print one line per minute together.
static LAST: Mutex<Option<Instant>> = Mutex::new(None);

pub(super) struct Ticker {
    stopped: Arc<Stopped>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Stopped {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Stopped {
    /// Waits; returns true if the step has ended.
    fn wait(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.is), time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Ticker {
    pub fn start(report: Report, how: How, state: Arc<BarState>) -> Ticker {
        let stopped = Arc::new(Stopped::default());
        let ends = stopped.clone();
        let run = move || tick(report, how, &state, &ends);
        let named = std::thread::Builder::new().name("progress".to_owned());
        // If the thread cannot be started, the command works, but shows no progress.
        let thread = if how == How::Nothing { None } else { named.spawn(run).ok() };
        Ticker { stopped, thread: Mutex::new(thread) }
    }

    pub fn stop(&self) {
        let Some(thread) = lock(&self.thread).take() else { return };
        *lock(&self.stopped.is) = true;
        self.stopped.changed.notify_all();
        let _ = thread.join();
    }
}

fn tick(report: Report, how: How, state: &BarState, stopped: &Stopped) {
    let every = every(how);
    let mut shown = None;
    let mut pause = FIRST_TICK.min(every);
    while !stopped.wait(pause) {
        pause = TICK.min(every);
        let now = state.look();
        let elapsed = state.began.elapsed();
        match how {
            How::Nothing => {}
            How::Line => screen::draw(&show::line(&now, elapsed, screen::columns())),
            How::Log if is_due(every) => report.log(&show::plain(&now, elapsed)),
            How::Json if is_due(every) => report.object("status", show::fields(&now, elapsed)),
            How::Log | How::Json => {}
        }
        shown = Some(now);
    }
    match how {
        How::Line => screen::draw(""),
        // Print the end of each step for a script, however short the step was.
        How::Json => {
            let now = state.look();
            if !matches!(now, Shown::Thaw(_)) || shown.is_none() {
                report.object("status", show::fields(&now, state.began.elapsed()));
            }
        }
        How::Nothing | How::Log => {}
    }
}

/// Returns whether it is time for the next line. The first is due when the program has run for that long.
fn is_due(every: Duration) -> bool {
    let mut last = lock(&LAST);
    let now = Instant::now();
    let since = *last.get_or_insert(now);
    let is_due = now - since >= every;
    if is_due {
        *last = Some(now);
    }
    is_due
}

/// Returns the time between two lines.
fn every(how: How) -> Duration {
    let usual = if how == How::Json { JSON_EVERY } else { LOG_EVERY };
    if how == How::Line {
        return TICK;
    }
    match std::env::var(EVERY_VARIABLE).map(|text| text.parse::<f64>()) {
        Ok(Ok(seconds)) if (0.01..1e6).contains(&seconds) => Duration::from_secs_f64(seconds),
        _ => usual,
    }
}
