//! The steps of the writers, the pruner and the owner. A participant reads the log to its end and puts an entry in one
//! step. If another entry came in between, the slot would be lost, and nothing would have happened.

use super::rules::{APART, DISPLACED, MISSING, PLACES, POISONED, Rules, UNSEEN, Weakness};
use super::state::{
    BOTH, By, Chunks, Entry, Fake, NEW, OLD, Packs, Plan, Slots, State, Writer, WriterAt, each,
};
use super::view::{Fate, View};
use crate::model::search::Found;

type Steps = Found<State>;

/// Puts an entry, if the model has room for it.
fn put(
    steps: &mut Steps,
    who: (char, usize, &'static str),
    state: State,
    entry: Entry,
    knows: bool,
) {
    let mut after = state;
    match after.append(entry, knows) {
        Some(_) => steps.push(who.0, who.1, who.2, after),
        None => steps.cut = true,
    }
}

/// Returns the kinds of hosts: those that read the rotten entry before it rotted, and those that did not.
fn kinds(state: &State) -> &'static [bool] {
    if state.rot > 0 { &[true, false] } else { &[true] }
}

impl Rules {
    pub(super) fn writer_steps(&self, state: &State, steps: &mut Steps) {
        for index in 0..2 {
            let writer = state.writers[index];
            match writer.at {
                WriterAt::Start => {
                    for knows in kinds(state) {
                        self.writer_look(state, index, !knows, steps);
                    }
                }
                WriterAt::Commit => {
                    self.writer_commit(state, index, writer, steps);
                    if state.crashes > 0 {
                        let mut crashed = State { crashes: state.crashes - 1, ..*state };
                        crashed.writers[index] = Writer::default();
                        steps.push('W', index, "crashes", crashed);
                    }
                }
                WriterAt::Done => {}
            }
        }
    }

    /// Looks for both chunks in all packs, and uploads those that it does not find. If several packs have a chunk, each
    /// is a possible choice.
    fn writer_look(&self, state: &State, index: usize, fresh: bool, steps: &mut Steps) {
        let view = self.view(state, !fresh, Fake::None);
        if view.stopped {
            return;
        }
        // A writer knows only what the log says.
        let there = view.trusted() & if self.window { Packs::MAX } else { !state.gone };
        let choices = |chunk: Chunks| {
            let packs = state.claiming(there, chunk);
            each(packs).chain((packs == 0).then_some(0))
        };
        for old in choices(OLD) {
            for new in choices(NEW) {
                let writer = Writer { at: WriterAt::Commit, needs: old | new, own: 0, fresh };
                let missing = if old == 0 { OLD } else { 0 } | if new == 0 { NEW } else { 0 };
                upload(
                    state,
                    index,
                    "looks for chunks, uploads the others",
                    writer,
                    missing,
                    steps,
                );
            }
        }
    }

    fn writer_commit(&self, state: &State, index: usize, writer: Writer, steps: &mut Steps) {
        let Writer { needs, own, fresh, .. } = writer;
        let fresh = fresh && state.rot > 0;
        let view = self.view(state, !fresh, Fake::None);
        if view.stopped {
            return;
        }
        if self.is(Weakness::AppendsBehindGap) && state.behind > 0 {
            let mut after = State { broken: Some(UNSEEN), ..*state };
            after.writers[index] = Writer { at: WriterAt::Done, ..Writer::default() };
            steps.push('W', index, "puts its entry behind the gap", after);
            return;
        }
        let taken = own & view.placed;
        let counted = if self.is(Weakness::CountsOnFrontRun) { taken } else { 0 };
        let bad_own = if self.is(Weakness::AddsTwice) { 0 } else { taken & !counted };
        let untrusted = if self.is(Weakness::NoLookAtRevoked) { 0 } else { view.untrusted };
        let good = view.placed & !view.dead & !untrusted;
        let bad = (own & view.dead) | bad_own | (needs | counted) & !good;
        if bad != 0 {
            let kept = Writer { needs: needs & !bad, own: own & !bad, ..writer };
            let missing = BOTH & !state.claimed(kept.needs | kept.own);
            let what = "reads the log, must upload chunks again";
            upload(state, index, what, kept, missing, steps);
            return;
        }
        let adds = own & !counted;
        let revoked = view.revoked > 0;
        let goes_on = revoked && self.is(Weakness::GoesOnRevoked);
        let by = match index {
            0 if revoked && !goes_on => By::Renewed,
            0 => By::Stolen,
            _ => By::Second,
        };
        let mut after = *state;
        let meant = needs | own;
        let broken = self.counts_on(state, meant);
        let broken = broken.or(if index == 0 && goes_on { Some(APART) } else { None });
        after.broken = state.broken.or(broken).or(self.misplaced(state, &view, needs));
        after.writers[index] = Writer { at: WriterAt::Done, ..Writer::default() };
        let entry = Entry {
            by,
            adds,
            snapshot: true,
            needs: view.with(adds).encode(self, meant),
            meant,
            whole: state.held(meant),
            ..Entry::default()
        };
        put(steps, ('W', index, "commits its snapshot"), after, entry, !fresh);
    }

