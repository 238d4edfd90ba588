//! Checkpoints of the log: a new host reads few bytes and learns the same as from every entry, even if the checkpoints
//! are bad.

mod forged;
mod measured;
mod writing;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use icecore_engine::codec::{Author, NOTHING_SEEN, random, seen};
use icecore_engine::error::Error;
use icecore_engine::format::checkpoint::Slot;
use icecore_engine::format::pack::encode_table;
use icecore_engine::format::{
    ChunkId, Codec, Digest, Frame, LogEntry, LogHeader, PackId, PackKind, PackRange, PackRecord,
    PathsKey, SnapshotEntry, SnapshotId, Time,
};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, PackState, Repository};
use icecore_engine::store::layout;
use icecore_testkit::S3Server;

use crate::setup::{BUCKET, Bench, small_packs};

const TIME: Time = Time { seconds: 1_700_000_000, nanos: 0 };

/// Returns a minimal entry, or now and then one with a pack, a tombstone or a dropped snapshot.
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

/// Appends entries like hosts do, each with its own commit.
fn commit(repository: &Repository, count: u64) {
    for _ in 0..count {
        let next = repository.catalog.position().expect("a position").number + 1;
        repository.commit(|| Ok(Some(adding(next)))).expect("a commit");
    }
}

/// Returns the same entry without statements that only the owner may make.
fn adding(number: u64) -> LogEntry {
    LogEntry { dropped: Vec::new(), tombstones: Vec::new(), ..entry(number) }
}

/// Adds an entry of the owner, which vouches for all entries before it.
fn vouch(bench: &Bench) {
    let keys = Keys::Reader(bench.identity.clone());
    let owner = bench.try_open(keys, &bench.path("owner-of-all")).expect("it opens");
    commit(&owner, 1);
}

/// The end of a chain of entries: the number of the next one, the digest of the object before it, and the running hash.
#[derive(Clone, Copy)]
struct End {
    number: u64,
    head: Digest,
    seen: Digest,
}

impl End {
    /// Seals the next entry of the chain, and advances.
    fn seal(&mut self, repository: &Repository, entry: LogEntry, author: &Author) -> Vec<u8> {
        let entry = LogEntry { previous: self.head, seen: Some(self.seen), ..entry };
        let header = LogHeader {
            repository: repository.config.repository,
            number: self.number,
            salt: random(),
            version: 1,
            flags: 0,
        };
        let object = repository.secrets.seal_log(&header, &entry, author).expect("it is signed");
        let opened = repository.secrets.open_log(self.number, &object).expect("it opens");
        self.take(Slot { digest: hash(&object), content: Some(opened.content) });
        object
    }

    fn take(&mut self, slot: Slot) {
        let seen = seen(&self.seen, &slot);
        *self = End { number: self.number + 1, head: slot.digest, seen };
    }
}

fn hash(object: &[u8]) -> Digest {
    Digest(*blake3::hash(object).as_bytes())
}

/// Makes entries of an author that follow an object.
fn chain(repository: &Repository, mut end: End, count: u64, author: &Author) -> Vec<Vec<u8>> {
    let numbers = end.number..end.number + count;
    let seal = |number| {
        let mut entry = entry(number);
        // Every tenth entry adds a pack. Its position in the log identifies it.
        for dead in &mut entry.tombstones {
            dead.first = ((dead.first + 1) * 10) << 16;
        }
        end.seal(repository, entry, author)
    };
    numbers.map(seal).collect()
}

/// Puts entries of the owner into the log of a new repository without writing checkpoints.
fn fill(bench: &Bench, count: u64, put: impl Fn(&str, &[u8])) {
    let repository = open(bench, "filler");
    let owner = bench.identity.owner(bench.id);
    let begin = End { number: 1, head: repository.genesis(), seen: NOTHING_SEEN };
    for (number, object) in (1..).zip(&chain(&repository, begin, count, &owner)) {
        put(&layout::log(number), object);
    }
}

/// Puts objects into a folder directly, without a store.
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

