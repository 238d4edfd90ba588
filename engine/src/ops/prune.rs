//! Planning a prune from the log alone: which packs no snapshot needs. Reads no tree and no name.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::format::SnapshotId;
use crate::repo::{PackRow, PackState, Repository};

/// What dropping snapshots would leave without use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    pub snapshots_kept: u64,
    pub snapshots_dropped: u64,
    /// All packs of the log.
    pub packs: u64,
    /// Packs that no kept snapshot needs.
    pub dead: Vec<PackRow>,
}

/// Plans as if the snapshots in `drop` were gone. Changes nothing.
pub fn plan(repository: &Repository, drop: &BTreeSet<SnapshotId>) -> Result<PrunePlan, Error> {
    let mut plan = PrunePlan::default();
    let mut needed = BTreeSet::new();
    for row in repository.catalog.snapshots()? {
        if drop.contains(&row.entry.id) {
            plan.snapshots_dropped += 1;
            continue;
        }
        plan.snapshots_kept += 1;
        for range in row.entry.packs {
            needed.insert((range.first, range.first.saturating_add(range.count)));
        }
    }
    let packs = repository.catalog.packs(PackState::Committed)?;
    plan.packs = packs.len() as u64;
    let is_needed = |ordinal: u64| needed.iter().any(|(from, to)| (*from..*to).contains(&ordinal));
    plan.dead = packs
        .into_iter()
        .filter(|pack| pack.ordinal.is_some_and(|ordinal| !is_needed(ordinal)))
        .collect();
    Ok(plan)
}
