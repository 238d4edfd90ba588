//! Writing checkpoints: the host that fills a range writes one, and no host fails because one is
//! missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_engine::format::LogEntry;
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{self, reclaim::Terms};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Repository};
use icecore_engine::store::layout;
use icecore_testkit::{Bill, Fault, RequestHead, S3Server, photos, tree};

use super::{adding, commit, damaged, fill, into_bucket, into_folder, open, put, state};
use crate::bill::assert_close;
use crate::prune::after;
use crate::setup::{Bench, small_packs};

fn is_of_checkpoint(head: &RequestHead) -> bool {
    head.path.contains("/checkpoints/") || head.query.contains("checkpoints")
}

#[test]
fn missing_checkpoints_are_written_by_the_next_run() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    fill(&bench, 31, into_bucket(&server));
    let puts = Arc::new(AtomicUsize::new(0));
    let fault_on_put = |fault: Fault| {
        let puts = Arc::clone(&puts);
        server.set_fault(Some(Box::new(move |head| {
            if head.method != "PUT" || !is_of_checkpoint(head) {
                return Fault::None;
            }
            puts.fetch_add(1, Ordering::SeqCst);
            fault.clone()
        })));
    };
    // The checkpoint never arrives, and is not put again and again.
    fault_on_put(Fault::DropConnectionBefore);
    let owner = open(&bench, "owner");
    commit(&owner, 2);
    assert_eq!(owner.catalog.position().expect("a position").number, 33);
    assert_eq!((puts.load(Ordering::SeqCst), bench.under("checkpoints/").len()), (1, 0));
    drop(owner);
    server.set_fault(None);
    commit(&open(&bench, "owner"), 1);
    let made: Vec<String> = bench.under("checkpoints/").into_keys().collect();
    assert_eq!(made, [layout::checkpoint(&(1..=32))]);

    // The checkpoint arrives without an acknowledgement; the next run finds it.
    let owner = open(&bench, "owner");
    commit(&owner, 29);
    fault_on_put(Fault::DropConnectionAfter);
    commit(&owner, 1);
    assert_eq!(owner.catalog.checkpointed().expect("a number"), 32);
    assert_eq!(bench.under("checkpoints/").len(), 2);
    drop(owner);
    puts.store(0, Ordering::SeqCst);
    let owner = open(&bench, "owner");
    commit(&owner, 1);
    assert_eq!((puts.load(Ordering::SeqCst), owner.catalog.checkpointed().expect("it")), (0, 64));
    let before = owner.store.requests();
    commit(&owner, 1);
    assert_eq!(owner.store.requests().since(&before).list, 1, "it looked once more");
    server.set_fault(None);
    assert_eq!(damaged(&bench), BTreeSet::new());
    assert_eq!(state(&open(&bench, "fresh")), state(&owner));
}

#[test]
fn a_bad_checkpoint_does_not_spoil_the_level_above() {
    let bench = Bench::local(small_packs());
    fill(&bench, 1_022, into_folder(&bench));
    let owner = open(&bench, "owner");
    commit(&owner, 1);
    assert_eq!(bench.under("checkpoints/").len(), 31);
    let torn = layout::checkpoint(&(65..=96));
    put(&bench.folder(), &torn, b"torn");
    commit(&owner, 1);
    assert_eq!(bench.under("checkpoints/").len(), 33);
    assert_eq!(damaged(&bench), BTreeSet::from([torn]));
    let fresh = open(&bench, "fresh");
    // The config; a first part; the owner's entry twice; and two entries after it.
    assert_eq!((state(&fresh) == state(&owner), fresh.store.requests().get), (true, 6));
    // If a checkpoint of the higher level is bad, those of the lower level are used.
    put(&bench.folder(), &layout::checkpoint(&(1..=1024)), b"torn");
    let fresh = open(&bench, "again");
    assert_eq!(state(&fresh), state(&owner));
    let read = fresh.store.requests();
    assert!(read.get > 900, "{} entries singly", read.get);
}

#[test]
fn hosts_that_write_checkpoints_at_once() {
    let bench = Bench::local(small_packs());
    // The catalog of this host exists and is empty.
    drop(open(&bench, "new"));
    // Two hosts, and a second process on one of them.
    let caches = ["one", "two", "two"];
    std::thread::scope(|threads| {
        for cache in caches {
            let bench = &bench;
            threads.spawn(move || {
                for _ in 0..5 {
                    let repository = open(bench, cache);
                    for _ in 0..9 {
                        repository.commit(|| Ok(Some(entry_of(&repository)))).expect("a commit");
                    }
                }
            });
        }
    });
    assert_eq!(bench.under("log/").len(), 3 * 45);
    assert_eq!(bench.under("checkpoints/").len(), 4);
    assert_eq!(damaged(&bench), BTreeSet::new());
    let [one, two] = ["one", "two"].map(|cache| open(&bench, cache));
    assert_eq!(state(&one), state(&two));
    // Processes of one host read new entries at the same time.
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| assert_eq!(state(&open(&bench, "new")), state(&one)));
        }
    });
}

