//! Checkpoints: the content of many log entries in one object (spec section 6.5).
//!
//! Any host that may add objects can write a false checkpoint. So a checkpoint is used only if the
//! owner vouches for its content (see `vouched`), or if it agrees with the log that this host has
//! read itself. Nothing depends on the existence of a checkpoint.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::Repository;
use super::catalog::LogFollower;
use crate::codec::keys::digest;
use crate::codec::{OpenedCheckpoint, seen};
use crate::error::Error;
use crate::format::checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_HEADER_BYTES, CHECKPOINT_LEVELS, Slot, proofs_bytes,
};
use crate::store::{StoreError, layout};

/// The checkpoints in a listing of the store, except those found bad. Maps the first and the last
/// entry of each to its length.
#[derive(Debug, Default)]
pub(super) struct ListedCheckpoints(BTreeMap<(u64, u64), u64>);

impl ListedCheckpoints {
    pub fn has(&self, entries: &RangeInclusive<u64>) -> bool {
        self.0.contains_key(&(*entries.start(), *entries.end()))
    }

    pub fn add(&mut self, entries: &RangeInclusive<u64>, bytes: u64) {
        self.0.insert((*entries.start(), *entries.end()), bytes);
    }

    pub fn remove(&mut self, entries: &RangeInclusive<u64>) {
        self.0.remove(&(*entries.start(), *entries.end()));
    }

    pub fn bytes(&self, entries: &RangeInclusive<u64>) -> u64 {
        self.0.get(&(*entries.start(), *entries.end())).copied().unwrap_or(0)
    }

    /// Returns the range of the longest checkpoint that contains an entry.
    pub fn covering(&self, number: u64) -> Option<RangeInclusive<u64>> {
        let before = number.checked_sub(1)?;
        CHECKPOINT_LEVELS
            .into_iter()
            .rev()
            .map(|count| before / count * count + 1..=(before / count + 1) * count)
            .find(|entries| self.has(entries))
    }

    /// Returns the range of the longest checkpoint of fewer than `count` entries that begins with
    /// an entry.
    pub fn beginning(&self, first: u64, count: u64) -> Option<RangeInclusive<u64>> {
        CHECKPOINT_LEVELS
            .into_iter()
            .rev()
            .filter(|smaller| *smaller < count)
            .map(|smaller| first..=first.saturating_add(smaller - 1))
            .find(|entries| self.has(entries))
    }

    /// Returns the ranges of checkpoints that cover the entries from `first` on without a gap, as
    /// far as possible.
    pub fn cover(&self, first: u64) -> Vec<RangeInclusive<u64>> {
        let after = |entries: &RangeInclusive<u64>| self.covering(entries.end().checked_add(1)?);
        std::iter::successors(self.covering(first), after).collect()
    }
}

