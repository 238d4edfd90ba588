//! Decides which snapshots a policy keeps, with the reasons. Does not read the clock or any path.
//!
//! The rules are those of restic's `forget` (see its manual, "Removing snapshots according to a
//! policy"). In each group, from the newest to the oldest snapshot, each bucket (an hour, a day …)
//! keeps its newest snapshot, until there are as many buckets as the policy demands. If there are
//! fewer, the oldest snapshot is kept too, so that the history reaches as far back as possible.
//!
//! The order of the log decides which snapshot is newer. A snapshot that is marked, or whose clock
//! is ahead of this host's, is neither counted nor dropped. The newest counted snapshot of each
//! history is never dropped, nor is the last full one before a marked one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

pub use super::policy::{GroupBy, Policy, UNLIMITED, Within, parse_count, parse_tags};
use crate::format::{HistoryKey, JobId, SnapshotEntry, SnapshotId, Time};
use crate::ops::histories::{Clock, Dated, HistoryId, dated_by};
use crate::repo::SnapshotRow;

/// The properties that the snapshots of a group share; `None` if they are not grouped by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The host.
    pub host: Option<String>,
    /// The name of the history, or its sources if it has no name.
    pub paths: Option<HistoryKey>,
    /// The tags, sorted and without duplicates.
    pub tags: Option<Vec<String>>,
}

/// Snapshots to which the policy is applied together; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they share.
    pub key: GroupKey,
    /// The snapshots from newest to oldest, with the reasons to keep each. A snapshot without a
    /// reason is dropped.
    pub snapshots: Vec<(SnapshotEntry, Vec<Reason>)>,
}

impl Group {
    /// Returns whether all snapshots of the group are dropped.
    pub fn drops_all(&self) -> bool {
        self.kept().next().is_none()
    }

    /// Returns the kept snapshots, newest first.
    pub fn kept(&self) -> impl Iterator<Item = (&SnapshotEntry, &[Reason])> {
        let kept = self.snapshots.iter().filter(|(_, reasons)| !reasons.is_empty());
        kept.map(|(entry, reasons)| (entry, &reasons[..]))
    }

    /// Returns the dropped snapshots, newest first.
    pub fn dropped(&self) -> impl Iterator<Item = &SnapshotEntry> {
        let dropped = self.snapshots.iter().filter(|(_, reasons)| reasons.is_empty());
        dropped.map(|(entry, _)| entry)
    }
}

/// Why a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The policy has no rules.
    NoPolicy,
    /// It has all tags of this list.
    Tags(Vec<String>),
    /// It was taken within this time before the newest of its group.
    Within(Within),
    /// It is the newest in its bucket.
    Newest(Bucket),
    /// It is the oldest of its group, and there are fewer buckets than the policy demands.
    Oldest(Bucket),
    /// It is the newest of its history.
    NewestOfHistory,
    /// It is marked because many files are missing, and the owner has not accepted it.
    Marked,
    /// It is the last full snapshot before a marked one.
    LastFull,
    /// Its clock is ahead of this host's.
    Future,
    /// Its clock was wrong, as far as the log shows. Someone else may have written the snapshots that show it.
    Clock,
    /// A job that is not over restores it.
    Restoring(JobId),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoPolicy => f.write_str("no policy"),
            Reason::Tags(tags) => match &tags[..] {
                [] => f.write_str("any tags"),
                [tag] if tag.is_empty() => f.write_str("no tags"),
                [tag] => write!(f, "tag {tag}"),
                tags => write!(f, "tags {}", tags.join(", ")),
            },
            Reason::Within(within) => write!(f, "within {within}"),
            Reason::Newest(bucket) => write!(f, "{bucket} snapshot"),
            Reason::Oldest(bucket) => write!(f, "oldest {bucket} snapshot"),
            Reason::NewestOfHistory => f.write_str("newest of its history"),
            Reason::Marked => f.write_str("marked, not counted"),
            Reason::LastFull => f.write_str("last full one before a marked one"),
            Reason::Future => f.write_str("from the future, not counted"),
            Reason::Clock => f.write_str("taken when its clock was wrong"),
            Reason::Restoring(job) => write!(f, "job {} restores it", job.short()),
        }
    }
}

/// The kinds of bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Each snapshot has its own bucket.
    Last,
    /// Hours of the local clock.
    Hourly,
    /// Local days.
    Daily,
    /// ISO weeks, from Monday to Sunday.
    Weekly,
    /// Calendar months.
    Monthly,
    /// Calendar years.
    Yearly,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bucket::Last => "last",
            Bucket::Hourly => "hourly",
            Bucket::Daily => "daily",
            Bucket::Weekly => "weekly",
            Bucket::Monthly => "monthly",
            Bucket::Yearly => "yearly",
        })
    }
}

