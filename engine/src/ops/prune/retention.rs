//! Which snapshots a policy keeps, and for what reasons. Pure: never reads the clock or a path.
//!
//! The rules are those of restic's `forget` (its manual, "Removing snapshots according to a
//! policy"). In each group, from the newest to the oldest snapshot, every bucket keeps the newest
//! that falls into it, until there have been as many buckets as the policy asks for. If there are
//! fewer, the oldest snapshot is kept too, so that the history reaches as far back as it can.

use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

pub use super::policy::{GroupBy, Policy, UNLIMITED, Within, parse_count, parse_tags};
use crate::format::{PathsKey, SnapshotEntry, Time};

/// What snapshots of a group have in common; `None` if they were not grouped by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    pub host: Option<String>,
    pub paths: Option<PathsKey>,
    /// In order, each once.
    pub tags: Option<Vec<String>>,
}

/// Snapshots that the policy was applied to together; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub key: GroupKey,
    /// From the newest to the oldest, with the reasons to keep each. Without any it is dropped.
    pub snapshots: Vec<(SnapshotEntry, Vec<Reason>)>,
}

impl Group {
    /// Returns whether no snapshot of it would be left.
    pub fn drops_all(&self) -> bool {
        self.kept().next().is_none()
    }

    /// Returns what is kept, from the newest on.
    pub fn kept(&self) -> impl Iterator<Item = (&SnapshotEntry, &[Reason])> {
        let kept = self.snapshots.iter().filter(|(_, reasons)| !reasons.is_empty());
        kept.map(|(entry, reasons)| (entry, &reasons[..]))
    }

    /// Returns what is dropped, from the newest on.
    pub fn dropped(&self) -> impl Iterator<Item = &SnapshotEntry> {
        let dropped = self.snapshots.iter().filter(|(_, reasons)| reasons.is_empty());
        dropped.map(|(entry, _)| entry)
    }
}

/// Why a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The policy asks for nothing.
    NoPolicy,
    /// It has all tags of this list.
    Tags(Vec<String>),
    /// It is younger than that, counted from the newest of its group.
    Within(Within),
    /// It is the newest of its bucket.
    Newest(Bucket),
    /// It is the oldest of its group, and there are fewer buckets than were asked for.
    Oldest(Bucket),
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
        }
    }
}

/// What snapshots are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Each has a bucket of its own.
    Last,
    Hourly,
    Daily,
    /// ISO weeks, from Monday to Sunday.
    Weekly,
    Monthly,
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

/// Applies a policy to each group of snapshots, with the calendar of a time zone.
///
/// Of snapshots of the same time the one that comes later in the slice counts as newer: the catalog
/// returns them in the order of the log. `within` counts from the newest snapshot of the group,
/// even if its host's clock was wrong; [`apply_at`] guards against that.
pub fn apply(
    snapshots: &[SnapshotEntry],
    policy: &Policy,
    group_by: GroupBy,
    zone: &TimeZone,
) -> Vec<Group> {
    apply_at(snapshots, policy, group_by, zone, Time { seconds: i64::MAX, nanos: 999_999_999 })
}

/// Applies a policy as [`apply`] does, but `within` counts from the newest snapshot that was not
/// taken after `now`. Otherwise one snapshot from the future would have all others dropped.
pub fn apply_at(
    snapshots: &[SnapshotEntry],
    policy: &Policy,
    group_by: GroupBy,
    zone: &TimeZone,
    now: Time,
) -> Vec<Group> {
    let mut groups: BTreeMap<GroupKey, Vec<&SnapshotEntry>> = BTreeMap::new();
    for entry in snapshots {
        groups.entry(key_of(entry, group_by)).or_default().push(entry);
    }
    let decide = |(key, mut entries): (GroupKey, Vec<&SnapshotEntry>)| {
        entries.reverse();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        let reasons = reasons(&entries, policy, zone, now);
        Group { key, snapshots: entries.into_iter().cloned().zip(reasons).collect() }
    };
    groups.into_iter().map(decide).collect()
}

fn key_of(entry: &SnapshotEntry, group_by: GroupBy) -> GroupKey {
    GroupKey {
        host: group_by.host.then(|| entry.host.clone()),
        paths: group_by.paths.then_some(entry.paths_key),
        tags: group_by.tags.then(|| {
            let mut tags = entry.tags.clone();
            tags.sort_unstable();
            tags.dedup();
            tags
        }),
    }
}

