//! The whole cycle over S3: which requests are sent, what happens if the server refuses or vanishes, and that only a
//! restore touches cold objects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use icecore_engine::error::Error;
use icecore_engine::format::Settings;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::restore::{RestoreOptions, Selection, plan};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::ops::{prune, stats};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Catalog, Keys, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreErrorKind, StoreOptions};
use icecore_testkit::{Fault, Request, RequestHead, S3Server, photos, tree};

use crate::setup::{BUCKET, Bench, Log, Restore, s3_options, small_packs};

fn cold_settings() -> Settings {
    Settings {
        pack_class: "DEEP_ARCHIVE".to_owned(),
        hot_class: "GLACIER_IR".to_owned(),
        ..small_packs()
    }
}

/// Returns a bench with some photos that fill several packs, and sidecars.
fn library(server: &S3Server, settings: Settings) -> (Bench, u64) {
    let bench = Bench::s3(server, settings);
    let bytes = bench.write_photos("shoot", 12, 1_200_000);
    for number in 0..5 {
        bench.write(&format!("shoot/{number}.xmp"), photos::sidecar(number));
    }
    (bench, bytes)
}

fn store_kind(error: &Error) -> Option<StoreErrorKind> {
    match error {
        Error::Store(error) => Some(error.kind),
        _ => None,
    }
}

fn is_put_of(head: &RequestHead, prefix: &str) -> bool {
    head.method == "PUT" && head.path.starts_with(&format!("/{BUCKET}/archive/{prefix}"))
}

/// Injects `fault` into the first `times` requests for which `which` is true.
fn fault_on(
    server: &S3Server,
    times: usize,
    fault: Fault,
    which: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let met = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&met);
    server.set_fault(Some(Box::new(move |head| {
        if which(head) && counter.fetch_add(1, Ordering::SeqCst) < times {
            return fault.clone();
        }
        Fault::None
    })));
    met
}

#[test]
fn the_whole_cycle_with_every_put_conditional_and_in_its_class() {
    let server = S3Server::start();
    let heads: Arc<Mutex<Vec<RequestHead>>> = Arc::default();
    let seen = Arc::clone(&heads);
    server.set_fault(Some(Box::new(move |head| {
        seen.lock().expect("nothing panics here").push(head.clone());
        Fault::None
    })));
    let hot = Settings { hot_class: "GLACIER_IR".into(), ..small_packs() };
    let (bench, _) = library(&server, Settings { pack_class: "STANDARD_IA".into(), ..hot });
    bench.snapshot();
    bench.write("later.xmp", photos::sidecar(99));
    let second = bench.snapshot();
    assert_eq!(second.requests.by_class["GLACIER_IR"].put, 1);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    let report = bench.check();
    assert_eq!((report.errors, report.unreferenced), (vec![], 0));

    let heads = heads.lock().expect("nothing panics here");
    let puts: Vec<_> = heads.iter().filter(|head| head.method == "PUT").collect();
    assert!(puts.len() > 8, "{}", puts.len());
    for put in puts {
        assert_eq!(put.header("if-none-match"), Some("*"), "{}", put.path);
        let expected = match put.path.split('/').nth(3) {
            Some("packs") => Some("STANDARD_IA"),
            Some("hot") => Some("GLACIER_IR"),
            _ => None,
        };
        assert_eq!(put.header("x-amz-storage-class"), expected, "{}", put.path);
        assert!(put.header("x-amz-checksum-crc64nvme").is_some(), "{}", put.path);
    }
    assert!(heads.iter().all(|head| head.method != "DELETE"), "something was deleted");
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[test]
fn errors_tell_what_can_be_done() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    let read = |location: &str, change: &dyn Fn(&mut StoreOptions)| {
        let mut options = s3_options(&server);
        change(&mut options);
        let location = Location::parse(location).expect("a valid URL");
        let store = Store::open(&location, &options).expect("a store");
        StoredConfig::read(&store).expect_err("an error")
    };
    let set = |key: &'static str, value: &'static str| {
        move |options: &mut StoreOptions| options.settings.push((key.into(), value.into()))
    };
    let ours = format!("s3://{BUCKET}/archive");
    let wrong_secret = read(&ours, &set("aws_secret_access_key", "another/secret"));
    assert_eq!(store_kind(&wrong_secret), Some(StoreErrorKind::Credentials), "{wrong_secret}");
    let unknown_key = read(&ours, &set("aws_access_key_id", "AKIANOBODYKNOWSTHIS0"));
    assert_eq!(store_kind(&unknown_key), Some(StoreErrorKind::Credentials), "{unknown_key}");
    let no_bucket = read("s3://no-such-bucket/archive", &|_| {});
    assert_eq!(store_kind(&no_bucket), Some(StoreErrorKind::NoBucket), "{no_bucket}");
    let elsewhere = read(&format!("s3://{BUCKET}/elsewhere"), &|_| {});
    assert!(matches!(elsewhere, Error::NoRepository { .. }), "{elsewhere}");
    server.fail_next(1, Fault::Status(403, "AccessDenied"));
    let denied = read(&ours, &|_| {});
    assert_eq!(store_kind(&denied), Some(StoreErrorKind::Denied), "{denied}");
    server.fail_next(1, Fault::Status(403, "AccessDenied"));
    let denied = bench.store().list("log", None).expect_err("no listing");
    assert_eq!(denied.kind, StoreErrorKind::Denied, "{denied}");
    for fault in [Fault::DropConnectionBefore, Fault::CutBody(40)] {
        server.fail_next(1, fault.clone());
        let cut = read(&ours, &|_| {});
        assert_eq!(store_kind(&cut), Some(StoreErrorKind::Unreachable), "{fault:?}: {cut}");
    }
    server.stop();
    let gone = read(&ours, &|_| {});
    assert_eq!(store_kind(&gone), Some(StoreErrorKind::Unreachable), "{gone}");
    server.start_again();
    assert_eq!(bench.open().config.repository, bench.id);
}

