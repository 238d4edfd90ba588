//! What the threads of one run share.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::worker::Worker;
use super::{Finished, SnapshotOptions, assemble, new_id, uploads, walk};
use crate::codec::Cutter;
use crate::error::Error;
use crate::files::Exclude;
use crate::format::{ChunkId, PackKind, Settings, Time};
use crate::progress::{Problem, Progress};
use crate::repo::{PackKey, Repository, SealedPack};

/// Batches in work at once: each holds a pack of every kind, so more cores would cost memory.
const WORKERS_MAX: usize = 3;
/// With uploads that are slower than a disk, more packs wait for one.
const WORKERS_MAX_REMOTE: usize = 2;
/// Stack of the thread that walks.
const WALK_STACK_BYTES: usize = 64 << 20;
/// Folders that the walk may be ahead of the assembler.
const EVENTS_MAX: usize = 64;

/// Counts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub files_new: u64,
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub files_failed: u64,
    /// Bytes of all files in the snapshot.
    pub bytes_processed: u64,
    /// Bytes of plaintext that were new.
    pub bytes_added: u64,
    /// Bytes of the objects that were uploaded.
    pub bytes_stored: u64,
    pub chunks_new: u64,
    pub packs_written: u64,
    /// Storage class and bytes of each pack that was written.
    pub stored: Vec<(String, u64)>,
}

impl Totals {
    /// Files in the snapshot.
    pub fn files(&self) -> u64 {
        self.files_new + self.files_changed + self.files_unmodified
    }
}

/// The shared state.
pub(super) struct Run<'a> {
    pub repository: &'a Repository,
    pub options: &'a SnapshotOptions,
    pub exclude: &'a Exclude,
    pub settings: Settings,
    pub cutter: Cutter,
    /// When the run began: what changed since then may change again unseen.
    pub started: Time,
    progress: &'a dyn Progress,
    /// Chunks that some worker has sealed and that the catalog does not know yet.
    claims: Mutex<HashSet<ChunkId>>,
    needed: Mutex<BTreeSet<PackKey>>,
    totals: Mutex<Totals>,
    workers: Mutex<Vec<Worker>>,
    packs: Mutex<Option<SyncSender<SealedPack>>>,
    pub gate: Gate,
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
}

