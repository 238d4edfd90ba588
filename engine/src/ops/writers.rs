//! Who may write: enrolling hosts, revoking them, and dismissing what they have put into the log.

use crate::codec::Author;
use crate::codec::keys::random;
use crate::error::{Argument, Error};
use crate::format::authority::{LABEL_BYTES_MAX, Rights};
use crate::format::{Credential, Enrolled, LogEntry, Revoked, Time, WriterId};
use crate::repo::{Repository, Writer};
use crate::store::layout;

/// Enrols a writer, and returns what its host needs. Only the owner may.
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

/// Finds a writer by its label or the first digits of its id. If several have the label and one of them is not
/// revoked, it is that one: a host that was enrolled again keeps its name.
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

/// Finds the first entry of the log that the store has taken in at a time or later, in seconds since 1970 UTC; `None`
/// if there is none yet. The store's clock counts: what an entry says of itself is the word of its writer.
pub fn first_since(repository: &Repository, since: i64) -> Result<Option<u64>, Error> {
    let listed = repository.store.list(layout::LOG, None)?;
    let later = listed.iter().filter(|object| object.modified >= since);
    // Behind the end there may lie anything, with any number.
    let last = repository.catalog.position()?.number;
    Ok(later.filter_map(|object| layout::log_number(&object.name)).filter(|n| *n <= last).min())
}

/// Revokes a writer: from an entry on, what it said does not count. Fails with [`Error::Reread`] once that is in the
/// log, as this catalog has taken in what does not count any more.
pub fn revoke(
    repository: &Repository,
    writer: WriterId,
    from: u64,
    time: Time,
) -> Result<(), Error> {
    repository.commit(|| {
        let revoked = Some(vec![Revoked { writer, from }]);
        Ok(Some(LogEntry { revoked, ..LogEntry::new(time) }))
    })
}

/// What becomes of a doubtful entry that the owner has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It counts, and the doubt is over.
    Counts,
    /// Nothing in it counts.
    Void,
}

/// Says that the owner has looked at entries: those that are void are nothing, and stop no prune any more; the doubtful
/// ones become what `doubt` says. Fails with [`Error::Reread`] as [`revoke`] does.
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
