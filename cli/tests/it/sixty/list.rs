//! A simple list of what should be reported about the nights. It knows only the faults.

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;
/// The time of day at which a run is due.
pub const AT: i64 = 2 * HOUR + HOUR / 2;

/// What goes wrong on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Nothing,
    Off,
    /// The disk of the archive, or the network, is away.
    TargetAway,
    /// The same, and the profile says that this is no failure.
    TargetAwayIsFine,
    FullDisk,
    /// The disk of the photos is not mounted.
    SourceAway,
    /// The password file contains a password that does not open the archive.
    Password,
    /// The run is killed by signal 9: before its snapshot, somewhere in it, after it.
    Killed(&'static str),
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    /// The snapshot lacks most files.
    Marked,
    Failed(i32),
    Killed,
    Skipped,
}

/// What should be known and said, from the faults alone.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The exit code of a run whose archive is away.
    pub away_code: i32,
    /// When the last snapshot was taken, and the last one that has the photos.
    pub last: i64,
    pub whole: i64,
    pub checked: i64,
    pub failures: u64,
    pub last_failure: Option<End>,
    pub was_marked: bool,
    /// When it was last said that the profile is overdue.
    pub overdue_said: Option<i64>,
    pub was_killed: bool,
    pub result: &'static str,
    pub said: Vec<&'static str>,
}

impl List {
    /// A run is due if there is no snapshot since the last time at which one was due.
    pub fn is_due(&self, now: i64) -> bool {
        self.last < (now - AT).div_euclid(DAY) * DAY + AT
    }

    pub fn is_overdue(&self, now: i64) -> bool {
        self.whole + 3 * DAY <= now
    }

    /// Returns the exit code of a call of the scheduler.
    pub fn call(&mut self, now: i64, fault: Fault) -> i32 {
        if !self.is_due(now) {
            return 0;
        }
        if std::mem::take(&mut self.was_killed) {
            self.ended(now, End::Killed);
        }
        // A check is due every second night, and needs the password.
        let checks = self.checked + 2 * DAY - DAY / 2 <= now;
        let end = match fault {
            Fault::TargetAway => End::Failed(self.away_code),
            Fault::TargetAwayIsFine => End::Skipped,
            Fault::FullDisk => End::Failed(1),
            Fault::SourceAway => End::Marked,
            Fault::Password if checks => End::Failed(12),
            Fault::Killed(_) => {
                self.was_killed = true;
                return -1;
            }
            Fault::Nothing | Fault::Off | Fault::Password => End::Done,
        };
        let has_snapshot = [End::Done, End::Marked, End::Failed(12)].contains(&end);
        if has_snapshot {
            self.last = now;
            self.whole = if end == End::Marked { self.whole } else { now };
            self.checked = if checks && end != End::Failed(12) { now } else { self.checked };
        }
        self.ended(now, end)
    }

    /// Notes the end of a run, and what is reported about it. Returns its exit code.
    fn ended(&mut self, now: i64, end: End) -> i32 {
        let said = self.said.len();
        let failures = self.failures;
        let (result, code) = match end {
            End::Failed(code) => ("failed", code),
            End::Killed => ("killed", 1),
            End::Skipped => ("skipped", 0),
            End::Marked => ("warned", 3),
            End::Done => ("done", 0),
        };
        self.result = result;
        match end {
            End::Failed(_) | End::Killed => {
                self.failures += 1;
                let is_other = self.last_failure != Some(end);
                if self.failures == 2 || self.failures > 2 && is_other {
                    self.said.push("failed");
                }
                self.last_failure = Some(end);
            }
            End::Done | End::Marked => {
                match end == End::Marked {
                    true if failures >= 2 || !self.was_marked => self.said.push("needs attention"),
                    false if failures >= 2 => self.said.push("is well again"),
                    _ => {}
                }
                self.was_marked = end == End::Marked;
                self.failures = 0;
            }
            End::Skipped => {}
        }
        if end == End::Done {
            if self.overdue_said.take().is_some() && self.said.len() == said {
                self.said.push("is well again");
            }
        } else if self.is_overdue(now) && self.overdue_said.is_none_or(|said| said + 3 * DAY <= now)
        {
            self.overdue_said = Some(now);
            self.said.push("is overdue");
        }
        code
    }

    pub fn status(&self, now: i64) -> i32 {
        match (self.is_overdue(now), self.failures) {
            (true, _) => 30,
            (false, 1..) => 31,
            (false, 0) => 0,
        }
    }
}
