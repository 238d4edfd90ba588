//! Drops snapshots and reclaims their packs while other writers are active, and after every kind of interruption.
//! Visible snapshots can always be restored.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, SnapshotEntry, SnapshotId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::{Decision, Terms, Why};
use icecore_engine::ops::prune::{PrunePlan, PruneSummary, plan, prune, undelete};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::{Progress, Silent};
use icecore_engine::repo::{Keys, Repository};
use icecore_engine::store::{StoreErrorKind, layout};
use icecore_testkit::{Fault, S3Server, photos, tree};

use crate::setup::{Bench, Meddler, set_mtime, settle, small_packs};

const DAY: i64 = 86_400;

/// Returns the time this many days after the snapshots of a bench.
pub fn after(days: i64) -> Time {
    Time { seconds: 1_700_000_100 + days * DAY, nanos: 0 }
}

pub fn ids(bench: &Bench) -> Vec<SnapshotId> {
    bench.open().catalog.snapshots().expect("snapshots").iter().map(|row| row.entry.id).collect()
}

fn planned(repository: &Repository, drop: &[SnapshotId], now: Time) -> PrunePlan {
    let provider = repository.store.location().provider();
    let terms = Terms { provider, end_window: true, ..Terms::default() };
    let drop: BTreeSet<SnapshotId> = drop.iter().copied().collect();
    plan(repository, &drop, terms.at(&Prices::built_in(None), now), &Silent).expect("a plan")
}

/// Drops snapshots and prunes as a separate host.
pub fn pruned(bench: &Bench, drop: &[SnapshotId], now: Time) -> PruneSummary {
    let keys = bench.pruner();
    let repository = bench.try_open(keys, &bench.path("pruner")).expect("it opens");
    let plan = planned(&repository, drop, now);
    prune(&repository, &plan, now, &Silent).expect("a prune")
}

#[track_caller]
fn assert_sound(bench: &Bench) {
    let report = bench.check();
    assert_eq!(report.errors, []);
}

/// Takes three snapshots: only the first has one shoot, and only the last has another.
pub fn three(bench: &Bench) -> Vec<SnapshotId> {
    bench.write_photos("stays", 4, 900_000);
    bench.write_photos("first", 9, 1_300_000);
    bench.snapshot();
    std::fs::remove_dir_all(bench.library.join("first")).expect("culled");
    bench.snapshot();
    bench.write_photos("last", 3, 1_100_000);
    bench.snapshot();
    ids(bench)
}

#[test]
fn what_no_snapshot_needs_is_deleted_and_the_rest_stays() {
    let bench = Bench::local(small_packs());
    let all = three(&bench);
    let before = bench.under("packs/");
    let told = planned(&bench.open_pruner(), &all[..1], after(0)).bytes_freed();
    let done = pruned(&bench, &all[..1], after(0));
    assert_eq!(done.snapshots_dropped, 1);
    assert_eq!(done.bytes_freed, told);
    assert!(done.bytes_freed > 4_000_000, "{done:?}");
    let left = bench.under("packs/");
    assert!(left.len() < before.len());
    assert_eq!(ids(&bench), all[1..]);
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    bench.restored(&all[1].to_string(), "second");
    // A second prune has nothing to do.
    let log = bench.under("log/").len();
    let again = pruned(&bench, &[], after(1));
    assert_eq!(again, PruneSummary::default());
    assert_eq!(bench.under("log/").len(), log, "an empty entry was written");
    // Files that return are stored again.
    bench.write_photos("first", 9, 1_300_000);
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "again"));
    assert_sound(&bench);
    // A new host reads the same from the log.
    let keys = Keys::Reader(bench.identity.clone());
    let fresh = bench.try_open(keys, &bench.path("fresh")).expect("it opens");
    assert_eq!(fresh.catalog.snapshots().expect("snapshots").len(), 3);
}

