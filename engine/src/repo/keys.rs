//! Key slots: the identity, encrypted with a password. Changing a password writes a new slot and a log entry, and
//! deletes the old slot.
//!
//! Anyone who can create objects in a folder can add slots, and each slot that is tried costs a password hash. So the
//! slots that this host knows are tried first, and the others only up to a limit.

use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Catalog, Repository};
use crate::codec::keys::digest;
use crate::codec::{CodecError, Identity};
use crate::error::{Argument, Error};
use crate::format::key_slot::{SLOT_BYTES_MAX, SLOTS_MAX};
use crate::format::{FormatError, KdfCost, KeySlot, RepositoryId, SlotId, Time};
use crate::store::{Listed, ObjectName, Store, StoreError, StoreErrorKind, layout};

/// Why a file of another user is not used.
const CLOSED: &str = "this user may not read it";
/// Length of the digest at the end of a slot.
const DIGEST_BYTES: usize = 32;

/// The public part of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub slot: SlotId,
    /// The name of the password.
    pub label: String,
    /// Seconds since 1970 UTC.
    pub created: i64,
    /// Cost of one attempt with the password.
    pub cost: KdfCost,
}

impl From<KeySlot> for KeyInfo {
    fn from(slot: KeySlot) -> KeyInfo {
        let KeySlot { slot, label, created, cost, .. } = slot;
        KeyInfo { slot, label, created, cost }
    }
}

/// A key slot that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotProblem {
    /// Name of the object.
    pub object: String,
    /// Why it cannot be used.
    pub reason: String,
    /// Whether the slot belongs to another repository. An interrupted `init` leaves such a slot.
    pub foreign: bool,
    /// Whether this user may not read the file.
    pub closed: bool,
}

/// The objects under `keys/`.
#[derive(Debug, Default)]
pub struct KeySlots {
    /// The slots, ordered by their claimed time of creation.
    pub slots: Vec<KeySlot>,
    /// Slots that cannot be used.
    pub problems: Vec<SlotProblem>,
    /// Slots that were not read, because there are too many.
    pub left_out: Vec<SlotId>,
}

/// Returns the slots of a repository. If there are more than 64, reads 64 of them: the `known` ones first, then the
/// oldest and the newest of the others in turn, by the store's clock. Forged slots are added within a short time, so
/// genuine ones are at one of the two ends.
pub fn slots(store: &Store, repository: RepositoryId, known: &[SlotId]) -> Result<KeySlots, Error> {
    let (mut slots, mut problems) = (Vec::new(), Vec::new());
    let mut denied: Option<StoreError> = None;
    let in_folder = !store.location().is_remote();
    let (listed, left_out) = chosen(store.list(layout::KEYS, None)?, known);
    for object in listed {
        let mut problem = |reason: String, foreign| {
            let object = object.name.clone();
            problems.push(SlotProblem { object, reason, foreign, closed: false });
        };
        let read = |content: &Bytes| {
            KeySlot::decode(content).map_err(|error| what_is_wrong(content, &error))
        };
        let slot = match store.get_as(&object.name, SLOT_BYTES_MAX, read).map_err(Error::from) {
            Ok((_, slot)) => slot,
            // In a folder, one file may be closed to this user, and the others not.
            Err(Error::Store(error)) if error.kind == StoreErrorKind::Denied && in_folder => {
                let (object, reason) = (object.name.clone(), CLOSED.to_owned());
                problems.push(SlotProblem { object, reason, foreign: false, closed: true });
                denied.get_or_insert(error);
                continue;
            }
            Err(error) if error.is_of_object() => {
                problem(error.reason(), false);
                continue;
            }
            Err(error) => return Err(error),
        };
        match slot {
            Ok(slot) if slot.repository != repository => {
                problem("it belongs to another archive".to_owned(), true);
            }
            Ok(slot) if layout::key_slot(&slot.slot) != object.name => {
                problem("it was written under another name".to_owned(), false);
            }
            Ok(slot) => slots.push(slot),
            Err(reason) => problem(reason, false),
        }
    }
    // This user may read none of them.
    if let Some(error) = denied.filter(|_| slots.is_empty()) {
        return Err(error.into());
    }
    slots.sort_by_key(|slot| (slot.created, slot.slot));
    Ok(KeySlots { slots, problems, left_out })
}

