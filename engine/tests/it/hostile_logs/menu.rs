//! Generates the entries of a log: statements of all authors, valid or not.

use std::collections::BTreeMap;

use bytes::Bytes;
use icecore_engine::codec::Author;
use icecore_engine::codec::keys::{digest, random};
use icecore_engine::format::{
    ChunkId, Digest, LogEntry, LogHeader, PackId, PackRange, PackRecord, Revoked, SnapshotId, Time,
    WriterId,
};
use icecore_engine::store::layout;

use super::Place;
use super::cast::Cast;
use super::reference::{Meaning, Said, Slot};
use super::statements::{chunks_are_odd, chunks_of, has_odd_codec};
use crate::setup::Dice;

pub const TIME: Time = Time { seconds: 1_700_000_000, nanos: 0 };

/// A log that is being generated.
pub struct Log<'a> {
    pub cast: &'a Cast,
    pub dice: Dice,
    /// Whether the owner and the pruner make only sensible statements.
    pub is_tame: bool,
    pub is_bucket: bool,
    pub slots: Vec<Slot>,
    /// Objects after the end of the log, by their numbers.
    pub behind: BTreeMap<u64, Slot>,
    /// Packs to put into the store.
    pub packs: BTreeMap<String, Bytes>,
    pub(super) head: Digest,
    pub(super) records: Vec<PackRecord>,
    pub(super) snapshots: Vec<SnapshotId>,
    /// Chunks that packs of the thief claim to contain.
    pub(super) wanted: Vec<ChunkId>,
    /// Whether entries may have a false `previous`.
    pub(super) lies: bool,
}

/// The named author or the signer of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Owner,
    First,
    Second,
    Third,
    Pruner,
    Guest,
    Odd,
    Stranger,
    Liar,
}

const EVERYBODY: [Who; 9] = [
    Who::Owner,
    Who::First,
    Who::Second,
    Who::Third,
    Who::Pruner,
    Who::Guest,
    Who::Odd,
    Who::Stranger,
    Who::Liar,
];

impl<'a> Log<'a> {
    /// Generates a log after the first entry, which is genuine. `wanted` are chunks that genuine hosts will store
    /// later.
    pub fn generate(cast: &'a Cast, seed: u64, is_bucket: bool, wanted: &[ChunkId]) -> Log<'a> {
        let mut log = Log::begin(cast, is_bucket);
        log.dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151);
        (log.is_tame, log.lies) = (log.dice.roll(2) == 0, true);
        log.wanted.extend(wanted);
        let length = 3 + log.dice.roll(if seed.is_multiple_of(16) { 66 } else { 24 });
        if log.dice.roll(8) > 0 {
            log.enrol_all();
        }
        while log.slots.len() as u64 <= length {
            log.put_any();
        }
        if log.dice.roll(2) == 0 {
            log.dismiss_all();
        }
        if log.dice.roll(5) == 0 {
            log.put_behind();
        }
        log
    }

