//! Brings states into a normal form, so that states are the same if no later step and no check can tell them apart.

use super::rules::Rules;
use super::state::{
    By, Entry, Fake, Form, LOG_MAX, NONSENSE, PACKS_MAX, Packs, Plan, Slots, State, Writer, each,
};
use super::view::{Fate, View};

impl Rules {
    pub(super) fn forget(&self, state: &mut State) {
        let before = *state;
        let grew = before.log().iter().any(|entry| entry.grows != 0);
        // No host uses a false checkpoint.
        state.fake = Fake::None;
        let view = self.view(state, true, Fake::None);
        for number in 1..=state.log_len {
            let entry = &mut state.log[usize::from(number) - 1];
            // If the entry that added a pack rots, another one that adds it again may become valid.
            let orphans = if self.anybody_names_orphans() { entry.orphans } else { 0 };
            let always = self.rots == 0 || (entry.adds | orphans) & view.placed == 0;
            if entry.thief && view.void >> number & 1 == 1 && always {
                *entry = NONSENSE;
            }
        }
        // Delete packs immediately. No host can see the difference, and the check that no snapshot needs them later
        // still applies.
        state.gone |= view.deletable & !view.needed(self) & state.uploaded();
        let settles = state.rots == 0 && state.rot == 0;
        if settles {
            settle(self, state, &view);
            forget_packs(state, &self.view(state, true, Fake::None));
            remove_empty(state, &view);
            revoke_late(state);
        }
        rename(state);
        // The removed entries may have prevented others from being settled.
        let grown = state.log().iter().any(|entry| entry.grows | entry.to != 0);
        if settles && (grew || grown) && *state != before {
            self.forget(state);
        }
    }
}

/// Applies the permanent effects of later entries to earlier ones.
fn settle(rules: &Rules, state: &mut State, view: &View) {
    // Moves of the thief may be revoked, so only the entries before them are settled.
    let grows = state.log().iter().position(|entry| entry.grows != 0);
    let first = grows.map_or(state.log_len, |index| index as u8);
    let settled = rules.view(&State { log_len: first, ..*state }, true, Fake::None);
    for number in 1..=state.log_len {
        let slot = usize::from(number);
        let dropped = view.fates[slot] == Fate::Dropped && state.let_go >> number & 1 == 1;
        let entry = &mut state.log[slot - 1];
        entry.names_rot = false;
        if view.void >> number & 1 == 1 {
            continue;
        }
        if entry.form == Form::Lie {
            entry.form = Form::Plain;
        }
        if dropped || entry.thief && entry.shrunk {
            (entry.snapshot, entry.shrunk, entry.whole) = (false, false, 0);
            (entry.needs, entry.meant) = (0, 0);
        } else if entry.snapshot && view.fates[slot] != Fate::None && number <= first {
            (entry.needs, entry.meant) = (settled.needs[slot], settled.needs[slot]);
        }
        entry.drops &= !state.let_go;
        if number <= first {
            entry.to = 0;
        }
    }
    state.let_go = 0;
}

/// Forgets deleted packs to which no participant refers, and packs of the thief that no entry adds.
fn forget_packs(state: &mut State, view: &View) {
    let Writer { needs, own, .. } = state.writers[0];
    let mut used = needs | own | state.writers[1].needs | state.writers[1].own;
    used |= state.plan.from | state.plan.own | state.plan.to;
    used |= state.log().iter().fold(0, |all, entry| all | entry.needs | entry.to);
    let false_packs = each(state.uploaded() & !view.placed);
    let false_packs = false_packs.filter(|pack| state.holds[pack.trailing_zeros() as usize] == 0);
    let forgotten = false_packs.fold(view.dead & state.gone, |all, pack| all | pack) & !used;
    let len = usize::from(state.log_len);
    for entry in &mut state.log[..len] {
        let Entry { adds, dead, grows, orphans, lost, .. } = entry;
        for packs in [adds, dead, grows, orphans, lost] {
            *packs &= !forgotten;
        }
        if entry.adds == 0 {
            entry.grows = 0;
        }
        if entry.dead == 0 {
            entry.to = 0;
        }
    }
    // The names of forgotten packs are never used again, so their numbers are free.
    state.gone |= forgotten;
}