#[test]
fn a_run_whose_server_vanishes_is_completed_by_the_next() {
    let server = S3Server::start();
    let (mut bench, bytes) = library(&server, small_packs());
    bench.options.retry_for = Duration::from_millis(300);
    let puts = AtomicUsize::new(0);
    server.set_fault(Some(Box::new(move |head| {
        let third = is_put_of(head, "packs/") && puts.fetch_add(1, Ordering::SeqCst) == 2;
        if third { Fault::Vanish } else { Fault::None }
    })));
    let repository = bench.open_writer();
    let failed = snapshot(&repository, &bench.snapshot_options(), &Silent).expect_err("no server");
    assert_eq!(store_kind(&failed), Some(StoreErrorKind::Unreachable), "{failed}");
    server.set_fault(None);
    server.start_again();
    let arrived = bench.under("packs/");
    assert!(!arrived.is_empty() && arrived.len() <= 3, "{arrived:?}");
    assert_eq!(bench.under("log/").len(), 0);
    drop(repository);
    bench.snapshot();
    let stored = bench.under("packs/");
    assert!(arrived.keys().all(|name| stored.contains_key(name)));
    // The photos fill four packs, and the interrupted run closed one early, so none was sent twice.
    assert!(stored.len() <= 5, "{bytes}: {stored:?}");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    let report = bench.check();
    assert_eq!((report.errors, report.unreferenced), (vec![], 0));
}

#[test]
fn a_pack_whose_acknowledgement_is_lost_has_arrived() {
    let server = S3Server::start();
    let (bench, bytes) = library(&server, small_packs());
    let lost = fault_on(&server, 1, Fault::DropConnectionAfter, |head| is_put_of(head, "packs/"));
    let failed = snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent);
    assert_eq!(store_kind(&failed.expect_err("lost")), Some(StoreErrorKind::Unreachable));
    assert!(lost.load(Ordering::SeqCst) >= 1);
    let arrived = bench.under("packs/");
    assert!(!arrived.is_empty());
    bench.snapshot();
    let stored = bench.under("packs/");
    assert!(arrived.keys().all(|name| stored.contains_key(name)));
    assert!(stored.len() <= 5, "sent twice: {bytes}, {stored:?}");
    let report = bench.check();
    assert_eq!((report.errors, report.unreferenced), (vec![], 0));

    // With time for a second attempt, the run itself finds out that the first one arrived.
    let mut patient = bench;
    patient.options.retry_for = Duration::from_secs(5);
    patient.write("more.jpg", photos::jpeg(77, 900_000, 100));
    fault_on(&server, 1, Fault::DropConnectionAfter, |head| is_put_of(head, "packs/"));
    patient.snapshot();
    assert_eq!(patient.check().unreferenced, 0);
    tree::assert_same(&patient.library, patient.restored("latest", "out"));
}

