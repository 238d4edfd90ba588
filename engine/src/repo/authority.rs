//! Judges every entry of the log before it counts: who signed it, and whether that author may say this (spec section
//! 6.2).
//!
//! An entry that is not valid is *void*: it occupies its number, changes nothing and stops no host. So no object that
//! an attacker puts into the log can cause a deletion or keep a host from reading and writing.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Repository;
use super::catalog::{ENTRY_PACKS_MAX, LogFollower, NUMBER_MAX, Standing, Writer};
use crate::codec::keys::digest;
use crate::codec::{AuthorKey, OpenedEntry};
use crate::error::Error;
use crate::format::authority::Rights;
use crate::format::checkpoint::{Proof, Slot};
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::pack::decode_table;
use crate::format::signed::OWNER;
use crate::format::{Digest, FormatError, LogEntry, PackId, WriterId};
use crate::store::{StoreErrorKind, layout};

/// Maximum number of objects after a gap that are examined for a proof that the gap is damage.
const BEHIND_GAP_MAX: usize = 64;

/// Maximum number of void objects that a host reads again when it opens the log.
const VOID_LOOKS_MAX: usize = 8;

/// The verdict on an object of the log.
pub(super) enum Judged {
    /// A valid entry. It counts, unless its author is revoked.
    Entry(Box<LogEntry>, Standing),
    /// A void object, with the reason.
    Void(String),
    /// A void entry that adds packs which exist already. Its places name these packs too.
    Twice(Box<LogEntry>),
}

/// An object of the log whose signature was checked.
pub(super) struct Heard {
    pub slot: Slot,
    /// The proof, if an enrolled author has signed the object.
    pub proof: Option<Proof>,
    /// Why the object is void, if no enrolled author has signed it.
    pub reason: String,
}

impl<C: LogFollower> Repository<C> {
    /// Checks whether an object in a slot of the log is an entry signed by an enrolled author, that is, by one that
    /// `config` or an earlier entry names.
    pub(super) fn hear(&self, number: u64, object: &[u8]) -> Result<Heard, Error> {
        let digest = digest(&[object]);
        let void = |reason: String| {
            Ok(Heard { slot: Slot { digest, content: None }, proof: None, reason })
        };
        let opened = match self.secrets.open_log(number, object) {
            Ok(opened) => opened,
            Err(error) => return void(error.to_string()),
        };
        let Some(key) = self.author_key(&opened.content.author, number)? else {
            return void("its author is not enrolled".to_owned());
        };
        if !self.is_signed(&opened, &key) {
            return void("it is not signed by its author".to_owned());
        }
        let OpenedEntry { content, proof, .. } = opened;
        let slot = Slot { digest, content: Some(content) };
        Ok(Heard { slot, proof: Some(proof), reason: String::new() })
    }

    /// Verifies the signature of an entry. This is the most expensive part of reading a log, so each is counted.
    pub(super) fn is_signed(&self, opened: &OpenedEntry, key: &AuthorKey) -> bool {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        opened.is_signed_by(key)
    }

    /// Judges the entry after the catalog's position; `head` is the digest of the entry before it.
    /// Fails if a newer program has written and signed the entry.
    pub(super) fn judge(&self, number: u64, heard: &Heard, head: Digest) -> Result<Judged, Error> {
        let void = |reason: &str| Ok(Judged::Void(reason.to_owned()));
        let Some(content) = &heard.slot.content else { return void(&heard.reason) };
        let author = content.author;
        let name = layout::log(number);
        // An entry that the owner wrote with a newer program may contain anything. A writer can only add, so no entry
        // that counts depends on its entry. Only `prune` does, and it waits for every void entry.
        let newer = |error: FormatError| match author {
            OWNER => Err(Error::object(&name, error)),
            _ => Ok(Judged::Void(format!("it needs a newer icecore: {error}"))),
        };
        let entry = match LogEntry::read(content) {
            Ok(entry) => entry,
            Err(error) if error.is_newer() => return newer(error),
            Err(error) => return Ok(Judged::Void(error.to_string())),
        };
        // A damaged previous entry does not make this one invalid. Only an entry of the owner proves the damage.
        let doubt = match entry.previous == head {
            true => None,
            // The network had damaged the entry before it, which is readable now.
            false if self.has_changed(number - 1)? => return Err(Error::Reread),
            false if author == OWNER => {
                let reason = "it does not follow the entry before it".to_owned();
                return Err(Error::damaged(name, reason));
            }
            false => Some("it names a different entry as the one before it"),
        };
        let writer = self.writer(&author)?;
        if let Some(reason) = lacks_right(writer.as_ref(), &entry) {
            return Ok(Judged::Void(reason));
        }
        if number > NUMBER_MAX || entry.packs.len() > ENTRY_PACKS_MAX {
            return void("it is over a limit");
        }
        let (mut ids, mut is_twice) = (HashSet::new(), false);
        for pack in &entry.packs {
            match decode_table(&pack.table, pack.bytes) {
                Ok(_) => {}
                Err(error) if error.is_newer() => return newer(error),
                Err(error) => return Ok(Judged::Void(error.to_string())),
            }
            is_twice |= !ids.insert(pack.id) || self.is_added(&pack.id)?;
        }
        for id in &entry.orphans {
            if ids.contains(id) || self.is_added(id)? {
                return void("it calls a pack of the log an orphan");
            }
        }
        if is_twice {
            return Ok(Judged::Twice(Box::new(entry)));
        }
        // Later entries of the owner do not change whether an entry is valid, only whether it
        // counts.
        let revoked = writer.and_then(|writer| writer.revoked_from);
        let is_void = self.catalog.verdicts()?.void.contains(&number);
        let standing = Standing {
            author,
            revoked: is_void || revoked.is_some_and(|from| number >= from),
            is_other: author != OWNER && author != self.author.id,
            doubt,
        };
        Ok(Judged::Entry(Box::new(entry), standing))
    }

