//! Counts the progress of a stage: how much is done, at which rate, and when it will end. Does not read the clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use icecore_engine::progress::Unit;

use super::speed::Speed;

/// Maximum number of files that are tracked one by one until their bytes have arrived.
const ENDS_MAX: usize = 1 << 16;
/// Estimates are capped at this time.
const LEFT_MAX: Duration = Duration::from_secs(400 * 86_400);

/// Bytes that went over the link since the program started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    pub sent: u64,
    pub received: u64,
}

/// Whether a stage has a total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Total {
    #[default]
    None,
    /// The total covers only the work found so far.
    Counting,
    Final,
}

/// Counts of one stage.
#[derive(Debug)]
pub struct Counts {
    stage: String,
    unit: Unit,
    total: Total,
    items: u64,
    items_total: u64,
    bytes: u64,
    bytes_total: u64,
    /// Bytes that were read and queued for upload, measured in files and in packs.
    queued_file_bytes: u64,
    queued_pack_bytes: u64,
    /// Bytes of the packs that have arrived.
    uploaded: u64,
    /// Bytes to fetch or to send over the link, if that determines how long the stage takes.
    link_bytes: u64,
    sends: bool,
    /// The counts of the link when the stage began.
    wire: Wire,
    /// Bytes that were sent at the last look, and the total that failed requests have subtracted from them.
    sent: u64,
    sent_in_vain: u64,
    /// For each file that was read and may not have arrived, the number of bytes up to its end, and the number of
    /// files.
    ends: VecDeque<(u64, u64)>,
    /// Number of files that have arrived.
    arrived: u64,
    /// The most work that was ever counted as done, so that a repeated request does not reduce it.
    done: u64,
    speed: Speed,
    is_away: bool,
}

/// The displayed state of a stage at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moment {
    pub stage: String,
    pub unit: Unit,
    pub total: Total,
    pub items: u64,
    /// 0 if items are not counted.
    pub items_total: u64,
    pub bytes: u64,
    pub bytes_total: u64,
    /// The part that is done, from 0 to 1; `None` without a total.
    pub share: Option<f64>,
    /// Bytes per second.
    pub rate: Option<f64>,
    pub left: Option<Duration>,
}

impl Moment {
    /// Returns whether all work is done, and only the end of the stage is left.
    pub fn is_finishing(&self) -> bool {
        self.share.is_some_and(|share| share >= 1.0)
    }
}

impl Counts {
    pub fn new(stage: &str, wire: Wire) -> Counts {
        Counts {
            stage: stage.to_owned(),
            unit: Unit::Files,
            total: Total::None,
            items: 0,
            items_total: 0,
            bytes: 0,
            bytes_total: 0,
            queued_file_bytes: 0,
            queued_pack_bytes: 0,
            uploaded: 0,
            link_bytes: 0,
            sends: false,
            wire,
            sent: 0,
            sent_in_vain: 0,
            ends: VecDeque::new(),
            arrived: 0,
            done: 0,
            speed: Speed::default(),
            is_away: false,
        }
    }

    pub fn is_of(&self, stage: &str) -> bool {
        self.stage == stage
    }

    pub fn found(&mut self, unit: Unit, count: u64, bytes: u64) {
        self.unit = unit;
        self.items_total += count;
        self.bytes_total = self.bytes_total.saturating_add(bytes);
        self.total = Total::Counting;
    }

    pub fn items(&self) -> u64 {
        self.items
    }

    pub fn counted(&mut self) {
        self.total = Total::Final;
    }

    pub fn advance(&mut self, count: u64, bytes: u64) {
        self.items += count;
        self.bytes = self.bytes.saturating_add(bytes);
        if count > 0 {
            if self.ends.len() >= ENDS_MAX {
                self.ends.pop_back();
            }
            self.ends.push_back((self.bytes, self.items));
        }
    }

    pub fn queued(&mut self, file_bytes: u64, pack_bytes: u64) {
        self.queued_file_bytes += file_bytes;
        self.queued_pack_bytes += pack_bytes;
    }

    pub fn uploaded(&mut self, bytes: u64) {
        self.uploaded += bytes;
    }

    /// Announces how many bytes will move over the link, which decides how long the stage takes.
    pub fn moves(&mut self, bytes: u64, sends: bool, wire: Wire) {
        (self.link_bytes, self.sends, self.wire) = (bytes, sends, wire);
    }

