//! Writing checkpoints: the host that fills a range writes what is missing (spec section 6.5).

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use super::Repository;
use super::checkpoints::{Listed, bad, count};
use crate::codec::keys::random;
use crate::codec::{OpenedCheckpoint, seen};
use crate::error::Error;
use crate::format::CheckpointHeader;
use crate::format::checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_LEVELS, CHECKPOINT_STEP, Proof, Slot, checkpoint_bytes,
};
use crate::format::signed::SMALL_ENTRY_BYTES;
use crate::store::{Requests, layout};

/// About what an entry of a quiet night takes in the first part of a checkpoint.
const QUIET_SLOT_BYTES: u64 = 500;
/// Names on one page of a listing.
const PAGE_NAMES: u64 = 1000;

impl Repository {
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
        let mut listed = self.listed_checkpoints()?;
        // Each level is made of the one below.
        for count in CHECKPOINT_LEVELS {
            for step in folded / count..position / count {
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
                    // A damaged entry is a matter for check, and spoils its own ranges only.
                    Err(error) if error.is_of_object() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.catalog.set_folded(due)
    }

    /// Writes one checkpoint, which says what this host has read of the log, and returns its length; `None` if its
    /// entries are too large for one.
    fn write_checkpoint(
        &self,
        range: &RangeInclusive<u64>,
        listed: &Listed,
    ) -> Result<Option<u64>, Error> {
        let (first, last) = (*range.start(), *range.end());
        let (mut slots, mut proofs) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = first;
        while next <= last {
            let smaller = listed.beginning(next, count(range));
            // A bad one is passed over, and must not spoil this one.
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
        // What the store has now may have rotted since it was read.
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
        // If the name is taken, another host was faster.
        self.store.create(&layout::checkpoint(range), "", object.into())?;
        Ok(Some(bytes))
    }

    /// Returns what is in a slot of the log, as this host keeps it or as the store has it.
    fn slot_of(&self, number: u64) -> Result<(Slot, Option<Proof>), Error> {
        let object = match self.catalog.kept_entry(number)? {
            Some(kept) => kept.into(),
            None => self.slot(number)?.ok_or_else(|| {
                let (object, reason) = (layout::log(number), "it is missing".to_owned());
                Error::Damaged { object, reason }
            })?,
        };
        let heard = self.hear(number, &object)?;
        Ok((heard.slot, heard.proof))
    }

    /// Predicts what folding asks of the store when this host appends so many entries of about so
    /// many bytes, each with a commit of its own.
    ///
    /// Assumes that the writer that filled an earlier range has written its checkpoint.
    pub fn predict_fold(&self, entries: u64, entry_bytes: u64) -> Result<Requests, Error> {
        let mut requests = Requests::default();
        let known = self.catalog.position()?.number;
        let mut position = known;
        let mut folded = self.catalog.folded()?;
        let mut unfolded = self.catalog.unfolded()?;
        let is_small = entry_bytes <= SMALL_ENTRY_BYTES;
        let slot_bytes = if is_small { QUIET_SLOT_BYTES } else { entry_bytes };
        for _ in 0..entries {
            position += 1;
            unfolded.add(position, slot_bytes);
            let due = position / CHECKPOINT_STEP * CHECKPOINT_STEP;
            if due <= folded {
                continue;
            }
            folded = due;
            requests.list += 1 + position / CHECKPOINT_STEP / PAGE_NAMES;
            for (count, slots_bytes) in CHECKPOINT_LEVELS.into_iter().zip(unfolded.0) {
                let bytes = checkpoint_bytes(count, slots_bytes);
                if !position.is_multiple_of(count) || bytes > CHECKPOINT_BYTES_MAX {
                    continue;
                }
                if count == CHECKPOINT_STEP {
                    // Entries that this host keeps need not be read.
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