/// Removes entries without effect, and the statements of the owner about them.
fn remove_empty(state: &mut State, view: &View) {
    let len = usize::from(state.log_len);
    let mut removed: Slots = 0;
    for (number, entry) in state.slots() {
        let dismissed = (view.void & view.voided) >> number & 1 == 1;
        let Entry { adds, snapshot, dead, orphans, lost, drops, voids, revoked, enrols, .. } =
            *entry;
        let packs = adds | dead | orphans | lost;
        let says = packs | drops | voids != 0 || snapshot || revoked > 0 || enrols;
        if dismissed || entry.form == Form::Plain && !says {
            removed |= 1 << number;
        }
    }
    for (entry, number) in state.log[..len].iter_mut().zip(1..) {
        entry.voids &= !removed;
        let Entry { by, voids, revoked, enrols, .. } = *entry;
        if by == By::Owner && voids == 0 && revoked == 0 && !enrols {
            removed |= 1 << number;
        }
    }
    if removed == 0 {
        return;
    }
    let moved = |number: u8| number - (removed & ((1 << number) - 1)).count_ones() as u8;
    let slots = |slots: Slots| {
        let kept = (1..16u8).filter(|number| (slots & !removed) >> number & 1 == 1);
        kept.fold(0, |all, number| all | 1 << moved(number))
    };
    let mut log = [Entry::default(); LOG_MAX];
    let mut kept = 0;
    for (number, entry) in state.slots().filter(|(number, _)| removed >> number & 1 == 0) {
        let revoked = if entry.revoked > 0 { moved(entry.revoked) } else { 0 };
        log[kept] =
            Entry { drops: slots(entry.drops), voids: slots(entry.voids), revoked, ..*entry };
        kept += 1;
        debug_assert_eq!(kept, usize::from(moved(number)));
    }
    state.log = log;
    state.log_len = kept as u8;
    if state.behind > 0 {
        state.behind = state.log_len + 2;
    }
}

/// Moves the start of a revocation to the first entry that it affects.
fn revoke_late(state: &mut State) {
    let concerns = |entry: &Entry| entry.by == By::Stolen && entry.form != Form::Nonsense;
    for own in 1..=state.log_len {
        let from = state.log[usize::from(own) - 1].revoked;
        if from > 0 {
            let first = state.slots().find(|(number, entry)| *number >= from && concerns(entry));
            let from = first.map_or(own, |(number, _)| number.min(own));
            state.log[usize::from(own) - 1].revoked = from;
        }
    }
}

/// Describes where the state names a pack. Packs with the same description are interchangeable.
fn mentions(state: &State, pack: Packs) -> u128 {
    let has = |packs: Packs| u128::from(packs & pack != 0);
    let index = pack.trailing_zeros() as usize;
    let (claims, holds) = (u128::from(state.claims[index]), u128::from(state.holds[index]));
    let mut all = 1 << 4 | claims << 2 | holds;
    for Entry { adds, needs, dead, to, grows, orphans, lost, .. } in state.log() {
        for packs in [adds, needs, dead, to, grows, orphans, lost] {
            all = all << 1 | has(*packs);
        }
    }
    for Writer { needs, own, .. } in state.writers {
        all = all << 2 | has(needs) << 1 | has(own);
    }
    let Plan { from, own, to } = state.plan;
    [from, own, to, state.gone].iter().fold(all, |all, packs| all << 1 | has(*packs))
}

/// Renumbers packs, so that their numbers do not depend on the previous ones.
fn rename(state: &mut State) {
    let mut used = state.uploaded() & !state.gone;
    for Entry { adds, needs, dead, to, grows, orphans, lost, .. } in state.log() {
        used |= adds | needs | dead | to | grows | orphans | lost;
    }
    for Writer { needs, own, .. } in state.writers {
        used |= needs | own;
    }
    used |= state.plan.from | state.plan.own | state.plan.to;
    let mut order = [(u128::MAX, 0u8); PACKS_MAX as usize];
    let mut count = 0;
    for pack in each(used) {
        order[count] = (!mentions(state, pack), pack.trailing_zeros() as u8);
        count += 1;
    }
    order[..count].sort_unstable();
    let order = order.map(|(_, pack)| pack);
    let named = count as u8;
    if named == state.named && order[..count].iter().zip(0..).all(|(old, new)| *old == new) {
        return;
    }
    let renamed = |packs: &mut Packs| {
        let places = order[..count].iter().zip(0..);
        *packs = places.fold(0, |all, (old, new)| all | (*packs >> old & 1) << new);
    };
    let len = usize::from(state.log_len);
    for entry in &mut state.log[..len] {
        let Entry { adds, needs, meant, dead, to, grows, orphans, lost, .. } = entry;
        [adds, needs, meant, dead, to, grows, orphans, lost].into_iter().for_each(renamed);
    }
    for Writer { needs, own, .. } in &mut state.writers {
        renamed(needs);
        renamed(own);
    }
    let plan = &mut state.plan;
    [&mut plan.from, &mut plan.own, &mut plan.to].into_iter().for_each(renamed);
    renamed(&mut state.gone);
    let (mut claims, mut holds) = ([0; PACKS_MAX as usize], [0; PACKS_MAX as usize]);
    for (old, new) in order[..count].iter().zip(0..) {
        claims[new] = state.claims[usize::from(*old)];
        holds[new] = state.holds[usize::from(*old)];
    }
    (state.claims, state.holds, state.named) = (claims, holds, named);
}
