//! Checkpoints of the log: a fresh host reads few objects and knows what reading every entry tells,
//! whatever the checkpoints are worth; and nobody fails for want of one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use icecore_engine::codec::Identity;
use icecore_engine::codec::random;
use icecore_engine::error::Error;
use icecore_engine::format::pack::encode_table;
use icecore_engine::format::{
    Checkpoint, ChunkId, Codec, Digest, Frame, LogEntry, LogHeader, PackId, PackKind, PackRange,
    PackRecord, PathsKey, SnapshotEntry, SnapshotId, Time,
};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{self, reclaim::Terms};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, PackState, Repository};
use icecore_engine::store::layout;
use icecore_testkit::{Bill, Fault, RequestHead, S3Server, photos, tree};

use crate::bill::assert_close;
use crate::prune::after;
use crate::setup::{BUCKET, Bench, small_packs};

const TIME: Time = Time { seconds: 1_700_000_000, nanos: 0 };

/// An entry as small as they come, now and then one with a pack, a tombstone or a dropped snapshot.
fn entry(number: u64) -> LogEntry {
    let id = |number: u64| SnapshotId((u128::from(number) << 64).to_le_bytes());
    let snapshot = SnapshotEntry {
        id: id(number),
        time: Time { seconds: TIME.seconds + number as i64, nanos: 0 },
        host: "host".to_owned(),
        tags: Vec::new(),
        record: ChunkId([7; 32]),
        files: number,
        bytes: number,
        packs: Vec::new(),
        paths_key: PathsKey([1; 16]),
        history: None,
        marked: None,
        sources: None,
    };
    let mut entry = LogEntry { snapshots: vec![snapshot], ..LogEntry::new(TIME) };
    if number.is_multiple_of(10) {
        let frame = Frame {
            id: ChunkId(random()),
            raw_bytes: 100,
            stored_bytes: 116,
            codec: Codec::Stored,
        };
        entry.packs.push(PackRecord {
            id: PackId(random()),
            kind: PackKind::Hot,
            bytes: 4096,
            digest: Digest([2; 32]),
            crc64: number,
            class: String::new(),
            table: encode_table(&[frame]).into(),
        });
        entry.dropped.push(id(number - 5));
    }
    if number.is_multiple_of(50) {
        entry.tombstones.push(PackRange { first: number / 10 - 3, count: 1 });
    }
    entry
}

fn open(bench: &Bench, cache: &str) -> Repository {
    try_open(bench, cache).expect("it opens")
}

fn try_open(bench: &Bench, cache: &str) -> Result<Repository, Error> {
    bench.try_open(Keys::Writer(Box::new(bench.identity.credential(bench.id))), &bench.path(cache))
}

/// Appends entries as hosts do, each with a commit of its own.
fn commit(repository: &Repository, count: u64) {
    for _ in 0..count {
        let next = repository.catalog.position().expect("a position").number + 1;
        repository.commit(|| Ok(Some(adding(next)))).expect("a commit");
    }
}

/// The same without what only the owner may say.
fn adding(number: u64) -> LogEntry {
    LogEntry { dropped: Vec::new(), tombstones: Vec::new(), ..entry(number) }
}

/// Makes sealed entries of the owner that follow an object.
fn chain(
    identity: &Identity,
    repository: &Repository,
    first: u64,
    before: Digest,
    count: u64,
) -> Vec<Vec<u8>> {
    let mut previous = before;
    let numbers = first..first + count;
    let seal = |number| {
        let mut entry = LogEntry { previous, ..entry(number) };
        // Every tenth entry adds a pack. In the log it is known by its place.
        for dead in &mut entry.tombstones {
            dead.first = ((dead.first + 1) * 10) << 16;
        }
        let header = LogHeader {
            repository: repository.config.repository,
            number,
            salt: random(),
            version: 1,
            flags: 0,
        };
        let owner = identity.owner(repository.config.repository);
        let object = repository.secrets.seal_log(&header, &entry, &owner).expect("it is signed");
        previous = Digest(*blake3::hash(&object).as_bytes());
        object
    };
    numbers.map(seal).collect()
}

/// Puts entries into the log of a new repository, by nobody who folds.
fn fill(bench: &Bench, count: u64, put: impl Fn(&str, &[u8])) {
    let repository = open(bench, "filler");
    let entries = chain(&bench.identity, &repository, 1, repository.genesis(), count);
    for (number, object) in (1..).zip(&entries) {
        put(&layout::log(number), object);
    }
}

