//! The class and the state of an object come from the store. The log records the class with which a pack was written. A
//! lifecycle rule may have moved it since, or the repository may be a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use icecore_engine::files::Globs;
use icecore_engine::format::{LogEntry, PackKind, Settings, Time};
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::check::{CheckOptions, check, plan_read};
use icecore_engine::ops::cold::PackStates;
use icecore_engine::ops::cost::{Prices, monthly};
use icecore_engine::ops::frozen::plan_listings;
use icecore_engine::ops::prune::reclaim::{Decision, Terms, Why};
use icecore_engine::ops::restore::{RestoreOptions, RestorePlan, Selection, plan, restore, thaw};
use icecore_engine::ops::{prune, stats};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Repository, TreeReader};
use icecore_engine::store::{Location, ObjectState, Store, StoreOptions, Tier};
use icecore_testkit::{Bill, MotoServer, S3Server, tree};

use crate::bill::assert_close;
use crate::prune::{after, ids};
use crate::setup::{BUCKET, Bench, bytes_of, s3_options, small_packs};

const DEEP: &str = "DEEP_ARCHIVE";

fn settings(class: &str) -> Settings {
    Settings { pack_class: class.to_owned(), hot_class: "STANDARD".to_owned(), ..small_packs() }
}

/// Returns a bench in a bucket with some packs that were written with a class.
fn written_as(server: &S3Server, class: &str, photos: u64) -> Bench {
    let bench = Bench::s3(server, settings(class));
    bench.write_photos("shoot", photos, 1_200_000);
    bench.snapshot();
    bench
}

