//! Manages who may write: enrols and revokes hosts, and dismisses entries that they have added to the log.

use std::path::PathBuf;

use crate::codec::Author;
use crate::codec::keys::random;
use crate::error::{Argument, Error};
use crate::files::private::Provisional;
use crate::format::authority::{LABEL_BYTES_MAX, Rights};
use crate::format::{Credential, Enrolled, LogEntry, Lost, PackRange, Revoked, Time, WriterId};
use crate::repo::stored::Inventory;
use crate::repo::{PackState, Repository, Writer};
use crate::store::layout;

/// A writer that is to be enrolled.
pub struct NewWriter<'a> {
    /// Its credential, which [`new_credential`] makes.
    pub credential: &'a Credential,
    /// Its label, at most [`LABEL_BYTES_MAX`] bytes without control characters.
    pub label: &'a str,
    /// What it may do.
    pub rights: Rights,
}

/// Makes the credential of a new writer, which is not enrolled yet. Only the owner may do this.
pub fn new_credential(repository: &Repository) -> Result<Credential, Error> {
    let first = repository.identity()?.credential(repository.config.repository);
    Ok(Credential { writer: WriterId(random()), signing_seed: random(), ..first.clone() })
}

/// Enrols a writer whose credential is in a file, and returns the path of the file. The file is written first: if it
/// cannot be written, the log gets no writer whose key is lost. If enrolling fails, the file is removed.
pub fn enrol_with(
    repository: &Repository,
    new: &NewWriter,
    file: Provisional,
    time: Time,
) -> Result<PathBuf, Error> {
    let Err(error) = enrol(repository, new, time) else { return file.keep() };
    // The entry may be in the log even though something failed after that.
    if may_have_arrived(repository, new.credential.writer) {
        file.keep()?;
    }
    Err(error)
}

/// Returns whether a writer is enrolled, or the log has an entry that was not read and may enrol it.
fn may_have_arrived(repository: &Repository, writer: WriterId) -> bool {
    let next = || Ok::<_, Error>(layout::log(repository.catalog.position()?.number + 1));
    matches!(repository.catalog.writer(&writer), Ok(Some(_)))
        || next().is_ok_and(|next| matches!(repository.store.length(&next), Ok(Some(_))))
}

/// Enrols a writer. Its credential must be in a safe place before. Only the owner may do this.
pub fn enrol(repository: &Repository, new: &NewWriter, time: Time) -> Result<(), Error> {
    let NewWriter { credential, label, rights } = *new;
    if label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        let reason =
            format!("it may have at most {LABEL_BYTES_MAX} bytes, and no control characters");
        return Err(Error::Input { what: Argument::Label, reason });
    }
    repository.identity()?;
    let enrolled = Enrolled {
        id: credential.writer,
        key: (*Author::of(credential).public_key()).into(),
        label: label.to_owned(),
        rights: rights.bits(),
    };
    repository.commit(|| {
        let enrolled = Some(vec![enrolled.clone()]);
        Ok(Some(LogEntry { enrolled, ..LogEntry::new(time) }))
    })
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
