//! Taking a snapshot: the way of a photo in.
//!
//! ```text
//! walk ── folders in order ──────────────────────────────► assemble ─► trees ─► log entry
//!   └─ batches of files ─► workers, in turn: read, cut;           ▲
//!                          each: name, known?, compress;          │
//!                          in order: a place in a pack;           │
//!                          each: seal ─► uploads ─────────────────┘
//! ```
//!
//! One thread walks and never reads a file; workers share the files, large ones too, and fill one pack
//! together, so that a shoot stays together; one thread writes packs; the caller's thread puts trees
//! together in the order of the walk. Every queue is short: memory does not grow with the library, nor
//! with the number of cores.

mod assemble;
mod batch;
mod known;
mod listing;
mod mounts;
mod opened;
mod roots;
mod run;
mod sealer;
mod shrink;
mod source;
mod states;
mod uploads;
mod walk;
mod worker;

use std::collections::BTreeSet;
use std::path::PathBuf;

use tracing::info;

use crate::codec::random;
use crate::error::Error;
use crate::files::{Exclude, ExcludeOptions, Ignore};
use crate::format::signed::SMALL_ENTRY_BYTES;
use crate::format::{
    FormatError, HistoryKey, LogEntry, LogHead, PackRecord, SHRUNK, SnapshotEntry, SnapshotId,
    SnapshotRecord, Time, tree, validate_history,
};
use crate::ops::frozen::{Frozen, frozen};
use crate::progress::Progress;
use crate::repo::{PackKey, PackState, Repository};
use crate::store::Requests;

pub use roots::ITSELF;
use run::Run;
pub use run::Totals;
pub(super) use shrink::is_less_than_half;
pub use shrink::{Doubts, Emptied, Mark, SourceTotals};

/// How often a snapshot is begun again because a pruner took away packs that it counted on.
const REBASES_MAX: u32 = 5;

/// What to take.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    pub paths: Vec<PathBuf>,
    pub host: String,
    pub tags: Vec<String>,
    /// The name of the history that it adds to; without one, the host and the set of sources are it.
    pub history: Option<String>,
    /// When the snapshot is taken, for its record.
    pub time: Time,
    pub exclude: ExcludeOptions,
    /// Read every file, changed or not.
    pub force: bool,
    /// What is not asked to tell whether a file has changed.
    pub ignore: Ignore,
    /// Read and count, store nothing.
    pub dry_run: bool,
    /// Name and version of the program.
    pub program: String,
    /// Folders that are never taken: the cache of this program, for one.
    pub skip: Vec<PathBuf>,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct SnapshotSummary {
    /// `None` after a dry run.
    pub id: Option<SnapshotId>,
    pub totals: Totals,
    pub requests: Requests,
    /// After a dry run, what the run would have requested beyond that.
    pub predicted: Requests,
    /// The head of the log that holds the snapshot, to hand to a fresh host.
    pub head: Option<LogHead>,
    /// What the owner must look at.
    pub doubts: Doubts,
    /// What the owner reads first and something has frozen: this host does not read it.
    pub frozen: Vec<Frozen>,
    /// Numbers of the patterns that have matched nothing.
    pub unmatched: Vec<usize>,
    /// This host remembers nothing of the files, as its catalog was lost: files that count as new may be old.
    pub forgotten: bool,
}

impl SnapshotOptions {
    /// Returns the options of a snapshot of some files and folders: everything in them, as a history of this host.
    pub fn of(paths: impl IntoIterator<Item = PathBuf>, host: &str, time: Time) -> Self {
        let (paths, host) = (paths.into_iter().collect(), host.to_owned());
        SnapshotOptions { paths, host, time, ..SnapshotOptions::default() }
    }

    /// Returns what the history is known by that it adds to, beside the host.
    fn history_key(&self, repository: &Repository, paths: &[Vec<u8>]) -> HistoryKey {
        match &self.history {
            Some(name) => HistoryKey::Named(name.clone()),
            None => HistoryKey::Paths(repository.secrets.paths_key(paths)),
        }
    }
}

