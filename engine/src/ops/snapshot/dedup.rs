//! Decides whether a chunk that was read must be stored: not if it is in a pack that counts, is not known to be lost and
//! has no revoked author ([`Catalog::sound_chunk`]), nor if another thread of this run is about to store it. Files that
//! are not read, because they did not change, meet the same rule in `walk` and `outcome`.
//!
//! The first thread that looks up an unknown chunk claims it; other threads find the claim. When the pack is uploaded,
//! the chunk is in the catalog and the claim is released.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::handover::lock;
use super::last::Last;
use crate::error::Error;
use crate::format::ChunkId;
use crate::repo::PackRowId;
use crate::repo::catalog::{Catalog, Filter};

/// Which chunks are stored, which are claimed, and which packs the snapshot needs.
pub(super) struct Dedup {
    /// Recognizes most new chunks without a lookup in the catalog.
    filter: RwLock<Filter>,
    /// Number of times that chunks were put into the catalog.
    changes: AtomicU64,
    /// Chunks that some thread is storing and that are not in the catalog yet.
    claims: Mutex<HashSet<ChunkId>>,
    needed: Mutex<BTreeSet<PackRowId>>,
}

impl Dedup {
    pub fn new(catalog: &Catalog) -> Result<Dedup, Error> {
        Ok(Dedup {
            filter: RwLock::new(catalog.filter()?),
            changes: AtomicU64::new(0),
            claims: Mutex::default(),
            needed: Mutex::default(),
        })
    }

    /// Returns a lookup that reads the catalog as it is at each call. `last` is the last full snapshot of the history.
    pub fn look<'r>(&'r self, catalog: &'r Catalog, last: Option<&'r Last>) -> Lookup<'r> {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        Lookup { dedup: self, last, catalog, filter, seen: Cell::new(None) }
    }

    /// Opens a read transaction for many lookups; it is renewed after each insert.
    pub fn begin_read<'r>(
        &'r self,
        view: &'r Catalog,
        last: Option<&'r Last>,
    ) -> Result<Lookup<'r>, Error> {
        let lookup = self.look(view, last);
        let seen = self.changes.load(Ordering::SeqCst);
        view.begin_read()?;
        lookup.seen.set(Some(seen));
        Ok(lookup)
    }

    /// Compacts the write buffer of the catalog, so that lookups stay fast.
    pub fn compact(
        &self,
        catalog: &Catalog,
        check_interrupted: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut filter = self.filter.write().unwrap_or_else(PoisonError::into_inner);
        let compacted = catalog.compact(check_interrupted);
        *filter = catalog.filter()?;
        compacted
    }

    /// Releases the claims of chunks that are now in the catalog.
    pub fn stored(&self, ids: impl IntoIterator<Item = ChunkId>) {
        // Bump the count before releasing claims, so that a racing lookup reads the catalog again.
        self.changes.fetch_add(1, Ordering::SeqCst);
        let mut claims = lock(&self.claims);
        for id in ids {
            claims.remove(&id);
        }
    }

    /// Records that the snapshot needs these packs.
    pub fn need(&self, packs: impl IntoIterator<Item = PackRowId>) {
        lock(&self.needed).extend(packs);
    }

    /// Returns the packs that the snapshot needs.
    pub fn needed(&self) -> BTreeSet<PackRowId> {
        lock(&self.needed).clone()
    }
}

/// The result of looking up a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    No,
    /// This run is storing it.
    InThisRun,
    Stored,
    /// The chunk must be stored again, because every stored copy was found lost or is by a
    /// revoked writer.
    Lost {
        /// The last full snapshot of the history has it.
        in_last: bool,
    },
    /// The last full snapshot of the history has it.
    InLast,
}

impl Known {
    /// Returns whether the chunk must be stored.
    pub fn is_new(self) -> bool {
        matches!(self, Known::No | Known::Lost { .. })
    }
}

/// One thread's view of the catalog. While it exists, the catalog is not compacted.
pub(super) struct Lookup<'r> {
    dedup: &'r Dedup,
    last: Option<&'r Last>,
    catalog: &'r Catalog,
    filter: RwLockReadGuard<'r, Filter>,
    /// The number of changes when the read transaction began; `None` if there is no transaction.
    seen: Cell<Option<u64>>,
}

impl Lookup<'_> {
    /// Looks up a chunk. If it is neither stored nor about to be, claims it, so that no other thread stores it.
    pub fn knows(&self, id: &ChunkId) -> Result<Known, Error> {
        let dedup = self.dedup;
        if !lock(&dedup.claims).insert(*id) {
            return Ok(Known::InThisRun);
        }
        // Another claim may just have been released because the chunk is now in the catalog.
        self.renew()?;
        if !self.filter.may_have(self.catalog, id)? {
            return Ok(Known::No);
        }
        let Some(place) = self.catalog.sound_chunk(id)? else {
            if self.catalog.chunk_places(id)?.is_empty() {
                return Ok(Known::No);
            }
            let in_last = match self.last {
                Some(last) => last.has_lost(self.catalog, id)?,
                None => false,
            };
            return Ok(Known::Lost { in_last });
        };
        lock(&dedup.claims).remove(id);
        dedup.need([place.pack]);
        Ok(match self.last {
            Some(last) if last.has(self.catalog, id, place.pack)? => Known::InLast,
            _ => Known::Stored,
        })
    }

    /// Renews the read transaction if chunks were put into the catalog since it began.
    fn renew(&self) -> Result<(), Error> {
        let now = self.dedup.changes.load(Ordering::SeqCst);
        if self.seen.get().is_some_and(|seen| seen != now) {
            self.seen.set(None);
            self.catalog.end_read()?;
            self.catalog.begin_read()?;
            self.seen.set(Some(now));
        }
        Ok(())
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        if self.seen.get().is_some() && !std::thread::panicking() {
            // A read transaction has nothing to commit, so a failure does not matter.
            let _ = self.catalog.end_read();
        }
    }
}