#[test]
fn bursts_of_slow_down_are_waited_out() {
    let server = S3Server::start();
    let (mut bench, _) = library(&server, small_packs());
    bench.options.retry_for = Duration::from_secs(20);
    for prefix in ["packs/", "hot/", "meta/", "log/"] {
        let prefix = prefix.to_owned();
        bench.write(
            &format!("{}.jpg", prefix.trim_matches('/')),
            photos::bytes(prefix.len() as u64, 30_000),
        );
        let met = fault_on(&server, 3, Fault::Status(503, "SlowDown"), move |head| {
            is_put_of(head, &prefix)
        });
        bench.snapshot();
        assert!(met.load(Ordering::SeqCst) > 3 || met.load(Ordering::SeqCst) == 0);
    }
    server.set_fault(None);
    server.fail_next(2, Fault::Status(503, "SlowDown"));
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn a_log_entry_whose_acknowledgement_is_lost_is_one_snapshot() {
    let server = S3Server::start();
    let (mut bench, _) = library(&server, small_packs());
    let faults = [
        (Duration::ZERO, Fault::DropConnectionAfter),
        (Duration::from_secs(5), Fault::DropConnectionAfter),
        (Duration::ZERO, Fault::StatusAfter(500, "InternalError")),
        (Duration::from_secs(5), Fault::StatusAfter(503, "SlowDown")),
        (Duration::ZERO, Fault::DropConnectionBefore),
    ];
    for (number, (retry_for, fault)) in faults.into_iter().enumerate() {
        bench.options.retry_for = retry_for;
        bench.write(&format!("{number}.xmp"), photos::sidecar(100 + number as u64));
        let met = fault_on(&server, 1, fault.clone(), |head| is_put_of(head, "log/"));
        let taken = bench.snapshot();
        assert!(met.load(Ordering::SeqCst) >= 1);
        server.set_fault(None);
        let snapshots = bench.open().catalog.snapshots().expect("snapshots");
        assert_eq!(snapshots.len(), number + 1, "{fault:?}");
        assert_eq!(snapshots.last().map(|row| row.entry.id), taken.id);
        assert_eq!(bench.under("log/").len(), number + 1, "{fault:?}");
    }
    // A new host sees the same.
    let fresh = bench.try_open(Keys::Reader(bench.identity.clone()), &bench.path("fresh"));
    assert_eq!(fresh.expect("it opens").catalog.snapshots().expect("snapshots").len(), 5);
    assert_eq!(bench.check().errors, []);
}

#[test]
fn listings_of_many_pages() {
    let server = S3Server::start();
    server.set_page_size(3);
    let (bench, _) = library(&server, small_packs());
    for number in 0..9 {
        bench.write("rating.xmp", photos::sidecar(number));
        bench.snapshot();
    }
    assert_eq!(bench.under("log/").len(), 9);
    server.clear_requests();
    Catalog::delete(&bench.cache, bench.id, &Silent).expect("deleted");
    let repository = bench.open();
    assert_eq!(repository.catalog.snapshots().expect("snapshots").len(), 9);
    assert_eq!(repository.catalog.position().expect("a position").number, 9);
    let listed = server.requests().into_iter().filter(is_listing);
    assert_eq!(listed.filter(|request| request.query.contains("log")).count(), 3);
    let report = bench.check();
    assert_eq!((report.errors, report.unreferenced), (vec![], 0));
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

fn is_listing(request: &Request) -> bool {
    request.method == "GET" && request.query.contains("list-type=2")
}

#[test]
fn files_of_cold_packs_wait_and_no_others() {
    let server = S3Server::start();
    let (bench, _) = library(&server, cold_settings());
    bench.snapshot();
    let target = bench.path("target");
    let (summary, problems) = bench.restore("latest", &target, &Restore::default());
    assert_eq!((summary.files, summary.files_waiting), (5, 12), "{problems:?}");
    assert_eq!(summary.files_failed, 0, "a cold pack is neither failure nor damage");
    assert_eq!(problems, []);
    for number in 0..5 {
        let name = format!("shoot/{number}.xmp");
        assert_eq!(tree::node_of(target.join(&name)), tree::node_of(bench.library.join(&name)));
    }
    let left = std::fs::read_dir(target.join("shoot")).expect("a folder").count();
    assert_eq!(left, 5, "something was left of files that wait");

    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let photo = crate::setup::bytes_of(&bench.library.join("shoot/IMG_0003.JPG"));
    let dumped = browse::dump(&snapshot, &photo, &mut Vec::new(), &Silent);
    assert_eq!(store_kind(&dumped.expect_err("cold")), Some(StoreErrorKind::Archived));

    for object in server.objects(BUCKET) {
        if object.storage_class == "DEEP_ARCHIVE" {
            server.thaw(BUCKET, &object.key);
        }
    }
    tree::assert_same(&bench.library, bench.restored("latest", "thawed"));
}

#[test]
fn nothing_but_a_restore_touches_a_cold_object() {
    let server = S3Server::start();
    let (bench, _) = library(&server, cold_settings());
    bench.snapshot();
    bench.write("shoot/7.xmp", photos::sidecar(7));
    std::fs::rename(bench.library.join("shoot"), bench.library.join("rome")).expect("a move");
    server.clear_requests();
    bench.snapshot();

    let repository = bench.open();
    let rows = repository.catalog.snapshots().expect("snapshots");
    let trees = TreeReader::new(&repository).expect("trees");
    let open = |name: &str| {
        let row = browse::resolve(&repository, name).expect("a snapshot");
        Snapshot::open(&trees, row).expect("a snapshot")
    };
    let (old, new) = (open("latest~1"), open("latest"));
    let mut count = 0;
    browse::ls(&new, b"", true, &mut |_, _| {
        count += 1;
        Ok(())
    })
    .expect("a listing");
    assert!(count > 18, "{count}");
    let mut changes = 0;
    browse::diff(&old, &new, &mut |_| {
        changes += 1;
        Ok(())
    })
    .expect("a comparison");
    assert!(changes > 30, "{changes}");
    let selection = Selection {
        snapshot: &new,
        path: Vec::new(),
        include: icecore_engine::files::Globs::new([]).expect("no patterns"),
        exclude: icecore_engine::files::Globs::new([]).expect("no patterns"),
    };
    assert_eq!(plan(&selection, &RestoreOptions::default(), &Silent).expect("a plan").files, 18);
    let drop = std::iter::once(rows[0].entry.id).collect();
    let terms = prune::reclaim::Terms { end_window: true, ..Default::default() };
    let prices = Prices::built_in(None);
    let pruned = prune::plan(&repository, &drop, terms.at(&prices, rows[1].entry.time), &Silent);
    assert_eq!(pruned.expect("a plan").drop.len(), 1);
    assert_eq!(stats::stats(&repository).expect("sizes").snapshots, 2);
    let log = Log::default();
    let report = check(&repository, CheckOptions::default(), &log).expect("a check");
    assert!(report.errors.is_empty() && report.trees_checked, "{:?}", report.errors);
    Catalog::delete(&bench.path("elsewhere"), bench.id, &Silent).expect("nothing there");
    let fresh = bench.try_open(Keys::Reader(bench.identity.clone()), &bench.path("elsewhere"));
    assert_eq!(fresh.expect("it opens").catalog.snapshots().expect("snapshots").len(), 2);

    let prefix = format!("/{BUCKET}/archive/packs/");
    let touched = server.requests().into_iter().filter(|request| request.path.starts_with(&prefix));
    // Planning checks whether packs are cold, and a check reads their checksums; neither does more.
    let looks: Vec<Request> = touched.collect();
    assert!(looks.iter().all(|request| request.method == "HEAD"), "{looks:#?}");
    assert_eq!(looks.len(), 2 * bench.under("packs/").len());
    assert_eq!(server.restores(), []);
}