/// Determines the times of snapshots for a policy. Marked snapshots, and shrunken ones that are not
/// accepted, do not affect the times of others.
pub fn dated_with(rows: &[SnapshotRow], now: Time, shrunk: &BTreeSet<SnapshotId>) -> Vec<Dated> {
    let has_shrunk =
        |row: &SnapshotRow| row.is_marked() || (shrunk.contains(&row.entry.id) && !row.accepted);
    dated_by(rows, now, |row| !has_shrunk(row))
}

/// The time zone that determines days and hours, and the present time.
#[derive(Debug, Clone, Copy)]
pub struct LocalTime<'a> {
    /// The time zone.
    pub zone: &'a TimeZone,
    /// The present time.
    pub now: Time,
}

/// Applies a policy to each group of snapshots. `rows` must be in the order of the log.
///
/// `shrunk` are snapshots that count as marked although the log does not mark them.
pub fn apply(
    rows: &[SnapshotRow],
    policy: &Policy,
    group_by: GroupBy,
    calendar: LocalTime,
    shrunk: &BTreeSet<SnapshotId>,
) -> Vec<Group> {
    let LocalTime { zone, now } = calendar;
    let dated = dated_with(rows, now, shrunk);
    let protected = protected(&dated, shrunk);
    let mut groups: BTreeMap<GroupKey, Vec<&Dated>> = BTreeMap::new();
    for dated in &dated {
        groups.entry(key_of(&dated.row.entry, group_by)).or_default().push(dated);
    }
    let decide = |(key, members): (GroupKey, Vec<&Dated>)| {
        let mut reasons = reasons(&members, policy, zone, &protected);
        reasons.reverse();
        let entries = members.into_iter().rev().map(|dated| dated.row.entry.clone());
        Group { key, snapshots: entries.zip(reasons).collect() }
    };
    groups.into_iter().map(decide).collect()
}

/// Returns the snapshots that no policy may drop, with the reasons.
fn protected(all: &[Dated], shrunk: &BTreeSet<SnapshotId>) -> BTreeMap<SnapshotId, Reason> {
    let mut protected = BTreeMap::new();
    // For each history: whether its newest snapshot was found, and whether the last full one before
    // a marked one has not been found yet.
    let mut histories: BTreeMap<HistoryId, (bool, bool)> = BTreeMap::new();
    for dated in all.iter().rev() {
        let entry = &dated.row.entry;
        let (has_newest, has_marked) = histories.entry(HistoryId::of(entry)).or_default();
        let is_marked =
            dated.row.is_marked() || (shrunk.contains(&entry.id) && !dated.row.accepted);
        let reason = match (is_marked, dated.clock) {
            (true, _) => {
                *has_marked = true;
                Reason::Marked
            }
            (false, Clock::Future) => Reason::Future,
            (false, _) if std::mem::take(has_marked) => Reason::LastFull,
            (false, _) if !*has_newest => Reason::NewestOfHistory,
            (false, Clock::Wrong) => Reason::Clock,
            (false, Clock::Right) => continue,
        };
        *has_newest |= matches!(reason, Reason::LastFull | Reason::NewestOfHistory);
        protected.insert(entry.id, reason);
    }
    protected
}

fn key_of(entry: &SnapshotEntry, group_by: GroupBy) -> GroupKey {
    GroupKey {
        host: group_by.host.then(|| entry.host.clone()),
        paths: group_by.paths.then(|| entry.history_key()),
        tags: group_by.tags.then(|| {
            let mut tags = entry.tags.clone();
            tags.sort_unstable();
            tags.dedup();
            tags
        }),
    }
}

