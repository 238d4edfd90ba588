//! Checkpoints: many entries of the log in one object, so that a host without a catalog reads few
//! objects (spec section 6.5).
//!
//! A checkpoint is proven by the real last entry of its range before anything of it is used, and
//! otherwise ignored whole: it can spare requests and cannot change what a host knows. Nothing
//! ever depends on one being there.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Repository;
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_ENTRY_HEADER_BYTES, CHECKPOINT_HEADER_BYTES,
    CHECKPOINT_LEVELS, CHECKPOINT_STEP,
};
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::{Checkpoint, Digest};
use crate::store::{Requests, StoreError, layout};

/// Names on one page of a listing.
const PAGE_NAMES: u64 = 1000;

/// How many damaged ends of ranges in a row are looked behind: a hostile store has no end of them.
const HOPS_MAX: u32 = 3;

/// The checkpoints that a store lists, but for those that turned out bad, by first and last entry.
#[derive(Debug, Default)]
pub(super) struct Listed(BTreeSet<(u64, u64)>);

impl Listed {
    fn has(&self, entries: &RangeInclusive<u64>) -> bool {
        self.0.contains(&(*entries.start(), *entries.end()))
    }

    fn add(&mut self, entries: &RangeInclusive<u64>) {
        self.0.insert((*entries.start(), *entries.end()));
    }

    fn remove(&mut self, entries: &RangeInclusive<u64>) {
        self.0.remove(&(*entries.start(), *entries.end()));
    }

    /// Returns the longest checkpoint that has an entry.
    fn covering(&self, number: u64) -> Option<RangeInclusive<u64>> {
        let before = number.checked_sub(1)?;
        CHECKPOINT_LEVELS
            .into_iter()
            .rev()
            .map(|count| before / count * count + 1..=(before / count + 1) * count)
            .find(|entries| self.has(entries))
    }

    /// Returns the longest checkpoint of fewer than `count` entries that ends with an entry.
    fn ending(&self, last: u64, count: u64) -> Option<RangeInclusive<u64>> {
        CHECKPOINT_LEVELS
            .into_iter()
            .rev()
            .filter(|smaller| *smaller < count && last.is_multiple_of(*smaller))
            .map(|smaller| last - smaller + 1..=last)
            .find(|entries| self.has(entries))
    }
}

/// Entries of the log that are proven to be those that the log has.
struct Proven {
    /// The objects, in order.
    entries: Vec<Bytes>,
    /// Digest of the object before the first.
    previous: Digest,
}

