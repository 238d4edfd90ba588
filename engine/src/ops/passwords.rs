//! Passwords come and go: each is a key slot, and the owner lists in the log which of them are valid (spec section 4.2).
//!
//! A slot is written before it is listed, and deleted after it is not: whenever a run is killed, the password that
//! was valid before opens the archive, or the new one does.

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

/// Puts a password in the place of another, and returns its slot.
pub fn change(repository: &Repository, old: SlotId, new: NewPassword<'_>) -> Result<SlotId, Error> {
    let time = new.time;
    let slot = put(repository, new)?;
    list(repository, Some(slot), Some(old), time)?;
    repository.store.delete(&layout::key_slot(&old))?;
    Ok(slot)
}

fn put(repository: &Repository, new: NewPassword<'_>) -> Result<SlotId, Error> {
    let (identity, id) = (repository.identity()?, repository.config.repository);
    keys::add(&repository.store, id, identity, new)
}

/// Says in the log which slots are valid: those of the last list, or all that are there if this is the first, with one more
/// or without one.
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
