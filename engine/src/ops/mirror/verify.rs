//! Reads an object of the archive, and verifies it against the log.

use bytes::Bytes;

use super::Origin;
use super::item::{ItemKind, MirrorItem};
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::parity::Parity;
use crate::format::{KeySlot, PackId};
use crate::repo::parity::{has_ends_of_log, is_of_log};
use crate::repo::{PackRow, Repository};
use crate::store::layout;

/// Reads a whole object. Heals a damaged pack with its parity.
///
/// # Errors
/// If the object is missing or damaged, an error for which [`Error::is_of_object`] is true.
pub(super) fn read(origin: &Origin, item: &MirrorItem) -> Result<Bytes, Error> {
    let Origin::Open(repository) = origin else {
        let object = origin.store().get(&item.name, item.bytes)?;
        return match object.len() as u64 == item.bytes {
            true => Ok(object),
            false => {
                Err(Error::damaged(&item.name, "it has another length than when it was listed"))
            }
        };
    };
    let verify = |object: &Bytes| verify(repository, item, object);
    let read = repository.store.get_as(&item.name, item.bytes, verify).map_err(Error::from);
    match read.and_then(|(object, verified)| verified.map(|()| object)) {
        Err(error) if error.is_of_object() => match &item.what {
            ItemKind::Pack(_, Some(row)) => repository.heal(row)?.ok_or(error),
            _ => Err(error),
        },
        read => read,
    }
}

/// Returns a pack in which a repair has recorded damage, if its header and table are whole, so that its other chunks can
/// be read.
pub(super) fn with_recorded_damage(
    repository: &Repository,
    item: &MirrorItem,
) -> Result<Option<Bytes>, Error> {
    let ItemKind::Pack(_, Some(row)) = &item.what else { return Ok(None) };
    if repository.catalog.marked_lost(row.key)?.is_empty() {
        return Ok(None);
    }
    match repository.store.get(&item.name, item.bytes).map_err(Error::from) {
        Ok(object) => Ok(Some(object)
            .filter(|object| object.len() as u64 == row.bytes && has_ends_of_log(object, row))),
        Err(error) if error.is_of_object() => Ok(None),
        Err(error) => Err(error),
    }
}

fn verify(repository: &Repository, item: &MirrorItem, object: &Bytes) -> Result<(), Error> {
    let wrong = |reason: &str| Error::damaged(&item.name, reason);
    match &item.what {
        ItemKind::Key => verify_key(repository, item, object),
        ItemKind::Entry(number) => verify_entry(repository, *number, object),
        ItemKind::Checkpoint(range) => repository.verify_checkpoint_object(range, object),
        ItemKind::Pack(_, None) => Ok(()),
        ItemKind::Pack(_, Some(row)) if is_whole(object, row) => Ok(()),
        ItemKind::Pack(..) => Err(wrong("its checksum differs from the one in the log")),
        ItemKind::Parity(id) => verify_parity(object, id).map_err(|reason| wrong(&reason)),
    }
}

fn is_whole(object: &Bytes, row: &PackRow) -> bool {
    object.len() as u64 == row.bytes && is_of_log(object, row)
}

fn verify_key(repository: &Repository, item: &MirrorItem, object: &Bytes) -> Result<(), Error> {
    let slot = KeySlot::decode(object).map_err(|error| Error::object(&item.name, error))?;
    let is_ours = slot.repository == repository.config.repository
        && layout::key_slot(&slot.slot) == item.name;
    match is_ours {
        true => Ok(()),
        false => Err(Error::damaged(&item.name, "it is not a key of this archive")),
    }
}

/// Verifies an entry: it can be opened, or is the void object that was read in this slot.
fn verify_entry(repository: &Repository, number: u64, object: &Bytes) -> Result<(), Error> {
    let name = layout::log(number);
    let position = repository.catalog.position()?;
    let found = digest(&[object]);
    if number == position.number && found != position.head {
        return Err(Error::damaged(name, "it is not the entry that was read before"));
    }
    if repository.catalog.void_digests(number)?.is_some_and(|(void, _)| void == found) {
        return Ok(());
    }
    repository.secrets.open_log(number, object).map_err(|error| Error::object(name, error))?;
    Ok(())
}

fn verify_parity(object: &Bytes, id: &PackId) -> Result<(), String> {
    let parity = Parity::decode(object).map_err(|error| error.to_string())?;
    match parity.is_whole && parity.head.pack == *id {
        true => Ok(()),
        false => Err("it is damaged".to_owned()),
    }
}
