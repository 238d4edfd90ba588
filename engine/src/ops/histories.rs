//! Histories: which snapshots belong together, when each was taken, and which one a name means.
//!
//! A history is a host and a name, or a host and the set of its sources. The order of snapshots is that of the log;
//! the clock of a host may say anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use crate::error::{Argument, Error};
use crate::files::{forms, is_alike, normal};
use crate::format::{HistoryKey, PathsKey, SnapshotEntry, SnapshotId, Time, WriterId};
use crate::ops::dates;
use crate::ops::snapshot::is_less_than_half;
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// A time before this one, in 2001, comes from a clock that was never set.
const SECONDS_MIN: i64 = 1_000_000_000;
/// How far two correct clocks may differ.
const APART_SECONDS: i64 = 86_400;

/// Identifies a history: the first bytes of a hash over its host and its name or sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryId([u8; 4]);

impl HistoryId {
    /// Returns the history of a snapshot.
    pub fn of(entry: &SnapshotEntry) -> HistoryId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(entry.host.len() as u64).to_le_bytes()).update(entry.host.as_bytes());
        match entry.history_key() {
            HistoryKey::Named(name) => hasher.update(b"name").update(name.as_bytes()),
            HistoryKey::Paths(key) => hasher.update(b"paths").update(&key.0),
        };
        let hash = hasher.finalize();
        HistoryId(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Returns the name of the history of a snapshot, or its id.
pub fn name_of(entry: &SnapshotEntry) -> String {
    entry.history.clone().unwrap_or_else(|| HistoryId::of(entry).to_string())
}

/// Snapshots that belong together, in the order of the log; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Its id.
    pub id: HistoryId,
    /// Its snapshots.
    pub rows: Vec<SnapshotRow>,
}

impl History {
    /// Returns the last snapshot.
    pub fn newest(&self) -> &SnapshotRow {
        self.rows.last().expect("a history has a snapshot")
    }
}

/// Groups snapshots by their histories. The history with the newest snapshot comes last.
pub fn histories(rows: &[SnapshotRow]) -> Vec<History> {
    let mut all: BTreeMap<HistoryId, (usize, Vec<SnapshotRow>)> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let (last, members) = all.entry(HistoryId::of(&row.entry)).or_default();
        *last = at;
        members.push(row.clone());
    }
    let mut all: Vec<(usize, History)> =
        all.into_iter().map(|(id, (last, rows))| (last, History { id, rows })).collect();
    all.sort_by_key(|(last, _)| *last);
    all.into_iter().map(|(_, history)| history).collect()
}

/// Returns the unmarked snapshots that have, by the counts of their writers, less than half as many files as the last full
/// one before them. An icecore that takes such a snapshot marks it, so somebody else may have written these.
pub fn claimed_shrunk(rows: &[SnapshotRow]) -> HashSet<SnapshotId> {
    let mut shrunk = HashSet::new();
    for history in histories(rows) {
        let mut full: Option<u64> = None;
        for SnapshotRow { entry, accepted, .. } in history.rows.iter().filter(|r| !r.is_marked()) {
            let has_shrunk = |full| full >= 2 && is_less_than_half(entry.files, full);
            match full.is_some_and(has_shrunk) && !accepted {
                true => _ = shrunk.insert(entry.id),
                false => full = Some(entry.files),
            }
        }
    }
    shrunk
}

/// Whether the clock of a snapshot was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Nothing shows that it was wrong.
    Right,
    /// The neighbours in the log show that it was taken at another time.
    Wrong,
    /// It is ahead of the clock of this host, and nothing in the log shows which of the two is right.
    Future,
}

/// A snapshot, and when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// The snapshot.
    pub row: SnapshotRow,
    /// The time by its own clock, or if that is wrong, by its neighbours in the log.
    pub time: Time,
    /// Whether its own clock was right.
    pub clock: Clock,
}

/// Dates snapshots, which are in the order of the log.
///
/// Within a history, times ascend. If some do not, the smallest possible number of them is presumed wrong; such a
/// snapshot gets the time of the one before it, or else of the one after it. A marked snapshot does not affect the
/// times of others.
pub fn dated(rows: &[SnapshotRow], now: Time) -> Vec<Dated> {
    dated_by(rows, now, |row| !row.is_marked())
}

/// Like [`dated`], but only the snapshots for which `counts` returns true affect the others, so that known fakes cannot
/// make genuine times look wrong.
pub fn dated_by(
    rows: &[SnapshotRow],
    now: Time,
    counts: impl Fn(&SnapshotRow) -> bool,
) -> Vec<Dated> {
    let mut all: Vec<Dated> = rows
        .iter()
        .map(|row| Dated { row: row.clone(), time: row.entry.time, clock: Clock::Right })
        .collect();
    let mut members: BTreeMap<HistoryId, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        members.entry(HistoryId::of(&row.entry)).or_default().push(at);
    }
    for members in members.into_values() {
        let times: Vec<Time> = members.iter().map(|at| rows[*at].entry.time).collect();
        let fitting = fitting(&times, now, |number| counts(&rows[members[number]]));
        for (number, at) in members.iter().enumerate() {
            (all[*at].time, all[*at].clock) = judge(&times, &fitting, number, now);
        }
    }
    all
}

