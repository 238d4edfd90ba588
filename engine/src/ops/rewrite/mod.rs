//! Removes paths from every snapshot for good.
//!
//! [`plan`] finds the snapshots that contain a path, and the packs with data that only this path needs. [`rewrite`]
//! replaces the snapshots. [`Plan::erasing`], passed to [`crate::ops::prune::prune`], erases the data. A rewritten
//! snapshot takes the position of the old one in the order of the log, and has its time, host, tags and history. All
//! snapshots of a round become visible in one log entry: if the run is killed at any moment, either the old or the new
//! snapshot exists, and the next run continues.

mod cut;
mod meant;
mod publish;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

pub use cut::Counts;
use cut::{PathRemover, Rewritten};
pub use meant::KeptElsewhere;
use meant::{Meant, all_of, elsewhere, meant};
pub use publish::{RewriteSummary, rewrite};

use crate::error::Error;
use crate::format::{ChunkId, EntryKind};
use crate::ops::browse::{Snapshot, ids};
use crate::ops::prune::reclaim::Conditions;
use crate::ops::prune::{Erasing, LiveSet, erasing};
use crate::progress::{Progress, Unit};
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// A snapshot that contains one of the paths.
#[derive(Debug, Clone)]
pub struct Affected {
    /// The snapshot.
    pub row: SnapshotRow,
    /// What is removed from it.
    pub removed: Counts,
    /// Whether it contains nothing else. Then it is dropped without a replacement.
    pub is_all: bool,
}

/// The plan of a rewrite.
#[derive(Debug)]
pub struct Plan {
    /// Visible snapshots, in the order of the log.
    pub affected: Vec<Affected>,
    /// Dropped snapshots that still contain one of the paths.
    pub dropped: Vec<SnapshotRow>,
    /// Snapshots with one of the paths that are set apart because their writer is revoked; they
    /// stay as they are.
    pub apart: Vec<SnapshotRow>,
    /// The real paths to remove, each with the largest counts of all snapshots.
    pub paths: BTreeMap<PathBuf, Counts>,
    /// All names of the paths in all snapshots: as they were typed, and their real paths.
    pub meant: Vec<Vec<u8>>,
    /// The typed paths that are in no snapshot.
    pub unknown: Vec<Vec<u8>>,
    /// Content of these files that remains under other names.
    pub elsewhere: KeptElsewhere,
    /// Bytes of the trees that are written.
    pub bytes_written: u64,
    /// What erasing the data at once would do.
    pub erasing: Erasing,
}

/// Finds the snapshots that contain one of some paths, and the data that only these paths need. Changes nothing.
pub fn plan(
    repository: &Repository,
    paths: &[Vec<u8>],
    conditions: Conditions,
    progress: &dyn Progress,
) -> Result<Plan, Error> {
    let trees = TreeReader::new(repository)?;
    let catalog = &repository.catalog;
    let visible = catalog.snapshots()?;
    let hidden = catalog.dropped_snapshots()?;
    let set_apart = catalog.apart_snapshots()?;
    let Meant { all: meant, unknown } = meant(&trees, &all_of(repository)?, paths)?;
    let mut cutter = PathRemover::new(&trees, &meant);
    let count = visible.len() + hidden.len() + set_apart.len();
    progress.expect(Unit::Snapshots, count as u64, 0);
    let mut found = KeptAndGone::default();
    let mut affected = Vec::new();
    let (mut dropped, mut apart) = (Vec::new(), Vec::new());
    let (mut paths, mut bytes_written) = (BTreeMap::new(), 0);
    for row in &visible {
        progress.check_interrupted()?;
        progress.advance(1, 0);
        let snapshot = Snapshot::open(&trees, row.clone())?;
        let Some(cut) = cutter.cut(&snapshot)? else {
            found.kept.push(row.entry.record);
            found.kept_trees.extend(snapshot.root()?);
            continue;
        };
        let removed = sum(&cut.removed, &snapshot, &mut paths);
        bytes_written += cut.made.iter().map(|(_, raw)| raw.len() as u64).sum::<u64>();
        let is_all = !cut.keeps;
        affected.push(Affected { row: row.clone(), removed, is_all });
        found.add(cut, !is_all);
    }
    let hidden_rows = hidden.clone();
    let hidden = hidden.into_iter().map(|row| (row, false));
    for (row, is_apart) in hidden.chain(set_apart.into_iter().map(|row| (row, true))) {
        progress.check_interrupted()?;
        progress.advance(1, 0);
        // If the trees are gone, this snapshot no longer names any data.
        let cut = Snapshot::open(&trees, row.clone()).and_then(|snapshot| cutter.cut(&snapshot));
        match cut {
            Ok(Some(cut)) => {
                if is_apart {
                    apart.push(row)
                } else {
                    dropped.push(row)
                }
                found.add(cut, false);
            }
            Ok(None) => {}
            Err(error) if error.is_of_object() => {}
            Err(error) => return Err(error),
        }
    }
    let Divided { live, gone, is_elsewhere } = found.divide(&trees, progress)?;
    let elsewhere = match is_elsewhere {
        true => elsewhere(&trees, &visible, &hidden_rows, &meant, progress)?,
        false => KeptElsewhere::default(),
    };
    let going = affected.iter().map(|affected| affected.row.entry.id).collect();
    let erasing = erasing(repository, &live, &gone, &going, conditions)?;
    Ok(Plan { affected, dropped, apart, paths, meant, unknown, elsewhere, bytes_written, erasing })
}

