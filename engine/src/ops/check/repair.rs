//! Repairs the damage that a check has found, and only adds objects. Chunks that parity heals, or
//! that a local folder still contains, go into new packs, which snapshots then name in addition to
//! the damaged ones. Other chunks are marked as lost in the log. No new snapshot relies on them, so
//! the next snapshot of a host that has the file stores them again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Check, Wound};
use crate::codec::Compressor;
use crate::error::Error;
use crate::format::{ChunkId, LogEntry, Lost, Move, Ordinals, PackKind, PackRange, Time};
use crate::ops::restore::Seed;
use crate::progress::Progress;
use crate::repo::catalog::LostBy;
use crate::repo::{ChunkLocation, ChunkReader, PackBuilder, PackRowId, PackState, Repository};

/// The results of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairSummary {
    /// Number of needed chunks that were damaged or missing and are intact again.
    pub chunks_healed: u64,
    /// Number of needed chunks that were found in no pack, parity or folder.
    pub chunks_lost: u64,
    /// Number of chunks in packs that look damaged but were not read. They may be intact.
    pub chunks_unread: u64,
    /// Number of chunks that were marked as lost but exist.
    pub chunks_found: u64,
    /// Number of parity objects that were written again.
    pub parity_renewed: u64,
    /// Number of packs with healed chunks.
    pub packs_written: u64,
    /// Their total size.
    pub bytes_written: u64,
    /// Number of log entries that were damaged or missing and were put back, including `config`.
    pub objects_put_back: u64,
    /// Whether `config` is one of them.
    pub config_put_back: bool,
    /// Number of packs that [`Check::put_back_packs`] has put back, if the caller counts them here.
    pub packs_put_back: u64,
}

impl RepairSummary {
    /// Returns whether the repair has changed nothing.
    pub fn is_idle(&self) -> bool {
        let done = [
            self.chunks_healed,
            self.chunks_lost,
            self.chunks_found,
            self.parity_renewed,
            self.packs_written,
            self.objects_put_back,
            self.packs_put_back,
        ];
        done == [0; 7]
    }
}