fn entry_of(repository: &Repository) -> LogEntry {
    adding(repository.catalog.position().expect("a position").number + 1)
}

#[test]
fn a_role_without_checkpoints_takes_snapshots() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    fill(&bench, 63, into_bucket(&server));
    bench.write("a.xmp", photos::sidecar(1));
    let refused = Arc::new(AtomicUsize::new(0));
    for methods in [&["PUT"][..], &["PUT", "GET"]] {
        let counter = Arc::clone(&refused);
        server.set_fault(Some(Box::new(move |head| {
            if !is_of_checkpoint(head) || !methods.contains(&&head.method[..]) {
                return Fault::None;
            }
            counter.fetch_add(1, Ordering::SeqCst);
            Fault::Status(403, "AccessDenied")
        })));
        bench.snapshot();
        assert!(refused.swap(0, Ordering::SeqCst) > 0);
        assert_eq!(bench.under("log/").len(), 63 + if methods.len() == 1 { 1 } else { 2 });
        let fresh = open(&bench, &format!("fresh-{}", methods.len()));
        let report = check(&fresh, CheckOptions::default(), &Silent).expect("a check");
        assert!(report.errors.iter().all(|damage| damage.object.to_string().starts_with("hot/")));
    }
    server.set_fault(None);
    assert_eq!(bench.under("checkpoints/").len(), 0);
    let taken = bench.snapshot().id.expect("a snapshot");
    assert_eq!(bench.under("checkpoints/").len(), 2);
    tree::assert_same(&bench.library, bench.restored(&taken.to_string(), "out"));
}

/// A snapshot and a prune that fill ranges cost as much as predicted.
#[test]
fn checkpoints_are_in_the_predicted_bill() {
    let prices = Prices::built_in(None);
    for entries in [31, 63, 1023] {
        let server = S3Server::start();
        let bench = Bench::s3(&server, small_packs());
        fill(&bench, entries - 1, into_bucket(&server));
        commit(&open(&bench, "host"), 1);
        let checkpointed = bench.under("checkpoints/").len();
        bench.write("a.jpg", photos::jpeg(1, 60_000, 100));
        let dry = open(&bench, "host");
        let options = SnapshotOptions { dry_run: true, ..bench.snapshot_options() };
        let planned = snapshot(&dry, &options, &Silent).expect("a dry run");
        let predicted = prices.bill(&dry.store.requests().plus(&planned.predicted));
        server.clear_requests();
        let real = open(&bench, "host");
        snapshot(&real, &bench.snapshot_options(), &Silent).expect("a snapshot");
        let billed = Bill::of(&server.requests()).total();
        let what = format!("snapshot {}", entries + 1);
        assert_close(predicted.total_usd(), billed, &what);
        let made = bench.under("checkpoints/").len() - checkpointed;
        assert_eq!(made, if entries == 1023 { 2 } else { 1 });
        let looks = |requests: &icecore_engine::store::Requests| (requests.list, requests.get);
        let ahead = dry.store.requests().plus(&planned.predicted);
        assert_eq!(looks(&ahead), looks(&real.store.requests()), "{what}");
    }

    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    fill(&bench, 31, into_bucket(&server));
    let owner = Keys::Reader(bench.identity.clone());
    let repository = bench.try_open(owner, &bench.path("host")).expect("it opens");
    let drop = repository.catalog.snapshots().expect("snapshots");
    let drop = drop.iter().take(2).map(|row| row.entry.id).collect();
    let plan = prune::plan(
        &repository,
        &drop,
        (Terms { end_window: true, ..Terms::default() }).at(&prices, after(0)),
        &Silent,
    );
    let plan = plan.expect("a plan");
    let predicted = prices.bill(&plan.predict());
    server.clear_requests();
    prune::prune(&repository, &plan, after(0), &Silent).expect("a prune");
    let billed = Bill::of(&server.requests()).total();
    assert_close(predicted.total_usd(), billed, "prune");
    assert_eq!(bench.under("checkpoints/").len(), 1);
}
