//! The initial state of every case: three hosts with a common archive, made once and copied.
//!
//! A and B archive libraries that share photos; C prunes. When C drops its snapshots, some packs
//! are completely dead. But both libraries again contain the photos that only these packs have, so
//! A and B rely on the packs while C deletes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use icecore_engine::codec::{Identity, random};
use icecore_engine::error::Error;
use icecore_engine::format::{Chunking, RepositoryId, Settings, SnapshotId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{PruneSummary, plan, prune};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Repository, StoredConfig};
use icecore_engine::store::{Location, Store, StoreOptions};
use icecore_testkit::photos;
use icecore_testkit::tree::{self, Node};
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::line::Line;
use super::store::{At, Bucket, Fault, Point, Verb};
use crate::setup::settle;

pub type Library = BTreeMap<Vec<u8>, Node>;

/// The hosts.
pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// When the snapshots of the history are taken; those of the cases are later.
const START: i64 = 1_700_000_000;
const DAY: i64 = 86_400;

/// An archive at one moment: its objects, and the caches of the hosts.
pub struct Moment {
    pub objects: InMemory,
    caches: PathBuf,
    /// The library of each snapshot that is not dropped.
    pub taken: BTreeMap<SnapshotId, Library>,
    /// The only snapshot that needs some of the packs.
    pub doomed: SnapshotId,
}

pub struct Scene {
    folder: TempDir,
    pub identity: Identity,
    pub repository: RepositoryId,
    /// The libraries of the hosts, which are the same in all cases.
    pub libraries: [Library; 2],
    pub moments: Vec<Moment>,
}

/// Returns a temporary folder in memory if possible, because there are many small cases.
fn folder() -> TempDir {
    let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    made.expect("a temporary folder")
}

impl Scene {
    pub fn new() -> Scene {
        let identity = Identity::generate();
        let config = identity.config(
            RepositoryId(random()),
            Chunking {
                bytes_min: 1 << 10,
                bytes_avg: 4 << 10,
                bytes_max: 16 << 10,
                ..Chunking::default()
            },
            Settings {
                // In this class there are no minimum days, during which packs would be kept.
                pack_class: "STANDARD".to_owned(),
                hot_class: "STANDARD".to_owned(),
                pack_bytes: 1 << 20,
                hot_pack_bytes: 1 << 20,
                small_file_bytes: 2 << 10,
                ..Settings::default()
            },
        );
        let mut scene = Scene {
            folder: folder(),
            identity,
            repository: config.repository,
            libraries: Default::default(),
            moments: Vec::new(),
        };
        let bucket = Bucket::new(InMemory::new(), 0);
        let stores = Stores::new();
        stores.turn_to(&bucket);
        Repository::create(stores.nobody(), &scene.identity, &config).expect("a repository");
        scene.history(bucket);
        scene
    }

    /// Makes the history that all cases share.
    fn history(&mut self, bucket: Arc<Bucket>) {
        let now = self.folder.path().join("now");
        let stores = Stores::new();
        stores.turn_to(&bucket);
        let nobody = stores.nobody();
        let mut taken = BTreeMap::new();
        let mut time = START;
        let mut take = |scene: &Scene, host: usize| {
            // Unchanged files are not read again, and rely on their old packs.
            settle();
            time += 1;
            let cache = now.join(NAMES[host]);
            let id = scene.snapshot(nobody, host, &cache, time).expect("a snapshot");
            taken.insert(id, scene.library(host));
            id
        };
        self.write(A, "stays", 1);
        self.write(B, "stays", 1);
        self.write_raw(B, "own", 2);
        take(self, B);
        self.write_raw(A, "comes back", 3);
        self.write(B, "culled", 4);
        let doomed = take(self, A);
        let culled = take(self, B);
        // Host C reads the whole log.
        self.prune(nobody, &now.join("c"), &Policy::default(), &mut |_| {}).expect("a prune");
        self.remove(B, "culled");
        self.write_raw(B, "borrowed", 3);
        self.write_raw(A, "work", 5);
        self.write(B, "work", 5);
        settle();
        self.libraries = [self.library(A), self.library(B)];
        self.remember(&bucket, &now, taken.clone(), doomed);

        // Another history: runs of C and A were killed, so that tombstoned objects still exist, and
        // A has packs that are not in the log.
        let policy = Policy { drop: [culled].into(), ..Policy::default() };
        let objects = killed(bucket.objects(), C, At::First(Verb::Delete, ""), |store| {
            self.prune(store, &now.join("c"), &policy, &mut |_| {}).map(drop)
        });
        taken.remove(&culled);
        let objects = killed(objects, A, At::First(Verb::Put, "log/"), |store| {
            self.snapshot(store, A, &now.join("a"), START + 99).map(drop)
        });
        self.remember(&Bucket::new(objects, 0), &now, taken, doomed);
    }

    /// Keeps a copy of everything.
    fn remember(
        &mut self,
        bucket: &Bucket,
        caches: &Path,
        taken: BTreeMap<SnapshotId, Library>,
        doomed: SnapshotId,
    ) {
        let copy = self.folder.path().join(format!("moment-{}", self.moments.len()));
        copy_caches(caches, &copy);
        self.moments.push(Moment { objects: bucket.objects(), caches: copy, taken, doomed });
    }

    /// Makes the folder of a case, with the caches of the hosts at that moment.
    pub fn enter(&self, moment: &Moment) -> TempDir {
        let case = tempfile::tempdir_in(self.folder.path()).expect("a temporary folder");
        copy_caches(&moment.caches, case.path());
        case
    }

    pub fn path(&self, host: usize) -> PathBuf {
        self.folder.path().join("libraries").join(NAMES[host])
    }