fn is_ahead(time: Time, now: Time) -> bool {
    time.seconds.saturating_sub(now.seconds) > APART_SECONDS
}

fn judge(times: &[Time], fitting: &[usize], number: usize, now: Time) -> (Time, Clock) {
    let time = times[number];
    let after = fitting.partition_point(|at| *at < number);
    if fitting.get(after) == Some(&number) {
        return (time, Clock::Right);
    }
    if is_ahead(time, now) && after == fitting.len() {
        return (time, Clock::Future);
    }
    let before = after.checked_sub(1).and_then(|at| fitting.get(at));
    let is_between = before.is_none_or(|before| times[*before] <= time)
        && fitting.get(after).is_none_or(|after| time <= times[*after]);
    if is_between && is_plausible(time, now) {
        return (time, Clock::Right);
    }
    let Some(neighbour) = before.or_else(|| fitting.get(after)) else {
        return (time, Clock::Right);
    };
    let by_log = times[*neighbour];
    let apart = by_log.seconds.abs_diff(time.seconds) > APART_SECONDS.unsigned_abs();
    (by_log, if apart { Clock::Wrong } else { Clock::Right })
}

fn is_plausible(time: Time, now: Time) -> bool {
    time.seconds >= SECONDS_MIN && !is_ahead(time, now)
}

/// Returns the numbers of the longest ascending run of plausible times that count.
fn fitting(times: &[Time], now: Time, counts: impl Fn(usize) -> bool) -> Vec<usize> {
    // Of all runs of n + 1 times, ends[n] is the last index of the one that ends lowest; before[at] is the index
    // before `at` in its run.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; times.len()];
    for (at, time) in times.iter().enumerate() {
        if !is_plausible(*time, now) || !counts(at) {
            continue;
        }
        let length = ends.partition_point(|end| times[*end] <= *time);
        before[at] = length.checked_sub(1).map(|last| ends[last]);
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut run: Vec<usize> =
        std::iter::successors(ends.last().copied(), |at| before[*at]).collect();
    run.reverse();
    run
}

/// Selects snapshots by host, history, tags and sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pick {
    /// The host that took it.
    pub host: Option<String>,
    /// The name or the id of a history.
    pub history: Option<String>,
    /// A snapshot must have all of these tags.
    pub tags: Vec<String>,
    /// A snapshot must have one of these sources: the real, absolute path, and the path as it was typed.
    pub paths: Vec<Vec<u8>>,
}

impl Pick {
    /// Returns whether all snapshots match.
    pub fn is_empty(&self) -> bool {
        *self == Pick::default()
    }

    /// Returns the snapshots in `rows` that match, in the same order.
    pub fn of(
        &self,
        repository: &Repository,
        mut rows: Vec<SnapshotRow>,
    ) -> Result<Vec<SnapshotRow>, Error> {
        rows.retain(|row| {
            self.host.as_ref().is_none_or(|host| is_alike(host, &row.entry.host))
                && self.history.as_ref().is_none_or(|name| is_called(&row.entry, name))
                && self.tags.iter().all(|tag| row.entry.tags.iter().any(|t| is_alike(t, tag)))
        });
        if self.paths.is_empty() {
            return Ok(rows);
        }
        // A Mac stores an accent in a different form than most people type. Try the path exactly as typed
        // first.
        let as_typed: Vec<PathBuf> = self.paths.iter().map(|path| as_path(path)).collect();
        for paths in [as_typed.clone(), as_typed.iter().flat_map(|path| forms(path)).collect()] {
            let found = by_keys(repository, &rows, &paths);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        if !repository.can_read() {
            return Ok(Vec::new());
        }
        let trees = TreeReader::new(repository)?;
        let mut found = Vec::new();
        for row in rows {
            let record = match trees.record(&row.entry.record) {
                Err(error) if error.is_of_object() => continue,
                record => record?,
            };
            let places = record.places.iter().flatten().map(|source| &source.place[..]);
            let mut known = record.paths.iter().map(|path| &path[..]).chain(places);
            if known.any(|known| self.paths.iter().any(|path| is_same(path, known))) {
                found.push(row);
            }
        }
        Ok(found)
    }
}

/// Returns whether the history of a snapshot has this name, or an id that begins with it.
pub fn is_called(entry: &SnapshotEntry, name: &str) -> bool {
    let by_id = || {
        let start = name.to_ascii_lowercase();
        start.len() >= 4 && HistoryId::of(entry).to_string().starts_with(&start)
    };
    entry.history.as_deref().is_some_and(|history| is_alike(history, name)) || by_id()
}

/// Returns the snapshots in `rows` that have one of these paths as a source. An older entry, without a list of sources,
/// matches if the path is its only source.
fn by_keys(repository: &Repository, rows: &[SnapshotRow], paths: &[PathBuf]) -> Vec<SnapshotRow> {
    let key = |path: &PathBuf| repository.secrets.paths_key(&[path.as_os_str().as_bytes().into()]);
    let keys: Vec<PathsKey> = paths.iter().map(key).collect();
    let is_meant = |row: &&SnapshotRow| {
        let sources = row.entry.sources.iter().flatten().map(|source| source.key);
        sources.chain([row.entry.paths_key]).any(|key| keys.contains(&key))
    };
    rows.iter().filter(is_meant).cloned().collect()
}

/// Returns whether two paths are the same, apart from a leading or trailing slash and the form of accents.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (as_path(trim(a)), as_path(trim(b)));
    a == b || normal(&a) == normal(&b)
}

