//! Tests of `audit` and of `check`: what a check finds without reading packs, how it records which
//! packs were read, and what a repair heals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::files::Globs;
use icecore_engine::format::{LogHead, Settings, Time};
use icecore_engine::ops::audit::{AuditReport, audit};
use icecore_engine::ops::check::{Check, CheckOptions, CheckReport, RepairSummary, Subset, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::{Decision, Terms, Why};
use icecore_engine::ops::prune::{plan, prune};
use icecore_engine::ops::restore::seed;
use icecore_engine::progress::Silent;
use icecore_engine::repo::Repository;
use icecore_testkit::{S3Server, photos, tree};

use crate::setup::{BUCKET, Bench, Restore, flip, in_snapshot, packs, settle, small_packs};

fn look(repository: &Repository) -> CheckReport {
    check(repository, CheckOptions::default(), &Silent).expect("a check")
}

/// Keys of the packs of photo data in the bucket.
fn cold_packs(server: &S3Server) -> Vec<String> {
    let keys = server.objects(BUCKET).into_iter().map(|object| object.key);
    keys.filter(|key| key.contains("/packs/")).collect()
}

#[test]
fn a_pack_that_was_replaced_is_found_without_a_thaw() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    bench.write_photos("shoot", 6, 1_300_000);
    bench.write("note.txt", "small");
    bench.snapshot();
    server.clear_requests();
    let report = look(&bench.open());
    assert_eq!(report.errors, []);
    assert_eq!(report.checksums_checked, report.packs);
    assert!(report.packs >= 3, "{report:?}");
    let key = &cold_packs(&server)[0];
    let class = server.objects(BUCKET).into_iter().find(|object| object.key == *key);
    let mut content = server.get(BUCKET, key).expect("a pack");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    server.put(BUCKET, key, content, &class.expect("a pack").storage_class);
    let report = look(&bench.open());
    let [damage] = &report.errors[..] else { panic!("{report:?}") };
    assert!(key.ends_with(&damage.object.to_string()), "{damage:?}");
    assert!(damage.problem.contains("checksum"), "{damage:?}");
    assert!(
        damage.files.iter().any(|file| file.to_string_lossy().contains("shoot/IMG_")),
        "{damage:?}"
    );
    assert!(server.restores().is_empty(), "a check thaws nothing");
    let reads = server.requests().into_iter().filter(|request| {
        request.method == "GET" && ["/packs/", "/hot/"].iter().any(|p| request.path.contains(p))
    });
    assert_eq!(reads.count(), 0, "nothing but trees and the log is read");
}

#[test]
fn what_was_read_back_is_remembered() {
    let bench = Bench::local(small_packs());
    bench.write_photos("a", 4, 1_300_000);
    bench.write_photos("b", 4, 1_300_000);
    bench.snapshot();
    let read = look(&bench.open()).read_back;
    assert_eq!((read.oldest, read.newest), (0, 0));
    assert!(read.bytes < read.bytes_total / 10, "trees at most: {read:?}");
    let folder = Restore { include: &["a"], ..Restore::default() };
    bench.restore("latest", &bench.path("out"), &folder);
    let half = look(&bench.open()).read_back;
    assert!((half.bytes as f64 / half.bytes_total as f64 - 0.5).abs() < 0.1, "{half:?}");
    assert!(half.oldest > 1_700_000_000 && half.newest >= half.oldest, "{half:?}");
    bench.check();
    let all = look(&bench.open()).read_back;
    assert_eq!(all.bytes, all.bytes_total);
}

#[test]
fn a_share_takes_what_was_not_read_for_the_longest_time() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 20, 1_300_000);
    bench.snapshot();
    let repository = bench.open();
    let mut before = 0;
    for round in 0..5 {
        let options = CheckOptions { read_data: true, subset: Some(Subset::Share(0.25)) };
        let read = check(&repository, options, &Silent).expect("a check").read_back;
        assert!(read.bytes > before || read.bytes == read.bytes_total, "round {round}: {read:?}");
        before = read.bytes;
    }
    let read = look(&repository).read_back;
    assert_eq!(read.bytes, read.bytes_total, "five times a quarter is everything");
}

