//! The bounds of a model with a thief, the rule that it leaves out, and the invariants of its states.

use std::fmt;

use super::menu::Item;
use super::state::{
    By, Entry, Fake, Form, LOG_MAX, OLD, PACKS_MAX, Plan, Slots, State, Writer, WriterAt,
};
use super::view::Fate;
use crate::model::search::{Found, Model};

/// A rule that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    None,
    /// Version 1 of the protocol: anyone with the credential may make all statements, and an invalid entry stops every
    /// host.
    Today,
    /// Every enrolled writer may make all statements.
    NoRights,
    /// Entries need no signature of an enrolled author.
    NoSignatures,
    /// Packs are numbered consecutively, so that those after a void entry get other numbers.
    VoidRenumbers,
    /// A valid entry that the owner makes void adds no packs.
    VoidDropsPacks,
    /// A move that only adds is void if it concerns packs of other writers, or of entries that have become void.
    MoveIsVoid,
    /// Orphans are deleted while a void slot is not dismissed.
    OrphansWhileVoid,
    /// Packs are tombstoned while a void slot is not dismissed.
    TombstonesWhileVoid,
    /// New snapshots rely on packs of revoked entries.
    TrustsRevoked,
    /// A writer that lost a slot does not check who was revoked in the meantime.
    NoLookAtRevoked,
    /// A writer adds its pack although another writer has added it already.
    AddsTwice,
    /// A writer relies on its pack after another writer has added it. Safe.
    CountsOnFrontRun,
    /// Snapshots of a revoked writer do not keep their packs.
    ApartIsDropped,
    /// A host continues to use its credential after it was revoked.
    GoesOnRevoked,
    /// Pruners use a checkpoint for which no author vouches.
    TrustsCheckpoint,
    /// The owner vouches for the bytes of all objects, but not for which of them are void.
    VouchesForBytes,
    /// Any enrolled writer can vouch for a checkpoint.
    AnybodyVouches,
    /// A checkpoint is proven by the `previous` of later entries instead of by the owner.
    ProvenByChain,
    /// A writer takes the slot after the last one listed, even after a gap.
    AppendsBehindGap,
    /// Any enrolled writer can prove damage, by naming an object other than the existing one.
    AnybodyProves,
    /// The `previous` of an owner's entry does not prove damage.
    OwnerProvesNothing,
    /// An entry is void if its `previous` does not match the entry before it.
    MismatchIsVoid,
    /// Entries that remove something are put only once: tombstones, orphans, and statements of the owner.
    PutsOnce,
    /// An entry of a newer version stops every host, even if a writer has signed it.
    NewerStops,
    /// Shrunken snapshots count.
    ShrunkCounts,
    /// A pruner that repacks omits chunks that another pack claims to contain.
    RepackBelieves,
    /// A writer that only adds may name orphans, and pruners delete them.
    OrphansOfAnybody,
    /// A pack that an entry has added may be named as an orphan, even by a writer that only adds.
    OrphansAdded,
    /// Any enrolled writer may name lost chunks. Safe in this model, which has no packs with false content under a
    /// genuine id.
    AnybodyLoses,
    /// A move that only adds may concern packs of other writers. Safe.
    GrowsOthers,
    /// If an entry is void because it adds a pack twice, the places that it gives to the pack have
    /// no meaning.
    OnePlace,
    /// The owner dismisses an entry that rotted.
    DismissesRot,
    /// Pruners tombstone packs of snapshots that can still be undeleted.
    TombstonesInWindow,
    /// Pruners delete what a writer has tombstoned, even if a snapshot that can still be undeleted needs it.
    MarksAtOnce,
    /// A writer with the right `prune` may end the undelete window.
    WritersEndWindow,
    /// A writer with the right `prune` may move snapshots to other packs.
    WritersMove,
    /// What a pruner has dropped and tombstoned stays dropped and tombstoned after the pruner is
    /// revoked.
    MarksStay,
    /// Orphans that a pruner has named are alive after it is revoked.
    OrphansRise,
    /// An owner who revokes a pruner does not say which packs are gone.
    RevokesBlindly,
}

