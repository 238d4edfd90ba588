//! Every next step of everybody: each operation on the store is one step, and a crash or a lost
//! acknowledgement may come at each.

use super::rules::{Rules, Weakness};
use super::state::{Entry, PACKS_MAX, Packs, Pruner, State, Writer};

/// What somebody does, for the trace.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub who: char,
    pub index: usize,
    pub what: &'static str,
    /// What follows without another change of the store.
    pub then: &'static str,
}

/// The steps out of one state.
#[derive(Default)]
pub struct Steps {
    pub found: Vec<(Step, State)>,
    /// A step was left out because the model has no room for another entry or pack.
    pub cut: bool,
}

#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and a box would cost time")]
pub(super) enum Put {
    Created(State, u8),
    Taken,
    Full,
}

/// Lists the packs of a set one by one.
pub(super) fn each(packs: Packs) -> impl Iterator<Item = Packs> {
    (0..PACKS_MAX).map(|n| 1 << n).filter(move |pack| packs & pack != 0)
}

impl Steps {
    /// Finds all steps out of `state`.
    pub fn find(&mut self, rules: &Rules, state: &State) {
        self.found.clear();
        self.cut = false;
        for index in 0..usize::from(rules.writers) {
            // Two that are alike have the same steps.
            let writer = state.writers[index];
            if index == 0 || writer != state.writers[index - 1] {
                self.writer(rules, state, index, writer);
            }
        }
        for index in 0..usize::from(rules.pruners) {
            let pruner = state.pruners[index];
            if index == 0 || pruner != state.pruners[index - 1] {
                self.pruner(rules, state, index, pruner);
            }
        }
    }

    pub(super) fn push(&mut self, who: char, index: usize, what: &'static str, state: State) {
        self.found.push((Step { who, index, what, then: "" }, state));
    }

    pub(super) fn push_writer(
        &mut self,
        from: &State,
        index: usize,
        what: &'static str,
        writer: Writer,
    ) {
        let mut state = *from;
        state.writers[index] = writer;
        self.push('W', index, what, state);
    }

    pub(super) fn push_pruner(
        &mut self,
        from: &State,
        index: usize,
        what: &'static str,
        pruner: Pruner,
    ) {
        let mut state = *from;
        state.pruners[index] = pruner;
        self.push('P', index, what, state);
    }
}

/// A put of the slot after `head` arrives at the store.
pub(super) fn put(rules: &Rules, state: &State, head: u8, stored: u8, entry: Entry) -> Put {
    let mut after = *state;
    if rules.is(Weakness::NoCreateOnly) && head < state.log_len {
        after.log[usize::from(head)] = entry;
        let bit = 1 << (head + 1);
        after.gone |= after.acknowledged & bit != 0;
        after.acknowledged &= !bit;
        return Put::Created(after, head + 1);
    }
    if head < state.trimmed {
        // The name is free again, and nobody reads it any more.
        after.gone |= entry.needs != 0 && stored != head + 1;
        return Put::Created(after, head + 1);
    }
    if head != state.log_len && !rules.blind() {
        return Put::Taken;
    }
    match rules.append(&mut after, entry) {
        Some(number) => Put::Created(after, number),
        None => Put::Full,
    }
}