/// Takes a snapshot. It is durable and complete when this returns; files that could not be read
/// are counted and were reported to `progress`.
pub fn snapshot(
    repository: &Repository,
    options: &SnapshotOptions,
    progress: &dyn Progress,
) -> Result<SnapshotSummary, Error> {
    if options.paths.is_empty() {
        let reason = "at least one path is needed".to_owned();
        return Err(Error::Input { what: "the list of paths".to_owned(), reason });
    }
    if let Some(name) = &options.history {
        let reason = |error: FormatError| error.to_string();
        let fail = |reason| Error::Input { what: format!("the history {name:?}"), reason };
        validate_history(name).map_err(reason).map_err(fail)?;
    }
    let before = repository.store.requests();
    let _lock = repository.catalog.writer_lock(progress)?;
    repository.sync()?;
    // A writer that is revoked finds out before it uploads anything.
    repository.expect_right(&LogEntry::new(options.time))?;
    let exclude = Exclude::new(options.exclude.clone())?;
    let frozen = frozen(repository)?;
    if !options.dry_run {
        repository.settle_uploads()?;
    }
    let mut attempt = 0;
    let mut forgotten = false;
    let (id, totals, doubts) = loop {
        attempt += 1;
        let run = Run::new(repository, options, &exclude, progress)?;
        // The run itself writes down what it finds.
        forgotten |= run.has_forgotten()?;
        let root = run.execute()?;
        if options.dry_run {
            break (None, run.totals(), run.doubts()?);
        }
        let doubts = run.doubts()?;
        match publish(&run, &root, &doubts)? {
            Some(id) => break (Some(id), run.totals(), doubts),
            None if attempt < REBASES_MAX => {
                info!(attempt, "a prune deleted packs that this snapshot needs: looking again");
                progress.stage("looking again");
            }
            None => {
                let reason = "a prune kept deleting packs that this snapshot needs".to_owned();
                return Err(Error::Input { what: "the snapshot".to_owned(), reason });
            }
        }
    };
    let head = if id.is_some() { repository.head()? } else { None };
    let predicted =
        if options.dry_run { predict(repository, &totals)? } else { Requests::default() };
    Ok(SnapshotSummary {
        id,
        totals,
        predicted,
        requests: repository.store.requests().since(&before),
        head,
        doubts,
        frozen,
        unmatched: exclude.unmatched(),
        forgotten,
    })
}

/// Predicts what storing the packs of a dry run asks of the store: each pack, and the log entries,
/// with a listing and a look at the newest entry before each of them and before each look for more
/// to append; and the checkpoints that these entries fill.
fn predict(repository: &Repository, totals: &Totals) -> Result<Requests, Error> {
    let mut requests = Requests::default();
    for (class, bytes) in &totals.stored {
        requests.add_put(class, *bytes);
    }
    let position = repository.catalog.position()?.number;
    // An entry is about as large as those before it, or as what was read so far.
    let entry_bytes = repository.catalog.unfolded()?.entry_bytes(position);
    let entry_bytes = entry_bytes.unwrap_or(SMALL_ENTRY_BYTES);
    let mut log_is_empty = position == 0;
    let mut look = |requests: &mut Requests, append: bool| {
        requests.list += 1;
        if !log_is_empty {
            requests.add_get("", entry_bytes);
        }
        if append {
            requests.add_put("", 0);
            // The entry is looked at again.
            requests.add_get("", entry_bytes);
            log_is_empty = false;
        }
    };
    let entries_of_packs = totals.packs_written / assemble::COMMIT_PACKS;
    for _ in 0..entries_of_packs {
        look(&mut requests, true);
        look(&mut requests, false);
    }
    look(&mut requests, false);
    look(&mut requests, true);
    Ok(requests.plus(&repository.predict_fold(entries_of_packs + 1, entry_bytes)?))
}

/// What [`Run::execute`] left to publish.
struct Finished {
    id: SnapshotId,
    record: crate::format::ChunkId,
    needed: BTreeSet<PackKey>,
}

