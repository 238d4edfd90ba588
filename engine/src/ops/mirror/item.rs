//! What is copied, and in which groups.

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
    /// What it is, and what it must agree with.
    pub what: ItemKind,
}

/// What an object is.
#[derive(Debug, Clone)]
pub(super) enum ItemKind {
    Key,
    Entry(u64),
    Checkpoint(RangeInclusive<u64>),
    /// A pack, and what the log says of it; `None` where the log cannot be read.
    Pack(PackId, Option<Box<PackRow>>),
    Parity(PackId),
}

/// What is copied together: packs, each after its parity, then the entries for which they are needed, from the last one
/// back.
#[derive(Debug, Default)]
pub(super) struct MirrorGroup {
    pub parity: Vec<MirrorItem>,
    pub packs: Vec<MirrorItem>,
    pub entries: Vec<MirrorItem>,
}

impl MirrorGroup {
    /// Returns everything in it, in the order in which it is copied.
    pub fn items(&self) -> impl Iterator<Item = &MirrorItem> {
        self.parity.iter().chain(&self.packs).chain(&self.entries)
    }
}

/// An object of the mirror that the log has given up.
#[derive(Debug, Clone)]
pub(super) struct Doomed {
    pub name: String,
    pub bytes: u64,
}

impl MirrorItem {
    /// Returns an object whose class is the default of the store.
    pub fn plain(name: String, bytes: u64, what: ItemKind) -> MirrorItem {
        MirrorItem { name, bytes, class: String::new(), what }
    }

    /// Returns the number of an entry of the log.
    pub fn entry(&self) -> Option<u64> {
        match self.what {
            ItemKind::Entry(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the id of a pack.
    pub fn pack(&self) -> Option<PackId> {
        match self.what {
            ItemKind::Pack(id, _) => Some(id),
            _ => None,
        }
    }
}
