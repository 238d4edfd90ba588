//! A mirror: a second copy of an archive, byte for byte.
//!
//! ```text
//! look ──► plan ──► copy (verify ──► put) ──► delete
//! ```
//!
//! `look` lists both places. A plan has what is missing, in groups: packs, then the log entries that they are needed
//! for. Usually a group is one entry. Where an archive was pruned before it was copied, an entry names packs that are
//! gone; it forms a group with the entries up to the one that has given them up. Entries of a group are put from the
//! last one back, and a reader of a mirror ends at the first gap: so it sees the group when all of it is there.
//! Whenever a run ends, each snapshot that the mirror shows can be restored from it.
//!
//! With a key that opens the log, `verify` compares each object with what the log says of it before it is put, because
//! a damaged one would take its name in the mirror for ever. Without a key, bytes are copied as they are.

mod compare;
mod copy;
mod group;
mod item;
mod look;
mod plan;
mod promote;
mod verify;

pub use copy::{MirrorSummary, copy};
pub use plan::{FrozenOrigin, MirrorPlan, plan};
pub use promote::{Promotion, promote};

use crate::format::Time;
use crate::repo::Repository;
use crate::store::{Location, Store, StoreOptions};

/// The archive that is copied.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// A host that can open the log verifies what it copies.
    Open(&'a Repository),
    /// A host without a key copies bytes.
    Sealed(&'a Store),
}

impl Origin<'_> {
    /// Returns its store.
    pub fn store(&self) -> &Store {
        match self {
            Origin::Open(repository) => &repository.store,
            Origin::Sealed(store) => store,
        }
    }

    fn repository(&self) -> Option<&Repository> {
        match self {
            Origin::Open(repository) => Some(repository),
            Origin::Sealed(_) => None,
        }
    }
}

/// Where the mirror is, and how objects are stored there.
#[derive(Debug, Clone)]
pub struct MirrorTarget {
    /// A folder or a bucket.
    pub location: Location,
    /// How to reach it.
    pub options: StoreOptions,
    /// Its store, if the caller has opened it.
    pub store: Option<Store>,
    /// Storage class of photo data; `None` for that of the objects which are there, or that of a new archive.
    pub pack_class: Option<String>,
    /// Storage class of small files, in the same way.
    pub hot_class: Option<String>,
    /// The time of the run.
    pub time: Time,
}
