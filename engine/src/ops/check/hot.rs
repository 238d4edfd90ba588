//! The part of a check that reads no packs.

use std::collections::HashSet;

use super::{Bad, Check, name};
use crate::error::Error;
use crate::format::key_slot::SLOTS_MAX;
use crate::format::{Ordinals, SlotId};
use crate::progress::{Progress, Unit};
use crate::repo::catalog::{LostBy, MISSING};
use crate::repo::stored::Inventory;
use crate::repo::{KeySlots, PackRow, PackRowId, PackState, keys};
use crate::store::{StoreErrorKind, layout};

/// The problem of a slot that the owner does not list.
const NOT_LISTED: &str = "the owner does not list it: an old password that someone has put back or that a promoted copy still had, or a new one whose adding was interrupted. icecore does not accept it; `icecore key remove --unlisted` removes it";
/// Number of packs whose checksums are requested in one batch.
const HEADS_AT_ONCE: usize = 512;

impl Check<'_> {
    pub(super) fn key_slots(&mut self) -> Result<(), Error> {
        let repository = self.repository.config.repository;
        let listed = self.repository.catalog.listed_slots()?;
        let has_list = listed.is_some();
        let known = listed.clone().unwrap_or_default();
        let found = match keys::slots(&self.repository.store, repository, &known) {
            // A backup host may lack permission to read key slots.
            Err(error) if self.is_refused(&error) => return Ok(()),
            other => other?,
        };
        let KeySlots { slots, problems, left_out } = found;
        self.report.objects_checked += slots.len() as u64;
        let count = slots.len() + problems.len() + left_out.len();
        let named = problems.iter().filter_map(|problem| layout::key_slot_id(&problem.object));
        let there = slots.iter().map(|slot| slot.slot).chain(named).chain(left_out.iter().copied());
        self.missing_slots(&there.collect())?;
        // In a mirror, a new slot arrives before the entry that lists it.
        if let Some(listed) = listed {
            let all = slots.iter().map(|slot| slot.slot).chain(left_out);
            let is_mirror = self.repository.is_mirror();
            for slot in all.filter(|slot| !listed.contains(slot) && !is_mirror) {
                self.damage(layout::key_slot(&slot), NOT_LISTED);
            }
        } else if !left_out.is_empty() {
            let problem = format!(
                "{count} key slots, but only {SLOTS_MAX} are tried: somebody has added false ones. `icecore key remove --unlisted` shows and removes them"
            );
            self.damage(layout::KEYS.to_owned(), problem);
        }
        let genuine = self.repository.catalog.genuine_slots()?;
        for problem in problems {
            // A host that only writes need not be allowed to read it.
            if problem.closed && !self.repository.can_read() {
                continue;
            }
            let slot = layout::key_slot_id(&problem.object);
            let is_listed = slot.is_some_and(|slot| known.contains(&slot));
            if has_list && !is_listed && !problem.foreign && !self.repository.is_mirror() {
                // It is no lost password.
                self.damage(problem.object, format!("{}; {NOT_LISTED}", problem.reason));
                continue;
            }
            if problem.foreign {
                self.report.foreign_slots.push(problem.object);
            } else {
                let is_known = slot.is_some_and(|slot| genuine.contains(&slot));
                let count = match is_known {
                    true => &mut self.report.slots_lost,
                    false => &mut self.report.slots_unknown,
                };
                *count += 1;
                self.damage(problem.object, problem.reason);
            }
        }
        Ok(())
    }

    /// Reports the genuine key slots that are not `there`. Without a list of the owner, no password was ever removed,
    /// so the slot that has opened the archive on this host must still exist.
    fn missing_slots(&mut self, there: &HashSet<SlotId>) -> Result<(), Error> {
        let is_gone = |slot: &SlotId| !there.contains(slot);
        let gone = self.repository.catalog.genuine_slots()?.into_iter().filter(is_gone).count();
        if self.repository.is_mirror() {
            // Slots and entries are copied one after the other, and the next run copies what it does not find.
            self.report.slots_to_copy = gone as u64;
            return Ok(());
        }
        if gone == 0 {
            return Ok(());
        }
        // The owner may have removed a password on another host since the log was read.
        self.read_on()?;
        for slot in self.repository.catalog.genuine_slots()?.iter().filter(|slot| is_gone(slot)) {
            self.report.slots_lost += 1;
            let problem = format!("{MISSING}: its password no longer opens the archive");
            self.damage(layout::key_slot(slot), problem);
        }
        Ok(())
    }

    /// Returns whether the store denied a read to a host that only writes.
    pub(super) fn is_refused(&self, error: &Error) -> bool {
        let denied = matches!(error, Error::Store(error) if error.kind == StoreErrorKind::Denied);
        denied && !self.repository.can_read()
    }

    /// Compares a listing with the packs in the log.
    pub(super) fn presence(&mut self) -> Result<(), Error> {
        // Read the log before the listing. Otherwise packs that other hosts commit in the meantime would look missing.
        let packs = self.repository.catalog.packs(PackState::Committed)?;
        let mut listed = Inventory::list(self.repository)?;
        self.report.moved = listed.moved(self.repository, &packs)?;
        for pack in packs {
            self.report.objects_checked += 1;
            self.report.packs += 1;
            match listed.remove(&pack).map(|object| object.bytes) {
                None => self.is_missing(&pack),
                Some(bytes) if bytes != pack.bytes => {
                    self.truncated.insert(pack.key, bytes);
                    let problem = format!("it has {bytes} bytes instead of {}", pack.bytes);
                    self.suspect(&pack, &problem)?;
                }
                Some(_) => {}
            }
        }
        for pack in self.repository.catalog.packs(PackState::Tombstoned)? {
            listed.remove(&pack);
        }
        self.report.unreferenced = listed.len() as u64;
        self.presence_of_parity()
    }

    /// Checks that every pack has a parity object, if the repository is in a folder and has parity.
    fn presence_of_parity(&mut self) -> Result<(), Error> {
        let store = &self.repository.store;
        if store.location().is_remote() || self.repository.settings()?.parity_percent.is_none() {
            return Ok(());
        }
        let listed = store.list(layout::PARITY, None)?;
        let listed: HashSet<String> = listed.into_iter().map(|object| object.name).collect();
        let given_up = self.repository.catalog.lost_whole()?;
        for pack in self.repository.catalog.packs(PackState::Committed)? {
            if !listed.contains(&layout::parity(&pack.id)) && !given_up.contains(&pack.key) {
                self.bare.insert(pack.key, MISSING.to_owned());
            }
        }
        Ok(())
    }

    /// Compares the checksums that the store keeps with those in the log. A folder keeps no checksums, and a host that
    /// only writes may not ask for them.
    pub(super) fn checksums(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        if !self.repository.store.can_thaw() || !self.repository.can_read() {
            return Ok(());
        }
        let mut packs = self.repository.catalog.packs(PackState::Committed)?;
        packs.retain(|pack| !self.bad_packs.contains_key(&pack.key));
        progress.expect(Unit::Objects, packs.len() as u64, 0);
        for packs in packs.chunks(HEADS_AT_ONCE) {
            progress.check_interrupted()?;
            let names: Vec<String> = packs.iter().map(name).collect();
            for (pack, head) in packs.iter().zip(self.repository.store.heads(&names)) {
                progress.advance(1, 0);
                let Some(head) = head? else {
                    self.is_missing(pack);
                    continue;
                };
                let Some(crc64) = head.crc64 else { continue };
                self.report.checksums_checked += 1;
                if crc64 != pack.crc64 {
                    let problem = "its checksum in the store differs from the one in the log";
                    self.suspect(pack, problem)?;
                }
            }
        }
        Ok(())
    }

    fn is_missing(&mut self, pack: &PackRow) {
        let problem = MISSING.into();
        self.bad_packs.insert(pack.key, Bad { problem, missing: true });
    }

    /// Records which packs are missing, so that the next snapshot stores their chunks again, and no check waits for
    /// their thaw. A pack that exists again is no longer missing.
    pub(super) fn remember_missing(&self) -> Result<(), Error> {
        let missing = self.bad_packs.iter().filter(|(_, bad)| bad.missing);
        let missing: Vec<PackRowId> = missing.map(|(key, _)| *key).collect();
        self.repository.catalog.leave_out_of_check(&missing)?;
        let mut truncated = Vec::new();
        for (key, bytes) in &self.truncated {
            let places = self.repository.catalog.chunks_in(*key)?;
            let beyond = places.iter().filter(|place| place.range().end > *bytes);
            let slots: Ordinals = beyond.map(|place| u64::from(place.slot)).collect();
            truncated.push((*key, slots));
        }
        self.repository.catalog.set_missing(&missing, &truncated)
    }

    /// Records a problem of a pack, parts of which may still be readable. Does nothing if the log lists lost chunks of
    /// the pack, because then a repair has read it already.
    fn suspect(&mut self, pack: &PackRow, problem: &str) -> Result<(), Error> {
        if self.repository.catalog.lost_slots(pack.key, LostBy::Log)?.is_empty() {
            self.bad_packs.insert(pack.key, Bad { problem: problem.into(), missing: false });
        }
        Ok(())
    }
}
