//! Sums of a plan: what is unused, what waits, and what is deleted. A pack whose object does not exist counts nowhere.

use super::copied::CopyCosts;
use super::minimums::free_at;
use super::partial::PartialPack;
use super::plan::PrunePlan;
use super::reclaim::{Decision, Why};
use crate::format::Time;
use crate::repo::PackRow;

impl PrunePlan {
    /// Returns whether the object of a pack exists.
    pub fn is_there(&self, row: &PackRow) -> bool {
        !self.absent.contains(&row.id)
    }

    /// Returns whether an object of a pack exists: its own, or its parity.
    pub fn has_objects(&self, row: &PackRow) -> bool {
        self.objects_of(row).next().is_some()
    }

    /// Returns the dead packs that exist, with the decision about each.
    pub fn dead_there(&self) -> impl Iterator<Item = &(PackRow, Decision)> {
        self.dead.iter().filter(|(row, _)| self.is_there(row))
    }

    /// Returns the partially live packs that exist.
    pub fn partly_there(&self) -> impl Iterator<Item = &PartialPack> {
        self.partly.iter().filter(|pack| self.is_there(&pack.row))
    }

    /// Returns the packs that wait until deleting them is free, each with the time from which it is free. Includes
    /// those that kept snapshots name although they need nothing in them, as a rewrite leaves them.
    pub fn waiting(&self) -> impl Iterator<Item = (&PackRow, Time)> {
        let dead = self.dead_there().map(|(row, decision)| (row, decision));
        let partly = self.partly_there().map(|pack| (&pack.row, &pack.decision));
        dead.chain(partly).filter_map(|(row, decision)| match decision {
            Decision::Wait { free_in_days } => {
                let seconds = free_at(row, *free_in_days, self.now);
                Some((row, Time { seconds, nanos: 0 }))
            }
            _ => None,
        })
    }

    /// Returns how many of the deleted packs remain in another copy until their minimum days are over there, and in
    /// how many days the last of them is deleted.
    pub fn stay_in(&self, copy: &CopyCosts) -> Option<(u64, u32)> {
        let going = self.doomed().chain(self.moved()).filter(|row| self.is_there(row));
        let days = going.filter_map(|row| copy.free_in_days(row, self.now));
        let days: Vec<u32> = days.filter(|days| *days > 0).collect();
        days.iter().max().map(|last| (days.len() as u64, *last))
    }

    /// Returns the bytes of the parity of a pack; 0 if it has none.
    fn parity_of(&self, row: &PackRow) -> u64 {
        self.parity.get(&row.id).copied().unwrap_or(0)
    }

    /// Returns the bytes of a whole pack that exist: its own, and those of its parity.
    fn bytes_there(&self, row: &PackRow) -> u64 {
        let bytes = if self.is_there(row) { row.bytes } else { 0 };
        bytes + self.parity_of(row)
    }

    /// Returns the bytes of a pack that no kept snapshot needs. Includes the parity if the whole pack is unneeded.
    fn unused_bytes(&self, pack: &PartialPack) -> u64 {
        pack.unused_bytes() + if pack.live_chunks == 0 { self.parity_of(&pack.row) } else { 0 }
    }

    /// Returns the bytes of the packs that no kept snapshot needs, including their parity.
    pub fn dead_bytes(&self) -> u64 {
        self.dead.iter().map(|(row, _)| self.bytes_there(row)).sum()
    }

    /// Returns the number of bytes that no kept snapshot needs but that stay so that dropped snapshots can be
    /// undeleted.
    pub fn held_bytes(&self) -> u64 {
        let held = Decision::Keep(Why::Undelete);
        let dead = self.dead.iter().filter(|(_, decision)| *decision == held);
        let partly = self.partly_there().filter(|pack| pack.decision == held);
        let dead = dead.map(|(row, _)| self.bytes_there(row));
        dead.chain(partly.map(|pack| self.unused_bytes(pack))).sum()
    }

    /// Returns the number of bytes that no kept snapshot needs, and the number of packs that contain them.
    pub fn unused(&self) -> (u64, u64) {
        let partly: u64 = self.partly_there().map(|pack| self.unused_bytes(pack)).sum();
        let packs = self.dead_there().count() + self.partly_there().count();
        (self.dead_bytes() + partly, packs as u64)
    }

    /// Returns the number of bytes that are deleted. Moved chunks are written again.
    pub fn bytes_freed(&self) -> u64 {
        self.objects().map(|object| object.bytes).sum()
    }
}
