//! The commit log: reading it to its end, and appending to it (spec section 6).
//!
//! There is no lock and no clock in here. A writer that loses a slot reads what won it, composes
//! its entry again and tries the next slot; the model that this follows is checked exhaustively.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use tracing::debug;

use super::Repository;
use super::authority::{Heard, Judged};
use super::catalog::{Position, TakenSlot};
use crate::codec::keys::{digest, random};
use crate::codec::seen;
use crate::error::Error;
use crate::format::checkpoint::CHECKPOINT_STEP;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::{FORMAT_VERSION, LogEntry, LogHead, LogHeader};
use crate::store::{StoreError, StoreErrorKind, layout};

/// How often a put is repeated whose outcome is not known.
const UNKNOWN_TRIES: u32 = 5;

/// After so many slots in a row that others took, a writer gives up: no honest hosts are so many, or so fast.
const LOST_MAX: u32 = 40;

/// What a slot of the log turned out to be.
enum SlotState {
    /// It has an entry, which counts or is void.
    Taken,
    /// The log ends before it.
    Empty,
}

impl Repository {
    /// Reads the log from where the catalog stands to its end.
    pub fn sync(&self) -> Result<(), Error> {
        let position = self.catalog.position()?;
        // Names after the one before the last that we saw: the last must still be there.
        let after = position.number.checked_sub(1).filter(|before| *before > 0).map(layout::log);
        let listed = self.store.list(layout::LOG, after.as_deref())?;
        let mut numbers: Vec<u64> =
            listed.iter().filter_map(|object| layout::log_number(&object.name)).collect();
        numbers.sort_unstable();
        let has_mark = listed.iter().any(|object| object.name == layout::MIRROR);
        self.has_mark.store(has_mark, Ordering::Relaxed);
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

    /// Reads the entries behind the catalog's position that are listed. Returns whether they are all part of the log.
    fn read_on(&self, mut numbers: Vec<u64>) -> Result<bool, Error> {
        let mut next = self.catalog.position()?.number + 1;
        let new = numbers.split_off(numbers.partition_point(|number| *number < next));
        for (at, number) in new.iter().enumerate() {
            while next <= *number {
                match self.read_slot(next, &new[at..]) {
                    Ok(SlotState::Taken) => next = self.catalog.position()?.number + 1,
                    // Entries are copied to a mirror from the last one back: until the first of
                    // them arrives, the others do not count.
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

    /// Reads the slot behind the catalog's position, `listed` being those from there on that are taken.
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
        // A checkpoint may have what is damaged or missing here.
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

    /// Takes in a copy of the entry that belongs into a slot, if there is one.
    fn take_copy(&self, number: u64) -> Result<bool, Error> {
        let Some(object) = self.copy_by_next(number)? else { return Ok(false) };
        self.take_entry(number, &object, false)?;
        Ok(true)
    }

    /// Reads an entry as the log has it, if it is one.
    pub(crate) fn entry(&self, number: u64) -> Result<(Bytes, LogEntry), Error> {
        let name = layout::log(number);
        let open = |object: &Bytes| self.secrets.read_log(number, object);
        let (object, entry) = self.store.get_as(&name, ENTRY_BYTES_MAX, open)?;
        let entry = entry.map_err(|error| Error::object(&name, error))?;
        Ok((object, entry))
    }

    /// Fails if the store no longer holds the entry that this host saw last.
    fn expect_same_history(&self, position: Position, numbers: &[u64]) -> Result<(), Error> {
        let Position { number: seen, head, .. } = position;
        if seen == 0 {
            return Ok(());
        }
        let found = numbers.last().copied().unwrap_or(0);
        if found < seen {
            // What is left of it may be further back than was listed.
            let listed = self.store.list(layout::LOG, None)?;
            let numbers = listed.iter().filter_map(|object| layout::log_number(&object.name));
            let found = numbers.max().unwrap_or(0);
            return Err(Error::RolledBack { seen, found });
        }
        // What was void stays it, and opens no more than it did.
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
            // It is damaged; the next entry also identifies it.
            Err(error) if error.is_of_object() => match self.entry(seen + 1) {
                Ok((_, next)) if next.previous == head => Ok(()),
                // It was read before, so no newer version wrote it.
                _ => Err(Error::damaged(layout::log(seen), error.reason())),
            },
            Err(error) => Err(error),
        }
    }

    /// Fails if the log does not hold a state of it that somebody else saw: a host that reads it for
    /// the first time cannot know otherwise that the store has gone back.
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

    /// Takes the entry behind the catalog's position into the catalog, to be kept there unless a
    /// checkpoint has it. Returns whether it counts: one that is void, or of a revoked writer, does not.
    pub(super) fn take_entry(&self, number: u64, object: &[u8], keep: bool) -> Result<bool, Error> {
        if self.catalog.position()?.number < number {
            let heard = self.hear(number, object)?;
            return self.take(number, &heard, keep.then_some(object));
        }
        Ok(self.catalog.void_digests(number)?.is_none())
    }

    /// Takes in what was heard of the slot behind the catalog's position; its object, where it is to be kept.
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
                // It was judged by what another process of this host has made of the catalog since.
                Err(_) if self.catalog.position()?.number >= number => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.catalog.void_digests(number)?.is_none())
    }

    /// Appends to the log. `compose` makes the entry from the catalog at the head of the log and is
    /// asked again after every lost race; `None` means that there is nothing left to do.
    pub fn commit(
        &self,
        compose: impl FnMut() -> Result<Option<LogEntry>, Error>,
    ) -> Result<(), Error> {
        self.commit_where(Repository::expect_main, compose)
    }

    /// Appends to the log of a mirror, to make it the main archive.
    pub fn commit_promotion(
        &self,
        compose: impl FnMut() -> Result<Option<LogEntry>, Error>,
    ) -> Result<(), Error> {
        self.commit_where(|_| Ok(()), compose)
    }

    /// Appends to the log, if that is permitted by what was read of it.
    fn commit_where(
        &self,
        permits: impl FnOnce(&Repository) -> Result<(), Error>,
        mut compose: impl FnMut() -> Result<Option<LogEntry>, Error>,
    ) -> Result<(), Error> {
        // What was read when the repository was opened is looked at by this very listing.
        self.let_settle();
        self.sync()?;
        permits(self)?;
        for _ in 0..LOST_MAX {
            while self.let_settle() {
                self.sync()?;
            }
            // Before it is composed: if another process of this host reads on in between, what we
            // compose is for a slot that is taken.
            let Position { number, head, seen } = self.catalog.position()?;
            let Some(mut entry) = compose()? else { return Ok(()) };
            self.expect_rights(entry.needed_rights())?;
            // The owner has called void what once lay in this slot, and nothing in it counts: it is taken by an entry
            // that says nothing.
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
                    // It is in the log, and says news of earlier entries: its slot is looked at again all the same.
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
                self.fold();
                return Ok(());
            }
            debug!(number = number + 1, "another host took this slot of the log");
            self.wait_for_the_winner();
            self.sync()?;
            self.has_waited_for(number + 1)?;
            if !is_void && self.is_in_log(number + 1, &object)? {
                // It was there all the time, and was not seen: it is not said once more.
                self.catalog.acknowledged(number + 1, &object)?;
                self.fold();
                return Ok(());
            }
            // Read the slot itself, because a listing may lag.
            if self.catalog.position()?.number == number {
                // An empty slot is free, although the store had acknowledged an entry in it.
                if let Some(object) = self.slot(number + 1)? {
                    self.take_entry(number + 1, &object, true)?;
                }
            }
        }
        Err(Error::Starved { slots: LOST_MAX })
    }

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
        Ok(Bytes::from(object))
    }

    /// Returns whether the log that was read has an object in a slot, and it counts.
    fn is_in_log(&self, number: u64, object: &Bytes) -> Result<bool, Error> {
        Ok(self.catalog.kept_entry(number)?.as_deref() == Some(&object[..])
            && self.catalog.void_digests(number)?.is_none())
    }

    /// Puts one entry. Returns false if the slot holds another's.
    ///
    /// When the outcome of a put is unknown, the slot is looked at before the put is repeated; the
    /// same bytes in the same slot are the same commit, however often they arrive.
    fn append(&self, number: u64, object: &Bytes) -> Result<bool, Error> {
        let name = layout::log(number);
        let mut tries = 0;
        loop {
            let put = self.store.create(&name, "", object.clone());
            if let Ok(true) = put {
                return Ok(true);
            }
            // A folder answers: what it failed to sync is there for all to see, and not durable.
            if put.is_err() && !self.store.location().is_remote() {
                return Ok(put?);
            }
            match self.store.get(&name, ENTRY_BYTES_MAX) {
                Ok(there) if there == *object => {
                    self.store.sync(&name)?;
                    return Ok(true);
                }
                Ok(_) => return Ok(false),
                // The slot was refused and is empty, or nothing is known: try the put again.
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
