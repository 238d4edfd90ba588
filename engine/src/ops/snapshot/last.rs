//! The snapshots that a new one is compared with. Uses the log alone, so that a host without the identity can compare.

use std::collections::HashSet;

use super::options::SnapshotOptions;
use crate::error::Error;
use crate::format::signed::OWNER;
use crate::format::{ChunkId, Ordinals, SnapshotEntry, tree};
use crate::repo::catalog::Catalog;
use crate::repo::{PackRowId, Repository};

/// The last full snapshot of the history that a run adds to.
pub(super) struct Last {
    pub entry: SnapshotEntry,
    /// Whether this host wrote it, not another host with the same name.
    pub is_own: bool,
    packs: HashSet<PackRowId>,
}

impl Last {
    pub fn find(
        repository: &Repository,
        options: &SnapshotOptions,
        paths: &[Vec<u8>],
    ) -> Result<Option<Last>, Error> {
        let key = options.history_key(repository, paths);
        let rows = repository.catalog.snapshots()?;
        let mut ours = rows.into_iter().filter(|row| {
            row.entry.host == options.host && row.entry.history_key() == key && !row.is_marked()
        });
        let Some(row) = ours.next_back() else { return Ok(None) };
        let packs = repository.catalog.pack_keys(&row.entry.packs)?;
        // A `rewrite` of the owner replaces the snapshots of every host.
        let is_own = row.writer == repository.writer_id() || row.writer == OWNER;
        Ok(Some(Last { entry: row.entry, is_own, packs }))
    }

    /// Returns whether it needs all of these packs.
    pub fn has_all<'a>(&self, packs: impl IntoIterator<Item = &'a PackRowId>) -> bool {
        packs.into_iter().all(|pack| self.packs.contains(pack))
    }

    /// Returns whether it has all chunks of a file, in any pack. Returns false for a file without chunks, because
    /// nothing is known about it.
    pub fn has_file(&self, catalog: &Catalog, chunks: &[u8]) -> Result<bool, Error> {
        let ids = tree::split_ids(chunks).unwrap_or_default();
        for id in &ids {
            if !catalog.chunk_places(id)?.iter().any(|place| self.packs.contains(&place.pack)) {
                return Ok(false);
            }
        }
        Ok(!ids.is_empty())
    }

    /// Returns whether the snapshot has a chunk that was found in `pack`, even if the snapshot has
    /// it in another pack.
    pub fn has(&self, catalog: &Catalog, id: &ChunkId, pack: PackRowId) -> Result<bool, Error> {
        Ok(self.packs.contains(&pack) || self.has_lost(catalog, id)?)
    }

    /// Returns whether it has a chunk, even if the chunk is lost.
    pub fn has_lost(&self, catalog: &Catalog, id: &ChunkId) -> Result<bool, Error> {
        Ok(catalog.chunk_places(id)?.iter().any(|place| self.packs.contains(&place.pack)))
    }
}

/// The content of all snapshots. Content that only an interrupted run has stored still counts as new.
pub(super) struct Saved {
    /// Whether there is a snapshot.
    any: bool,
    packs: HashSet<PackRowId>,
}

impl Saved {
    pub fn find(repository: &Repository) -> Result<Saved, Error> {
        let rows = repository.catalog.snapshots()?;
        let ranges = rows.iter().flat_map(|row| row.entry.packs.iter().copied());
        let packs = repository.catalog.pack_keys(&Ordinals::from_ranges(ranges).ranges())?;
        Ok(Saved { any: !rows.is_empty(), packs })
    }

    /// Returns whether snapshots need all of these packs.
    pub fn has_all<'a>(&self, packs: impl IntoIterator<Item = &'a PackRowId>) -> bool {
        self.any && packs.into_iter().all(|pack| self.packs.contains(pack))
    }

    /// Returns whether snapshots have all chunks of a file, in any pack.
    pub fn has_file(&self, catalog: &Catalog, chunks: &[u8]) -> Result<bool, Error> {
        if !self.any {
            return Ok(false);
        }
        for id in tree::split_ids(chunks).unwrap_or_default() {
            if !catalog.chunk_places(&id)?.iter().any(|place| self.packs.contains(&place.pack)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether snapshots have all chunks of a file. `packs` are the packs in which these were found.
    pub fn has<'a>(
        &self,
        catalog: &Catalog,
        packs: impl IntoIterator<Item = &'a PackRowId>,
        chunks: &[u8],
    ) -> Result<bool, Error> {
        Ok(self.has_all(packs) || self.has_file(catalog, chunks)?)
    }
}

/// Returns whether `part` is less than half of `of`, which suggests that most of it was lost.
pub(crate) fn is_less_than_half(part: u64, of: u64) -> bool {
    part < of.div_ceil(2)
}
