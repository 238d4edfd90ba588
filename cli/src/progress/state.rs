//! The state that a bar and its ticker share: how to show progress, and how much has moved so far.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use icecore_engine::format::Time;

use super::counts::{Counts, Wire};
use super::show::{Shown, Thaw};
use crate::report::Report;
use crate::units::now;
use crate::{screen, signals};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Nothing,
    /// On a terminal.
    Line,
    /// One line of text per minute.
    Log,
    /// Objects for a script.
    Json,
}

impl How {
    /// Returns how the user wants to see progress.
    pub fn of(report: &Report, no_progress: bool, json_progress: bool) -> How {
        match report {
            Report { json: true, .. } if json_progress => How::Json,
            Report { json: true, .. } | Report { quiet: true, .. } => How::Nothing,
            _ if no_progress => How::Nothing,
            _ if screen::can_draw() => How::Line,
            Report { verbose: true, .. } => How::Log,
            _ => How::Nothing,
        }
    }
}

/// The state that a bar and its ticker share.
pub(super) struct BarState {
    pub began: Instant,
    pub counts: Mutex<Counts>,
    pub thaw: Mutex<Option<ThawWait>>,
}

/// A wait for packs that are thawing.
#[derive(Debug, Clone, Copy)]
pub struct ThawWait {
    pub ready: u64,
    pub total: u64,
    /// When the last pack is ready, if that is known.
    pub by: Option<Time>,
    /// When it is time to look again.
    pub next_look: Instant,
}

impl BarState {
    /// Returns what to show now.
    pub fn look(&self) -> Shown {
        if let Some(ThawWait { ready, total, by, next_look }) = *lock(&self.thaw) {
            let next_look = next_look.saturating_duration_since(Instant::now());
            return Shown::Thaw(Thaw { ready, total, by, now: now(), next_look });
        }
        let away = lock(&AWAY).clone();
        let moment = lock(&self.counts).look(Instant::now(), wire(), away.is_some());
        if signals::interrupted() {
            let (uploads, bytes) = uploads();
            // Without an upload, there is no rate to show.
            let rate = moment.rate.filter(|_| uploads > 0);
            return Shown::Stopping { uploads, bytes, rate };
        }
        match away {
            // It may take minutes until a request notices that the network is back. A steady rate proves it earlier.
            Some(text) if moment.rate.is_none() => Shown::Away { text, moment },
            _ => Shown::Stage(moment),
        }
    }
}

/// Packs and bytes that are being uploaded.
pub(super) static PACKS: AtomicI64 = AtomicI64::new(0);
pub(super) static BYTES: AtomicI64 = AtomicI64::new(0);

/// Bytes that went over the link, without those of failed requests.
static SENT: AtomicI64 = AtomicI64::new(0);
static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Why nothing moves while the store cannot be reached.
static AWAY: Mutex<Option<String>> = Mutex::new(None);

/// Counts bytes that were sent, or subtracts those of a failed request.
pub fn sent(bytes: i64) {
    SENT.fetch_add(bytes, Ordering::Relaxed);
}

/// Counts received bytes of an object.
pub fn received(bytes: u64) {
    RECEIVED.fetch_add(bytes, Ordering::Relaxed);
    // Arriving bytes prove that the store answers, before the failed request finds that out.
    if bytes > 0 {
        *lock(&AWAY) = None;
    }
}

/// Records why the store cannot be reached, or `None` when it answers again.
pub fn set_away(away: Option<String>) {
    *lock(&AWAY) = away;
}

pub(super) fn wire() -> Wire {
    Wire {
        sent: u64::try_from(SENT.load(Ordering::Relaxed)).unwrap_or(0),
        received: RECEIVED.load(Ordering::Relaxed),
    }
}

pub(super) fn uploads() -> (u64, u64) {
    let count = |counter: &AtomicI64| u64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(0);
    (count(&PACKS), count(&BYTES))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
