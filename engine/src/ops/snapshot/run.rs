//! What the threads of one run share.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::worker::{self, Work};
use super::{Finished, SnapshotOptions, assemble, new_id, uploads, walk};
use crate::codec::Cutter;
use crate::error::Error;
use crate::files::Exclude;
use crate::format::{ChunkId, PackKind, Settings, Time};
use crate::progress::{Problem, Progress};
use crate::repo::{PackKey, Repository, SealedPack};

/// Workers: each holds a pack of every kind, so more cores would cost memory.
const WORKERS_MAX: usize = 3;
/// With uploads that are slower than a disk, more packs wait for one.
const WORKERS_MAX_REMOTE: usize = 2;
/// Stack of the thread that walks.
const WALK_STACK_BYTES: usize = 64 << 20;
/// Events that the walk may be ahead of the assembler.
pub(super) const EVENTS_MAX: usize = 64;

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
    packs: Mutex<Option<SyncSender<SealedPack>>>,
    workers: usize,
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
            packs: Mutex::default(),
            workers: rayon::current_num_threads().min(workers_max),
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
        // Gone with the last thread that uploads, so that nobody waits for one that is not there.
        let received = Arc::new(Mutex::new(received));
        let record = std::thread::scope(|threads| {
            let closing = Closing(self);
            for _ in 0..uploads::threads(self.repository) {
                let received = received.clone();
                let named = std::thread::Builder::new().name("upload".to_owned());
                let upload = move || uploads::run(self, &received);
                if let Err(source) = named.spawn_scoped(threads, upload) {
                    self.fail(no_thread(source));
                }
            }
            drop(received);
            let mut workers = Vec::with_capacity(self.workers);
            let mut lanes = Vec::with_capacity(self.workers);
            for number in 0..self.workers {
                // One batch may wait, so that no worker does.
                let (lane, batches) = sync_channel::<Work>(1);
                let named = std::thread::Builder::new().name(format!("worker-{number}"));
                match named.spawn_scoped(threads, move || worker::run(self, batches)) {
                    Ok(worker) => workers.push(worker),
                    Err(source) => self.fail(no_thread(source)),
                }
                lanes.push(lane);
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
                deep().spawn_scoped(threads, move || walk::walk(self, roots, events, lanes));
            if let Err(source) = walking {
                self.fail(no_thread(source));
            }
            let record = assemble::assemble(self, folders, id);
            // The walk is over, so the lanes are closed and the workers end with their last packs.
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            drop(closing);
            record
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

    /// Counts the packs that have arrived.
    pub fn packs_written(&self) -> u64 {
        lock(&self.totals).packs_written
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
        self.settings.class_of(kind)
    }

    /// Returns the target size of a kind of pack.
    pub fn pack_bytes(&self, kind: PackKind) -> u64 {
        self.settings.bytes_of(kind)
    }

    /// Hands a closed pack to the uploads, waiting for one of them to be free.
    pub fn submit(&self, pack: SealedPack) {
        let sender = lock(&self.packs).clone();
        // A send fails only when the uploads have ended, and then the failure is known.
        if let Some(sender) = sender {
            _ = sender.send(pack);
        }
    }
}

/// Closes the channel to the uploads at the end of a run, however it ends: then they end too.
struct Closing<'a>(&'a Run<'a>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        *lock(&self.0.packs) = None;
    }
}

fn no_thread(source: std::io::Error) -> Error {
    Error::File { action: "start a thread for", path: "the snapshot".into(), source }
}

fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread of a run panics while it holds a lock")
}
