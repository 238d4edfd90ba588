//! The record of a run: a line of `runs.jsonl`. Does no I/O.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::code;

/// Number of runs that are kept: more than a month of hourly runs.
const RUNS_MAX: usize = 1000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Done,
    /// The run is done, but something needs attention.
    Warned,
    Failed,
    /// A condition was not met, or a `before` hook refused the run.
    Skipped,
    /// The run was ended by a signal that could be caught.
    Interrupted,
    /// The run left no record, because it was killed or the machine lost power.
    Killed,
}

impl Outcome {
    /// Returns whether the snapshot of this run counts as taken.
    pub fn is_good(self) -> bool {
        matches!(self, Outcome::Done | Outcome::Warned)
    }

    /// Returns whether this counts as a failure. A run that the user or a condition has stopped does not.
    pub fn is_failure(self) -> bool {
        matches!(self, Outcome::Failed | Outcome::Killed)
    }

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Warned => "warned",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::Interrupted => "interrupted",
            Outcome::Killed => "killed",
        }
    }
}

/// A command that a run has started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `snapshot`, `check`, `drill`, `mirror`, `prune` or `jobs`.
    pub name: String,
    pub code: u8,
    /// What it has cost; `None` if that is unknown, for example after a kill.
    pub cost_usd: Option<f64>,
    /// Why it failed or warned, in one line that may contain file names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The numbers of its summary.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub summary: Map<String, Value>,
}

impl Step {
    /// Returns whether the step is settled, so that it is not due again yet. A check that finds damage is settled. So
    /// is a step that would exceed its bound, because it would cost the same an hour later.
    pub fn is_settled(&self) -> bool {
        let settled = [code::DONE, code::INCOMPLETE, code::DOUBTFUL];
        let of_check = [code::DAMAGED, code::TOO_COSTLY];
        settled.contains(&self.code) || self.name != SNAPSHOT && of_check.contains(&self.code)
    }

    /// Returns whether the step came to its end, so that it is known whether it has found damage.
    pub fn is_verdict(&self) -> bool {
        let verdicts = [code::DONE, code::INCOMPLETE, code::DOUBTFUL, code::DAMAGED];
        verdicts.contains(&self.code)
    }

    /// Returns whether its snapshot is marked because most files are gone.
    pub fn is_marked(&self) -> bool {
        self.summary.get("mark").is_some_and(Value::is_object)
    }
}

/// The field of a step summary that counts frozen folders of the archive.
pub const FROZEN: &str = "frozen";

/// The names of the steps.
pub const SNAPSHOT: &str = "snapshot";
pub const CHECK: &str = "check";
pub const MIRROR: &str = "mirror";
pub const PRUNE: &str = "prune";
pub const DRILL: &str = "drill";
pub const JOBS: &str = "jobs";

/// A point in time, stored as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogTime(pub Timestamp);

impl LogTime {
    pub fn now() -> LogTime {
        LogTime(Timestamp::now())
    }
}

impl Serialize for LogTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LogTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<LogTime, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(LogTime).map_err(serde::de::Error::custom)
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub started: LogTime,
    /// When the run ended; `None` if it was killed.
    pub ended: Option<LogTime>,
    pub outcome: Outcome,
    /// The exit code of the run.
    pub code: u8,
    /// Why the run was not well, in one line that may contain file names. Everything that says why shows this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The file of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Number of attempts at the steps. For a run that did nothing, the number of such runs in a row.
    pub tries: u32,
    /// The location of the archive.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub archive: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl Record {
    pub fn step(&self, name: &str) -> Option<&Step> {
        // The last of several attempts counts.
        self.steps.iter().rev().find(|step| step.name == name)
    }

    /// Returns whether the run could not begin, because the profile cannot be read.
    pub fn is_of_profile(&self) -> bool {
        self.outcome == Outcome::Failed && self.code == code::USAGE && self.steps.is_empty()
    }

    /// Returns whether equal runs after this one are added to this record. They did nothing.
    fn is_joined(&self) -> bool {
        self.outcome == Outcome::Skipped || self.is_of_profile()
    }

    /// Returns when the run began. For several runs that did nothing, returns when the last one began.
    pub fn last_began(&self) -> LogTime {
        let is_several = self.is_joined() && self.tries > 1;
        self.ended.filter(|_| is_several).unwrap_or(self.started)
    }

    /// Returns what the run has cost, as far as that is known.
    pub fn cost_usd(&self) -> f64 {
        let usd: f64 = self.steps.iter().filter_map(|step| step.cost_usd).sum();
        // The sum of an empty iterator is -0.0.
        usd + 0.0
    }
}