#[test]
fn young_packs_wait_for_their_free_day_and_can_be_had_back() {
    let server = S3Server::start();
    let settings = icecore_engine::format::Settings {
        pack_class: "DEEP_ARCHIVE".to_owned(),
        hot_class: "GLACIER_IR".to_owned(),
        ..small_packs()
    };
    let bench = Bench::s3(&server, settings);
    let all = three(&bench);
    let packs = bench.under("packs/");
    let done = pruned(&bench, &all[..1], after(30));
    assert_eq!(done.snapshots_dropped, 1);
    assert_eq!(bench.under("packs/"), packs, "deleting now costs what keeping costs");
    assert_eq!(ids(&bench), all[1..]);
    let waiting = planned(&bench.open(), &[], after(30));
    let days: Vec<i64> =
        waiting.waiting().map(|(_, free)| (free.seconds - after(30).seconds) / DAY).collect();
    assert!(!days.is_empty() && days.iter().all(|days| (149..=150).contains(days)), "{days:?}");

    undelete(&bench.open_pruner(), &all[0], after(31)).expect("it comes back");
    assert_eq!(ids(&bench), all);
    let sound = |bench: &Bench| {
        let options = icecore_engine::ops::check::CheckOptions::default();
        let report = icecore_engine::ops::check::check(&bench.open(), options, &Silent);
        assert_eq!(report.expect("a check").errors, []);
    };
    sound(&bench);

    pruned(&bench, &all[..1], after(31));
    let done = pruned(&bench, &[], after(181));
    assert!(done.objects_deleted > 0);
    assert!(bench.under("packs/").len() < packs.len());
    sound(&bench);
    let gone = undelete(&bench.open_pruner(), &all[0], after(182)).expect_err("its packs are gone");
    assert!(matches!(gone, Error::Input { .. }), "{gone}");
    assert_eq!(ids(&bench), all[1..]);
}

/// The old packs of a dropped snapshot are still needed by others, and their minimum days end before those of its new
/// packs. The promised date includes them from the start, so a later prune that drops the others deletes nothing before
/// it.
#[test]
fn a_promised_date_stays_when_more_is_dropped() {
    let server = S3Server::start();
    let settings = icecore_engine::format::Settings {
        pack_class: "DEEP_ARCHIVE".to_owned(),
        hot_class: "STANDARD".to_owned(),
        ..small_packs()
    };
    let bench = Bench::s3(&server, settings);
    let snap = |days| {
        let options = SnapshotOptions { time: after(days), ..bench.snapshot_options() };
        snapshot(&bench.open_writer(), &options, &Silent).expect("a snapshot");
    };
    bench.write_photos("old", 6, 900_000);
    snap(0);
    bench.write_photos("new", 6, 900_000);
    snap(170);
    std::fs::remove_dir_all(bench.library.join("new")).expect("culled");
    snap(171);
    std::fs::remove_dir_all(bench.library.join("old")).expect("culled");
    bench.write_photos("last", 2, 900_000);
    snap(172);
    let all = ids(&bench);
    let until = |drop: &[SnapshotId], now: Time| {
        let plan = planned(&bench.open(), drop, now);
        let found = plan.recoverable.iter().find(|held| held.id == all[1]);
        found.map(|held| held.until.seconds)
    };
    let promised = until(&all[1..2], after(173)).expect("it can be undeleted");
    // The date is exact to the second, at any time of day.
    assert_eq!(promised, after(180).seconds);
    let at = |seconds| Time { seconds, nanos: 0 };
    pruned(&bench, &all[1..2], after(173));
    for now in [after(174).seconds - DAY / 3, promised - 1] {
        assert_eq!(until(&all[..3], at(now)), Some(promised));
        pruned(&bench, &all[..3], at(now));
    }
    undelete(&bench.open_pruner(), &all[1], at(promised - 1)).expect("it is whole");
    // The photos of the undeleted snapshot are frozen, but all of them exist.
    assert_eq!(bench.check().errors, []);
    pruned(&bench, &all[..3], at(promised));
    undelete(&bench.open_pruner(), &all[1], at(promised)).expect_err("some of it is gone");
}

