//! Tests of second copies: they are consistent at every moment, verified, and refused for anything that is not a copy.

mod dying;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use icecore_engine::error::{Error, MirrorError};
use icecore_engine::format::authority::Rights;
use icecore_engine::format::{LogKey, Time};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::mirror::{MirrorSummary, MirrorTarget, Origin, copy, plan};
use icecore_engine::ops::prune;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::ops::writers::{self, NewWriter};
use icecore_engine::progress::{Progress, Silent};
use icecore_engine::repo::{Keys, Repository, StoredConfig};
use icecore_engine::store::{Location, Store, StoreOptions, layout};
use icecore_testkit::tree;
use tempfile::TempDir;

use crate::setup::{Bench, Dice, Log, Restore, flip, small_packs};
use dying::Dying;

const NOW: Time = Time { seconds: 1_800_000_000, nanos: 0 };

fn target(location: Location) -> MirrorTarget {
    let options = StoreOptions::default();
    let (store, pack_class, hot_class) = (None, None, None);
    MirrorTarget { location, options, store, pack_class, hot_class, time: NOW }
}

fn folder_target(bench: &Bench, name: &str) -> MirrorTarget {
    target(Location::Folder(bench.path(name)))
}

fn bucket_target(bucket: &Dying) -> MirrorTarget {
    let store = bucket.store();
    let class = Some("STANDARD".to_owned());
    MirrorTarget {
        store: Some(store.clone()),
        pack_class: class.clone(),
        hot_class: class,
        ..target(store.location().clone())
    }
}

fn mirror(origin: &Origin, to: &MirrorTarget) -> Result<MirrorSummary, Error> {
    let planned = plan(origin, to, &Silent)?;
    copy(origin, &planned, &Silent)
}

/// Mirrors the archive with the key of a log reader.
#[track_caller]
fn mirrored(bench: &Bench, to: &MirrorTarget) -> MirrorSummary {
    mirror(&Origin::Open(&log_reader(bench)), to).expect("a mirror")
}

/// Opens the archive as a host that can only open the log.
fn log_reader(bench: &Bench) -> Repository {
    let key = LogKey::of(&bench.identity.credential(bench.id));
    let key = LogKey::decode(&key.encode()).expect("a key");
    let keys = Keys::Writer(Box::new(key.credential()));
    bench.try_open(keys, &bench.path("log reader")).expect("it opens")
}

fn objects(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let listed = store.list("", None).expect("a listing");
    let read = |name: String| {
        let content = store.get(&name, 1 << 30).expect("an object").to_vec();
        (name, content)
    };
    listed.into_iter().map(|object| read(object.name)).collect()
}

fn open_at(store: Store, keys: Keys, cache: &Path) -> Result<Repository, Error> {
    let config = StoredConfig::read(&store)?;
    Repository::open(store, config, keys, cache)
}

/// Opens a mirror as a new host, checks it, and restores every snapshot in its log. Returns the number of snapshots.
#[track_caller]
fn assert_whole(bench: &Bench, store: &Store, kept: &BTreeMap<String, PathBuf>) -> usize {
    if store.length(layout::CONFIG).expect("a look").is_none() {
        return 0;
    }
    let temp = TempDir::new().expect("a folder");
    let keys = Keys::Reader(bench.identity.clone());
    let cache = temp.path().join("cache");
    let repository = open_at(store.clone(), keys, &cache).expect("the mirror opens");
    let options = CheckOptions { read_data: true, subset: None };
    let report = check(&repository, options, &Log::default()).expect("a check");
    assert_eq!(report.errors, []);
    let rows = repository.catalog.snapshots().expect("snapshots");
    for row in &rows {
        let name = row.entry.id.to_string();
        let (out, log) = (temp.path().join(&name), Log::default());
        let restored = Restore::default()
            .run(&repository, &name, &bench.library, &out, &log)
            .expect("a restore");
        assert_eq!((restored.files_failed, log.problems()), (0, vec![]));
        tree::assert_same(&kept[&name], &out);
    }
    rows.len()
}

/// A library over some nights, with its state at each snapshot.
struct Life {
    bench: Bench,
    kept: BTreeMap<String, PathBuf>,
}

impl Life {
    fn new() -> Life {
        let life = Life { bench: Bench::local(small_packs()), kept: BTreeMap::new() };
        life.bench.write_photos("stays", 2, 300_000);
        life
    }