    /// Returns whether an entry has added a pack.
    fn is_added(&self, id: &PackId) -> Result<bool, Error> {
        Ok(self.catalog.pack_by_id(id)?.is_some_and(|row| row.ordinal.is_some()))
    }

    fn writer(&self, id: &WriterId) -> Result<Option<Writer>, Error> {
        if *id == OWNER { Ok(None) } else { self.catalog.writer(id) }
    }

    /// Returns the key of an author who may have written the entry with this number; `None` if no
    /// earlier entry has enrolled the author.
    pub(super) fn author_key(
        &self,
        id: &WriterId,
        number: u64,
    ) -> Result<Option<AuthorKey>, Error> {
        let mut keys = self.author_keys.lock().expect("nothing panics here");
        if !keys.contains_key(id) {
            let enrolled = match *id {
                OWNER => Some((self.config.authority.owner_key.clone(), 0)),
                _ => self.catalog.writer(id)?.map(|writer| (writer.key, writer.number)),
            };
            let Some((key, enrolled)) = enrolled else { return Ok(None) };
            keys.insert(*id, (AuthorKey::new(&key), enrolled));
        }
        Ok(keys.get(id).filter(|(_, enrolled)| *enrolled < number).map(|(key, _)| key.clone()))
    }

    /// Fails if the object in a slot, which is not an entry now, was one before. The next entry shows this, because it
    /// names the digest of other bytes. Otherwise the slot has always been void.
    pub(super) fn expect_never_valid(
        &self,
        number: u64,
        object: &[u8],
        reason: &str,
    ) -> Result<(), Error> {
        let found = digest(&[object]);
        let is_proven = self.proof_in(number + 1)?.is_some_and(|previous| previous != found);
        match is_proven || self.has_read_another(number)? {
            true => Err(Error::damaged(layout::log(number), reason)),
            false => Ok(()),
        }
    }

    /// Returns whether the old catalog, which this one is about to replace, has read a different entry in this slot of
    /// the same log. The slot is the one after the position of the new catalog.
    fn has_read_another(&self, number: u64) -> Result<bool, Error> {
        let Some(kept) = self.catalog.kept_before(number)? else { return Ok(false) };
        let head = self.catalog.position()?.head;
        Ok(self.secrets.read_log(number, &kept).is_ok_and(|entry| entry.previous == head))
    }

    /// Fails if objects after a missing entry prove that the entry existed. Otherwise the log ends before it, and the
    /// objects after it are not entries.
    pub(super) fn expect_end(&self, missing: u64, behind: &[u64]) -> Result<(), Error> {
        let mut is_proven = self.has_read_another(missing)?;
        for number in behind.iter().take(BEHIND_GAP_MAX) {
            is_proven = is_proven || self.proof_in(*number)?.is_some();
        }
        let reason = format!("it is missing, but entry {} exists", behind[0]);
        if is_proven { Err(Error::damaged(layout::log(missing), reason)) } else { Ok(()) }
    }

    /// Returns whether a slot that was found void has other bytes now.
    pub(super) fn has_changed(&self, number: u64) -> Result<bool, Error> {
        let Some((found, _)) = self.catalog.void_digests(number)? else { return Ok(false) };
        Ok(self.slot(number)?.is_some_and(|object| digest(&[&object]) != found))
    }