/// Checks with every byte read, and repairs from some folders.
fn repair(bench: &Bench, folders: &[PathBuf]) -> (CheckReport, RepairSummary, CheckReport) {
    let repository = bench.open();
    let mut check = Check::begin(&repository, &Silent).expect("a check");
    let plan = icecore_engine::ops::check::plan_read(&repository, None, &Silent).expect("a plan");
    check.read(plan.rows(), &Silent).expect("packs are read");
    let before = check.finish(&Silent).expect("a report");
    let found = seed(&repository, folders, &Silent).expect("a seed");
    let time = Time { seconds: 1_800_000_000, nanos: 0 };
    let done = check.repair(&found, time, &Silent).expect("a repair");
    let after = check.finish(&Silent).expect("a report");
    (before, done, after)
}

/// Returns the contents of all objects.
fn contents(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let content = |name: &str| std::fs::read(bench.folder().join(name)).expect("an object");
    bench.objects().into_keys().map(|name| (name.clone(), content(&name))).collect()
}

#[test]
fn what_a_local_folder_holds_is_healed_and_nothing_is_taken_away() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 12, 1_300_000);
    bench.write("notes/a.txt", photos::bytes(5, 9_000));
    bench.snapshot();
    bench.write_photos("more", 2, 900_000);
    bench.snapshot();
    let library = tree::snapshot_of(&bench.library);
    let cold = packs(&bench, "packs/");
    assert!(cold.len() >= 4, "{cold:?}");
    std::fs::remove_file(&cold[0]).expect("a pack goes");
    flip(&cold[1], 1_300);
    std::fs::write(&packs(&bench, "hot/")[0], b"no pack").expect("another object");
    let objects = contents(&bench);

    let (before, done, after) = repair(&bench, std::slice::from_ref(&bench.library));
    assert_eq!(before.errors.len(), 3, "{before:#?}");
    assert!(before.errors.iter().all(|damage| !damage.files.is_empty()), "{before:#?}");
    assert_eq!(done.chunks_lost, 0);
    assert!(done.chunks_healed >= 4 && done.packs_written >= 2, "{done:?}");
    assert_eq!(after.errors, []);
    for (name, content) in objects {
        let now = std::fs::read(bench.folder().join(&name)).expect("it is still there");
        assert!(now == content, "{name} was changed");
    }
    for name in ["latest", "latest~1"] {
        let out = bench.restored(name, name);
        tree::assert_same(bench.library.join("shoot"), out.join("shoot"));
    }
    tree::assert_same_as(&library, bench.restored("latest", "all"));
    // A new host sees the same, and nothing is left to do.
    std::fs::remove_dir_all(&bench.cache).expect("the cache goes");
    assert_eq!(look(&bench.open()).errors, []);
    let log = bench.under("log/").len();
    let (_, again, _) = repair(&bench, &[]);
    assert_eq!((again, bench.under("log/").len()), (RepairSummary::default(), log));
}

#[test]
fn what_parity_heals_is_stored_again_without_a_folder() {
    let bench = Bench::local(Settings { parity_percent: Some(10), ..small_packs() });
    bench.write_photos("shoot", 4, 1_300_000);
    bench.snapshot();
    for path in packs(&bench, "packs/") {
        flip(&path, 1_300);
        flip(&path, 900_000);
    }
    flip(&packs(&bench, "meta/")[0], 1_300);
    let (before, done, after) = repair(&bench, &[]);
    assert!(before.errors.iter().any(|damage| damage.problem.contains("parity can repair")));
    assert!(done.chunks_healed >= 3 && done.chunks_lost == 0, "{done:?}");
    assert_eq!(after.errors, []);
    // Without parity, heal from the files that were added.
    std::fs::remove_dir_all(bench.folder().join("parity")).expect("parity goes");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn what_is_lost_is_marked_and_stored_again_by_the_next_snapshot() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 8, 1_300_000);
    bench.write("deep/er/a.txt", "small");
    settle();
    bench.snapshot();
    std::fs::remove_file(packs(&bench, "packs/").remove(0)).expect("it goes");
    let (before, done, after) = repair(&bench, &[]);
    assert!(!before.errors.is_empty() && done.chunks_healed == 0, "{before:#?} {done:?}");
    assert!(done.chunks_lost > 0 && !after.errors.is_empty(), "what is lost stays so");

    // The library has not changed, but the lost chunks are stored again.
    let taken = bench.snapshot();
    assert!(taken.totals.bytes_added > 1_300_000, "{:?}", taken.totals);
    let again = taken.totals.files_stored_again;
    assert!((1..9).contains(&again), "{:?}", taken.totals);
    assert_eq!(bench.snapshot().totals.files_stored_again, 0, "it is stored");
    tree::assert_same(&bench.library, bench.restored("latest", "new"));
    // The older snapshot must need the new packs as well, or pruning the newer one would delete
    // them.
    let (_, healed, after) = repair(&bench, &[]);
    assert!(healed.chunks_healed > 0 && healed.packs_written == 0, "{healed:?}");
    assert_eq!(after.errors, []);
    let row = bench.open().catalog.snapshots().expect("snapshots").remove(1);
    let repository = bench.open();
    let terms = Terms { end_window: true, ..Terms::default() };
    let prices = Prices::built_in(None);
    let now = Time { seconds: 1_900_000_000, nanos: 0 };
    let drop = [row.entry.id].into_iter().collect();
    let planned = plan(&repository, &drop, terms.at(&prices, now), &Silent).expect("a plan");
    prune(&repository, &planned, now, &Silent).expect("a prune");
    assert_eq!(bench.check().errors, []);
    tree::assert_same(&bench.library, bench.restored("latest", "old"));
}