/// The bounds of a model.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub weakness: Weakness,
    pub writers: u8,
    /// Number of entries and false checkpoints of the thief, and the allowed items as bits.
    pub entries: u8,
    pub menu: u32,
    pub prunes: u8,
    pub drops: u8,
    pub repacks: u8,
    /// Number of statements of the owner, except dismissals.
    pub statements: u8,
    pub crashes: u8,
    pub rots: u8,
    /// Whether a dropped snapshot can be undeleted for a while.
    pub window: bool,
    /// Whether pruners sign as the owner.
    pub owner_prunes: bool,
    /// Whether to use the normal form of states. It has no undelete window.
    pub forget: bool,
    /// The only violation to look for, if given.
    pub only: Option<&'static str>,
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { weakness, writers, entries, prunes, drops, repacks, .. } = self;
        let Rules { statements, crashes, rots, .. } = self;
        write!(
            f,
            "{weakness:?} {writers}W, {entries} of the thief, {prunes} prunes, {drops} drops, "
        )?;
        write!(f, "{repacks} repacks, {statements} statements, {crashes} crashes, {rots} rot")?;
        if self.menu.count_ones() == 1 {
            write!(f, ", {:?}", Item::ALL[self.menu.trailing_zeros() as usize])?;
        }
        let names = [
            (self.window, ", undelete window"),
            (self.owner_prunes, ", the owner prunes"),
            (self.forget, ", normal form"),
        ];
        names.iter().filter(|(is, _)| *is).try_for_each(|(_, name)| f.write_str(name))
    }
}

pub const GONE: &str = "what a genuine snapshot needs is deleted";
pub const HIDDEN: &str = "a genuine snapshot is hidden, and nothing is reported";
pub const VOID: &str = "an acknowledged snapshot is void";
pub const DEAD: &str = "a genuine snapshot needs a pack that may be deleted";
pub const PLACES: &str = "a pack of a genuine snapshot has lost its place";
pub const POISONED: &str = "a new snapshot counts on what only the thief has written";
pub const MISSING: &str = "a new snapshot counts on a pack that is gone";
pub const APART: &str = "a new snapshot is acknowledged, and set apart";
pub const UNSEEN: &str = "an acknowledged snapshot is in no log that anybody reads";
pub const DISPLACED: &str = "the policy drops a genuine snapshot for a false one";
pub const STOPPED: &str = "nobody can go on";
pub const CHECKPOINT: &str = "a host that opens by a checkpoint sees something else";

impl Rules {
    pub fn is(&self, weakness: Weakness) -> bool {
        self.weakness == weakness
    }

    pub fn today(&self) -> bool {
        self.is(Weakness::Today)
    }

    pub fn anybody_names_orphans(&self) -> bool {
        self.today() || self.is(Weakness::OrphansOfAnybody) || self.is(Weakness::OrphansAdded)
    }

    pub fn puts_twice(&self) -> bool {
        !self.is(Weakness::PutsOnce)
    }

    /// Returns whether readers use a false checkpoint. They look for a later entry of the owner, and compute the hash
    /// that the owner had seen, which covers each object and whether it is signed. A false checkpoint produces another
    /// hash.
    fn uses_false(&self, state: &State) -> bool {
        let behind = |at: u8| state.slots().filter(move |(number, _)| *number > at);
        let vouches = |entry: &Entry| match self.weakness {
            // The thief can put any hash into an entry of the stolen writer.
            Weakness::AnybodyVouches => {
                entry.thief && entry.form == Form::Plain && entry.by == By::Stolen
            }
            Weakness::VouchesForBytes => entry.by == By::Owner,
            _ => false,
        };
        match state.fake {
            Fake::None => false,
            Fake::Other(at) if self.is(Weakness::ProvenByChain) => {
                behind(at).next().is_some_and(|(_, entry)| entry.form == Form::Lie)
            }
            Fake::Other(_) if self.is(Weakness::VouchesForBytes) => false,
            Fake::Other(at) | Fake::CalledVoid(at) => behind(at).any(|(_, entry)| vouches(entry)),
        }
    }

