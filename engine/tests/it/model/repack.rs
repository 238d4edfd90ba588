//! The steps of repacking. A pruner plans, uploads a part of a pack as a new pack, and puts one entry that adds the new
//! pack, tombstones the old one and moves the snapshots.
//!
//! The new pack contains what the snapshots needed when the plan was made. If other snapshots need the old pack when
//! the entry is composed, the plan is cancelled.

use super::rules::{Rules, Weakness};
use super::state::{Entry, PACKS_MAX, Packs, Pruner, PrunerAt, State};
use super::steps::{Step, Steps, each};

/// The common name of all repacked packs if they are named by content.
const CONTENT: Packs = 1 << (PACKS_MAX - 1);

impl Steps {
    /// Decides what to copy. The log may grow before the copy is complete.
    pub(super) fn repack_plan(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        pruner: Pruner,
    ) {
        if state.repacks == 0 {
            return;
        }
        let view = rules.view(state.log());
        let state = &State { repacks: state.repacks - 1, ..*state };
        for from in each(view.alive & view.needed()) {
            let plan = view.needing(from);
            let known =
                if rules.is(Weakness::MoveLaterToKnown) { view.needing(Packs::MAX) } else { 0 };
            let planned = Pruner { at: PrunerAt::Upload, from, plan, known, ..pruner };
            self.push_pruner(state, index, "plans to repack a pack", planned);
        }
    }

    pub(super) fn repack_upload(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        pruner: Pruner,
    ) {
        let mut after = *state;
        let own = if rules.is(Weakness::ContentRepack) {
            CONTENT
        } else if state.named < PACKS_MAX {
            after.named += 1;
            1 << state.named
        } else {
            self.cut = true;
            return;
        };
        after.present |= own;
        let what = "uploads what is needed of a pack";
        self.repack_compose(rules, &after, index, what, Pruner { own, ..pruner });
    }

    /// Reads the log to its end and composes the entry, or cancels the plan.
    pub(super) fn repack_compose(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        what: &'static str,
        pruner: Pruner,
    ) {
        let view = rules.view(state.log());
        let mut push = |then, pruner| {
            let mut state = *state;
            state.pruners[index] = pruner;
            self.found.push((Step { who: 'P', index, what, then }, state));
        };
        let fresh = Pruner { flight: pruner.flight, ..Pruner::default() };
        let may_be_added =
            matches!(rules.weakness, Weakness::MoveLater | Weakness::MoveLaterToKnown);
        if pruner.own & view.alive != 0 && !may_be_added {
            push(", its pack was added", fresh);
            return;
        }
        if pruner.own & view.dead != 0 && rules.is(Weakness::ContentRepack) {
            if pruner.at != PrunerAt::Upload {
                push(", must upload again", Pruner { at: PrunerAt::Upload, ..pruner });
                return;
            }
        } else if pruner.own & view.dead != 0 && !rules.is(Weakness::NoLookAtOwn) {
            push(", its pack was orphaned", fresh);
            return;
        }
        let composed = Pruner { at: PrunerAt::Put, head: state.log_len, stored: 0, ..pruner };
        let there = pruner.from & view.alive != 0 || rules.is(Weakness::TombstoneFirst);
        let since = view.needing(pruner.from) & !(pruner.plan | pruner.known);
        if there && (since == 0 || rules.is(Weakness::BlindRepack)) {
            push(", composes", composed);
            return;
        }
        push(", its plan is too old", fresh);
        if rules.packs_first {
            push(", composes its pack alone", Pruner { from: 0, plan: 0, ..composed });
        }
    }
}

impl Rules {
    /// Returns the entry that a pruner puts after it has uploaded a pack.
    pub(super) fn repack_entry(&self, state: &State, pruner: Pruner) -> Entry {
        let Pruner { own, from, plan, .. } = pruner;
        let view = self.view(state.log());
        if self.is(Weakness::TombstoneFirst) && from & view.alive != 0 {
            return Entry { dead: from, ..Entry::default() };
        }
        let in_two = matches!(self.weakness, Weakness::MoveLater | Weakness::MoveLaterToKnown);
        if in_two && own & view.alive == 0 {
            return Entry { adds: own, ..Entry::default() };
        }
        let thin = view.needing(from) & !plan != 0;
        Entry { adds: own, dead: from, thin, ..Entry::default() }
    }

    /// Returns whether this is the first of two entries that should be a single one.
    pub(super) fn repacks_in_two(&self, pruner: Pruner, entry: Entry) -> bool {
        match self.weakness {
            Weakness::TombstoneFirst => pruner.own != 0 && entry.adds == 0,
            Weakness::MoveLater | Weakness::MoveLaterToKnown => entry.dead == 0 && entry.adds != 0,
            _ => false,
        }
    }
}
