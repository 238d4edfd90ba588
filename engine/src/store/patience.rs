//! Patience: repeats requests that failed in passing, with growing pauses, until they succeed, the time
//! for that is over, or the user stops the run. The only place that repeats a request.
//!
//! It informs the watcher when the store is out of reach and when it is back. When it has given up
//! once, nothing is repeated until the store answers again: a run must not wait as long for each of
//! a thousand files.

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

/// How often a wait looks whether the user has stopped the run.
const TICK: Duration = Duration::from_millis(100);
/// After that, a request may take so long without a byte, and so long at all.
const STOPPING_IDLE_MAX: Duration = Duration::from_secs(1);
const STOPPING_MAX: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A request whose bytes move each time, but which never gets through, is tried so often at least.
const TRIES_MIN: u32 = 10;
/// A source may have new credentials each time it is asked, none of them good.
const RENEWALS_MAX: u32 = 3;
/// So long without a byte is said at once, and not only after the second failure.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// What the requests of one store know together.
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
    /// When the store last answered a request as it should.
    served: Option<Instant>,
}

/// One try of a request, as far as those before matter to it.
#[derive(Debug, Default)]
pub(super) struct Try {
    /// An earlier one may have been carried out, although it seemed to fail.
    pub maybe_done: bool,
    moved: Cell<bool>,
}

impl Try {
    /// Part of what is asked for has come, and is not asked for again.
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
                Retry::Never => {
                    self.answered(true);
                    return Err(error);
                }
                Retry::Credentials { awaited } => {
                    // A source of credentials ends with the run.
                    if self.watch.interrupted() {
                        return Err(interrupted(name));
                    }
                    if renewals < RENEWALS_MAX && self.renewed(credentials, awaited).await {
                        renewals += 1;
                        continue;
                    }
                    // Credentials that never worked are wrong; those that did are being replaced.
                    if !awaited || self.state().served.is_none() || self.credentials.is_none() {
                        self.answered(false);
                        return Err(error);
                    }
                }
                Retry::Sent => this.maybe_done = true,
                Retry::Unsent => {}
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

    /// Returns whether a request is given up that has failed for a time, and so often.
    fn is_over(&self, quiet: Duration, failing: Duration, tries: u32) -> bool {
        quiet >= self.retry_for
            || (failing >= self.retry_for && (tries >= TRIES_MIN || self.retry_for.is_zero()))
    }

    /// Gives up the store, unless others have got through since a request failed: then it is only that request.
    fn give_up_since(&self, failed: Instant) {
        let mut state = self.state();
        state.gave_up |= state.served.is_none_or(|served| served < failed);
    }

    /// Returns a pause that doubles with each try, shorter by up to a half: many that failed together
    /// must not come back together.
    fn pause_after(&self, tries: u32) -> Duration {
        let longest = PAUSE_MAX.min(self.retry_for / 20).max(TICK);
        let pause = PAUSE_FIRST.saturating_mul(1 << (tries - 1).min(16)).min(longest);
        let share = getrandom::u32().unwrap_or_default();
        pause.mul_f64(1.0 - f64::from(share) / f64::from(u32::MAX) / 2.0)
    }

    /// The store has answered. `well` unless it refused the credentials.
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

    /// Reads the credentials again. Returns whether they are others than those of this number.
    async fn renewed(&self, number: Option<u64>, matters: bool) -> bool {
        match (&self.credentials, number) {
            (Some(credentials), Some(number)) => credentials.renew(number, matters).await,
            _ => false,
        }
    }

    /// Waits for something; `None` if the user does not want to wait for it any longer.
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

    /// Returns whether the user has stopped the run and what is on its way takes too long.
    fn must_stop(&self) -> bool {
        if !self.watch.interrupted() {
            return false;
        }
        let stopped = *self.state().stopped.get_or_insert_with(Instant::now);
        stopped.elapsed() >= STOPPING_MAX
            || self.pulse.last().max(stopped).elapsed() >= STOPPING_IDLE_MAX
    }

    /// Waits; false if the user has stopped the run.
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
