//! Detects a store that breaks its promise: it acknowledges an entry of the log and later has another one in that slot.
//! This happens with servers that first check whether a name is free and only then write the object.
//!
//! A host reads each acknowledged entry again: immediately, and when it next opens the repository. It appends a lost
//! entry again in a new slot, and informs the watcher of the store.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::catalog::{CatalogBuilder, LONE, LogFollower, Owed};
use super::{Catalog, PackState, Repository};
use crate::codec::keys::random;
use crate::error::Error;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::{LogEntry, Lost, Move, Ordinals, PackId, PackRange, PackRecord, SnapshotId};
use crate::progress::Progress;
use crate::store::{Listed, StoreErrorKind, layout};

/// How long a store that accepts several writes to one slot may still replace the entry in it.
const SETTLING: Duration = Duration::from_millis(500);
/// Entries older than this have settled. Stores report times in whole seconds.
const YOUNG_SECONDS: i64 = 2;

/// The outcome for the snapshots of a lost entry that is appended again.
#[derive(Debug, Default)]
struct Again {
    /// Snapshots that are visible again.
    back: Vec<SnapshotId>,
    /// Snapshots whose packs are gone.
    lost: Vec<SnapshotId>,
}

impl<C: LogFollower> Repository<C> {
    /// Records that entries after `known` were read, if the store had received the newest of them only a moment before.
    pub(super) fn has_read(&self, listed: &[Listed], known: u64) {
        let number = |object: &&Listed| layout::log_number(&object.name);
        let newest = listed.iter().filter(|object| number(object) > Some(known)).max_by_key(number);
        if let (Some(newest), Some(time)) = (newest, self.store.time())
            && time.saturating_sub(newest.modified) <= YOUNG_SECONDS
        {
            *self.news.0.lock().expect("nothing panics here") = Some(Instant::now());
        }
    }

    /// Returns the error for a slot whose entry is not the one that this host has read. If both
    /// follow the same entry and the packs of both exist, the store has accepted two puts;
    /// otherwise it was rolled back.
    pub(super) fn another_in(&self, number: u64, there: &LogEntry) -> Error {
        match self.is_beside(number, there) {
            Ok(true) => Error::PromiseBroken { number },
            Ok(false) => Error::Forked { number },
            Err(error) => error,
        }
    }

    fn is_beside(&self, number: u64, there: &LogEntry) -> Result<bool, Error> {
        // In a folder, a restored old copy is more likely than a failure to separate two writers.
        let Some(kept) = self.catalog.kept_entry(number)? else { return Ok(false) };
        if !self.store.location().is_remote() {
            return Ok(false);
        }
        let name = layout::log(number);
        let entry =
            self.secrets.read_log(number, &kept).map_err(|error| Error::object(&name, error))?;
        if entry.previous != there.previous {
            return Ok(false);
        }
        self.are_there(&entry.packs)
    }

