//! Repeats requests after transient failures, with growing pauses, until they succeed, the time for that is over
//! (`StoreOptions::retry_for`, half an hour), or the user stops the run. Nothing else repeats a request, except two
//! create-only puts: that of a log entry whose outcome is still unknown after that (`repo/commit.rs`), and that of a pack
//! which was refused although its name is free (`repo/uploads.rs`).
//!
//! It informs the watcher when the store cannot be reached and when it answers again. Once it has given up, it repeats
//! nothing until the store answers again, because a run must not wait as long for each of a thousand files.

use std::cell::Cell;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, info};

use super::credentials::Renewed;
use super::link::Pulse;
use super::trouble::Retry;
use super::watch::{Away, Watch};
use super::{StoreError, StoreErrorKind};

/// How often a wait checks whether the user has stopped the run.
const TICK: Duration = Duration::from_millis(100);
/// After the user has stopped the run, a request may transfer no byte for this long, and may take `STOPPING_MAX` in
/// all.
const STOPPING_IDLE_MAX: Duration = Duration::from_secs(1);
const STOPPING_MAX: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Minimum number of attempts for a request whose bytes move but which never completes.
const TRIES_MIN: u32 = 10;
/// Limits renewals, because a source may return new credentials each time, none of them valid.
const RENEWALS_MAX: u32 = 3;
/// If no byte has moved for this long, report it at the first failure instead of the second.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// The state that all requests to one store share.
#[derive(Debug)]
pub(super) struct Patience {
    pub watch: Arc<dyn Watch>,
    pub retry_for: Duration,
    pub pulse: Arc<Pulse>,
    pub credentials: Option<Arc<Renewed>>,
    state: Mutex<Outage>,
}

#[derive(Debug, Default)]
struct Outage {
    away: Option<Away>,
    gave_up: bool,
    stopped: Option<Instant>,
    /// When the store last answered a request properly.
    served: Option<Instant>,
}

/// An attempt of a request: what the earlier attempts mean for it.
#[derive(Debug, Default)]
pub(super) struct Try {
    /// The store may have executed an earlier attempt that seemed to fail.
    pub maybe_done: bool,
    moved: Cell<bool>,
}

impl Try {
    /// Records that a part of the answer has arrived, which is not requested again.
    pub fn moved(&self) {
        self.moved.set(true);
    }
}

impl Patience {
    pub fn new(
        watch: Arc<dyn Watch>,
        retry_for: Duration,
        pulse: Arc<Pulse>,
        credentials: Option<Arc<Renewed>>,
    ) -> Patience {
        Patience { watch, retry_for, pulse, credentials, state: Mutex::default() }
    }

    /// Repeats a request until it succeeds or fails for good.
    pub async fn run<T>(
        &self,
        name: &str,
        mut request: impl AsyncFnMut(&Try) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let (mut failed, mut tries, mut renewals) = (None, 0, 0);
        let mut this = Try::default();
        loop {
            let credentials = self.credentials.as_ref().map(|credentials| credentials.number());
            let Some(done) = self.watched(request(&this)).await else {
                return Err(interrupted(name));
            };
            let error = match done {
                Ok(done) => {
                    self.answered(true);
                    return Ok(done);
                }
                Err(error) => error,
            };
            if this.moved.take() {
                (failed, tries, renewals) = (None, 0, 0);
            }
            match error.again {
                again if self.is_final(again) => {
                    self.answered(again == Retry::Never);
                    return Err(error);
                }
                Retry::Credentials { awaited } => {
                    // When the run is interrupted, the source of credentials stops as well.
                    if self.watch.interrupted() {
                        return Err(interrupted(name));
                    }
                    if renewals < RENEWALS_MAX && self.renewed(credentials, awaited).await {
                        renewals += 1;
                        continue;
                    }
                    // Credentials that never worked are wrong; credentials that did work are being replaced, so wait.
                    if !awaited || self.state().served.is_none() || self.credentials.is_none() {
                        self.answered(false);
                        return Err(error);
                    }
                }
                Retry::Sent => this.maybe_done = true,
                Retry::Unsent | Retry::OnceServed | Retry::Never => {}
            }
            tries += 1;
            let now = Instant::now();
            let quiet = now - self.pulse.last().max(began);
            let failed = *failed.get_or_insert(now - quiet.min(now - began));
            let failing = now - failed;
            if self.is_over(quiet, failing, tries) || self.state().gave_up {
                self.give_up_since(failed);
                return Err(gave_up(error, failing));
            }
            if self.watch.interrupted() {
                return Err(interrupted(name));
            }
            if tries > 1 || quiet >= QUIET_MAX {
                self.away(&error, quiet.max(failing));
            }
            let pause = self.pause_after(tries);
            let (kind, reason) = (error.kind, &error.reason);
            debug!(object = name, tries, ?pause, ?kind, reason, "request failed, trying again");
            if !self.pause(pause).await {
                return Err(interrupted(name));
            }
        }
    }