    /// Returns the violations in a state, including those found when a step was made.
    fn find_violation(&self, state: &State) -> Vec<&'static str> {
        let mut found = Vec::new();
        found.extend(state.broken);
        let view = self.view(state, true, Fake::None);
        let fresh = if state.rot > 0 { self.view(state, false, Fake::None) } else { view };
        for (number, entry) in state.slots() {
            let bit: Slots = 1 << number;
            if entry.thief || !entry.snapshot {
                continue;
            }
            let slot = usize::from(number);
            if self.window && state.over & bit != 0 {
                continue; // The owner has let the window pass.
            }
            if view.voided & bit == 0 && view.void & bit != 0 && !self.today() {
                found.push(VOID);
            }
            let is_gone = entry.whole & !state.held(state.uploaded()) != 0;
            if is_gone && (state.let_go & bit == 0 || self.window) {
                found.push(GONE);
            }
            if state.let_go & bit != 0 {
                continue;
            }
            let hides = |fate| matches!(fate, Fate::None | Fate::Dropped);
            // A dropped snapshot is listed as long as it can be undeleted.
            let is_listed = self.window && view.drops & bit != 0;
            let silent = !is_listed && hides(view.fates[slot]) && view.undismissed() == 0
                || !is_listed
                    && hides(fresh.fates[slot])
                    && fresh.undismissed() == 0
                    && !fresh.stopped;
            if silent {
                found.push(HIDDEN);
            }
            if !hides(view.fates[slot]) {
                let dead = if self.window { view.dead_by_owner } else { view.dead };
                if view.needs[slot] & dead != 0 {
                    found.push(DEAD);
                }
                if view.needs[slot] & !view.placed != 0 {
                    found.push(PLACES);
                }
            }
        }
        if view.moved {
            found.push(PLACES);
        }
        if view.stopped && state.rot == 0 {
            found.push(STOPPED);
        }
        if self.uses_false(state) && self.view(state, true, state.fake) != view {
            found.push(CHECKPOINT);
        }
        found
    }
}

impl Model for Rules {
    type State = State;

    /// Returns a state with one snapshot of one pack, in which the second host is enrolled.
    fn start(&self) -> State {
        let away = Writer { at: WriterAt::Done, ..Writer::default() };
        let mut state = State {
            claims: [0; PACKS_MAX as usize],
            holds: [0; PACKS_MAX as usize],
            named: 0,
            gone: 0,
            log_len: 2,
            log: [Entry::default(); LOG_MAX],
            writers: [away; 2],
            plan: Plan::default(),
            behind: 0,
            fake: Fake::None,
            rot: 0,
            let_go: 0,
            over: 0,
            broken: None,
            entries: self.entries,
            prunes: self.prunes,
            drops: self.drops,
            repacks: self.repacks,
            statements: self.statements,
            crashes: self.crashes,
            rots: self.rots,
        };
        let pack = state.upload(OLD, OLD).unwrap_or_default();
        let first = Entry { by: By::Stolen, adds: pack, snapshot: true, ..Entry::default() };
        state.log[0] = Entry { needs: pack, meant: pack, whole: OLD, ..first };
        state.log[1] = Entry { by: By::Owner, enrols: true, ..Entry::default() };
        state.writers[2 - usize::from(self.writers)..].fill(Writer::default());
        state
    }

    fn find(&self, state: &State, steps: &mut Found<State>) {
        self.writer_steps(state, steps);
        self.pruner_steps(state, steps);
        if !self.today() {
            self.owner_steps(state, steps);
        }
        self.thief_steps(state, steps);
        self.rot_steps(state, steps);
        if self.window {
            self.window_steps(state, steps);
        }
    }

    fn normalise(&self, state: &mut State) {
        if self.forget && state.broken.is_none() {
            self.forget(state);
        }
    }

    fn forgotten_violation(&self, state: &State) -> Option<&'static str> {
        if self.forget { self.violation(state) } else { None }
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        let found = self.find_violation(state);
        match self.only {
            Some(only) => found.into_iter().find(|violation| *violation == only),
            None => found.first().copied(),
        }
    }

    fn is_stuck(&self, state: &State) -> bool {
        state.writers.iter().any(|writer| writer.at != WriterAt::Done)
    }

    fn fingerprint(&self, state: &State) -> u64 {
        state.fingerprint()
    }

    fn is_weak(&self) -> bool {
        self.weakness != Weakness::None
    }
}