    fn night(&mut self, number: u64) {
        let bench = &self.bench;
        if number > 0 {
            let _ = std::fs::remove_dir_all(bench.library.join(format!("shoot{}", number - 1)));
        }
        bench.write_photos(&format!("shoot{number}"), 2, 400_000);
        bench.write(&format!("notes/{number}.txt"), format!("night {number}"));
        let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent);
        let id = taken.expect("a snapshot").id.expect("it was taken").to_string();
        let copy = bench.path(&format!("kept-{id}"));
        let copied =
            std::process::Command::new("cp").arg("-a").arg(&bench.library).arg(&copy).status();
        assert!(copied.expect("cp runs").success());
        self.kept.insert(id, copy);
    }

    /// Drops the oldest snapshots, and deletes the objects that only they need.
    fn prune(&self, keep: usize) {
        let keys = self.bench.pruner();
        let repository = self.bench.try_open(keys, &self.bench.path("pruner")).expect("it opens");
        let rows = repository.catalog.snapshots().expect("snapshots");
        let old = rows.iter().rev().skip(keep).map(|row| row.entry.id).collect();
        let terms = Terms { end_window: true, ..Terms::default() };
        let prices = Prices::built_in(None);
        let terms = terms.at(&prices, NOW);
        let plan = prune::plan(&repository, &old, terms, &Silent).expect("a plan");
        prune::prune(&repository, &plan, NOW, &Silent).expect("a prune");
    }

    /// Returns a library after six nights and two prunes.
    fn lived() -> Life {
        let mut life = Life::new();
        for number in 0..3 {
            life.night(number);
        }
        life.prune(1);
        for number in 3..5 {
            life.night(number);
        }
        life.prune(2);
        life.night(5);
        life
    }
}

