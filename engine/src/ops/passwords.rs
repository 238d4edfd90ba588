//! Adds, changes and removes passwords. Each password is a key slot, and the owner lists the valid
//! slots in the log (spec section 4.2).
//!
//! A slot is written before it is listed, and deleted after it was removed from the list. So
//! whenever a run is killed, either the old password or the new one opens the archive.

use crate::error::Error;
use crate::format::{LogEntry, SlotId, Time};
use crate::repo::Repository;
use crate::repo::keys::{self, NewPassword};
use crate::store::layout;

/// Adds a password, and returns its slot.
pub fn add(repository: &Repository, new: NewPassword<'_>) -> Result<SlotId, Error> {
    let time = new.time;
    let slot = put(repository, new)?;
    list(repository, Some(slot), None, time)?;
    Ok(slot)
}

/// Removes a password.
pub fn remove(repository: &Repository, slot: SlotId, time: Time) -> Result<(), Error> {
    list(repository, None, Some(slot), time)?;
    Ok(repository.store.delete(&layout::key_slot(&slot))?)
}

/// Replaces a password, and returns its new slot.
pub fn change(repository: &Repository, old: SlotId, new: NewPassword<'_>) -> Result<SlotId, Error> {
    let time = new.time;
    let slot = put(repository, new)?;
    list(repository, Some(slot), Some(old), time)?;
    repository.store.delete(&layout::key_slot(&old))?;
    Ok(slot)
}

fn put(repository: &Repository, new: NewPassword<'_>) -> Result<SlotId, Error> {
    repository.expect_main()?;
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
        let mut slots = match &before {
            Some(listed) => listed.clone(),
            None => {
                let (slots, _) = keys::slots(&repository.store, repository.config.repository)?;
                slots.into_iter().map(|slot| slot.slot).collect()
            }
        };
        slots.retain(|slot| Some(*slot) != added && Some(*slot) != removed);
        slots.extend(added);
        let entry = LogEntry { slots: Some(slots), ..LogEntry::new(time) };
        Ok((entry.slots != before).then_some(entry))
    })
}