/// Chooses the slots to read. Also returns the ids of the others.
fn chosen(listed: Vec<Listed>, known: &[SlotId]) -> (Vec<Listed>, Vec<SlotId>) {
    let named = listed.into_iter().filter_map(|object| Some((slot_id(&object.name)?, object)));
    let (mut read, mut others): (Vec<_>, VecDeque<_>) = (Vec::new(), VecDeque::new());
    for (id, object) in named {
        match known.contains(&id) {
            true => read.push(object),
            false => others.push_back((id, object)),
        }
    }
    others.make_contiguous().sort_by_key(|(id, object)| (object.modified, *id));
    let mut oldest = true;
    while read.len() < SLOTS_MAX {
        let next = if oldest { others.pop_front() } else { others.pop_back() };
        let Some((_, object)) = next else { break };
        read.push(object);
        oldest = !oldest;
    }
    (read, others.into_iter().map(|(id, _)| id).collect())
}

/// Returns the problem of a slot. A slot with a wrong digest is reported as damaged, whatever else is wrong with it.
fn what_is_wrong(object: &[u8], error: &FormatError) -> String {
    let is_whole = object
        .split_last_chunk::<DIGEST_BYTES>()
        .is_some_and(|(body, found)| digest(&[body]).0 == *found);
    match error {
        _ if !is_whole => "its contents do not match what was written".to_owned(),
        FormatError::TooNew { .. } | FormatError::UnknownFlags { .. } => {
            "it was written by a newer icecore".to_owned()
        }
        error => error.to_string(),
    }
}

/// Returns the id of a slot from the name of its object; `None` if it is not the name of a slot. Other objects there
/// are ignored.
fn slot_id(name: &str) -> Option<SlotId> {
    name.rsplit('/').next()?.parse().ok()
}

/// Fails if the owner's list of valid key slots does not contain this one, which means that the slot was removed and
/// someone has restored it. Otherwise stores the slot for the next time. Call this after the log has been read and
/// before the identity is used.
pub fn expect_listed(repository: &Repository, slot: SlotId) -> Result<(), Error> {
    match repository.catalog.listed_slots()? {
        Some(listed) if !listed.contains(&slot) => Err(Error::KeyRemoved { slot }),
        _ => repository.catalog.remember_slot(slot),
    }
}

/// Returns the slots that this host knows to be genuine: those that the owner has listed or, if there is no list, the
/// one that last opened the repository on this host.
pub fn known(cache_dir: &Path, repository: RepositoryId) -> Vec<SlotId> {
    Catalog::known_slots(cache_dir, repository)
}

/// The parameters of an attempt to open the identity with a password.
pub struct PasswordTry<'a> {
    /// The password, as it was typed, in UTF-8.
    pub password: &'a [u8],
    /// Slots whose password hash needs more memory than this, in bytes, are skipped.
    pub memory_max: u64,
    /// Slots to try first.
    pub known: &'a [SlotId],
}

/// The result of opening the identity with a password.
#[derive(Debug)]
pub struct Unlocked {
    /// The identity.
    pub identity: Identity,
    /// The slot that the password opens.
    pub slot: SlotId,
    /// Number of slots that are never tried, because there are too many.
    pub left_out: usize,
}

/// Opens the identity with a password. Tries the slots one after the other, the known ones first and then the newest,
/// first with the password as given and then with its letters in other Unicode forms, as another keyboard may have
/// produced them. If no slot opens and some were skipped because of their cost or number, the error says so.
pub fn unlock(
    store: &Store,
    repository: RepositoryId,
    attempt: &PasswordTry<'_>,
) -> Result<Unlocked, Error> {
    let PasswordTry { password, memory_max, known } = *attempt;
    let KeySlots { mut slots, problems, left_out } = slots(store, repository, known)?;
    let is_costly = |slot: &KeySlot| slot.cost.memory_bytes() > memory_max;
    let costly = slots.iter().find(|slot| is_costly(slot)).map(|slot| Error::PasswordMemory {
        object: ObjectName::KeySlot(slot.slot),
        mib: slot.cost.memory_bytes() >> 20,
    });
    slots.retain(|slot| !is_costly(slot));
    slots.reverse();
    let left_out = left_out.len() + bound(&mut slots);
    slots.sort_by_key(|slot| !known.contains(&slot.slot));
    let mut damaged = problems.into_iter().find(|problem| !problem.foreign && !problem.closed);
    let spellings = spellings(password);
    for (spelling, slot) in
        spellings.iter().flat_map(|one| slots.iter().map(move |slot| (one, slot)))
    {
        match Identity::open_slot(slot, spelling) {
            Ok(identity) => return Ok(Unlocked { identity, slot: slot.slot, left_out }),
            Err(CodecError::WrongKey) => {}
            Err(error) => {
                let object = layout::key_slot(&slot.slot);
                let reason = error.to_string();
                damaged = Some(SlotProblem { object, reason, foreign: false, closed: false });
            }
        }
    }
    // The password may belong to a damaged slot, so report the damage instead of "wrong password", unless `keys/` has
    // been flooded.
    match damaged.filter(|_| left_out == 0) {
        Some(SlotProblem { object, reason, .. }) => Err(Error::damaged(object, reason)),
        None => Err(costly
            .filter(|_| left_out == 0)
            .unwrap_or(Error::WrongPassword { slots: slots.len(), left_out })),
    }
}