/// Returns everything that a catalog knows from the log.
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
        catalog.open_ranges().expect("sizes"),
    )
}

/// Returns the damaged objects that a check finds.
fn damaged(bench: &Bench) -> BTreeSet<String> {
    let repository = open(bench, "checker");
    let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
    let errors = report.errors.into_iter().map(|damage| damage.object.to_string());
    // The packs of these entries never existed.
    errors.filter(|name| !name.starts_with("hot/")).collect()
}

#[test]
fn ten_thousand_entries_are_read_with_few_requests() {
    let bench = Bench::local(small_packs());
    fill(&bench, 9_999, into_folder(&bench));
    let begun = Instant::now();
    let singly = open(&bench, "singly");
    let singly_took = begun.elapsed();
    let read = singly.store.requests();
    assert_eq!((read.get, read.list), (1 + 9_999, 2), "config and every entry");
    commit(&singly, 1);
    assert_eq!(bench.under("checkpoints/").len(), 312 + 9);
    assert_eq!(singly.catalog.checkpointed().expect("a number"), 9_984);

    let begun = Instant::now();
    let fresh = open(&bench, "fresh");
    let took = begun.elapsed();
    let read = fresh.store.requests();
    let (get, list, bytes) = (read.get, read.list, read.bytes_fetched);
    eprintln!(
        "10,000 entries: {get} GET, {list} LIST, {bytes} bytes, {took:.1?}; singly {singly_took:.1?}"
    );
    // The first parts of 9 checkpoints of 1024 entries and 24 of 32, then 16 entries; the config, and the last entry
    // again.
    assert_eq!(read.get, 9 + 24 + 16 + 2);
    assert_eq!(read.list, 2);
    // Before entries were signed, an entry had 1,108 bytes.
    assert!(bytes <= 10_000 * 1_108 * 3 / 2, "{bytes} bytes");
    assert_eq!(state(&fresh), state(&singly));

    // A host that was away for a long time also reads the new entries from checkpoints.
    let few = Bench::local(small_packs());
    let away = open(&few, "away");
    commit(&away, 5);
    let other = open(&few, "other");
    commit(&other, 94);
    vouch(&few);
    other.sync().expect("it reads on");
    let before = away.store.requests();
    away.sync().expect("it reads on");
    let read = away.store.requests().since(&before);
    // The last entry that it knew; three first parts; four entries after them.
    assert_eq!((read.get, read.list), (1 + 3 + 4, 2));
    assert_eq!(state(&away), state(&other));
    let before = away.store.requests();
    commit(&other, 20);
    away.sync().expect("it reads on");
    assert_eq!(away.store.requests().since(&before).list, 1, "few entries are new");
    assert_eq!(state(&away), state(&other));
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

    // Other hosts continue from there, so their history differs from those of the checkpoint and of the owner.
    commit(&fresh, 30);
    let forked = owner.sync().expect_err("another history");
    assert!(matches!(forked, Error::Forked { number: 70 }), "{forked}");
    assert_eq!(state(&open(&bench, "another")), state(&fresh));
    assert_eq!(damaged(&bench), BTreeSet::from([beyond]));

    // The store returns the original entries again.
    for (number, object) in (41..).zip(&cut) {
        std::fs::write(path(number), object).expect("it is back");
    }
    owner.sync().expect("what it knows");
    assert_eq!(state(&open(&bench, "back")), newer);
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
    // The object after a range names the last entry of the range: the next checkpoint, or the next entry.
    std::fs::remove_file(path(32)).expect("it goes");
    assert_eq!(state(&open(&bench, "named by a checkpoint")), state(&owner));
    std::fs::write(path(64), "no entry").expect("it is damaged");
    std::fs::remove_file(path(65)).expect("it goes");
    // No entry of the owner names the next one, so the log ends there for a host that has not read it before.
    let cut = open(&bench, "gap");
    assert!(cut.has_doubts().expect("a look"), "{:?}", cut.catalog.void_entries());
    drop(cut);
    commit(&owner, 26);
    assert_eq!(state(&open(&bench, "two gaps")), state(&owner));
}
