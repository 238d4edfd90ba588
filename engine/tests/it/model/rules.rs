//! The bounds of a model, its weakness, and the invariants of its states.

use std::fmt;

use super::state::{Entry, Flight, LOG_MAX, OddCheckpoint, Packs, State, Writer, WriterAt};
use super::state::{PRUNERS_MAX, Pruner, PrunerAt, Slots, WRITERS_MAX};

/// A rule that is left out of the protocol. Each weakness loses data, except `None` and those described as safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    None,
    /// Snapshots are separate objects, and packs that no snapshot needs are deleted immediately.
    BlindPut,
    /// Deletion in two phases: marked packs are checked again after a grace period.
    GraceByClock,
    /// Slots have numbers, but the last writer wins.
    NoCreateOnly,
    /// A writer that lost a slot does not check what was tombstoned in the meantime.
    NoRebase,
    /// Packs are named by content, so that a deleted name can be used again.
    ContentNames,
    /// Undeleting a snapshot removes tombstones.
    Undelete,
    /// Objects that no entry adds are deleted as soon as they are seen.
    OrphansAtOnce,
    /// A put whose outcome is unknown counts as done.
    NoSecondLook,
    /// The checkpoint of an entry is written before the entry is put.
    FoldAhead,
    /// Like `FoldAhead`, but a checkpoint counts only if it contains the hash of the entry with its number. Safe.
    FoldAheadBound,
    /// A checkpoint gets the number of the head at the time of the put instead of the number of the last folded entry,
    /// and replaces an existing one.
    StaleFold,
    /// Like `StaleFold`, but the first checkpoint stays.
    StaleFoldCreateOnly,
    /// A checkpoint may be replaced by another fold of the same entries. Safe.
    Overwrite,
    /// Entries that a checkpoint covers are deleted.
    Trim,
    /// Like `Trim`, and a host without a catalog takes the slot after the last one listed.
    TrimListed,
    /// There is one checkpoint, which each fold replaces, and the entries that it covers are deleted.
    TrimReplaced,
    /// A checkpoint omits orphans, and a host that opens by it still uses packs that it has uploaded.
    ForgetOrphans,
    /// A pruner that repacks does not check which snapshots were added after its plan.
    BlindRepack,
    /// A pruner that repacks tombstones the old pack in a separate entry before the one that adds
    /// the new pack.
    TombstoneFirst,
    /// A pruner that repacks adds the new pack and tombstones the old one, but snapshots still name
    /// the old one.
    NoMoves,
    /// Repacked packs are named by content, and adding one again removes its tombstone.
    ContentRepack,
    /// A pruner does not check whether its new pack was orphaned.
    NoLookAtOwn,
    /// A checkpoint contains the initial needs of snapshots, without moves.
    FoldWithoutMoves,
    /// The new pack is added by a separate entry before the one that moves snapshots to it. Safe.
    MoveLater,
    /// Like `MoveLater`, but the plan counts for all snapshots that were known when it was made, whatever they needed
    /// then.
    MoveLaterToKnown,
}

/// The bounds of a model.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub weakness: Weakness,
    pub writers: u8,
    pub pruners: u8,
    pub crashes: u8,
    /// Number of acknowledgements that are lost or puts that arrive late.
    pub lost: u8,
    /// Number of snapshots that pruners may drop.
    pub drops: u8,
    pub folds: u8,
    /// Number of packs that pruners may plan to repack. If there are any, the first snapshot is alive at the start.
    pub repacks: u8,
    /// Whether writers may store new data in addition to what they find, and put packs before the snapshot.
    pub new_data: bool,
    pub packs_first: bool,
    /// Whether to forget the part of the past to which no participant can refer.
    pub forget: bool,
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { weakness, writers, pruners, crashes, lost, drops, folds, repacks, .. } = self;
        write!(f, "{weakness:?} {writers}W {pruners}P, {crashes} crashes, {lost} lost, ")?;
        write!(f, "{drops} drops, {folds} folds, {repacks} repacks")?;
        let names = [(self.new_data, "new data"), (self.packs_first, "packs first")];
        for (_, name) in names.iter().filter(|(is, _)| *is) {
            write!(f, ", {name}")?;
        }
        write!(f, "{}", if self.forget { ", normal form" } else { "" })
    }
}

/// The state of a host that has read the log, which is also the content of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// The packs that each snapshot needs, by slot; none once it is dropped.
    pub needs: [Packs; LOG_MAX + 1],
    pub alive: Packs,
    /// Packs that are tombstoned or orphaned, which is permanent.
    pub dead: Packs,
}

impl View {
    pub fn needed(&self) -> Packs {
        self.needs.iter().fold(0, |all, needs| all | needs)
    }

    /// Returns the live snapshots that need one of these packs.
    pub fn needing(&self, packs: Packs) -> Slots {
        let needs = self.needs[1..].iter().rev();
        needs.fold(0, |slots, needs| slots << 1 | Slots::from(needs & packs != 0))
    }
}

impl Rules {
    pub fn is(&self, weakness: Weakness) -> bool {
        self.weakness == weakness
    }

    /// Returns whether the protocol has no log that orders snapshots and packs.
    pub fn blind(&self) -> bool {
        self.is(Weakness::BlindPut) || self.is(Weakness::GraceByClock)
    }

    pub fn trims(&self) -> bool {
        matches!(self.weakness, Weakness::Trim | Weakness::TrimListed | Weakness::TrimReplaced)
    }

