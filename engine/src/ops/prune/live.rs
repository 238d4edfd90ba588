//! Finds the chunks that the kept snapshots need, by reading their trees. Needs the identity.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::format::signed::OWNER;
use crate::format::{ChunkId, SnapshotEntry};
use crate::ops::browse::{Reached, ids, reach};
use crate::progress::Progress;
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// Initial capacity for ids.
const ROOM_FIRST: usize = 1 << 16;

/// The live set: the chunks that some snapshots need.
///
/// Keeps eight bytes of each id, so that 20 million ids need 160 MB. If two ids begin with the same
/// bytes, a dead chunk may look alive. This wastes its space but loses nothing.
#[derive(Debug, Default)]
pub struct LiveSet {
    /// Sorted and without duplicates once all are added.
    ids: Vec<u64>,
    room: usize,
}

impl LiveSet {
    /// Reads the trees of snapshots, each folder once, however many snapshots share it.
    pub fn read(
        repository: &Repository,
        kept: &[SnapshotEntry],
        progress: &dyn Progress,
    ) -> Result<LiveSet, Error> {
        let reader = TreeReader::new(repository)?;
        let mut live = LiveSet { ids: Vec::new(), room: ROOM_FIRST };
        let rows = kept.iter().map(|entry| SnapshotRow {
            entry: entry.clone(),
            number: 0,
            writer: OWNER,
            accepted: false,
            apart: false,
        });
        let rows: Vec<SnapshotRow> = rows.collect();
        let mut add = |reached: Reached| {
            match reached {
                Reached::Tree(id) => live.add(id),
                Reached::Entry(entry) => ids(entry)?.iter().for_each(|id| live.add(id)),
            }
            Ok(ControlFlow::Continue(()))
        };
        // Fail on an unreadable tree, which may need any chunk.
        reach(&reader, &rows, progress, &mut add, &mut Err)?;
        live.settle();
        Ok(live)
    }

    /// Collects ids from a callback.
    pub fn gathered(
        gather: impl FnOnce(&mut dyn FnMut(&ChunkId)) -> Result<(), Error>,
    ) -> Result<LiveSet, Error> {
        let mut live = LiveSet { ids: Vec::new(), room: ROOM_FIRST };
        gather(&mut |id| live.add(id))?;
        live.settle();
        Ok(live)
    }

    fn add(&mut self, id: &ChunkId) {
        if self.ids.len() == self.room {
            self.settle();
            if self.ids.len() > self.room / 4 * 3 {
                self.room += self.room / 2;
            }
        }
        if self.ids.len() == self.ids.capacity() {
            self.ids.reserve_exact(self.room - self.ids.len());
        }
        self.ids.push(start(id));
    }

    fn settle(&mut self) {
        self.ids.sort_unstable();
        self.ids.dedup();
    }

    /// Starts lookups in ascending order of ids.
    pub fn ascending(&self) -> Ascending<'_> {
        Ascending { left: &self.ids }
    }
}

/// Returns the first eight bytes of an id as a number, which sorts like the id.
fn start(id: &ChunkId) -> u64 {
    u64::from_be_bytes(*id.0.first_chunk().expect("an id has 32 bytes"))
}

/// Looks up ids in ascending order.
pub struct Ascending<'a> {
    left: &'a [u64],
}

impl Ascending<'_> {
    pub fn has(&mut self, id: &ChunkId) -> bool {
        let wanted = start(id);
        while let [first, rest @ ..] = self.left
            && *first < wanted
        {
            self.left = rest;
        }
        self.left.first() == Some(&wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn every_id_is_found_and_doubles_take_no_room() {
        let mut live = LiveSet { ids: Vec::new(), room: ROOM_FIRST };
        for round in 0..5 {
            for number in 0..50_000 {
                live.add(&id(number * 2 + round % 2));
            }
        }
        live.settle();
        assert_eq!(live.ids.len(), 100_000);
        assert!(live.ids.capacity() <= 200_000, "{}", live.ids.capacity());
        let mut all: Vec<u64> = (0..200_000).collect();
        all.sort_unstable_by_key(|number| id(*number).0);
        let mut looking = live.ascending();
        for number in all {
            assert_eq!(looking.has(&id(number)), number < 100_000, "{number}");
        }
    }
}