    fn work(&mut self, wire: Wire) -> Work {
        if self.link_bytes > 0 {
            let of = |wire: Wire| if self.sends { wire.sent } else { wire.received };
            let done = of(wire).saturating_sub(of(self.wire)).min(self.link_bytes);
            return Work { done, total: self.link_bytes, moved: done, items: self.items };
        }
        if self.bytes_total == 0 && self.bytes == 0 {
            let Counts { items, items_total, .. } = *self;
            return Work { done: items, total: items_total, moved: items, items };
        }
        let sent = wire.sent.saturating_sub(self.wire.sent);
        self.sent_in_vain += self.sent.saturating_sub(sent);
        self.sent = sent;
        let arrived = self.uploaded.max(sent);
        let done = self.bytes.saturating_sub(self.waiting(arrived));
        let read = self.bytes.saturating_sub(self.queued_file_bytes);
        let moved = read.saturating_add(self.of_files(arrived.saturating_add(self.sent_in_vain)));
        // Files are in the order in which they were read. A file is done when its bytes are.
        while let Some((_, items)) = self.ends.pop_front_if(|(end, _)| *end <= done) {
            self.arrived = items;
        }
        Work { done, total: self.bytes_total, moved, items: self.arrived }
    }

    /// Returns how many bytes of files were read but have not arrived at the store, if `arrived` bytes of packs have.
    fn waiting(&self, arrived: u64) -> u64 {
        match arrived >= self.queued_pack_bytes {
            true => 0,
            false => self.queued_file_bytes.saturating_sub(self.of_files(arrived)),
        }
    }

    /// Converts bytes of packs into bytes of files.
    fn of_files(&self, pack_bytes: u64) -> u64 {
        let share = pack_bytes as f64 / self.queued_pack_bytes.max(1) as f64;
        (self.queued_file_bytes as f64 * share) as u64
    }

    /// Returns the current state of the stage. Must be called several times a second, or the rate is wrong. `is_away`
    /// is true while the store seems unreachable; it stays true for some time after the store is back.
    pub fn look(&mut self, now: Instant, wire: Wire, is_away: bool) -> Moment {
        if is_away && !self.is_away {
            // Rates measured before the outage do not apply after it.
            self.speed = self.speed.afresh();
        }
        self.is_away = is_away;
        let work = self.work(wire);
        self.done = self.done.max(work.done);
        let (done, total) = (self.done, work.total.max(self.done));
        self.speed.note(now, work.moved);
        let rate = self.speed.at(now);
        let is_final = self.total == Total::Final && total > 0;
        let is_bytes = self.link_bytes > 0 || self.bytes_total > 0 || self.bytes > 0;
        // Bytes that must be sent again take time, although they were shown as done.
        let rest = total - work.done;
        let left = rate.filter(|rate| is_final && *rate > 0.0 && done < total).map(|rate| {
            Duration::try_from_secs_f64(rest as f64 / rate).unwrap_or(LEFT_MAX).min(LEFT_MAX)
        });
        let (bytes, bytes_total) = if is_bytes { (done, total) } else { (0, 0) };
        Moment {
            stage: self.stage.clone(),
            unit: self.unit,
            total: if total == 0 && self.total == Total::Final { Total::None } else { self.total },
            items: work.items,
            items_total: if self.items_total > 0 { self.items_total.max(work.items) } else { 0 },
            bytes,
            bytes_total: if self.total == Total::None { 0 } else { bytes_total },
            share: is_final.then(|| done as f64 / total as f64),
            rate: rate.filter(|rate| is_bytes && *rate >= 1.0),
            left,
        }
    }
}

/// How much of a stage is done: in bytes if there are any, otherwise in items.
struct Work {
    done: u64,
    total: u64,
    /// All bytes that have moved, including those that moved in vain and move again.
    moved: u64,
    /// Items that are done. A file is done when its bytes have arrived, if these are counted.
    items: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn after(began: Instant, seconds: f64) -> Instant {
        began + Duration::from_secs_f64(seconds)
    }