/// Returns the names of objects that differ between a mirror and its archive.
fn differences(from: &Store, to: &Store) -> Vec<String> {
    let (from, to) = (objects(from), objects(to));
    let mut names: Vec<String> = from
        .keys()
        .chain(to.keys())
        .filter(|name| from.get(*name) != to.get(*name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    // A run that ends while it tests the location leaves its test objects.
    names.retain(|name| name != layout::RESERVE && !name.starts_with(layout::PROBE));
    names
}

#[test]
fn a_mirror_is_the_same_and_grows_by_what_is_new() {
    let mut life = Life::lived();
    let to = folder_target(&life.bench, "mirror");
    let first = mirrored(&life.bench, &to);
    let store = Store::open(&to.location, &StoreOptions::default()).expect("a store");
    assert_eq!(differences(&life.bench.store(), &store), [layout::MIRROR]);
    let all = life.bench.objects();
    assert_eq!(first.objects, all.len() as u64);
    assert_eq!(first.bytes, all.values().sum::<u64>(), "each byte is copied once");
    assert_eq!(assert_whole(&life.bench, &store, &life.kept), 3);
    // Nothing is new, so nothing is copied.
    let again = mirrored(&life.bench, &to);
    assert_eq!((again.objects, again.deleted), (0, 0));
    // After another night and a prune, new objects are copied and tombstoned ones deleted.
    life.night(6);
    life.prune(1);
    let third = mirrored(&life.bench, &to);
    assert!(third.objects > 3 && third.deleted > 0, "{third:?}");
    assert_eq!(differences(&life.bench.store(), &store), [layout::MIRROR]);
    assert_eq!(assert_whole(&life.bench, &store, &life.kept), 1);
}

#[test]
fn a_host_without_any_key_copies_bytes() {
    let mut life = Life::lived();
    let to = folder_target(&life.bench, "mirror");
    let from = life.bench.store();
    mirror(&Origin::Sealed(&from), &to).expect("a mirror");
    let store = Store::open(&to.location, &StoreOptions::default()).expect("a store");
    assert_eq!(differences(&from, &store), [layout::MIRROR]);
    assert_eq!(assert_whole(&life.bench, &store, &life.kept), 3);
    life.night(6);
    life.prune(1);
    let second = mirror(&Origin::Sealed(&from), &to).expect("a mirror");
    assert_eq!(second.deleted, 0, "it cannot know what may be deleted");
    assert_eq!(assert_whole(&life.bench, &store, &life.kept), 1);
    // A later run with a key deletes them.
    let tidied = mirrored(&life.bench, &to);
    assert!(tidied.objects == 0 && tidied.deleted > 0, "{tidied:?}");
    assert_eq!(differences(&from, &store), [layout::MIRROR]);
}

#[test]
fn the_key_of_a_log_reader_neither_reads_nor_writes() {
    let life = Life::lived();
    let reader = log_reader(&life.bench);
    assert!(!reader.can_read());
    let options = life.bench.snapshot_options();
    let refused = snapshot(&reader, &options, &Silent).map(drop);
    assert!(matches!(refused, Err(Error::NotEnrolled)), "{refused:?}");
    let made = writers::new_credential(&reader).map(drop);
    assert!(made.is_err(), "it makes no credential");
    let credential = &life.bench.identity.credential(life.bench.id);
    let new = NewWriter { credential, label: "x", rights: Rights::ADD };
    let refused = writers::enrol(&reader, &new, NOW);
    assert!(refused.is_err(), "it enrols no writer");
}

#[test]
fn a_mirror_is_not_written_to() {
    let life = Life::lived();
    let to = folder_target(&life.bench, "mirror");
    mirrored(&life.bench, &to);
    let open = |keys: Keys| {
        let store = Store::open(&to.location, &StoreOptions::default()).expect("a store");
        open_at(store, keys, &life.bench.path("at the mirror")).expect("it opens")
    };
    let credential = life.bench.identity.credential(life.bench.id);
    let writer = open(Keys::Writer(Box::new(credential)));
    let before = objects(&writer.store);
    let refused = snapshot(&writer, &life.bench.snapshot_options(), &Silent).map(drop);
    assert!(matches!(refused, Err(Error::Mirror(MirrorError::ReadOnly { .. }))), "{refused:?}");
    let owner = open(Keys::Reader(life.bench.identity.clone()));
    let refused = prune::set_undelete_days(&owner, 3, NOW).map(drop);
    assert!(matches!(refused, Err(Error::Mirror(MirrorError::ReadOnly { .. }))), "{refused:?}");
    assert!(objects(&writer.store) == before, "something was written");
}

#[test]
fn what_is_no_copy_is_refused() {
    let mut life = Life::lived();
    let bench = &life.bench;
    let reader = log_reader(bench);
    let sealed = bench.store();
    let refuse = |to: &MirrorTarget| {
        let open = mirror(&Origin::Open(&reader), to).expect_err("it is refused");
        let without = mirror(&Origin::Sealed(&sealed), to).expect_err("it is refused");
        assert_eq!(open.to_string(), without.to_string());
        open
    };
    let is = |error: Error, wanted: fn(&MirrorError) -> bool| {
        assert!(matches!(&error, Error::Mirror(found) if wanted(found)), "{error}");
    };
    is(refuse(&target(bench.location.clone())), |e| matches!(e, MirrorError::Itself { .. }));
    let other = Bench::local(small_packs());
    is(refuse(&target(other.location.clone())), |e| matches!(e, MirrorError::NotMirror { .. }));
    let of_other = folder_target(&other, "mirror");
    mirrored(&other, &of_other);
    is(refuse(&of_other), |e| matches!(e, MirrorError::OtherArchive { .. }));
    std::fs::create_dir(bench.path("full")).expect("a folder");
    std::fs::write(bench.path("full/x.jpg"), "a photo").expect("a file");
    assert!(matches!(refuse(&folder_target(bench, "full")), Error::NotEmpty { .. }));
    // The archive is reset to an earlier state than that of the mirror, and continues from there.
    let to = folder_target(bench, "mirror");
    mirrored(bench, &to);
    let last = bench.under("log/").into_keys().max().expect("an entry");
    let kept = bench.folder().join(&last);
    std::fs::rename(&kept, bench.path("aside")).expect("it is moved");
    let store = bench.store();
    let error = mirror(&Origin::Sealed(&store), &to).expect_err("it is refused");
    is(error, |e| matches!(e, MirrorError::Shorter { .. }));
    life.bench.cache = life.bench.path("other cache");
    life.night(9);
    let store = life.bench.store();
    let error = mirror(&Origin::Sealed(&store), &to).expect_err("it is refused");
    is(error, |e| matches!(e, MirrorError::Differs { .. }));
}

#[test]
fn a_damaged_pack_is_not_copied_until_it_is_whole() {
    let life = Life::lived();
    let pack = life.bench.under("packs/").into_keys().next().expect("a pack");
    let path = life.bench.folder().join(&pack);
    flip(&path, 5000);
    let to = folder_target(&life.bench, "mirror");
    let first = mirrored(&life.bench, &to);
    assert_eq!(first.lacking, 1);
    let store = Store::open(&to.location, &StoreOptions::default()).expect("a store");
    assert_eq!(store.length(&pack).expect("a look"), None);
    flip(&path, 5000);
    let second = mirrored(&life.bench, &to);
    assert_eq!((second.objects, second.lacking), (1, 0));
    assert_eq!(assert_whole(&life.bench, &store, &life.kept), 3);
}

#[test]
fn of_a_log_with_a_gap_the_beginning_is_copied() {
    let life = Life::lived();
    std::fs::remove_file(life.bench.folder().join(layout::log(3))).expect("it is removed");
    let to = folder_target(&life.bench, "mirror");
    let from = life.bench.store();
    let done = mirror(&Origin::Sealed(&from), &to).expect("a mirror");
    assert_eq!((done.head, done.lacking), (2, 1));
    // With a key, the archive does not open before it is repaired.
    let keys = Keys::Reader(life.bench.identity.clone());
    assert!(life.bench.try_open(keys, &life.bench.path("fresh")).is_err());
}

#[test]
fn a_mirror_of_a_mirror_is_one_of_the_first() {
    let life = Life::lived();
    let (one, two) = (folder_target(&life.bench, "one"), folder_target(&life.bench, "two"));
    mirrored(&life.bench, &one);
    let store =
        |to: &MirrorTarget| Store::open(&to.location, &StoreOptions::default()).expect("a store");
    let key = LogKey::of(&life.bench.identity.credential(life.bench.id)).credential();
    let keys = Keys::Writer(Box::new(key));
    let at_one = open_at(store(&one), keys, &life.bench.path("at one")).expect("it opens");
    mirror(&Origin::Open(&at_one), &two).expect("a mirror");
    assert_eq!(differences(&life.bench.store(), &store(&two)), [layout::MIRROR]);
    assert_eq!(assert_whole(&life.bench, &store(&two), &life.kept), 3);
}

/// Number of points of a test run. `ICECORE_MIRROR=1000` tests that many.
fn points() -> u64 {
    std::env::var("ICECORE_MIRROR").map_or(40, |points| points.parse().expect("a number"))
}

#[test]
fn a_bucket_is_whole_wherever_a_run_ends() {
    let life = Life::lived();
    let reader = log_reader(&life.bench);
    let sealed = life.bench.store();
    let origins = [Origin::Open(&reader), Origin::Sealed(&sealed)];
    let mut dice = Dice(7);
    let whole = Dying::new();
    mirror(&origins[0], &bucket_target(&whole)).expect("a mirror");
    let operations = whole.operations() as u64;
    let (mut seen, mut runs) = (BTreeMap::new(), 0);
    while runs < points() {
        let bucket = Dying::new();
        let origin = origins[dice.roll(2) as usize];
        // Each run gets a little further, until one completes.
        loop {
            let left = 1 + dice.roll(operations).max(dice.roll(operations)) as i64;
            let dying = bucket.for_operations(left, dice.roll(2) == 0);
            let done = mirror(&origin, &bucket_target(&dying));
            runs += 1;
            let shown = assert_whole(&life.bench, &bucket.store(), &life.kept);
            *seen.entry(shown).or_insert(0) += 1;
            if done.is_ok() {
                break;
            }
        }
        assert_eq!(differences(&sealed, &bucket.store()), [layout::MIRROR]);
    }
    println!("{runs} runs; snapshots that were there after them: {seen:?}");
}

#[test]
fn an_archive_lives_on_while_it_is_copied() {
    let mut dice = Dice(3);
    let mut seen: BTreeMap<usize, u64> = BTreeMap::new();
    let mut runs = 0;
    while runs < points() {
        let mut life = Life::new();
        life.night(0);
        let bucket = Dying::new();
        for number in 1..8 {
            life.night(number);
            if dice.roll(3) == 0 {
                life.prune(1 + dice.roll(3) as usize);
            }
            let dying = bucket
                .for_operations(1 + dice.roll(160).max(dice.roll(160)) as i64, dice.roll(2) == 0);
            let (reader, sealed) = (log_reader(&life.bench), life.bench.store());
            let origin = match dice.roll(3) {
                0 => Origin::Sealed(&sealed),
                _ => Origin::Open(&reader),
            };
            _ = mirror(&origin, &bucket_target(&dying));
            runs += 1;
            *seen.entry(assert_whole(&life.bench, &bucket.store(), &life.kept)).or_default() += 1;
        }
        mirrored(&life.bench, &bucket_target(&bucket));
        assert_eq!(differences(&life.bench.store(), &bucket.store()), [layout::MIRROR]);
    }
    println!("{runs} runs; snapshots that were there after them: {seen:?}");
}

/// Interrupts a run after it has asked this many times.
struct StopAt(AtomicI64);

impl Progress for StopAt {
    fn interrupted(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) <= 0
    }
}

#[test]
fn a_folder_is_whole_wherever_a_run_ends() {
    let life = Life::lived();
    let reader = log_reader(&life.bench);
    let sealed = life.bench.store();
    let origins = [Origin::Open(&reader), Origin::Sealed(&sealed)];
    let mut dice = Dice(11);
    let objects = life.bench.objects().len() as u64;
    for round in 0..points() / 8 {
        let to = folder_target(&life.bench, &format!("mirror{round}"));
        let origin = origins[dice.roll(2) as usize];
        loop {
            let stop = StopAt(AtomicI64::new(1 + dice.roll(objects) as i64));
            let planned = plan(&origin, &to, &Silent).expect("a plan");
            let done = copy(&origin, &planned, &stop);
            let store = Store::open(&to.location, &StoreOptions::default()).expect("a store");
            assert_whole(&life.bench, &store, &life.kept);
            if done.is_ok() {
                assert_eq!(differences(&sealed, &store), [layout::MIRROR]);
                break;
            }
        }
    }
}
