//! The objects to copy, and their groups.

use std::ops::RangeInclusive;

use crate::format::PackId;
use crate::repo::PackRow;

/// An object to copy.
#[derive(Debug, Clone)]
pub(super) struct MirrorItem {
    pub name: String,
    pub bytes: u64,
    /// Its storage class in the mirror.
    pub class: String,
    /// The kind of the object, with the facts for its verification.
    pub what: ItemKind,
}

/// The kind of an object.
#[derive(Debug, Clone)]
pub(super) enum ItemKind {
    Key,
    Entry(u64),
    Checkpoint(RangeInclusive<u64>),
    /// A pack, and its row in the catalog; `None` if the log cannot be read.
    Pack(PackId, Option<Box<PackRow>>),
    Parity(PackId),
}

/// A group of objects: packs, their parity, and the entries that need the packs. Parity is copied first, then the
/// packs, then the entries from the last to the first.
#[derive(Debug, Default)]
pub(super) struct MirrorGroup {
    pub parity: Vec<MirrorItem>,
    pub packs: Vec<MirrorItem>,
    pub entries: Vec<MirrorItem>,
}

impl MirrorGroup {
    /// Returns all objects of the group in the order in which they are copied.
    pub fn items(&self) -> impl Iterator<Item = &MirrorItem> {
        self.parity.iter().chain(&self.packs).chain(&self.entries)
    }
}

/// An object of the mirror to delete, because the log has tombstoned it.
#[derive(Debug, Clone)]
pub(super) struct Doomed {
    pub name: String,
    pub bytes: u64,
}

impl MirrorItem {
    /// Returns an item whose class is the default of the store.
    pub fn plain(name: String, bytes: u64, what: ItemKind) -> MirrorItem {
        MirrorItem { name, bytes, class: String::new(), what }
    }

    /// Returns the number of the log entry, if this is one.
    pub fn entry(&self) -> Option<u64> {
        match self.what {
            ItemKind::Entry(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the id of the pack, if this is one.
    pub fn pack(&self) -> Option<PackId> {
        match self.what {
            ItemKind::Pack(id, _) => Some(id),
            _ => None,
        }
    }
}

/// Objects of a mirror that the archive has deleted, and whose minimum days are not over: deleting them now would cost as
/// much as keeping them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingObjects {
    /// Their names.
    pub names: Vec<String>,
    /// Their total size.
    pub bytes: u64,
    /// When the minimum days of the last of them are over, in seconds since 1970; 0 if there are none.
    pub until: i64,
}