/// Removes the most expensive slots if all slots together cost more to try than 64 slots of the default cost. Returns
/// the number of removed slots.
fn bound(slots: &mut Vec<KeySlot>) -> usize {
    let cost = |cost: KdfCost| u64::from(cost.memory_kib) * u64::from(cost.passes);
    let most = cost(KdfCost::default()) * SLOTS_MAX as u64;
    let all: u64 = slots.iter().map(|slot| cost(slot.cost)).sum();
    if all <= most {
        return 0;
    }
    slots.sort_by_key(|slot| cost(slot.cost));
    let mut sum = 0;
    let affordable = |slot: &&KeySlot| {
        sum += cost(slot.cost);
        sum <= most
    };
    // Always try one slot: the caller allows its memory, and one hash does not take long.
    let count = slots.iter().take_while(affordable).count().max(1);
    let left_out = slots.len() - count;
    slots.truncate(count);
    left_out
}

/// Returns the Unicode forms of a password: as given, composed (NFC), and decomposed (NFD), as on a Mac. For ASCII
/// these forms are the same, so a wrong password costs no more.
fn spellings(password: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut spellings = vec![Zeroizing::new(password.to_vec())];
    if let Ok(text) = std::str::from_utf8(password)
        && !text.is_ascii()
    {
        let forms = [composed(text), Zeroizing::new(text.nfd().collect::<String>().into_bytes())];
        for form in forms {
            if !spellings.contains(&form) {
                spellings.push(form);
            }
        }
    }
    spellings
}

fn composed(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.nfc().collect::<String>().into_bytes())
}

/// A new password for the repository.
pub struct NewPassword<'a> {
    /// The password, in UTF-8.
    pub password: &'a Zeroizing<Vec<u8>>,
    /// Its name, which anyone who can read the store sees.
    pub label: String,
    /// When it is set.
    pub time: Time,
    /// Cost of one attempt with a password.
    pub cost: KdfCost,
}

/// Writes a new slot for the identity. Normalizes the password to NFC, however its accents were typed.
pub fn add(
    store: &Store,
    repository: RepositoryId,
    identity: &Identity,
    new: NewPassword<'_>,
) -> Result<SlotId, Error> {
    let NewPassword { password, label, time, cost } = new;
    if label.len() > crate::format::key_slot::LABEL_BYTES_MAX {
        let reason = "a label may have at most 255 bytes".to_owned();
        return Err(Error::Input { what: Argument::Label, reason });
    }
    let password = match std::str::from_utf8(password) {
        Ok(text) => composed(text),
        Err(_) => password.clone(),
    };
    let slot = identity
        .seal_slot(repository, &password, label, time.seconds, cost)
        .map_err(|error| Error::object(layout::KEYS, error))?;
    let name = layout::key_slot(&slot.slot);
    let object = slot.encode();
    // Names are random, so if this one is taken, an earlier attempt at the same put has succeeded.
    if !store.create(&name, "", Bytes::from(object.clone()))?
        && store.get(&name, SLOT_BYTES_MAX)? != object
    {
        return Err(Error::damaged(name, "another slot has this name"));
    }
    Ok(slot.slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_tried_as_every_keyboard_writes_it() {
        let tried = |text: &str| -> Vec<String> {
            let all = spellings(text.as_bytes());
            all.iter().map(|one| String::from_utf8(one.to_vec()).unwrap()).collect()
        };
        let (composed, decomposed) = ("gr\u{fc}n", "gru\u{308}n");
        assert_eq!(tried(composed), [composed, decomposed]);
        assert_eq!(tried(decomposed), [decomposed, composed]);
        assert_eq!(tried("correct horse"), ["correct horse"]);
        assert_eq!(spellings(b"gr\xfcn").len(), 1, "what is no text is taken as it is");
    }
}
