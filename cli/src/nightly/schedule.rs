//! Computes when a run is due and when it is overdue. Does not read the clock or the time zone.

use jiff::civil::Time as TimeOfDay;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Maximum time by which a record may be ahead of the clock. Records further in the future are from a wrong clock.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(5);
/// Maximum time by which a run may begin earlier than `every`, because no scheduler is punctual to the second.
const EARLY_MAX: SignedDuration = SignedDuration::from_mins(30);

/// How often a profile runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    pub every: SignedDuration,
    /// The time of day, in local time; then `every` is a whole number of days.
    pub at: Option<TimeOfDay>,
    pub overdue: SignedDuration,
}

impl Rhythm {
    /// Returns when the next run is due; `None` for now. `last` is when the last good run began.
    pub fn next_due(
        &self,
        last: Option<Timestamp>,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        // Ignore a record from the future, because the time of its run is unknown.
        let last = last.filter(|last| *last <= after(now, AHEAD_MAX))?;
        let Some(at) = self.at else {
            let early = EARLY_MAX.min(self.every / 24);
            return Some(after(last, self.every - early));
        };
        let local = last.to_zoned(zone.clone());
        let days = (self.every.as_hours() / 24).max(1);
        // A run in the morning that caught up counts for the night before.
        let night =
            if local.time() >= at { local.date() } else { local.date().yesterday().ok()? };
        let next = night.checked_add(days.days()).ok()?.to_datetime(at);
        next.to_zoned(zone.clone()).ok().map(|next| next.timestamp())
    }

    /// Returns whether a run is due.
    pub fn is_due(&self, last: Option<Timestamp>, now: Timestamp, zone: &TimeZone) -> bool {
        self.next_due(last, now, zone).is_none_or(|due| due <= now)
    }

    /// Returns whether the last good run was too long ago. True without a run.
    pub fn is_overdue(&self, last: Option<Timestamp>, now: Timestamp) -> bool {
        last.is_none_or(|last| after(last, self.overdue) <= now)
    }
}

/// Returns whether a step that does not run each night is due. It may run half a night early, because runs are not
/// always at the same hour.
pub fn is_step_due(
    last: Option<Timestamp>,
    every: SignedDuration,
    night: SignedDuration,
    now: Timestamp,
) -> bool {
    match last.filter(|last| *last <= after(now, AHEAD_MAX)) {
        None => true,
        Some(last) => after(last, every - (night / 2).min(every / 2)) <= now,
    }
}

/// Returns a time plus a duration, or the latest possible time.
fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rhythm(at: Option<&str>) -> Rhythm {
        let hours = SignedDuration::from_hours;
        Rhythm { every: hours(24), at: at.map(|at| at.parse().unwrap()), overdue: hours(72) }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn vienna() -> TimeZone {
        // Does not need the time zone database of the machine.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn a_run_is_due_each_night_at_its_time() {
        let next = |last: &str| {
            rhythm(Some("02:30")).next_due(Some(time(last)), time("2026-12-31T00:00Z"), &vienna())
        };
        // After a punctual run, the next one is due the next night.
        assert_eq!(next("2026-11-30T01:30:05Z"), Some(time("2026-12-01T01:30Z")));
        // A run that caught up in the morning, and a run late in the evening before.
        assert_eq!(next("2026-11-30T09:00Z"), Some(time("2026-12-01T01:30Z")));
        assert_eq!(next("2026-11-29T22:59Z"), Some(time("2026-11-30T01:30Z")));
        // A night with an additional hour, and one in which there is no 02:30.
        assert_eq!(next("2026-10-24T00:30:01Z"), Some(time("2026-10-25T00:30Z")));
        assert_eq!(next("2026-03-28T01:30:01Z"), Some(time("2026-03-29T01:30Z")));
    }

    #[test]
    fn without_a_time_of_day_a_run_is_due_after_its_time() {
        let rhythm = rhythm(None);
        let last = Some(time("2026-11-30T02:00:30Z"));
        // An hourly call that comes a little earlier than yesterday must not have to wait for another hour.
        assert!(rhythm.is_due(last, time("2026-12-01T01:50Z"), &TimeZone::UTC));
        assert!(!rhythm.is_due(last, time("2026-12-01T01:00Z"), &TimeZone::UTC));
        assert!(rhythm.is_due(None, time("2026-12-01T01:00Z"), &TimeZone::UTC));
    }

    #[test]
    fn a_clock_that_was_ahead_stops_no_run() {
        let ahead = Some(time("2036-01-01T00:00Z"));
        assert!(rhythm(None).is_due(ahead, time("2026-11-30T02:30Z"), &TimeZone::UTC));
        assert!(rhythm(Some("02:30")).is_due(ahead, time("2026-11-30T02:30Z"), &TimeZone::UTC));
        assert!(is_step_due(
            ahead,
            SignedDuration::from_hours(168),
            SignedDuration::from_hours(24),
            time("2026-11-30T02:30Z")
        ));
    }

    #[test]
    fn overdue_is_later_than_due() {
        let rhythm = rhythm(Some("02:30"));
        let last = Some(time("2026-11-30T02:30Z"));
        assert!(!rhythm.is_overdue(last, time("2026-12-03T02:29Z")));
        assert!(rhythm.is_overdue(last, time("2026-12-03T02:30Z")));
        assert!(rhythm.is_overdue(None, time("2026-12-03T02:30Z")));
    }

    proptest! {
        /// Whenever the machine is on: if a call comes within an hour after a slot, the run of that night is made, and
        /// no run is made twice.
        #[test]
        fn each_night_is_made_once(hours_off in proptest::collection::vec(0i64..60, 1..40)) {
            let rhythm = rhythm(Some("02:30"));
            let zone = TimeZone::UTC;
            let (mut now, mut last) = (time("2026-09-30T12:00Z"), None);
            let night_of = |time: Timestamp| {
                let local = time.to_zoned(zone.clone());
                let at = rhythm.at.unwrap();
                if local.time() >= at { local.date() } else { local.date().yesterday().unwrap() }
            };
            let mut made = std::collections::BTreeSet::new();
            for off in hours_off {
                now += SignedDuration::from_hours(off);
                for _ in 0..3 {
                    let due = rhythm.is_due(last, now, &zone);
                    prop_assert_eq!(due, !made.contains(&night_of(now)), "{}", now);
                    if due {
                        last = Some(now);
                        made.insert(night_of(now));
                    }
                    now += SignedDuration::from_mins(59);
                }
            }
        }
    }
}