    /// Returns a state with one pack and one snapshot of it, which is already dropped unless there is repacking. All
    /// packs contain the same chunk.
    pub fn start(&self) -> State {
        let away_writer = Writer { at: WriterAt::Done, ..Writer::default() };
        let away_pruner = Pruner { at: PrunerAt::Done, ..Pruner::default() };
        let mut state = State {
            present: 1,
            named: 1,
            log_len: 2,
            log: [Entry::default(); LOG_MAX],
            acknowledged: 0,
            gone: false,
            hole: false,
            checkpoints: 0,
            odd: OddCheckpoint::default(),
            trimmed: 0,
            writers: [away_writer; WRITERS_MAX],
            pruners: [away_pruner; PRUNERS_MAX],
            crashes: self.crashes,
            lost: self.lost,
            drops: self.drops,
            folds: self.folds,
            repacks: self.repacks,
        };
        state.log[0] = Entry { adds: 1, needs: 1, ..Entry::default() };
        if self.repacks > 0 {
            state.log_len = 1;
        } else {
            state.log[1] = Entry { drops: 1, ..Entry::default() };
        }
        state.writers[..usize::from(self.writers)].fill(Writer::default());
        state.pruners[..usize::from(self.pruners)].fill(Pruner::default());
        state
    }

    /// Applies one entry, in the order of the specification (section 6.2).
    fn apply(&self, view: &mut View, number: usize, entry: &Entry) {
        view.alive |= entry.adds & !view.dead;
        view.dead |= entry.dead;
        view.alive &= !entry.dead;
        if self.is(Weakness::ContentNames) || self.is(Weakness::Undelete) {
            view.dead &= !entry.needs;
            view.alive |= entry.needs;
        }
        if entry.adds != 0 && entry.dead != 0 && !self.is(Weakness::NoMoves) {
            for needs in view.needs.iter_mut().filter(|needs| **needs & entry.dead != 0) {
                *needs = *needs & !entry.dead | entry.adds;
            }
        }
        if self.is(Weakness::ContentRepack) {
            view.dead &= !entry.adds;
            view.alive |= entry.adds;
        }
        view.needs[number] = entry.needs;
        if entry.drops > 0 {
            view.needs[usize::from(entry.drops)] = 0;
        }
    }

    pub fn view(&self, log: &[Entry]) -> View {
        let mut view = View { needs: [0; LOG_MAX + 1], alive: 0, dead: 0 };
        for (entry, number) in log.iter().zip(1..) {
            self.apply(&mut view, number, entry);
        }
        view
    }

    /// Returns the packs that are alive in some catalog, however old.
    pub fn once_alive(&self, log: &[Entry]) -> Packs {
        let mut view = self.view(&[]);
        let mut once = 0;
        for (entry, number) in log.iter().zip(1..) {
            self.apply(&mut view, number, entry);
            once |= view.alive;
        }
        once
    }

    /// Returns the view of a host that opens by a checkpoint and reads on to the end of the log.
    fn view_by(&self, state: &State, checkpoint: OddCheckpoint) -> View {
        let folded = if self.is(Weakness::FoldWithoutMoves) {
            Rules { weakness: Weakness::NoMoves, ..*self }
        } else {
            *self
        };
        let mut view = folded.view(&state.log[..usize::from(checkpoint.base)]);
        let number = usize::from(checkpoint.number);
        if checkpoint.extra != Entry::default() {
            self.apply(&mut view, number, &checkpoint.extra);
        }
        for (entry, number) in state.log().iter().zip(1..).skip(number) {
            self.apply(&mut view, number, entry);
        }
        view
    }

    /// Returns the violation in a state; `None` if there is none.
    pub fn violation(&self, state: &State) -> Option<&'static str> {
        let view = self.view(state.log());
        // A restore finds chunks in any pack, whatever packs the log lists for the snapshot.
        let all = Rules { weakness: Weakness::None, ..*self };
        let moved = if self.is(Weakness::NoMoves) { all.view(state.log()) } else { view };
        if moved.needed() & !state.present != 0 {
            return Some("a snapshot needs a pack that is gone");
        }
        if state.hole {
            return Some("a snapshot needs a chunk that its packs do not have");
        }
        if state.gone {
            return Some("an acknowledged snapshot is gone");
        }
        if self.is(Weakness::None) && view.needed() & !view.alive != 0 {
            return Some("a snapshot needs a pack that may be deleted");
        }
        for number in (1..=state.log_len).filter(|number| state.checkpoints >> number & 1 == 1) {
            let checkpoint = OddCheckpoint { number, base: number, extra: Entry::default() };
            if self.view_by(state, checkpoint) != view {
                return Some("a host that opens by a checkpoint sees something else");
            }
        }
        let odd = state.odd;
        if odd.number > 0 && odd.number <= state.log_len && self.view_by(state, odd) != view {
            return Some("a host that opens by a checkpoint sees something else");
        }
        if state.trimmed > 0 && state.checkpoints >> state.trimmed == 0 {
            return Some("entries are deleted that no checkpoint covers");
        }
        None
    }

    /// Appends to the log if the model has room. Puts in progress for this slot are refused from then on.
    pub fn append(&self, state: &mut State, entry: Entry) -> Option<u8> {
        let len = usize::from(state.log_len);
        *state.log.get_mut(len)? = entry;
        state.log_len += 1;
        state.hole |= entry.thin;
        for writer in &mut state.writers {
            writer.flight = Flight::default();
        }
        for pruner in &mut state.pruners {
            pruner.flight = Flight::default();
        }
        if state.odd.number == state.log_len {
            if state.odd.extra == entry {
                state.checkpoints |= 1 << state.log_len;
                state.odd = OddCheckpoint::default();
            } else if self.is(Weakness::FoldAheadBound) {
                state.odd = OddCheckpoint::default();
            }
        }
        Some(state.log_len)
    }
}
