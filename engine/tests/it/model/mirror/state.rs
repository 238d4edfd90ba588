//! The state of the model of a mirror.

use std::fmt;

use super::Rules;

pub const LOG_MAX: usize = 8;
pub const LATER_MAX: usize = 2;

/// A set of packs.
pub type Packs = u16;

/// One entry of the log. An entry that adds packs and has tombstones is a repack.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Entry {
    /// A number that no other entry has, in place of its hash; 0 for no entry.
    pub id: u8,
    /// The id of the entry before it.
    pub previous: u8,
    pub adds: Packs,
    pub needs: Packs,
    pub dead: Packs,
    /// The slot of the snapshot that is dropped, or 0.
    pub drops: u8,
}

/// An archive or its copy.
#[derive(Clone, Copy, Default, Debug)]
pub struct Place {
    pub present: Packs,
    /// The slots that have an entry. Bit n is slot n + 1.
    pub have: u8,
    pub log: [Entry; LOG_MAX],
}

/// What a host that has read the log sees.
#[derive(Clone, Copy, Default, Debug)]
pub struct View {
    /// The packs that each snapshot needs, by slot.
    pub needs: [Packs; LOG_MAX + 1],
    /// Whether the entry in a slot counts.
    pub counts: [bool; LOG_MAX + 1],
    pub alive: Packs,
    pub dead: Packs,
}

impl View {
    pub fn needed(&self) -> Packs {
        self.needs.iter().fold(0, |all, needs| all | needs)
    }
}

impl Place {
    /// Returns the number of the last entry before the first gap.
    pub fn head(&self) -> usize {
        self.have.trailing_ones() as usize
    }

    /// Returns the number of the last entry that counts, and its id. A host compares them when it opens the archive again.
    pub fn last(&self) -> (u8, u8) {
        let view = self.view(self.head());
        let last = (1..=self.head()).rev().find(|slot| view.counts[*slot]);
        last.map_or((0, 0), |slot| (slot as u8, self.log[slot - 1].id))
    }

    /// Reads the log up to a slot. An entry is void if it names a predecessor other than the entry
    /// before it.
    pub fn view(&self, head: usize) -> View {
        let mut view = View::default();
        let mut previous = 0;
        for (entry, slot) in self.log[..head].iter().zip(1..) {
            let is_void = entry.previous != previous;
            previous = entry.id;
            if is_void {
                continue;
            }
            view.counts[slot] = true;
            view.alive |= entry.adds & !view.dead;
            view.dead |= entry.dead;
            view.alive &= !entry.dead;
            if entry.adds != 0 && entry.dead != 0 {
                for needs in view.needs.iter_mut().filter(|needs| **needs & entry.dead != 0) {
                    *needs = *needs & !entry.dead | entry.adds;
                }
            }
            view.needs[slot] = entry.needs;
            view.needs[usize::from(entry.drops)] = 0;
        }
        view
    }

    /// Puts an entry into a free slot, counted from 0.
    pub fn put(&mut self, at: usize, entry: Entry) {
        self.log[at] = entry;
        self.have |= 1 << at;
    }

    /// Removes the entry in a slot, counted from 0.
    pub fn remove(&mut self, at: usize) {
        self.log[at] = Entry::default();
        self.have &= !(1 << at);
    }

    pub fn has(&self, at: usize) -> bool {
        self.have >> at & 1 == 1
    }
}

/// The next step of the mirror.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum MirrorAt {
    /// About to list both places.
    #[default]
    Start,
    Copy,
    Delete,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Mirror {
    pub at: MirrorAt,
    /// The last entry of the archive when it was listed.
    pub len: u8,
    /// The packs that were in the archive and in the copy then.
    pub listed: Packs,
    pub here: Packs,
    /// The first slot of the group that is copied, counted from 0.
    pub first: u8,
    /// The slots whose entries the copy lacked then, and that are not copied yet.
    pub todo: u8,
    /// Packs that this run leaves out (a weakness).
    pub skipped: Packs,
}

/// The next step of a promotion.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum OwnerAt {
    #[default]
    Idle,
    /// About to delete entries after a gap, and to put its own.
    Clean,
    /// About to remove the mark as the last step.
    Unmark,
    /// About to put its entry after the mark was removed (a weakness).
    Put,
}

