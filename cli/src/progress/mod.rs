//! Progress: a line on a terminal, one line per minute in a log, or objects for a script. Problems are printed as they
//! occur.

mod counts;
mod heard;
mod show;
mod speed;
mod state;
mod ticker;

pub use heard::line_of;
pub use state::{How, ThawWait, received, sent, set_away};
pub use ticker::EVERY_VARIABLE;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use icecore_engine::error::Error;
use icecore_engine::format::Time;
use icecore_engine::progress::{Holder, Problem, Progress, Unit, Wait};

use self::counts::{Counts, Wire};
use self::state::{BYTES, BarState, PACKS, lock, uploads, wire};
use self::ticker::Ticker;
use crate::report::Report;
use crate::signals;
use crate::units::{count, local, show as show_path, size};

/// Reports what an interrupted run still has to do.
pub fn say_what_is_left(report: Report, by_key: bool) {
    // A remote store cancels requests that take longer.
    let soon = if wire() == Wire::default() { "" } else { " at most 10 s" };
    report.log(&stopping(uploads(), soon, by_key));
}

fn stopping((uploads, bytes): (u64, u64), soon: &str, by_key: bool) -> String {
    let again = if by_key { "Press Ctrl-C again" } else { "Send a second signal" };
    match uploads {
        0 => format!("Stopping. {again} to stop now."),
        _ => format!(
            "Stopping: waiting{soon} for {} of {}. {again} to stop now.",
            count(uploads, "upload"),
            size(bytes)
        ),
    }
}

/// Maximum number of problems that are remembered, so as not to repeat them.
const SAID_MAX: usize = 10_000;

/// The problems that the steps of a command have reported.
pub type Said = Arc<Mutex<HashSet<(PathBuf, String)>>>;

/// The progress of one step of a command.
pub struct Bar<'a> {
    report: &'a Report,
    how: How,
    stage: String,
    state: Arc<BarState>,
    ticker: Ticker,
    /// How long to wait for another process.
    lock_wait: Duration,
    waits: AtomicBool,
    said: Option<Said>,
}

impl<'a> Bar<'a> {
    pub fn new(report: &'a Report, stage: &str, how: How, lock_wait: Duration) -> Self {
        let state = Arc::new(BarState {
            began: Instant::now(),
            counts: Mutex::new(Counts::new(stage, wire())),
            thaw: Mutex::default(),
        });
        let ticker = Ticker::start(*report, how, state.clone());
        Bar {
            report,
            how,
            stage: stage.to_owned(),
            state,
            ticker,
            lock_wait,
            waits: AtomicBool::new(false),
            said: None,
        }
    }

    /// Leaves out the problems that earlier steps have reported.
    pub fn after(mut self, said: &Said) -> Self {
        self.said = Some(said.clone());
        self
    }

    /// Shows a wait for a thaw. In a log, each wait has a line.
    pub fn thaws(&self, wait: ThawWait) {
        *lock(&self.state.thaw) = Some(wait);
        if self.how == How::Log {
            self.report.log(&show::plain(&self.state.look(), Duration::ZERO));
        }
    }

    /// Announces how many bytes will be fetched over a link, because that determines how long the step
    /// takes.
    pub fn fetches(&self, bytes: u64) {
        self.counts().moves(bytes, false, wire());
    }

    /// Announces how many bytes will be sent over the link.
    pub fn sends(&self, bytes: u64) {
        self.counts().moves(bytes, true, wire());
    }

    /// Returns the number of items that are done.
    pub fn items(&self) -> u64 {
        self.counts().items()
    }

    /// Ends the step and erases its line.
    pub fn finish(&self) {
        self.ticker.stop();
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.state.counts)
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Progress for Bar<'_> {
    fn stage(&self, what: &str) {
        let mut counts = self.counts();
        // Keep the counts if the stage was prepared before the engine begins it.
        if !counts.is_of(what) {
            *counts = Counts::new(what, wire());
        }
    }

    fn found(&self, unit: Unit, count: u64, bytes: u64) {
        self.counts().found(unit, count, bytes);
    }