impl<'a> Run<'a> {
    pub fn new(
        repository: &'a Repository,
        options: &'a SnapshotOptions,
        exclude: &'a Exclude,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let settings = repository.settings()?;
        let chunking = repository.config.chunking;
        let remote = repository.store.location().is_remote();
        let workers_max = if remote { WORKERS_MAX_REMOTE } else { WORKERS_MAX };
        Ok(Run {
            repository,
            options,
            exclude,
            cutter: Cutter::new(&repository.secrets, chunking, settings.small_file_bytes),
            settings,
            started: now(),
            progress,
            claims: Mutex::default(),
            needed: Mutex::default(),
            totals: Mutex::default(),
            workers: Mutex::default(),
            packs: Mutex::default(),
            gate: Gate::new(rayon::current_num_threads().min(workers_max)),
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Walks, reads, uploads; returns what is left to publish.
    pub fn execute(&self) -> Result<Finished, Error> {
        let roots = super::roots::build(&self.options.paths)?;
        let (packs, received) = sync_channel::<SealedPack>(0);
        *lock(&self.packs) = Some(packs);
        let (events, folders) = sync_channel(EVENTS_MAX);
        let id = new_id();
        let received = Mutex::new(received);
        let mut record = None;
        rayon::in_place_scope(|workers| {
            std::thread::scope(|threads| {
                for _ in 0..uploads::threads(self.repository) {
                    threads.spawn(|| uploads::run(self, &received));
                }
                let roots = &roots;
                // Folders are walked by recursion, as deep as they are nested.
                let deep = || std::thread::Builder::new().stack_size(WALK_STACK_BYTES);
                if self.progress.wants_totals() {
                    let counting = deep().spawn_scoped(threads, || walk::count(self, roots));
                    // Without it, the bar has no end.
                    _ = counting;
                }
                let walking =
                    deep().spawn_scoped(threads, move || walk::walk(self, roots, events, workers));
                if let Err(source) = walking {
                    self.fail(Error::File {
                        action: "start a thread for",
                        path: "the walk".into(),
                        source,
                    });
                }
                record = assemble::assemble(self, folders, id);
                // Every batch is done: what the workers still hold are packs half full.
                self.flush_workers();
                // Closing the channel lets the uploads end.
                *lock(&self.packs) = None;
            });
        });
        if let Some(error) = lock(&self.failure).take() {
            return Err(error);
        }
        if self.stopped() {
            return Err(Error::Interrupted);
        }
        let record = record.expect("a run without a failure has a record");
        Ok(Finished { id, record, needed: lock(&self.needed).clone() })
    }

    pub fn paths(&self) -> Vec<Vec<u8>> {
        self.options.paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect()
    }

    pub fn totals(&self) -> Totals {
        lock(&self.totals).clone()
    }

    pub fn count(&self, with: impl FnOnce(&mut Totals)) {
        with(&mut lock(&self.totals));
    }

    pub fn advance(&self, files: u64, bytes: u64) {
        self.progress.advance(files, bytes);
    }

    pub fn expect(&self, files: u64, bytes: u64) {
        self.progress.expect(files, bytes);
    }

    pub fn problem(&self, path: &Path, message: String) {
        self.progress.problem(Problem { path: path.to_owned(), message });
    }

    /// Names a file that is not in the snapshot as it is on disk.
    pub fn failed_file(&self, path: &Path, message: String) {
        self.count(|totals| totals.files_failed += 1);
        self.problem(path, message);
    }

    /// Ends the run with an error; the first one counts, it is the cause of the others.
    pub fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Returns whether the run is over, by a failure or by the user.
    pub fn stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.progress.interrupted()
    }

    /// Claims a chunk; false if another worker has it in hand.
    pub fn claim(&self, id: ChunkId) -> bool {
        lock(&self.claims).insert(id)
    }

    pub fn unclaim(&self, ids: impl IntoIterator<Item = ChunkId>) {
        let mut claims = lock(&self.claims);
        for id in ids {
            claims.remove(&id);
        }
    }

    pub fn need(&self, packs: impl IntoIterator<Item = PackKey>) {
        lock(&self.needed).extend(packs);
    }

    /// Returns the class of a kind of pack.
    pub fn class(&self, kind: PackKind) -> &str {
        match kind {
            PackKind::Meta => "",
            PackKind::Hot => &self.settings.hot_class,
            PackKind::Cold => &self.settings.pack_class,
        }
    }

    /// Returns the target size of a kind of pack.
    pub fn pack_bytes(&self, kind: PackKind) -> u64 {
        match kind {
            PackKind::Meta | PackKind::Hot => self.settings.hot_pack_bytes,
            PackKind::Cold => self.settings.pack_bytes,
        }
    }

    /// Hands a closed pack to the uploads, waiting for one of them to be free.
    pub fn submit(&self, pack: SealedPack) {
        let sender = lock(&self.packs).clone();
        // A send fails only when the uploads have ended, and then the failure is known.
        if let Some(sender) = sender {
            _ = sender.send(pack);
        }
    }

    /// Lends a worker: one with an open pack of the same folder, or the one that was returned
    /// last, so that few packs are open.
    pub fn take_worker(&self, kind: PackKind, folder: &Path) -> Result<Worker, Error> {
        let mut workers = lock(&self.workers);
        let same = workers.iter_mut().position(|worker| worker.sealer(kind).folder == folder);
        let worker = match same {
            Some(at) => Some(workers.remove(at)),
            None => workers.pop(),
        };
        drop(workers);
        worker.map_or_else(|| Worker::new(self.repository), Ok)
    }

    pub fn return_worker(&self, worker: Worker) {
        lock(&self.workers).push(worker);
    }

    fn flush_workers(&self) {
        let workers = std::mem::take(&mut *lock(&self.workers));
        for worker in workers {
            if !self.stopped() {
                worker.finish(self);
            }
        }
    }
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread of a run panics while it holds a lock")
}

/// Lets only so many batches wait or run at once.
pub(super) struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn new(places: usize) -> Self {
        Gate { free: Mutex::new(places), changed: Condvar::new() }
    }

    /// Waits for a place; it is free again when what is returned is dropped.
    pub fn enter(&self) -> Place<'_> {
        let free = lock(&self.free);
        let mut free =
            self.changed.wait_while(free, |free| *free == 0).expect("nothing panics here");
        *free -= 1;
        Place(self)
    }
}

/// A place behind a [`Gate`].
pub(super) struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.changed.notify_one();
    }
}
