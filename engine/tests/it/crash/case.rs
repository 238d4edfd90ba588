//! One case: three hosts work, one operation goes wrong, and the promises are checked after that.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;

use icecore_engine::error::Error;
use icecore_engine::files::Globs;
use icecore_engine::format::{PackKind, SnapshotId};
use icecore_engine::ops::browse::Snapshot;
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::restore::{RestoreOptions, Selection, restore};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{PackState, Repository, TreeReader};
use icecore_engine::store::{Store, layout};
use icecore_testkit::tree;

use super::random::Random;
use super::scene::{A, B, C, Library, Moment, NAMES, Policy, Scene, Stores};
use super::store::{At, Bucket, Fault, Point, Verb};
use crate::setup::{Log, bytes_of};

/// A case, with everything that determines its course.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub seed: u64,
    /// The first fault; the second one is drawn from the seed.
    pub point: Option<Point>,
}

/// The result of a case.
#[derive(Default)]
pub struct Went {
    /// The operations of each host before the first fault.
    pub verbs: Vec<Vec<Verb>>,
    pub operations: u64,
    /// The faults that happened, with their hosts.
    pub faults: Vec<(usize, Fault, Verb)>,
    /// Number of runs of hosts; below, of runs without an error.
    pub runs: u64,
    pub succeeded: u64,
}

/// A time later than the whole history.
const LATER: i64 = 1_700_001_000;

impl Case {
    /// Runs the case.
    pub fn run(self, scene: &Scene, stores: &Stores) -> Went {
        let mut random = Random::new(self.seed);
        let moment = &scene.moments[random.below(scene.moments.len() as u64) as usize];
        let bucket = Bucket::new(moment.objects.fork(), random.next());
        stores.turn_to(&bucket);
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let folder = scene.enter(moment);
            let mut stage = Stage {
                scene,
                stores,
                moment,
                bucket: &bucket,
                folder: folder.path(),
                time: LATER,
                acknowledged: Vec::new(),
                dropped: BTreeSet::new(),
                went: Went::default(),
            };
            stage.play(self.point, &mut random);
            stage.went
        }));
        judged.unwrap_or_else(|panic: Box<dyn Any + Send>| {
            eprintln!("{self:?}, moment of {} snapshots:\n{}", moment.taken.len(), bucket.trace());
            resume_unwind(panic)
        })
    }
}

/// A running case.
struct Stage<'a> {
    scene: &'a Scene,
    stores: &'a Stores,
    moment: &'a Moment,
    bucket: &'a Bucket,
    folder: &'a Path,
    time: i64,
    /// The acknowledged snapshots.
    acknowledged: Vec<SnapshotId>,
    /// The snapshots that a prune was asked to drop.
    dropped: BTreeSet<SnapshotId>,
    went: Went,
}

/// The result of a host's run.
type Ran = (Result<Option<SnapshotId>, Error>, BTreeSet<SnapshotId>);

