//! The state of the model: the store and all participants, as a few small integers.
//!
//! In reality, names of packs are random, so only their order of creation matters here. A snapshot is named by the slot
//! of the log that added it.

use std::fmt;

pub const LOG_MAX: usize = 16;
pub const WRITERS_MAX: usize = 3;
pub const PRUNERS_MAX: usize = 2;
pub const PACKS_MAX: u8 = 16;

/// A set of packs. Bit n is the nth pack that was uploaded.
pub type Packs = u16;

/// A set of slots of the log. Bit n is slot n + 1.
pub type Slots = u16;

/// One entry of the log; all zeros for no entry. An entry that adds packs and has tombstones is a repack: every live
/// snapshot that needs a newly dead pack needs the added packs instead.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    pub adds: Packs,
    /// The packs that the snapshot of this entry needs; none if the entry adds no snapshot.
    pub needs: Packs,
    /// Tombstones and orphans.
    pub dead: Packs,
    /// The slot of the snapshot that is dropped, or 0.
    pub drops: u8,
    /// Whether the added packs lack a chunk that a snapshot needs from a pack that this entry makes
    /// dead.
    pub thin: bool,
}

/// The next step of a writer.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WriterAt {
    #[default]
    Start,
    Upload,
    /// About to put packs without a snapshot.
    PutPacks,
    /// About to look at the slot, because the outcome of the put is unknown.
    LookPacks,
    /// About to put the entry of the snapshot.
    Put,
    Look,
    Done,
}

/// The next step of a pruner.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PrunerAt {
    #[default]
    Start,
    /// About to upload a pack with the needed part of another one.
    Upload,
    /// About to put a checkpoint of an entry that is composed but not put yet (a weakness).
    FoldAhead,
    Put,
    Look,
    /// Waits through the grace period (a weakness).
    Grace,
    Delete,
    /// About to put a checkpoint, and then to prune.
    Fold,
    /// About to put a checkpoint as the last step.
    FoldLast,
    Done,
}

/// A put whose sender does not know the outcome, and which may still arrive. It is for the first free slot, because any
/// other slot would refuse it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flight {
    pub entry: Entry,
    /// Whether the sender has not crashed since the put, so that it recognizes the bytes.
    pub known: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Writer {
    pub at: WriterAt,
    /// The last slot that was read when the entry was composed.
    pub head: u8,
    pub needs: Packs,
    /// Packs that it uploaded and still knows, and that are not in the log.
    pub own: Packs,
    /// The slot that contains the entry of this writer. The writer knows this only after a look at the slot.
    pub stored: u8,
    /// The checkpoint by which it opened, if that makes a difference (a weakness).
    pub opened: u8,
    pub flight: Flight,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pruner {
    pub at: PrunerAt,
    pub head: u8,
    pub drops: u8,
    /// Packs to tombstone, and later to delete.
    pub dead: Packs,
    /// The pack that it uploaded and that is not in the log.
    pub own: Packs,
    /// The pack of which `own` contains a part; none if the plan is cancelled.
    pub from: Packs,
    /// The snapshots that needed `from` when the plan was made. `own` contains their part.
    pub plan: Slots,
    /// The snapshots that were alive then, if that makes a difference (a weakness).
    pub known: Slots,
    pub stored: u8,
    pub flight: Flight,
}

/// A checkpoint whose content is not (or not yet) the fold of the entries up to its number.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct OddCheckpoint {
    /// The number in its name; 0 for none.
    pub number: u8,
    /// The content is the fold of the entries up to this one, and of `extra`.
    pub base: u8,
    pub extra: Entry,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    pub present: Packs,
    /// Number of packs that were ever named.
    pub named: u8,
    pub log_len: u8,
    pub log: [Entry; LOG_MAX],
    /// Slots whose snapshot was acknowledged.
    pub acknowledged: u32,
    /// Whether an acknowledged snapshot is not in the log that hosts read.
    pub gone: bool,
    /// Whether a snapshot was moved to a pack that does not contain everything it needs.
    pub hole: bool,
    /// Numbers of the correct checkpoints.
    pub checkpoints: u32,
    pub odd: OddCheckpoint,
    /// Number of the last deleted entry (a weakness).
    pub trimmed: u8,
    pub writers: [Writer; WRITERS_MAX],
    pub pruners: [Pruner; PRUNERS_MAX],
    /// Number of faults and drops that may still happen.
    pub crashes: u8,
    pub lost: u8,
    pub drops: u8,
    /// Number of folds and repacks that may still begin.
    pub folds: u8,
    pub repacks: u8,
}