    /// Returns whether the store has the objects of all these packs.
    fn are_there(&self, packs: &[PackRecord]) -> Result<bool, Error> {
        for pack in packs {
            if self.store.length(&layout::pack(pack.kind, &pack.id))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Repository {
    /// Waits until the newest entry that was read has settled, because an entry that follows a lost
    /// one is not part of the log. Returns true if it had to wait; then the log must be read again.
    pub(super) fn let_settle(&self) -> bool {
        let read = self.news.0.lock().expect("nothing panics here").take();
        if let Some(read) = read {
            std::thread::sleep(SETTLING.saturating_sub(read.elapsed()));
        }
        read.is_some()
    }

    /// Waits until a slot that another writer has taken has settled, so that it can be read. Adds a random time, so
    /// that not all writers continue at once.
    pub(super) fn wait_for_the_winner(&self) {
        if self.store.time().is_some() {
            let [more] = random();
            std::thread::sleep(SETTLING + Duration::from_millis(u64::from(more) / 2));
        }
    }

    /// Records that a slot has settled after the wait for it, unless entries after it were read.
    pub(super) fn has_waited_for(&self, number: u64) -> Result<(), Error> {
        if self.catalog.position()?.number <= number {
            self.news.0.lock().expect("nothing panics here").take();
        }
        Ok(())
    }

    /// Returns whether a slot has the entry of this host that the store has just acknowledged. If the slot cannot be
    /// read now, returns true, and the next run reads it.
    pub(super) fn is_still_ours(&self, number: u64, object: &Bytes) -> bool {
        let is_it = |there: &Bytes| if there == object { Ok(()) } else { Err(()) };
        let ours = match self.store.get_as(&layout::log(number), ENTRY_BYTES_MAX, is_it) {
            Ok((_, is_it)) => is_it.is_ok(),
            Err(error) => error.kind != StoreErrorKind::NotFound,
        };
        if !ours {
            self.store.watch().broken_promise(number, "this host writes the entry again");
        }
        ours
    }

    /// Fails if the newest entry of this host was acknowledged, but the store now has another one in its slot. Checks
    /// only entries that are followed by others.
    pub(super) fn expect_own(&self) -> Result<(), Error> {
        let Some((number, own)) = self.catalog.newest_own()? else { return Ok(()) };
        // The last entry that was read is checked in any case.
        if number >= self.catalog.position()?.number || !self.store.location().is_remote() {
            return Ok(());
        }
        match self.slot(number)? {
            Some(there) if there != own && self.secrets.open_log(number, &there).is_ok() => {
                Err(Error::PromiseBroken { number })
            }
            _ => Ok(()),
        }
    }

    /// Rebuilds the catalog from a log in which a slot has a different entry from the one that this host has read, at
    /// this store or at the place that the repository has moved from. If the lost entry was one of this host, records
    /// that it must be appended again.
    pub(super) fn read_again(
        self,
        number: u64,
        cache_dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Repository, Error> {
        let seen = self.catalog.kept_entry(number)?;
        let own = self.catalog.own_entry(number)?.filter(|own| seen.as_ref() == Some(own));
        let then = if own.is_some() {
            "this host writes its lost entry again"
        } else {
            "this host reads the log again"
        };
        match self.moved_from()? {
            None => self.store.watch().broken_promise(number, then),
            Some(place) => self.store.watch().not_copied(number, &place, then),
        }
        let (id, genesis) = (self.config.repository, self.genesis());
        let (kept, verdicts) = (self.catalog.kept_config()?, self.catalog.verdicts()?);
        let repository = self.map_catalog(|catalog| {
            drop(catalog);
            CatalogBuilder::begin(cache_dir, id, genesis, progress)
        })?;
        repository.catalog.know_first_writer(&repository.config.authority)?;
        repository.catalog.set_verdicts(&verdicts)?;
        let read = repository.read_log().and_then(|()| match &own {
            Some(own) => repository.catalog.owe(number, own),
            None => Ok(()),
        });
        if let Err(error) = read {
            repository.catalog.give_up();
            return Err(error);
        }
        let repository = repository.map_catalog(|builder| builder.finish(false, progress))?;
        if let Some(kept) = kept {
            repository.catalog.keep_config(&kept, &repository.store.location().place())?;
        }
        Ok(repository)
    }

    /// Appends the lost entries of this host again. If one fails, the next run tries again.
    pub(super) fn say_again(&self) -> Result<(), Error> {
        for owed in self.catalog.owed()? {
            let Again { back, lost } = match self.say(&owed) {
                // The entry is in the log, and changes the verdict on entries that this host has
                // applied.
                Err(Error::Reread) => {
                    self.catalog.forget_owed(&owed)?;
                    return Err(Error::Reread);
                }
                Err(error) if !matches!(error, Error::Interrupted | Error::Catalog { .. }) => {
                    let then = format!("the entry could not be written again: {error}");
                    self.store.watch().broken_promise(owed.number, &then);
                    continue;
                }
                said => said?,
            };
            let ids = |ids: &[SnapshotId]| {
                ids.iter().map(SnapshotId::short).collect::<Vec<_>>().join(", ")
            };
            let watch = self.store.watch();
            if !back.is_empty() {
                watch.broken_promise(
                    owed.number,
                    &format!("these snapshots are back: {}", ids(&back)),
                );
            }
            if !lost.is_empty() {
                let then = "these snapshots are lost, because their packs are gone; take new ones";
                watch.broken_promise(owed.number, &format!("{then}: {}", ids(&lost)));
            }
            self.catalog.forget_owed(&owed)?;
        }
        Ok(())
    }

    fn say(&self, owed: &Owed) -> Result<Again, Error> {
        let name = layout::log(owed.number);
        let entry = self.secrets.read_log(owed.number, &owed.object);
        let entry = entry.map_err(|error| Error::object(&name, error))?;
        let entry = self.catalog.to_ordinals_of(&entry, owed.number)?;
        let mut again = Again::default();
        self.commit(|| {
            again = Again::default();
            let mut new = self.said(&entry, LONE, &mut again)?;
            // Numbers before the slot of the lost entry still refer to the same objects, and so do the numbers of
            // objects after the end of the log.
            let behind = self.behind_gap.lock().expect("nothing panics here").clone();
            let same = |numbers: &Option<Vec<u64>>| {
                let is_same = |number: &u64| *number < owed.number || behind.contains(number);
                let known: Vec<u64> = numbers.iter().flatten().copied().filter(is_same).collect();
                (!known.is_empty()).then_some(known)
            };
            (new.void, new.sound) = (same(&entry.void), same(&entry.sound));
            Ok((!new.is_empty()).then_some(new))
        })?;
        Ok(again)
    }

    /// Composes an entry with the content of a lost one, except the fields that name entries by number. Omits
    /// tombstones and orphans, because they were decided without knowledge of the entry that took the slot.
    fn said(&self, old: &LogEntry, base: u64, again: &mut Again) -> Result<LogEntry, Error> {
        let catalog = &self.catalog;
        let mut new = LogEntry::new(old.time);
        for pack in &old.packs {
            let state = catalog.pack_state(&pack.id)?;
            let is_new = !matches!(state, Some(PackState::Committed | PackState::Tombstoned));
            if is_new && self.are_there(std::slice::from_ref(pack))? {
                new.packs.push(pack.clone());
            }
        }
        let places = PresentPlaces::of(catalog, old, base, &new.packs)?;
        for snapshot in &old.snapshots {
            if catalog.has_snapshot(&snapshot.id)? {
                continue;
            }
            match places.of_ranges(&snapshot.packs)? {
                Some(packs) => {
                    again.back.push(snapshot.id);
                    let mut snapshot = snapshot.clone();
                    snapshot.packs = packs;
                    new.snapshots.push(snapshot);
                }
                None => again.lost.push(snapshot.id),
            }
        }
        for moved in &old.moved {
            let from = places.of_pack(moved.from)?;
            let to =
                [PackRange { first: moved.from, count: 1 }].into_iter().chain(moved.to.clone());
            if let (Some(from), Some(to)) = (from, places.of_ranges(&to.collect::<Vec<_>>())?) {
                new.moved.push(Move { from, to });
            }
        }
        for (said, kept) in [(&old.lost, &mut new.lost), (&old.found, &mut new.found)] {
            for lost in said {
                if let Some(pack) = places.of_pack(lost.pack)? {
                    kept.push(Lost { pack, slots: lost.slots.clone() });
                }
            }
        }
        let (visible, apart) = (catalog.snapshots()?, catalog.apart_snapshots()?);
        let there: HashSet<SnapshotId> =
            visible.iter().chain(&apart).map(|row| row.entry.id).collect();
        new.dropped = old.dropped.iter().filter(|id| there.contains(*id)).copied().collect();
        // As for a new snapshot, the packs that an undropped one needs must still be alive.
        for row in catalog.dropped_snapshots()? {
            if old.undropped.contains(&row.entry.id) && catalog.all_committed(&row.entry.packs)? {
                new.undropped.push(row.entry.id);
            }
        }
        new.settings.clone_from(&old.settings);
        new.accepted.clone_from(&old.accepted);
        new.replaced.clone_from(&old.replaced);
        new.tagged.clone_from(&old.tagged);
        new.enrolled.clone_from(&old.enrolled);
        new.revoked.clone_from(&old.revoked);
        new.slots.clone_from(&old.slots);
        Ok(new)
    }
}

/// Maps the pack ordinals in a lost entry to the present ordinals of these packs.
struct PresentPlaces<'a> {
    catalog: &'a Catalog,
    /// The lost entry, …
    old: &'a LogEntry,
    /// … and the ordinal that its first pack had.
    base: u64,
    /// The next ordinal of the log. Packs that are added again have this ordinal and the following ones.
    next: u64,
    /// Ordinals of the packs that are added again.
    added: HashMap<PackId, u64>,
}

impl<'a> PresentPlaces<'a> {
    fn of(
        catalog: &'a Catalog,
        old: &'a LogEntry,
        base: u64,
        again: &[PackRecord],
    ) -> Result<PresentPlaces<'a>, Error> {
        let next = catalog.next_ordinal()?;
        let added = again.iter().zip(next..).map(|(pack, ordinal)| (pack.id, ordinal)).collect();
        Ok(PresentPlaces { catalog, old, base, next, added })
    }

    /// Returns the present ordinal of the pack that had this ordinal; `None` if the pack is gone.
    fn of_pack(&self, ordinal: u64) -> Result<Option<u64>, Error> {
        let at = ordinal.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let Some(pack) = at.and_then(|at| self.old.packs.get(at)) else { return Ok(Some(ordinal)) };
        if let Some(ordinal) = self.added.get(&pack.id) {
            return Ok(Some(*ordinal));
        }
        Ok(self.catalog.pack_by_id(&pack.id)?.and_then(|row| row.ordinal))
    }

    /// Returns the present ordinals of packs; `None` if one of them is gone.
    fn of_ranges(&self, ranges: &[PackRange]) -> Result<Option<Vec<PackRange>>, Error> {
        let PresentPlaces { catalog, base, .. } = *self;
        // Packs of earlier entries have kept their ordinals.
        let (mut before, mut own) = (Vec::new(), Vec::new());
        for range in ranges {
            let end = range.first.saturating_add(range.count);
            let until = end.min(base.max(range.first));
            before.push(PackRange { first: range.first, count: until - range.first });
            own.extend(until..end.min(until.saturating_add(self.old.packs.len() as u64)));
        }
        if !catalog.all_committed(&before)? {
            return Ok(None);
        }
        let mut all: Vec<u64> = Vec::with_capacity(own.len());
        for ordinal in own {
            let Some(place) = self.of_pack(ordinal)? else { return Ok(None) };
            let one = PackRange { first: place, count: 1 };
            if place < self.next && !catalog.all_committed(&[one])? {
                return Ok(None);
            }
            all.push(place);
        }
        let all = all.into_iter().collect::<Ordinals>().ranges();
        Ok(Some(Ordinals::from_ranges(before.into_iter().chain(all)).ranges()))
    }
}
