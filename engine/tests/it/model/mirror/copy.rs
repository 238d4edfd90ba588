//! The steps of a mirror: list, copy packs and entries in groups, delete (spec section 6.7).

use super::super::search::Found;
use super::state::{Mirror, MirrorAt, OwnerAt, Packs, State, each};
use super::{Rules, Weakness};

pub fn steps(rules: &Rules, state: &State, steps: &mut Found<State>) {
    if state.mirror.at != MirrorAt::Start && state.budget.deaths > 0 {
        let mut after = *state;
        after.budget.deaths -= 1;
        after.mirror = Mirror::default();
        steps.push('M', 0, "dies", after);
    }
    // A run ends when its archive is lost; then nothing more happens until the archive comes back.
    if state.is_away {
        if state.mirror.at != MirrorAt::Start {
            steps.push('M', 0, "fails", State { mirror: Mirror::default(), ..*state });
        }
        return;
    }
    let is_alone = state.owner == OwnerAt::Idle || rules.is(Weakness::Together);
    match state.mirror.at {
        MirrorAt::Start if !is_alone => {}
        MirrorAt::Start => list(rules, state, steps),
        MirrorAt::Copy => copy(rules, state, steps),
        MirrorAt::Delete => delete(rules, state, steps),
    }
}

/// Lists both places, and plans. A plan with nothing to do is no step.
fn list(rules: &Rules, state: &State, steps: &mut Found<State>) {
    let is_new = state.to.have == 0 && state.to.present == 0;
    if is_new && !state.marked && !rules.is(Weakness::NoMark) {
        steps.push('M', 0, "marks the copy", State { marked: true, ..*state });
        return;
    }
    let is_refused = !state.marked && !rules.is(Weakness::NoMark) || !compares(state);
    if is_refused && !rules.is(Weakness::BlindMirror) {
        return;
    }
    let mirror = Mirror {
        at: MirrorAt::Copy,
        len: state.from.head() as u8,
        listed: state.from.present,
        here: state.to.present,
        first: state.to.head() as u8,
        todo: state.from.have & !state.to.have,
        skipped: 0,
    };
    let mut after = State { mirror, ..*state };
    let doomed = doomed(&after);
    if rules.is(Weakness::DeleteFirst) && doomed != 0 {
        after.mirror.at = MirrorAt::Delete;
        steps.push('M', 0, "lists, is to delete first", after);
        return;
    }
    let is_behind = state.to.head() < state.from.head() || lacking(&after, after.mirror.len) != 0;
    if is_behind || doomed != 0 {
        steps.push('M', 0, "lists", after);
    }
}

/// Returns whether the log of the copy is a part of that of the archive.
fn compares(state: &State) -> bool {
    let head = state.from.head();
    let slots = (0..state.to.log.len()).filter(|at| state.to.has(*at));
    slots.into_iter().all(|at| at < head && state.to.log[at].id == state.from.log[at].id)
}

/// Returns the packs of the entries up to `end` that the copy lacks and that the archive had when it was listed.
fn lacking(state: &State, end: u8) -> Packs {
    let alive = state.from.view(usize::from(state.mirror.len)).alive;
    let added = state.from.log[..usize::from(end)].iter().fold(0, |all, entry| all | entry.adds);
    alive & added & !state.to.present & !state.mirror.skipped
}

/// Returns the number of the last entry that must become visible together with the first one of the group.
fn end_of_group(rules: &Rules, state: &State) -> u8 {
    let Mirror { len, here, first, .. } = state.mirror;
    if rules.is(Weakness::NoGroups) {
        return (first + 1).min(len);
    }
    let gone = state.from.view(usize::from(len)).dead & !here;
    let mut open: Packs = 0;
    for at in usize::from(first)..usize::from(len) {
        let entry = state.from.log[at];
        open |= entry.adds & gone;
        open &= !entry.dead;
        if open == 0 {
            return at as u8 + 1;
        }
    }
    len
}

/// Copies the next object of the plan.
fn copy(rules: &Rules, state: &State, steps: &mut Found<State>) {
    let Mirror { len, first, .. } = state.mirror;
    let end = end_of_group(rules, state);
    let entry = entry(rules, state, end);
    let pack = each(lacking(state, end)).next();
    let is_entry_next = rules.is(Weakness::EntriesFirst) && entry.is_some();
    let mut after = *state;
    match (pack, entry) {
        (Some(pack), _) if !is_entry_next => {
            let what = if state.from.present & pack != 0 {
                after.to.present |= pack;
                "copies a pack"
            } else if rules.is(Weakness::NoSecondPlan) {
                after.mirror.skipped |= pack;
                "misses a pack, and goes on"
            } else {
                after.mirror = Mirror::default();
                "misses a pack, and is to list again"
            };
            steps.push('M', 0, what, after);
        }
        (_, Some(at)) => {
            after.mirror.todo &= !(1 << at);
            let what = if !state.to.has(at) {
                after.to.put(at, state.from.log[at]);
                "copies an entry"
            } else if state.to.log[at].id == state.from.log[at].id {
                "finds its entry there"
            } else {
                after.mirror = Mirror::default();
                "finds another entry, and ends"
            };
            steps.push('M', 0, what, after);
        }
        _ => {
            after.mirror.first = end.max(first);
            if after.mirror.first >= len {
                end_or_delete(&mut after);
                steps.push('M', 0, "has copied all", after);
            } else {
                copy(rules, &after, steps);
            }
        }
    }
}

/// Returns the next entry to copy, counted from 0.
fn entry(rules: &Rules, state: &State, end: u8) -> Option<usize> {
    let mut slots = usize::from(state.mirror.first)..usize::from(end);
    let is_todo = |at: &usize| state.mirror.todo >> at & 1 == 1;
    match rules.is(Weakness::FirstToLast) {
        true => slots.find(is_todo),
        false => slots.rev().find(is_todo),
    }
}

/// Returns the packs to delete from the copy.
fn doomed(state: &State) -> Packs {
    let Mirror { len, listed, here, .. } = state.mirror;
    state.from.view(usize::from(len)).dead & !listed & here & state.to.present
}

fn end_or_delete(state: &mut State) {
    match doomed(state) {
        0 => state.mirror = Mirror::default(),
        _ => state.mirror.at = MirrorAt::Delete,
    }
}

fn delete(rules: &Rules, state: &State, steps: &mut Found<State>) {
    let mut after = *state;
    let pack = each(doomed(state)).next().unwrap_or(0);
    after.to.present &= !pack;
    if doomed(&after) == 0 {
        after.mirror = match rules.is(Weakness::DeleteFirst) {
            true => Mirror { at: MirrorAt::Copy, ..after.mirror },
            false => Mirror::default(),
        };
    }
    steps.push('M', 0, "deletes a pack", after);
}
