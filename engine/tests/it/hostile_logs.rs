//! Generates hostile logs: random sequences of valid and invalid entries by the owner, writers, revoked writers and
//! strangers. Whatever the entries contain, the repository opens, and its state is the one that a simple implementation
//! of the rules computes (format-spec.md 6.1 and 6.2). Nothing that a genuine host stores relies on packs of a revoked
//! writer.
//!
//! `ICECORE_HOSTILE_LOGS=10000` generates that many logs. `ICECORE_SEED` sets the first seed. Each seed that fails is
//! printed.

mod cast;
mod compare;
mod directed;
mod later;
mod menu;
mod reference;
mod statements;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use icecore_engine::error::Error;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Opening, Purpose, Repository, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreOptions, layout};
use object_store::memory::InMemory;
use tempfile::TempDir;

use self::cast::Cast;
use self::compare::assert_means;
use self::later::Settled;
use self::menu::Log;

/// The store of a generated log, and the caches of its readers.
pub struct Place {
    pub store: Store,
    pub temp: TempDir,
}

impl Place {
    /// Puts the objects that all logs begin with, and the packs of this log.
    fn new(log: &Log) -> Place {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let options = StoreOptions { retry_for: Duration::ZERO, ..StoreOptions::default() };
        let store = match log.is_bucket {
            true => {
                let location = Location::parse("s3://hostile").expect("a URL");
                Store::over(Arc::new(InMemory::new()), &location, &options)
            }
            false => {
                let location = Location::Folder(temp.path().join("repository"));
                Store::create_folder(&location).expect("a folder");
                Store::open(&location, &options)
            }
        };
        let place = Place { store: store.expect("a store"), temp };
        let is_parity = |name: &str| log.is_bucket && name.starts_with("parity/");
        for (name, object) in &log.cast.objects {
            if !is_parity(name) && !name.starts_with("log/") {
                place.create(name, object.clone());
            }
        }
        for (name, object) in &log.packs {
            place.create(name, object.clone());
        }
        place
    }

    fn create(&self, name: &str, object: bytes::Bytes) {
        let is_created = self.store.create(name, "", object.clone()).expect("a put");
        assert!(is_created || self.store.get(name, 64 << 20).is_ok_and(|there| there == object));
    }

    /// Puts a range of the slots.
    pub fn put(&self, log: &Log, slots: std::ops::Range<usize>) {
        for (slot, number) in log.slots[slots.clone()].iter().zip(slots.start as u64 + 1..) {
            self.create(&layout::log(number), slot.object.clone());
        }
    }

    pub fn cache(&self, name: &str) -> std::path::PathBuf {
        self.temp.path().join(name)
    }

    pub fn try_open(&self, keys: Keys, cache: &str, purpose: Purpose) -> Result<Repository, Error> {
        let config = StoredConfig::read(&self.store)?;
        let cache = self.cache(cache);
        let opening = Opening { purpose, cache_dir: &cache, progress: &Silent };
        Repository::open_for(opening, self.store.clone(), config, keys)
    }

    /// Opens the repository with the identity.
    pub fn open(&self, cast: &Cast, cache: &str) -> Repository {
        let keys = Keys::Reader(cast.identity.clone());
        self.try_open(keys, cache, Purpose::Use).expect("a log that anybody wrote into opens")
    }
}

/// Counts of a campaign.
#[derive(Default, Debug)]
struct Seen {
    logs: AtomicU64,
    entries: AtomicU64,
    void: AtomicU64,
    apart: AtomicU64,
    snapshots: AtomicU64,
    /// Number of logs with which a genuine host continued, and number of prunes that deleted something.
    went_on: AtomicU64,
    deleted: AtomicU64,
}