    /// Simulates a snapshot of 400 MiB over a link of 1 MiB/s, in packs of 64 MiB, two of which are read ahead.
    #[test]
    fn a_steady_link_is_predicted() {
        let began = Instant::now();
        let mut counts = Counts::new("snapshot", Wire::default());
        counts.found(Unit::Files, 100, 400 * MIB);
        let moment = counts.look(began, Wire::default(), false);
        assert_eq!((moment.total, moment.share, moment.left), (Total::Counting, None, None));
        counts.counted();
        let (mut read, mut looks) = (0, 0);
        for tick in 0..2005 {
            let seconds = f64::from(tick) / 5.0;
            let sent = ((seconds * MIB as f64) as u64).min(400 * MIB);
            while read < 400 && read * MIB < sent + 128 * MIB {
                counts.queued(MIB, MIB);
                counts.advance(u64::from(read % 4 == 3), MIB);
                read += 1;
            }
            let moment = counts.look(after(began, seconds), Wire { sent, received: 0 }, false);
            assert_eq!(moment.bytes_total, 400 * MIB);
            assert!(moment.bytes.abs_diff(sent) <= 1, "{moment:?}");
            // A file is done when its bytes are; each file has 4 MiB.
            assert!((sent / (4 * MIB)).abs_diff(moment.items) <= 1, "{moment:?}");
            if (5..390).contains(&(tick / 5)) {
                let left = moment.left.expect("it is known by now").as_secs_f64();
                let truth = 400.0 - seconds;
                assert!((truth / 2.0..=truth * 2.0).contains(&left), "{left} of {truth}");
                looks += 1;
            }
            assert_eq!(moment.is_finishing(), sent == 400 * MIB);
            assert!(moment.left.is_none_or(|left| !left.is_zero()));
        }
        assert!(looks > 1900);
    }

    /// Simulates a folder, which receives a whole pack every four seconds.
    #[test]
    fn a_rate_stays_between_steps_and_falls_when_the_next_is_late() {
        let began = Instant::now();
        let mut counts = Counts::new("snapshot", Wire::default());
        counts.expect_for_test(1000 * MIB);
        let mut last = None;
        for tick in 0..300 {
            let seconds = f64::from(tick) / 5.0;
            if tick % 20 == 0 {
                counts.queued(64 * MIB, 64 * MIB);
                counts.advance(1, 64 * MIB);
                counts.uploaded(64 * MIB);
            }
            let moment = counts.look(after(began, seconds), Wire::default(), false);
            if seconds > 16.0 {
                let rate = moment.rate.expect("it is known") / MIB as f64;
                assert!((15.0..=17.0).contains(&rate), "{rate} at {seconds}");
            }
            last = moment.rate;
        }
        let late = counts.look(after(began, 100.0), Wire::default(), false).rate;
        assert!(late.is_some() && late < last, "{late:?} after {last:?}");
        // No pack has arrived for so long that the rate is unknown.
        assert_eq!(counts.look(after(began, 200.0), Wire::default(), false).rate, None);
    }

    /// Simulates a link of 1 MiB/s that is down for five minutes.
    #[test]
    fn an_outage_is_in_no_rate() {
        let began = Instant::now();
        let mut counts = Counts::new("snapshot", Wire::default());
        counts.expect_for_test(1000 * MIB);
        counts.queued(1000 * MIB, 1000 * MIB);
        counts.advance(16, 1000 * MIB);
        let sent_at = |seconds: f64| match seconds {
            ..60.0 => seconds,
            60.0..360.0 => 60.0,
            _ => seconds - 300.0,
        };
        for tick in 0..2400 {
            let seconds = f64::from(tick) / 5.0;
            let sent = (sent_at(seconds) * MIB as f64) as u64;
            let moment = counts.look(after(began, seconds), Wire { sent, received: 0 }, false);
            let rate = moment.rate.map(|rate| rate / MIB as f64);
            match seconds {
                5.0..60.0 | 365.0.. => {
                    let rate = rate.expect("it is known");
                    assert!((0.9..=1.1).contains(&rate), "{rate} at {seconds}");
                }
                // The rate falls, and then becomes unknown.
                105.0..360.0 => assert_eq!((moment.rate, moment.left), (None, None), "{seconds}"),
                _ => assert!(rate.is_none_or(|rate| rate > 0.3), "{rate:?} at {seconds}"),
            }
        }
    }