/// Returns the start time and the step of the last run in which a step came to a verdict: done, or damage.
pub fn last_verdict<'r>(records: &'r [Record], name: &str) -> Option<(Timestamp, &'r Step)> {
    let verdict = |record: &'r Record| {
        let step = record.step(name).filter(|step| step.is_verdict());
        step.map(|step| (record.started.0, step))
    };
    records.iter().rev().find_map(verdict)
}

/// Returns the start time of the last run in which a step was settled.
pub fn last_settled(records: &[Record], step: &str) -> Option<Timestamp> {
    let settled = |record: &&Record| record.step(step).is_some_and(Step::is_settled);
    records.iter().rev().find(settled).map(|record| record.started.0)
}

/// Like [`last_settled`], for the runs into one archive. Reads only the last lines of `runs.jsonl`, so an hourly
/// call for which nothing is due costs next to nothing.
pub fn last_settled_in(text: &str, archive: &str, step: &str) -> Option<Timestamp> {
    let runs = text.lines().rev().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    let settled = |record: &Record| record.step(step).is_some_and(Step::is_settled);
    { runs }.find(|run| run.archive == archive && settled(run)).map(|run| run.started.0)
}

/// Returns when the last run whose snapshot counts began. A snapshot that lacks most files is stored and
/// marked, but does not count.
pub fn last_whole(records: &[Record]) -> Option<Timestamp> {
    let whole = |record: &&Record| {
        record.step(SNAPSHOT).is_some_and(|step| step.is_settled() && !step.is_marked())
    };
    records.iter().rev().find(whole).map(|record| record.started.0)
}

/// Returns the runs into one archive. If the profile later names another archive, it starts without any runs.
pub fn of_archive(records: &[Record], archive: &str) -> Vec<Record> {
    records.iter().filter(|record| record.archive == archive).cloned().collect()
}

/// Returns how many runs in a row have failed. Ignores skipped and interrupted ones.
pub fn failures_in_a_row(records: &[Record]) -> usize {
    failed_last(records).count()
}

/// Returns the runs that have failed since the last good one, newest first. Ignores skipped and interrupted ones.
pub fn failed_last(records: &[Record]) -> impl Iterator<Item = &Record> {
    let of_interest = |run: &&Record| run.outcome.is_good() || run.outcome.is_failure();
    { records.iter().rev().filter(of_interest) }.take_while(|run| run.outcome.is_failure())
}

/// Returns the cost of all runs in the month of a time.
pub fn month_usd(records: &[Record], now: Timestamp, zone: &TimeZone) -> f64 {
    let month = |time: Timestamp| time.to_zoned(zone.clone()).date().first_of_month();
    let of_month = records.iter().filter(|record| month(record.started.0) == month(now));
    of_month.map(Record::cost_usd).sum::<f64>() + 0.0
}

/// Adds a record. Combines consecutive runs that did nothing for the same reason into one record. Removes old records,
/// except those that show when a step was last done.
pub fn add(records: &mut Vec<Record>, new: Record) {
    if let Some(last) = records.last_mut()
        && last.is_joined()
        && last.outcome == new.outcome
        && (&last.reason, &last.archive) == (&new.reason, &new.archive)
    {
        *last = Record { started: last.started, tries: last.tries.saturating_add(1), ..new };
        return;
    }
    records.push(new);
    let old = records.len().saturating_sub(RUNS_MAX);
    let mut last: Vec<usize> = Vec::new();
    for step in [SNAPSHOT, CHECK, DRILL, MIRROR, PRUNE] {
        let settled = |record: &Record| record.step(step).is_some_and(Step::is_settled);
        last.extend(records.iter().rposition(settled));
    }
    let mut at = 0;
    records.retain(|_| {
        at += 1;
        at > old || last.contains(&(at - 1))
    });
}