/// Appends the log entry that makes the snapshot visible. Returns `None` if a pack that it needs
/// was tombstoned in between.
fn publish(run: &Run, finished: &Finished, doubts: &Doubts) -> Result<Option<SnapshotId>, Error> {
    let Finished { id, record, needed } = finished;
    let catalog = &run.repository.catalog;
    let totals = run.totals();
    drain(run.repository, run.options.time, ENTRY_TABLE_BYTES)?;
    let mut gone = false;
    run.repository.commit(|| {
        if catalog.has_snapshot(id)? {
            return Ok(None);
        }
        gone = !catalog.all_usable(needed)?;
        if gone {
            return Ok(None);
        }
        let packs = catalog.open_packs(PackState::Uploaded)?;
        debug_assert!(table_bytes(&packs) <= 2 * ENTRY_TABLE_BYTES, "drained before");
        let snapshot = SnapshotEntry {
            id: *id,
            time: run.options.time,
            host: run.options.host.clone(),
            tags: run.options.tags.clone(),
            record: *record,
            files: totals.files(),
            bytes: totals.bytes_processed,
            packs: catalog.ordinals(needed, &packs)?,
            paths_key: run.repository.secrets.paths_key(&run.roots.paths),
            history: run.options.history.clone(),
            marked: doubts.mark.as_ref().map(|_| SHRUNK),
            sources: Some(run.source_counts()),
        };
        Ok(Some(LogEntry { packs, snapshots: vec![snapshot], ..LogEntry::new(run.options.time) }))
    })?;
    if gone {
        return Ok(None);
    }
    run.mounts.remember(catalog, id)?;
    run.remember_packs_of_folders()?;
    Ok(Some(*id))
}

/// Bytes of pack tables in one log entry, beyond which packs get an entry of their own: far below
/// the limit of an entry.
const ENTRY_TABLE_BYTES: usize = 8 << 20;

fn table_bytes(packs: &[PackRecord]) -> usize {
    packs.iter().map(|pack| pack.table.len()).sum()
}

/// Puts uploaded packs into the log until at most `left_bytes` of their tables are left, so that an
/// entry never grows without bound and other hosts can refer to them.
fn drain(repository: &Repository, time: Time, left_bytes: usize) -> Result<(), Error> {
    loop {
        let mut more = false;
        repository.commit(|| {
            let mut packs = repository.catalog.open_packs(PackState::Uploaded)?;
            more = table_bytes(&packs) > left_bytes;
            if !more {
                return Ok(None);
            }
            let mut bytes = 0;
            let fits = |pack: &PackRecord| {
                bytes += pack.table.len();
                bytes <= ENTRY_TABLE_BYTES
            };
            let count = packs.iter().map(fits).take_while(|fits| *fits).count();
            packs.truncate(count.max(1));
            Ok(Some(LogEntry { packs, ..LogEntry::new(time) }))
        })?;
        if !more {
            return Ok(());
        }
    }
}

impl Run<'_> {
    /// Makes the snapshot record for a finished root.
    fn record(&self, id: SnapshotId, root: &[u8]) -> SnapshotRecord {
        SnapshotRecord {
            id,
            time: self.options.time,
            paths: self.roots.paths.iter().map(|path| path.clone().into()).collect(),
            root: root.to_vec().into(),
            host: self.options.host.clone(),
            tags: self.options.tags.clone(),
            program: self.options.program.clone(),
            failed: self.totals().files_failed,
            places: Some(self.roots.places.clone()),
            history: self.options.history.clone(),
        }
    }

    /// Finds out which packs each folder that was read needs, for the next run to check.
    fn remember_packs_of_folders(&self) -> Result<(), Error> {
        let catalog = &self.repository.catalog;
        let mut rows = Vec::new();
        for key in catalog.open_folders()? {
            let Some(folder) = catalog.folder(key)? else { continue };
            let mut packs = BTreeSet::new();
            let mut complete = true;
            let files = catalog.folder_files(key)?;
            let lists = files.iter().map(|file| &file.chunks[..]).chain([&folder.tree[..]]);
            for ids in lists {
                let ids = tree::split_ids(ids).unwrap_or_default();
                match catalog.sound_packs(&ids)? {
                    Some(found) => packs.extend(found),
                    None => complete = false,
                }
            }
            if complete {
                rows.push((key, packs.into_iter().collect()));
            }
            if rows.len() >= 1000 {
                catalog.set_folder_packs(&rows)?;
                rows.clear();
            }
        }
        catalog.set_folder_packs(&rows)
    }
}

/// Names a new snapshot.
fn new_id() -> SnapshotId {
    SnapshotId(random())
}
