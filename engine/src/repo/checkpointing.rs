//! Writes checkpoints. The host whose entry fills a range writes the missing ones (spec section
//! 6.5).

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use super::Repository;
use super::checkpoints::{ListedCheckpoints, bad, count};
use crate::codec::keys::random;
use crate::codec::{OpenedCheckpoint, seen};
use crate::error::Error;
use crate::format::CheckpointHeader;
use crate::format::checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_LEVELS, CHECKPOINT_STEP, Proof, Slot, checkpoint_bytes,
};
use crate::format::signed::SMALL_ENTRY_BYTES;
use crate::store::{Requests, layout};

/// Approximate size that the entry of a night without changes has in the first part of a
/// checkpoint.
const QUIET_SLOT_BYTES: u64 = 500;
/// Number of names on one page of a listing.
const PAGE_NAMES: u64 = 1000;

impl Repository {
    /// Writes the missing checkpoints up to the catalog's position, unless this host has looked for
    /// them already.
    ///
    /// A failure is not an error of the caller, whose entry is committed. The next run tries again.
    pub(super) fn write_missing_checkpoints(&self) {
        _ = self.try_checkpoints();
    }

    fn try_checkpoints(&self) -> Result<(), Error> {
        let position = self.catalog.position()?.number;
        let checkpointed = self.catalog.checkpointed()?;
        let due = position / CHECKPOINT_STEP * CHECKPOINT_STEP;
        // One attempt per run, because a role that may not write checkpoints should not repeat the
        // request.
        if due <= checkpointed.max(self.checkpoint_tried.fetch_max(due, Ordering::SeqCst)) {
            return Ok(());
        }
        let mut listed = self.listed_checkpoints()?;
        // Each level is built from the one below.
        for count in CHECKPOINT_LEVELS {
            for step in checkpointed / count..position / count {
                let range = step * count + 1..=(step + 1) * count;
                if listed.has(&range) {
                    self.catalog.forget_entries(&range)?;
                    continue;
                }
                match self.write_checkpoint(&range, &listed) {
                    Ok(Some(bytes)) => {
                        self.catalog.forget_entries(&range)?;
                        listed.add(&range, bytes);
                    }
                    Ok(None) => {}
                    // `check` reports damaged entries. Here such an entry only prevents the
                    // checkpoints of its own ranges.
                    Err(error) if error.is_of_object() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.catalog.set_checkpointed(due)
    }

    /// Writes one checkpoint from the log that this host has read, and returns the length of the
    /// checkpoint; `None` if its entries are too large for one.
    fn write_checkpoint(
        &self,
        range: &RangeInclusive<u64>,
        listed: &ListedCheckpoints,
    ) -> Result<Option<u64>, Error> {
        let (first, last) = (*range.start(), *range.end());
        let (mut slots, mut proofs) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = first;
        while next <= last {
            let smaller = listed.beginning(next, count(range));
            // Skip a bad smaller checkpoint, so that it cannot spoil this one.
            let smaller = smaller.and_then(|range| self.proven_checkpoint(&range).ok());
            let (more, proof) = match smaller {
                Some(found) => (found.slots, found.proofs),
                None => self.slot_of(next).map(|(slot, proof)| (vec![slot], vec![proof]))?,
            };
            next += more.len() as u64;
            bytes += more.iter().map(Slot::bytes).sum::<u64>();
            slots.extend(more);
            proofs.extend(proof);
            if bytes > CHECKPOINT_BYTES_MAX {
                return Ok(None);
            }
        }
        // Entries in the store may have been damaged since they were read.
        let [before, after] = [first - 1, last].map(|number| self.catalog.seen_at(number));
        let (Some(before), Some(after)) = (before?, after?) else { return Ok(None) };
        if slots.iter().fold(before, |before, slot| seen(&before, slot)) != after {
            return Err(bad(range, "the log has something else now".to_owned()));
        }
        let (repository, salt) = (self.config.repository, random());
        let header = CheckpointHeader { repository, first, count: count(range), salt };
        let checkpoint = OpenedCheckpoint { header, slots, proofs };
        let Some(object) = self.secrets.seal_checkpoint(&checkpoint) else { return Ok(None) };
        let bytes = object.len() as u64;
        // If the name is taken, another host has written the checkpoint first.
        self.store.create(&layout::checkpoint(range), "", object.into())?;
        Ok(Some(bytes))
    }

    /// Returns the content of a slot of the log, from the catalog or from the store.
    fn slot_of(&self, number: u64) -> Result<(Slot, Option<Proof>), Error> {
        let object = match self.catalog.kept_entry(number)? {
            Some(kept) => kept.into(),
            None => self
                .slot(number)?
                .ok_or_else(|| Error::damaged(layout::log(number), "it is missing"))?,
        };
        let heard = self.hear(number, &object)?;
        Ok((heard.slot, heard.proof))
    }

    /// Predicts the requests for checkpoints when this host appends `entries` entries of about
    /// `entry_bytes` each, in separate commits.
    ///
    /// Assumes that earlier ranges have their checkpoints.
    pub fn predict_checkpoints(&self, entries: u64, entry_bytes: u64) -> Result<Requests, Error> {
        let mut requests = Requests::default();
        let known = self.catalog.position()?.number;
        let mut position = known;
        let mut checkpointed = self.catalog.checkpointed()?;
        let mut open_ranges = self.catalog.open_ranges()?;
        let is_small = entry_bytes <= SMALL_ENTRY_BYTES;
        let slot_bytes = if is_small { QUIET_SLOT_BYTES } else { entry_bytes };
        for _ in 0..entries {
            position += 1;
            open_ranges.add(position, slot_bytes);
            let due = position / CHECKPOINT_STEP * CHECKPOINT_STEP;
            if due <= checkpointed {
                continue;
            }
            checkpointed = due;
            requests.list += 1 + position / CHECKPOINT_STEP / PAGE_NAMES;
            for (count, slots_bytes) in CHECKPOINT_LEVELS.into_iter().zip(open_ranges.0) {
                let bytes = checkpoint_bytes(count, slots_bytes);
                if !position.is_multiple_of(count) || bytes > CHECKPOINT_BYTES_MAX {
                    continue;
                }
                if count == CHECKPOINT_STEP {
                    // Entries that the catalog keeps need not be fetched.
                    for number in position - CHECKPOINT_STEP + 1..=known {
                        if self.catalog.kept_entry(number)?.is_none() {
                            requests.add_get("", entry_bytes);
                        }
                    }
                } else {
                    for _ in 0..count / CHECKPOINT_STEP {
                        let slots_bytes = slots_bytes * CHECKPOINT_STEP / count;
                        requests.add_get("", checkpoint_bytes(CHECKPOINT_STEP, slots_bytes));
                    }
                }
                requests.add_put("", bytes);
            }
        }
        Ok(requests)
    }
}
