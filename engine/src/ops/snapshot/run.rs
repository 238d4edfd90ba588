//! What the threads of one run share.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::known::now;
use super::mounts::Mounts;
use super::roots::{self, Roots};
use super::shrink::{Last, Saved, SourceTotals};
use super::source::Work;
use super::worker::Line;
use super::{Finished, SnapshotOptions, assemble, listing, new_id, uploads, walk};
use crate::codec::Cutter;
use crate::error::Error;
use crate::files::Exclude;
use crate::format::{ChunkId, PackKind, Settings, Time};
use crate::progress::{Problem, Progress};
use crate::repo::catalog::{Catalog, Filter};
use crate::repo::{Buffers, PackKey, Repository, SealedPack};

/// Workers: one at a time reads and cuts, and more would wait for it.
const WORKERS_MAX: usize = 8;
/// Packs of photo data in memory: one is filled while another is uploaded. Of the other kinds there is
/// less: the next waits.
const COLD_BUFFERS: usize = 2;
/// Stack of the thread that walks.
const WALK_STACK_BYTES: usize = 64 << 20;
/// Events that the walk may be ahead of the assembler.
pub(super) const EVENTS_MAX: usize = 64;

/// Counts of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files whose content no snapshot has and that this host did not know. An interrupted run may have stored them.
    pub files_new: u64,
    /// Files that this host did not know here, and whose content a snapshot has under another name: they were renamed,
    /// moved or copied, or this host has forgotten them.
    pub files_moved: u64,
    /// Files whose content differs from what this host read before.
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub files_failed: u64,
    /// Bytes of all files in the snapshot.
    pub bytes_processed: u64,
    /// Bytes of plaintext that were new.
    pub bytes_added: u64,
    /// Those of them that are folder listings and the record of the snapshot.
    pub bytes_of_listings: u64,
    /// Bytes of the objects that were uploaded, the parity of packs included.
    pub bytes_stored: u64,
    pub chunks_new: u64,
    pub packs_written: u64,
    /// Storage class and bytes of each pack that was written.
    pub stored: Vec<(String, u64)>,
    /// Where something is mounted that is not in the snapshot, because it is on another file system.
    pub mounts_left_out: Vec<PathBuf>,
    /// Where the repository itself stands below a source: it is not in the snapshot.
    pub repository_left_out: Option<PathBuf>,
    /// Files and folders that systems and programs leave behind, and that are not in the snapshot.
    pub litter_left_out: u64,
    /// Counts of each source.
    pub sources: Vec<SourceTotals>,
}

