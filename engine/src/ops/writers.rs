//! Manages who may write: enrols and revokes hosts, and dismisses entries that they have added to the log.

use crate::codec::Author;
use crate::codec::keys::random;
use crate::error::{Argument, Error};
use crate::format::authority::{LABEL_BYTES_MAX, Rights};
use crate::format::{Credential, Enrolled, LogEntry, Lost, PackRange, Revoked, Time, WriterId};
use crate::repo::stored::Inventory;
use crate::repo::{PackState, Repository, Writer};
use crate::store::layout;

/// Enrols a writer, and returns the credential for its host. Only the owner may do this.
pub fn enrol(
    repository: &Repository,
    label: &str,
    rights: Rights,
    time: Time,
) -> Result<Credential, Error> {
    if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        let reason =
            format!("it may have at most {LABEL_BYTES_MAX} bytes, and no control characters");
        return Err(Error::Input { what: Argument::Label, reason });
    }
    let first = repository.identity()?.credential(repository.config.repository);
    let (writer, signing_seed) = (WriterId(random()), random());
    let credential = Credential { writer, signing_seed, ..first.clone() };
    let enrolled = Enrolled {
        id: writer,
        key: (*Author::of(&credential).public_key()).into(),
        label: label.to_owned(),
        rights: rights.bits(),
    };
    repository.commit(|| {
        let enrolled = Some(vec![enrolled.clone()]);
        Ok(Some(LogEntry { enrolled, ..LogEntry::new(time) }))
    })?;
    Ok(credential)
}

/// Finds a writer by its label or the first digits of its id. If several match and exactly one of them is not revoked,
/// returns that one, so that a host that was enrolled again keeps its name.
pub fn find(repository: &Repository, name: &str) -> Result<Writer, Error> {
    let mut found = repository.catalog.writers()?;
    found.retain(|writer| {
        writer.label == name || (name.len() >= 4 && writer.id.to_string().starts_with(name))
    });
    if found.iter().filter(|writer| writer.revoked_from.is_none()).count() == 1 {
        found.retain(|writer| writer.revoked_from.is_none());
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Error::NoWriter { name: name.to_owned() }),
        _ => Err(Error::AmbiguousWriter { name: name.to_owned() }),
    }
}

/// Finds the first log entry that the store received at `since` or later, in seconds since 1970 UTC; returns `None` if
/// there is none yet. Uses the store's clock, because the time in an entry is only what its writer claims.
pub fn first_since(repository: &Repository, since: i64) -> Result<Option<u64>, Error> {
    let listed = repository.store.list(layout::LOG, None)?;
    let later = listed.iter().filter(|object| object.modified >= since);
    // Objects after the known end of the log may have any number.
    let last = repository.catalog.position()?.number;
    Ok(later.filter_map(|object| layout::log_number(&object.name)).filter(|n| *n <= last).min())
}

/// Revokes a writer: its entries from number `from` on no longer count. The entry also names the chunks of packs that are
/// gone because writers have tombstoned them. Fails with [`Error::Reread`] after the entry is
/// in the log, because the catalog has applied entries that no longer count.
pub fn revoke(
    repository: &Repository,
    writer: WriterId,
    from: u64,
    time: Time,
) -> Result<(), Error> {
    let lost = given_up_and_gone(repository)?;
    repository.commit(|| {
        let revoked = Some(vec![Revoked { writer, from }]);
        Ok(Some(LogEntry { revoked, lost: lost.clone(), ..LogEntry::new(time) }))
    })
}

/// Lists all chunks of packs that only writers have tombstoned and that are deleted. Once the statements of such a
/// writer no longer count, the packs are alive according to the log, and new snapshots would rely on them.
fn given_up_and_gone(repository: &Repository) -> Result<Vec<Lost>, Error> {
    let mut rows = repository.catalog.packs(PackState::Tombstoned)?;
    rows.retain(|row| row.by_writer);
    // A revocation is put twice. When the second entry is made, the first one is already in force.
    let lost = repository.catalog.lost_whole()?;
    let alive = repository.catalog.packs(PackState::Committed)?.into_iter();
    rows.extend(alive.filter(|row| lost.contains(&row.key)));
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let inventory = Inventory::list(repository)?;
    let gone = rows.into_iter().filter(|row| inventory.find(row).is_none());
    let lost = gone.filter_map(|row| {
        let slots = vec![PackRange { first: 0, count: row.rows }];
        Some(Lost { pack: row.ordinal?, slots })
    });
    Ok(lost.collect())
}

/// The owner's decision about a doubtful entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The entry counts, and is no longer doubtful.
    Counts,
    /// Nothing in it counts.
    Void,
}

/// Records that the owner has examined entries. Void entries then no longer stop a prune; `doubt` decides about the
/// doubtful ones. Fails with [`Error::Reread`] as [`revoke`] does.
pub fn dismiss(
    repository: &Repository,
    numbers: &[u64],
    doubt: Doubt,
    time: Time,
) -> Result<(), Error> {
    repository.commit(|| {
        let known = repository.catalog.void_entries()?;
        let is_sound = |number: &u64| {
            doubt == Doubt::Counts
                && known.iter().any(|entry| entry.number == *number && entry.counts)
        };
        let (sound, void): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|at| is_sound(at));
        let said = |numbers: Vec<u64>| (!numbers.is_empty()).then_some(numbers);
        let entry = LogEntry { sound: said(sound), void: said(void), ..LogEntry::new(time) };
        Ok((!entry.is_empty()).then_some(entry))
    })
}