impl<C: LogFollower> Repository<C> {
    /// Returns the ranges of all listed checkpoints, good or bad.
    pub fn checkpoints(&self) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
        let listed = self.store.list(layout::CHECKPOINTS, None)?;
        Ok(listed.iter().filter_map(|object| layout::checkpoint_entries(&object.name)).collect())
    }

    pub(super) fn listed_checkpoints(&self) -> Result<ListedCheckpoints, StoreError> {
        let mut found = ListedCheckpoints::default();
        for object in self.store.list(layout::CHECKPOINTS, None)? {
            if let Some(entries) = layout::checkpoint_entries(&object.name) {
                found.add(&entries, object.bytes);
            }
        }
        Ok(found)
    }

    /// Reads the first part of a checkpoint.
    pub(super) fn read_front(
        &self,
        range: &RangeInclusive<u64>,
        bytes: u64,
    ) -> Result<Bytes, Error> {
        let front = bytes.min(CHECKPOINT_BYTES_MAX).checked_sub(proofs_bytes(count(range)));
        let front = front.filter(|front| *front > CHECKPOINT_HEADER_BYTES as u64);
        let front = front.ok_or_else(|| bad(range, "it is too short".to_owned()))?;
        Ok(self.store.get_range(&layout::checkpoint(range), 0..front)?)
    }

    /// Opens the first part of a checkpoint. Its author is unknown.
    pub(super) fn open_front(
        &self,
        range: &RangeInclusive<u64>,
        front: &[u8],
    ) -> Result<Vec<Slot>, Error> {
        let opened = self.secrets.open_slots(*range.start(), count(range), front);
        Ok(opened.map_err(|error| Error::object(layout::checkpoint(range), error))?.1)
    }

    /// Reads a whole checkpoint. Its author is unknown.
    pub(super) fn read_checkpoint(
        &self,
        range: &RangeInclusive<u64>,
    ) -> Result<OpenedCheckpoint, Error> {
        let name = layout::checkpoint(range);
        let object = self.store.get(&name, CHECKPOINT_BYTES_MAX)?;
        let opened = self.secrets.open_checkpoint(*range.start(), count(range), &object);
        opened.map_err(|error| Error::object(&name, error))
    }

    /// Rebuilds the object of a slot from a checkpoint; `None` if the checkpoint contains only its
    /// digest.
    pub(super) fn entry_of(&self, checkpoint: &OpenedCheckpoint, number: u64) -> Option<Bytes> {
        let at = usize::try_from(number.checked_sub(checkpoint.header.first)?).ok()?;
        let content = checkpoint.slots.get(at)?.content.as_ref()?;
        let proof = checkpoint.proofs.get(at)?.as_ref()?;
        Some(self.secrets.build_entry(number, content, proof).into())
    }
}

impl Repository {
    /// Fails if a checkpoint differs from the log as this host has read it.
    pub fn verify_checkpoint(&self, range: &RangeInclusive<u64>) -> Result<(), Error> {
        self.proven_checkpoint(range).map(drop)
    }

    /// Reads a checkpoint, and fails if either part differs from the log as this host has read it.
    pub(super) fn proven_checkpoint(
        &self,
        range: &RangeInclusive<u64>,
    ) -> Result<OpenedCheckpoint, Error> {
        let found = self.read_checkpoint(range)?;
        self.expect_agrees(range, &found)?;
        Ok(found)
    }

    /// Fails if the object of a checkpoint differs from the log as this host has read it.
    pub fn verify_checkpoint_object(
        &self,
        range: &RangeInclusive<u64>,
        object: &[u8],
    ) -> Result<(), Error> {
        let opened = self.secrets.open_checkpoint(*range.start(), count(range), object);
        let opened = opened.map_err(|error| Error::object(layout::checkpoint(range), error))?;
        self.expect_agrees(range, &opened)
    }

    fn expect_agrees(
        &self,
        range: &RangeInclusive<u64>,
        found: &OpenedCheckpoint,
    ) -> Result<(), Error> {
        let before = self.catalog.seen_at(range.start() - 1)?;
        let after = self.catalog.seen_at(*range.end())?;
        let (Some(before), Some(after)) = (before, after) else {
            return Err(bad(range, "the log does not reach that far".to_owned()));
        };
        if found.slots.iter().fold(before, |before, slot| seen(&before, slot)) != after {
            return Err(bad(range, "it disagrees with the log".to_owned()));
        }
        for (number, slot) in range.clone().zip(&found.slots) {
            let entry = self.entry_of(found, number);
            if entry.is_some_and(|entry| digest(&[&entry]) != slot.digest) {
                return Err(bad(range, format!("entry {number} in it is not that of the log")));
            }
        }
        Ok(())
    }
}

/// Returns how many entries a range has.
pub(super) fn count(range: &RangeInclusive<u64>) -> u64 {
    range.end() - range.start() + 1
}

pub(super) fn bad(range: &RangeInclusive<u64>, reason: String) -> Error {
    Error::damaged(layout::checkpoint(range), reason)
}
