//! A reference implementation of the rules of format-spec.md 6.1 and 6.2, as simple as possible. It computes the
//! meaning of a log from known entries, without decoding them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use icecore_engine::codec::keys::digest;
use icecore_engine::format::pack::ROW_BYTES;
use icecore_engine::format::{
    Enrolled, LogEntry, Lost, PackId, PackRange, Settings, SnapshotId, WriterId,
};

use super::cast::Cast;

pub const OWNER: WriterId = WriterId([0; 16]);
const ADD: u8 = 1;
const PRUNE: u8 = 2;

/// An object of the log, and the entry that was put into it.
#[derive(Clone)]
pub struct Slot {
    pub object: Bytes,
    /// `None` if it is not sealed as an entry with this number.
    pub said: Option<Said>,
}

#[derive(Clone)]
pub struct Said {
    /// The named author.
    pub author: WriterId,
    /// The public key of the actual signer.
    pub signer: Vec<u8>,
    /// Whether it has a newer version, flag or codec.
    pub newer: bool,
    /// Whether its record exceeds a limit.
    pub broken: bool,
    pub entry: LogEntry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    pub place: u64,
    pub writer: WriterId,
    pub dead: bool,
    /// Whether the pack is dead only because of writers, not the owner.
    pub by_writer: bool,
    /// Slots on which nothing relies.
    pub lost: BTreeSet<u64>,
    pub slots: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    pub id: SnapshotId,
    pub number: u64,
    pub writer: WriterId,
    pub tags: Vec<String>,
    pub accepted: bool,
    pub packs: BTreeSet<PackId>,
    pub apart: bool,
    /// Number of the entry that dropped it; 0 if it is not dropped.
    pub dropped: u64,
    /// Its position in the order of the log.
    rank: usize,
}

/// The meaning of a log.
#[derive(Debug, Default)]
pub struct Meaning {
    /// Void and doubtful entries, and whether the owner has dismissed each.
    pub void: BTreeMap<u64, bool>,
    pub behind: Vec<u64>,
    /// All snapshots that were ever added, in order.
    pub shots: Vec<Shot>,
    pub packs: BTreeMap<PackId, Pack>,
    /// Packs that are dead although no entry has added them.
    pub orphans: BTreeSet<PackId>,
    pub writers: Vec<(Enrolled, u64)>,
    pub revoked: BTreeMap<WriterId, u64>,
    pub voided: BTreeSet<u64>,
    /// Entries that the owner has accepted as sound.
    pub sound: BTreeSet<u64>,
    pub settings: Option<Settings>,
    /// Entries that count although their `previous` does not match.
    pub doubtful: BTreeSet<u64>,
    places: BTreeMap<u64, PackId>,
}

impl Meaning {
    /// Reads a log. `behind` are the numbers of objects after its end.
    pub fn of(cast: &Cast, log: &[Slot], behind: &[u64]) -> Meaning {
        // An entry anywhere in the log can determine which entries count. But whether an entry is void depends only on
        // the entries before it.
        let first = Meaning::read(cast, log, Meaning::default());
        let Meaning { revoked, voided, sound, .. } = first;
        let known = Meaning { revoked, voided, sound, ..Meaning::default() };
        let mut read = Meaning::read(cast, log, known);
        for (number, dismissed) in &mut read.void {
            let is_sound = read.doubtful.contains(number) && read.sound.contains(number);
            *dismissed = read.voided.contains(number) || is_sound;
        }
        read.behind = behind.iter().copied().filter(|at| !read.voided.contains(at)).collect();
        read
    }

    fn read(cast: &Cast, log: &[Slot], known: Meaning) -> Meaning {
        let key = (*cast.config.authority.first_writer_key).into();
        let id = cast.config.authority.first_writer;
        let first = Enrolled { id, key, label: "first host".to_owned(), rights: ADD };
        let mut meaning = Meaning { writers: vec![(first, 0)], ..known };
        let owner = &cast.config.authority.owner_key[..];
        let mut head = cast.genesis;
        for (slot, number) in log.iter().zip(1..) {
            match &slot.said {
                Some(said) if !meaning.is_void(number, said, owner) => {
                    if meaning.is_twice(&said.entry) {
                        meaning.void.insert(number, false);
                        meaning.name_again(number, &said.entry);
                    } else {
                        if said.entry.previous != head {
                            meaning.void.insert(number, false);
                            meaning.doubtful.insert(number);
                        }
                        meaning.hear(number, &said.entry);
                        meaning.apply(number, said);
                    }
                }
                _ => {
                    meaning.void.insert(number, false);
                }
            }
            head = digest(&[&slot.object]);
        }
        meaning
    }

