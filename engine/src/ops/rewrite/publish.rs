//! Replaces snapshots: uploads the new trees in new packs, then replaces the old snapshots by the
//! new ones in one log entry. If the run is killed before that entry, the old snapshots still
//! exist, and the next run uses the uploaded packs, or a prune deletes them.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::cut::{Counts, PathRemover, Rewritten};
use super::meant::{all_of, having, meant};
use crate::codec::{Compressor, random};
use crate::error::Error;
use crate::format::{
    ChunkId, LogEntry, Ordinals, PackKind, Replaced, SnapshotEntry, SnapshotId, SnapshotRecord,
    SourceCount, Time, tree,
};
use crate::ops::browse::{Snapshot, clean};
use crate::ops::prune::compare;
use crate::progress::Progress;
use crate::repo::{PackBuilder, PackRowId, PackState, Repository, SnapshotRow, TreeReader};

/// Maximum number of snapshots that one log entry replaces.
const ROUND: usize = 256;

/// The result of a rewrite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteSummary {
    /// The replaced snapshots, and their replacements.
    pub replaced: Vec<(SnapshotId, SnapshotId)>,
    /// Snapshots that contained nothing else.
    pub dropped: Vec<SnapshotId>,
    /// Snapshots that still contain one of the paths; none unless something went wrong.
    pub left: Vec<SnapshotId>,
    /// Total bytes of the new packs.
    pub bytes_written: u64,
}

/// A new snapshot that is ready to replace an old one.
struct Ready {
    old: SnapshotId,
    id: SnapshotId,
    record: ChunkId,
    removed: Counts,
    sources: Option<Vec<SourceCount>>,
}

/// Removes paths from all snapshots that contain one of them, including snapshots that other hosts add at the same
/// time.
pub fn rewrite(
    repository: &Repository,
    paths: &[Vec<u8>],
    time: Time,
    progress: &dyn Progress,
) -> Result<RewriteSummary, Error> {
    let _lock = repository.catalog.writer_lock(progress)?;
    repository.sync()?;
    repository.expect_main()?;
    repository.settle_uploads()?;
    let mut summary = RewriteSummary::default();
    let trees = TreeReader::new(repository)?;
    let paths = &meant(&trees, &all_of(repository)?, paths)?.all;
    // Compare the snapshots before anything is removed from them.
    let doubtful = compare(repository, &repository.catalog.snapshots()?, progress)?.shrunk;
    // Snapshots that are known to contain none of the paths.
    let mut clear: HashSet<SnapshotId> = HashSet::new();
    loop {
        let rows = repository.catalog.snapshots()?;
        let rows: Vec<SnapshotRow> =
            rows.into_iter().filter(|row| !clear.contains(&row.entry.id)).collect();
        if rows.is_empty() {
            // Search the archive again, so that the result describes what the archive contains now.
            let rows = repository.catalog.snapshots()?;
            let left = having(&TreeReader::new(repository)?, &rows, paths)?;
            summary.left = left.iter().map(|row| row.entry.id).collect();
            return Ok(summary);
        }
        let aims = Aims { repository, paths, doubtful: &doubtful, time, progress };
        aims.round(rows, &mut clear, &mut summary)?;
        repository.sync()?;
    }
}

/// What all rounds of a rewrite share.
struct Aims<'a> {
    repository: &'a Repository,
    paths: &'a [Vec<u8>],
    /// Snapshots whose trees had shrunk before the rewrite.
    doubtful: &'a BTreeSet<SnapshotId>,
    time: Time,
    progress: &'a dyn Progress,
}