impl Check<'_> {
    /// Heals everything that can be healed. Needs the identity, and an earlier [`Check::finish`].
    pub fn repair(
        &mut self,
        seed: &Seed,
        time: Time,
        progress: &dyn Progress,
    ) -> Result<RepairSummary, Error> {
        self.repository.identity()?;
        let catalog = &self.repository.catalog;
        let _lock = catalog.writer_lock(progress)?;
        let mut summary = self.put_back(progress)?;
        if self.broken.unreadable {
            return Ok(summary);
        }
        self.repository.settle_uploads()?;
        progress.stage("storing what was found");
        let reader = ChunkReader::new(self.repository)?;
        let repository = self.repository;
        let mut packer = Packer { repository, progress, open: BTreeMap::new() };
        let mut compressor = Compressor::default();
        // The packs in which each damaged chunk is intact.
        let mut whole: BTreeMap<ChunkId, Vec<PackRowId>> = BTreeMap::new();
        let mut unread: HashSet<PackRowId> = HashSet::new();
        // Read the chunks in the order of the packs, so that chunks of one file stay together.
        let mut wounds: Vec<(&ChunkId, &Wound)> = self.wounds.iter().collect();
        wounds.sort_by_key(|(_, wound)| wound.places.first().map(|at| (at.pack, at.slot)));
        for (id, wound) in wounds {
            progress.check_interrupted()?;
            if let Some(place) = self.elsewhere(&wound.places)? {
                whole.insert(*id, vec![place.pack]);
                continue;
            }
            let kind = wound.places.first().map(|place| catalog.pack(place.pack));
            let kind = kind.transpose()?.flatten().map(|pack| pack.kind);
            let mut healed = wound.places.iter();
            let raw = healed.find_map(|place| reader.open_healed(id, place.pack));
            match kind.zip(raw.or_else(|| seed.read(self.repository, id))) {
                Some((kind, raw)) => {
                    whole.insert(*id, Vec::new());
                    packer.add(kind, *id, &raw, &mut compressor, &mut summary)?;
                }
                None if self.is_unread(&wound.places)? => {
                    summary.chunks_unread += 1;
                    unread.extend(wound.places.iter().map(|place| place.pack));
                }
                None => summary.chunks_lost += 1,
            }
        }
        packer.close_all(&mut summary)?;
        // Packs that were healed to store their chunks again were reported with the damage.
        self.repository.take_healed();
        summary.chunks_healed = whole.len() as u64;
        self.find_stored(&mut whole)?;
        self.repository.commit(|| {
            let mut entry = LogEntry::new(time);
            self.compose_moves(&whole, &mut entry)?;
            self.compose_lost(&mut entry)?;
            self.compose_found(&mut entry)?;
            summary.chunks_found = entry.found.iter().map(|found| count(&found.slots)).sum();
            Ok((!entry.is_empty()).then_some(entry))
        })?;
        // The log contains these findings now.
        self.found.clear();
        self.forget_recorded(&unread)?;
        self.renew_parity(&mut summary, progress)?;
        Ok(summary)
    }

    /// Adds the packs in which the chunks are intact that were stored again.
    fn find_stored(&self, whole: &mut BTreeMap<ChunkId, Vec<PackRowId>>) -> Result<(), Error> {
        for (id, packs) in whole.iter_mut().filter(|(_, packs)| packs.is_empty()) {
            for place in self.repository.catalog.chunk_places(id)? {
                if self.problem_at(&place)?.is_none() {
                    packs.push(place.pack);
                }
            }
        }
        Ok(())
    }

    /// Forgets the problems of packs whose damage the log records now, except those with chunks that are still to be read.
    fn forget_recorded(&mut self, unread: &HashSet<PackRowId>) -> Result<(), Error> {
        let mut recorded = Vec::new();
        for (key, bad) in &self.bad_packs {
            let lost = self.repository.catalog.lost_slots(*key, LostBy::Log)?;
            if !bad.missing && !unread.contains(key) && !lost.is_empty() {
                recorded.push(*key);
            }
        }
        recorded.iter().for_each(|key| _ = self.bad_packs.remove(key));
        Ok(())
    }

    /// Returns whether a chunk may still be intact at one of these locations.
    fn is_unread(&self, places: &[ChunkLocation]) -> Result<bool, Error> {
        for place in places {
            let missing = self.bad_packs.get(&place.pack).map(|bad| bad.missing);
            let lost = self.repository.catalog.lost_at(place.pack, place.slot)?;
            if missing == Some(false) && lost.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes damaged or missing parity again.
    fn renew_parity(
        &mut self,
        summary: &mut RepairSummary,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        for key in self.bare.keys().copied().collect::<Vec<_>>() {
            progress.check_interrupted()?;
            let Some(row) = self.repository.catalog.pack(key)? else { continue };
            match self.repository.renew_parity(&row) {
                Ok(true) => {
                    self.bare.remove(&key);
                    summary.parity_renewed += 1;
                }
                Ok(false) => {}
                // The pack is damaged too.
                Err(error) if error.is_of_object() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Finds a location of a chunk without known problems in a pack of the log.
    fn elsewhere(&self, places: &[ChunkLocation]) -> Result<Option<ChunkLocation>, Error> {
        for place in places {
            let row = self.repository.catalog.pack(place.pack)?;
            let alive = row.is_some_and(|row| row.state == PackState::Committed);
            if alive && self.problem_at(place)?.is_none() {
                return Ok(Some(*place));
            }
        }
        Ok(None)
    }

    /// Makes snapshots that name a damaged pack also name the packs with intact copies of its
    /// chunks.
    fn compose_moves(
        &self,
        whole: &BTreeMap<ChunkId, Vec<PackRowId>>,
        entry: &mut LogEntry,
    ) -> Result<(), Error> {
        let catalog = &self.repository.catalog;
        let mut beside: BTreeMap<u64, BTreeSet<PackRowId>> = BTreeMap::new();
        for (id, packs) in whole {
            let mut alive = Vec::new();
            for pack in packs {
                if catalog.all_usable([pack])? {
                    alive.push(*pack);
                }
            }
            for named in self.wounds.get(id).iter().flat_map(|wound| &wound.named) {
                beside.entry(*named).or_default().extend(&alive);
            }
        }
        let all: HashSet<PackRowId> = beside.values().flatten().copied().collect();
        entry.packs = catalog.uploaded_among(&all)?;
        for (from, packs) in beside.into_iter().filter(|(_, packs)| !packs.is_empty()) {
            let itself = PackRange { first: from, count: 1 };
            // A prune may have tombstoned the pack in the meantime. Then it stays dead.
            if !catalog.all_committed(&[itself])? {
                continue;
            }
            let to = catalog.ordinals(&packs, &entry.packs)?.into_iter().chain([itself]);
            entry.moved.push(Move { from, to: Ordinals::from_ranges(to).ranges() });
        }
        Ok(())
    }

    /// Records lost chunks that the log does not list yet.
    fn compose_lost(&self, entry: &mut LogEntry) -> Result<(), Error> {
        let catalog = &self.repository.catalog;
        let mut slots: BTreeMap<PackRowId, Ordinals> = BTreeMap::new();
        for (key, _) in self.bad_packs.iter().filter(|(_, bad)| bad.missing) {
            if let Some(row) = catalog.pack(*key)? {
                let all = PackRange { first: 0, count: row.rows };
                slots.insert(*key, Ordinals::from_ranges([all]));
            }
        }
        for (key, _) in catalog.found_lost()? {
            // For a missing pack, keep the range of all chunks, even if some were read before.
            slots.entry(key).or_insert(catalog.lost_slots(key, LostBy::Reading)?);
        }
        for (key, slots) in slots {
            let new = slots.without(&catalog.lost_slots(key, LostBy::Log)?);
            entry.lost.extend(self.in_log(key, &new)?);
        }
        entry.lost.sort_by_key(|lost| lost.pack);
        Ok(())
    }

    /// Removes the marks of chunks that were read without an error.
    fn compose_found(&self, entry: &mut LogEntry) -> Result<(), Error> {
        for (key, slots) in &self.found {
            let marked = self.repository.catalog.marked_lost(*key)?;
            let found = slots.without(&slots.without(&marked));
            entry.found.extend(self.in_log(*key, &found)?);
        }
        entry.found.sort_by_key(|found| found.pack);
        Ok(())
    }

    /// Converts slots of a pack to the form in the log; `None` if there are no slots or the pack is
    /// dead by now.
    fn in_log(&self, key: PackRowId, slots: &Ordinals) -> Result<Option<Lost>, Error> {
        let row = self.repository.catalog.pack(key)?;
        let row = row.filter(|row| row.state == PackState::Committed && !slots.is_empty());
        let pack = row.and_then(|row| row.ordinal);
        Ok(pack.map(|pack| Lost { pack, slots: slots.ranges() }))
    }
}

fn count(slots: &[PackRange]) -> u64 {
    slots.iter().map(|range| range.count).sum()
}

/// Fills packs with the chunks that were recovered, one pack of each kind at a time.
struct Packer<'a> {
    repository: &'a Repository,
    progress: &'a dyn Progress,
    open: BTreeMap<PackKind, PackBuilder>,
}

impl Packer<'_> {
    fn add(
        &mut self,
        kind: PackKind,
        id: ChunkId,
        raw: &[u8],
        compressor: &mut Compressor,
        summary: &mut RepairSummary,
    ) -> Result<(), Error> {
        let bytes_target = self.repository.settings()?.bytes_of(kind);
        if self.open.get(&kind).is_some_and(|pack| !pack.fits(raw.len() as u64, 1)) {
            self.close(kind, summary)?;
        }
        let pack = match self.open.remove(&kind) {
            Some(pack) => pack,
            None => PackBuilder::new(&self.repository.secrets, kind, bytes_target)
                .map_err(|error| Error::object("the public key", error))?,
        };
        let (codec, content) = compressor.compress(raw);
        self.open.entry(kind).or_insert(pack).add(id, raw.len() as u32, codec, content);
        Ok(())
    }

    fn close(&mut self, kind: PackKind, summary: &mut RepairSummary) -> Result<(), Error> {
        let Some(pack) = self.open.remove(&kind) else { return Ok(()) };
        let pack = pack.finish(self.repository.settings()?.class_of(kind));
        self.repository.upload(&pack, self.progress)?;
        summary.packs_written += 1;
        summary.bytes_written += pack.record.bytes;
        Ok(())
    }

    fn close_all(&mut self, summary: &mut RepairSummary) -> Result<(), Error> {
        [PackKind::Meta, PackKind::Hot, PackKind::Cold]
            .into_iter()
            .try_for_each(|kind| self.close(kind, summary))
    }
}