fn as_path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// Returns the newest snapshot of a history that is not marked as incomplete, has no time in the future, and was
/// written by the given writer, if any. Whether a snapshot is overdue is judged by this one.
pub fn newest_whole<'a>(
    dated: &'a [Dated],
    history: &str,
    writer: Option<WriterId>,
) -> Option<&'a Dated> {
    let counts = |dated: &&Dated| {
        dated.row.entry.history.as_deref() == Some(history)
            && (!dated.row.is_marked() || dated.row.is_rotted())
            && dated.clock != Clock::Future
            && writer.is_none_or(|writer| dated.row.writer == writer)
    };
    dated.iter().rev().find(counts)
}

fn trim(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path)
}

/// The clock and time zone by which a date in a name is interpreted.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The time zone.
    pub zone: TimeZone,
    /// The present time. Snapshots that are ahead of it have a wrong clock.
    pub now: Time,
}

/// The snapshot that a name refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The snapshot.
    pub row: SnapshotRow,
    /// Number of histories among which the newest snapshot was chosen; 0 if there was no choice.
    pub histories: usize,
}

/// Finds a snapshot among those that `pick` selects: `latest`, `latest~2`, `latest@2026-10-31`, or a unique prefix of
/// its id. The first three stay within the history of the newest snapshot.
pub fn choose(
    repository: &Repository,
    name: &str,
    pick: &Pick,
    calendar: &Calendar,
) -> Result<Chosen, Error> {
    let none = || Error::NoSnapshot { name: name.to_owned() };
    let rows = repository.catalog.snapshots()?;
    let Some(rest) = after_latest(name) else {
        let row = by_id(pick.of(repository, rows)?, name).or_else(|error| {
            // A snapshot that is set apart can only be named by its id.
            by_id(pick.of(repository, repository.catalog.apart_snapshots()?)?, name)
                .map_err(|_| error)
        })?;
        return Ok(Chosen { row, histories: 0 });
    };
    let dated = dated(&rows, calendar.now);
    let times: HashMap<SnapshotId, Time> =
        dated.iter().map(|dated| (dated.row.entry.id, dated.time)).collect();
    let mut rows = pick.of(repository, rows)?;
    let count = histories(&rows).len();
    let mut back = 0;
    match (rest.strip_prefix('~'), rest.strip_prefix('@')) {
        (Some(number), _) => back = number.parse::<usize>().map_err(|_| none())?,
        (_, Some(date)) => {
            let before = moment(date, calendar)?;
            let time = |row: &SnapshotRow| times.get(&row.entry.id).copied();
            rows.retain(|row| time(row).is_some_and(|time| time < before));
        }
        _ if rest.is_empty() => {}
        _ => return Err(none()),
    }
    let newest = rows.last().ok_or_else(none)?;
    let id = HistoryId::of(&newest.entry);
    let of_it = rows.iter().filter(|row| HistoryId::of(&row.entry) == id);
    let row = of_it.rev().nth(back).cloned().ok_or_else(none)?;
    Ok(Chosen { row, histories: if count > 1 { count } else { 0 } })
}

/// Returns the text after `latest`, which may be in upper or lower case.
pub fn after_latest(name: &str) -> Option<&str> {
    let (word, rest) = name.split_at_checked("latest".len())?;
    word.eq_ignore_ascii_case("latest").then_some(rest)
}

fn by_id(rows: Vec<SnapshotRow>, name: &str) -> Result<SnapshotRow, Error> {
    let wanted = name.to_ascii_lowercase();
    let mut found = rows.into_iter().filter(|row| row.entry.id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        _ if wanted.is_empty() => Err(Error::NoSnapshot { name: name.to_owned() }),
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(Error::AmbiguousSnapshot { name: name.to_owned() }),
        (None, _) => Err(Error::NoSnapshot { name: name.to_owned() }),
    }
}

/// Parses a date that was typed, or explains why it is none.
fn moment(text: &str, calendar: &Calendar) -> Result<Time, Error> {
    let fail = || {
        let day = text.split(['T', ' ']).next().unwrap_or_default();
        let mut parts =
            day.split('-').map(|part| (part.len(), part.bytes().all(|c| c.is_ascii_digit())));
        let is_day =
            parts.by_ref().take(3).eq([(4, true), (2, true), (2, true)]) && parts.next().is_none();
        let reason = match is_day {
            true => "there is no such day, or no such time",
            false => "a date looks like 2026-10-31, or 2026-10-31T14:30",
        };
        Error::Input { what: Argument::Date(text.to_owned()), reason: reason.to_owned() }
    };
    dates::time(text, &calendar.zone).ok_or_else(fail)
}

#[cfg(test)]
mod tests;