    pub fn visible(&self) -> Vec<&Shot> {
        self.sorted(|shot| !shot.apart && shot.dropped == 0)
    }

    pub fn apart(&self) -> Vec<&Shot> {
        self.sorted(|shot| shot.apart && shot.dropped == 0)
    }

    /// Returns the snapshots that fulfil a condition, in the order of the log.
    pub fn sorted(&self, holds: impl Fn(&Shot) -> bool) -> Vec<&Shot> {
        let mut found: Vec<&Shot> = self.shots.iter().filter(|shot| holds(shot)).collect();
        found.sort_by_key(|shot| shot.rank);
        found
    }

    /// Returns the packs that must not be deleted.
    pub fn needed(&self) -> BTreeSet<PackId> {
        self.visible().into_iter().chain(self.apart()).flat_map(|shot| shot.packs.clone()).collect()
    }

    pub fn has_doubts(&self) -> bool {
        self.void.values().any(|dismissed| !dismissed) || !self.behind.is_empty()
    }

    /// Returns the packs that have these places now.
    fn at(&self, ranges: &[PackRange]) -> BTreeSet<PackId> {
        let run = |range: &PackRange| {
            let last = range.first.saturating_add(range.count.wrapping_sub(1));
            let found = (range.count > 0).then(|| self.places.range(range.first..=last));
            found.into_iter().flatten().map(|(_, id)| *id).collect::<Vec<_>>()
        };
        ranges.iter().flat_map(run).collect()
    }

    fn shot(&mut self, id: SnapshotId) -> Option<&mut Shot> {
        self.shots.iter_mut().find(|shot| shot.id == id)
    }

    /// Section 6.1: returns whether an entry is void.
    fn is_void(&self, number: u64, said: &Said, owner: &[u8]) -> bool {
        let (key, rights) = match said.author {
            OWNER => (owner.to_vec(), 7),
            id => match self.writers.iter().find(|(writer, _)| writer.id == id) {
                Some((writer, _)) => (writer.key.to_vec(), writer.rights & 3),
                None => return true,
            },
        };
        let entry = &said.entry;
        let adds = !entry.packs.is_empty() || !entry.snapshots.is_empty();
        let takes = !entry.dropped.is_empty()
            || !entry.undropped.is_empty()
            || !entry.tombstones.is_empty()
            || !entry.orphans.is_empty();
        let rules = entry.settings.is_some()
            || !entry.lost.is_empty()
            || !entry.found.is_empty()
            || !entry.moved.is_empty()
            || entry.accepted.is_some()
            || entry.replaced.is_some()
            || entry.tagged.is_some()
            || entry.enrolled.is_some()
            || entry.revoked.is_some()
            || entry.void.is_some()
            || entry.sound.is_some();
        let may = |right: u8| rights & right != 0;
        let own: BTreeSet<PackId> = entry.packs.iter().map(|pack| pack.id).collect();
        let is_added = |id: &PackId| self.packs.contains_key(id);
        said.signer != key
            || said.newer
            || said.broken
            || adds && !may(ADD)
            || takes && !may(PRUNE)
            || rules && !may(4)
            || number >= 1 << 47
            || entry.packs.len() > 1 << 16
            || entry.orphans.iter().any(|id| is_added(id) || own.contains(id))
    }

    /// Section 6.1, rule 10: returns whether an entry adds an existing pack, or one pack twice.
    fn is_twice(&self, entry: &LogEntry) -> bool {
        let mut own = BTreeSet::new();
        entry.packs.iter().any(|pack| !own.insert(pack.id) || self.packs.contains_key(&pack.id))
    }

    /// The places that a void entry would have given to existing packs also name these packs.
    fn name_again(&mut self, number: u64, entry: &LogEntry) {
        for (record, index) in entry.packs.iter().zip(0..) {
            if self.packs.contains_key(&record.id) {
                self.places.insert((number << 16) | index, record.id);
            }
        }
    }

    /// Applies the statements of an entry about other entries, unless the owner has made it void.
    fn hear(&mut self, number: u64, entry: &LogEntry) {
        if self.voided.contains(&number) {
            return;
        }
        for revoked in entry.revoked.iter().flatten() {
            let from = self.revoked.entry(revoked.writer).or_insert(u64::MAX);
            *from = revoked.from.min(*from);
        }
        self.voided.extend(entry.void.iter().flatten());
        self.sound.extend(entry.sound.iter().flatten());
    }

