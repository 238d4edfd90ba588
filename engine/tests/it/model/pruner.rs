//! The steps of a pruner: list, compose, put, look, delete, and fold (spec section 6.4).

use super::rules::{Rules, Weakness};
use super::state::{Entry, Flight, OddCheckpoint, Packs, Pruner, PrunerAt, State};
use super::steps::{Put, Steps, put};

impl Steps {
    pub(super) fn pruner(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        let head = state.log_len;
        let may_fold = state.folds > 0;
        match pruner.at {
            PrunerAt::Start => {
                self.pruner_list(rules, state, index, Pruner { head, ..pruner });
                self.repack_plan(rules, state, index, pruner);
                if may_fold {
                    let fold = Pruner { at: PrunerAt::Fold, head, ..pruner };
                    let state = &State { folds: state.folds - 1, ..*state };
                    self.push_pruner(state, index, "folds the log", fold);
                }
            }
            PrunerAt::Done if may_fold => {
                let fold = Pruner { at: PrunerAt::FoldLast, head, ..pruner };
                let state = &State { folds: state.folds - 1, ..*state };
                self.push_pruner(state, index, "folds the log", fold);
            }
            PrunerAt::Done => {}
            PrunerAt::Upload => self.repack_upload(rules, state, index, pruner),
            PrunerAt::FoldAhead => self.pruner_fold_ahead(rules, state, index, pruner),
            PrunerAt::Put => self.pruner_put(rules, state, index, pruner),
            PrunerAt::Look => self.pruner_look(rules, state, index, pruner),
            PrunerAt::Grace => {
                let dead = pruner.dead & !rules.view(state.log()).needed();
                let delete = Pruner { at: PrunerAt::Delete, dead, ..pruner };
                self.push_pruner(state, index, "lists snapshots again after the grace", delete);
            }
            PrunerAt::Delete => {
                let pack = pruner.dead & pruner.dead.wrapping_neg();
                let mut after = *state;
                after.present &= !pack;
                let then = Pruner { at: PrunerAt::Delete, dead: pruner.dead & !pack, ..pruner };
                self.delete_or_end(rules, &after, index, "deletes a pack", then);
            }
            PrunerAt::Fold | PrunerAt::FoldLast => self.pruner_fold(rules, state, index, pruner),
        }
        self.pruner_trouble(rules, state, index, pruner);
    }

    /// The faults of a pruner: late puts and crashes.
    fn pruner_trouble(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        if pruner.flight != Flight::default() {
            let mut late = *state;
            match rules.append(&mut late, pruner.flight.entry) {
                Some(number) => {
                    if pruner.flight.known {
                        late.pruners[index].stored = number;
                    }
                    self.push('P', index, "the put arrives late", late);
                }
                None => self.cut = true,
            }
        }
        let running = !matches!(pruner.at, PrunerAt::Start | PrunerAt::Done);
        if running && state.crashes > 0 {
            let mut crashed = *state;
            crashed.crashes -= 1;
            let flight = Flight { known: false, ..pruner.flight };
            let fresh = Pruner { flight, ..Pruner::default() };
            if pruner.own == 0 {
                self.push_pruner(&crashed, index, "crashes", fresh);
            } else {
                self.push_pruner(&crashed, index, "crashes, and forgets its pack", fresh);
                let Pruner { own, from, plan, known, .. } = pruner;
                let kept = Pruner { at: PrunerAt::Put, own, from, plan, known, ..fresh };
                self.push_pruner(&crashed, index, "crashes", kept);
            }
        }
    }

    /// Reads the log, lists the packs of the store and decides. These can be one step, because the slot is lost if the
    /// log grows in between.
    fn pruner_list(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        let view = rules.view(state.log());
        if rules.blind() {
            let dead = state.present & !view.needed();
            let grace = rules.is(Weakness::GraceByClock);
            let at = if grace { PrunerAt::Grace } else { PrunerAt::Delete };
            self.delete_or_end(rules, state, index, "lists packs", Pruner { at, dead, ..pruner });
            return;
        }
        let orphans = state.present & !(view.alive | view.dead);
        if rules.is(Weakness::OrphansAtOnce) && orphans != 0 {
            let delete = Pruner { at: PrunerAt::Delete, dead: orphans, ..pruner };
            self.push_pruner(state, index, "lists packs, orphans are to go", delete);
            return;
        }
        let droppable = if state.drops > 0 { state.log_len } else { 0 };
        for drops in 0..=droppable {
            if drops > 0 && view.needs[usize::from(drops)] == 0 {
                continue;
            }
            let mut after = view;
            after.needs[usize::from(drops)] = 0;
            let dead = orphans | (view.alive & !after.needed());
            let mut chosen = *state;
            chosen.drops -= u8::from(drops > 0);
            let ahead = matches!(rules.weakness, Weakness::FoldAhead | Weakness::FoldAheadBound);
            let at = if ahead { PrunerAt::FoldAhead } else { PrunerAt::Put };
            let put = Pruner { at, drops, dead, ..pruner };
            if drops > 0 || dead > 0 {
                self.push_pruner(&chosen, index, "lists packs and composes", put);
            } else {
                let dead = view.dead & state.present;
                let delete = Pruner { at: PrunerAt::Delete, dead, ..Pruner::default() };
                self.delete_or_end(rules, state, index, "lists packs", delete);
            }
            if drops > 0 && dead > 0 {
                let put = Pruner { dead: 0, ..put };
                self.push_pruner(&chosen, index, "lists packs, only drops", put);
            }
        }
    }

