//! Reads packs from other copies of a repository, if they are frozen, damaged or missing in the store.
//!
//! A copy is not trusted more than the store: a chunk is used only if it matches its id.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::memory::Copies;
use super::reader::{Spare, aligned};
use super::stored::Seen;
use super::{ChunkReader, PackRowId, Repository};
use crate::error::Error;
use crate::format::ChunkId;
use crate::format::pack::HEADER_BYTES;
use crate::store::{ClassFacts, ObjectState, Store, ThawNeed, layout};

/// Lists the packs of copies that can be read at once.
fn listed(stores: Vec<Store>) -> Result<Copies, Error> {
    let mut readable = HashMap::new();
    // Prefer a folder, because reading from it is free.
    let order = |(_, store): &(usize, &Store)| store.location().is_remote();
    let mut ordered: Vec<(usize, &Store)> = stores.iter().enumerate().collect();
    ordered.sort_by_key(order);
    for (at, store) in ordered {
        for prefix in layout::PACK_PREFIXES {
            for object in store.list(prefix, None)? {
                let facts = store.location().provider().and_then(|provider| {
                    ClassFacts::find(provider, object.class.as_deref().unwrap_or_default())
                });
                if facts.is_none_or(|facts| facts.thaw == ThawNeed::None) {
                    readable.entry(object.name).or_insert((at, object.bytes));
                }
            }
        }
    }
    Ok(Copies { stores, readable, chosen: Mutex::default() })
}

impl Repository {
    /// Lists other copies, so that packs can be read from these as well.
    pub fn read_also(&mut self, stores: Vec<Store>) -> Result<(), Error> {
        self.copies = listed(stores)?;
        Ok(())
    }

    /// Returns the stores of the copies.
    pub fn also(&self) -> &[Store] {
        &self.copies.stores
    }

    /// Returns the store from which a pack is read.
    pub(super) fn store_of(&self, name: &str) -> &Store {
        if self.copies.stores.is_empty() {
            return &self.store;
        }
        let chosen = self.copies.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        chosen.get(name).map_or(&self.store, |at| &self.copies.stores[*at])
    }

    /// Returns the number of packs that are read from other copies.
    pub fn packs_elsewhere(&self) -> usize {
        self.copies.chosen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Chooses a copy for each pack that the store cannot read now, or that is free to read there. Then sets its state
    /// to that in the copy.
    pub(super) fn choose_copies(&self, names: &[String], seen: &mut [Option<Seen>]) {
        let mut chosen = self.copies.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, seen) in names.iter().zip(seen) {
            let Some((at, bytes)) = self.copies.readable.get(name).copied() else { continue };
            let is_free = !self.copies.stores[at].location().is_remote();
            let is_chosen = match &seen {
                Some(own) if own.state.is_readable() => is_free && own.bytes == bytes,
                _ => true,
            };
            if is_chosen {
                chosen.insert(name.clone(), at);
                let (class, state) = (String::new(), ObjectState::Warm);
                *seen = Some(Seen { class, state, bytes, is_elsewhere: true });
            }
        }
    }
}

impl ChunkReader<'_> {
    /// Reads a chunk of a damaged, missing or frozen pack from another copy of the repository.
    pub(super) fn open_copied(&self, id: &ChunkId, bad: PackRowId) -> Option<Vec<u8>> {
        let copies = self.repository().also();
        if copies.is_empty() {
            return None;
        }
        let places = self.repository().catalog.chunk_places(id).ok()?;
        let place = places.into_iter().find(|place| place.pack == bad)?;
        let row = self.repository().catalog.pack(bad).ok()??;
        let name = layout::pack(row.kind, &row.id);
        copies.iter().find_map(|copy| {
            let header = copy.get_range(&name, 0..HEADER_BYTES as u64).ok()?;
            let pack = self.open_header(row.clone(), &header).ok()?;
            let window = copy.window(&name, aligned(place.range(), row.bytes)).ok()?;
            let mut spare = Spare::default();
            let opened = self.verify_in(&pack, &window, &place, &mut spare);
            opened.ok().map(|opened| opened.raw.to_vec())
        })
    }
}