impl Repository {
    /// Returns the ranges of all checkpoints that are there, of whatever worth.
    pub fn checkpoints(&self) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
        let listed = self.store.list(layout::CHECKPOINTS, None)?;
        Ok(listed.iter().filter_map(|object| layout::checkpoint_entries(&object.name)).collect())
    }

    /// Fails if a checkpoint is not what the log has.
    pub fn verify_checkpoint(&self, entries: &RangeInclusive<u64>) -> Result<(), Error> {
        self.proven(entries).map(drop)
    }

    /// Lists the checkpoints for a reader: none if they cannot be listed, as the log has it all.
    pub(super) fn usable_checkpoints(&self) -> Listed {
        let listed = self.checkpoints().unwrap_or_default();
        Listed(listed.into_iter().map(RangeInclusive::into_inner).collect())
    }

    /// Reads as much of the log as checkpoints have without a gap: for a catalog that is new, so
    /// that not even the names of old entries need be listed.
    pub(super) fn read_checkpoints(&self) -> Result<(), Error> {
        let mut listed = self.usable_checkpoints();
        let mut next = self.catalog.position()?.number + 1;
        while let Some(last) = self.read_checkpoint(next, &mut listed)? {
            next = last + 1;
        }
        Ok(())
    }

    /// Reads the entries from `next` on, the one behind the catalog's position, from the longest
    /// checkpoint that has them and is sound. Returns the last that the catalog then has; `None`
    /// if no checkpoint helps. Bad ones are dropped from `listed`.
    pub(super) fn read_checkpoint(
        &self,
        next: u64,
        listed: &mut Listed,
    ) -> Result<Option<u64>, Error> {
        while let Some(range) = listed.covering(next) {
            let position = self.catalog.position()?;
            if position.number >= next {
                // Another process of this host was faster.
                return Ok(Some(position.number));
            }
            let (first, last) = (*range.start(), *range.end());
            let skipped = (next - first) as usize;
            let sound = self.proven(&range).ok().filter(|proven| {
                let before = match skipped.checked_sub(1) {
                    Some(before) => digest(&[&proven.entries[before]]),
                    None => proven.previous,
                };
                before == position.head
            });
            let Some(proven) = sound else {
                listed.remove(&range);
                continue;
            };
            for (number, entry) in (next..).zip(&proven.entries[skipped..]) {
                self.take_entry(number, entry, false)?;
            }
            return Ok(Some(last));
        }
        Ok(None)
    }

    /// Reads a checkpoint, and proves it by the last of its entries as the log has it.
    fn proven(&self, range: &RangeInclusive<u64>) -> Result<Proven, Error> {
        self.proven_by(range, self.digest_of(*range.end(), HOPS_MAX)?)
    }

    /// Returns which entry the log has at a number: one that is damaged or missing is named by the one
    /// behind it, in the log or in a checkpoint that is proven in the same way, in so many hops.
    fn digest_of(&self, number: u64, hops: u32) -> Result<Digest, Error> {
        let error = match self.entry(number) {
            Ok((object, _)) => return Ok(digest(&[&object])),
            Err(error) if error.is_of_object() || error.is_frozen() => error,
            Err(error) => return Err(error),
        };
        if let Ok((_, next)) = self.entry(number + 1) {
            return Ok(next.previous);
        }
        let Some(hops) = hops.checked_sub(1) else { return Err(error) };
        for count in CHECKPOINT_LEVELS.into_iter().filter(|count| number.is_multiple_of(*count)) {
            let behind = number + 1..=number + count;
            if let Ok(newest) = self.digest_of(*behind.end(), hops)
                && let Ok(proven) = self.proven_by(&behind, newest)
            {
                return Ok(proven.previous);
            }
        }
        Err(error)
    }

    /// Reads a checkpoint whose last entry must have this digest. Every entry is proven by what the
    /// one behind it names as the one before.
    fn proven_by(&self, range: &RangeInclusive<u64>, newest: Digest) -> Result<Proven, Error> {
        let name = layout::checkpoint(range);
        let object = self.store.get(&name, CHECKPOINT_BYTES_MAX)?;
        let found = Checkpoint::decode(&object).map_err(|error| Error::object(&name, error))?;
        let count = range.end() - range.start() + 1;
        if found.repository != self.config.repository
            || (found.first, found.entries.len() as u64) != (*range.start(), count)
        {
            return Err(bad(range, "it belongs under another name".to_owned()));
        }
        let mut previous = newest;
        for (number, entry) in range.clone().rev().zip(found.entries.iter().rev()) {
            if digest(&[entry]) != previous {
                return Err(bad(
                    range,
                    format!("its entry {number} differs from the one in the log"),
                ));
            }
            if let Some((_, before)) =
                self.catalog.void_digests(number)?.filter(|(found, _)| *found == digest(&[entry]))
            {
                previous = before;
                continue;
            }
            let entry = self.secrets.read_log(number, entry);
            previous = entry.map_err(|error| Error::object(&name, error))?.previous;
        }
        let entries = found.entries.iter().map(|entry| object.slice_ref(entry)).collect();
        Ok(Proven { entries, previous })
    }

    /// Writes the checkpoints that are missing up to the catalog's position, if there can be any
    /// that this host has not looked for.
    ///
    /// Whatever goes wrong is no error: what the caller has appended to the log is committed, and
    /// the next run tries again.
    pub(super) fn fold(&self) {
        _ = self.try_fold();
    }

    fn try_fold(&self) -> Result<(), Error> {
        let position = self.catalog.position()?.number;
        let folded = self.catalog.folded()?;
        let due = position / CHECKPOINT_STEP * CHECKPOINT_STEP;
        // One try for each run: a role that may not write here is not to ask again and again.
        if due <= folded.max(self.fold_tried.fetch_max(due, Ordering::SeqCst)) {
            return Ok(());
        }
        let listed = self.checkpoints()?;
        let mut listed = Listed(listed.into_iter().map(RangeInclusive::into_inner).collect());
        // Each level is made of the one below.
        for count in CHECKPOINT_LEVELS {
            for step in folded / count..position / count {
                let range = step * count + 1..=(step + 1) * count;
                if listed.has(&range) {
                    self.catalog.forget_entries(&range)?;
                    continue;
                }
                match self.write_checkpoint(&range, &listed) {
                    Ok(true) => {
                        self.catalog.forget_entries(&range)?;
                        listed.add(&range);
                    }
                    Ok(false) => {}
                    // A damaged entry is a matter for check, and spoils its own ranges only.
                    Err(error) if error.is_of_object() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.catalog.set_folded(due)
    }

    /// Writes one checkpoint. Returns false if its entries are too large for one.
    fn write_checkpoint(
        &self,
        range: &RangeInclusive<u64>,
        listed: &Listed,
    ) -> Result<bool, Error> {
        let (first, mut next) = (*range.start(), *range.end());
        let count = next - first + 1;
        let mut expected = self.digest_of(next, HOPS_MAX)?;
        let mut bytes = CHECKPOINT_HEADER_BYTES;
        let mut newest_first: Vec<Bytes> = Vec::new();
        while next >= first {
            let smaller = listed.ending(next, count);
            // A bad one is passed over, and must not spoil this one.
            let smaller = smaller.and_then(|range| self.proven_by(&range, expected).ok());
            let Proven { entries, previous } = match smaller {
                Some(proven) => proven,
                None => self.proven_entry(next, expected)?,
            };
            next -= entries.len() as u64;
            expected = previous;
            for entry in entries.into_iter().rev() {
                bytes += CHECKPOINT_ENTRY_HEADER_BYTES + entry.len() as u64;
                newest_first.push(entry);
            }
            if bytes > CHECKPOINT_BYTES_MAX {
                return Ok(false);
            }
        }
        let entries = newest_first.iter().rev().map(|entry| &entry[..]).collect();
        let checkpoint = Checkpoint { repository: self.config.repository, first, entries };
        // If the name is taken, another host was faster.
        self.store.create(&layout::checkpoint(range), "", checkpoint.encode().into())?;
        Ok(true)
    }

    /// Reads an entry that must have this digest, or takes the copy of it that this host keeps.
    fn proven_entry(&self, number: u64, expected: Digest) -> Result<Proven, Error> {
        let name = layout::log(number);
        let object = match self.store.get(&name, ENTRY_BYTES_MAX).map_err(Error::from) {
            Ok(object) if digest(&[&object]) == expected => object,
            Err(error) if !error.is_of_object() => return Err(error),
            _ => self.copy_of_entry(number, expected)?.ok_or_else(|| {
                let reason = "it is not the entry that the next one names".to_owned();
                Error::Damaged { object: name.clone(), reason }
            })?,
        };
        let entry = self.secrets.read_log(number, &object);
        let previous = entry.map_err(|error| Error::object(&name, error))?.previous;
        Ok(Proven { entries: vec![object], previous })
    }

    /// Predicts what folding asks of the store when this host appends so many entries of about so
    /// many bytes, each with a commit of its own.
    ///
    /// Counts on it that whoever filled a range before has written its checkpoint.
    pub fn predict_fold(&self, entries: u64, entry_bytes: u64) -> Result<Requests, Error> {
        let mut requests = Requests::default();
        let mut position = self.catalog.position()?.number;
        let mut folded = self.catalog.folded()?;
        let mut unfolded = self.catalog.unfolded()?;
        for _ in 0..entries {
            position += 1;
            unfolded.add(position, entry_bytes);
            let due = position / CHECKPOINT_STEP * CHECKPOINT_STEP;
            if due <= folded {
                continue;
            }
            folded = due;
            requests.list += 1 + position / CHECKPOINT_STEP / PAGE_NAMES;
            for (count, bytes) in CHECKPOINT_LEVELS.into_iter().zip(unfolded.0) {
                if position.is_multiple_of(count) && bytes <= CHECKPOINT_BYTES_MAX {
                    // What proves it, and what it is made of.
                    requests.add_get("", entry_bytes);
                    for _ in 0..CHECKPOINT_STEP {
                        requests.add_get("", bytes / CHECKPOINT_STEP);
                    }
                    requests.add_put("", bytes);
                }
            }
        }
        Ok(requests)
    }
}

fn bad(range: &RangeInclusive<u64>, reason: String) -> Error {
    Error::Damaged { object: layout::checkpoint(range), reason }
}