#[test]
fn a_prune_leaves_alone_what_a_repair_found_lost() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 3, 1_300_000);
    bench.snapshot();
    let dropped = bench.open().catalog.snapshots().expect("snapshots").remove(0).entry.id;
    std::fs::remove_file(bench.library.join("shoot/IMG_0000.JPG")).expect("culled");
    std::fs::remove_file(bench.library.join("shoot/IMG_0001.JPG")).expect("culled");
    bench.snapshot();
    let cold = packs(&bench, "packs/");
    assert_eq!(cold.len(), 1, "all photos are in one pack");
    let content = std::fs::read(&cold[0]).expect("a pack");
    std::fs::remove_file(&cold[0]).expect("it goes");
    let (_, done, after) = repair(&bench, std::slice::from_ref(&bench.library));
    assert!(done.chunks_healed > 0 && !after.errors.is_empty(), "{done:?}");
    // Two of three photos are dead, so repacking pays; but the disk may come back.
    let (repository, prices) = (bench.open(), Prices::built_in(None));
    let now = Time { seconds: 1_900_000_000, nanos: 0 };
    let drop = [dropped].into_iter().collect();
    let planned = plan(
        &repository,
        &drop,
        (Terms { end_window: true, ..Terms::default() }).at(&prices, now),
        &Silent,
    );
    let planned = planned.expect("a plan");
    let why: Vec<_> = planned.partly.iter().map(|pack| pack.decision).collect();
    assert_eq!(why, [Decision::Keep(Why::Damaged)], "it stays for a reason that is named");
    let pruned = prune(&repository, &planned, now, &Silent).expect("a prune");
    assert_eq!((pruned.damaged, pruned.packs_repacked), (0, 0), "{pruned:?}");
    tree::assert_same(&bench.library, bench.restored("latest", "healed"));
    std::fs::write(&cold[0], content).expect("it comes back");
    assert_eq!(bench.check().errors, []);
}

#[test]
fn lost_trees_are_written_again_and_the_snapshot_that_lost_its_record_is_named() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 2, 900_000);
    bench.write("deep/er/a.txt", "small");
    settle();
    bench.snapshot();
    std::fs::remove_file(packs(&bench, "meta/").remove(0)).expect("it goes");
    repair(&bench, &[]);
    let taken = bench.snapshot();
    assert_eq!(taken.totals.files_unmodified, 3, "{:?}", taken.totals);
    tree::assert_same(&bench.library, bench.restored("latest", "new"));
    let old = bench.open().catalog.snapshots().expect("snapshots").remove(0).entry.id;
    let (_, done, after) = repair(&bench, &[]);
    assert_eq!(done.chunks_lost, 1, "a record is in one snapshot only");
    let touched: Vec<_> = after.errors.iter().flat_map(|damage| &damage.snapshots).collect();
    assert_eq!(touched, [&old], "{after:#?}");
}

#[test]
fn a_pack_whose_chunks_are_whole_touches_no_file() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 2, 1_300_000);
    bench.snapshot();
    let path = packs(&bench, "packs/").remove(0);
    let length = std::fs::metadata(&path).expect("a pack").len() as usize;
    // Damage the trailer, and the table before it.
    for at in [length - 1, length - 40] {
        flip(&path, at);
        let report = bench.check();
        let [damage] = &report.errors[..] else { panic!("{report:#?}") };
        assert!(damage.files.is_empty() && damage.snapshots.is_empty(), "{damage:?}");
        flip(&path, at);
    }
    assert_eq!(bench.check().errors, []);
}

