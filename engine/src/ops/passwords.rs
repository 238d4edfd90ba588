//! Adds, changes and removes passwords. Each password is a key slot, and the owner lists the valid
//! slots in the log (spec section 4.2).
//!
//! A slot is written before it is listed, and deleted after it was removed from the list. So even
//! if a run is killed, either the old or the new password opens the archive.

use crate::error::Error;
use crate::format::key_slot::SLOTS_MAX;
use crate::format::{LogEntry, SlotId, Time};
use crate::repo::keys::{self, NewPassword};
use crate::repo::{KeySlots, Repository};
use crate::store::{StoreErrorKind, layout};

/// Adds a password, and returns its slot.
pub fn add(repository: &Repository, new: NewPassword<'_>) -> Result<SlotId, Error> {
    let time = new.time;
    let slot = put(repository, new)?;
    list(repository, Some(slot), None, time)?;
    Ok(slot)
}

/// Removes a password. Its slot may already be missing.
pub fn remove(repository: &Repository, slot: SlotId, time: Time) -> Result<(), Error> {
    list(repository, None, Some(slot), time)?;
    match repository.store.delete(&layout::key_slot(&slot)) {
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
        deleted => Ok(deleted?),
    }
}

/// Replaces a password, and returns its new slot.
pub fn change(repository: &Repository, old: SlotId, new: NewPassword<'_>) -> Result<SlotId, Error> {
    let time = new.time;
    let slot = put(repository, new)?;
    list(repository, Some(slot), Some(old), time)?;
    repository.store.delete(&layout::key_slot(&old))?;
    Ok(slot)
}

/// What is below `keys/` and is not one of the passwords of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    /// The slots that do not count.
    pub slots: Vec<SlotId>,
    /// The slots that stay: those of the owner's list or, if there is no list yet, those that are known to have opened
    /// the archive.
    pub kept: Vec<SlotId>,
    /// Whether the owner has made a list.
    pub has_list: bool,
}

/// Finds the slots that are not passwords of the archive. `opened` is the slot that has opened it now. Without a list, a
/// slot that cannot be proven counts as one that somebody else has added.
pub fn unlisted(repository: &Repository, opened: Option<SlotId>) -> Result<Unlisted, Error> {
    repository.expect_main()?;
    let has_list = repository.catalog.listed_slots()?.is_some();
    let mut kept = repository.catalog.genuine_slots()?;
    if let Some(opened) = opened.filter(|_| !has_list)
        && !kept.contains(&opened)
    {
        kept.push(opened);
    }
    let there = repository.store.list(layout::KEYS, None)?;
    let there = there.iter().filter_map(|object| layout::key_slot_id(&object.name));
    let slots = there.filter(|slot| !kept.contains(slot)).collect();
    Ok(Unlisted { slots, kept, has_list })
}

/// Removes slots that are not passwords of the archive. If the owner has made no list, makes one first of those that
/// stay. Never removes a slot that is listed by then. Returns the number of removed slots.
pub fn remove_unlisted(
    repository: &Repository,
    found: &Unlisted,
    time: Time,
) -> Result<u64, Error> {
    repository.commit(|| {
        let is_new = repository.catalog.listed_slots()?.is_none();
        let entry = LogEntry { slots: Some(found.kept.clone()), ..LogEntry::new(time) };
        Ok(is_new.then_some(entry))
    })?;
    let listed = repository.catalog.listed_slots()?.unwrap_or_default();
    let mut removed = 0;
    for slot in found.slots.iter().filter(|slot| !listed.contains(slot)) {
        match repository.store.delete(&layout::key_slot(slot)) {
            Err(error) if error.kind == StoreErrorKind::NotFound => {}
            deleted => {
                deleted?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn put(repository: &Repository, new: NewPassword<'_>) -> Result<SlotId, Error> {
    repository.expect_main()?;
    // Check first whether the slot can be listed, so that no unlisted slot is written.
    valid(repository)?;
    let (identity, id) = (repository.identity()?, repository.config.repository);
    keys::add(&repository.store, id, identity, new)
}

/// Writes the list of valid slots to the log: the slots of the last list, or all existing ones if
/// there is no list yet, with one slot added or removed.
fn list(
    repository: &Repository,
    added: Option<SlotId>,
    removed: Option<SlotId>,
    time: Time,
) -> Result<(), Error> {
    repository.commit(|| {
        let before = repository.catalog.listed_slots()?;
        let mut slots = valid(repository)?;
        slots.retain(|slot| Some(*slot) != added && Some(*slot) != removed);
        slots.extend(added);
        let entry = LogEntry { slots: Some(slots), ..LogEntry::new(time) };
        Ok((entry.slots != before).then_some(entry))
    })
}

/// Returns the slots of the owner's last list, or all existing slots if there is no list yet. Fails if there are so
/// many slots that some must be forged.
fn valid(repository: &Repository) -> Result<Vec<SlotId>, Error> {
    if let Some(listed) = repository.catalog.listed_slots()? {
        return Ok(listed);
    }
    let id = repository.config.repository;
    let KeySlots { slots, left_out, .. } = keys::slots(&repository.store, id, &[])?;
    if !left_out.is_empty() {
        let count = slots.len() + left_out.len();
        let reason = format!(
            "{count} key slots, but only {SLOTS_MAX} are allowed; `icecore key remove --unlisted` removes those that are not yours"
        );
        return Err(Error::damaged(layout::KEYS, reason));
    }
    Ok(slots.into_iter().map(|slot| slot.slot).collect())
}
