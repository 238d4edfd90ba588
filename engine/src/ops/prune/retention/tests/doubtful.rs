//! Tests snapshots that a policy does not drop: marked ones, those from wrong clocks, and the newest of a history.

use super::*;

#[test]
fn the_newest_of_each_history_is_never_dropped() {
    let mut snapshots =
        entries(&["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]);
    snapshots[1].host = "laptop".to_owned();
    let policy = Policy { tags: vec![parse_tags("keep")], ..none() };
    let groups = apply(&snapshots, &policy, GroupBy::default(), &TimeZone::UTC);
    assert_eq!(listed(&groups[0]), ["1: newest of its history"]);
    assert_eq!(listed(&groups[1]), ["2: newest of its history", "0:"]);
    assert!(groups.iter().all(|group| !group.drops_all() && group.kept().count() == 1));
    assert_eq!(groups[1].dropped().count(), 1);
    // The newest of a history is kept, however the snapshots are grouped.
    let last = Policy { last: Some(1), ..none() };
    let one = "".parse().expect("a grouping");
    let groups = apply(&snapshots, &last, one, &TimeZone::UTC);
    assert_eq!(listed(&groups[0]), ["2: last snapshot", "1: newest of its history", "0:"]);
}

#[test]
fn what_is_marked_is_neither_counted_nor_dropped() {
    let mut snapshots = entries(&["2026-01-01T00:00:00Z"; 6]);
    let day = |number: usize| Time { seconds: 1_767_225_600 + 86_400 * number as i64, nanos: 0 };
    (0..6).for_each(|number| snapshots[number].time = day(number));
    let (last, now) = (Policy { last: Some(1), ..none() }, day(6));
    let mut rows = rows(&snapshots);
    let calendar = LocalTime { zone: &TimeZone::UTC, now };
    let check = |rows: &[SnapshotRow], shrunk: &[usize], expected: &[&str]| {
        let shrunk = shrunk.iter().map(|number| snapshots[*number].id).collect();
        let groups = super::super::apply(rows, &last, GroupBy::default(), calendar, &shrunk);
        assert_eq!(listed(&groups[0]), expected);
    };
    (4..6).for_each(|number| rows[number].entry.marked = Some(crate::format::SHRUNK));
    let marked = ["5: marked, not counted", "4: marked, not counted"];
    let full = "3: last snapshot + last full one before a marked one";
    check(&rows, &[], &[marked[0], marked[1], full, "2:", "1:", "0:"]);
    // A mark with a reason unknown to this program counts too.
    rows[5].entry.marked = Some(77);
    check(&rows, &[], &[marked[0], marked[1], full, "2:", "1:", "0:"]);
    // A full snapshot after the marked one does not release the full one before it.
    rows[5].entry.marked = None;
    let full = "3: last full one before a marked one";
    check(&rows, &[], &["5: last snapshot", marked[1], full, "2:", "1:", "0:"]);
    // The owner accepts it as it is.
    rows[4].accepted = true;
    check(&rows, &[], &["5: last snapshot", "4:", "3:", "2:", "1:", "0:"]);
    check(&rows, &[4], &["5: last snapshot", "4:", "3:", "2:", "1:", "0:"]);
    // The trees show that a snapshot has shrunk although the log does not mark it.
    let full = "4: last snapshot + last full one before a marked one";
    check(&rows, &[5], &[marked[0], full, "3:", "2:", "1:", "0:"]);
}

#[test]
fn a_snapshot_from_the_future_changes_nothing_for_the_others() {
    let times = ["2026-01-01T00:00:00Z", "2026-01-20T00:00:00Z", "2099-01-01T00:00:00Z"];
    let at = |policy: &Policy, times: &[&str], now: &str, expected: &[&str]| {
        let rows = rows(&entries(times));
        let group_by = GroupBy::default();
        let groups = super::super::apply(
            &rows,
            policy,
            group_by,
            LocalTime { zone: &TimeZone::UTC, now: time(now) },
            &BTreeSet::new(),
        );
        assert_eq!(listed(&groups[0]), expected, "{now}");
    };
    let week = Policy { within: within("7d"), ..none() };
    let last = Policy { last: Some(1), daily: Some(1), ..none() };
    let future = "2: from the future, not counted";
    at(&week, &times, "2026-01-21T00:00:00Z", &[future, "1: within 7d", "0:"]);
    at(&last, &times, "2026-01-20T00:00:00Z", &[future, "1: last snapshot + daily snapshot", "0:"]);
    // If the clock of this host is wrong, nothing is dropped.
    let all = [
        "2: from the future, not counted",
        "1: from the future, not counted",
        "0: from the future, not counted",
    ];
    at(&last, &times, "1980-01-01T00:00:00Z", &all);
    // After the next night, the snapshot from the future counts as one of the day before.
    let order = ["2026-01-20T00:00:00Z", "2099-01-01T00:00:00Z", "2026-01-21T00:00:00Z"];
    let daily = Policy { daily: Some(9), ..none() };
    let now = "2026-01-22T00:00:00Z";
    at(
        &daily,
        &order,
        now,
        &["2: daily snapshot", "1: daily snapshot", "0: oldest daily snapshot"],
    );
    let wrong = "1: taken when its clock was wrong";
    at(&last, &order, now, &["2: last snapshot + daily snapshot", wrong, "0:"]);
    at(
        &week,
        &["2099-01-01T00:00:00Z", "2026-01-21T00:00:00Z"],
        now,
        &["1: within 7d", "0: within 7d"],
    );
    // This snapshot is from a clock that was never set.
    let order = ["2026-01-20T00:00:00Z", "1970-01-01T00:00:05Z", "2026-01-21T00:00:00Z"];
    at(&week, &order, now, &["2: within 7d", "1: within 7d", "0: within 7d"]);
    at(&last, &order[..2], now, &["1: last snapshot + daily snapshot", "0:"]);
}

#[test]
fn false_times_of_others_drop_no_genuine_snapshot() {
    // A thief has appended four snapshots with old times after two genuine ones.
    let times = [
        "2026-01-20T00:00:00Z",
        "2026-01-21T00:00:00Z",
        "2026-01-10T00:00:00Z",
        "2026-01-11T00:00:00Z",
        "2026-01-12T00:00:00Z",
        "2026-01-13T00:00:00Z",
    ];
    let daily = Policy { daily: Some(3), ..none() };
    let false_ones = ["5: daily snapshot", "4: daily snapshot", "3: daily snapshot", "2:"];
    let genuine = ["1: taken when its clock was wrong", "0: taken when its clock was wrong"];
    check(daily, &times, &[&false_ones[..], &genuine[..]].concat());
    // Without a rule about days, times do not matter.
    let last = Policy { last: Some(1), ..none() };
    check(last, &times, &["5: last snapshot", "4:", "3:", "2:", "1:", "0:"]);
}

#[test]
fn a_run_that_took_long_is_of_the_day_it_ended() {
    // Two hosts are in one group. The first run of the laptop began in December.
    let mut snapshots = entries(&[
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
        "2025-12-01T00:00:00Z",
        "2026-01-03T00:00:00Z",
    ]);
    snapshots[2].host = "laptop".to_owned();
    let policy = Policy { daily: Some(2), ..none() };
    let groups = apply(&snapshots, &policy, "".parse().expect("one group"), &TimeZone::UTC);
    let expected = ["3: daily snapshot", "2: daily snapshot", "1:", "0:"];
    assert_eq!(listed(&groups[0]), expected);
}