    fn counted(&self) {
        self.counts().counted();
    }

    fn wants_totals(&self) -> bool {
        self.how != How::Nothing
    }

    fn advance(&self, count: u64, bytes: u64) {
        self.counts().advance(count, bytes);
    }

    fn queued(&self, file_bytes: u64, pack_bytes: u64) {
        self.counts().queued(file_bytes, pack_bytes);
    }

    fn problem(&self, problem: Problem) {
        let Problem { path, message } = problem;
        if let Some(mut said) = self.said.as_ref().map(|said| lock(said)) {
            let is_new = said.len() >= SAID_MAX || said.insert((path.clone(), message.clone()));
            if !is_new {
                return;
            }
        }
        self.report.problem(&show_path(&path), &message);
    }

    fn uploads(&self, packs: i64, bytes: i64) {
        PACKS.fetch_add(packs, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
        if let Ok(arrived @ 1..) = u64::try_from(-bytes) {
            self.counts().uploaded(arrived);
        }
    }

    fn waits(&self, wait: &Wait) -> Result<(), Error> {
        self.check_interrupted()?;
        let what = named(wait);
        if wait.waited >= self.lock_wait {
            let what = match self.lock_wait {
                Duration::ZERO => what,
                waited => format!("{what}, after {}", time(waited)),
            };
            return Err(Error::LockWait { what });
        }
        if !self.waits.swap(true, Ordering::Relaxed) {
            self.stage("waiting");
            let text = format!("waiting for {what}, for {} at most", time(self.lock_wait));
            self.report.log(&text);
        }
        Ok(())
    }

    fn waited(&self) {
        if self.waits.swap(false, Ordering::Relaxed) {
            self.stage(&self.stage);
            self.report.note("the other run has ended; starting");
        }
    }

    fn interrupted(&self) -> bool {
        signals::interrupted()
    }
}

/// Returns the text for a wait, with the other process if it is known.
fn named(Wait { what, holder, .. }: &Wait) -> String {
    let Some(Holder { process, since }) = holder else { return (*what).to_owned() };
    let since = since.and_then(|since| since.duration_since(std::time::UNIX_EPOCH).ok());
    let since = since.and_then(|since| i64::try_from(since.as_secs()).ok());
    match since {
        Some(seconds) => {
            let since = local(Time { seconds, nanos: 0 });
            format!("{what} (process {process}, since {since})")
        }
        None => format!("{what} (process {process})"),
    }
}

/// Formats a duration in the syntax of `--lock-wait`.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_what_is_waited_for() {
        let texts = [
            (0, 0, "", "Stopping."),
            (1, 64 << 20, "", "Stopping: waiting for 1 upload of 64.00 MiB."),
            (
                2,
                65 << 20,
                " at most 10 s",
                "Stopping: waiting at most 10 s for 2 uploads of 65.00 MiB.",
            ),
        ];
        for (uploads, bytes, soon, text) in texts {
            let text = format!("{text} Press Ctrl-C again to stop now.");
            assert_eq!(stopping((uploads, bytes), soon, true), text);
        }
        assert_eq!(stopping((0, 0), "", false), "Stopping. Send a second signal to stop now.");
        let times =
            [(0, "0s"), (90, "90s"), (120, "2m"), (3600, "1h"), (90_000, "25h"), (172_800, "2d")];
        for (seconds, text) in times {
            assert_eq!(time(Duration::from_secs(seconds)), text);
            assert_eq!(crate::parse::duration(text), Ok(Duration::from_secs(seconds)));
        }
        let holder = Some(Holder { process: 4711, since: None });
        let wait = |holder| Wait { what: "another run", waited: Duration::ZERO, holder };
        assert_eq!(named(&wait(None)), "another run");
        assert_eq!(named(&wait(holder)), "another run (process 4711)");
        let since = Some(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let named = named(&wait(Some(Holder { process: 1, since })));
        assert!(named.starts_with("another run (process 1, since 2023-11-1"), "{named}");
    }
}
