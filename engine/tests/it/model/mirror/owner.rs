//! The steps of a promotion, and of hosts that use a promoted copy.

use super::super::search::Found;
use super::state::{Entry, LOG_MAX, MirrorAt, OwnerAt, State, each};
use super::{Rules, Weakness, upload};

pub fn steps(rules: &Rules, state: &State, steps: &mut Found<State>) {
    if state.owner != OwnerAt::Idle && state.budget.deaths > 0 {
        let mut after = *state;
        after.budget.deaths -= 1;
        after.owner = OwnerAt::Idle;
        steps.push('O', 0, "dies", after);
    }
    promotion(rules, state, steps);
    let is_used = !state.marked && state.to.have & 1 == 1;
    if is_used && state.is_promoted && (state.seen, state.seen_id) != state.to.last() {
        let mut after = *state;
        (after.seen, after.seen_id) = state.to.last();
        steps.push('H', 0, "reads the promoted copy", after);
    }
    if is_used && state.budget.later > 0 {
        snapshot(state, steps);
    }
}

fn promotion(rules: &Rules, state: &State, steps: &mut Found<State>) {
    let mut after = *state;
    // The owner stops the runs that copy.
    let is_alone = state.mirror.at == MirrorAt::Start || rules.is(Weakness::Together);
    match state.owner {
        OwnerAt::Idle if !is_alone => {}
        OwnerAt::Idle if state.budget.promotions > 0 && state.marked && state.to.have & 1 == 1 => {
            after.budget.promotions -= 1;
            after.owner = OwnerAt::Clean;
            let what = match rules.weakness {
                Weakness::NoEntry => {
                    (after.marked, after.owner) = (false, OwnerAt::Idle);
                    after.is_promoted = true;
                    "removes the mark"
                }
                Weakness::MarkFirst => {
                    (after.marked, after.owner) = (false, OwnerAt::Put);
                    after.is_promoted = true;
                    "removes the mark"
                }
                _ => "begins a promotion",
            };
            steps.push('O', 0, what, after);
        }
        OwnerAt::Idle => {}
        OwnerAt::Clean => {
            let head = state.to.head();
            match (head..LOG_MAX).find(|at| state.to.has(*at)) {
                Some(at) => {
                    after.to.remove(at);
                    steps.push('O', 0, "deletes an entry after a gap", after);
                }
                None => put(state, OwnerAt::Unmark, steps),
            }
        }
        OwnerAt::Put => put(state, OwnerAt::Idle, steps),
        OwnerAt::Unmark => {
            (after.marked, after.owner) = (false, OwnerAt::Idle);
            steps.push('O', 0, "removes the mark", after);
        }
    }
}

/// Puts the entry of the promotion after the last one. If the slot is lost, the log is read again, so that the two are
/// one step.
fn put(state: &State, then: OwnerAt, steps: &mut Found<State>) {
    if state.to.head() == LOG_MAX {
        steps.cut = true;
        return;
    }
    let mut after = *state;
    after.append_to(Entry::default());
    (after.owner, after.is_promoted) = (then, true);
    steps.push('O', 0, "puts the entry of the promotion", after);
}

/// Takes a snapshot in a copy without a mark.
fn snapshot(state: &State, steps: &mut Found<State>) {
    if state.to.head() == LOG_MAX {
        steps.cut = true;
        return;
    }
    let view = state.to.view(state.to.head());
    for old in each(view.alive).chain([0]) {
        let mut after = *state;
        after.budget.later -= 1;
        let pack = upload(&mut after, |state| &mut state.to);
        let entry = Entry { adds: pack, needs: pack | old, ..Entry::default() };
        let slot = after.append_to(entry);
        let free = after.later.iter_mut().find(|later| **later == 0);
        *free.expect("the bound is small") = slot;
        steps.push('N', 0, "takes a snapshot in the copy", after);
    }
}