impl Stage<'_> {
    fn play(&mut self, point: Option<Point>, random: &mut Random) {
        let policy = Policy {
            drop: [self.moment.doomed].into(),
            all_but_newest: random.below(2) == 0,
            takes_orphans: random.below(2) == 0,
            repacks: random.below(2) == 0,
        };
        // A host that has never read the log knows less, but must reach the same result.
        for host in [A, B, C] {
            if random.below(4) == 0 {
                std::fs::remove_dir_all(self.cache(host)).expect("a cache");
            }
        }
        self.race(&[A, B, C], &policy, point);
        self.went.verbs = self.bucket.verbs();
        // Late operations arrive either before the archive is examined or after that.
        if random.below(2) == 0 {
            self.bucket.settle();
        }
        // Examine it with the catalog of the host that had trouble, and with an empty one.
        let host = point.map_or(A, |point| point.host);
        let mut caches = [self.cache(host), self.folder.join("fresh")];
        if random.below(2) == 0 {
            caches.reverse();
        }
        let [now, later] = caches;
        self.judge(&now);
        // The host runs again beside another one, and has trouble again.
        let other = if host == C { A } else { C };
        let fault = Fault::ALL[random.below(Fault::ALL.len() as u64) as usize];
        let at = At::Number(random.below(12) as usize);
        let again = point.map(|point| Point { at, fault, ..point });
        self.race(&[host, other], &policy, again);
        self.bucket.settle();
        self.judge(&later);
        self.check_interrupted(host, &policy);
    }

    fn cache(&self, host: usize) -> PathBuf {
        self.folder.join(NAMES[host])
    }

    /// Lets some hosts work at the same time. Only a host with trouble may fail.
    fn race(&mut self, hosts: &[usize], policy: &Policy, point: Option<Point>) {
        self.bucket.begin(hosts, point);
        self.time += 10;
        let this = &*self;
        let ran: Vec<Ran> = std::thread::scope(|threads| {
            let spawn = |host: &usize| {
                let host = *host;
                threads.spawn(move || {
                    let _ended = Ended(this.bucket, host);
                    this.work(this.stores.of(host), host, policy)
                })
            };
            let working: Vec<_> = hosts.iter().map(spawn).collect();
            let join = |thread: ScopedJoinHandle<'_, Ran>| {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            working.into_iter().map(join).collect()
        });
        let fault = self.bucket.fired();
        self.went
            .faults
            .extend(point.zip(fault).map(|(point, (fault, verb))| (point.host, fault, verb)));
        let asked = self.bucket.verbs();
        self.went.operations += asked.iter().map(|verbs| verbs.len() as u64).sum::<u64>();
        for (host, ran) in hosts.iter().zip(ran) {
            let failed = self.note(ran);
            let troubled = fault.is_some() && point.is_some_and(|point| point.host == *host);
            assert!(failed.is_none() || troubled, "{}: {failed:?}", NAMES[*host]);
        }
    }

    /// Does the work of a host: takes a snapshot, or prunes.
    fn work(&self, store: &Store, host: usize, policy: &Policy) -> Ran {
        let cache = self.cache(host);
        if host != C {
            let taken = self.scene.snapshot(store, host, &cache, self.time + host as i64);
            return (taken.map(Some), BTreeSet::new());
        }
        let mut dropped = BTreeSet::new();
        let dropping = &mut |ids: &BTreeSet<SnapshotId>| dropped.extend(ids.iter().copied());
        let done = self.scene.prune(store, &cache, policy, dropping);
        (done.map(|_| None), dropped)
    }

    /// Records the result of a run. Returns why it failed, if it did.
    fn note(&mut self, (done, dropped): Ran) -> Option<Error> {
        self.went.runs += 1;
        self.dropped.extend(dropped);
        match done {
            Err(error) => Some(error),
            Ok(taken) => {
                self.went.succeeded += 1;
                self.acknowledged.extend(taken);
                None
            }
        }
    }

    /// Opens with a catalog, and checks that everything exists that should.
    fn judge(&self, cache: &Path) {
        let repository = self.sound(cache);
        let trees = TreeReader::new(&repository).expect("a reader");
        for row in repository.catalog.snapshots().expect("snapshots") {
            let host = NAMES.iter().position(|name| *name == row.entry.host).expect("a host");
            let taken = self.moment.taken.get(&row.entry.id);
            let library = taken.unwrap_or_else(|| &self.scene.libraries[host]);
            let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
            self.restores(&snapshot, host, library);
        }
    }

    /// Opens, checks, and searches each snapshot that should exist.
    fn sound(&self, cache: &Path) -> Repository {
        let store = self.stores.nobody();
        let repository = self.scene.open(store, self.scene.reader(), cache).expect("it opens");
        let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
        assert_eq!(report.errors, []);
        let visible = repository.catalog.snapshots().expect("snapshots");
        let ids: BTreeSet<SnapshotId> = visible.iter().map(|row| row.entry.id).collect();
        for id in self.moment.taken.keys().chain(&self.acknowledged) {
            assert!(ids.contains(id) || self.dropped.contains(id), "{id} is gone");
        }
        repository
    }

    fn restores(&self, snapshot: &Snapshot, host: usize, library: &Library) {
        let id = snapshot.row.entry.id;
        let target = self.folder.join("restored");
        let options = RestoreOptions { target: target.clone(), ..RestoreOptions::default() };
        let all = || Globs::new([]).expect("no globs");
        let path = bytes_of(&self.scene.path(host));
        let selection = Selection { snapshot, path, include: all(), exclude: all() };
        let log = Log::default();
        let done = restore(&selection, &options, &log).expect("a restore");
        assert_eq!(log.problems(), [], "{id}");
        assert_eq!((done.files_failed, done.files_damaged), (0, 0), "{id}");
        tree::assert_same_as(library, &target);
        std::fs::remove_dir_all(&target).expect("what was restored");
    }

    /// Runs the host that had trouble again, and a prune: both must succeed, and no object may be
    /// left that is tombstoned or not in the log.
    fn check_interrupted(&mut self, host: usize, policy: &Policy) {
        self.time += 10;
        let store = self.stores.nobody();
        let ran = self.work(store, host, policy);
        let failed = self.note(ran);
        assert!(failed.is_none(), "{}, once more: {failed:?}", NAMES[host]);
        let everything =
            Policy { takes_orphans: true, repacks: policy.repacks, ..Policy::default() };
        let cache = self.cache(if host == C { A } else { C });
        self.scene.prune(store, &cache, &everything, &mut |_| {}).expect("a prune");
        let repository = self.sound(&cache);
        for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
            for object in store.list(layout::prefix(kind), None).expect("a listing") {
                // Partial objects have names that no object has, so ignore them.
                let Some(id) = layout::pack_id(kind, &object.name) else { continue };
                let state = repository.catalog.pack_state(&id).expect("a state");
                assert_eq!(state, Some(PackState::Committed), "{} is left", object.name);
            }
        }
    }
}

/// Drop guard: reports to the bucket that a host has ended, however it ends.
struct Ended<'a>(&'a Bucket, usize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ends(self.1);
    }
}