    /// Simulates a link of 1 MiB/s that goes down for five minutes when a pack of 64 MiB is nearly sent. The program
    /// learns that the link is back only after the pack has been sent again.
    #[test]
    fn what_is_sent_again_moves_and_takes_time() {
        let began = Instant::now();
        let mut counts = Counts::new("snapshot", Wire::default());
        counts.expect_for_test(1000 * MIB);
        counts.queued(1000 * MIB, 1000 * MIB);
        counts.advance(16, 1000 * MIB);
        let mut shown = 0;
        for tick in 0..2150 {
            let seconds = f64::from(tick) / 5.0;
            let sent = match seconds {
                ..60.0 => seconds,
                60.0..360.0 => 0.0,
                _ => seconds - 360.0,
            };
            let wire = Wire { sent: (sent * MIB as f64) as u64, received: 0 };
            let is_away = (60.0..424.0).contains(&seconds);
            let moment = counts.look(after(began, seconds), wire, is_away);
            assert!(moment.bytes >= shown, "nothing is undone: {moment:?}");
            shown = moment.bytes;
            let left = moment.left.map(|left| left.as_secs_f64());
            match seconds {
                60.0..360.0 => assert_eq!((moment.rate, left), (None, None), "{seconds}"),
                365.0.. => {
                    let truth = 1000.0 - sent;
                    let left = left.expect("it is known");
                    assert!((truth * 0.9..truth * 1.1).contains(&left), "{left} of {truth}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn more_files_than_are_counted_one_by_one() {
        let began = Instant::now();
        let mut counts = Counts::new("snapshot", Wire::default());
        let files = ENDS_MAX as u64 + 1000;
        counts.found(Unit::Files, files, files);
        counts.counted();
        counts.queued(files, files);
        (0..files).for_each(|_| counts.advance(1, 1));
        let mut at = |sent| counts.look(began, Wire { sent, received: 0 }, false).items;
        assert_eq!([at(7), at(files - 1), at(files)], [7, ENDS_MAX as u64 - 1, files]);
    }

    impl Counts {
        fn expect_for_test(&mut self, bytes: u64) {
            self.found(Unit::Files, 16, bytes);
            self.counted();
        }
    }

    #[test]
    fn what_is_fetched_decides_and_a_repeated_request_undoes_nothing() {
        let began = Instant::now();
        let mut counts = Counts::new("restore", Wire { sent: 0, received: 7 });
        counts.expect_for_test(500 * MIB);
        counts.moves(100 * MIB, false, Wire { sent: 0, received: 7 });
        let mut at = |seconds, received: u64| {
            counts.look(after(began, seconds), Wire { sent: 0, received: 7 + received }, false)
        };
        assert_eq!(at(0.0, 0).share, Some(0.0));
        let half = at(1.0, 50 * MIB);
        assert_eq!((half.bytes, half.bytes_total, half.share), (50 * MIB, 100 * MIB, Some(0.5)));
        assert_eq!(at(2.0, 200 * MIB).share, Some(1.0));
        let mut counts = Counts::new("snapshot", Wire::default());
        counts.expect_for_test(100 * MIB);
        counts.queued(100 * MIB, 50 * MIB);
        counts.advance(16, 100 * MIB);
        let mut at = |seconds, sent| {
            counts.look(after(began, seconds), Wire { sent, received: 0 }, false).bytes / MIB
        };
        assert_eq!([at(0.0, 25 * MIB), at(1.0, 0), at(2.0, 50 * MIB)], [50, 50, 100]);
    }

    #[test]
    fn without_work_there_is_no_total() {
        let mut counts = Counts::new("check", Wire::default());
        let moment = counts.look(Instant::now(), Wire::default(), false);
        assert_eq!((moment.total, moment.share), (Total::None, None));
        counts.found(Unit::Objects, 0, 0);
        counts.counted();
        let moment = counts.look(Instant::now(), Wire::default(), false);
        assert_eq!((moment.total, moment.share), (Total::None, None));
        counts.found(Unit::Objects, 3, 0);
        counts.counted();
        counts.advance(4, 0);
        let moment = counts.look(Instant::now(), Wire::default(), false);
        assert_eq!((moment.items, moment.items_total, moment.bytes_total), (4, 4, 0));
        assert!(moment.is_finishing());
    }
}
