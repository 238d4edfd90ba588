//! Tests what policies keep of small histories, snapshot by snapshot.

mod doubtful;

use proptest::prelude::*;

use super::*;
use crate::format::signed::OWNER;
use crate::format::{ChunkId, PathsKey, SnapshotId};

/// The time zone of Central Europe as a rule, so that no time zone database is needed. Summer time
/// begins on 2026-03-29 at 01:00 UTC and ends on 2026-10-25 at 01:00 UTC.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn zone(rule: &str) -> TimeZone {
    TimeZone::posix(rule).expect("a rule")
}

fn time(text: &str) -> Time {
    let at: Timestamp = text.parse().expect("a time");
    Time { seconds: at.as_second(), nanos: at.subsec_nanosecond().unsigned_abs() }
}

fn entry(number: u8, time: Time) -> SnapshotEntry {
    SnapshotEntry {
        id: SnapshotId([number; 16]),
        time,
        host: "nas".to_owned(),
        tags: Vec::new(),
        record: ChunkId([0; 32]),
        files: 0,
        bytes: 0,
        packs: Vec::new(),
        paths_key: PathsKey([7; 16]),
        history: None,
        marked: None,
        sources: None,
    }
}

/// Returns snapshots at these times, numbered from 0.
fn entries(times: &[&str]) -> Vec<SnapshotEntry> {
    (0..).zip(times).map(|(number, text)| entry(number, time(text))).collect()
}

/// Lists the snapshots of a group, newest first, with their numbers and the reasons to keep them.
fn listed(group: &Group) -> Vec<String> {
    let line = |(entry, reasons): &(SnapshotEntry, Vec<Reason>)| {
        let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
        format!("{}: {}", entry.id.0[0], reasons.join(" + ")).trim_end().to_owned()
    };
    group.snapshots.iter().map(line).collect()
}

/// Applies a policy long after the snapshots were taken.
fn apply(
    snapshots: &[SnapshotEntry],
    policy: &Policy,
    group_by: GroupBy,
    zone: &TimeZone,
) -> Vec<Group> {
    let now = Time { seconds: i64::MAX, nanos: 0 };
    super::apply(&rows(snapshots), policy, group_by, LocalTime { zone, now }, &BTreeSet::new())
}

fn rows(snapshots: &[SnapshotEntry]) -> Vec<SnapshotRow> {
    let row = |entry: &SnapshotEntry| SnapshotRow {
        entry: entry.clone(),
        number: u64::from(entry.id.0[0]),
        writer: OWNER,
        accepted: false,
        apart: false,
    };
    snapshots.iter().map(row).collect()
}

#[track_caller]
fn check_in(rule: &str, policy: Policy, snapshots: &[SnapshotEntry], expected: &[&str]) {
    let groups = apply(snapshots, &policy, GroupBy::default(), &zone(rule));
    let [group] = &groups[..] else { panic!("{} groups", groups.len()) };
    assert_eq!(listed(group), expected);
}

#[track_caller]
fn check(policy: Policy, times: &[&str], expected: &[&str]) {
    check_in("UTC0", policy, &entries(times), expected);
}

fn none() -> Policy {
    Policy::default()
}

fn within(text: &str) -> Option<Within> {
    Some(text.parse().expect("a duration"))
}

#[test]
fn an_empty_policy_keeps_everything() {
    let times = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    check(none(), &times, &["1: no policy", "0: no policy"]);
    let zero = Policy { last: Some(0), within: within("0d"), ..none() };
    check(zero, &times, &["1: no policy", "0: no policy"]);
    assert!(apply(&[], &none(), GroupBy::default(), &TimeZone::UTC).is_empty());
}

#[test]
fn the_last_are_counted_one_by_one() {
    let times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"];
    let policy = Policy { last: Some(2), ..none() };
    check(policy, &times, &["2: last snapshot", "1: last snapshot", "0:"]);
    let all = Policy { last: Some(UNLIMITED), ..none() };
    check(all, &times, &["2: last snapshot", "1: last snapshot", "0: last snapshot"]);
    // There are fewer snapshots than requested. The oldest is not listed with a second reason.
    let more = Policy { last: Some(9), ..none() };
    check(more, &times, &["2: last snapshot", "1: last snapshot", "0: last snapshot"]);
}

