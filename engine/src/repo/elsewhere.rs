//! Reads packs from other copies of a repository: those that are frozen, damaged or missing in the store, and those that
//! cost less there.
//!
//! A copy is not trusted more than the store: a chunk is used only if it matches its id.

use std::sync::{Arc, PoisonError};

use super::memory::CopySet;
use super::other_copy::{CopiedPack, OtherCopy};
use super::prices::ReadPrices;
use super::reader::{OpenPack, Spare, aligned};
use super::stored::{LookAt, Seen};
use super::{ChunkReader, PackRowId, Repository};
use crate::error::Error;
use crate::format::ChunkId;
use crate::format::pack::HEADER_BYTES;
use crate::store::{ObjectRange, ObjectState, Store, layout};

/// Returns what a copy knows about a pack, if it has the pack with the right length.
fn seen_in(copy: &OtherCopy, wanted: &LookAt, state: ObjectState, at: usize) -> Option<Seen> {
    let CopiedPack { class, bytes, .. } = copy.packs.get(&wanted.name)?.clone();
    (bytes == wanted.bytes).then_some(Seen { class, state, bytes, copy: Some(at) })
}

impl Repository {
    /// Reads packs from these copies, too. `own` is what reading from the store itself costs.
    pub fn read_also(&self, copies: Vec<OtherCopy>, own: ReadPrices) {
        let set = CopySet { copies, own, ..CopySet::default() };
        *self.copies.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }

    /// Limits the dollars that reading from copies may cost beyond what was planned, because of damage that is found
    /// while reading. `None` for no limit.
    pub fn limit_copies(&self, dollars: Option<f64>) {
        let set = self.copies();
        *set.left_usd.lock().unwrap_or_else(PoisonError::into_inner) = dollars;
    }

    pub(super) fn copies(&self) -> Arc<CopySet> {
        self.copies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the other copies.
    pub fn also(&self) -> Vec<OtherCopy> {
        self.copies().copies.clone()
    }

    /// Returns whether packs may be read from other copies.
    pub fn has_copies(&self) -> bool {
        !self.copies().copies.is_empty()
    }

    /// Returns the copy from which a pack is read; `None` for the store itself.
    pub(super) fn copy_of(&self, name: &str) -> Option<usize> {
        let copies = self.copies();
        let chosen = copies.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.get(name).copied()
    }

    /// Returns the store from which a pack is read.
    pub(super) fn store_of(&self, name: &str) -> Store {
        let copy = self.copy_of(name);
        copy.map_or_else(|| self.store.clone(), |at| self.copies().copies[at].store.clone())
    }

    /// Chooses for each pack the cheapest place from which it can be read now. Then sets the state of the pack to
    /// its state there. A pack that can be read nowhere keeps the state that it has in the store.
    pub(super) fn choose_copies(
        &self,
        packs: &[LookAt],
        seen: &mut [Option<Seen>],
    ) -> Result<(), Error> {
        let copies = self.copies();
        if copies.copies.is_empty() {
            return Ok(());
        }
        for (pack, seen) in packs.iter().zip(seen.iter_mut()) {
            let own = seen.take();
            let is_own = |own: &&Seen| own.state.is_readable() && own.bytes == pack.bytes;
            let price = own.as_ref().filter(is_own);
            let price = price.map(|own| copies.own.of(&own.class, 1, pack.bytes));
            let cheapest = copies.cheapest(pack, price);
            copies.choose(&pack.name, cheapest.as_ref().and_then(|seen| seen.copy));
            *seen = cheapest.or(own);
        }
        self.find_thawed(&copies, packs, seen)
    }

    /// Asks the copies in which packs may be thawed for those packs that can be read nowhere else. Asks each copy once.
    fn find_thawed(
        &self,
        copies: &CopySet,
        packs: &[LookAt],
        seen: &mut [Option<Seen>],
    ) -> Result<(), Error> {
        for (at, copy) in copies.copies.iter().enumerate() {
            let waits =
                |seen: &Option<Seen>| seen.as_ref().is_none_or(|seen| !seen.state.is_readable());
            let mut asked = copies.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let ask: Vec<usize> = (0..packs.len())
                .filter(|index| waits(&seen[*index]))
                .filter(|index| copy.packs.get(&packs[*index].name).is_some_and(|p| p.may_be_cold))
                .filter(|index| asked.insert((at, packs[*index].name.clone())))
                .collect();
            drop(asked);
            let names: Vec<String> = ask.iter().map(|index| packs[*index].name.clone()).collect();
            for (index, head) in ask.into_iter().zip(copy.store.heads(&names)) {
                let state = head?.map(|head| head.state).filter(|state| state.is_readable());
                if let Some(found) = state.and_then(|state| seen_in(copy, &packs[index], state, at))
                {
                    copies.choose(&packs[index].name, Some(at));
                    seen[index] = Some(found);
                }
            }
        }
        Ok(())
    }
}

impl CopySet {
    /// Finds the cheapest copy from which a pack can be read at once; `None` if reading it from the store itself, for
    /// `own` dollars, costs no more.
    fn cheapest(&self, pack: &LookAt, own: Option<f64>) -> Option<Seen> {
        let mut best: Option<(f64, Seen)> = None;
        for (at, copy) in self.copies.iter().enumerate() {
            let is_warm = copy.packs.get(&pack.name).is_some_and(|pack| !pack.may_be_cold);
            let found = is_warm.then(|| seen_in(copy, pack, ObjectState::Warm, at)).flatten();
            let Some(found) = found else { continue };
            let price = copy.prices.of(&found.class, 1, pack.bytes);
            let is_cheaper = |other: f64| price < other;
            let beats_best = best.as_ref().is_none_or(|(other, _)| is_cheaper(*other));
            if beats_best && own.is_none_or(is_cheaper) {
                best = Some((price, found));
            }
        }
        best.map(|(_, found)| found)
    }

