//! How large a model is, which weakness it has, and what must hold in each of its states.

use std::fmt;

use super::state::{Entry, Flight, LOG_MAX, OddCheckpoint, Packs, State, Writer, WriterAt};
use super::state::{PRUNERS_MAX, Pruner, PrunerAt, Slots, WRITERS_MAX};

/// What is left out of the protocol. Each but `None` and those said to be safe loses data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    None,
    /// Snapshots are objects of their own and packs that none needs are deleted at once.
    BlindPut,
    /// Two-phase deletion: marked packs are looked at again after a time of grace.
    GraceByClock,
    /// Slots have numbers, but the last writer wins.
    NoCreateOnly,
    /// A writer that lost a slot does not look what was tombstoned since.
    NoRebase,
    /// Packs are named by content, so that a deleted name comes back.
    ContentNames,
    /// Bringing back a dropped snapshot takes tombstones back.
    Undelete,
    /// Objects that no entry adds are deleted as soon as they are seen.
    OrphansAtOnce,
    /// A put whose outcome is unknown counts as done.
    NoSecondLook,
    /// The checkpoint of an entry is written before the entry is put.
    FoldAhead,
    /// The same, but a checkpoint counts only if it has the hash of the entry of its number. Safe.
    FoldAheadBound,
    /// A checkpoint gets the number of the head when it is put, not of the entry folded last, and
    /// replaces the one there.
    StaleFold,
    /// The same, and the first one stays.
    StaleFoldCreateOnly,
    /// A checkpoint may be replaced by another fold of the same entries. Safe.
    Overwrite,
    /// Entries that a checkpoint covers are deleted.
    Trim,
    /// The same, and a host without a catalog takes the slot after the last that is listed.
    TrimListed,
    /// There is one checkpoint, which the last fold replaces, and entries it covers are deleted.
    TrimReplaced,
    /// A checkpoint leaves orphans out, and a host that opens by it remembers packs of its own.
    ForgetOrphans,
    /// A pruner that repacks does not look which snapshots came after its plan.
    BlindRepack,
    /// It tombstones the old pack in an entry of its own, before the one that adds the new pack.
    TombstoneFirst,
    /// It adds the new pack and tombstones the old one, and snapshots go on to name the old one.
    NoMoves,
    /// Repacked packs are named by content, and adding one again takes its tombstone back.
    ContentRepack,
    /// A pruner does not look whether its new pack was orphaned.
    NoLookAtOwn,
    /// A checkpoint has what snapshots needed at first.
    FoldWithoutMoves,
    /// The new pack is added by an entry of its own, before the one that moves to it. Safe.
    MoveLater,
    /// The same, and the plan is good for all snapshots that it knows, whatever they needed then.
    MoveLaterToKnown,
}

/// The bounds of a model.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub weakness: Weakness,
    pub writers: u8,
    pub pruners: u8,
    pub crashes: u8,
    /// Acknowledgements that are lost, and puts that arrive late.
    pub lost: u8,
    /// Snapshots that pruners may drop.
    pub drops: u8,
    pub folds: u8,
    /// Packs that pruners may plan to repack. Then the first snapshot is alive at first.
    pub repacks: u8,
    /// Writers may store new data beside what they find, and put packs before the snapshot.
    pub new_data: bool,
    pub packs_first: bool,
    /// Forget the past that nobody can refer to.
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

/// What a host knows that read the log: that is what a checkpoint holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// What each snapshot needs, by slot; nothing once it is dropped.
    pub needs: [Packs; LOG_MAX + 1],
    pub alive: Packs,
    /// Tombstoned and orphaned, for ever.
    pub dead: Packs,
}

impl View {
    pub fn needed(&self) -> Packs {
        self.needs.iter().fold(0, |all, needs| all | needs)
    }

    /// Returns the snapshots alive that need one of these packs.
    pub fn needing(&self, packs: Packs) -> Slots {
        let needs = self.needs[1..].iter().rev();
        needs.fold(0, |slots, needs| slots << 1 | Slots::from(needs & packs != 0))
    }
}

impl Rules {
    pub fn is(&self, weakness: Weakness) -> bool {
        self.weakness == weakness
    }

    /// Snapshots and packs without a log to order them.
    pub fn blind(&self) -> bool {
        self.is(Weakness::BlindPut) || self.is(Weakness::GraceByClock)
    }

    pub fn trims(&self) -> bool {
        matches!(self.weakness, Weakness::Trim | Weakness::TrimListed | Weakness::TrimReplaced)
    }

    /// One pack, one snapshot of it, already dropped unless there is repacking: its chunk is in every pack from here on.
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

    /// Takes in one entry, in the order of the specification (section 6.2).
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

    /// Returns the packs that some catalog, however old, holds for alive.
    pub fn once_alive(&self, log: &[Entry]) -> Packs {
        let mut view = self.view(&[]);
        let mut once = 0;
        for (entry, number) in log.iter().zip(1..) {
            self.apply(&mut view, number, entry);
            once |= view.alive;
        }
        once
    }

    /// Returns what a host sees that opens by a checkpoint and reads on to the end of the log.
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

    /// Returns what is wrong with a state.
    pub fn violation(&self, state: &State) -> Option<&'static str> {
        let view = self.view(state.log());
        // Whoever restores finds chunks in any pack, whatever the log says of needs.
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

    /// Appends to the log, if the model has room for it. What was under way to this slot is refused
    /// from here on.
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