impl Entry {
    fn word(self) -> u64 {
        word([self.adds, self.needs, self.dead, pair(self.drops, u8::from(self.thin))])
    }
}

impl Flight {
    fn word(self) -> u64 {
        self.entry.word() | u64::from(self.known) << 63
    }
}

impl State {
    pub fn log(&self) -> &[Entry] {
        &self.log[..usize::from(self.log_len)]
    }

    /// Returns 64 bits that tell this state from others.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hash(0x243f_6a88_85a3_08d3);
        let budget = self.crashes << 4 | self.lost;
        let odd = u8::from(self.gone) << 7 | self.odd.number;
        hash.add(word([
            self.present,
            pair(self.named, self.log_len),
            pair(budget, self.drops << 4 | self.folds),
            pair(self.trimmed, odd),
        ]));
        let hole = u16::from(self.hole);
        hash.add(word([u16::from(self.odd.base), u16::from(self.repacks), hole, 0]));
        hash.add(u64::from(self.acknowledged) << 32 | u64::from(self.checkpoints));
        hash.add(self.odd.extra.word());
        for entry in self.log() {
            hash.add(entry.word());
        }
        for writer in &self.writers {
            let Writer { at, head, needs, own, stored, opened, flight } = *writer;
            hash.add(word([needs, own, pair(at as u8, head), pair(stored, opened)]));
            hash.add(flight.word());
        }
        for pruner in &self.pruners {
            let Pruner { at, head, drops, dead, own, from, plan, known, stored, flight } = *pruner;
            hash.add(word([dead, own, pair(at as u8, head), pair(stored, drops)]));
            hash.add(word([from, plan, known, 0]));
            hash.add(flight.word());
        }
        hash.0
    }
}

fn pair(low: u8, high: u8) -> u16 {
    u16::from_le_bytes([low, high])
}

fn word(parts: [u16; 4]) -> u64 {
    parts.iter().rev().fold(0, |word, part| word << 16 | u64::from(*part))
}

struct Hash(u64);

impl Hash {
    fn add(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word ^ 0x1319_8a2e_0370_7344)
            * u128::from(0x9e37_79b9_7f4a_7c15_u64 ^ word.rotate_left(32));
        self.0 = (wide as u64) ^ (wide >> 64) as u64 ^ self.0.rotate_left(23);
    }
}

fn names(packs: Packs) -> String {
    (0..PACKS_MAX).filter(|n| packs >> n & 1 == 1).map(|n| char::from(b'a' + n)).collect()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.adds != 0 {
            parts.push(format!("adds {}", names(self.adds)));
        }
        if self.needs != 0 {
            parts.push(format!("snapshot of {}", names(self.needs)));
        }
        if self.drops != 0 {
            parts.push(format!("drops {}", self.drops));
        }
        if self.dead != 0 {
            parts.push(format!("dead {}", names(self.dead)));
        }
        if self.adds != 0 && self.dead != 0 {
            parts.push(format!("moves {} to {}", names(self.dead), names(self.adds)));
        }
        write!(f, "{}", parts.join(", "))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packs {{{}}}", names(self.present))?;
        for (entry, number) in self.log().iter().zip(1..) {
            if number > self.trimmed {
                write!(f, " {number}[{entry}]")?;
            }
        }
        for number in (1..32).filter(|number| self.checkpoints >> number & 1 == 1) {
            write!(f, " checkpoint {number}")?;
        }
        if self.odd.number > 0 {
            let OddCheckpoint { number, base, extra } = self.odd;
            write!(f, " checkpoint {number} of 1 to {base} and [{extra}]")?;
        }
        Ok(())
    }
}
