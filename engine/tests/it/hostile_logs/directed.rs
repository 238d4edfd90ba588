//! Tests single rules, each with its own log.

use std::collections::BTreeSet;

use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, Lost, PackRange};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::writers::{Doubt, dismiss};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, PackRow, PackState, Purpose, Repository};
use icecore_engine::store::layout;

use super::Place;
use super::cast::Cast;
use super::compare::assert_means;
use super::later::{prune_unneeded, restores};
use super::menu::{Log, TIME, Who};

fn new() -> LogEntry {
    LogEntry::new(TIME)
}

/// Returns the objects of the log in which `check` finds a problem.
fn blamed(repository: &Repository) -> Vec<String> {
    let report = check(repository, CheckOptions::default(), &Silent).expect("a check");
    let objects = report.errors.into_iter().map(|damage| damage.object.to_string());
    objects.filter(|object| object.starts_with("log/")).collect()
}

/// Puts a log into a store, so that it can be opened.
fn put(log: &Log) -> Place {
    let place = Place::new(log);
    place.put(log, 0..log.slots.len());
    place
}

#[test]
fn the_place_of_a_pack_that_is_added_again_names_that_pack() {
    let cast = Cast::new();
    for is_bucket in [false, true] {
        let mut log = Log::begin(&cast, is_bucket);
        log.enrol_all();
        let (unused, other) = (log.new_pack(), log.new_pack());
        log.say(Who::Third, LogEntry { packs: vec![unused.clone()], ..new() });
        // Adds a pack of the first host again, and a snapshot by a host that knows the pack by its second place.
        log.say(Who::Third, LogEntry { packs: vec![cast.base.packs[0].clone()], ..new() });
        let snapshot = log.snapshot_of(vec![PackRange { first: 4 << 16, count: 1 }]);
        log.say(Who::Second, LogEntry { snapshots: vec![snapshot.clone()], ..new() });
        log.say(Who::Third, LogEntry { packs: vec![other.clone()], ..new() });
        log.say(Who::Owner, LogEntry { void: Some(vec![4]), ..new() });
        let (place, meaning) = (put(&log), log.meaning());
        let needs = |id| {
            meaning.visible().into_iter().find(|shot| shot.id == id).expect("it").packs.clone()
        };
        assert_eq!(needs(snapshot.id), BTreeSet::from([cast.base.packs[0].id]));
        assert_means(&place.open(&cast, "one"), &meaning);
        // A single range of ordinals tombstones the packs before and after that place. The pack that the place names
        // stays.
        let gone = prune_unneeded(&cast, &place, "one");
        let name = |pack: &icecore_engine::format::PackRecord| layout::pack(pack.kind, &pack.id);
        assert_eq!(gone, BTreeSet::from([name(&unused), name(&other)]));
        log.adopt(&place);
        assert_means(&place.open(&cast, "one"), &log.meaning());
        let anew = place.open(&cast, "anew");
        assert_means(&anew, &log.meaning());
        let first = cast.base.snapshots[0].id.to_string();
        restores(&anew, &first, &cast.bench.library, &place, "out");
    }
}

#[test]
fn the_owner_ends_a_doubt_and_the_entry_counts() {
    let cast = Cast::new();
    for (doubt, counts) in [(Doubt::Counts, true), (Doubt::Void, false)] {
        let mut log = Log::begin(&cast, true);
        log.enrol_all();
        let snapshot = log.snapshot_of(Vec::new());
        log.lie(Who::Second, LogEntry { snapshots: vec![snapshot.clone()], ..new() });
        let place = put(&log);
        let repository = place.open(&cast, "one");
        assert!(repository.has_doubts().expect("an answer"), "nobody has looked at it");
        assert_eq!(blamed(&repository), [layout::log(3)], "the entry before it is what it was");
        match dismiss(&repository, &[3], doubt, TIME) {
            Ok(()) => assert!(counts),
            Err(error) => assert!(!counts && matches!(error, Error::Reread), "{error}"),
        }
        drop(repository);
        log.adopt(&place);
        for cache in ["one", "anew"] {
            let repository = place.open(&cast, cache);
            assert!(!repository.has_doubts().expect("an answer"));
            assert_eq!(blamed(&repository), [""; 0]);
            let visible = repository.catalog.snapshots().expect("snapshots");
            assert_eq!(visible.iter().any(|row| row.entry.id == snapshot.id), counts);
            assert_means(&repository, &log.meaning());
        }
    }
}

#[test]
fn a_number_that_the_owner_has_called_void_is_passed_by() {
    let cast = Cast::new();
    let mut log = Log::begin(&cast, true);
    log.enrol_all();
    // An object after the end of the log is gone, but its number stays void.
    log.say(Who::Owner, LogEntry { void: Some(vec![4, 5]), ..new() });
    let place = put(&log);
    let snapshot = log.snapshot_of(Vec::new());
    let second = Keys::Writer(Box::new(cast.second.credential.clone()));
    let repository = place.try_open(second, "second", Purpose::Use).expect("it opens");
    let said =
        repository.commit(|| Ok(Some(LogEntry { snapshots: vec![snapshot.clone()], ..new() })));
    said.expect("it is said");
    assert_eq!(repository.catalog.position().expect("a position").number, 6);
    drop(repository);
    for cache in ["second", "anew"] {
        let visible = place.open(&cast, cache).catalog.snapshots().expect("snapshots");
        assert_eq!(visible.last().map(|row| row.entry.id), Some(snapshot.id));
    }
}