#[test]
fn what_interrupted_runs_left_goes_when_it_is_old_enough() {
    let bench = Bench::local(small_packs());
    let all = three(&bench);
    let name = |number: u8| format!("packs/{}", hex(number));
    let path = |number: u8| bench.folder().join(name(number));
    for number in 1..=3 {
        std::fs::write(path(number), photos::bytes(u64::from(number), 50_000)).expect("a file");
    }
    std::fs::write(bench.folder().join("packs/README"), "not ours").expect("a file");
    let now = after(1);
    set_mtime(&path(1), now.seconds - 3 * DAY, 0);
    set_mtime(&path(2), now.seconds - DAY, 0);
    set_mtime(&path(3), now.seconds - 30 * DAY, 0);
    // Partial files, as a killed process leaves them.
    let half = |name: &str, days: i64| {
        let path = bench.folder().join(name);
        std::fs::write(&path, "half").expect("a file");
        set_mtime(&path, now.seconds - days * DAY, 0);
        path
    };
    let halves = [half("log/00000000000000000009#17", 3), half(&format!("{}#4", name(9)), 3)];
    let young = half(&format!("{}#5", name(9)), 1);
    let plan = planned(&bench.open(), &[], now);
    assert_eq!((plan.orphans.len(), plan.orphans_waiting), (2, 1));
    let done = pruned(&bench, &[], now);
    assert_eq!((done.objects_deleted, done.bytes_freed), (4, 100_008));
    assert!(halves.iter().all(|half| !half.exists()) && young.exists());
    assert!(!path(1).exists() && path(2).exists() && !path(3).exists());
    assert!(bench.folder().join("packs/README").exists());
    assert_eq!(ids(&bench), all);
    assert_sound(&bench);
}

