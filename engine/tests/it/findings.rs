//! Findings of a check are remembered: damage until the pack is read without errors, lost chunks
//! until they are found. Concurrent changes by other hosts are not reported as damage.

use std::path::PathBuf;

use icecore_engine::format::{Settings, Time};
use icecore_engine::ops::check::{
    Check, CheckOptions, CheckReport, ReadPlan, RepairSummary, Subset, check, plan_read,
};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{plan, prune};
use icecore_engine::ops::restore::{Seed, seed};
use icecore_engine::progress::Silent;
use icecore_engine::repo::Keys;
use icecore_engine::store::Tier;
use icecore_testkit::{S3Server, tree};

use crate::setup::{BUCKET, Bench, Restore, flip, packs, settle, small_packs};

const NOW: Time = Time { seconds: 1_900_000_000, nanos: 0 };

fn look(bench: &Bench) -> CheckReport {
    check(&bench.open(), CheckOptions::default(), &Silent).expect("a check")
}

/// Repairs after a check that reads data, or one that does not.
fn repair(bench: &Bench, read: bool, found: &[PathBuf]) -> (RepairSummary, CheckReport) {
    let repository = bench.open();
    let mut check = Check::begin(&repository, &Silent).expect("a check");
    if read {
        let plan = plan_read(&repository, None, &Silent).expect("a plan");
        check.read(plan.rows(), &Silent).expect("packs are read");
    }
    check.finish(&Silent).expect("a report");
    let seed = if found.is_empty() {
        Seed::default()
    } else {
        seed(&repository, found, &Silent).expect("a seed")
    };
    let done = check.repair(&seed, NOW, &Silent).expect("a repair");
    (done, check.finish(&Silent).expect("a report"))
}

fn library(settings: Settings) -> Bench {
    let bench = Bench::local(settings);
    bench.write_photos("shoot", 6, 1_300_000);
    settle();
    bench.snapshot();
    bench
}

#[test]
fn damage_that_was_read_is_told_by_the_next_check_and_healed_by_the_next_snapshot() {
    let bench = library(small_packs());
    bench.check();
    let pack = packs(&bench, "packs/").remove(0);
    flip(&pack, 600_000);
    assert_eq!(look(&bench).errors, [], "nobody has read it");
    let found = bench.check();
    assert_eq!(found.errors.len(), 1, "{:#?}", found.errors);
    assert!(found.read_back.bytes < found.read_back.bytes_total, "{:?}", found.read_back);
    let next = look(&bench);
    assert_eq!(next.errors, found.errors);
    assert!(next.read_back.bytes < next.read_back.bytes_total, "{:?}", next.read_back);
    // Even without a repair, unchanged files are stored again.
    let taken = bench.snapshot();
    assert!(taken.totals.bytes_added > 100_000, "{:?}", taken.totals);
    tree::assert_same(&bench.library, bench.restored("latest", "new"));
    // The pack can be read again: a cable was loose.
    flip(&pack, 600_000);
    assert_eq!(bench.check().errors, []);
    assert_eq!(look(&bench).errors, []);
}

#[test]
fn what_a_restore_finds_damaged_a_check_tells() {
    let bench = library(small_packs());
    bench.check();
    flip(&packs(&bench, "packs/")[0], 1_300);
    let out = bench.path("out");
    let restore = Restore::default();
    let (summary, problems) = bench.restore("latest", &out, &restore);
    assert!(summary.files_damaged > 0 || !problems.is_empty(), "{summary:?}");
    let report = look(&bench);
    let [damage] = &report.errors[..] else { panic!("{report:#?}") };
    assert_eq!(damage.files.len(), 1, "{damage:?}");
    assert!(report.read_back.bytes < report.read_back.bytes_total);
}

#[test]
fn packs_that_were_away_are_found_again() {
    let bench = library(small_packs());
    let (from, away) = (bench.folder().join("packs"), bench.path("away"));
    std::fs::rename(&from, &away).expect("it is not mounted");
    std::fs::create_dir(&from).expect("the place where it was");
    let (lost, _) = repair(&bench, false, &[]);
    assert!(lost.chunks_lost > 0, "{lost:?}");
    std::fs::remove_dir(&from).expect("an empty folder");
    std::fs::rename(&away, &from).expect("it is mounted again");
    tree::assert_same(&bench.library, bench.restored("latest", "there"));
    assert!(!look(&bench).errors.is_empty(), "the log says that they are lost");
    let read = bench.check();
    assert_eq!(read.errors, [], "what was read well is there");
    assert!(read.found_again > 0, "{read:?}");
    let (found, after) = repair(&bench, true, &[]);
    assert_eq!((found.chunks_found, found.chunks_lost), (read.found_again, 0), "{found:?}");
    assert_eq!((after.errors, after.found_again), (Vec::new(), 0), "it is told only once");
    // Every host knows the loss, and nothing is stored again.
    std::fs::remove_dir_all(&bench.cache).expect("the cache goes");
    assert_eq!(look(&bench).errors, []);
    assert_eq!(repair(&bench, true, &[]).0, RepairSummary::default());
    assert!(bench.snapshot().totals.bytes_added < 10_000, "a record");
}

