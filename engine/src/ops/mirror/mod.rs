//! A mirror: a second copy of an archive, byte for byte.
//!
//! ```text
//! look ──► plan ──► copy (verify ──► put) ──► delete
//! ```
//!
//! `look` lists both locations. A plan contains the missing objects in groups: packs, and then the log entries that
//! need them. Usually a group has one entry. If an archive was pruned before it was copied, an entry may name packs
//! that no longer exist. Such an entry forms a group with the following ones up to the entry that tombstones these
//! packs. The entries of a group are put from the last to the first. A reader of a mirror stops at the first gap, so it
//! sees a group only when the group is complete. Whenever a run ends, every snapshot that the mirror shows can be
//! restored from it.
//!
//! With a key that opens the log, `verify` checks each object against the log before it is put, because a damaged
//! object would occupy its name in the mirror forever. Without a key, bytes are copied as they are.

mod compare;
mod copy;
mod group;
mod item;
mod look;
mod plan;
mod promote;
mod verify;

pub use copy::{MirrorSummary, copy};
pub use item::WaitingObjects;
pub use plan::{FrozenOrigin, MirrorPlan, plan};
pub use promote::{Promotion, promote};

use crate::format::Time;
use crate::repo::Repository;
use crate::store::{Location, Store, StoreOptions};

/// The archive to copy.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// For a host that can open the log and verify the copied objects.
    Open(&'a Repository),
    /// For a host without a key, which copies bytes as they are.
    Sealed(&'a Store),
}

impl Origin<'_> {
    /// Returns the store of the archive.
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

/// The location of the mirror, and how its objects are stored.
#[derive(Debug, Clone)]
pub struct MirrorTarget {
    /// A folder or a bucket.
    pub location: Location,
    /// The options of its store.
    pub options: StoreOptions,
    /// The store, if the caller has already opened it.
    pub store: Option<Store>,
    /// Storage class of photo data; if `None`, that of the existing objects or of a new archive.
    pub pack_class: Option<String>,
    /// Storage class of small files; if `None`, chosen in the same way.
    pub hot_class: Option<String>,
    /// The time of the run.
    pub time: Time,
}