impl Totals {
    /// Files in the snapshot.
    pub fn files(&self) -> u64 {
        self.files_new + self.files_moved + self.files_changed + self.files_unmodified
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
    pub roots: Roots,
    /// What the new snapshot is compared with.
    pub last: Option<Last>,
    pub saved: Saved,
    pub mounts: Mounts,
    pub progress: &'a dyn Progress,
    /// Recognizes most new chunks without a look into the catalog.
    filter: RwLock<Filter>,
    /// How often chunks were put into the catalog.
    changes: AtomicU64,
    /// Chunks that some worker has sealed and that the catalog does not know yet.
    claims: Mutex<HashSet<ChunkId>>,
    needed: Mutex<BTreeSet<PackKey>>,
    totals: Mutex<Totals>,
    /// Memory of the packs, by kind.
    buffers: [Arc<Buffers>; 3],
    packs: Mutex<Option<SyncSender<SealedPack>>>,
    workers: usize,
    /// Packs that are uploaded at the same time.
    pub uploads: usize,
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
        // Memory is for packs.
        repository.catalog.keep_little()?;
        if !options.dry_run {
            repository.catalog.settle(|| progress.go_on())?;
        }
        let chunking = repository.config.chunking;
        let roots = roots::find(&options.paths, repository.store.location())?;
        let sources = vec![SourceTotals::default(); roots.paths.len()];
        Ok(Run {
            repository,
            options,
            exclude,
            cutter: Cutter::new(&repository.secrets, chunking, settings.small_file_bytes),
            settings,
            started: now(),
            last: Last::find(repository, options, &roots.paths)?,
            saved: Saved::find(repository)?,
            mounts: Mounts::load(repository, options, &roots.paths)?,
            roots,
            progress,
            filter: RwLock::new(repository.catalog.filter()?),
            changes: AtomicU64::new(0),
            claims: Mutex::default(),
            needed: Mutex::default(),
            totals: Mutex::new(Totals { sources, ..Totals::default() }),
            buffers: [1, 1, COLD_BUFFERS].map(Buffers::new),
            packs: Mutex::default(),
            uploads: uploads::threads(repository),
            workers: rayon::current_num_threads().min(WORKERS_MAX),
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Walks, reads, uploads; returns what is left to publish.
    pub fn execute(&self) -> Result<Finished, Error> {
        let (packs, received) = sync_channel::<SealedPack>(0);
        *lock(&self.packs) = Some(packs);
        let (events, folders) = sync_channel(EVENTS_MAX);
        // One batch may wait, so that no worker does.
        let (work, batches) = sync_channel::<Work>(1);
        let line = &Line::new(self, batches)?;
        let id = new_id();
        // Dropped with the last upload thread, so that senders fail instead of blocking.
        let received = Arc::new(Mutex::new(received));
        let record = std::thread::scope(|threads| {
            let closing = Closing(self);
            for _ in 0..self.uploads {
                let received = received.clone();
                let named = std::thread::Builder::new().name("upload".to_owned());
                let upload = move || uploads::run(self, &received);
                if let Err(source) = named.spawn_scoped(threads, upload) {
                    self.fail(no_thread(source));
                }
            }
            drop(received);
            let mut workers = Vec::with_capacity(self.workers);
            for number in 0..self.workers {
                let named = std::thread::Builder::new().name(format!("worker-{number}"));
                match named.spawn_scoped(threads, || line.work(self)) {
                    Ok(worker) => workers.push(worker),
                    Err(source) => {
                        line.give_up();
                        self.fail(no_thread(source));
                    }
                }
            }
            let roots = &self.roots.top;
            // Given paths are walked by recursion, as deep as they are nested.
            let deep = || std::thread::Builder::new().stack_size(WALK_STACK_BYTES);
            if self.progress.wants_totals() {
                let counting = deep().spawn_scoped(threads, || listing::count(self, roots));
                // Without it, the bar has no end.
                _ = counting;
            }
            let walking =
                deep().spawn_scoped(threads, move || walk::walk(self, roots, events, work));
            if let Err(source) = walking {
                self.fail(no_thread(source));
            }
            let record = assemble::assemble(self, folders, id);
            // The walk is over, so the workers end.
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            if !self.stopped() {
                line.close(self);
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

    /// Content of files goes into a pack.
    pub fn queued(&self, kind: PackKind, raw_bytes: u64, stored_bytes: u64) {
        // Nothing is uploaded by a dry run, and trees are no bytes of files.
        if !self.options.dry_run {
            let file_bytes = if kind == PackKind::Meta { 0 } else { raw_bytes };
            self.progress.queued(file_bytes, stored_bytes);
        }
    }

    pub fn problem(&self, path: &Path, message: String) {
        self.progress.problem(Problem { path: path.to_owned(), message });
    }

    /// Names a file that is not in the snapshot as it is on disk.
    pub fn failed_file(&self, path: &Path, message: String) {
        self.count(|totals| totals.files_failed += 1);
        self.problem(path, message);
    }

    /// Counts names that are left out as litter.
    pub fn count_litter(&self, names: u64) {
        self.count(|totals| totals.litter_left_out += names);
    }

    /// Names what is not in the snapshot because it is on another file system.
    pub fn left_out(&self, path: PathBuf) {
        self.count(|totals| totals.mounts_left_out.push(path));
    }

    /// Names the repository where it is left out.
    pub fn left_out_repository(&self, path: PathBuf) {
        self.count(|totals| totals.repository_left_out = Some(path));
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

    /// Looks at the catalog as it is, at each look.
    pub fn look<'r>(&'r self, catalog: &'r Catalog) -> Moment<'r> {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        Moment { run: self, catalog, filter, seen: Cell::new(None) }
    }

    /// Looks at one moment of the catalog, as long as nothing is put in.
    pub fn hold<'r>(&'r self, view: &'r Catalog) -> Result<Moment<'r>, Error> {
        let moment = self.look(view);
        let seen = self.changes.load(Ordering::SeqCst);
        view.hold()?;
        moment.seen.set(Some(seen));
        Ok(moment)
    }

    /// Moves chunks in the catalog to where many are looked up in little time.
    pub fn settle(&self) -> Result<(), Error> {
        let mut filter = self.filter.write().unwrap_or_else(PoisonError::into_inner);
        let settled = self.repository.catalog.settle(|| self.progress.go_on());
        *filter = self.repository.catalog.filter()?;
        settled
    }

    /// Returns the memory for packs of a kind.
    pub fn buffers(&self, kind: PackKind) -> &Arc<Buffers> {
        match kind {
            PackKind::Meta => &self.buffers[0],
            PackKind::Hot => &self.buffers[1],
            PackKind::Cold => &self.buffers[2],
        }
    }

    /// Chunks that were claimed are in the catalog now.
    pub fn stored(&self, ids: impl IntoIterator<Item = ChunkId>) {
        // Who finds no claim any more looks at what is there now.
        self.changes.fetch_add(1, Ordering::SeqCst);
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

/// What is known of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    No,
    /// This run stores it.
    InThisRun,
    Stored,
    /// It must be stored again: the last full snapshot of the history has it, and it was found lost there.
    LostInLast,
    /// The last full snapshot of the history has it.
    InLast,
}

impl Known {
    /// Returns whether the chunk must be stored.
    pub fn is_new(self) -> bool {
        matches!(self, Known::No | Known::LostInLast)
    }
}

/// The catalog as one thread looks at it. No chunks are moved in it while it exists.
pub(super) struct Moment<'r> {
    run: &'r Run<'r>,
    catalog: &'r Catalog,
    filter: RwLockReadGuard<'r, Filter>,
    /// How many changes there were when it began; `None` if each look is at what is there then.
    seen: Cell<Option<u64>>,
}

impl Moment<'_> {
    /// Returns whether a chunk is stored or about to be. Otherwise it is claimed: no other thread stores it.
    pub fn knows(&self, id: &ChunkId) -> Result<Known, Error> {
        let run = self.run;
        if !lock(&run.claims).insert(*id) {
            return Ok(Known::InThisRun);
        }
        // Its claim may have been let go just now, because it is in the catalog.
        self.renew()?;
        if !self.filter.may_have(self.catalog, id)? {
            return Ok(Known::No);
        }
        let Some(place) = self.catalog.sound_chunk(id)? else {
            let in_last = match &run.last {
                Some(last) => last.has_lost(self.catalog, id)?,
                None => false,
            };
            return Ok(if in_last { Known::LostInLast } else { Known::No });
        };
        lock(&run.claims).remove(id);
        run.need([place.pack]);
        Ok(match &run.last {
            Some(last) if last.has(self.catalog, id, place.pack)? => Known::InLast,
            _ => Known::Stored,
        })
    }

    /// Turns to what is there now.
    fn renew(&self) -> Result<(), Error> {
        let now = self.run.changes.load(Ordering::SeqCst);
        if self.seen.get().is_some_and(|seen| seen != now) {
            self.seen.set(None);
            self.catalog.let_go()?;
            self.catalog.hold()?;
            self.seen.set(Some(now));
        }
        Ok(())
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        if self.seen.get().is_some() && !std::thread::panicking() {
            // There is nothing in it to be written.
            let _ = self.catalog.let_go();
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread of a run panics while it holds a lock")
}