#[test]
fn a_pack_that_was_cut_and_repaired_is_no_damage_any_more() {
    let bench = library(small_packs());
    let pack = packs(&bench, "packs/").remove(0);
    let content = std::fs::read(&pack).expect("a pack");
    std::fs::write(&pack, &content[..content.len() - 1_000_000]).expect("cut");
    assert!(!look(&bench).errors.is_empty());
    let (done, after) = repair(&bench, true, std::slice::from_ref(&bench.library));
    assert!(done.chunks_healed > 0 && done.chunks_lost == 0, "{done:?}");
    assert_eq!(after.errors, []);
    assert_eq!(look(&bench).errors, []);
    assert_eq!(bench.check().errors, []);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn nothing_is_called_lost_that_was_not_read() {
    let bench = library(small_packs());
    let pack = packs(&bench, "packs/").remove(0);
    let content = std::fs::read(&pack).expect("a pack");
    std::fs::write(&pack, [&content[..], &[7; 5_000]].concat()).expect("it has grown");
    let log = bench.under("log/").len();
    let (done, after) = repair(&bench, false, &[]);
    assert!(done.chunks_unread > 0 && done.chunks_lost == 0, "{done:?}");
    assert_eq!(bench.under("log/").len(), log, "nothing is known");
    assert!(!after.errors.is_empty());
    let (done, after) = repair(&bench, true, &[]);
    assert_eq!((done.chunks_unread, done.chunks_lost), (0, 0), "{done:?}");
    assert!(after.errors.iter().all(|damage| damage.files.is_empty()), "{after:#?}");
}

#[test]
fn parity_that_is_missing_is_told_and_made_again() {
    let bench = library(Settings { parity_percent: Some(10), ..small_packs() });
    let parity = packs(&bench, "parity/");
    std::fs::remove_file(&parity[0]).expect("it goes");
    let before = look(&bench);
    let [damage] = &before.errors[..] else { panic!("{before:#?}") };
    assert!(
        parity[0].ends_with(damage.object.to_string()) && damage.files.is_empty(),
        "{damage:?}"
    );
    let middle = std::fs::metadata(&parity[1]).expect("parity").len() as usize / 2;
    flip(&parity[1], middle);
    let (done, after) = repair(&bench, true, &[]);
    assert_eq!((done.parity_renewed, done.chunks_lost), (2, 0), "{done:?}");
    assert_eq!(after.errors, []);
    assert_eq!(bench.check().errors, []);
    // The second copy is as good as the first.
    for pack in packs(&bench, "packs/") {
        flip(&pack, 1_300);
    }
    let (_, problems) = bench.restore("latest", &bench.path("healed"), &Restore::default());
    assert!(problems.iter().all(|problem| problem.message.contains("repaired")), "{problems:?}");
    tree::assert_same(&bench.library, bench.path("healed"));
}

#[test]
fn trees_that_were_healed_to_be_read_are_damaged_all_the_same() {
    let bench = library(Settings { parity_percent: Some(10), ..small_packs() });
    let meta = packs(&bench, "meta/").remove(0);
    flip(&meta, 1_300);
    let report = look(&bench);
    let [damage] = &report.errors[..] else { panic!("{report:#?}") };
    assert!(meta.ends_with(damage.object.to_string()), "{damage:?}");
}

#[test]
fn what_others_prune_meanwhile_is_no_damage() {
    let bench = library(small_packs());
    let first = bench.open().catalog.snapshots().expect("snapshots").remove(0).entry.id;
    std::fs::remove_file(bench.library.join("shoot/IMG_0000.JPG")).expect("culled");
    bench.write_photos("more", 3, 1_300_000);
    bench.snapshot();
    let reader = Keys::Reader(bench.identity.clone());
    let (one, two) = (bench.open(), bench.try_open(reader, &bench.path("elsewhere")));
    let two = two.expect("it opens");
    let mut check = Check::begin(&one, &Silent).expect("a check");
    let planned = plan_read(&one, None, &Silent).expect("a plan");
    let drop = [first].into_iter().collect();
    let terms = Terms { end_window: true, ..Terms::default() };
    let prices = Prices::built_in(None);
    let pruned = plan(&two, &drop, terms.at(&prices, NOW), &Silent).expect("a plan");
    let pruned = prune(&two, &pruned, NOW, &Silent).expect("a prune");
    assert!(pruned.objects_deleted > 0, "{pruned:?}");
    check.read(planned.rows(), &Silent).expect("packs are read");
    assert_eq!(check.finish(&Silent).expect("a report").errors, []);
    let done = check.repair(&Seed::default(), NOW, &Silent).expect("a repair");
    assert_eq!(done, RepairSummary::default());
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn what_is_not_there_is_not_planned_to_be_read() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    bench.write_photos("shoot", 4, 1_300_000);
    bench.snapshot();
    let repository = bench.open();
    let planned = |subset| plan_read(&repository, subset, &Silent).expect("a plan");
    let whole = planned(None);
    let keys: Vec<(String, u64)> = bench.under("packs").into_iter().collect();
    let key = |at: usize| format!("archive/{}", keys[at].0);
    assert!(server.delete(BUCKET, &key(0)));
    let content = server.get(BUCKET, &key(1)).expect("a pack");
    server.put(BUCKET, &key(1), &content[..1_000], "STANDARD");
    let gone = keys[0].1 + keys[1].1 - 1_000;
    let rest = planned(None);
    assert_eq!(rest.packs.len(), whole.packs.len() - 1);
    assert_eq!(rest.bytes(), whole.bytes() - gone);
    let fetched = |plan: &ReadPlan| plan.predict(Tier::Bulk).bytes_fetched;
    assert!(fetched(&rest) <= fetched(&whole) - gone, "{rest:?}");
    // When everything else was read, the missing pack is the one that was read longest ago.
    let mut check = Check::begin(&repository, &Silent).expect("a check");
    check.read(rest.rows(), &Silent).expect("packs are read");
    let share = planned(Some(Subset::Share(0.01)));
    let there: Vec<_> = rest.rows().map(|row| row.key).collect();
    assert!(!share.packs.is_empty() && share.rows().all(|row| there.contains(&row.key)));
}
