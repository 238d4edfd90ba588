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
//! One thread walks and never reads a file. The workers share the files, even large ones, and fill one pack together,
//! so that a shoot stays together. One or two threads upload packs. The caller's thread builds trees in the order of
//! the walk. Every queue is short, so memory grows neither with the library nor with the number of cores. [`pipeline`]
//! wires the stages; [`context`] is what they share.

mod assign;
mod context;
mod database;
mod dedup;
mod handover;
mod jobs;
mod last;
mod listing;
mod mounts;
mod options;
mod outcome;
mod pack_writer;
mod pipeline;
mod prepare;
mod publish;
mod read;
mod reread;
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
use crate::format::authority::Rights;
use crate::format::{FormatError, LogHead, SnapshotId, validate_history};
use crate::ops::frozen::{Frozen, frozen};
use crate::progress::Progress;
use crate::repo::Repository;
use crate::store::Requests;

use context::Context;
pub(super) use last::is_less_than_half;
pub use options::SnapshotOptions;
use publish::{predict, publish};
use shrink::Memory;
pub use shrink::{Doubts, Emptied, Mark};
pub use totals::{SourceTotals, Totals};

/// Maximum number of times that a snapshot starts over because a prune deleted packs that it relied on.
const REBASES_MAX: u32 = 5;

/// The result of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct SnapshotSummary {
    /// `None` after a dry run.
    pub id: Option<SnapshotId>,
    /// The counts of files and bytes.
    pub totals: Totals,
    /// The requests that were made.
    pub requests: Requests,
    /// After a dry run, the requests that a real run would have made in addition.
    pub predicted: Requests,
    /// The head of the log with this snapshot, to give to a new host.
    pub head: Option<LogHead>,
    /// What the owner should check.
    pub doubts: Doubts,
    /// Objects that every restore reads first and that have been moved to an archive class. This host does not read
    /// them.
    pub frozen: Vec<Frozen>,
    /// Numbers of the patterns that have matched nothing.
    pub unmatched: Vec<usize>,
    /// Whether this host has lost its catalog, so that files counted as new may be old.
    pub forgotten: bool,
    /// Whether this host had no record of one of the sources, because it reads it for the first time or has lost its
    /// catalog. Then files counted as moved may have been archived under the same name.
    pub first_read: bool,
}

/// Creates a snapshot. It is durable and complete when this function returns. Files that could not be read are counted
/// and reported to `progress`.
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
    // Fail before any upload if this is a mirror, or if this writer has been revoked or has no right to add.
    repository.expect_main()?;
    repository.expect_rights(Rights::ADD)?;
    let exclude = Exclude::new(options.exclude.clone())?;
    let frozen = frozen(repository)?;
    if !options.dry_run {
        repository.settle_uploads()?;
    }
    let mut attempt = 0;
    let mut memory = Memory::default();
    let (id, totals, doubts) = loop {
        attempt += 1;
        let context = Context::new(repository, options, &exclude, progress)?;
        // Ask before the attempt begins, because an attempt records the files that it finds.
        memory = memory.or(context.memory()?);
        let root = pipeline::execute(&context, SnapshotId(random()))?;
        if options.dry_run {
            break (None, context.totals_of_run(), context.doubts()?);
        }
        let doubts = context.doubts()?;
        match publish(&context, &root, &doubts)? {
            Some(id) => {
                context.reread.remember(repository)?;
                break (Some(id), context.totals_of_run(), doubts);
            }
            None if attempt < REBASES_MAX => {
                info!(attempt, "a prune deleted packs that this snapshot needs: looking again");
                progress.stage("looking again");
            }
            None => {
                let reason = "a prune kept deleting objects that this snapshot needs".to_owned();
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
        forgotten: memory.is_lost,
        first_read: memory.lacks_source,
    })
}