    /// Returns whether repeating a request cannot help.
    fn is_final(&self, again: Retry) -> bool {
        match again {
            Retry::Never => true,
            Retry::OnceServed => self.state().served.is_none(),
            Retry::Sent | Retry::Unsent | Retry::Credentials { .. } => false,
        }
    }

    /// Returns whether to give up a request that has failed for this long and this often.
    fn is_over(&self, quiet: Duration, failing: Duration, tries: u32) -> bool {
        quiet >= self.retry_for
            || (failing >= self.retry_for && (tries >= TRIES_MIN || self.retry_for.is_zero()))
    }

    /// Gives up the store, unless another request has succeeded since this one first failed; then only this request is
    /// given up.
    fn give_up_since(&self, failed: Instant) {
        let mut state = self.state();
        state.gave_up |= state.served.is_none_or(|served| served < failed);
    }

    /// Returns a pause that doubles with each attempt, minus a random part of up to a half, so that requests that
    /// failed together do not return together.
    fn pause_after(&self, tries: u32) -> Duration {
        let longest = PAUSE_MAX.min(self.retry_for / 20).max(TICK);
        let pause = PAUSE_FIRST.saturating_mul(1 << (tries - 1).min(16)).min(longest);
        let share = getrandom::u32().unwrap_or_default();
        pause.mul_f64(1.0 - f64::from(share) / f64::from(u32::MAX) / 2.0)
    }

    /// Records that the store has answered; `well` is false if it refused the credentials.
    pub fn answered(&self, well: bool) {
        let mut state = self.state();
        state.gave_up = false;
        if well {
            state.served = Some(Instant::now());
        }
        if let Some(away) = state.away.take() {
            drop(state);
            info!("the store answers again");
            self.watch.back(&away);
        }
    }

    fn away(&self, error: &StoreError, ago: Duration) {
        let mut state = self.state();
        if state.away.is_none() {
            let now = SystemTime::now();
            let since = now.checked_sub(ago).unwrap_or(now);
            let away = Away { since, kind: error.kind, reason: error.reason.clone() };
            state.away = Some(away.clone());
            drop(state);
            info!(kind = ?away.kind, reason = away.reason, "the store is out of reach");
            self.watch.away(&away);
        }
    }

    /// Reads the credentials again. Returns whether they differ from those with this number.
    async fn renewed(&self, number: Option<u64>, matters: bool) -> bool {
        match (&self.credentials, number) {
            (Some(credentials), Some(number)) => credentials.renew(number, matters).await,
            _ => false,
        }
    }

    /// Awaits `work`; returns `None` if the user does not want to wait any longer.
    async fn watched<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(TICK, &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.must_stop() => return None,
                Err(_) => {}
            }
        }
    }

    /// Returns whether the user has stopped the run and the current request takes too long to finish.
    fn must_stop(&self) -> bool {
        if !self.watch.interrupted() {
            return false;
        }
        let stopped = *self.state().stopped.get_or_insert_with(Instant::now);
        stopped.elapsed() >= STOPPING_MAX
            || self.pulse.last().max(stopped).elapsed() >= STOPPING_IDLE_MAX
    }

    /// Sleeps; returns false if the user has stopped the run.
    async fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            if self.watch.interrupted() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            tokio::time::sleep(left.min(TICK)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, Outage> {
        self.state.lock().expect("no code panics with it")
    }
}

fn interrupted(name: &str) -> StoreError {
    let reason = "interrupted while waiting for the store".to_owned();
    StoreError::new(StoreErrorKind::Interrupted, name.to_owned(), reason)
}

fn gave_up(error: StoreError, after: Duration) -> StoreError {
    let after = match after.as_secs() {
        0 => return error,
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} minutes", seconds / 60),
    };
    let reason = error.reason.trim_end_matches('.');
    StoreError { reason: format!("{reason}; retried for {after}"), ..error }
}