    fn delete_or_end(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        what: &'static str,
        then: Pruner,
    ) {
        // A put in progress stays in progress.
        let flight = state.pruners[index].flight;
        let deletes = then.dead != 0;
        // In normal form, all dead packs are gone and forgotten. In reality, others may have left some of them.
        let sweeps = rules.forget && state.pruners[index].at != PrunerAt::Delete;
        if deletes || sweeps {
            self.push_pruner(state, index, what, Pruner { flight, ..then });
        }
        if !deletes {
            let end = Pruner { at: PrunerAt::Done, flight, ..Pruner::default() };
            self.push_pruner(state, index, what, end);
        }
    }

    fn pruner_put(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        let entry = if pruner.own != 0 {
            rules.repack_entry(state, pruner)
        } else {
            Entry { drops: pruner.drops, dead: pruner.dead, ..Entry::default() }
        };
        match put(rules, state, pruner.head, 0, entry) {
            Put::Created(created, _) if rules.repacks_in_two(pruner, entry) => {
                self.repack_compose(rules, &created, index, "puts the first entry", pruner);
            }
            Put::Created(created, number) => {
                self.pruner_committed(rules, &created, index, "puts its entry", pruner.dead);
                if state.lost == 0 {
                    return;
                }
                let mut untold = created;
                untold.lost -= 1;
                untold.pruners[index].at = PrunerAt::Look;
                untold.pruners[index].stored = number;
                self.push('P', index, "puts its entry and is not told", untold);
                if pruner.flight == Flight::default() {
                    let mut late = *state;
                    late.lost -= 1;
                    let flight = Flight { entry, known: true };
                    late.pruners[index] = Pruner { at: PrunerAt::Look, flight, ..pruner };
                    self.push('P', index, "puts its entry, and it is not there yet", late);
                }
            }
            Put::Taken => self.pruner_look(rules, state, index, pruner),
            Put::Full => self.cut = true,
        }
    }

    fn pruner_look(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        if pruner.stored == pruner.head + 1 {
            let what = "looks: its own bytes are there";
            self.pruner_committed(rules, state, index, what, pruner.dead);
        } else if state.log_len == pruner.head {
            let pruner = Pruner { at: PrunerAt::Put, ..pruner };
            self.push_pruner(state, index, "looks: nothing is there", pruner);
        } else if pruner.own != 0 {
            self.repack_compose(rules, state, index, "looks: the slot is lost", pruner);
        } else {
            let mut after = *state;
            after.drops += u8::from(pruner.drops > 0);
            self.push_pruner(&after, index, "looks: the slot is lost", Pruner::default());
        }
    }

    /// Continues by deleting the packs that committed entries call dead, whoever wrote them.
    fn pruner_committed(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        what: &'static str,
        own: Packs,
    ) {
        let dead = (rules.view(state.log()).dead | own) & state.present;
        let delete = Pruner { at: PrunerAt::Delete, dead, ..Pruner::default() };
        self.delete_or_end(rules, state, index, what, delete);
    }

    /// Puts the checkpoint of an entry that is composed but not put yet.
    fn pruner_fold_ahead(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        let mut after = *state;
        let extra = Entry { drops: pruner.drops, dead: pruner.dead, ..Entry::default() };
        let number = pruner.head + 1;
        let there = state.checkpoints >> number & 1 == 1 || state.odd.number > 0;
        let refuted = rules.is(Weakness::FoldAheadBound) && number <= state.log_len;
        if !there && !refuted {
            after.odd = OddCheckpoint { number, base: pruner.head, extra };
        }
        after.pruners[index].at = PrunerAt::Put;
        self.push('P', index, "puts the checkpoint of its next entry", after);
    }

    fn pruner_fold(&mut self, rules: &Rules, state: &State, index: usize, pruner: Pruner) {
        let last = pruner.at == PrunerAt::FoldLast;
        let at = if last { PrunerAt::Done } else { PrunerAt::Start };
        let mut after = *state;
        after.pruners[index] = Pruner { at, head: 0, ..pruner };
        let bit = 1 << pruner.head;
        let stale = rules.is(Weakness::StaleFold) || rules.is(Weakness::StaleFoldCreateOnly);
        if stale && pruner.head < state.log_len {
            let (number, base) = (state.log_len, pruner.head);
            let there = state.checkpoints >> number & 1 == 1;
            if there && rules.is(Weakness::StaleFoldCreateOnly) {
                self.push('P', index, "finds the checkpoint there", after);
                return;
            }
            after.checkpoints &= !(1 << number);
            after.odd = OddCheckpoint { number, base, extra: Entry::default() };
            self.push('P', index, "puts a checkpoint for the head", after);
            return;
        }
        let replaces = rules.is(Weakness::TrimReplaced);
        if state.checkpoints & bit != 0 && !rules.is(Weakness::Overwrite) && !replaces {
            self.push('P', index, "finds the checkpoint there", after);
            return;
        }
        after.checkpoints = if replaces { bit } else { state.checkpoints | bit };
        if rules.trims() {
            let mut trimmed = after;
            trimmed.trimmed = trimmed.trimmed.max(pruner.head);
            self.push('P', index, "puts the checkpoint, deletes what it covers", trimmed);
        }
        self.push('P', index, "puts the checkpoint", after);
        if state.lost > 0 {
            after.lost -= 1;
            after.pruners[index] = pruner;
            self.push('P', index, "puts the checkpoint and is not told", after);
        }
    }
}