    /// Returns the digest of the previous entry that an entry of the owner names. Entries of writers prove nothing
    /// about other slots: a writer could claim anything and block all hosts with it.
    fn proof_in(&self, number: u64) -> Result<Option<Digest>, Error> {
        let object = match self.store.get(&layout::log(number), ENTRY_BYTES_MAX) {
            Ok(object) => object,
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            Err(error) if Error::from(error.clone()).is_of_object() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Ok(opened) = self.secrets.open_log(number, &object) else { return Ok(None) };
        if opened.content.author != OWNER {
            return Ok(None);
        }
        let Some(key) = self.author_key(&OWNER, number)? else { return Ok(None) };
        let is_proof = self.is_signed(&opened, &key);
        Ok(opened.entry().ok().filter(|_| is_proof).map(|entry| entry.previous))
    }

    /// Reads a whole object of the log, valid or not; `None` if it is missing. Returns the length as
    /// text for an object over the limit: its digest in the chain is that of this text (spec section
    /// 6.1).
    pub(super) fn slot(&self, number: u64) -> Result<Option<Bytes>, Error> {
        if let Some(object) = self.ahead.lock().expect("nothing panics here").remove(&number) {
            return Ok(Some(object));
        }
        let open = |object: &Bytes| self.secrets.open_log(number, object).map(drop);
        match self.store.get_as(&layout::log(number), ENTRY_BYTES_MAX, open) {
            Ok((object, _)) => Ok(Some(object)),
            // In a folder, anybody who can add to it can also add a folder or a pipe with this name.
            Err(_) if self.store.is_no_file(&layout::log(number)) => {
                Ok(Some(Bytes::from_static(b"no file")))
            }
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
            // An object over the limit is not fetched: its length alone makes it void.
            Err(error) if error.kind == StoreErrorKind::Length => {
                match self.store.length(&layout::log(number))? {
                    Some(bytes) if bytes > ENTRY_BYTES_MAX => {
                        Ok(Some(Bytes::from(format!("{bytes} bytes"))))
                    }
                    _ => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Repository {
    /// Returns whether the log has void or doubtful objects that the owner has not dismissed.
    pub fn has_doubts(&self) -> Result<bool, Error> {
        let void = self.catalog.void_entries()?;
        Ok(void.iter().any(|entry| !entry.dismissed) || !self.behind_gap()?.is_empty())
    }

    /// Returns the numbers of objects after the end of the log that the owner has not dismissed.
    pub fn behind_gap(&self) -> Result<Vec<u64>, Error> {
        let void = self.catalog.verdicts()?.void;
        let behind = self.behind_gap.lock().expect("nothing panics here").clone();
        Ok(behind.into_iter().filter(|number| !void.contains(number)).collect())
    }

    /// Fails if the author of this process may not drop snapshots.
    pub fn expect_may_drop(&self) -> Result<(), Error> {
        self.expect_rights(Rights::PRUNE)
    }

    /// Fails if the author of this process does not have the rights that an entry needs.
    pub(crate) fn expect_rights(&self, needed: Rights) -> Result<(), Error> {
        let Some(writer) = self.writer(&self.author.id)? else {
            // This is the owner, or a writer that no entry has enrolled because its host was enrolled in another copy
            // of the archive.
            return if self.author.id == OWNER { Ok(()) } else { Err(Error::NotEnrolled) };
        };
        if writer.revoked_from.is_some() {
            return Err(Error::Revoked { label: writer.label });
        }
        match writer.rights.include(needed) {
            true => Ok(()),
            false => Err(Error::MayNot),
        }
    }

    /// Reads the new entries of the log. Fails if the author of this process has lost the needed rights.
    pub(crate) fn expect_still(&self, needed: Rights) -> Result<(), Error> {
        let read = self.sync();
        // A revocation of this host is a better error than a failure to read the log, so check it first.
        self.expect_rights(needed)?;
        match read {
            Err(Error::Reread) => Err(Error::Reread),
            // The next append finds other errors in the log.
            _ => Ok(()),
        }
    }

    /// Fails if an object that this host found void has changed, because it was damaged then and has been repaired.
    pub(super) fn expect_still_void(&self) -> Result<(), Error> {
        let void = self.catalog.void_entries()?.into_iter();
        let open = void.filter(|entry| !entry.counts && !entry.dismissed);
        for entry in open.take(VOID_LOOKS_MAX) {
            if matches!(self.has_changed(entry.number), Ok(true)) {
                return Err(Error::Reread);
            }
        }
        Ok(())
    }
}

/// Returns why an author may not write an entry; `None` if the author may.
fn lacks_right(writer: Option<&Writer>, entry: &LogEntry) -> Option<String> {
    let rights = writer.map_or(Rights::OWNER, |writer| writer.rights);
    if rights.include(entry.needed_rights()) {
        return None;
    }
    Some(match writer {
        Some(Writer { id, label, .. }) => {
            format!("its author, writer {} ({label}), may not write such an entry", id.short())
        }
        None => "its author may not write such an entry".to_owned(),
    })
}