#[test]
fn a_fresh_host_that_is_given_a_head_notices_a_rollback() {
    let bench = Bench::local(small_packs());
    bench.write("a", "one");
    bench.snapshot();
    bench.write("a", "two");
    let head = bench.snapshot().head.expect("a head");
    let newest = packs(&bench, "log/").pop().expect("an entry");
    let entry = std::fs::read(&newest).expect("an entry");
    let fresh = |head: &LogHead| {
        std::fs::remove_dir_all(&bench.cache).expect("the cache goes");
        bench.open().expect_head(head)
    };
    fresh(&head).expect("the head is there");
    bench.write("a", "three");
    bench.snapshot();
    fresh(&head).expect("the store may have gone on");
    std::fs::remove_file(packs(&bench, "log/").pop().expect("an entry")).expect("it goes");
    std::fs::remove_file(&newest).expect("it goes");
    let gone = fresh(&head).expect_err("the store has gone back");
    assert!(matches!(gone, Error::RolledBack { seen: 2, found: 1 }), "{gone}");
    bench.write("a", "another past");
    bench.snapshot();
    let forked = fresh(&head).expect_err("the store shows another history");
    assert!(matches!(forked, Error::Forked { number: 2 }), "{forked}");
    std::fs::write(&newest, entry).expect("it is back");
    fresh(&head).expect("all is well");
}

fn audited(bench: &Bench, path: &Path) -> AuditReport {
    let none = Globs::new([]).expect("patterns");
    audit(&bench.open(), &[path.to_owned()], &none, &Silent).expect("an audit")
}

#[test]
fn a_card_is_proven_by_content_alone() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    bench.write_photos("shoot", 5, 1_300_000);
    bench.write("shoot/empty", "");
    let card = bench.path("card");
    std::fs::create_dir(&card).expect("a card");
    for number in 0..5 {
        let from = bench.library.join(format!("shoot/IMG_{number:04}.JPG"));
        std::fs::copy(from, card.join(format!("DSC{number}.jpg"))).expect("a copy");
    }
    std::fs::write(card.join("none"), "").expect("an empty file");
    assert_eq!(audited(&bench, &card).missing.len(), 6, "nothing is archived yet");
    bench.snapshot();
    server.clear_requests();
    let proven = audited(&bench, &card);
    assert_eq!((proven.files, proven.failed, proven.missing), (6, 0, vec![]));
    let reads = server
        .requests()
        .into_iter()
        .filter(|request| ["/packs/", "/hot/"].iter().any(|part| request.path.contains(part)));
    assert_eq!(reads.count(), 0, "nothing but the log and trees is asked for");

    // A file with one bit changed, or one chunk less, is a different file.
    flip(&card.join("DSC0.jpg"), 700_000);
    let mut shorter = std::fs::read(card.join("DSC1.jpg")).expect("a photo");
    shorter.truncate(1_200_000);
    std::fs::write(card.join("DSC1.jpg"), shorter).expect("a photo");
    let missing = audited(&bench, &card).missing;
    let names: Vec<_> = missing.iter().map(|(path, _)| path.file_name().expect("a name")).collect();
    assert_eq!(names, ["DSC0.jpg", "DSC1.jpg"]);
    assert!(audited(&bench, &bench.library).missing.is_empty());
    assert!(bench.restored("latest", "out").join("shoot/IMG_0000.JPG").exists());
    assert!(in_snapshot(&bench.library).is_relative());
}

#[test]
fn what_only_a_dropped_snapshot_has_is_not_archived() {
    let bench = Bench::local(small_packs());
    bench.write("a.txt", "only here");
    bench.write("b.txt", "always here");
    bench.snapshot();
    let card = bench.path("card");
    std::fs::create_dir(&card).expect("a card");
    std::fs::copy(bench.library.join("a.txt"), card.join("a.txt")).expect("a copy");
    std::fs::copy(bench.library.join("b.txt"), card.join("b.txt")).expect("a copy");
    std::fs::remove_file(bench.library.join("a.txt")).expect("it goes");
    bench.snapshot();
    assert!(audited(&bench, &card).missing.is_empty());
    let repository = bench.open();
    let first = repository.catalog.snapshots().expect("snapshots").remove(0).entry.id;
    let entry = icecore_engine::format::LogEntry {
        dropped: vec![first],
        ..icecore_engine::format::LogEntry::new(Time { seconds: 1_750_000_000, nanos: 0 })
    };
    let mut entry = Some(entry);
    repository.commit(|| Ok(entry.take())).expect("it is dropped");
    // The chunks of the dropped snapshot are still in a pack that the other snapshot needs.
    let missing = audited(&bench, &card).missing;
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].0.ends_with("a.txt"));
}