    fn choose(&self, name: &str, copy: Option<usize>) {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        match copy {
            Some(at) => chosen.insert(name.to_owned(), at),
            None => chosen.remove(name),
        };
    }

    /// Counts the price of an unplanned read. Returns false if it is above the limit.
    fn spend(&self, dollars: f64) -> bool {
        let mut left = self.left_usd.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *left {
            Some(left) if dollars > *left => false,
            Some(left) => {
                *left -= dollars;
                true
            }
            None => true,
        }
    }
}

impl ChunkReader<'_> {
    /// Returns whether a pack is read from the store itself.
    pub(super) fn is_own(&self, key: PackRowId) -> Result<bool, Error> {
        let row = self.repository().catalog.pack(key)?;
        Ok(row.is_none_or(|row| {
            self.repository().copy_of(&layout::pack(row.kind, &row.id)).is_none()
        }))
    }

    /// Reads a chunk from a damaged pack after healing it with its parity.
    pub fn open_healed(&self, id: &ChunkId, bad: PackRowId) -> Option<Vec<u8>> {
        let places = self.repository().catalog.chunk_places(id).ok()?;
        let place = places.into_iter().find(|place| place.pack == bad)?;
        let row = self.repository().catalog.pack(bad).ok()??;
        let object = self.repository().heal(&row).ok()??;
        let key = self.open_key(&row, &object[..HEADER_BYTES]).ok()?;
        let pack = OpenPack { name: layout::pack(row.kind, &row.id), row, key, is_own: true };
        let mut spare = Spare::default();
        // The healed copy does not show that the pack in the store is sound, so nothing is recorded.
        let opened =
            self.verify_in(&pack, &ObjectRange::held(&pack.name, 0, object), &place, &mut spare);
        opened.ok().map(|opened| opened.raw.to_vec())
    }

    /// Reads a chunk of a damaged, missing or frozen pack from another copy of the repository, the cheapest first.
    pub(super) fn open_copied(&self, id: &ChunkId, bad: PackRowId) -> Option<Vec<u8>> {
        let copies = self.repository().copies();
        if copies.copies.is_empty() {
            return None;
        }
        let places = self.repository().catalog.chunk_places(id).ok()?;
        let place = places.into_iter().find(|place| place.pack == bad)?;
        let row = self.repository().catalog.pack(bad).ok()??;
        let name = layout::pack(row.kind, &row.id);
        let range = aligned(place.range(), row.bytes);
        let bytes = range.end - range.start + HEADER_BYTES as u64;
        let open = |store: &Store| {
            let header = store.get_range(&name, 0..HEADER_BYTES as u64).ok()?;
            let pack = self.open_header(row.clone(), &header).ok()?;
            let window = store.window(&name, range.clone()).ok()?;
            let mut spare = Spare::default();
            let opened = self.verify_in(&pack, &window, &place, &mut spare);
            opened.ok().map(|opened| opened.raw.to_vec())
        };
        // A copy that was cheaper may be the damaged one.
        if self.repository().copy_of(&name).is_some()
            && let Some(raw) = open(&self.repository().store)
        {
            return Some(raw);
        }
        let mut offers: Vec<(f64, &OtherCopy)> = copies
            .copies
            .iter()
            .filter_map(|copy| {
                let pack = copy.packs.get(&name)?;
                Some((copy.prices.of(&pack.class, 2, bytes), copy))
            })
            .collect();
        offers.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        offers.into_iter().find_map(|(usd, copy)| match copies.spend(usd) {
            true => open(&copy.store),
            false => None,
        })
    }
}