    /// Section 6.2: applies an entry that is not void.
    fn apply(&mut self, number: u64, said: &Said) {
        let Said { entry, author, .. } = said;
        let apart = self.voided.contains(&number)
            || *author != OWNER && self.revoked.get(author).is_some_and(|from| number >= *from);
        for (record, index) in entry.packs.iter().zip(0..) {
            let (place, slots) = ((number << 16) | index, (record.table.len() / ROW_BYTES) as u64);
            let lost = if apart { (0..slots).collect() } else { BTreeSet::new() };
            let dead = self.orphans.remove(&record.id);
            self.packs.insert(
                record.id,
                Pack { place, writer: *author, dead, by_writer: false, lost, slots },
            );
            self.places.insert(place, record.id);
        }
        for writer in entry.enrolled.iter().flatten() {
            if !self.writers.iter().any(|(known, _)| known.id == writer.id) {
                self.writers.push((writer.clone(), number));
            }
        }
        for shot in &entry.snapshots {
            if self.shot(shot.id).is_none() {
                let (id, tags, packs) = (shot.id, shot.tags.clone(), self.at(&shot.packs));
                let (accepted, dropped, writer, rank) = (false, 0, *author, self.shots.len());
                let known =
                    Shot { id, number, writer, tags, accepted, packs, apart, dropped, rank };
                self.shots.push(known);
            }
        }
        self.orphans.extend(&entry.orphans);
        if !apart {
            self.give_up(entry, *author == OWNER);
            self.amend(number, entry);
            self.note(entry);
        }
    }

    fn give_up(&mut self, entry: &LogEntry, by_owner: bool) {
        for id in self.at(&entry.tombstones) {
            let pack = self.packs.get_mut(&id).expect("it has a place");
            let was_by_owner = pack.dead && !pack.by_writer;
            (pack.dead, pack.by_writer) = (true, !by_owner && !was_by_owner);
        }
    }

    fn amend(&mut self, number: u64, entry: &LogEntry) {
        for replaced in entry.replaced.iter().flatten() {
            let at = |id| self.shots.iter().position(|shot| shot.id == id);
            let (Some(new), Some(old)) = (at(replaced.new), at(replaced.old)) else { continue };
            self.shots[old].dropped = match self.shots[old].dropped {
                0 => number,
                before => before,
            };
            self.shots[new].rank = self.shots[old].rank;
        }
        for tagged in entry.tagged.iter().flatten() {
            if let Some(shot) = self.shot(tagged.snapshot) {
                shot.tags.clone_from(&tagged.tags);
            }
        }
        for id in &entry.dropped {
            if let Some(shot) = self.shot(*id).filter(|shot| shot.dropped == 0) {
                shot.dropped = number;
            }
        }
        for id in &entry.undropped {
            if let Some(shot) = self.shot(*id) {
                shot.dropped = 0;
            }
        }
        for id in entry.accepted.iter().flatten() {
            if let Some(shot) = self.shot(*id) {
                shot.accepted = true;
            }
        }
        let mut moves: BTreeMap<PackId, BTreeSet<PackId>> = BTreeMap::new();
        for moved in &entry.moved {
            let from = self.at(&[PackRange { first: moved.from, count: 1 }]);
            if let Some(from) = from.first() {
                moves.insert(*from, self.at(&moved.to));
            }
        }
        for shot in self.shots.iter_mut().filter(|shot| !shot.apart && shot.dropped == 0) {
            let (gone, mut kept): (BTreeSet<PackId>, BTreeSet<PackId>) =
                shot.packs.iter().partition(|id| moves.contains_key(id));
            kept.extend(gone.iter().flat_map(|id| moves[id].clone()));
            shot.packs = kept;
        }
    }

    fn note(&mut self, entry: &LogEntry) {
        for (all, is_lost) in [(&entry.lost, true), (&entry.found, false)] {
            for Lost { pack, slots } in all {
                let at = self.at(&[PackRange { first: *pack, count: 1 }]);
                let Some(pack) = at.first().and_then(|id| self.packs.get_mut(id)) else { continue };
                let inside = |slot: &u64| {
                    slots.iter().any(|run| *slot >= run.first && *slot - run.first < run.count)
                };
                for slot in (0..pack.slots).filter(inside) {
                    match is_lost {
                        true => pack.lost.insert(slot),
                        false => pack.lost.remove(&slot),
                    };
                }
            }
        }
        if let Some(settings) = &entry.settings {
            self.settings = Some(settings.clone());
        }
    }
}
