//! Tests of histories and clocks, with the expected results written out.

use super::*;
use crate::format::ChunkId;
use crate::format::signed::OWNER;

const NOW: Time = Time { seconds: 1_767_225_600, nanos: 0 };
const DAY: i64 = 86_400;

fn row(number: u8, days: i64) -> SnapshotRow {
    let entry = SnapshotEntry {
        id: SnapshotId([number; 16]),
        time: Time { seconds: NOW.seconds + days * DAY, nanos: 0 },
        host: "host".to_owned(),
        tags: Vec::new(),
        record: ChunkId([number; 32]),
        files: 0,
        bytes: 0,
        packs: Vec::new(),
        paths_key: PathsKey([7; 16]),
        history: None,
        marked: None,
        sources: None,
    };
    SnapshotRow { entry, number: u64::from(number), writer: OWNER, accepted: false, apart: false }
}

/// Dates snapshots that were taken some days after `now`, and returns the day and the clock of
/// each.
fn judged(days: &[i64], now: Time) -> Vec<(i64, Clock)> {
    let rows: Vec<SnapshotRow> = (0..).zip(days).map(|(number, day)| row(number, *day)).collect();
    let day = |dated: &Dated| (dated.time.seconds - NOW.seconds) / DAY;
    dated(&rows, now).iter().map(|dated| (day(dated), dated.clock)).collect()
}

#[test]
fn the_fewest_clocks_are_presumed_wrong() {
    use Clock::{Future, Right, Wrong};
    let right = |days: &[i64]| days.iter().map(|day| (*day, Right)).collect::<Vec<_>>();
    assert_eq!(judged(&[-9, -8, -8, -1], NOW), right(&[-9, -8, -8, -1]));
    // A clock in 2099 took the snapshot before tonight's, or one or two between snapshots with right clocks.
    let (far, unset) = (26_000, -20_000);
    assert_eq!(judged(&[far, 0], NOW), [(0, Wrong), (0, Right)]);
    assert_eq!(judged(&[-2, far, -1], NOW), [(-2, Right), (-2, Wrong), (-1, Right)]);
    assert_eq!(judged(&[-2, far, far + 1, -1], NOW)[1..3], [(-2, Wrong), (-2, Wrong)]);
    // A clock in 1970 took the last snapshot, one in between, or the first.
    assert_eq!(judged(&[-2, unset], NOW)[1], (-2, Wrong));
    assert_eq!(judged(&[-2, unset, -1], NOW)[1], (-2, Wrong));
    assert_eq!(judged(&[unset, -1], NOW)[0], (-1, Wrong));
    // A clock that is half a year ahead for one night, and right again afterwards.
    assert_eq!(judged(&[-300, -100, -298, -297], NOW)[1], (-300, Wrong));
    // Nothing in the log shows which clock is right.
    assert_eq!(judged(&[-2, far], NOW)[1], (far, Future));
    let past = Time { seconds: 0, nanos: 0 };
    assert_eq!(judged(&[-2, -1], past), [(-2, Future), (-1, Future)]);
    // A clock that was corrected by some seconds is not reported.
    let mut rows = [row(0, -2), row(1, -2), row(2, -1)];
    rows[1].entry.time.seconds -= 5;
    assert!(dated(&rows, NOW).iter().all(|dated| dated.clock == Right));
}

/// There is a fake one second after each snapshot. If fakes counted, they would form the longer
/// run.
#[test]
fn what_does_not_count_has_no_say_in_the_times_of_others() {
    let mut rows: Vec<SnapshotRow> =
        (0..).zip([-3, -2, -1, -3, -2, -1, -1]).map(|(number, day)| row(number, day)).collect();
    for fake in &mut rows[3..6] {
        fake.entry.time.seconds += 1;
    }
    let of = |all: &[Dated]| -> Vec<Clock> { all.iter().map(|dated| dated.clock).collect() };
    rows[6].entry.time.seconds += 2;
    let all = dated_by(&rows, NOW, |row| !(3..6).contains(&row.number));
    assert_eq!(of(&all)[..3], [Clock::Right; 3]);
    assert_eq!(of(&all)[3..], [Clock::Wrong, Clock::Right, Clock::Right, Clock::Right]);
    // A marked snapshot whose time fits keeps it.
    let mut marked = [row(0, -5), row(1, -3), row(2, -1)];
    marked[1].entry.marked = Some(1);
    assert_eq!(of(&dated(&marked, NOW)), [Clock::Right; 3]);
    assert_eq!(dated(&marked, NOW)[1].time, marked[1].entry.time);
}

#[test]
fn histories_differ_by_host_and_name_or_sources() {
    let mut rows: Vec<SnapshotRow> = (0..6).map(|number| row(number, 0)).collect();
    rows[1].entry.host = "laptop".to_owned();
    rows[2].entry.paths_key = PathsKey([8; 16]);
    rows[3].entry.history = Some("home".to_owned());
    rows[4].entry.history = Some("home".to_owned());
    rows[4].entry.paths_key = PathsKey([9; 16]);
    let all = histories(&rows);
    let numbers = |history: &History| history.rows.iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!(
        all.iter().map(numbers).collect::<Vec<_>>(),
        [vec![1], vec![2], vec![3, 4], vec![0, 5]]
    );
    assert!(is_called(&rows[3].entry, "home") && !is_called(&rows[0].entry, "home"));
    let id = HistoryId::of(&rows[0].entry).to_string();
    assert!(is_called(&rows[0].entry, &id[..4]) && !is_called(&rows[2].entry, &id));
    assert_eq!((name_of(&rows[3].entry), name_of(&rows[0].entry)), ("home".to_owned(), id));
}

#[test]
fn a_date_is_a_day_of_the_calendar() {
    let zone = TimeZone::posix("CET-1").expect("a zone");
    let calendar = Calendar { zone, now: NOW };
    let seconds = |text: &str| moment(text, &calendar).map(|time| time.seconds);
    assert_eq!(seconds("2026-01-01").expect("a day"), NOW.seconds - 3600);
    assert_eq!(seconds("2026-01-01T12:00").expect("a time"), NOW.seconds + 11 * 3600);
    for bad in ["", "yesterday", "2026-13-01", "2026-01"] {
        assert!(seconds(bad).is_err(), "{bad}");
    }
}