fn one(cast: &Cast, seed: u64, seen: &Seen) {
    let is_bucket = !seed.is_multiple_of(3);
    let settled = Settled::contents(seed);
    let wanted: Vec<_> = settled.iter().map(|content| cast.chunk_of(content.as_bytes())).collect();
    let mut log = Log::generate(cast, seed, is_bucket, &wanted);
    let place = Place::new(&log);
    // One host reads half of the log and then the rest. Another one reads everything at once.
    let half = log.slots.len() / 2;
    place.put(&log, 0..half);
    drop(place.open(cast, "along"));
    place.put(&log, half..log.slots.len());
    for (number, slot) in &log.behind {
        place.create(&layout::log(*number), slot.object.clone());
    }
    let meaning = log.meaning();
    assert_means(&place.open(cast, "along"), &meaning);
    let repository = place.open(cast, "anew");
    assert_means(&repository, &meaning);
    // A host with a stolen credential reads the same state.
    let keys = Keys::Writer(Box::new(cast.identity.credential(cast.id)));
    let robbed = place.try_open(keys, "robbed", Purpose::Use).expect("it opens");
    assert_means(&robbed, &meaning);
    drop(robbed);
    look(&repository);
    let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
    let doubts = meaning.void.values().filter(|dismissed| !**dismissed).count();
    assert!(report.errors.len() >= doubts + meaning.behind.len(), "{:?}", report.errors);
    drop(repository);
    let add = |to: &AtomicU64, count: usize| to.fetch_add(count as u64, Ordering::Relaxed);
    add(&seen.logs, 1);
    add(&seen.entries, log.slots.len());
    add(&seen.void, meaning.void.len());
    add(&seen.apart, meaning.apart().len());
    add(&seen.snapshots, meaning.visible().len());
    let mut gone = later::prune(cast, &place, seed, &[cast.base.snapshots[0].id]);
    if log.is_tame {
        gone += later::check_interrupted(cast, &place, &mut log, &settled, seed);
        add(&seen.went_on, 1);
    }
    add(&seen.deleted, usize::from(gone > 0));
}

/// Resolves and opens visible snapshots. False snapshots must not stop this.
fn look(repository: &Repository) {
    let trees = TreeReader::new(repository).expect("a reader of trees");
    let visible = repository.catalog.snapshots().expect("snapshots");
    let latest = browse::resolve(repository, "latest");
    assert_eq!(latest.ok().map(|row| row.entry.id), visible.last().map(|row| row.entry.id));
    for row in visible.into_iter().rev().take(3) {
        if let Ok(snapshot) = Snapshot::open(&trees, row) {
            _ = snapshot.find(b"etc");
        }
    }
}

/// Tests logs in two threads. Fails with a list of the seeds that fail.
fn campaign(from: u64, count: u64) {
    let (cast, seen) = (Cast::new(), Seen::default());
    let (next, begun) = (AtomicU64::new(from), Instant::now());
    let run = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return failed;
            }
            if catch_unwind(AssertUnwindSafe(|| one(&cast, seed, &seen))).is_err() {
                println!(
                    "the log of seed {seed} fails: ICECORE_HOSTILE_LOGS=1 ICECORE_SEED={seed}"
                );
                failed.push(seed);
            }
        }
    };
    let failed: Vec<u64> = std::thread::scope(|threads| {
        let runs = [(); 2].map(|()| threads.spawn(run));
        runs.into_iter().flat_map(|run| run.join().expect("it counts")).collect()
    });
    println!("seeds {from} to {}: {seen:?}, {:?}", from + count - 1, begun.elapsed());
    assert!(failed.is_empty(), "seeds of logs that fail: {failed:?}");
    let count_of = |number: &AtomicU64| number.load(Ordering::Relaxed);
    if count >= 100 {
        // The generator must produce interesting logs.
        assert!(count_of(&seen.void) > count && count_of(&seen.apart) > count / 10);
        assert!(count_of(&seen.went_on) > count / 4 && count_of(&seen.deleted) > count / 10);
    }
}

#[test]
fn whatever_is_put_into_a_log_it_means_what_the_rules_say() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |given| given.parse().expect("a number"))
    };
    campaign(number("ICECORE_SEED", 1), number("ICECORE_HOSTILE_LOGS", 100));
}
