//! Determines the rights that the author of a log entry needs (spec section 6.1).

use super::authority::{LABEL_BYTES_MAX, Rights};
use super::key_slot::SLOTS_MAX;
use super::{FormatError, LogEntry};

impl LogEntry {
    /// Returns the rights that the author of the entry needs (spec section 6.1). Only the owner may name lost chunks: a
    /// thief who has packs with the ids of stored chunks could otherwise make new snapshots rely on them. Orphans need
    /// [`Rights::PRUNE`], because they are deleted, and an orphan may be a pack that another host has just uploaded.
    /// Only the owner may move snapshots to other packs: the undelete window does not protect the packs that they named
    /// before, and only a host with the identity can read what it moves.
    pub fn needed_rights(&self) -> Rights {
        let LogEntry {
            previous: _,
            time: _,
            packs,
            snapshots,
            orphans,
            lost,
            dropped,
            undropped,
            tombstones,
            moved,
            settings,
            found,
            accepted,
            replaced,
            tagged,
            enrolled,
            revoked,
            void,
            sound,
            slots,
            seen: _,
        } = self;
        let is_said = [
            settings.is_some(),
            !lost.is_empty(),
            !found.is_empty(),
            !moved.is_empty(),
            accepted.is_some(),
            replaced.is_some(),
            tagged.is_some(),
            enrolled.is_some(),
            revoked.is_some(),
            void.is_some(),
            sound.is_some(),
            slots.is_some(),
        ];
        if is_said.contains(&true) {
            return Rights::OWNER;
        }
        let takes = [dropped.len(), undropped.len(), tombstones.len(), orphans.len()];
        let adds = !packs.is_empty() || !snapshots.is_empty();
        let bit = |is_needed: bool, right: Rights| if is_needed { right.0 } else { 0 };
        Rights(bit(adds, Rights::ADD) | bit(takes != [0; 4], Rights::PRUNE))
    }

    /// Checks the list of key slots.
    pub(super) fn validate_slots(&self) -> Result<(), FormatError> {
        let found = self.slots.as_ref().map_or(0, Vec::len);
        let (what, max) = ("list of key slots", SLOTS_MAX as u64);
        match found > SLOTS_MAX {
            true => Err(FormatError::Limit { what, found: found as u64, max }),
            false => Ok(()),
        }
    }

    /// Checks the labels of the writers that the entry enrols.
    pub(super) fn validate_writers(&self) -> Result<(), FormatError> {
        for writer in self.enrolled.iter().flatten() {
            let (what, max) = ("label of a writer", LABEL_BYTES_MAX as u64);
            let found = writer.label.len() as u64;
            if found > max {
                return Err(FormatError::Limit { what, found, max });
            }
        }
        Ok(())
    }
}
