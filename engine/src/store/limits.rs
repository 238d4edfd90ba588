//! Rate limits of the link: a timetable for each direction, and the one place where bytes wait for it.
//!
//! [`Timetable`] and [`Backlog`] are pure; [`Limits`] reads a clock. Bytes that move are added to a backlog, which
//! shrinks at the current rate of the timetable. The next bytes wait until the backlog is empty. So the rate is exact
//! over time for pieces of any size, and a new rate applies within a second.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Zoned;
use tokio::sync::Mutex as Turns;

/// After a pause, no more bytes may be sent at once than the rate allows in this time.
const SAVED: Duration = Duration::from_millis(100);
/// How often a thread that waits for its turn to send or receive reads the timetable again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A piece is at most this fraction of a second's bytes, but not smaller than `PIECE_BYTES_MIN`.
const PIECES_PER_SECOND: u64 = 4;
const PIECE_BYTES_MIN: usize = 1 << 10;
/// The receive buffer of a socket is this fraction of a second's bytes. A restore has four connections.
const BUFFERS_PER_SECOND: u64 = 16;
const BUFFER_BYTES_MIN: usize = 16 << 10;
/// Above this rate, the system chooses the receive buffer: small ones would slow a long way down, and what arrives ahead
/// of the limit no longer matters.
const BUFFERED_RATE_MAX: u64 = 8 << 20;
/// A lower rate would be a standstill, not a limit.
const RATE_MIN: u64 = 1 << 10;
const RATE_MAX: u64 = 1 << 40;
const MINUTES_PER_DAY: u16 = 24 * 60;

/// Rates by the time of day. The first row whose times match decides; if none matches, there is no limit.
///
/// As text: `1 MiB/s`, or `08:00-23:00 1 MiB/s, 22:00-06:00 off, 8 Mbit/s`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timetable(Vec<Row>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// First and last minute of the day, the last one excluded. The row spans midnight if the last one is smaller.
    minutes: Option<(u16, u16)>,
    /// Bytes per second; `None` for no limit.
    rate: Option<u64>,
}

impl Timetable {
    /// Returns the bytes per second that may move at this minute of the day; `None` if there is no limit.
    pub fn rate(&self, minute: u16) -> Option<u64> {
        let fits = |row: &&Row| match row.minutes {
            None => true,
            Some((from, to)) if from < to => (from..to).contains(&minute),
            Some((from, to)) => minute >= from || minute < to,
        };
        self.0.iter().find(fits)?.rate
    }

    /// Returns whether no row limits the rate.
    pub fn is_idle(&self) -> bool {
        self.0.iter().all(|row| row.rate.is_none())
    }
}

impl FromStr for Timetable {
    type Err = String;

    fn from_str(text: &str) -> Result<Timetable, String> {
        text.split(',').map(|row| row_of(row.trim())).collect::<Result<_, _>>().map(Timetable)
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Row { minutes, rate }) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            f.write_str(comma)?;
            if let Some((from, to)) = minutes {
                let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
                write!(f, "{}-{} ", clock(*from), clock(*to))?;
            }
            match rate {
                None => f.write_str("off")?,
                Some(rate) => write!(f, "{rate} B/s")?,
            }
        }
        Ok(())
    }
}

fn row_of(text: &str) -> Result<Row, String> {
    let wrong = || {
        format!("{text:?} is not a limit: write 1 MiB/s, 8 Mbit/s or off, or 08:00-23:00 1 MiB/s")
    };
    let (times, rate) = match text.split_once(char::is_whitespace) {
        Some((times, rate)) if times.contains(':') => (Some(times), rate.trim()),
        _ => (None, text),
    };
    let minutes = match times {
        None => None,
        Some(times) => {
            let (from, to) = times.split_once(['-', '–']).ok_or_else(wrong)?;
            let (from, to) = (minute_of(from).ok_or_else(wrong)?, minute_of(to).ok_or_else(wrong)?);
            // Midnight ends a day as well as it begins one.
            let to = to % MINUTES_PER_DAY;
            if from == to || from == MINUTES_PER_DAY {
                return Err(format!(
                    "{text:?} begins and ends at the same time: leave the times out"
                ));
            }
            Some((from, if to == 0 { MINUTES_PER_DAY } else { to }))
        }
    };
    if ["off", "none", "unlimited"].contains(&rate.to_ascii_lowercase().as_str()) {
        return Ok(Row { minutes, rate: None });
    }
    let rate = rate_of(rate).ok_or_else(wrong)?;
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(format!("{text:?}: a limit is at least 1 KiB/s"));
    }
    Ok(Row { minutes, rate: Some(rate) })
}

fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let minutes = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && minutes <= MINUTES_PER_DAY).then_some(minutes)
}