/// Puts objects into a folder without the care of a store.
fn into_folder(bench: &Bench) -> impl Fn(&str, &[u8]) {
    let folder = bench.folder();
    move |name, object| put(&folder, name, object)
}

fn put(folder: &Path, name: &str, object: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
    std::fs::write(path, object).expect("it is written");
}

fn into_bucket(server: &S3Server) -> impl Fn(&str, &[u8]) {
    |name, object| server.put(BUCKET, &format!("archive/{name}"), object, "STANDARD")
}

/// All that a catalog knows from the log.
fn state(repository: &Repository) -> impl PartialEq + std::fmt::Debug + use<> {
    let catalog = &repository.catalog;
    let packs = [PackState::Committed, PackState::Tombstoned].map(|state| {
        let packs = catalog.packs(state).expect("packs").into_iter();
        let tell = |pack: icecore_engine::repo::PackRow| {
            (pack.id, pack.ordinal, pack.bytes, pack.rows, pack.crc64, pack.added)
        };
        packs.map(tell).collect::<Vec<_>>()
    });
    let rows = [catalog.snapshots(), catalog.dropped_snapshots()];
    (
        catalog.position().expect("a position"),
        rows.map(|rows| rows.expect("snapshots")),
        packs,
        catalog.settings().expect("settings"),
        catalog.unfolded().expect("sizes"),
    )
}

/// The damage that a check finds, by object.
fn damaged(bench: &Bench) -> BTreeSet<String> {
    let repository = open(bench, "checker");
    let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
    let errors = report.errors.into_iter().map(|damage| damage.object);
    // The packs of these entries were never there.
    errors.filter(|name| !name.starts_with("hot/")).collect()
}

fn is_of_checkpoint(head: &RequestHead) -> bool {
    head.path.contains("/checkpoints/") || head.query.contains("checkpoints")
}

#[test]
fn ten_thousand_entries_are_read_with_few_requests() {
    let bench = Bench::local(small_packs());
    fill(&bench, 9_999, into_folder(&bench));
    let begun = Instant::now();
    let singly = open(&bench, "singly");
    let singly_took = begun.elapsed();
    let read = singly.store.requests();
    assert_eq!((read.get, read.list), (1 + 9_999, 3), "config and every entry");
    commit(&singly, 1);
    assert_eq!(bench.under("checkpoints/").len(), 312 + 9);
    assert_eq!(singly.catalog.folded().expect("a number"), 9_984);

    let begun = Instant::now();
    let fresh = open(&bench, "fresh");
    let took = begun.elapsed();
    let read = fresh.store.requests();
    let (get, list) = (read.get, read.list);
    eprintln!("10,000 entries: {get} GET, {list} LIST, {took:.1?}; singly {singly_took:.1?}");
    // 9 · 1024 + 24 · 32 + 16; each checkpoint is proven by an entry; the config, and the last entry
    // once more.
    assert_eq!(read.get, 2 * (9 + 24) + 16 + 2);
    assert_eq!(read.list, 2);
    assert_eq!(state(&fresh), state(&singly));

    // A host that was away for long reads what is new by checkpoints too.
    let few = Bench::local(small_packs());
    let away = open(&few, "away");
    commit(&away, 5);
    let other = open(&few, "other");
    commit(&other, 95);
    let before = away.store.requests();
    away.sync().expect("it reads on");
    let read = away.store.requests().since(&before);
    assert_eq!((read.get, read.list), (1 + 2 * 3 + 4, 2));
    assert_eq!(state(&away), state(&other));
    let before = away.store.requests();
    commit(&other, 20);
    away.sync().expect("it reads on");
    assert_eq!(away.store.requests().since(&before).list, 1, "few entries are new");
    assert_eq!(state(&away), state(&other));
}