fn with_selection<T>(
    repository: &Repository,
    bench: &Bench,
    then: impl FnOnce(&Selection) -> T,
) -> T {
    let trees = TreeReader::new(repository).expect("trees");
    let row = browse::resolve(repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let none = || Globs::new([]).expect("no patterns");
    let (include, exclude) = (none(), none());
    let path = bytes_of(&bench.library);
    then(&Selection { snapshot: &snapshot, path, include, exclude })
}

fn planned(repository: &Repository, bench: &Bench) -> RestorePlan {
    with_selection(repository, bench, |selection| {
        plan(selection, &RestoreOptions::default(), &Silent).expect("a plan")
    })
}

/// Returns how many packs are cold, thawing, and readable.
fn states(states: PackStates) -> [u64; 3] {
    [states.cold, states.thawing, states.readable]
}

/// Returns the classes and states of the packs of a plan, without repetitions.
fn classes(plan: &RestorePlan) -> Vec<(&str, ObjectState)> {
    let mut found: Vec<_> = plan.packs.iter().map(|pack| (&*pack.class, pack.state)).collect();
    found.dedup();
    found
}

/// Puts objects of several classes, and lists them.
fn listing_of(store: &Store) {
    let classes = [("packs/a", DEEP), ("packs/b", "GLACIER_IR"), ("packs/c", "STANDARD")];
    for (name, class) in classes {
        assert!(store.create(name, class, Bytes::from_static(b"x")).expect("it is put"));
    }
    assert!(store.create("packs/d", "", Bytes::from_static(b"xy")).expect("it is put"));
    let listed = store.list("packs", None).expect("a listing");
    let told = |object: &icecore_engine::store::Listed| {
        (object.name.clone(), object.bytes, object.class.clone().expect("a class"))
    };
    let told: Vec<_> = listed.iter().map(told).collect();
    let expected = classes.into_iter().chain([("packs/d", "STANDARD")]);
    let bytes = |name| if name == "packs/d" { 2 } else { 1 };
    let expected: Vec<_> =
        expected.map(|(name, class)| (name.to_owned(), bytes(name), class.to_owned())).collect();
    assert_eq!(told, expected);
    let rest = store.list("packs", Some("packs/b")).expect("a listing");
    assert_eq!(rest.len(), 2);
    assert_eq!(store.list("hot", None).expect("a listing"), []);
}

#[test]
fn a_listing_tells_the_class_of_each_object_on_every_page() {
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    server.set_page_size(2);
    for prefix in ["", "/archive"] {
        let location = Location::parse(&format!("s3://{BUCKET}{prefix}")).expect("a valid URL");
        listing_of(&Store::open(&location, &s3_options(&server)).expect("a store"));
    }
    let Some(moto) = MotoServer::start() else {
        eprintln!("LEFT OUT: classes in listings of moto: ICECORE_MOTO is not set");
        return;
    };
    moto.create_bucket(BUCKET);
    let settings = moto.env().into_iter().map(|(key, value)| (key.to_lowercase(), value));
    let options = StoreOptions { settings: settings.collect(), ..StoreOptions::default() };
    let location = Location::parse(&format!("s3://{BUCKET}/archive")).expect("a valid URL");
    listing_of(&Store::open(&location, &options).expect("a store"));
}

#[test]
fn packs_that_a_rule_has_frozen_are_planned_priced_and_thawed_as_cold() {
    // If there are few packs, each gets a HEAD request; if there are more, they are listed first.
    for photos in [4, 60] {
        let server = S3Server::start();
        let bench = written_as(&server, "STANDARD", photos);
        let moved = server.move_to_class(BUCKET, "archive/packs/", DEEP);
        assert!(if photos == 60 { moved > 12 } else { moved <= 12 }, "{moved} packs");
        let repository = bench.open();
        server.clear_requests();
        let before = repository.store.requests();
        with_selection(&repository, &bench, |selection| {
            let target = bench.path("out");
            let mut options = RestoreOptions { target, ..RestoreOptions::default() };
            let mut planned = plan(selection, &options, &Silent).expect("a plan");
            assert_eq!(states(planned.states()), [moved as u64, 0, 0]);
            assert_eq!(classes(&planned), [(DEEP, ObjectState::Cold)]);
            assert_eq!(planned.hours(&repository, Tier::Standard), 12);
            let days = planned.days();
            let ahead = planned.predict(Tier::Standard, days);
            assert_eq!(ahead.thaws[&(DEEP.to_owned(), Tier::Standard)].requests, moved as u64);
            let spent = repository.store.requests().since(&before);
            let predicted = Prices::built_in(None).bill(&spent.plus(&ahead)).total_usd();
            thaw(&repository, &mut planned, Tier::Standard, days, &Silent).expect("thaws");
            assert_eq!(server.restores().len(), moved);
            server.advance(Duration::from_secs(12 * 3600));
            planned.look(&repository, &Silent).expect("a look");
            assert_eq!(states(planned.states()), [0, 0, moved as u64]);
            options.unreadable = std::sync::Arc::new(planned.unreadable());
            let done = restore(selection, &options, &Silent).expect("a restore");
            assert_eq!((done.files, done.files_waiting), (photos, 0));
            let billed = Bill::of(&server.requests()).total();
            assert_close(predicted, billed, &format!("{photos} photos"));
            tree::assert_same(&bench.library, &options.target);
        });
    }
}

#[test]
fn packs_that_were_written_cold_and_are_warm_are_not_thawed() {
    for (class, real) in [(DEEP, "STANDARD"), (DEEP, "GLACIER_IR"), ("GLACIER", "STANDARD_IA")] {
        let server = S3Server::start();
        let bench = written_as(&server, class, 4);
        server.move_to_class(BUCKET, "archive/packs/", real);
        let repository = bench.open();
        let planned = planned(&repository, &bench);
        assert_eq!(classes(&planned), [(real, ObjectState::Warm)]);
        assert!(planned.predict(Tier::Bulk, 3).thaws.is_empty());
        let read = plan_read(&repository, None, &Silent).expect("a plan");
        assert_eq!(read.states().waiting(), 0);
        assert!(read.rows().filter(|row| row.kind == PackKind::Cold).all(|row| row.class == real));
        let options = CheckOptions { read_data: true, subset: None };
        let report = check(&repository, options, &Silent).expect("a check");
        assert_eq!((report.errors.len(), report.packs_frozen), (0, 0));
        assert_eq!(report.read_back.bytes, report.read_back.bytes_total);
        let moved: u64 = report.moved.iter().map(|moved| moved.packs).sum();
        assert_eq!(moved as usize, bench.under("packs").len());
    }
}

#[test]
fn a_folder_has_no_classes_whatever_its_log_says() {
    let bench = Bench::local(settings(DEEP));
    bench.write_photos("shoot", 6, 1_200_000);
    bench.snapshot();
    let repository = bench.open();
    assert_eq!(classes(&planned(&repository, &bench)), [("", ObjectState::Warm)]);
    let stats = stats::stats(&repository).expect("stats");
    assert!(stats.kinds.iter().all(|kind| kind.class.is_empty()), "{stats:?}");
    assert_eq!(check(&repository, CheckOptions::default(), &Silent).expect("a check").moved, []);
    // Dead packs in it are deleted at once.
    bench.snapshot();
    let all = ids(&bench);
    std::fs::remove_dir_all(bench.library.join("shoot")).expect("culled");
    bench.snapshot();
    let terms = Terms { provider: None, end_window: true, ..Terms::default() };
    let drop = all.into_iter().collect();
    let prices = Prices::built_in(None);
    let planned = prune::plan(&bench.open(), &drop, terms.at(&prices, after(1)), &Silent);
    assert!(planned.expect("a plan").doomed().count() > 1);
}

#[test]
fn the_monthly_bill_is_that_of_the_store() {
    let server = S3Server::start();
    let bench = written_as(&server, "STANDARD", 6);
    let prices = Prices::built_in(None);
    let before = monthly(&bench.open(), &prices).expect("a bill");
    assert_eq!((before.classes.len(), &*before.moved), (1, &[][..]));
    let count = server.move_to_class(BUCKET, "archive/packs/", DEEP) as u64;
    let bytes: u64 = bench.under("packs").values().sum();
    let after = monthly(&bench.open(), &prices).expect("a bill");
    let deep = &after.classes[DEEP];
    assert_eq!((deep.objects, deep.bytes), (count, bytes));
    assert!(after.total_usd() < before.total_usd());
    let [moved] = &after.moved[..] else { panic!("{:?}", after.moved) };
    assert_eq!(
        (moved.kind, &*moved.from, &*moved.to, moved.packs),
        (PackKind::Cold, "STANDARD", DEEP, count)
    );
    let stats = stats::stats(&bench.open()).expect("stats");
    let photos = stats.kinds.iter().find(|kind| kind.kind == PackKind::Cold).expect("photos");
    assert_eq!((&*photos.class, photos.bytes), (DEEP, bytes));
}

#[test]
fn a_prune_goes_by_the_class_that_packs_have() {
    let server = S3Server::start();
    let bench = written_as(&server, "STANDARD", 9);
    std::fs::remove_dir_all(bench.library.join("shoot")).expect("culled");
    bench.write("left.txt", "something");
    bench.snapshot();
    let drop: BTreeSet<_> = ids(&bench).into_iter().take(1).collect();
    let plan = |days: i64| {
        let terms = Terms { end_window: true, ..Default::default() };
        let prices = Prices::built_in(None);
        // The time by the server's clock, which dates the objects.
        let now = icecore_engine::format::Time {
            seconds: server.now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs()
                as i64
                + days * 86_400,
            nanos: 0,
        };
        prune::plan(&bench.open(), &drop, terms.at(&prices, now), &Silent).expect("a plan")
    };
    let cold = |plan: &prune::PrunePlan| -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (row, decision) in plan.dead.iter().filter(|(row, _)| row.kind == PackKind::Cold) {
            let free = match decision {
                Decision::Wait { free_in_days } => format!("{} {free_in_days}", row.class),
                other => format!("{} {other:?}", row.class),
            };
            *counts.entry(free).or_default() += 1;
        }
        counts
    };
    let packs = cold(&plan(0)).values().sum::<usize>();
    assert_eq!(cold(&plan(0)), [("STANDARD Delete".to_owned(), packs)].into());
    server.move_to_class(BUCKET, "archive/packs/", DEEP);
    // Deleting them earlier costs as much as keeping them. It is unknown when they were moved, but that was not before
    // the objects were written.
    assert_eq!(cold(&plan(10)), [(format!("{DEEP} 170"), packs)].into());
    assert_eq!(cold(&plan(180)), [(format!("{DEEP} Delete"), packs)].into());
}