    fn library(&self, host: usize) -> Library {
        tree::snapshot_of(self.path(host))
    }

    /// Writes a folder of two small files.
    fn write(&self, host: usize, name: &str, seed: u64) {
        let folder = self.path(host).join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for number in 0..2 {
            let content = photos::bytes(seed * 10 + number, 300);
            std::fs::write(folder.join(format!("{number}.xmp")), content).expect("a file");
        }
    }

    /// Writes one more file, which is large for this archive.
    fn write_raw(&self, host: usize, name: &str, seed: u64) {
        self.write(host, name, seed);
        let content = photos::bytes(seed * 10 + 5, 7000);
        std::fs::write(self.path(host).join(name).join("0.raw"), content).expect("a file");
    }

    fn remove(&self, host: usize, name: &str) {
        std::fs::remove_dir_all(self.path(host).join(name)).expect("a folder that was there");
    }

    pub fn open(&self, store: &Store, keys: Keys, cache: &Path) -> Result<Repository, Error> {
        Repository::open(store.clone(), StoredConfig::read(store)?, keys, cache)
    }

    fn writer(&self) -> Keys {
        Keys::Writer(Box::new(self.identity.credential(self.repository)))
    }

    pub fn reader(&self) -> Keys {
        Keys::Reader(self.identity.clone())
    }

    /// Takes a snapshot of a host's library like the program does.
    pub fn snapshot(
        &self,
        store: &Store,
        host: usize,
        cache: &Path,
        seconds: i64,
    ) -> Result<SnapshotId, Error> {
        let options = SnapshotOptions {
            paths: vec![self.path(host)],
            host: NAMES[host].to_owned(),
            time: Time { seconds, nanos: 0 },
            program: "icecore test".to_owned(),
            ..SnapshotOptions::default()
        };
        let done = snapshot(&self.open(store, self.writer(), cache)?, &options, &Silent)?;
        assert_eq!(done.totals.files_failed, 0);
        Ok(done.id.expect("it is no dry run"))
    }

    /// Prunes like the program does. Calls `dropping` with the snapshots to drop before any of them
    /// is dropped.
    pub fn prune(
        &self,
        store: &Store,
        cache: &Path,
        policy: &Policy,
        dropping: &mut dyn FnMut(&BTreeSet<SnapshotId>),
    ) -> Result<PruneSummary, Error> {
        let keys = self.reader();
        let repository = self.open(store, keys, cache)?;
        let snapshots = repository.catalog.snapshots()?;
        let mut drop = policy.drop.clone();
        for host in [A, B].into_iter().filter(|_| policy.all_but_newest) {
            let its = snapshots.iter().filter(|row| row.entry.host == NAMES[host]);
            drop.extend(its.rev().skip(1).map(|row| row.entry.id));
        }
        dropping(&drop);
        // The ages of objects are measured by the clock of this computer.
        let clock = clock_now();
        let days = if policy.takes_orphans { 3 } else { 0 };
        let now = Time { seconds: clock + days * DAY, nanos: 0 };
        // Without a bill, a pack is repacked if a tenth of it is dead.
        let provider = repository.store.location().provider().filter(|_| !policy.repacks);
        let terms = Terms { provider, end_window: true, ..Terms::default() };
        let plan = plan(&repository, &drop, terms.at(&Prices::built_in(None), now), &Silent)?;
        prune(&repository, &plan, now, &Silent)
    }
}

/// What a prune drops and deletes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub drop: BTreeSet<SnapshotId>,
    /// Drop all but the newest snapshot of each host as well.
    pub all_but_newest: bool,
    /// Delete objects that are not in the log, even those that are being uploaded now.
    pub takes_orphans: bool,
    /// Repack partially live packs.
    pub repacks: bool,
}

fn clock_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs() as i64
}

/// The stores of the hosts, and one without a host. They are made once and used for one bucket
/// after the other, because a store has its own threads.
pub struct Stores {
    lines: Vec<Line>,
    stores: Vec<Store>,
}

impl Stores {
    pub fn new() -> Stores {
        let lines: Vec<Line> = [Some(A), Some(B), Some(C), None].map(Line::new).into();
        let location = Location::parse("s3://crash").expect("a URL");
        let options = StoreOptions { retry_for: Duration::ZERO, ..StoreOptions::default() };
        let open = |line: &Line| Store::over(Arc::new(line.clone()), &location, &options);
        let stores = lines.iter().map(|line| open(line).expect("a store")).collect();
        Stores { lines, stores }
    }

    /// Switches to a bucket.
    pub fn turn_to(&self, bucket: &Arc<Bucket>) {
        for line in &self.lines {
            line.turn_to(bucket);
        }
    }

    pub fn of(&self, host: usize) -> &Store {
        &self.stores[host]
    }

    pub fn nobody(&self) -> &Store {
        &self.stores[C + 1]
    }
}

/// Runs `work` as a host that is killed before an operation, and returns the state of the archive
/// after that.
fn killed(
    objects: InMemory,
    host: usize,
    at: At,
    run: impl FnOnce(&Store) -> Result<(), Error>,
) -> InMemory {
    let point = Point { host, at, fault: Fault::Before };
    let bucket = Bucket::new(objects, 0);
    bucket.begin(&[host], Some(point));
    let stores = Stores::new();
    stores.turn_to(&bucket);
    let ended = run(stores.of(host));
    assert!(ended.is_err() && bucket.fired().is_some(), "it was killed: {}", bucket.trace());
    bucket.objects()
}

fn copy_caches(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder of caches") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_caches(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a file can be copied");
        }
    }
}