impl Aims<'_> {
    /// Replaces some of the snapshots that contain a path, and records those that contain none.
    fn round(
        &self,
        rows: Vec<SnapshotRow>,
        clear: &mut HashSet<SnapshotId>,
        summary: &mut RewriteSummary,
    ) -> Result<(), Error> {
        let Aims { repository, paths, progress, .. } = *self;
        let trees = TreeReader::new(repository)?;
        let mut cutter = PathRemover::new(&trees, paths);
        let mut packing = Packing::new(repository, progress);
        let (mut ready, mut dropped) = (Vec::new(), BTreeSet::new());
        for row in rows {
            if ready.len() + dropped.len() == ROUND {
                break;
            }
            progress.check_interrupted()?;
            let id = row.entry.id;
            let snapshot = Snapshot::open(&trees, row)?;
            let Some(cut) = cutter.cut(&snapshot)? else {
                clear.insert(id);
                continue;
            };
            let mut removed = Counts::default();
            cut.removed.iter().for_each(|(_, counts)| removed.add(*counts));
            if !cut.keeps {
                dropped.insert(id);
                continue;
            }
            let new = SnapshotId(random());
            let Rewritten { root, made, removed: places, .. } = cut;
            let record = SnapshotRecord {
                id: new,
                tags: snapshot.row.entry.tags.clone(),
                root: tree::join_ids(&root),
                ..snapshot.record.clone()
            };
            for (id, raw) in &made {
                packing.add(id, raw)?;
            }
            let raw = record.encode();
            let record = repository.secrets.chunk_id(PackKind::Meta, &raw);
            packing.add(&record, &raw)?;
            let sources = sources(repository, &snapshot, &places);
            ready.push(Ready { old: id, id: new, record, removed, sources });
        }
        let (packs, bytes) = packing.finish()?;
        summary.bytes_written += bytes;
        let mut done = Vec::new();
        repository.commit(|| {
            let (entry, replaced) = self.compose(&ready, &dropped, &packs)?;
            done = replaced;
            Ok((!entry.is_empty()).then_some(entry))
        })?;
        clear.extend(done.iter().map(|(_, new)| *new));
        summary.replaced.extend(done);
        summary.dropped.extend(dropped);
        Ok(())
    }

    /// Composes the entry from the catalog at the head of the log. Skips a snapshot that was dropped meanwhile.
    fn compose(
        &self,
        ready: &[Ready],
        dropped: &BTreeSet<SnapshotId>,
        packs: &BTreeSet<PackRowId>,
    ) -> Result<(LogEntry, Vec<(SnapshotId, SnapshotId)>), Error> {
        let catalog = &self.repository.catalog;
        let rows = catalog.snapshots()?;
        let mut entry = LogEntry {
            dropped: rows
                .iter()
                .map(|row| row.entry.id)
                .filter(|id| dropped.contains(id))
                .collect(),
            ..LogEntry::new(self.time)
        };
        let (mut replaced, mut accepted) = (Vec::new(), Vec::new());
        let open = catalog.open_packs(PackState::Uploaded)?;
        let new_packs = catalog.ordinals(packs, &open)?;
        for Ready { old, id, record, removed, sources } in ready {
            let Some(row) = rows.iter().find(|row| row.entry.id == *old) else { continue };
            let before = &row.entry;
            let packs = before.packs.iter().chain(&new_packs).copied();
            entry.snapshots.push(SnapshotEntry {
                id: *id,
                record: *record,
                files: before.files.saturating_sub(removed.files),
                bytes: before.bytes.saturating_sub(removed.bytes),
                packs: Ordinals::from_ranges(packs).ranges(),
                sources: sources.clone(),
                ..before.clone()
            });
            replaced.push(Replaced { new: *id, old: *old });
            // The owner has removed the missing files, so their absence must not make the snapshot
            // look suspicious.
            let was_full = !row.is_marked() && !self.doubtful.contains(old);
            accepted.extend((row.accepted || was_full).then_some(*id));
        }
        if !replaced.is_empty() {
            entry.packs = open;
            entry.accepted = (!accepted.is_empty()).then_some(accepted);
            entry.replaced = Some(replaced.clone());
        }
        Ok((entry, replaced.into_iter().map(|pair| (pair.old, pair.new)).collect()))
    }
}

/// Returns the file counts of each source of a snapshot, without the removed places.
fn sources(
    repository: &Repository,
    snapshot: &Snapshot,
    removed: &[(std::path::PathBuf, Counts)],
) -> Option<Vec<SourceCount>> {
    let mut counts = snapshot.row.entry.sources.clone()?;
    for source in snapshot.record.places.iter().flatten() {
        let key = repository.secrets.paths_key(&[source.path.to_vec()]);
        let Some(count) = counts.iter_mut().find(|count| count.key == key) else { continue };
        let place = clean(&source.place);
        for (gone, what) in removed {
            let gone: &Path = gone;
            if place.starts_with(gone) {
                (count.files, count.empty) = (0, 0);
            } else if gone.starts_with(&place) {
                count.files = count.files.saturating_sub(what.files);
                count.empty = count.empty.saturating_sub(what.empty);
            }
        }
    }
    Some(counts)
}

/// Collects trees in packs and uploads these.
struct Packing<'a> {
    repository: &'a Repository,
    progress: &'a dyn Progress,
    compressor: Compressor,
    open: Option<PackBuilder>,
    added: HashSet<ChunkId>,
    packs: BTreeSet<PackRowId>,
    bytes: u64,
}

impl<'a> Packing<'a> {
    fn new(repository: &'a Repository, progress: &'a dyn Progress) -> Self {
        Packing {
            repository,
            progress,
            compressor: Compressor::default(),
            open: None,
            added: HashSet::new(),
            packs: BTreeSet::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, id: &ChunkId, raw: &[u8]) -> Result<(), Error> {
        if !self.added.insert(*id) {
            return Ok(());
        }
        if self.open.is_none() {
            let target = self.repository.settings()?.bytes_of(PackKind::Meta);
            let new = PackBuilder::new(&self.repository.secrets, PackKind::Meta, target);
            self.open = Some(new.map_err(|error| Error::object("the public key", error))?);
        }
        let Some(pack) = &mut self.open else { return Ok(()) };
        let (codec, content) = self.compressor.compress(raw);
        let raw_bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        pack.add(*id, raw_bytes, codec, content);
        if pack.is_full() { self.upload() } else { Ok(()) }
    }

    fn upload(&mut self) -> Result<(), Error> {
        let Some(pack) = self.open.take().filter(|pack| !pack.is_empty()) else { return Ok(()) };
        let class = self.repository.settings()?.class_of(PackKind::Meta).to_owned();
        let pack = pack.finish(&class);
        self.packs.insert(self.repository.upload(&pack, self.progress)?);
        self.bytes += pack.record.bytes;
        Ok(())
    }

    fn finish(mut self) -> Result<(BTreeSet<PackRowId>, u64), Error> {
        self.upload()?;
        Ok((self.packs, self.bytes))
    }
}