/// Returns the reasons to keep each snapshot of a group. The group must be in the order of the log.
fn reasons(
    members: &[&Dated],
    policy: &Policy,
    zone: &TimeZone,
    protected: &BTreeMap<SnapshotId, Reason>,
) -> Vec<Vec<Reason>> {
    if policy.is_empty() {
        return vec![vec![Reason::NoPolicy]; members.len()];
    }
    let why = |dated: &Dated| protected.get(&dated.row.entry.id).cloned();
    let is_counted = |dated: &Dated| !matches!(why(dated), Some(Reason::Marked | Reason::Future));
    let mut all: Vec<Vec<Reason>> = members.iter().map(|dated| by_tags(dated, policy)).collect();
    let counted: Vec<usize> = (0..members.len()).filter(|at| is_counted(members[*at])).collect();
    // Times must not descend in the order of the log. An earlier time is from a long run or from
    // another history.
    let mut latest = Time { seconds: i64::MIN, nanos: 0 };
    let times = counted.iter().map(|at| {
        latest = latest.max(members[*at].time);
        local(latest, zone)
    });
    let times: Vec<Zoned> = times.collect();
    let within = policy.within.filter(|within| !within.is_zero());
    // If the limit is before the calendar begins, all snapshots are within it.
    let within =
        within.map(|within| (within, times.last().and_then(|newest| within.before(newest))));
    let mut counters = counters(policy);
    for (number, (at, time)) in counted.iter().zip(&times).enumerate().rev() {
        if let Some((within, begin)) = within
            && begin.is_none_or(|begin| time.timestamp() > begin)
        {
            all[*at].push(Reason::Within(within));
        }
        all[*at].extend(counters.iter_mut().filter_map(|counter| counter.count(time, number == 0)));
    }
    for (dated, reasons) in members.iter().zip(&mut all) {
        match why(dated) {
            Some(reason @ (Reason::Marked | Reason::Future | Reason::LastFull)) => {
                reasons.push(reason)
            }
            Some(Reason::Clock) if !policy.asks_when() => {}
            Some(reason) if reasons.is_empty() => reasons.push(reason),
            _ => {}
        }
    }
    all
}

/// Returns the tag lists of a policy that match a snapshot.
fn by_tags(dated: &Dated, policy: &Policy) -> Vec<Reason> {
    let lists = policy.tags.iter().filter(|tags| has_tags(&dated.row.entry, tags));
    lists.cloned().map(Reason::Tags).collect()
}

/// Returns the time of a snapshot in a zone, clamped to the calendar.
fn local(time: Time, zone: &TimeZone) -> Zoned {
    let nanos = i32::try_from(time.nanos).unwrap_or(999_999_999);
    let end = if time.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::new(time.seconds, nanos).unwrap_or(end).to_zoned(zone.clone())
}

/// Returns whether a snapshot has all tags of a list. An empty tag matches a snapshot without tags.
fn has_tags(entry: &SnapshotEntry, tags: &[String]) -> bool {
    tags.iter().all(|tag| match entry.tags.is_empty() {
        true => tag.is_empty(),
        false => entry.tags.contains(tag),
    })
}

/// Counts the buckets of a kind that may still be filled.
struct BucketCounter {
    bucket: Bucket,
    left: u32,
    /// When the period of the snapshot counted last began.
    began: Option<DateTime>,
}

fn counters(policy: &Policy) -> Vec<BucketCounter> {
    let counts = [
        (Bucket::Last, policy.last),
        (Bucket::Hourly, policy.hourly),
        (Bucket::Daily, policy.daily),
        (Bucket::Weekly, policy.weekly),
        (Bucket::Monthly, policy.monthly),
        (Bucket::Yearly, policy.yearly),
    ];
    let counter = |(bucket, count): (Bucket, Option<u32>)| {
        count.map(|left| BucketCounter { bucket, left, began: None })
    };
    counts.into_iter().filter_map(counter).collect()
}

impl BucketCounter {
    /// Counts the next older snapshot. Returns the reason if it is kept.
    fn count(&mut self, at: &Zoned, is_oldest: bool) -> Option<Reason> {
        if self.left == 0 {
            return None;
        }
        let began = self.bucket.began(at);
        let is_new = began.is_none() || began != self.began;
        if !is_new {
            return is_oldest.then_some(Reason::Oldest(self.bucket));
        }
        self.began = began;
        if self.left != UNLIMITED {
            self.left -= 1;
        }
        Some(Reason::Newest(self.bucket))
    }
}

impl Bucket {
    /// Returns when the period began that contains a time; `None` if each snapshot has its own bucket.
    fn began(self, at: &Zoned) -> Option<DateTime> {
        let day = at.date();
        let first = match self {
            Bucket::Last => return None,
            Bucket::Hourly => return Some(day.at(at.hour(), 0, 0, 0)),
            Bucket::Daily => day,
            // The first days of the calendar are in a week that began before it.
            Bucket::Weekly => {
                day.iso_week_date().first_of_week().map_or(Date::MIN, |week| week.date())
            }
            Bucket::Monthly => day.first_of_month(),
            Bucket::Yearly => day.first_of_year(),
        };
        Some(first.at(0, 0, 0, 0))
    }
}

#[cfg(test)]
mod tests;