#[test]
fn of_the_same_time_the_later_in_the_log_is_newer() {
    let times = ["2026-01-01T00:00:00Z"; 3];
    let policy = Policy { last: Some(1), daily: Some(1), ..none() };
    check(policy, &times, &["2: last snapshot + daily snapshot", "1:", "0:"]);
    let mut back = entries(&["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]);
    back[0].time.nanos = 1;
    let last = Policy { last: Some(1), ..none() };
    check_in("UTC0", last, &back, &["1: last snapshot", "0:"]);
}

#[test]
fn an_hour_keeps_its_newest() {
    let times = [
        "2026-01-01T08:59:59Z",
        "2026-01-01T09:00:00Z",
        "2026-01-01T09:59:59Z",
        "2026-01-01T12:00:00Z",
    ];
    let policy = Policy { hourly: Some(2), ..none() };
    check(policy, &times, &["3: hourly snapshot", "2: hourly snapshot", "1:", "0:"]);
}

#[test]
fn the_hour_that_comes_twice_is_one_hour_of_the_calendar() {
    // 02:10 and 02:50 in summer time, then 02:10 and 02:50 in winter time, then 03:10.
    let times = [
        "2026-10-25T00:10:00Z",
        "2026-10-25T00:50:00Z",
        "2026-10-25T01:10:00Z",
        "2026-10-25T01:50:00Z",
        "2026-10-25T02:10:00Z",
    ];
    let policy = Policy { hourly: Some(2), ..none() };
    let expected = ["4: hourly snapshot", "3: hourly snapshot", "2:", "1:", "0:"];
    check_in(BERLIN, policy.clone(), &entries(&times), &expected);
    let expected = ["4: hourly snapshot", "3: hourly snapshot", "2:", "1:", "0:"];
    check_in("UTC0", policy, &entries(&times), &expected);
    let three = Policy { hourly: Some(3), ..none() };
    let expected =
        ["4: hourly snapshot", "3: hourly snapshot", "2:", "1:", "0: oldest hourly snapshot"];
    check_in(BERLIN, three.clone(), &entries(&times), &expected);
    let expected = ["4: hourly snapshot", "3: hourly snapshot", "2:", "1: hourly snapshot", "0:"];
    check_in("UTC0", three, &entries(&times), &expected);
}

#[test]
fn the_hour_that_is_left_out_is_none() {
    // 01:30, then 03:00 in summer time. There is no 02:00.
    let times = ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:59:00Z"];
    let policy = Policy { hourly: Some(2), ..none() };
    let expected = ["2: hourly snapshot", "1:", "0: hourly snapshot"];
    check_in(BERLIN, policy, &entries(&times), &expected);
}

#[test]
fn a_day_is_that_of_the_zone() {
    // Days in Berlin end at 23:00 UTC in winter and at 22:00 UTC in summer.
    let times = [
        "2026-03-28T22:59:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T21:59:00Z",
        "2026-03-29T22:00:00Z",
    ];
    let policy = Policy { daily: Some(3), ..none() };
    let expected = ["3: daily snapshot", "2: daily snapshot", "1:", "0: daily snapshot"];
    check_in(BERLIN, policy.clone(), &entries(&times), &expected);
    let expected = ["3: daily snapshot", "2:", "1: daily snapshot", "0: oldest daily snapshot"];
    check_in("UTC0", policy, &entries(&times), &expected);
    // The day of 25 hours on which summer time ends.
    let autumn = ["2026-10-24T22:00:00Z", "2026-10-25T22:59:00Z", "2026-10-25T23:00:00Z"];
    let two = Policy { daily: Some(2), ..none() };
    let expected = ["2: daily snapshot", "1: daily snapshot", "0:"];
    check_in(BERLIN, two, &entries(&autumn), &expected);
}

#[test]
fn days_without_a_snapshot_do_not_count() {
    let times = [
        "2019-09-01T11:00:00Z",
        "2019-09-08T11:00:00Z",
        "2019-10-27T11:00:00Z",
        "2019-11-03T11:00:00Z",
    ];
    let policy = Policy { daily: Some(3), ..none() };
    let expected = ["3: daily snapshot", "2: daily snapshot", "1: daily snapshot", "0:"];
    check(policy, &times, &expected);
}

#[test]
fn weeks_go_from_monday_to_sunday_across_the_year() {
    // Week 53 of 2026 lasts from Monday, 2026-12-28, to Sunday, 2027-01-03.
    let times = [
        "2026-12-27T23:59:59Z",
        "2026-12-28T00:00:00Z",
        "2026-12-31T23:59:59Z",
        "2027-01-03T23:59:59Z",
        "2027-01-04T00:00:00Z",
    ];
    let policy = Policy { weekly: Some(3), ..none() };
    let expected = ["4: weekly snapshot", "3: weekly snapshot", "2:", "1:", "0: weekly snapshot"];
    check(policy, &times, &expected);
    // Week 1 of 2025 begins in 2024, so these are in the same week and not a year apart.
    let policy = Policy { weekly: Some(1), ..none() };
    let times = ["2024-12-30T12:00:00Z", "2025-01-05T12:00:00Z"];
    check(policy, &times, &["1: weekly snapshot", "0:"]);
}

#[test]
fn a_week_over_a_change_of_time_ends_with_its_sunday() {
    let times = ["2026-03-22T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"];
    let policy = Policy { weekly: Some(2), ..none() };
    let expected = ["2: weekly snapshot", "1: weekly snapshot", "0:"];
    check_in(BERLIN, policy, &entries(&times), &expected);
}

#[test]
fn months_and_years_end_by_the_clock_of_the_zone() {
    let times = [
        "2026-11-30T22:59:00Z",
        "2026-11-30T23:30:00Z",
        "2026-12-31T22:59:00Z",
        "2026-12-31T23:30:00Z",
    ];
    let months = Policy { monthly: Some(3), ..none() };
    let expected = ["3: monthly snapshot", "2: monthly snapshot", "1:", "0: monthly snapshot"];
    check_in(BERLIN, months.clone(), &entries(&times), &expected);
    let expected =
        ["3: monthly snapshot", "2:", "1: monthly snapshot", "0: oldest monthly snapshot"];
    check_in("UTC0", months, &entries(&times), &expected);
    let years = Policy { yearly: Some(2), ..none() };
    let expected = ["3: yearly snapshot", "2: yearly snapshot", "1:", "0:"];
    check_in(BERLIN, years.clone(), &entries(&times), &expected);
    let expected = ["3: yearly snapshot", "2:", "1:", "0: oldest yearly snapshot"];
    check_in("UTC0", years, &entries(&times), &expected);
}

#[test]
fn the_same_month_of_another_year_is_another_month() {
    let times = ["2024-02-29T00:00:00Z", "2025-02-28T00:00:00Z", "2026-02-28T00:00:00Z"];
    let policy = Policy { monthly: Some(2), ..none() };
    check(policy, &times, &["2: monthly snapshot", "1: monthly snapshot", "0:"]);
}

#[test]
fn the_oldest_stays_while_buckets_are_left() {
    let times = ["2026-05-01T01:00:00Z", "2026-05-01T02:00:00Z", "2026-05-01T03:00:00Z"];
    let policy = Policy { daily: Some(2), yearly: Some(1), ..none() };
    let expected = ["2: daily snapshot + yearly snapshot", "1:", "0: oldest daily snapshot"];
    check(policy, &times, &expected);
    // The only requested bucket is filled.
    let one = Policy { daily: Some(1), ..none() };
    check(one, &times, &["2: daily snapshot", "1:", "0:"]);
    // A single snapshot is the newest of its bucket, and is listed once.
    let many = Policy { daily: Some(9), ..none() };
    check(many, &times[..1], &["0: daily snapshot"]);
}

#[test]
fn a_snapshot_has_all_its_reasons() {
    let mut snapshots = entries(&["2026-05-01T01:00:00Z"]);
    snapshots[0].tags = vec!["keep".to_owned(), "best".to_owned()];
    let some = Some(1);
    let policy = Policy {
        last: some,
        hourly: some,
        daily: some,
        weekly: some,
        monthly: some,
        yearly: some,
        within: within("1y"),
        tags: vec![parse_tags("keep"), parse_tags("best,keep"), parse_tags("other")],
    };
    let expected = "0: tag keep + tags best, keep + within 1y + last snapshot + hourly snapshot \
                    + daily snapshot + weekly snapshot + monthly snapshot + yearly snapshot";
    check_in("UTC0", policy, &snapshots, &[expected]);
}

#[test]
fn within_counts_from_the_newest_by_the_calendar() {
    let policy = |text: &str| Policy { within: within(text), ..none() };
    // A snapshot of exactly this age is no longer kept.
    let times = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "2026-02-28T12:00:00Z"];
    check(policy("28d"), &times, &["2: within 28d", "1: within 28d", "0:"]);
    // A year has 366 days if it contains a leap day.
    let leap = ["2024-02-28T12:00:00Z", "2024-02-28T12:00:01Z", "2025-02-28T12:00:00Z"];
    check(policy("1y"), &leap, &["2: within 1y", "1: within 1y", "0:"]);
    // One month before March 31 is the last day of February.
    let march = ["2026-02-28T12:00:00Z", "2026-02-28T12:00:01Z", "2026-03-31T12:00:00Z"];
    check(policy("1m"), &march, &["2: within 1m", "1: within 1m", "0:"]);
    let mixed = ["2023-10-24T08:59:59Z", "2023-10-24T09:00:01Z", "2026-03-31T12:00:00Z"];
    check(policy("2y5m7d3h"), &mixed, &["2: within 2y5m7d3h", "1: within 2y5m7d3h", "0:"]);
}

#[test]
fn within_over_a_change_of_time_goes_by_days_and_hours() {
    let policy = |text: &str| Policy { within: within(text), ..none() };
    // Noon in Berlin is 11:00 UTC on the 28th and 10:00 UTC on the 29th, 23 hours later.
    let times = ["2026-03-28T10:30:00Z", "2026-03-28T11:00:01Z", "2026-03-29T10:00:00Z"];
    let expected = ["2: within 1d", "1: within 1d", "0:"];
    check_in(BERLIN, policy("1d"), &entries(&times), &expected);
    let expected = ["2: within 24h", "1: within 24h", "0: within 24h"];
    check_in(BERLIN, policy("24h"), &entries(&times), &expected);
}

#[test]
fn within_before_all_time_keeps_everything() {
    let policy = Policy { within: within("19998y"), ..none() };
    let times = ["2002-01-01T00:00:00Z", "2026-01-01T00:00:00Z"];
    check(policy, &times, &["1: within 19998y", "0: within 19998y"]);
}

#[test]
fn tags_of_one_list_must_all_be_there() {
    let mut snapshots = entries(&["2026-01-01T00:00:00Z"; 4]);
    let tags = |text: &str| parse_tags(text);
    snapshots[0].tags = tags("a");
    snapshots[1].tags = tags("b,a");
    snapshots[2].tags = tags("c");
    let policy =
        |lists: &[&str]| Policy { tags: lists.iter().map(|l| tags(l)).collect(), ..none() };
    let newest = "3: newest of its history";
    let expected = [newest, "2:", "1: tags a, b", "0:"];
    check_in("UTC0", policy(&["a,b"]), &snapshots, &expected);
    let expected = [newest, "2: tag c", "1: tag a", "0: tag a"];
    check_in("UTC0", policy(&["a", "c"]), &snapshots, &expected);
    let expected = ["3: no tags", "2:", "1:", "0:"];
    check_in("UTC0", policy(&[""]), &snapshots, &expected);
    // Snapshots kept by tags do not use up buckets. One bucket is left for the newest, and the
    // oldest is not needed.
    let both = Policy { last: Some(1), ..policy(&["a"]) };
    let expected = ["3: last snapshot", "2:", "1: tag a", "0: tag a"];
    check_in("UTC0", both, &snapshots, &expected);
}

#[test]
fn groups_are_decided_by_themselves() {
    let mut snapshots = entries(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"].repeat(2));
    snapshots[1].host = "laptop".to_owned();
    snapshots[2].history = Some("work".to_owned());
    snapshots[2].tags = parse_tags("b,a,b");
    snapshots[3].tags = parse_tags("a,b");
    let policy = Policy { last: Some(1), ..none() };
    let check = |text: &str, expected: &[&[&str]]| {
        let group_by = text.parse().expect("a grouping");
        let groups = apply(&snapshots, &policy, group_by, &TimeZone::UTC);
        assert_eq!(groups.iter().map(listed).collect::<Vec<_>>(), expected, "{text}");
        groups
    };
    let last = |number: u8| format!("{number}: last snapshot");
    let [l0, l1, l2, l3] = [0, 1, 2, 3].map(last);
    let groups = check("host,paths", &[&[&l1], &[&l2], &[&l3, "0:"]]);
    assert_eq!(groups[0].key.host.as_deref(), Some("laptop"));
    assert_eq!(groups[1].key.paths, Some(HistoryKey::Named("work".to_owned())));
    assert_eq!(groups[2].key.tags, None);
    // The newest of each history stays, however snapshots are grouped.
    let [n1, n2] = [1, 2].map(|number: u8| format!("{number}: newest of its history"));
    check("host", &[&[&l1], &[&l3, &n2, "0:"]]);
    check("paths", &[&[&l2], &[&l3, &n1, "0:"]]);
    check("", &[&[&l3, &n2, &n1, "0:"]]);
    let groups = check("tags", &[&[&l1, "0:"], &[&l3, &n2]]);
    assert_eq!(groups[1].key.tags, Some(parse_tags("a,b")));
    check("host,paths,tags", &[&[&l1], &[&l2], &[&l0], &[&l3]]);
}

#[test]
fn times_beyond_the_calendar_are_at_its_end() {
    let mut snapshots = entries(&["2026-01-01T00:00:00Z"; 3]);
    snapshots[0].time = Time { seconds: i64::MIN, nanos: 0 };
    snapshots[2].time = Time { seconds: i64::MAX, nanos: u32::MAX };
    let policy = Policy { yearly: Some(2), weekly: Some(3), ..none() };
    let expected = [
        "2: weekly snapshot + yearly snapshot",
        "1: weekly snapshot + yearly snapshot",
        "0: oldest weekly snapshot",
    ];
    check_in(BERLIN, policy, &snapshots, &expected);
}

proptest! {
    /// Compares with a second implementation of the rule for days, which uses a set of all days,
    /// newest first.
    #[test]
    fn days_agree_with_a_set(hours in prop::collection::vec(0i64..400, 1..40), count in 1u32..9) {
        let mut hours = hours;
        hours.sort_unstable();
        let snapshots: Vec<SnapshotEntry> = (0..)
            .zip(&hours)
            .map(|(number, hour)| entry(number, Time { seconds: 1_699_920_000 + hour * 3600, nanos: 0 }))
            .collect();
        let policy = Policy { daily: Some(count), ..none() };
        let group = &apply(&snapshots, &policy, GroupBy::default(), &TimeZone::UTC)[0];
        let days: std::collections::BTreeSet<i64> = hours.iter().map(|hour| hour / 24).collect();
        let newest: Vec<i64> = days.iter().rev().take(count as usize).copied().collect();
        let day = |entry: &SnapshotEntry| (entry.time.seconds - 1_699_920_000) / 86_400;
        let kept = group.snapshots.iter().filter(|(_, why)| why.contains(&Reason::Newest(Bucket::Daily)));
        prop_assert_eq!(kept.map(|(entry, _)| day(entry)).collect::<Vec<_>>(), newest);
        let oldest = Reason::Oldest(Bucket::Daily);
        let has_oldest = group.snapshots.iter().any(|(_, why)| why.contains(&oldest));
        let (last, reasons) = group.snapshots.last().expect("a snapshot");
        let is_only_of_its_day = hours.iter().filter(|hour| **hour / 24 == day(last)).count() == 1;
        let is_left = days.len() < count as usize;
        prop_assert_eq!(has_oldest, is_left && !is_only_of_its_day);
        prop_assert_eq!(reasons.contains(&oldest), has_oldest);
        prop_assert!(!group.drops_all());
    }
}