#[test]
fn bad_checkpoints_mislead_nobody() {
    let bench = Bench::local(small_packs());
    let owner = open(&bench, "owner");
    commit(&owner, 70);
    assert_eq!(damaged(&bench), BTreeSet::new());
    let truth = state(&owner);
    let folder = bench.folder();
    let read = |name: &str| std::fs::read(folder.join(name)).expect("an object");
    let name = layout::checkpoint(&(33..=64));
    let good = read(&name);
    let entries: Vec<Vec<u8>> = (33..=64).map(|number| read(&layout::log(number))).collect();
    let encode = |first, entries: &[Vec<u8>]| {
        let entries = entries.iter().map(|entry| &entry[..]).collect();
        Checkpoint { repository: bench.id, first, entries }.encode()
    };
    assert!(encode(33, &entries) == good, "entries as they are");
    let before = Digest(*blake3::hash(&read(&layout::log(32))).as_bytes());

    let foreign = bench.sibling(small_packs());
    commit(&open(&foreign, "owner"), 64);
    let foreign = std::fs::read(foreign.folder().join(&name)).expect("an object");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut object = good.clone();
        change(&mut object);
        object
    };
    let replaced = |at: usize, entry: &[u8]| {
        let mut entries = entries.clone();
        entries[at] = entry.to_vec();
        encode(33, &entries)
    };
    // What a holder of the credential can make: entries that open, in a chain of their own.
    let lost = chain(&bench.identity, &owner, 33, before, 32);
    let forged = chain(&bench.identity, &owner, 33, Digest([9; 32]), 32);
    let mut grafted = lost[..31].to_vec();
    grafted.push(entries[31].clone());
    let mut swapped = entries.clone();
    swapped.swap(3, 4);
    let cases = [
        ("torn", good[..good.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("flipped", changed(&|b| b[5000] ^= 1)),
        ("too long a length", changed(&|b| b[44..52].fill(255))),
        ("too high a count", changed(&|b| b[36..44].fill(255))),
        ("one more byte", changed(&|b| b.push(0))),
        ("of a newer version", changed(&|b| b[8] = 2)),
        ("larger than any may be", vec![0; (64 << 20) + 1]),
        ("of the range before", read(&layout::checkpoint(&(1..=32)))),
        ("of another repository", foreign),
        ("too short", encode(33, &entries[..31])),
        ("of another first", encode(32, &entries)),
        ("in another order", encode(33, &swapped)),
        ("ahead of an entry that lost its slot", encode(33, &lost)),
        ("ahead, but for the last", encode(33, &grafted)),
        ("with one forged entry", replaced(7, &lost[7])),
        ("with a forged first entry", replaced(0, &forged[0])),
        ("that follows nothing", encode(33, &forged)),
    ];
    for (number, (what, object)) in cases.into_iter().enumerate() {
        put(&folder, &name, &object);
        let fresh = open(&bench, &format!("fresh-{number}"));
        assert_eq!(state(&fresh), truth, "{what}");
        assert!(fresh.store.requests().get > 32, "{what}: it was used");
        assert_eq!(damaged(&bench), BTreeSet::from([name.clone()]), "{what}");
    }
    // Somebody put a whole history of their own at the end: the entry is what is wrong.
    let newest = layout::log(64);
    put(&folder, &newest, &forged[31]);
    put(&folder, &name, &encode(33, &forged));
    let broken = try_open(&bench, "broken").expect_err("another entry");
    assert!(matches!(&broken, Error::Damaged { object, .. } if *object == newest), "{broken}");
    put(&folder, &newest, &entries[31]);
    std::fs::remove_file(folder.join(&name)).expect("it goes");
    std::fs::create_dir(folder.join(&name)).expect("no file");
    assert_eq!(state(&open(&bench, "no-file")), truth);
    std::fs::remove_dir(folder.join(&name)).expect("it goes");

    // Names of no range are none of ours.
    put(&folder, "checkpoints/0000000000000002-0000000000000033", &good);
    put(&folder, "checkpoints/README", b"not ours");
    assert_eq!(damaged(&bench), BTreeSet::new());
    assert_eq!(state(&open(&bench, "other-names")), truth);
    put(&folder, &name, &good);
    let fresh = open(&bench, "good");
    assert_eq!((state(&fresh) == truth, fresh.store.requests().get), (true, 2 * 2 + 6 + 2));
}

#[test]
fn a_log_that_was_cut_back_is_noticed_and_not_exceeded() {
    let bench = Bench::local(small_packs());
    let owner = open(&bench, "owner");
    commit(&owner, 40);
    let older = state(&owner);
    commit(&owner, 30);
    let newer = state(&owner);
    let path = |number| bench.folder().join(layout::log(number));
    let cut: Vec<Vec<u8>> = (41..=70).map(|n| std::fs::read(path(n)).expect("an entry")).collect();
    (41..=70).for_each(|number| std::fs::remove_file(path(number)).expect("it goes"));
    let cut_back = owner.sync().expect_err("it saw more");
    assert!(matches!(cut_back, Error::RolledBack { seen: 70, found: 40 }), "{cut_back}");
    let fresh = open(&bench, "fresh");
    assert_eq!(state(&fresh), older);
    let beyond = layout::checkpoint(&(33..=64));
    assert_eq!(damaged(&bench), BTreeSet::from([beyond.clone()]));

    // Others go on from there: their history is not that of the checkpoint, nor that of the owner.
    commit(&fresh, 30);
    let forked = owner.sync().expect_err("another history");
    assert!(matches!(forked, Error::Forked { number: 70 }), "{forked}");
    assert_eq!(state(&open(&bench, "another")), state(&fresh));
    assert_eq!(damaged(&bench), BTreeSet::from([beyond]));

    // The store comes back to its senses.
    for (number, object) in (41..).zip(&cut) {
        std::fs::write(path(number), object).expect("it is back");
    }
    owner.sync().expect("what it knows");
    let fresh = open(&bench, "back");
    assert_eq!((state(&fresh) == newer, fresh.store.requests().get), (true, 2 * 2 + 6 + 2));
}

#[test]
fn entries_that_a_checkpoint_has_are_missed_by_a_check_only() {
    let bench = Bench::local(small_packs());
    let owner = open(&bench, "owner");
    commit(&owner, 70);
    let path = |number| bench.folder().join(layout::log(number));
    std::fs::remove_file(path(10)).expect("it goes");
    std::fs::remove_file(path(33)).expect("it goes");
    assert_eq!(state(&open(&bench, "fresh")), state(&owner));
    assert_eq!(damaged(&bench), [10, 33].map(layout::log).into());
    // The last of a range is named by what follows: by the next checkpoint, or by the next entry.
    std::fs::remove_file(path(32)).expect("it goes");
    assert_eq!(state(&open(&bench, "named by a checkpoint")), state(&owner));
    std::fs::write(path(64), "no entry").expect("it is damaged");
    std::fs::remove_file(path(65)).expect("it goes");
    let gap = try_open(&bench, "gap").expect_err("nothing names it");
    assert!(gap.is_rot(), "{gap}");
    commit(&owner, 26);
    assert_eq!(state(&open(&bench, "two gaps")), state(&owner));
}

#[test]
fn what_was_not_folded_is_folded_by_the_next_run() {
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
    // It never arrives, and is not tried again and again.
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

    // It arrives and nobody says so; the next run has a look.
    let owner = open(&bench, "owner");
    commit(&owner, 29);
    fault_on_put(Fault::DropConnectionAfter);
    commit(&owner, 1);
    assert_eq!(owner.catalog.folded().expect("a number"), 32);
    assert_eq!(bench.under("checkpoints/").len(), 2);
    drop(owner);
    puts.store(0, Ordering::SeqCst);
    let owner = open(&bench, "owner");
    commit(&owner, 1);
    assert_eq!((puts.load(Ordering::SeqCst), owner.catalog.folded().expect("it")), (0, 64));
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
    assert_eq!((state(&fresh) == state(&owner), fresh.store.requests().get), (true, 2 + 2));
    // The level below serves where that above is bad.
    put(&bench.folder(), &layout::checkpoint(&(1..=1024)), b"torn");
    let fresh = open(&bench, "again");
    assert_eq!(state(&fresh), state(&owner));
    // The bad ones are met once by listing them alone and once by the names of the entries.
    let read = fresh.store.requests();
    assert_eq!((read.get, read.list), (1 + 2 * (31 + 2 * 2) + 32 + 1, 3));
}

#[test]
fn hosts_that_fold_at_once() {
    let bench = Bench::local(small_packs());
    // Its catalog is there and knows nothing yet.
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
    // Processes of one host that read on at once.
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
        assert!(report.errors.iter().all(|damage| damage.object.starts_with("hot/")));
    }
    server.set_fault(None);
    assert_eq!(bench.under("checkpoints/").len(), 0);
    let taken = bench.snapshot().id.expect("a snapshot");
    assert_eq!(bench.under("checkpoints/").len(), 2);
    tree::assert_same(&bench.library, bench.restored(&taken.to_string(), "out"));
}

/// A snapshot and a prune that fill ranges cost what was predicted.
#[test]
fn folding_is_in_the_predicted_bill() {
    let prices = Prices::built_in(None);
    for entries in [31, 63, 1023] {
        let server = S3Server::start();
        let bench = Bench::s3(&server, small_packs());
        fill(&bench, entries - 1, into_bucket(&server));
        commit(&open(&bench, "host"), 1);
        let folded = bench.under("checkpoints/").len();
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
        let made = bench.under("checkpoints/").len() - folded;
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
        &Terms { end_window: true, ..Terms::default() },
        &prices,
        after(0),
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
