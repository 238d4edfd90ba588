//! Reads the commit log to its end and appends to it (spec section 6).
//!
//! The protocol needs no locks and no clocks. A writer that loses a slot reads the entry that won, composes its own
//! entry again and tries the next slot. A model of the protocol is checked exhaustively.
//!
//! If the network goes away during a commit, the store repeats each request for a while (`store/patience`). If the
//! outcome of a put is still unknown then, the slot is read: the same bytes there mean that the put has succeeded
//! (`append`). If the slot cannot be read either, the commit fails. Its entry may be in the log nevertheless, and counts.

use bytes::Bytes;
use tracing::debug;

use super::Repository;
use super::authority::{Heard, Judged};
use super::catalog::{LogFollower, Position, TakenSlot};
use crate::codec::keys::{digest, random};
use crate::codec::seen;
use crate::error::Error;
use crate::format::checkpoint::CHECKPOINT_STEP;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::signed::OWNER;
use crate::format::{FORMAT_VERSION, LogEntry, LogHead, LogHeader};
use crate::store::{StoreError, StoreErrorKind, layout};

/// Maximum number of times that a put with an unknown outcome is repeated.
const UNKNOWN_TRIES: u32 = 5;

/// Number of slots in a row that other writers may take before this one fails. Honest hosts are neither so many nor so
/// fast.
const LOST_MAX: u32 = 40;

/// The state of a slot of the log.
enum SlotState {
    /// It has an entry, valid or void.
    Taken,
    /// The log ends before it.
    Empty,
}

impl<C: LogFollower> Repository<C> {
    /// Reads the log from the catalog's position to its end.
    pub fn sync(&self) -> Result<(), Error> {
        let position = self.catalog.position()?;
        // List from the last entry that this host has read, which must still exist.
        let after = position.number.checked_sub(1).filter(|before| *before > 0).map(layout::log);
        let listed = self.store.list(layout::LOG, after.as_deref())?;
        let mut numbers: Vec<u64> =
            listed.iter().filter_map(|object| layout::log_number(&object.name)).collect();
        numbers.sort_unstable();
        let has_mark = listed.iter().any(|object| object.name == layout::MIRROR);
        self.see_mark(has_mark)?;
        self.expect_same_history(position, &numbers)?;
        self.behind_gap.lock().expect("nothing panics here").clear();
        let new = numbers.len() - numbers.partition_point(|number| *number <= position.number);
        if position.number > 0 && new as u64 > CHECKPOINT_STEP {
            self.read_vouched()?;
        }
        let read = self.read_on(numbers);
        self.ahead.lock().expect("nothing panics here").clear();
        if read? {
            self.has_read(&listed, position.number);
        }
        Ok(())
    }

