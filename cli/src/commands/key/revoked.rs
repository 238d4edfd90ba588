//! Says what a revocation takes back.

use std::collections::HashSet;

use icecore_engine::format::SnapshotId;
use icecore_engine::repo::{Repository, Undone, Writer, WriterEntry};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::units::{agree, count};

/// What a revocation takes back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TakenBack {
    /// Dropped snapshots that are visible again.
    dropped: u64,
    /// Objects that are no longer marked for deletion.
    given_up: u64,
    /// Undeleted snapshots that are dropped again.
    undropped: u64,
}

impl TakenBack {
    /// Predicts what a revocation takes back. Does not add up what the entries have done, because one may have undone what
    /// another one did.
    pub(super) fn planned(said: &[WriterEntry], undone: Undone) -> TakenBack {
        TakenBack {
            dropped: undone.back,
            given_up: total(said, |said| said.given_up),
            undropped: undone.dropped_again,
        }
    }

    /// Compares the visible snapshots with those `before` the revocation.
    pub(super) fn done(
        planned: TakenBack,
        before: &HashSet<SnapshotId>,
        repository: &Repository,
    ) -> Result<TakenBack, Failure> {
        let after = visible(repository)?;
        let dropped = repository.catalog.dropped_snapshots()?;
        let again = dropped.iter().filter(|row| before.contains(&row.entry.id));
        Ok(TakenBack {
            dropped: after.difference(before).count() as u64,
            undropped: again.count() as u64,
            ..planned
        })
    }
}

pub(super) fn visible(repository: &Repository) -> Result<HashSet<SnapshotId>, Failure> {
    Ok(repository.catalog.snapshots()?.into_iter().map(|row| row.entry.id).collect())
}

/// Describes a revocation: the snapshots that are set apart, and what it takes back.
pub(super) fn revoked_json(writer: &Writer, from: u64, apart: u64, back: TakenBack) -> Value {
    json!({
        "writer": writer.id.to_string(), "from": from, "apart": apart,
        "snapshots_back": back.dropped, "packs_back": back.given_up, "undeletes_void": back.undropped,
    })
}

/// Describes what a revocation takes back of what a writer has dropped, marked for deletion and undeleted.
pub(super) fn taken_back(back: TakenBack) -> String {
    let TakenBack { dropped, given_up, undropped } = back;
    let parts = [
        (
            dropped,
            format!("{} {} back", count(dropped, "dropped snapshot"), agree(dropped, "is", "are")),
        ),
        (
            given_up,
            format!(
                "{} {} no longer marked for deletion",
                count(given_up, "object"),
                agree(given_up, "is", "are")
            ),
        ),
        (
            undropped,
            format!(
                "{} {} dropped again",
                count(undropped, "undeleted snapshot"),
                agree(undropped, "is", "are")
            ),
        ),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    parts.map(|(_, part)| format!("; {part}")).collect()
}

pub(super) fn total(said: &[WriterEntry], of: fn(&WriterEntry) -> u64) -> u64 {
    said.iter().map(of).sum()
}