/// Parses bytes or bits per second: `1 MiB/s`, `500KB/s`, `8 Mbit/s`.
fn rate_of(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim().trim_end_matches("/s");
    // "Mb" may mean bits or bytes, so it is refused.
    if unit.ends_with('b') && !unit.to_ascii_lowercase().ends_with("ib") {
        return None;
    }
    let factor = match unit.to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1_048_576.0,
        "g" | "gib" => 1_073_741_824.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kbit" => 125.0,
        "mbit" => 125_000.0,
        "gbit" => 125_000_000.0,
        _ => return None,
    };
    let rate = number * factor;
    (rate.is_finite() && rate >= 0.0).then_some(rate as u64)
}

/// The bytes of one direction that have moved ahead of the rate.
#[derive(Debug, Default)]
struct Backlog {
    /// Negative after a pause.
    bytes: f64,
    /// When it was last updated.
    seen: Duration,
}

impl Backlog {
    /// Updates the backlog to `now`. Returns how long bytes must wait; zero if they may move.
    fn wait(&mut self, now: Duration, rate: Option<u64>) -> Duration {
        let passed = now.saturating_sub(self.seen);
        self.seen = now;
        let Some(rate) = rate.map(|rate| rate as f64) else {
            self.bytes = 0.0;
            return Duration::ZERO;
        };
        let saved = -rate * SAVED.as_secs_f64();
        self.bytes = (self.bytes - rate * passed.as_secs_f64()).max(saved);
        match self.bytes > 0.0 {
            true => Duration::try_from_secs_f64(self.bytes / rate).unwrap_or(LOOK_EVERY),
            false => Duration::ZERO,
        }
    }

    fn fill(&mut self, bytes: usize) {
        self.bytes += bytes as f64;
    }
}

/// A reading of the clock of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitTime {
    /// Time since some fixed moment.
    pub elapsed: Duration,
    /// Minute of the local day.
    pub minute: u16,
}

/// The clock of limits.
pub trait LimitClock: fmt::Debug + Send + Sync {
    /// Returns the time.
    fn now(&self) -> LimitTime;
}

/// The clock of this computer, and its time zone.
#[derive(Debug)]
pub struct LocalClock(Instant);

impl Default for LocalClock {
    fn default() -> Self {
        LocalClock(Instant::now())
    }
}

impl LimitClock for LocalClock {
    fn now(&self) -> LimitTime {
        let clock = Zoned::now();
        let minute =
            u16::from(clock.hour().unsigned_abs()) * 60 + u16::from(clock.minute().unsigned_abs());
        LimitTime { elapsed: self.0.elapsed(), minute }
    }
}

/// Limits one direction.
#[derive(Debug)]
pub(super) struct Throttle {
    timetable: Timetable,
    clock: Arc<dyn LimitClock>,
    bucket: Mutex<Backlog>,
    /// Lets connections wait in the order of their arrival.
    turns: Turns<()>,
}

impl Throttle {
    fn new(timetable: Timetable, clock: Arc<dyn LimitClock>) -> Arc<Throttle> {
        let bucket = Mutex::default();
        Arc::new(Throttle { timetable, clock, bucket, turns: Turns::new(()) })
    }

    /// Returns whether it never makes bytes wait.
    pub fn is_idle(&self) -> bool {
        self.timetable.is_idle()
    }

    /// Returns how many of `bytes_max` bytes may be sent in one piece.
    pub fn piece(&self, bytes_max: usize) -> usize {
        let Some(rate) = self.timetable.rate(self.clock.now().minute) else { return bytes_max };
        let piece = usize::try_from(rate / PIECES_PER_SECOND).unwrap_or(usize::MAX);
        piece.max(PIECE_BYTES_MIN).min(bytes_max)
    }

    /// Returns how many bytes the system may receive ahead of the program; `None` if the system decides.
    pub fn received_ahead(&self) -> Option<usize> {
        let rate = self.timetable.rate(self.clock.now().minute)?;
        let bytes = usize::try_from(rate / BUFFERS_PER_SECOND).unwrap_or(usize::MAX);
        (rate <= BUFFERED_RATE_MAX).then_some(bytes.max(BUFFER_BYTES_MIN))
    }

    /// Adds bytes that move now to the backlog.
    pub fn fill(&self, bytes: usize) {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }

    /// Waits until more bytes may move.
    pub async fn wait(self: Arc<Self>) {
        let _turn = self.turns.lock().await;
        loop {
            let now = self.clock.now();
            let rate = self.timetable.rate(now.minute);
            let left = {
                let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
                bucket.wait(now.elapsed, rate)
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

/// Rate limits to and from remote stores. Stores that share this value share the limits; a folder has none.
#[derive(Debug, Clone)]
pub struct Limits {
    pub(super) upload: Arc<Throttle>,
    pub(super) download: Arc<Throttle>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new(Timetable::default(), Timetable::default(), Arc::new(LocalClock::default()))
    }
}

impl Limits {
    /// Returns limits for both directions, which change with the time of day.
    pub fn new(upload: Timetable, download: Timetable, clock: Arc<dyn LimitClock>) -> Limits {
        let download = Throttle::new(download, clock.clone());
        Limits { upload: Throttle::new(upload, clock), download }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn timetable(text: &str) -> Timetable {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the bytes that several connections send in ten seconds, on a computer whose timers fire late.
    fn moved(text: &str, minute: u16, connections: usize, piece_max: usize, late_ms: u64) -> f64 {
        let (table, mut bucket) = (timetable(text), Backlog::default());
        let rate = table.rate(minute);
        let (mut now, mut bytes) = (Duration::ZERO, 0u64);
        while now < Duration::from_secs(10) {
            match bucket.wait(now, rate) {
                Duration::ZERO => {
                    // All waiting connections may continue at the same moment.
                    (0..connections).for_each(|_| bucket.fill(piece_max));
                    bytes += (connections * piece_max) as u64;
                    now += Duration::from_micros(50);
                }
                left => now += left.min(LOOK_EVERY) + Duration::from_millis(late_ms),
            }
        }
        bytes as f64
    }

    #[test]
    fn a_limit_holds_within_five_percent() {
        for (text, rate) in [
            ("1 MiB/s", MIB as f64),
            ("50 KiB/s", 51_200.0),
            ("8 Mbit/s", 1e6),
            ("100 MiB/s", 100.0 * MIB as f64),
        ] {
            for late_ms in [0, 1, 15] {
                for connections in [1, 16] {
                    let share = (rate / PIECES_PER_SECOND as f64) as usize;
                    let piece = share.min(64 << 10) / connections;
                    let per_second = moved(text, 0, connections, piece, late_ms) / 10.0;
                    let off = (per_second - rate).abs() / rate;
                    assert!(off < 0.05, "{text}, {connections}, {late_ms} ms: {per_second}");
                }
            }
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut bucket = Backlog::default();
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(bucket.wait(at(1000), Some(MIB)), Duration::ZERO);
        bucket.fill(2 * MIB as usize);
        let left = bucket.wait(at(1000), Some(MIB));
        assert_eq!(left, at(2) - SAVED, "an hour without traffic is worth a tenth of a second");
    }

    #[test]
    fn another_rate_applies_at_once() {
        let mut bucket = Backlog::default();
        bucket.fill(3 << 20);
        // At the rate of the day, this wait takes most of an hour; then the day ends.
        let by_day = bucket.wait(Duration::ZERO, Some(1 << 10));
        assert_eq!(by_day, Duration::from_secs(3072));
        let left = bucket.wait(LOOK_EVERY, Some(MIB));
        assert!(left.abs_diff(Duration::from_secs(2)) < Duration::from_millis(2), "{left:?}");
        assert_eq!(bucket.wait(LOOK_EVERY, None), Duration::ZERO);
    }

    #[test]
    fn the_first_row_that_fits_counts() {
        let table = timetable("08:00-23:00 1 MiB/s, 23:00-01:30 2MiB/s, off");
        let rate = |hour: u16, minute: u16| table.rate(hour * 60 + minute);
        assert_eq!(rate(7, 59), None);
        assert_eq!((rate(8, 0), rate(22, 59)), (Some(MIB), Some(MIB)));
        assert_eq!(
            (rate(23, 0), rate(0, 0), rate(1, 29)),
            (Some(2 * MIB), Some(2 * MIB), Some(2 * MIB))
        );
        assert_eq!(rate(1, 30), None);
        assert_eq!(timetable("18:00-24:00 1 MiB/s").rate(23 * 60 + 59), Some(MIB));
        assert_eq!(Timetable::default().rate(0), None);
        assert!(timetable("off").is_idle() && !table.is_idle());
        assert_eq!(timetable(&table.to_string()), table);
    }

    #[test]
    fn rates_have_units() {
        let rate = |text: &str| timetable(text).rate(0);
        assert_eq!(rate("1 MiB/s"), Some(MIB));
        assert_eq!(rate("1.5MiB"), Some(MIB + MIB / 2));
        assert_eq!(rate("500 KB/s"), Some(500_000));
        assert_eq!((rate("8 Mbit/s"), rate("2048 B/s")), (Some(1_000_000), Some(2048)));
        for wrong in [
            "",
            "fast",
            "1",
            "1 MiB/h",
            "0 MiB/s",
            "-1 MiB/s",
            "8:00 1 MiB/s",
            "25:00-26:00 1 MiB/s",
            "08:00-08:00 off",
            "00:00-24:00 off",
            "8 Mb/s",
            "8 Mbps",
            "08:60-09:00 off",
            "1e9 MiB/s",
        ] {
            assert!(wrong.parse::<Timetable>().is_err(), "{wrong}");
        }
    }
}