#[test]
fn a_chunk_that_is_marked_as_lost_twice_counts_once() {
    let cast = Cast::new();
    let mut log = Log::begin(&cast, true);
    log.enrol_all();
    let base = put(&log).open(&cast, "base");
    let rows = base.catalog.packs(PackState::Committed).expect("packs");
    let many = rows.iter().find(|row| row.rows > 1).expect("a pack of several chunks");
    let one = rows.iter().find(|row| row.id != many.id).expect("another pack");
    let places = base.catalog.pack_places().expect("places");
    let lost = |row: &PackRow, first, count| Lost {
        pack: places[&row.key],
        slots: vec![PackRange { first, count }],
    };
    // All chunks of the pack but one, again and again, as if it had more of them.
    let part = |count| lost(many, 1, count);
    let parts = (0..many.rows + 2).map(|more| part(many.rows - 1 + more)).collect();
    log.say(Who::Owner, LogEntry { lost: parts, ..new() });
    // More chunks than a pack can have: their sum is more than a catalog can count.
    let all = [u64::MAX, u64::MAX - 1, u64::MAX - 2].map(|count| lost(one, 0, count)).to_vec();
    log.say(Who::Owner, LogEntry { lost: all, ..new() });
    let repository = put(&log).open(&cast, "one");
    assert_means(&repository, &log.meaning());
    let whole = repository.catalog.lost_whole().expect("packs");
    let whole: Vec<_> = rows.iter().filter(|row| whole.contains(&row.key)).collect();
    assert_eq!(whole.iter().map(|row| row.id).collect::<Vec<_>>(), [one.id]);
    check(&repository, CheckOptions::default(), &Silent).expect("a check");
}

#[test]
fn no_writer_calls_what_another_has_uploaded_an_orphan() {
    let cast = Cast::new();
    for (who, is_void) in [(Who::Third, true), (Who::Guest, true), (Who::Pruner, false)] {
        let mut log = Log::begin(&cast, true);
        log.enrol_all();
        let uploaded = log.new_pack();
        log.say(who, LogEntry { orphans: vec![uploaded.id], ..new() });
        let (place, meaning) = (put(&log), log.meaning());
        assert_eq!(meaning.void.contains_key(&3), is_void);
        assert_means(&place.open(&cast, "one"), &meaning);
        if is_void {
            let gone = prune_unneeded(&cast, &place, "one");
            assert_eq!(gone, BTreeSet::new(), "while it is not dismissed nothing is deleted");
            // The upload is added to the log later. The void orphan did not delete it.
            log.say(Who::Second, LogEntry { packs: vec![uploaded.clone()], ..new() });
            place.put(&log, 0..log.slots.len());
            let repository = place.open(&cast, "one");
            assert_means(&repository, &log.meaning());
            assert!(!log.meaning().packs[&uploaded.id].dead);
        }
    }
}

#[test]
fn a_newer_entry_of_the_owner_stops_no_reading_of_what_is_before_it() {
    let cast = Cast::new();
    for is_bucket in [false, true] {
        let mut log = Log::begin(&cast, is_bucket);
        log.enrol_all();
        log.say_newer(Who::Third);
        let before = put(&log);
        // A newer entry of a writer is void.
        assert_means(&before.open(&cast, "one"), &log.meaning());
        let meaning = log.meaning();
        log.say_newer(Who::Owner);
        log.say(Who::Second, new());
        let place = put(&log);
        let reader = || Keys::Reader(cast.identity.clone());
        for cache in ["one", "one", "other"] {
            let refused = place.try_open(reader(), "refused", Purpose::Use);
            let error = refused.expect_err("nobody writes behind it");
            assert!(matches!(error, Error::TooNew { .. }), "{error}");
            let reads = place.try_open(reader(), cache, Purpose::Read).expect("it is read");
            assert!(reads.trouble.as_ref().is_some_and(Error::is_newer));
            assert_means(&reads, &meaning);
            restores(
                &reads,
                "latest",
                &cast.bench.library,
                &place,
                &format!("out-{}", line_of(&place)),
            );
            let nothing = reads.commit(|| Ok(Some(new())));
            assert!(matches!(nothing, Err(Error::TooNew { .. })), "{nothing:?}");
        }
        let checks = place.try_open(reader(), "other", Purpose::Check).expect("it is checked");
        let report = check(&checks, CheckOptions::default(), &Silent).expect("a check");
        let found = report.errors.iter().any(|damage| damage.object == layout::log(4));
        assert!(found, "{:?}", report.errors);
    }
}

/// Returns a number that no folder of this place uses yet.
fn line_of(place: &Place) -> usize {
    place.temp.path().read_dir().expect("a folder").count()
}
