//! The next steps of all participants. Each operation on the store is one step, and each may end in
//! a crash or a lost acknowledgement.

use super::rules::{Rules, Weakness};
use super::search::{Found, Model};
use super::state::{Entry, PACKS_MAX, Packs, Pruner, PrunerAt, State, Writer, WriterAt};

pub use super::search::Step;

/// The steps out of one state.
pub type Steps = Found<State>;

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

impl Model for Rules {
    type State = State;

    fn start(&self) -> State {
        Rules::start(self)
    }

    fn find(&self, state: &State, steps: &mut Steps) {
        steps.find(self, state);
    }

    fn normalise(&self, state: &mut State) {
        Rules::normalise(self, state);
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        Rules::violation(self, state)
    }

    /// Only the check of checkpoints needs data that the normal form forgets.
    fn forgotten_violation(&self, state: &State) -> Option<&'static str> {
        if self.forget && state.checkpoints != 0 { Rules::violation(self, state) } else { None }
    }

    fn is_stuck(&self, state: &State) -> bool {
        state.writers.iter().any(|writer| writer.at != WriterAt::Done)
            || state.pruners.iter().any(|pruner| pruner.at != PrunerAt::Done)
    }

    fn fingerprint(&self, state: &State) -> u64 {
        state.fingerprint()
    }

    fn is_weak(&self) -> bool {
        self.weakness != Weakness::None
    }
}

impl Steps {
    fn find(&mut self, rules: &Rules, state: &State) {
        for index in 0..usize::from(rules.writers) {
            // Two equal participants have the same steps.
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

/// Applies a put of the slot after `head` to the store.
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
        // The name is free again, but no host reads this slot any more.
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