#[derive(Clone, Copy, Debug)]
pub struct State {
    pub from: Place,
    pub to: Place,
    /// Whether the copy has its mark.
    pub marked: bool,
    pub mirror: Mirror,
    pub owner: OwnerAt,
    /// Whether a promotion has put its entry, or has ended.
    pub is_promoted: bool,
    /// Whether the archive is lost at present.
    pub is_away: bool,
    /// The last entry of the promoted copy that a host has read.
    pub seen: u8,
    pub seen_id: u8,
    /// The slots of snapshots that were acknowledged in the promoted copy.
    pub later: [u8; LATER_MAX],
    /// Number of packs and of entries that ever were.
    pub named: u8,
    pub ids: u8,
    /// What may still happen.
    pub budget: Rules,
}

impl Default for State {
    fn default() -> State {
        State {
            from: Place::default(),
            to: Place::default(),
            marked: false,
            mirror: Mirror::default(),
            owner: OwnerAt::default(),
            is_promoted: false,
            is_away: false,
            seen: 0,
            seen_id: 0,
            later: [0; LATER_MAX],
            named: 0,
            ids: 0,
            budget: super::BASE,
        }
    }
}

impl State {
    /// Appends to the log of the archive.
    pub fn append_from(&mut self, entry: Entry) {
        let at = self.from.head();
        let entry = self.numbered(&self.from.clone(), at, entry);
        self.from.put(at, entry);
    }

    /// Appends to the log of the copy. Returns the slot.
    pub fn append_to(&mut self, entry: Entry) -> u8 {
        let at = self.to.head();
        let entry = self.numbered(&self.to.clone(), at, entry);
        self.to.put(at, entry);
        at as u8 + 1
    }

    fn numbered(&mut self, place: &Place, at: usize, entry: Entry) -> Entry {
        self.ids += 1;
        let previous = at.checked_sub(1).map_or(0, |before| place.log[before].id);
        Entry { id: self.ids, previous, ..entry }
    }

    pub fn fingerprint(&self) -> u64 {
        let State { from, to, mirror, budget, .. } = self;
        let mut hash = Hash(0x243f_6a88_85a3_08d3);
        for place in [from, to] {
            hash.add(u64::from(place.present) << 8 | u64::from(place.have));
            for Entry { id, previous, adds, needs, dead, drops } in place.log {
                let short = u64::from(id) << 16 | u64::from(previous) << 8 | u64::from(drops);
                hash.add(short);
                hash.add(u64::from(adds) << 32 | u64::from(needs) << 16 | u64::from(dead));
            }
        }
        let flags = [self.marked, self.is_promoted, self.is_away].map(u64::from);
        hash.add(flags[0] << 2 | flags[1] << 1 | flags[2]);
        hash.add(
            u64::from(mirror.todo) << 24
                | (mirror.at as u64) << 16
                | u64::from(mirror.len) << 8
                | u64::from(mirror.first),
        );
        let packs = [mirror.listed, mirror.here, mirror.skipped].map(u64::from);
        hash.add(packs[0] << 32 | packs[1] << 16 | packs[2]);
        hash.add((self.owner as u64) << 16 | u64::from(self.seen) << 8 | u64::from(self.seen_id));
        let bytes = [self.later[0], self.later[1], self.named, self.ids, budget.snapshots];
        hash.add(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        let Rules { drops, prunes, repacks, deaths, promotions, losses, later, .. } = *budget;
        let bytes = [drops, prunes, repacks, deaths, promotions, losses, later];
        hash.add(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        hash.0
    }
}

struct Hash(u64);

impl Hash {
    fn add(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ 0x1319_8a2e_0370_7344)
            * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = (wide as u64) ^ (wide >> 64) as u64 ^ self.0.rotate_left(23);
    }
}

/// Lists the packs of a set one by one.
pub fn each(packs: Packs) -> impl Iterator<Item = Packs> {
    (0..Packs::BITS).map(|n| 1 << n).filter(move |pack| packs & pack != 0)
}

fn names(packs: Packs) -> String {
    let all = (0..Packs::BITS as u8).filter(|n| packs >> n & 1 == 1);
    all.map(|n| char::from(b'a' + n)).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", names(self.present))?;
        for (entry, number) in self.log.iter().zip(1..).filter(|(entry, _)| entry.id > 0) {
            write!(f, " {number}[+{}", names(entry.adds))?;
            if entry.needs > 0 {
                write!(f, " snapshot of {}", names(entry.needs))?;
            }
            if entry.drops > 0 {
                write!(f, " drops {}", entry.drops)?;
            }
            if entry.dead > 0 {
                write!(f, " dead {}", names(entry.dead))?;
            }
            write!(f, "]")?;
        }
        Ok(())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.marked { " marked" } else { "" };
        let away = if self.is_away { " (lost)" } else { "" };
        write!(f, "archive{away} {}; copy{mark} {}", self.from, self.to)
    }
}