    /// Returns the log that all others begin with.
    pub fn begin(cast: &'a Cast, is_bucket: bool) -> Log<'a> {
        let object = cast.objects[&layout::log(1)].clone();
        let said = Said {
            author: cast.first.id,
            signer: cast.first.public_key().to_vec(),
            newer: false,
            broken: false,
            entry: cast.base.clone(),
        };
        Log {
            cast,
            dice: Dice(1),
            is_tame: true,
            is_bucket,
            head: digest(&[&object]),
            slots: vec![Slot { object, said: Some(said) }],
            behind: BTreeMap::new(),
            packs: BTreeMap::new(),
            records: cast.base.packs.clone(),
            snapshots: cast.base.snapshots.iter().map(|snapshot| snapshot.id).collect(),
            wanted: cast.base.packs.iter().flat_map(chunks_of).collect(),
            lies: false,
        }
    }

    pub fn meaning(&self) -> Meaning {
        let behind: Vec<u64> = self.behind.keys().copied().collect();
        Meaning::of(self.cast, &self.slots, &behind)
    }

    fn author(&self, who: Who) -> &'a Author {
        let cast = self.cast;
        match who {
            Who::Owner => &cast.owner,
            Who::First => &cast.first,
            Who::Second => &cast.second.author,
            Who::Third => &cast.third.author,
            Who::Pruner => &cast.pruner.author,
            Who::Guest => &cast.guest.author,
            Who::Odd => &cast.odd.author,
            Who::Stranger => &cast.stranger.author,
            Who::Liar => &cast.liar,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.slots.len() as u64 + 1
    }

    fn put_any(&mut self) {
        match self.dice.roll(24) {
            0 => self.put_garbage(),
            1 => self.put_replay(),
            2 => self.enrol(),
            3..=5 => self.judge(),
            6 if self.is_tame => self.prune(),
            _ => self.say_anything(),
        }
    }

    /// Puts an object that cannot be opened.
    fn put_garbage(&mut self) {
        let size = self.dice.pick(&[0, 1, 67, 84, 500, 20_000]);
        let mut object: Vec<u8> = (0..size).map(|_| self.dice.roll(256) as u8).collect();
        if self.dice.roll(2) == 0 && size > 84 {
            // Let it begin like an entry.
            let before = &self.slots[self.dice.roll(self.slots.len() as u64) as usize].object;
            let begun = before.len().min(size);
            object[..begun].copy_from_slice(&before[..begun]);
            object[begun.saturating_sub(1)] ^= 1;
        }
        self.put(object.into(), None);
    }

    /// Puts an entry again in another slot.
    fn put_replay(&mut self) {
        let at = self.dice.roll(self.slots.len() as u64) as usize;
        let object = self.slots[at].object.clone();
        self.put(object, None);
    }

    fn put(&mut self, object: Bytes, said: Option<Said>) {
        self.head = digest(&[&object]);
        self.slots.push(Slot { object, said });
        // An object after the end may now be the next one.
        if let Some(Slot { object, said }) = self.behind.remove(&self.next()) {
            self.put(object, said);
        }
    }

    /// Adds the entries that the owner's program has appended.
    pub fn adopt(&mut self, place: &Place) {
        while let Ok(object) = place.store.get(&layout::log(self.next()), 64 << 20) {
            let entry = self.cast.secrets.read_log(self.next(), &object).expect("an entry");
            let signer = self.cast.owner.public_key().to_vec();
            let author = self.cast.owner.id;
            self.put(object, Some(Said { author, signer, newer: false, broken: false, entry }));
        }
    }

    fn put_behind(&mut self) {
        let number = self.next() + 1 + self.dice.pick(&[0, 1, 40, 9_999_999_999_999_000]);
        let (object, said) = match self.dice.roll(2) == 0 {
            true => self.seal(number, Who::Third, Who::Third, LogEntry::new(TIME), (1, 0)),
            false => (Bytes::from_static(b"nothing"), None),
        };
        self.behind.insert(number, Slot { object, said });
    }

    /// Seals an entry that names `named` as its author and is signed by `signs`.
    fn seal(
        &self,
        number: u64,
        named: Who,
        signs: Who,
        entry: LogEntry,
        (version, flags): (u16, u16),
    ) -> (Bytes, Option<Said>) {
        let (named, signs) = (self.author(named).id, self.author(signs));
        let repository = self.cast.id;
        let flags = flags | entry.flags();
        let header = LogHeader { repository, number, salt: random(), version, flags };
        // The same key under another name.
        let mut signer = signs.clone();
        signer.id = named;
        let object = self.cast.secrets.seal_log(&header, &entry, &signer).expect("it is signed");
        let broken = entry.enrolled.iter().flatten().any(|writer| writer.label.len() > 255);
        let newer = version > 1 || flags & !1 != 0 || has_odd_codec(&entry);
        let signer = signs.public_key().to_vec();
        (object.into(), Some(Said { author: named, signer, newer, broken, entry }))
    }

    /// Appends an entry.
    pub fn say(&mut self, who: Who, entry: LogEntry) {
        self.say_as(who, who, entry, (1, 0));
    }

    /// Appends an entry with a false `previous`.
    pub fn lie(&mut self, who: Who, entry: LogEntry) {
        let entry = LogEntry { previous: Digest([9; 32]), ..entry };
        let (object, said) = self.seal(self.next(), who, who, entry, (1, 0));
        self.put(object, said);
    }

    /// Appends an entry of a newer version.
    pub fn say_newer(&mut self, who: Who) {
        self.say_as(who, who, LogEntry::new(TIME), (2, 0));
    }

    /// Enrols all writers that are ever enrolled, with one entry.
    pub fn enrol_all(&mut self) {
        let cast = self.cast;
        let all = [&cast.second, &cast.third, &cast.pruner, &cast.guest, &cast.odd];
        let enrolled = Some(all.map(|person| person.enrolled.clone()).to_vec());
        self.say(Who::Owner, LogEntry { enrolled, ..LogEntry::new(TIME) });
    }

    fn say_as(&mut self, named: Who, signs: Who, entry: LogEntry, version: (u16, u16)) {
        // An entry of the owner with a wrong predecessor would prove damage, so only writers lie here.
        let lies = signs != Who::Owner && self.lies && self.dice.roll(12) == 0;
        let previous = if lies { Digest(random()) } else { self.head };
        let entry = LogEntry { previous, ..entry };
        let (object, said) = self.seal(self.next(), named, signs, entry, version);
        self.put(object, said);
    }

    fn enrol(&mut self) {
        let cast = self.cast;
        let all = [&cast.second, &cast.third, &cast.pruner, &cast.guest, &cast.odd];
        let mut enrolled = all[self.dice.roll(5) as usize].enrolled.clone();
        match self.dice.roll(12) {
            // Another key for an id that may be taken.
            0 if !self.is_tame => enrolled.key = cast.stranger.enrolled.key,
            1 if !self.is_tame => enrolled.label = "x".repeat(256),
            2 if !self.is_tame => enrolled.id = WriterId([0; 16]),
            _ => {}
        }
        let enrolled = Some(vec![enrolled]);
        self.say(Who::Owner, LogEntry { enrolled, ..LogEntry::new(TIME) });
    }

    /// Appends an entry in which the owner revokes, dismisses, or makes void.
    fn judge(&mut self) {
        let mut entry = LogEntry::new(TIME);
        let meaning = self.meaning();
        let doubts: Vec<u64> = meaning.void.keys().copied().collect();
        match self.dice.roll(6) {
            0 => entry.void = Some(doubts),
            1 => entry.sound = Some(doubts),
            2 if !self.is_tame => {
                let numbers = self.next() + 3;
                entry.void = Some((0..2).map(|_| self.dice.roll(numbers)).collect());
            }
            3 if !self.is_tame => {
                entry.revoked = Some(vec![Revoked { writer: WriterId([0; 16]), from: 0 }]);
            }
            _ => {
                let hostile = [Who::First, Who::Third, Who::Odd];
                let who = if self.is_tame { self.dice.pick(&hostile) } else { self.anybody() };
                // The first entry has the genuine snapshot. Hostile entries begin with the second.
                let from = 2 + self.dice.roll(self.next());
                entry.revoked = Some(vec![Revoked { writer: self.author(who).id, from }]);
            }
        }
        self.say(Who::Owner, entry);
    }

    /// Appends an entry in which the owner dismisses void entries and accepts doubtful ones.
    fn dismiss_all(&mut self) {
        let meaning = self.meaning();
        let void = meaning.void.keys().filter(|number| !meaning.doubtful.contains(number));
        let void = Some(void.copied().collect());
        let sound = Some(meaning.doubtful.iter().copied().collect());
        self.say(Who::Owner, LogEntry { void, sound, ..LogEntry::new(TIME) });
    }

    /// Revokes all writers whose credentials are stolen, and dismisses all void and doubtful entries.
    pub fn settle(&mut self) {
        let revoked = [Who::First, Who::Third, Who::Odd, Who::Guest];
        let revoked = revoked.map(|who| Revoked { writer: self.author(who).id, from: 2 });
        let revoked = Some(revoked.to_vec());
        let meaning = self.meaning();
        let is_enrolled = |id| meaning.writers.iter().any(|(known, _)| known.id == id);
        if !is_enrolled(self.cast.second.enrolled.id) {
            let enrolled = Some(vec![self.cast.second.enrolled.clone()]);
            self.say(Who::Owner, LogEntry { enrolled, ..LogEntry::new(TIME) });
        }
        let void = meaning.void.keys().copied().chain(meaning.behind.iter().copied()).collect();
        self.say(Who::Owner, LogEntry { revoked, void: Some(void), ..LogEntry::new(TIME) });
    }

    /// Appends an entry in which the owner tombstones unneeded packs.
    fn prune(&mut self) {
        let meaning = self.meaning();
        if meaning.has_doubts() {
            return;
        }
        let needed = meaning.needed();
        let unused = |(id, _): &(&PackId, _)| !needed.contains(*id);
        let unused = meaning.packs.iter().filter(unused).map(|(_, pack)| pack.place);
        let tombstones = unused.map(|first| PackRange { first, count: 1 }).collect();
        self.say(Who::Owner, LogEntry { tombstones, ..LogEntry::new(TIME) });
    }

    fn anybody(&mut self) -> Who {
        self.dice.pick(&EVERYBODY)
    }

    fn say_anything(&mut self) {
        let who = loop {
            let who = self.anybody();
            // In a tame log, these authors make no random statements.
            if !self.is_tame || !matches!(who, Who::Owner | Who::Pruner | Who::Second) {
                break who;
            }
        };
        // Another author may sign it, but in a tame log not with the key of a genuine host.
        let signs = match self.dice.roll(10) {
            0 if self.is_tame => self.dice.pick(&[Who::Stranger, Who::Liar, Who::Third]),
            0 => self.anybody(),
            _ => who,
        };
        // An entry with the liar's id and the owner's signature is one of the owner. No part of such an entry may be
        // newer, because that stops readers (`a_newer_entry_of_the_owner_stops_no_reading_of_what_is_before_it`).
        let is_owner = self.author(who).id == self.cast.owner.id && signs == Who::Owner;
        let who = if is_owner { Who::Owner } else { who };
        let version = match self.dice.roll(16) {
            0 if who != Who::Owner => (2, 0),
            1 if who != Who::Owner => (1, 4),
            _ => (1, 0),
        };
        let mut entry = LogEntry::new(TIME);
        for _ in 0..self.dice.pick(&[1, 1, 1, 2, 3]) {
            self.add_statement(&mut entry);
        }
        if who == Who::Owner {
            entry.packs.retain(|pack| !chunks_are_odd(pack));
        }
        self.say_as(who, signs, entry, version);
    }
}