fn hex(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

/// Interrupts the run after this many deletions.
struct StopAfterDeletes(AtomicU64);

impl Progress for StopAfterDeletes {
    fn interrupted(&self) -> bool {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn a_prune_that_was_interrupted_is_finished_by_the_next() {
    let bench = Bench::local(small_packs());
    let all = three(&bench);
    let repository = bench.open_pruner();
    let plan = planned(&repository, &all[..1], after(0));
    let doomed = plan.doomed().count() as u64;
    assert!(doomed >= 2, "{doomed}");
    let stopped = prune(&repository, &plan, after(0), &StopAfterDeletes(AtomicU64::new(1)));
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    drop(repository);
    assert_sound(&bench);
    assert_eq!(ids(&bench), all[1..], "the log has dropped it");
    let rest = planned(&bench.open(), &[], after(0));
    assert_eq!(rest.leftovers.len() as u64, doomed - 1);
    // Killed between its two entries: the next prune puts the second one before it deletes anything.
    let log = bench.under("log/");
    std::fs::remove_file(bench.folder().join(log.keys().last().expect("an entry")))
        .expect("it is gone");
    let keys = bench.pruner();
    let pruner = bench.try_open(keys, &bench.path("fresh")).expect("it opens");
    let plan = planned(&pruner, &[], after(0));
    let done = prune(&pruner, &plan, after(0), &Silent).expect("a prune");
    assert_eq!(done.objects_deleted, doomed - 1);
    assert_eq!(bench.under("log/").len(), log.len(), "the tombstones are put twice");
    std::fs::remove_dir_all(&bench.cache).expect("it has seen the other log");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn what_became_needed_since_the_plan_stays() {
    let bench = Bench::local(small_packs());
    let all = three(&bench);
    let repository = bench.open_pruner();
    let plan = planned(&repository, &all[..1], after(0));
    assert!(plan.doomed().count() > 0);
    // The shoot returns before the plan is executed, and relies on its old packs.
    bench.write_photos("first", 9, 1_300_000);
    let keys = bench.pruner();
    let other = bench.try_open(keys, &bench.path("other")).expect("it opens");
    let taken = snapshot(&other, &bench.snapshot_options(), &Silent).expect("a snapshot");
    assert!(taken.totals.bytes_added < 100_000, "{:?}", taken.totals);
    let done = prune(&repository, &plan, after(0), &Silent).expect("a prune");
    assert_eq!(done.snapshots_dropped, 1);
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn a_snapshot_under_way_stores_again_what_a_prune_takes() {
    let bench = Bench::local(small_packs());
    let all = three(&bench);
    // The shoot is back, and its packs are dead except for the run that begins now.
    bench.write_photos("first", 9, 1_300_000);
    pruned_only_drop(&bench, &all[..1]);
    let done = AtomicBool::new(false);
    let meddler = Meddler::new(|| {
        if !done.swap(true, Ordering::SeqCst) {
            pruned(&bench, &[], after(0));
        }
        false
    });
    let taken = snapshot(&bench.open_pruner(), &bench.snapshot_options(), &meddler);
    taken.expect("a snapshot");
    assert!(done.load(Ordering::SeqCst), "the prune came in between");
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// Drops snapshots but keeps their packs, like a prune that is killed before it tombstones them.
fn pruned_only_drop(bench: &Bench, drop: &[SnapshotId]) {
    let repository = bench.open();
    let mut plan = planned(&repository, drop, after(0));
    plan.dead.clear();
    prune(&repository, &plan, after(0), &Silent).expect("a prune");
}

#[test]
fn writers_and_pruners_at_once() {
    const ROUNDS: u64 = 6;
    let bench = Bench::local(small_packs());
    bench.write_photos("shared", 4, 700_000);
    for writer in 0..2u64 {
        bench.write_photos(&format!("own-{writer}"), 3, 600_000);
    }
    bench.snapshot();
    settle();
    let running = AtomicU64::new(2);
    let write = |writer: u64| {
        let cache = bench.path(&format!("cache-{writer}"));
        for round in 0..ROUNDS {
            let keys = bench.pruner();
            let repository = bench.try_open(keys, &cache).expect("it opens");
            let own = format!("own-{writer}");
            // A shoot of two rounds ago returns; its packs may be about to be deleted.
            bench.write_photos(&format!("{own}/{}", round % 2), 2, 500_000 + (round / 2) as usize);
            let options = SnapshotOptions {
                paths: vec![bench.library.join("shared"), bench.library.join(&own)],
                tags: vec![own.clone()],
                ..bench.snapshot_options()
            };
            snapshot(&repository, &options, &Silent).expect("a snapshot");
        }
        running.fetch_sub(1, Ordering::SeqCst);
    };
    let reclaim = |number: u64| {
        let cache = bench.path(&format!("pruner-{number}"));
        while running.load(Ordering::SeqCst) > 0 {
            let keys = bench.pruner();
            let repository = bench.try_open(keys, &cache).expect("it opens");
            let rows = repository.catalog.snapshots().expect("snapshots");
            // Drop all snapshots except the newest of each writer.
            let drop: Vec<SnapshotId> = rows
                .iter()
                .filter(|row| {
                    rows.iter().any(|newer| {
                        newer.entry.tags == row.entry.tags && newer.number > row.number
                    })
                })
                .map(|row| row.entry.id)
                .collect();
            let plan = planned(&repository, &drop, after(0));
            prune(&repository, &plan, after(0), &Silent).expect("a prune");
        }
    };
    std::thread::scope(|threads| {
        let (write, reclaim) = (&write, &reclaim);
        for number in 0..2 {
            threads.spawn(move || write(number));
            threads.spawn(move || reclaim(number));
        }
    });
    assert_sound(&bench);
    let rows = bench.open().catalog.snapshots().expect("snapshots");
    for writer in 0..2u64 {
        let own = format!("own-{writer}");
        let newest = rows.iter().filter(|row| row.entry.tags == [own.clone()]);
        let newest = newest.max_by_key(|row| row.number).expect("the newest is never dropped");
        let out = bench.restored(&newest.entry.id.to_string(), &own);
        tree::assert_same(bench.library.join(&own), out.join(&own));
    }
}

/// For every request of a racing snapshot and prune, makes it the last one that is executed, or the first one whose
/// answer is lost: visible snapshots can be restored afterwards, and the next runs continue.
#[test]
fn the_store_fails_at_every_request() {
    let mut crashes = 0;
    for lost in [false, true] {
        for nth in 0.. {
            let server = S3Server::start();
            let bench = Bench::s3(&server, small_packs());
            bench.write_photos("stays", 2, 60_000);
            bench.write_photos("culled", 2, 70_000);
            bench.snapshot();
            let older = ids(&bench);
            std::fs::remove_dir_all(bench.library.join("culled")).expect("culled");
            bench.write("stays/new.jpg", photos::jpeg(nth + 5, 40_000, 100));
            let count = AtomicU64::new(0);
            server.set_fault(Some(Box::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
                before if before < nth => Fault::None,
                at if at == nth && lost => Fault::DropConnectionAfter,
                _ => Fault::DropConnectionBefore,
            })));
            let mut failed = false;
            // Run the writer, then the pruner, as far as the store allows.
            let keys = Keys::Reader(bench.identity.clone());
            if let Ok(writer) = bench.try_open(keys, &bench.cache) {
                failed |= snapshot(&writer, &bench.snapshot_options(), &Silent).is_err();
                let drop: BTreeSet<SnapshotId> = older.iter().copied().collect();
                let terms = Terms { end_window: true, ..Default::default() };
                let prices = Prices::built_in(None);
                failed |= plan(&writer, &drop, terms.at(&prices, after(400)), &Silent)
                    .and_then(|plan| prune(&writer, &plan, after(400), &Silent))
                    .is_err();
            } else {
                failed = true;
            }
            server.set_fault(None);
            let visible = ids(&bench);
            assert!(!visible.is_empty(), "{nth}, {lost}: every snapshot is gone");
            assert_sound(&bench);
            for (number, id) in visible.iter().enumerate() {
                bench.restored(&id.to_string(), &format!("out-{number}"));
            }
            // The next runs continue where these ended.
            bench.snapshot();
            pruned(&bench, &older, after(400));
            assert_sound(&bench);
            tree::assert_same(&bench.library, bench.restored("latest", "last"));
            crashes += 1;
            if !failed {
                break;
            }
        }
    }
    assert!(crashes > 20, "{crashes} points were tried");
    eprintln!("{crashes} points of failure");
}

#[test]
fn a_role_that_may_not_delete_loses_nothing() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    let all = three(&bench);
    server.set_fault(Some(Box::new(|head| match head.method.as_str() {
        "DELETE" => Fault::Status(403, "AccessDenied"),
        "POST" if head.query.contains("delete") => Fault::Status(403, "AccessDenied"),
        _ => Fault::None,
    })));
    let repository = bench.open();
    let plan = planned(&repository, &all[..1], after(400));
    let refused = prune(&repository, &plan, after(400), &Silent).expect_err("it may not");
    let Error::Store(error) = refused else { panic!("{refused}") };
    assert_eq!(error.kind, StoreErrorKind::Denied);
    server.set_fault(None);
    drop(repository);
    assert_sound(&bench);
    assert!(pruned(&bench, &[], after(400)).objects_deleted > 0);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// A thief's snapshot has the trees of a genuine one but names no packs. A policy may keep it in place of the genuine
/// one, but the packs must stay.
#[test]
fn a_snapshot_that_names_no_packs_keeps_what_its_trees_need() {
    let mut bench = Bench::local(small_packs());
    bench.write_photos("shoot", 12, 900_000);
    bench.snapshot();
    bench.snapshot();
    let id = ids(&bench)[0];
    // The second snapshot is the thief's: write its entry again without the packs.
    let path = bench.folder().join(layout::log(2));
    let object = std::fs::read(&path).expect("an entry");
    let said = bench.open_writer().secrets.read_log(2, &object).expect("it opens");
    std::fs::remove_file(&path).expect("it goes");
    bench.cache = bench.path("fresh");
    let thief = bench.open();
    let fake = SnapshotEntry { packs: Vec::new(), ..said.snapshots[0].clone() };
    let mut entry = Some(LogEntry { snapshots: vec![fake], ..said });
    thief.commit(|| Ok(entry.take())).expect("an entry");
    drop(thief);
    let packs = |bench: &Bench| bench.under("packs/");
    let before = packs(&bench);
    let repository = bench.open();
    let plan = planned(&repository, &[id], after(0));
    let kept = plan.dead.iter().filter(|(_, why)| *why == Decision::Keep(Why::Unnamed)).count();
    assert!(kept > before.len(), "photos and listings: {plan:?}");
    let done = prune(&repository, &plan, after(0), &Silent).expect("a prune");
    assert_eq!((done.snapshots_dropped, packs(&bench)), (1, before));
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}
