//! Measures the speed of a count. Does not read the clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rates are averages over this time.
const WINDOW: Duration = Duration::from_secs(30);
/// Bytes that move within this time at the start fill buffers, and do not count for the rate.
const BURST: Duration = Duration::from_secs(1);
/// A rate measured over a shorter time is a guess, because packs differ in size.
const SPAN_MIN: Duration = Duration::from_secs(2);
const STEPS_MIN: usize = 4;
/// A pause between two steps is normal up to this many times the average, plus `PAUSE_USUAL`.
const GAPS_USUAL: u32 = 3;
const PAUSE_USUAL: Duration = Duration::from_secs(10);

/// The speed of a count that may grow in steps, measured over the last half minute.
#[derive(Debug, Default)]
pub struct Speed {
    /// When the count grew, and its new value.
    steps: VecDeque<(Instant, u64)>,
    began: Option<Instant>,
    /// The current value of the count.
    last: u64,
}

impl Speed {
    /// Notes the count. Must be called several times a second.
    pub fn note(&mut self, now: Instant, done: u64) {
        if done <= self.last {
            return;
        }
        match self.pause(now) {
            // The speed after an outage may differ from the one before.
            Some(late) if late > WINDOW => *self = Speed::default(),
            // A stall must not lower the speed that is measured after it. But count a part of it: if steps really take
            // longer from now on, that soon becomes the usual pause.
            Some(late) if !late.is_zero() => {
                let stall = late + PAUSE_USUAL;
                self.steps.iter_mut().for_each(|(at, _)| *at += stall);
            }
            _ => {}
        }
        self.last = done;
        let began = *self.began.get_or_insert(now);
        if now - began < BURST {
            self.steps.clear();
        }
        self.steps.push_back((now, done));
        while self.steps.len() > STEPS_MIN && now - self.steps[1].0 > WINDOW {
            self.steps.pop_front();
        }
    }

    /// Returns a speed that does not know the steps so far.
    pub fn afresh(&self) -> Speed {
        Speed { last: self.last, ..Speed::default() }
    }

    /// Returns how long a pause between two steps may be without being unusual.
    fn usual(&self) -> Option<Duration> {
        let ((first, _), (last, _)) = (self.steps.front()?, self.steps.back()?);
        let gaps = u32::try_from(self.steps.len() - 1).unwrap_or(1).max(1);
        Some((*last - *first) / gaps * GAPS_USUAL + PAUSE_USUAL)
    }

    /// Returns how much later than usual the next step is.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let (last, _) = self.steps.back()?;
        Some((now - *last).saturating_sub(self.usual()?))
    }

    /// Returns the growth per second. Between two steps, the speed stays the same. If the next step is late, the speed
    /// falls; if that step is very late, the speed is unknown.
    pub fn at(&self, now: Instant) -> Option<f64> {
        let ((first, from), (last, to)) = (self.steps.front()?, self.steps.back()?);
        let span = *last - *first;
        let late = self.pause(now)?;
        // A link that moves bytes all the time is silent sooner than a folder that gets a pack now and then.
        let late_max = WINDOW.min(self.usual()?);
        if span < SPAN_MIN || self.steps.len() < STEPS_MIN || late > late_max {
            return None;
        }
        Some((to - from) as f64 / (span + late).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a link of 1 MiB/s that stalls once for some seconds, without an error.
    #[test]
    fn a_stall_lowers_no_rate_after_it() {
        for stall in [15.0, 20.0, 30.0, 39.0, 60.0] {
            let began = Instant::now();
            let mut speed = Speed::default();
            for tick in 0..1000 {
                let seconds = f64::from(tick) / 5.0;
                let moving = match seconds {
                    ..60.0 => seconds,
                    _ => (seconds - stall).max(60.0),
                };
                let now = began + Duration::from_secs_f64(seconds);
                speed.note(now, (moving * 1000.0) as u64);
                let rate = speed.at(now).map(|rate| rate / 1000.0);
                match seconds - 60.0 {
                    // After so long a stall, any rate or remaining time would be wrong.
                    silent if silent > 25.0 && silent <= stall => {
                        assert_eq!(rate, None, "{seconds}")
                    }
                    silent if silent < -50.0 => {}
                    silent if silent > 0.0 && silent <= stall => {
                        assert!(rate.is_none_or(|rate| rate > 0.6), "{rate:?} at {seconds}");
                    }
                    // After a long stall, the rate is measured again.
                    silent if stall > 41.0 && (stall..stall + 5.0).contains(&silent) => {}
                    _ => {
                        let rate = rate.expect("it is known");
                        assert!((0.95..=1.05).contains(&rate), "{rate} at {seconds} of {stall}");
                    }
                }
            }
        }
    }
}