/// The chunks to keep and the chunks to remove, of all snapshots.
#[derive(Default)]
struct KeptAndGone {
    kept: Vec<ChunkId>,
    kept_trees: Vec<ChunkId>,
    gone: Vec<ChunkId>,
    gone_trees: Vec<ChunkId>,
}

/// Returns the total counts that are removed from a snapshot. For each real path, `paths` keeps the largest count of
/// all snapshots.
fn sum(
    removed: &[(PathBuf, Counts)],
    snapshot: &Snapshot,
    paths: &mut BTreeMap<PathBuf, Counts>,
) -> Counts {
    let mut all = Counts::default();
    for (place, counts) in removed {
        let most = paths.entry(snapshot.places.real(place).into_owned()).or_insert(*counts);
        if counts.files >= most.files {
            *most = *counts;
        }
        all.add(*counts);
    }
    all
}

/// All chunks, divided by whether they are still needed.
struct Divided {
    live: LiveSet,
    /// Chunks that only removed files need.
    gone: Vec<ChunkId>,
    /// Whether remaining files also need some chunks of removed files.
    is_elsewhere: bool,
}

impl KeptAndGone {
    fn divide(mut self, trees: &TreeReader, progress: &dyn Progress) -> Result<Divided, Error> {
        let live = LiveSet::gathered(|add| {
            self.kept.iter().for_each(&mut *add);
            below(trees, std::mem::take(&mut self.kept_trees), progress, false, add)
        })?;
        let mut gone = self.gone;
        below(trees, self.gone_trees, progress, true, &mut |id| gone.push(*id))?;
        gone.sort_unstable_by_key(|id| id.0);
        gone.dedup();
        let mut looking = live.ascending();
        let count = gone.len();
        gone.retain(|id| !looking.has(id));
        let is_elsewhere = gone.len() < count;
        Ok(Divided { live, gone, is_elsewhere })
    }

    /// Adds the chunks of a snapshot. The kept ones are needed only if the snapshot is `rewritten`, not if it is
    /// dropped.
    fn add(&mut self, cut: Rewritten, rewritten: bool) {
        self.gone.extend(cut.gone);
        self.gone_trees.extend(cut.gone_trees);
        if rewritten {
            self.kept.extend(cut.kept_data);
            self.kept.extend(cut.made.iter().map(|(id, _)| *id));
            self.kept_trees.extend(cut.kept_trees);
            for ids in [&mut self.kept, &mut self.kept_trees] {
                // Successive snapshots share nearly all of these chunks, so remove duplicates from time to time.
                if ids.len() > 1 << 20 {
                    ids.sort_unstable_by_key(|id| id.0);
                    ids.dedup();
                }
            }
        }
    }
}

/// Visits trees and everything below them, each chunk once.
fn below(
    trees: &TreeReader,
    mut left: Vec<ChunkId>,
    progress: &dyn Progress,
    past_damage: bool,
    add: &mut dyn FnMut(&ChunkId),
) -> Result<(), Error> {
    let mut seen: HashSet<[u8; 16]> = HashSet::new();
    while let Some(id) = left.pop() {
        if !seen.insert(*id.0.first_chunk().expect("an id has 32 bytes")) {
            continue;
        }
        progress.check_interrupted()?;
        add(&id);
        let entries = match trees.folder(&[id]) {
            Err(error) if past_damage && error.is_of_object() => continue,
            entries => entries?,
        };
        for entry in entries {
            match entry.kind {
                EntryKind::Folder => left.extend(ids(&entry)?),
                _ => ids(&entry)?.iter().for_each(&mut *add),
            }
        }
    }
    Ok(())
}