    /// Reads the listed entries after the catalog's position. Returns whether all of them are part of the log.
    fn read_on(&self, mut numbers: Vec<u64>) -> Result<bool, Error> {
        let mut next = self.catalog.position()?.number + 1;
        let new = numbers.split_off(numbers.partition_point(|number| *number < next));
        for (at, number) in new.iter().enumerate() {
            while next <= *number {
                match self.read_slot(next, &new[at..]) {
                    Ok(SlotState::Taken) => next = self.catalog.position()?.number + 1,
                    // Entries are copied to a mirror from the last one to the first. Until the first one arrives, the
                    // others do not count.
                    Ok(SlotState::Empty) if self.is_mirror() => return Ok(false),
                    Ok(SlotState::Empty) => {
                        *self.behind_gap.lock().expect("nothing panics here") = new[at..].to_vec();
                        return Ok(false);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(true)
    }

    /// Reads the slot after the catalog's position. `listed` are the numbers of the taken slots from there on.
    fn read_slot(&self, number: u64, listed: &[u64]) -> Result<SlotState, Error> {
        let missing = || {
            let reason = format!("it is missing, but entry {} exists", listed[0]);
            Error::damaged(layout::log(number), reason)
        };
        let there = match listed.first() {
            Some(first) if *first == number => self.slot(number),
            _ => Ok(None),
        };
        let error = match there {
            Ok(Some(object)) => match self.secrets.open_log(number, &object) {
                Ok(_) => {
                    self.take_entry(number, &object, true)?;
                    return Ok(SlotState::Taken);
                }
                Err(error) => {
                    let reason = error.to_string();
                    if self.take_copy(number)? {
                        return Ok(SlotState::Taken);
                    }
                    self.expect_never_valid(number, &object, &reason)?;
                    self.take_entry(number, &object, true)?;
                    return Ok(SlotState::Taken);
                }
            },
            Ok(None) => missing(),
            Err(error) if error.is_of_object() || error.is_frozen() => error,
            Err(error) => return Err(error),
        };
        // A checkpoint may contain the entry that is damaged or missing here.
        if error.is_of_object() && self.take_copy(number)? {
            return Ok(SlotState::Taken);
        }
        if !matches!(listed.first(), Some(first) if *first == number) {
            if !self.is_mirror() {
                self.expect_end(number, listed)?;
            }
            return Ok(SlotState::Empty);
        }
        Err(error)
    }

    /// Applies a copy of the entry that belongs in a slot. Returns false if there is no copy.
    fn take_copy(&self, number: u64) -> Result<bool, Error> {
        let Some(object) = self.copy_by_next(number)? else { return Ok(false) };
        self.take_entry(number, &object, false)?;
        Ok(true)
    }

    /// Reads an entry of the log. Fails if the object is not an entry.
    pub(crate) fn entry(&self, number: u64) -> Result<(Bytes, LogEntry), Error> {
        let name = layout::log(number);
        let open = |object: &Bytes| self.secrets.read_log(number, object);
        let (object, entry) = self.store.get_as(&name, ENTRY_BYTES_MAX, open)?;
        let entry = entry.map_err(|error| Error::object(&name, error))?;
        Ok((object, entry))
    }

    /// Fails if the store no longer has the last entry that this host has read.
    fn expect_same_history(&self, position: Position, numbers: &[u64]) -> Result<(), Error> {
        let Position { number: seen, head, .. } = position;
        if seen == 0 {
            return Ok(());
        }
        let found = numbers.last().copied().unwrap_or(0);
        if found < seen {
            // The remaining entries may come before the listed range.
            let listed = self.store.list(layout::LOG, None)?;
            let numbers = listed.iter().filter_map(|object| layout::log_number(&object.name));
            let found = numbers.max().unwrap_or(0);
            return Err(Error::RolledBack { seen, found });
        }
        // A void object stays void. Compare its digest, because it may not be possible to open it.
        if self.catalog.void_digests(seen)?.is_some() {
            match self.slot(seen)? {
                Some(object) if digest(&[&object]) == head => return Ok(()),
                Some(_) => return Err(Error::Reread),
                None => {}
            }
        }
        match self.entry(seen) {
            Ok((object, _)) if digest(&[&object]) == head => Ok(()),
            Ok((_, entry)) => Err(self.another_in(seen, &entry)),
            // The entry is damaged; the next entry also identifies it.
            Err(error) if error.is_of_object() => match self.entry(seen + 1) {
                Ok((_, next)) if next.previous == head => Ok(()),
                // This program has read the entry before, so it is damaged and not too new.
                _ => Err(Error::damaged(layout::log(seen), error.reason())),
            },
            Err(error) => Err(error),
        }
    }

    /// Applies the entry after the catalog's position to the catalog, which keeps the object if `keep` is set. Returns
    /// whether the entry counts. A void entry does not, nor does one of a revoked writer.
    pub(super) fn take_entry(&self, number: u64, object: &[u8], keep: bool) -> Result<bool, Error> {
        if self.catalog.position()?.number < number {
            let heard = self.hear(number, object)?;
            return self.take(number, &heard, keep.then_some(object));
        }
        Ok(self.catalog.void_digests(number)?.is_none())
    }

    /// Applies the slot after the catalog's position, as it was read and its signature checked. The catalog keeps
    /// `object`, if it is given.
    pub(super) fn take(
        &self,
        number: u64,
        heard: &Heard,
        object: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let position = self.catalog.position()?;
        if position.number < number {
            let taken = TakenSlot {
                number,
                digest: heard.slot.digest,
                seen: seen(&position.seen, &heard.slot),
                bytes: heard.slot.bytes(),
                object,
            };
            match self.judge(number, heard, position.head) {
                Ok(Judged::Entry(entry, standing)) => {
                    self.catalog.apply(&taken, &entry, standing)?;
                    return Ok(!standing.revoked);
                }
                Ok(Judged::Void(reason)) => self.catalog.apply_void(&taken, &reason, None)?,
                Ok(Judged::Twice(entry)) => {
                    self.catalog.apply_void(&taken, "it adds a pack twice", Some(&entry))?;
                }
                // Another process of this host has advanced the catalog, so the verdict was based on a later state.
                Err(_) if self.catalog.position()?.number >= number => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.catalog.void_digests(number)?.is_none())
    }
}

impl Repository {
    /// Fails if the log does not contain a head that was seen elsewhere. Otherwise a host that reads the log for the
    /// first time could not detect that the store was rolled back.
    pub fn expect_head(&self, head: &LogHead) -> Result<(), Error> {
        let position = self.catalog.position()?;
        if position.number < head.number {
            return Err(Error::RolledBack { seen: head.number, found: position.number });
        }
        let is_it = |object: &Bytes| match head.is_of(&digest(&[object])) {
            true => Ok(()),
            false => Err(Error::Forked { number: head.number }),
        };
        self.store.get_as(&layout::log(head.number), ENTRY_BYTES_MAX, is_it)?.1
    }

    /// Returns the head of the log as this host knows it; `None` if the log is empty.
    pub fn head(&self) -> Result<Option<LogHead>, Error> {
        let Position { number, head, .. } = self.catalog.position()?;
        Ok((number > 0).then(|| LogHead::new(number, &head)))
    }

    /// Appends an entry to the log. `compose` makes the entry from the catalog at the head of the log, and is called
    /// again after every lost race. Nothing is appended if it returns `None`.
    ///
    /// After an error, the entry may be in the log or not. The next [`sync`](Self::sync) finds it there, or the next
    /// commit puts another one into the slot.
    pub fn commit(
        &self,
        compose: impl FnMut() -> Result<Option<LogEntry>, Error>,
    ) -> Result<(), Error> {
        self.commit_where(Repository::expect_main, compose)
    }

    /// Appends to the log of a mirror in order to promote it.
    pub fn commit_promotion(
        &self,
        compose: impl FnMut() -> Result<Option<LogEntry>, Error>,
    ) -> Result<(), Error> {
        self.commit_where(|_| Ok(()), compose)
    }

    /// Appends to the log if `permits` allows that after the log was read.
    fn commit_where(
        &self,
        permits: impl FnOnce(&Repository) -> Result<(), Error>,
        mut compose: impl FnMut() -> Result<Option<LogEntry>, Error>,
    ) -> Result<(), Error> {
        // The result does not matter here, because the log is read again in any case.
        self.let_settle();
        self.sync()?;
        permits(self)?;
        for _ in 0..LOST_MAX {
            while self.let_settle() {
                self.sync()?;
            }
            // Read the position before composing. If another process of this host advances the catalog in between, the
            // entry is for a slot that is taken, and the race is lost.
            let Position { number, head, seen } = self.catalog.position()?;
            let Some(mut entry) = compose()? else { return Ok(()) };
            self.expect_rights(entry.needed_rights())?;
            // The owner has declared this slot void, so no entry in it counts. Fill it with an empty entry.
            let is_void = self.catalog.verdicts()?.void.contains(&(number + 1));
            if is_void {
                entry = LogEntry::new(entry.time);
            }
            let mut entry = self.catalog.to_places(&entry, number + 1)?;
            entry.previous = head;
            entry.seen = Some(seen);
            let object = self.seal_entry(number + 1, &entry)?;
            if self.append(number + 1, &object)? && self.is_still_ours(number + 1, &object) {
                let taken = self.take_entry(number + 1, &object, true);
                if matches!(taken, Err(Error::Reread)) && !is_void {
                    // The entry is in the log and changes the verdict on earlier entries. Record it first, so that the
                    // next run checks its slot as usual.
                    self.catalog.acknowledged(number + 1, &object)?;
                }
                let counts = taken?;
                if is_void {
                    continue;
                }
                if !counts {
                    let reason = "the entry that this host wrote does not count".to_owned();
                    return Err(Error::damaged(layout::log(number + 1), reason));
                }
                self.catalog.acknowledged(number + 1, &object)?;
                self.write_missing_checkpoints();
                return Ok(());
            }
            debug!(
                number = number + 1,
                "another entry is in this slot of the log, or the store lost ours"
            );
            self.wait_for_the_winner();
            self.sync()?;
            self.has_waited_for(number + 1)?;
            if !is_void && self.is_in_log(number + 1, &object)? {
                // The entry was in the log all the time, although it was not seen. It must not be appended twice.
                self.catalog.acknowledged(number + 1, &object)?;
                self.write_missing_checkpoints();
                return Ok(());
            }
            // Read the slot itself, because a listing may lag.
            if self.catalog.position()?.number == number {
                // If the slot is empty, it can be used, even if the store had acknowledged an entry in it.
                if let Some(object) = self.slot(number + 1)? {
                    self.take_entry(number + 1, &object, true)?;
                }
            }
        }
        Err(self.starved())
    }

    /// Returns the error for a host that never got a slot. It names the writer whose entries are in most of the last
    /// slots, so that the owner knows which key to disable.
    fn starved(&self) -> Error {
        let busiest = || {
            let last = self.catalog.position()?.number;
            let from = last.saturating_sub(u64::from(LOST_MAX)) + 1;
            let Some(id) = self.catalog.busiest_writer(from)? else { return Ok(None) };
            Ok::<_, Error>(self.catalog.writer(&id)?.map(|writer| writer.label))
        };
        // The name is only informative, so a failure of the catalog does not matter.
        Error::Starved { slots: LOST_MAX, writer: busiest().unwrap_or_default() }
    }

    /// Seals an entry, and records that this host sends it.
    fn seal_entry(&self, number: u64, entry: &LogEntry) -> Result<Bytes, Error> {
        let header = LogHeader {
            repository: self.config.repository,
            number,
            salt: random(),
            version: FORMAT_VERSION,
            flags: entry.flags(),
        };
        let object = self.secrets.seal_log(&header, entry, &self.author);
        let object = object.map_err(|error| Error::object(layout::log(number), error))?;
        if object.len() as u64 > ENTRY_BYTES_MAX {
            let reason = format!("a log entry of {} bytes is over the limit", object.len());
            return Err(Error::Input { what: "the entry".into(), reason });
        }
        if self.author.id != OWNER {
            self.catalog.sends(&digest(&[&object]))?;
        }
        Ok(Bytes::from(object))
    }

    /// Returns whether the log, as it was read, has an object in a slot, and the object counts.
    fn is_in_log(&self, number: u64, object: &Bytes) -> Result<bool, Error> {
        Ok(self.catalog.kept_entry(number)?.as_deref() == Some(&object[..])
            && self.catalog.void_digests(number)?.is_none())
    }

    /// Puts one entry. Returns false if the slot has another entry.
    ///
    /// If the outcome of a put is unknown, the slot is read before the put is repeated here. (The store itself repeats a
    /// put after it has listed the name.) The same bytes in the same slot are the same commit, however often they arrive.
    fn append(&self, number: u64, object: &Bytes) -> Result<bool, Error> {
        let name = layout::log(number);
        let mut tries = 0;
        loop {
            let put = self.store.create(&name, "", object.clone());
            if let Ok(true) = put {
                return Ok(true);
            }
            // In a folder the outcome is known: the entry could not be synced. It may be visible, but it is not
            // durable.
            if put.is_err() && !self.store.location().is_remote() {
                return Ok(put?);
            }
            match self.store.get(&name, ENTRY_BYTES_MAX) {
                Ok(there) if there == *object => {
                    self.store.sync(&name)?;
                    return Ok(true);
                }
                Ok(_) => return Ok(false),
                // The put was refused although the slot is empty, or its outcome is unknown. Try it again.
                Err(StoreError { kind: StoreErrorKind::NotFound, .. }) if tries < UNKNOWN_TRIES => {
                    tries += 1;
                    if let Err(error) = put
                        && !matches!(
                            error.kind,
                            StoreErrorKind::Unreachable
                                | StoreErrorKind::Busy
                                | StoreErrorKind::Other
                        )
                    {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(put.err().unwrap_or(error).into()),
            }
        }
    }
}
