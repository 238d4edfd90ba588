//! Generates statements of entries about anything, true or not.

use std::collections::BTreeSet;

use icecore_engine::codec::keys::random;
use icecore_engine::format::pack::ROW_BYTES;
use icecore_engine::format::{
    ChunkId, Codec, LogEntry, Lost, Move, PackId, PackKind, PackRange, PackRecord, Replaced,
    Settings, SnapshotEntry, SnapshotId, Tagged,
};
use icecore_engine::repo::PackBuilder;
use icecore_engine::store::layout;

use super::menu::Log;

impl Log<'_> {
    pub(super) fn add_statement(&mut self, entry: &mut LogEntry) {
        match self.dice.roll(32) {
            0..=9 => {
                for _ in 0..self.dice.roll(4) {
                    let pack = self.pack();
                    entry.packs.push(pack);
                }
            }
            10..=16 => {
                let snapshot = self.snapshot(entry);
                entry.snapshots.push(snapshot);
            }
            17..=18 => entry.dropped.extend(self.some_snapshot()),
            19 => entry.undropped.extend(self.some_snapshot()),
            20 => {
                let range = self.range();
                entry.tombstones.push(range);
            }
            21..=22 => {
                let id = self.some_pack();
                entry.orphans.push(id);
            }
            23 => {
                let (from, to) = (self.place(), vec![self.range()]);
                entry.moved.push(Move { from, to });
            }
            24..=25 => {
                let (pack, first) = (self.place(), self.dice.roll(3));
                let count = self.dice.pick(&[0, 1, 2, u64::MAX]);
                entry.lost.push(Lost { pack, slots: vec![PackRange { first, count }] });
            }
            26 => {
                let lost =
                    Lost { pack: self.place(), slots: vec![PackRange { first: 0, count: 9 }] };
                entry.found.push(lost);
            }
            27 => entry.accepted = Some(self.some_snapshot()),
            28 => {
                let (new, old) = (self.one_snapshot(), self.one_snapshot());
                entry.replaced = Some(vec![Replaced { new, old }]);
            }
            29 => {
                let (snapshot, tags) = (self.one_snapshot(), vec!["keep".to_owned()]);
                entry.tagged = Some(vec![Tagged { snapshot, tags }]);
            }
            30 => entry.settings = Some(Settings { pack_bytes: 8 << 20, ..Settings::default() }),
            _ => entry.void = Some(vec![self.dice.roll(self.next())]),
        }
    }

    /// Returns a pack with a false table, or one that exists already.
    fn pack(&mut self) -> PackRecord {
        if self.dice.roll(6) == 0 {
            let at = self.dice.roll(self.records.len() as u64) as usize;
            return self.records[at].clone();
        }
        self.new_pack()
    }

    /// Makes a pack whose table claims chunks that the pack does not contain.
    pub fn new_pack(&mut self) -> PackRecord {
        let kind = self.dice.pick(&[PackKind::Meta, PackKind::Hot, PackKind::Cold]);
        let mut pack = PackBuilder::new(&self.cast.secrets, kind, 4 << 10).expect("a pack");
        let mut ids = BTreeSet::new();
        for _ in 0..=self.dice.roll(4) {
            let at = self.dice.roll(self.wanted.len() as u64) as usize;
            let id = if self.dice.roll(3) == 0 { ChunkId(random()) } else { self.wanted[at] };
            if ids.insert(id) {
                pack.add(id, 17, Codec::Stored, &[0; 17]);
            }
        }
        let sealed = pack.finish("");
        let mut record = sealed.record.clone();
        if self.dice.roll(8) > 0 {
            self.packs.insert(layout::pack(kind, &record.id), sealed.object);
        }
        if self.dice.roll(30) == 0 {
            record.table[40] = 9;
        }
        self.records.push(record.clone());
        record
    }

    fn snapshot(&mut self, entry: &LogEntry) -> SnapshotEntry {
        let genuine = self.cast.base.snapshots[0].clone();
        let id = match self.dice.roll(6) {
            0 => self.one_snapshot(),
            _ => SnapshotId(random()),
        };
        let own = PackRange { first: self.next() << 16, count: entry.packs.len() as u64 };
        let mut packs = vec![own];
        for _ in 0..self.dice.roll(3) {
            packs.push(self.range());
        }
        let record = if self.dice.roll(2) == 0 { genuine.record } else { ChunkId(random()) };
        let marked = self.dice.pick(&[None, None, Some(1), Some(7)]);
        self.snapshots.push(id);
        SnapshotEntry { id, packs, record, marked, ..genuine }
    }

    fn one_snapshot(&mut self) -> SnapshotId {
        match self.dice.roll(8) {
            0 => SnapshotId(random()),
            _ => self.snapshots[self.dice.roll(self.snapshots.len() as u64) as usize],
        }
    }

    fn some_snapshot(&mut self) -> Vec<SnapshotId> {
        (0..self.dice.roll(3)).map(|_| self.one_snapshot()).collect()
    }

    fn some_pack(&mut self) -> PackId {
        match self.dice.roll(4) {
            0 => PackId(random()),
            _ => self.records[self.dice.roll(self.records.len() as u64) as usize].id,
        }
    }

    /// Returns a place that a pack may have.
    fn place(&mut self) -> u64 {
        let number = 1 + self.dice.roll(self.next());
        (number << 16) | self.dice.roll(3)
    }

    fn range(&mut self) -> PackRange {
        match self.dice.roll(6) {
            0 => PackRange { first: 0, count: 1 << 50 },
            1 => PackRange { first: self.place(), count: u64::MAX },
            2 => PackRange { first: 0, count: 0 },
            _ => PackRange { first: self.place(), count: 1 + (self.dice.roll(3) << 15) },
        }
    }

    /// Returns a snapshot that names packs but has no record.
    pub fn snapshot_of(&self, packs: Vec<PackRange>) -> SnapshotEntry {
        let record = ChunkId(random());
        SnapshotEntry {
            id: SnapshotId(random()),
            packs,
            record,
            ..self.cast.base.snapshots[0].clone()
        }
    }
}

/// Returns the chunks that a pack claims to contain.
pub fn chunks_of(record: &PackRecord) -> Vec<ChunkId> {
    let id = |row: &[u8]| ChunkId(row[..32].try_into().expect("an id"));
    record.table.chunks(ROW_BYTES).map(id).collect()
}

pub fn chunks_are_odd(record: &PackRecord) -> bool {
    record.table.chunks(ROW_BYTES).any(|row| row[40] == 9)
}

pub fn has_odd_codec(entry: &LogEntry) -> bool {
    entry.packs.iter().any(chunks_are_odd)
}