#[test]
fn packs_that_a_rule_moves_are_not_repacked_into_its_way() {
    let server = S3Server::start();
    let bench = written_as(&server, "STANDARD", 9);
    for photo in 1..9 {
        let _ = std::fs::remove_file(bench.library.join(format!("shoot/IMG_{photo:04}.JPG")));
    }
    bench.snapshot();
    let drop: BTreeSet<_> = ids(&bench).into_iter().take(1).collect();
    let decisions = || -> Vec<Decision> {
        let terms = Terms { end_window: true, ..Default::default() };
        let prices = Prices::built_in(None);
        let now = after(36_500);
        let plan =
            prune::plan(&bench.open(), &drop, terms.at(&prices, now), &Silent).expect("a plan");
        let partly = plan.partly.iter().filter(|pack| pack.row.kind == PackKind::Cold);
        partly.map(|pack| pack.decision).collect()
    };
    assert!(decisions().iter().any(|decision| matches!(decision, Decision::Repack { .. })));
    server.move_to_class(BUCKET, "archive/packs/", "STANDARD_IA");
    let kept = decisions();
    assert!(kept.contains(&Decision::Keep(Why::Moved)), "{kept:?}");
    assert!(!kept.iter().any(|decision| matches!(decision, Decision::Repack { .. })), "{kept:?}");
}

