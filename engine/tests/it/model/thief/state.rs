//! The state of the model with a thief: the store, the log and all participants, as a few small integers.

use std::fmt;

pub const LOG_MAX: usize = 14;
pub const PACKS_MAX: u8 = 12;

/// A set of packs. Bit n is the nth pack that was uploaded.
pub type Packs = u16;

/// A set of slots of the log. Bit n is slot n.
pub type Slots = u16;

/// A set of chunks. There are two: one that is in a genuine pack at the start, and a new one.
pub type Chunks = u8;
pub const OLD: Chunks = 1;
pub const NEW: Chunks = 2;
pub const BOTH: Chunks = 3;

/// The signer of an entry. The thief signs with the credential of the first host or with an unknown key.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum By {
    #[default]
    Owner,
    /// Has the right `prune`.
    Pruner,
    /// The first host, whose credential is stolen.
    Stolen,
    /// The second host.
    Second,
    /// The first host, once it has a new credential.
    Renewed,
    /// A key that is not enrolled.
    Stranger,
}

/// The form of an entry, independent of its content.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Form {
    #[default]
    Plain,
    /// It does not open, or is not signed.
    Nonsense,
    /// Its `previous` does not match the object before it.
    Lie,
    /// It is signed, but has an unknown version.
    Newer,
}

/// One entry of the log. An entry with `to` moves every snapshot that needs one of its `dead` packs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Entry {
    pub by: By,
    /// Whether the thief put it. The participants do not know this; only the invariants use it.
    pub thief: bool,
    pub form: Form,
    pub adds: Packs,
    pub snapshot: bool,
    /// Whether the snapshot has less than half as many files as the last full one.
    pub shrunk: bool,
    /// The packs that the snapshot needs, as written in the entry and as its writer meant them.
    pub needs: Packs,
    pub meant: Packs,
    /// The chunks of the snapshot that genuine packs contained when it was committed.
    pub whole: Chunks,
    /// Tombstones.
    pub dead: Packs,
    pub to: Packs,
    /// Moves that only add: snapshots that need these packs also need the packs that the entry adds.
    pub grows: Packs,
    pub orphans: Packs,
    pub lost: Packs,
    pub drops: Slots,
    pub voids: Slots,
    /// The slot from which the stolen writer is revoked; 0 if the entry does not revoke it. Such an entry also enrols
    /// `Renewed`.
    pub revoked: u8,
    /// The slot from which the pruner is revoked; 0 if the entry does not revoke it.
    pub revoked_pruner: u8,
    /// Whether it is a setting that ends the undelete window of all snapshots.
    pub ends: bool,
    /// Whether it enrols the second host.
    pub enrols: bool,
    /// Whether its writer read the previous slot in its rotten state, and the entry names that
    /// state.
    pub names_rot: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum WriterAt {
    #[default]
    Start,
    /// Has looked for chunks and uploaded the missing ones.
    Commit,
    Done,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Writer {
    pub at: WriterAt,
    pub needs: Packs,
    pub own: Packs,
    /// Whether it has not read the rotten entry before it rotted.
    pub fresh: bool,
}

/// The plan of a pruner that repacks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Plan {
    pub from: Packs,
    pub own: Packs,
    pub to: Packs,
}

/// How a false checkpoint falsifies an entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Fake {
    #[default]
    None,
    /// It contains a false entry in this slot.
    Other(u8),
    /// It calls the entry in this slot void, with the true hash of the object.
    CalledVoid(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// The chunks that the table of each pack claims, and those that it really contains.
    pub claims: [Chunks; PACKS_MAX as usize],
    pub holds: [Chunks; PACKS_MAX as usize],
    pub named: u8,
    pub gone: Packs,
    pub log_len: u8,
    pub log: [Entry; LOG_MAX],
    pub writers: [Writer; 2],
    pub plan: Plan,
    /// The slot after a gap that is taken; 0 if none.
    pub behind: u8,
    pub fake: Fake,
    /// The slot that rotted and was not put back; 0 if none.
    pub rot: u8,
    /// Genuine snapshots that the policy dropped in favour of genuine ones.
    pub let_go: Slots,
    /// Dropped snapshots whose undelete window is over.
    pub over: Slots,
    /// The violation in a step.
    pub broken: Option<&'static str>,
    /// Number of steps of each kind that may still happen.
    pub entries: u8,
    pub prunes: u8,
    pub drops: u8,
    pub repacks: u8,
    pub statements: u8,
    pub crashes: u8,
    pub rots: u8,
}

/// Lists the packs of a set one by one.
pub fn each(packs: Packs) -> impl Iterator<Item = Packs> {
    (0..PACKS_MAX).map(|n| 1 << n).filter(move |pack| packs & pack != 0)
}

impl State {
    pub fn log(&self) -> &[Entry] {
        &self.log[..usize::from(self.log_len)]
    }

    /// Returns the entries with their numbers.
    pub fn slots(&self) -> impl Iterator<Item = (u8, &Entry)> {
        (1..).zip(self.log())
    }

    pub fn uploaded(&self) -> Packs {
        (1 << self.named) - 1
    }

    /// Returns those of the packs whose tables claim a chunk.
    pub fn claiming(&self, packs: Packs, chunk: Chunks) -> Packs {
        let claims = |pack: &Packs| self.claims[pack.trailing_zeros() as usize] & chunk != 0;
        each(packs).filter(claims).fold(0, |all, pack| all | pack)
    }

    pub fn claimed(&self, packs: Packs) -> Chunks {
        each(packs).fold(0, |all, pack| all | self.claims[pack.trailing_zeros() as usize])
    }

    /// Returns the chunks that are really in some packs. Ignores deleted packs.
    pub fn held(&self, packs: Packs) -> Chunks {
        let there = packs & self.uploaded() & !self.gone;
        each(there).fold(0, |all, pack| all | self.holds[pack.trailing_zeros() as usize])
    }

