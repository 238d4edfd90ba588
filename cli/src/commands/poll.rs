//! Waits for packs that are being thawed.

use std::time::{Duration, Instant};

use icecore_engine::error::Error;
use icecore_engine::format::Time;
use icecore_engine::ops::cold::{LOOK_FIRST, PackStates, next_look};
use icecore_engine::progress::Progress;

use crate::failure::Failure;
use crate::progress::ThawWait;
use crate::session::Session;

/// The packs to wait for.
#[derive(Debug, Clone, Copy)]
pub struct Packs {
    pub ready: u64,
    pub total: u64,
    /// The latest time at which all of them are ready, if it is known.
    pub by: Option<Time>,
}

impl Packs {
    pub fn of(states: PackStates, by: Option<Time>) -> Packs {
        Packs { ready: states.readable, total: states.readable + states.waiting(), by }
    }
}

/// Waits until it is time to look again, longer each time. `ICECORE_POLL_SECONDS` is the first
/// wait.
pub fn pause(session: &Session, polls: u32, packs: &Packs) -> Result<(), Failure> {
    let first = match std::env::var("ICECORE_POLL_SECONDS").map(|text| text.parse::<f64>()) {
        Ok(Ok(seconds)) if (0.01..1e6).contains(&seconds) => Duration::from_secs_f64(seconds),
        _ => LOOK_FIRST,
    };
    let pause = next_look(polls, first);
    let until = Instant::now() + pause;
    let bar = session.bar("thaw");
    let Packs { ready, total, by } = *packs;
    bar.thaws(ThawWait { ready, total, by, next_look: until });
    while Instant::now() < until {
        if bar.interrupted() {
            bar.finish();
            return Err(Error::Interrupted.into());
        }
        std::thread::sleep(Duration::from_millis(100).min(pause));
    }
    bar.finish();
    Ok(())
}
