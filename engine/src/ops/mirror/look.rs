//! Lists the objects of an archive at a location, by kind.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::error::Error;
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::{PackId, PackKind};
use crate::store::{Listed, Store, StoreErrorKind, layout};

/// All kinds of packs, in the order in which they are copied.
pub(super) const KINDS: [PackKind; 3] = [PackKind::Meta, PackKind::Hot, PackKind::Cold];

/// The objects at a location.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub config: Option<Bytes>,
    pub has_mark: bool,
    /// Key slots by name, with their lengths.
    pub keys: BTreeMap<String, u64>,
    /// Log entries by number, with their lengths.
    pub log: BTreeMap<u64, u64>,
    pub checkpoints: Vec<(RangeInclusive<u64>, u64)>,
    pub packs: HashMap<PackId, (PackKind, Listed)>,
    /// Parity objects by their packs, with their lengths.
    pub parity: HashMap<PackId, u64>,
}

impl Objects {
    /// Lists a location. Lists the log first, so that the objects that it names are listed after it.
    pub fn list(store: &Store) -> Result<Objects, Error> {
        let mut found = Objects::default();
        match store.get(layout::CONFIG, CONFIG_BYTES_MAX) {
            Ok(config) => found.config = Some(config),
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error.of_place(store.location()).into()),
        }
        found.list_log(store)?;
        for object in store.list(layout::CHECKPOINTS, None)? {
            if let Some(range) = layout::checkpoint_entries(&object.name) {
                found.checkpoints.push((range, object.bytes));
            }
        }
        for kind in KINDS {
            for object in store.list(layout::prefix(kind), None)? {
                if let Some(id) = layout::pack_id(kind, &object.name) {
                    found.packs.insert(id, (kind, object));
                }
            }
        }
        if !store.location().is_remote() {
            for object in store.list(layout::PARITY, None)? {
                if let Some(id) = layout::parity_id(&object.name) {
                    found.parity.insert(id, object.bytes);
                }
            }
        }
        for object in store.list(layout::KEYS, None)? {
            if layout::key_slot_id(&object.name).is_some() {
                found.keys.insert(object.name, object.bytes);
            }
        }
        Ok(found)
    }

    /// Lists the log again. Returns whether it has more entries than before.
    pub fn list_log(&mut self, store: &Store) -> Result<bool, Error> {
        let last = self.last_entry();
        for object in store.list(layout::LOG, None)? {
            self.has_mark |= object.name == layout::MIRROR;
            if let Some(number) = layout::log_number(&object.name) {
                self.log.insert(number, object.bytes);
            }
        }
        Ok(self.last_entry() != last)
    }

    /// Returns the number of the last entry before the first gap; 0 if there is none.
    pub fn head(&self) -> u64 {
        let mut next = 1;
        while self.log.contains_key(&next) {
            next += 1;
        }
        next - 1
    }

    /// Returns the number of the last entry, even if entries before it are missing.
    pub fn last_entry(&self) -> u64 {
        self.log.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Returns whether the location contains no part of an archive.
    pub fn is_empty(&self) -> bool {
        self.config.is_none() && self.log.is_empty() && self.packs.is_empty() && !self.has_mark
    }

    /// Returns the most common storage class of packs of a kind; `None` if there are none, or the store does not report
    /// classes.
    pub fn class_of(&self, wanted: PackKind) -> Option<String> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, object) in self.packs.values() {
            if let Some(class) = object.class.as_deref().filter(|_| *kind == wanted) {
                *counts.entry(class).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(class, _)| class.to_owned())
    }
}
