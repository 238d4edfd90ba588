//! Creates a snapshot: walks the sources, stores new chunks, writes trees and the log entry.
//!
//! ```text
//! walk ── folders in order ──────────────────────────────────────────► tree_builder ─► publish
//!   └─ batches of files ─► workers, one at a time: read and cut;              ▲
//!                          each: prepare (hash, dedup, compress);             │
//!                          in order: assign slots in packs (pack_writer);     │
//!                          each: seal ─► upload ─────────────────────────────►┘
//! ```
//!
//! One thread walks and never reads a file; workers share the files, large ones too, and fill one pack
//! together, so that a shoot stays together; one thread writes packs; the caller's thread builds trees
//! in the order of the walk. Every queue is short: memory does not grow with the library, nor
//! with the number of cores. [`pipeline`] wires the stages; what they share is in [`context`].

mod assign;
mod context;
mod database;
mod dedup;
mod jobs;
mod last;
mod listing;
mod mounts;
mod options;
mod outcome;
mod pack_writer;
mod pending;
mod pipeline;
mod prepare;
mod publish;
mod read;
mod roots;
mod shrink;
mod stat_cache;
mod states;
mod totals;
mod tree_builder;
mod upload;
mod walk;
mod workers;

use tracing::info;

use crate::codec::random;
use crate::error::{Argument, Error};
use crate::files::Exclude;
use crate::format::{FormatError, LogEntry, LogHead, SnapshotId, validate_history};
use crate::ops::frozen::{Frozen, frozen};
use crate::progress::Progress;
use crate::repo::Repository;
use crate::store::Requests;

use context::Context;
pub(super) use last::is_less_than_half;
pub use options::SnapshotOptions;
use publish::{predict, publish};
pub use shrink::{Doubts, Emptied, Mark};
pub use totals::{SourceTotals, Totals};

/// How often a snapshot is begun again because a prune deleted packs that it counted on.
const REBASES_MAX: u32 = 5;

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

/// Takes a snapshot. It is durable and complete when this returns; files that could not be read
/// are counted and were reported to `progress`.
pub fn snapshot(
    repository: &Repository,
    options: &SnapshotOptions,
    progress: &dyn Progress,
) -> Result<SnapshotSummary, Error> {
    if options.paths.is_empty() {
        let reason = "at least one path is needed".to_owned();
        return Err(Error::Input { what: Argument::Paths, reason });
    }
    if let Some(name) = &options.history {
        let reason = |error: FormatError| error.to_string();
        let fail = |reason| Error::Input { what: Argument::History(name.clone()), reason };
        validate_history(name).map_err(reason).map_err(fail)?;
    }
    let before = repository.store.requests();
    let _lock = repository.catalog.writer_lock(progress)?;
    repository.sync()?;
    // A writer that is revoked, or at a mirror, finds out before it uploads anything.
    repository.expect_main()?;
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
        let context = Context::new(repository, options, &exclude, progress)?;
        // Ask before the attempt, which records the files that it finds.
        forgotten |= context.has_forgotten()?;
        let root = pipeline::execute(&context, SnapshotId(random()))?;
        if options.dry_run {
            break (None, context.totals(), context.doubts()?);
        }
        let doubts = context.doubts()?;
        match publish(&context, &root, &doubts)? {
            Some(id) => break (Some(id), context.totals(), doubts),
            None if attempt < REBASES_MAX => {
                info!(attempt, "a prune deleted packs that this snapshot needs: looking again");
                progress.stage("looking again");
            }
            None => {
                let reason = "a prune kept deleting packs that this snapshot needs".to_owned();
                return Err(Error::Input { what: "the snapshot".into(), reason });
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