    /// Returns the violation if a snapshot names packs by places that they no longer have after the rotten entry is put
    /// back.
    fn misplaced(&self, state: &State, view: &View, needs: Packs) -> Option<&'static str> {
        let truth = self.view(state, true, Fake::None);
        let moved = |pack: Packs| {
            let index = pack.trailing_zeros() as usize;
            truth.places[index] != view.places[index]
        };
        (self.is(Weakness::OnePlace) && each(needs).any(moved)).then_some(PLACES)
    }

    /// Returns the violation if a new snapshot needs these packs. Until the stolen writer is revoked, a snapshot may
    /// rely on packs of the thief, because no host can know better.
    fn counts_on(&self, state: &State, needs: Packs) -> Option<&'static str> {
        let view = self.view(state, true, Fake::None);
        let (mut thief, mut told) = (0, 0);
        for (number, entry) in state.slots().filter(|(_, entry)| entry.thief) {
            if view.void >> number & 1 == 1 {
                continue;
            }
            thief |= entry.adds;
            let revoked = view.revoked > 0 && number >= view.revoked;
            if revoked || view.voided >> number & 1 == 1 || self.today() {
                told |= entry.adds;
            }
        }
        let held = state.held(needs);
        for chunk in [OLD, NEW].into_iter().filter(|chunk| held & chunk == 0) {
            if state.claiming(needs & thief & !told, chunk) == 0 {
                let known = state.claiming(needs & told, chunk) != 0;
                return Some(if known { POISONED } else { MISSING });
            }
        }
        None
    }

    pub(super) fn pruner_steps(&self, state: &State, steps: &mut Steps) {
        for knows in kinds(state) {
            let believes = self.is(Weakness::TrustsCheckpoint) && state.fake != Fake::None;
            for fake in [Fake::None].into_iter().chain(believes.then_some(state.fake)) {
                let view = self.view(state, *knows, fake);
                if !view.stopped {
                    self.prune(state, &view, *knows, steps);
                    self.delete(state, &view, steps);
                }
            }
            let view = self.view(state, *knows, Fake::None);
            if !view.stopped && view.undismissed() == 0 {
                self.repack(state, &view, *knows, steps);
            }
        }
    }

    /// Drops a snapshot that the policy does not keep, tombstones unneeded packs, and names orphans.
    fn prune(&self, state: &State, view: &View, knows: bool, steps: &mut Steps) {
        if state.prunes == 0 {
            return;
        }
        let quiet = view.undismissed() == 0 || self.today();
        let counts = |slot: &u8| {
            let full = view.shrunk >> slot & 1 == 0 || self.is(Weakness::ShrunkCounts);
            view.fates[usize::from(*slot)] == Fate::Visible && (full || self.today())
        };
        // The policy always keeps the last snapshot that counts.
        let old: Vec<u8> = (1..=state.log_len).filter(counts).collect();
        let droppable = if state.drops > 0 { old.len().saturating_sub(1) } else { 0 };
        let none = [(0, false)].into_iter();
        let genuine = |slot: u8| !state.log()[usize::from(slot) - 1].thief;
        let drops = old[..droppable].iter().enumerate().map(|(at, slot)| {
            let for_false = genuine(*slot) && !old[at + 1..].iter().any(|slot| genuine(*slot));
            (*slot, for_false)
        });
        for (slot, for_false) in none.chain(drops) {
            let mut chosen = State { prunes: state.prunes - 1, ..*state };
            let mut after = *view;
            if slot > 0 {
                chosen.drops -= 1;
                chosen.let_go |= if for_false { 0 } else { 1 << slot };
                chosen.broken = chosen.broken.or(for_false.then_some(DISPLACED));
                after.fates[usize::from(slot)] = Fate::Dropped;
            }
            let held = match self.window && !self.is(Weakness::TombstonesInWindow) {
                true => after.held(&chosen),
                false => 0,
            };
            let dead = view.placed & !view.dead & !after.needed(self) & !held;
            let orphans = state.uploaded() & !view.placed & !view.dead & !state.gone;
            let dead = if quiet || self.is(Weakness::TombstonesWhileVoid) { dead } else { 0 };
            let orphans = if quiet || self.is(Weakness::OrphansWhileVoid) { orphans } else { 0 };
            let drops: Slots = if slot > 0 { 1 << slot } else { 0 };
            if dead | orphans | drops != 0 {
                let dead = view.encode(self, dead);
                let by = self.pruner(view);
                let entry = Entry { by, dead, orphans, drops, ..Entry::default() };
                put(steps, ('P', 0, "drops, tombstones, names orphans"), chosen, entry, knows);
            }
        }
    }

    /// Deletes the packs that valid entries name as dead, except those that a snapshot needs.
    fn delete(&self, state: &State, view: &View, steps: &mut Steps) {
        let holds = self.window && !self.is(Weakness::MarksAtOnce);
        let held = if holds { view.held(state) } else { 0 };
        let gone = view.deletable & !view.needed(self) & !held & state.uploaded() & !state.gone;
        if gone != 0 {
            let after = State { gone: state.gone | gone, ..*state };
            steps.push('P', 0, "deletes what is dead", after);
        }
    }

    /// Returns who signs what a pruner does. The owner prunes if the pruner is revoked.
    fn pruner(&self, view: &View) -> By {
        let is_owner = self.owner_prunes || view.revoked_pruner > 0;
        if is_owner { By::Owner } else { By::Pruner }
    }

    fn repack(&self, state: &State, view: &View, knows: bool, steps: &mut Steps) {
        let held = if self.window { view.held(state) } else { 0 };
        let Plan { from, own, to } = state.plan;
        if from != 0 {
            let taken = own & (view.placed | view.dead) != 0;
            let others = to & !own & !view.trusted() != 0;
            let done = State { plan: Plan::default(), ..*state };
            if taken || others || from & view.trusted() & !held == 0 {
                steps.push('P', 0, "gives its plan up", done);
            } else {
                // Only the owner can read what a repack copies.
                let by = if self.window { By::Owner } else { By::Pruner };
                let entry = Entry { by, adds: own, dead: from, to, ..Entry::default() };
                put(steps, ('P', 0, "adds its pack, moves to it"), done, entry, knows);
            }
            return;
        }
        if state.repacks == 0 {
            return;
        }
        for from in each(view.trusted() & view.needed(self) & !state.gone & !held) {
            let claims = state.claimed(from);
            let believed = if self.is(Weakness::RepackBelieves) {
                let others = view.trusted() & !from & !state.gone;
                [OLD, NEW]
                    .into_iter()
                    .fold(0, |all, chunk| all | state.claiming(others, chunk & claims))
            } else {
                0
            };
            let copied = claims & !state.claimed(believed);
            if copied & !state.held(from) != 0 {
                continue; // A repack reads what it copies, so it detects this.
            }
            let mut after = State { repacks: state.repacks - 1, ..*state };
            let own = if copied == 0 { Some(0) } else { after.upload(copied, copied) };
            let Some(own) = own else {
                steps.cut = true;
                continue;
            };
            after.plan = Plan { from, own, to: own | believed };
            steps.push('P', 0, "copies a pack", after);
        }
    }

    pub(super) fn owner_steps(&self, state: &State, steps: &mut Steps) {
        let view = self.view(state, true, Fake::None);
        if view.stopped {
            return;
        }
        // Packs that a pruner has tombstoned may be gone. If the statements of the pruner no longer count,
        // the log does not call these packs dead.
        let looks = self.window && !self.is(Weakness::RevokesBlindly);
        let lost = if looks { state.gone & view.placed } else { 0 };
        let says = Entry { by: By::Owner, lost, ..Entry::default() };
        let seen = if self.is(Weakness::DismissesRot) {
            self.view(state, state.rot == 0, Fake::None)
        } else {
            view
        };
        if seen.undismissed() != 0 && !seen.stopped {
            let entry = Entry { voids: seen.undismissed(), ..says };
            put(steps, ('O', 0, "dismisses void slots"), *state, entry, true);
        }
        let valid = |number: u8| (view.void | view.voided) >> number & 1 == 0;
        let spent = State { statements: state.statements.saturating_sub(1), ..*state };
        for (number, entry) in state.slots().filter(|(_, entry)| entry.thief) {
            if !entry.says_nothing() && valid(number) && state.statements > 0 {
                let entry = Entry { voids: 1 << number, ..says };
                put(steps, ('O', 0, "makes an entry void"), spent, entry, true);
            }
        }
        if self.window && state.statements > 0 {
            self.revoke_pruner(state, &view, says, steps);
        }
        if view.revoked == 0 && state.statements > 0 {
            // Revoke from the first entry of the thief, or from an earlier entry of the robbed host.
            let is_thief = |(number, entry): &(u8, &Entry)| {
                let valid = view.void >> number & 1 == 0;
                entry.thief && entry.by == By::Stolen && valid && !entry.says_nothing()
            };
            let first =
                state.slots().find(is_thief).map_or(state.log_len + 1, |(number, _)| number);
            for from in 2..=first {
                let entry = state.log().get(usize::from(from) - 1);
                if from == first || entry.is_some_and(|entry| entry.by == By::Stolen) {
                    let entry = Entry { revoked: from, ..says };
                    put(steps, ('O', 0, "revokes the stolen writer"), spent, entry, true);
                }
            }
        }
    }

    /// Revokes the pruner from the first entry of the thief, or from an earlier entry of the pruner.
    fn revoke_pruner(&self, state: &State, view: &View, says: Entry, steps: &mut Steps) {
        let valid = |number: u8| view.void >> number & 1 == 0;
        let of_pruner = || state.slots().filter(|(_, entry)| entry.by == By::Pruner);
        let first = of_pruner().find(|(number, entry)| entry.thief && valid(*number));
        let Some((first, _)) = first.filter(|_| view.revoked_pruner == 0) else { return };
        let spent = State { statements: state.statements - 1, ..*state };
        for (from, _) in of_pruner().take_while(|(number, _)| *number <= first) {
            let entry = Entry { revoked_pruner: from, ..says };
            put(steps, ('O', 0, "revokes the pruner"), spent, entry, true);
        }
    }

    /// The undelete window of a dropped snapshot ends, by time or because the owner says so.
    pub(super) fn window_steps(&self, state: &State, steps: &mut Steps) {
        let view = self.view(state, true, Fake::None);
        for slot in (1..=state.log_len).filter(|slot| state.over >> slot & 1 == 0) {
            if view.fates[usize::from(slot)] == Fate::Dropped {
                let after = State { over: state.over | 1 << slot, ..*state };
                steps.push('C', 0, "the window of a snapshot ends", after);
            }
        }
    }

    /// A genuine entry rots, or a host that has its bytes puts it back.
    pub(super) fn rot_steps(&self, state: &State, steps: &mut Steps) {
        if state.rot > 0 {
            steps.push('R', 0, "is put back", State { rot: 0, ..*state });
        } else if state.rots > 0 {
            for (rot, _) in state.slots().filter(|(_, entry)| !entry.thief) {
                steps.push('R', 0, "an entry rots", State { rot, rots: state.rots - 1, ..*state });
            }
        }
    }
}

/// Uploads the missing chunks as one pack.
fn upload(
    state: &State,
    index: usize,
    what: &'static str,
    writer: Writer,
    missing: Chunks,
    steps: &mut Steps,
) {
    let mut after = *state;
    let mut writer = writer;
    if missing != 0 {
        match after.upload(missing, missing) {
            Some(pack) => writer.own |= pack,
            None => {
                steps.cut = true;
                return;
            }
        }
    }
    after.writers[index] = writer;
    steps.push('W', index, what, after);
}