/// Parses the lines of `runs.jsonl`. Skips invalid lines, for example after a full disk.
pub fn parse(text: &str) -> Vec<Record> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Writes the lines of `runs.jsonl`.
pub fn write(records: &[Record]) -> String {
    let lines = records.iter().filter_map(|record| serde_json::to_string(record).ok());
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a run that began at a minute and whose snapshot ended with an exit code.
    pub fn record(minute: i64, exit: u8) -> Record {
        let started = LogTime(Timestamp::new(1_800_000_000 + 60 * minute, 0).unwrap());
        let outcome = match exit {
            code::DONE => Outcome::Done,
            code::INCOMPLETE | code::DOUBTFUL => Outcome::Warned,
            _ => Outcome::Failed,
        };
        let step = Step { name: SNAPSHOT.to_owned(), code: exit, ..Step::default() };
        let ended = Some(started);
        Record {
            started,
            ended,
            outcome,
            code: exit,
            reason: None,
            log: None,
            tries: 1,
            archive: String::new(),
            steps: vec![step],
        }
    }

    fn skipped(minute: i64, reason: &str) -> Record {
        let reason = Some(reason.to_owned());
        Record {
            outcome: Outcome::Skipped,
            code: 0,
            reason,
            steps: Vec::new(),
            ..record(minute, 0)
        }
    }

    #[test]
    fn a_record_is_a_line() {
        let mut run = record(0, 3);
        run.steps[0].cost_usd = Some(0.25);
        run.steps[0].summary.insert("files_new".to_owned(), 7.into());
        let text = write(&[run.clone(), record(1, 1)]);
        assert_eq!(text.lines().count(), 2);
        let torn = format!("{text}{{\"started\":\"2026-");
        assert_eq!(parse(&torn), [run, record(1, 1)]);
    }

    #[test]
    fn another_archive_has_no_runs() {
        let of = |archive: &str, exit| Record { archive: archive.to_owned(), ..record(0, exit) };
        let all = [of("a", 1), of("b", 0), of("a", 1)];
        let failures = |archive| failures_in_a_row(&of_archive(&all, archive));
        assert_eq!((failures("a"), failures("b"), failures("c")), (2, 0, 0));
        let usd = (all[0].cost_usd(), month_usd(&[], all[0].started.0, &TimeZone::UTC));
        assert!(usd.0.is_sign_positive() && usd.1.is_sign_positive(), "{usd:?}");
    }

    #[test]
    fn what_was_done_and_what_has_failed() {
        let mut all = vec![record(0, 0), record(1, 1), skipped(2, "battery"), record(3, 12)];
        assert_eq!(last_settled(&all, SNAPSHOT), Some(record(0, 0).started.0));
        assert_eq!(failures_in_a_row(&all), 2);
        // A snapshot counts even if some files could not be read.
        all.push(record(4, 3));
        assert_eq!(last_settled(&all, SNAPSHOT), Some(record(4, 0).started.0));
        assert_eq!(failures_in_a_row(&all), 0);
        let last_in = |archive| last_settled_in(&write(&all), archive, SNAPSHOT);
        assert_eq!((last_in(""), last_in("other")), (last_settled(&all, SNAPSHOT), None));
        assert_eq!(last_settled(&all, CHECK), None);
        all[4].steps.push(Step { name: CHECK.to_owned(), code: code::DAMAGED, ..Step::default() });
        assert_eq!(last_settled(&all, CHECK), Some(record(4, 0).started.0));
    }

    #[test]
    fn a_marked_snapshot_is_not_whole() {
        let mut all = vec![record(0, 0), record(1, 3), record(2, 1)];
        assert_eq!(last_whole(&all), Some(record(1, 3).started.0));
        let mark = serde_json::json!({ "files": 12, "left": 0, "changed": false });
        all[1].steps[0].summary.insert("mark".to_owned(), mark);
        assert_eq!(last_whole(&all), Some(record(0, 0).started.0));
        assert_eq!(last_settled(&all, SNAPSHOT), Some(record(1, 3).started.0));
    }

    #[test]
    fn a_year_of_runs_is_bounded() {
        let mut all = Vec::new();
        add(&mut all, record(0, 0));
        for hour in 1..9000 {
            add(&mut all, skipped(60 * hour, "on battery"));
        }
        assert_eq!((all.len(), all[1].tries), (2, 8999));
        for hour in 9000..12_000 {
            add(&mut all, record(60 * hour, 1));
        }
        assert_eq!(all.len(), RUNS_MAX + 1);
        assert_eq!(last_settled(&all, SNAPSHOT), Some(record(0, 0).started.0));
        assert!(write(&all).len() < 500_000);
    }

    #[test]
    fn a_month_has_a_bill() {
        let cost = |minute, usd| {
            let mut run = record(minute, 0);
            run.steps[0].cost_usd = usd;
            run
        };
        let day = 24 * 60;
        let all =
            [cost(-60 * day, Some(5.0)), cost(0, Some(0.25)), cost(1, None), cost(2, Some(0.5))];
        let now = record(3, 0).started.0;
        assert!((month_usd(&all, now, &TimeZone::UTC) - 0.75).abs() < 1e-9);
    }
}