/// Returns the reasons to keep each snapshot of a group, which is sorted from the newest on.
fn reasons(
    entries: &[&SnapshotEntry],
    policy: &Policy,
    zone: &TimeZone,
    now: Time,
) -> Vec<Vec<Reason>> {
    if policy.is_empty() {
        return vec![vec![Reason::NoPolicy]; entries.len()];
    }
    let within = policy.within.filter(|within| !within.is_zero()).map(|within| {
        let newest = entries.iter().find(|entry| entry.time <= now);
        // All are younger than what lies before all time, and than nothing.
        (within, newest.and_then(|newest| within.before(&local(newest.time, zone))))
    });
    let mut counters = counters(policy);
    let mut all = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let is_oldest = position + 1 == entries.len();
        let at = local(entry.time, zone);
        let lists = policy.tags.iter().filter(|tags| has_tags(entry, tags));
        let mut reasons: Vec<Reason> = lists.cloned().map(Reason::Tags).collect();
        if let Some((within, begin)) = within
            && begin.is_none_or(|begin| at.timestamp() > begin)
        {
            reasons.push(Reason::Within(within));
        }
        reasons.extend(counters.iter_mut().filter_map(|counter| counter.count(&at, is_oldest)));
        all.push(reasons);
    }
    all
}

/// Returns the moment of a snapshot in a zone; one beyond the calendar is moved to its end.
fn local(time: Time, zone: &TimeZone) -> Zoned {
    let nanos = i32::try_from(time.nanos).unwrap_or(999_999_999);
    let end = if time.seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::new(time.seconds, nanos).unwrap_or(end).to_zoned(zone.clone())
}

/// Returns whether a snapshot has all tags of a list; an empty tag stands for having none.
fn has_tags(entry: &SnapshotEntry, tags: &[String]) -> bool {
    tags.iter().all(|tag| match entry.tags.is_empty() {
        true => tag.is_empty(),
        false => entry.tags.contains(tag),
    })
}

/// A bucket's place in the calendar: year, month or week, day, hour, as far as they matter.
type Place = (i16, i8, i8, i8);

/// How many buckets of a kind may still be filled.
struct Counter {
    bucket: Bucket,
    left: u32,
    /// Where the snapshot before fell into.
    place: Option<Place>,
}

fn counters(policy: &Policy) -> Vec<Counter> {
    let counts = [
        (Bucket::Last, policy.last),
        (Bucket::Hourly, policy.hourly),
        (Bucket::Daily, policy.daily),
        (Bucket::Weekly, policy.weekly),
        (Bucket::Monthly, policy.monthly),
        (Bucket::Yearly, policy.yearly),
    ];
    let counter = |(bucket, count): (Bucket, Option<u32>)| {
        count.map(|left| Counter { bucket, left, place: None })
    };
    counts.into_iter().filter_map(counter).collect()
}

impl Counter {
    /// Counts a snapshot, the next older one; returns why it is kept, if it is.
    fn count(&mut self, at: &Zoned, is_oldest: bool) -> Option<Reason> {
        if self.left == 0 {
            return None;
        }
        let place = self.bucket.place(at);
        let is_new = place.is_none() || place != self.place;
        if !is_new {
            return is_oldest.then_some(Reason::Oldest(self.bucket));
        }
        self.place = place;
        if self.left != UNLIMITED {
            self.left -= 1;
        }
        Some(Reason::Newest(self.bucket))
    }
}

impl Bucket {
    /// Returns where a moment falls into; nothing if it shares its bucket with no other.
    fn place(self, at: &Zoned) -> Option<Place> {
        let (year, month, day) = (at.year(), at.month(), at.day());
        match self {
            Bucket::Last => None,
            Bucket::Hourly => Some((year, month, day, at.hour())),
            Bucket::Daily => Some((year, month, day, 0)),
            Bucket::Weekly => {
                let week = at.date().iso_week_date();
                Some((week.year(), week.week(), 0, 0))
            }
            Bucket::Monthly => Some((year, month, 0, 0)),
            Bucket::Yearly => Some((year, 0, 0, 0)),
        }
    }
}

#[cfg(test)]
mod tests;