    /// Uploads a pack. Returns `None` if the model has no room for it.
    pub fn upload(&mut self, claims: Chunks, holds: Chunks) -> Option<Packs> {
        let index = usize::from(self.named);
        *self.claims.get_mut(index)? = claims;
        self.holds[index] = holds;
        self.named += 1;
        Some(1 << index)
    }

    /// Appends to the log if the model has room. `knows` is whether the host read the rotten entry before it rotted.
    pub fn append(&mut self, entry: Entry, knows: bool) -> Option<u8> {
        let names_rot = !knows && self.rot > 0 && self.rot == self.log_len;
        *self.log.get_mut(usize::from(self.log_len))? = Entry { names_rot, ..entry };
        self.log_len += 1;
        let number = self.log_len;
        if self.behind == number + 1 {
            *self.log.get_mut(usize::from(number))? = NONSENSE;
            self.log_len += 1;
            self.behind = 0;
        }
        Some(number)
    }

    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hash(0x243f_6a88_85a3_08d3);
        let packs = self.claims.iter().zip(&self.holds);
        let packs = packs.fold(0u64, |word, (claims, holds)| {
            word << 4 | u64::from(*claims) << 2 | u64::from(*holds)
        });
        hash.add(packs << 16 | u64::from(self.gone));
        let fake = match self.fake {
            Fake::None => 0,
            Fake::Other(at) => 1 << 4 | at,
            Fake::CalledVoid(at) => 2 << 4 | at,
        };
        let Plan { from, own, to } = self.plan;
        hash.add(word([from, own, to, self.let_go]));
        let bytes = [self.named, self.log_len, self.behind, fake];
        hash.add(u64::from(u32::from_le_bytes(bytes)) << 8 | u64::from(self.rot));
        let State { entries, prunes, drops, repacks, statements, crashes, rots, .. } = *self;
        let budget = [entries, prunes, drops, repacks, statements, crashes, rots];
        let budget = budget.iter().fold(0, |word, left| word << 4 | u64::from(*left));
        hash.add(u64::from(self.over) << 40 | budget << 1 | u64::from(self.broken.is_some()));
        for entry in self.log() {
            entry.hash(&mut hash);
        }
        for Writer { at, needs, own, fresh } in self.writers {
            hash.add(word([at as u16, needs, own, u16::from(fresh)]));
        }
        hash.0
    }
}

/// An entry of the thief that is never valid.
pub const NONSENSE: Entry = Entry {
    by: By::Stolen,
    thief: true,
    form: Form::Nonsense,
    adds: 0,
    snapshot: false,
    shrunk: false,
    needs: 0,
    meant: 0,
    whole: 0,
    dead: 0,
    to: 0,
    grows: 0,
    orphans: 0,
    lost: 0,
    drops: 0,
    voids: 0,
    revoked: 0,
    revoked_pruner: 0,
    ends: false,
    enrols: false,
    names_rot: false,
};

impl Entry {
    /// Returns whether a valid entry of the thief has no effect.
    pub fn says_nothing(&self) -> bool {
        let packs = self.adds | self.orphans | self.lost | self.dead;
        packs | self.drops == 0 && (!self.snapshot || self.shrunk)
    }

    fn hash(&self, hash: &mut Hash) {
        let flags =
            [self.ends, self.thief, self.snapshot, self.shrunk, self.enrols, self.names_rot];
        let flags = flags.iter().fold(0, |word, flag| word << 1 | u16::from(*flag));
        let kind = (self.by as u16) << 4 | self.form as u16;
        hash.add(word([kind | flags << 8, self.adds, self.needs, self.meant]));
        hash.add(word([self.dead, self.to, self.orphans, self.lost]));
        let whole = self.whole | self.revoked_pruner << 4;
        let rest = u16::from(self.revoked) << 8 | u16::from(whole);
        hash.add(word([self.drops, self.voids, rest, self.grows]));
    }
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

fn numbers(slots: Slots) -> String {
    let all: Vec<String> =
        (0..16).filter(|n| slots >> n & 1 == 1).map(|n: u8| n.to_string()).collect();
    all.join(" ")
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", if self.thief { "thief as " } else { "" }, self.by)?;
        if self.form != Form::Plain {
            write!(f, ", {:?}", self.form)?;
        }
        let packs =
            [("adds", self.adds), ("dead", self.dead), ("to", self.to), ("grows", self.grows)];
        for (name, packs) in
            packs.into_iter().chain([("orphans", self.orphans), ("lost", self.lost)])
        {
            if packs != 0 {
                write!(f, ", {name} {}", names(packs))?;
            }
        }
        if self.snapshot {
            write!(f, ", snapshot of {{{}}}", names(self.meant))?;
        }
        for (name, slots) in [("drops", self.drops), ("voids", self.voids)] {
            if slots != 0 {
                write!(f, ", {name} {}", numbers(slots))?;
            }
        }
        if self.revoked > 0 {
            write!(f, ", revokes from {}", self.revoked)?;
        }
        if self.revoked_pruner > 0 {
            write!(f, ", revokes the pruner from {}", self.revoked_pruner)?;
        }
        if self.ends {
            write!(f, ", ends the window")?;
        }
        Ok(())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packs {{{}}}", names(self.uploaded() & !self.gone))?;
        for (number, entry) in self.slots() {
            write!(f, " {number}{}[{entry}]", if number == self.rot { " rotten" } else { "" })?;
        }
        if self.behind > 0 {
            write!(f, " gap {}", self.behind)?;
        }
        if self.fake != Fake::None {
            write!(f, " checkpoint {:?}", self.fake)?;
        }
        Ok(())
    }
}