#[test]
fn a_snapshot_notices_listings_that_are_frozen_and_a_check_does() {
    let server = S3Server::start();
    let bench = written_as(&server, DEEP, 3);
    let again = bench.snapshot();
    assert_eq!(again.frozen, [], "photos may be cold");
    server.clear_requests();
    // Classes that are readable at once cause no warning.
    server.move_to_class(BUCKET, "archive/meta/", "STANDARD_IA");
    assert_eq!(bench.snapshot().frozen, []);
    let listed =
        server.requests().into_iter().filter(|request| request.query.contains("list-type"));
    let looks = listed.filter(|request| !request.query.contains("start-after")).count();
    assert!(looks <= 6, "{looks} listings");
    let metas = server.move_to_class(BUCKET, "archive/meta/", DEEP) as u64;
    server.move_to_class(BUCKET, "archive/log/0000000000000001", "GLACIER");
    let taken = bench.snapshot();
    assert!(taken.id.is_some(), "the snapshot is taken all the same");
    let told: Vec<_> = taken.frozen.iter().map(|f| (f.prefix, &*f.class, f.objects)).collect();
    assert_eq!(told, [("meta", DEEP, metas), ("log", "GLACIER", 1)]);

    server.move_to_class(BUCKET, "archive/log/", "STANDARD");
    let report = check(&bench.open(), CheckOptions::default(), &Silent).expect("a check");
    assert_eq!(report.errors, [], "what is frozen is not damaged");
    assert!(!report.trees_checked);
    assert_eq!(report.frozen.len(), 1, "{:?}", report.frozen);
    let keys = Keys::Writer(Box::new(bench.identity.credential(bench.id)));
    let writer = bench.try_open(keys, &bench.path("writer")).expect("it opens");
    let report = check(&writer, CheckOptions::default(), &Silent).expect("a check");
    assert_eq!(report.frozen.len(), 1, "{:?}", report.frozen);
}

#[test]
fn the_listings_that_a_snapshot_needs_are_known_without_reading_any() {
    let server = S3Server::start();
    let bench = written_as(&server, "STANDARD", 3);
    bench.write("later.txt", "another snapshot");
    bench.snapshot();
    let metas = server.move_to_class(BUCKET, "archive/meta/", DEEP);
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let error = Snapshot::open(&trees, row.clone()).err().expect("it is frozen");
    assert!(error.is_frozen(), "{error}");
    let (name, _) = error.object_and_reason();
    let mut needed = plan_listings(&repository, &row, &name.into(), &Silent).expect("a plan");
    let cold = needed.states().cold;
    assert!(cold > 0 && cold as usize <= metas, "{cold} of {metas}");
    thaw(&repository, &mut needed, Tier::Standard, 3, &Silent).expect("thaws");
    server.advance(Duration::from_secs(12 * 3600));
    needed.look(&repository, &Silent).expect("a look");
    assert_eq!(states(needed.states()), [0, 0, cold]);
    assert_eq!(planned(&repository, &bench).files, 4);
}

#[test]
fn a_new_host_opens_by_checkpoints_when_old_entries_are_frozen() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, settings("STANDARD"));
    for number in 0..33 {
        bench.write("notes.txt", format!("{number}"));
        bench.snapshot();
    }
    // The owner vouches for the checkpoints.
    let mark = |repository: &Repository| {
        let time = Time { seconds: 1_700_000_000, nanos: 0 };
        repository.commit(|| Ok(Some(LogEntry::new(time)))).expect("a commit");
    };
    mark(&bench.open());
    for number in 1..32 {
        server.move_to_class(BUCKET, &format!("archive/log/{number:016}"), "GLACIER");
    }
    let keys = || Keys::Reader(bench.identity.clone());
    let fresh = bench.try_open(keys(), &bench.path("fresh")).expect("it opens");
    assert_eq!(fresh.catalog.snapshots().expect("snapshots").len(), 33);
    // A frozen checkpoint counts as missing, so the entries themselves are needed.
    server.move_to_class(BUCKET, "archive/checkpoints/", "GLACIER");
    let error = bench.try_open(keys(), &bench.path("none")).expect_err("the log is frozen");
    assert!(error.is_frozen(), "{error}");
    server.move_to_class(BUCKET, "archive/log/", "STANDARD");
    bench.try_open(keys(), &bench.path("entries")).expect("it opens");
}
