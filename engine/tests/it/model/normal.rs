//! Brings states into a normal form, so that states which do not differ in a relevant way are explored once.
//!
//! Each rule renames something, or forgets a difference that no later step and no check can detect.

use super::rules::{Rules, Weakness};
use super::state::{Entry, LOG_MAX, PACKS_MAX, Packs, Pruner, PrunerAt, State, Writer, WriterAt};

impl Rules {
    pub fn normalise(&self, state: &mut State) {
        if !self.trims() && !self.is(Weakness::NoCreateOnly) && !self.blind() {
            forget_lost_slots(state);
        }
        if self.forget {
            // Checkpoints were checked when they were put. From then on, hosts that opened by one see the same as
            // others.
            state.checkpoints = 0;
            self.delete_at_once(state);
            forget_looks(state);
            self.forget_plans(state);
            let kept = self.forget_past(state);
            self.forget_gone(state, kept);
            if rename(state, kept) {
                self.forget_past(state);
            }
        }
        // The order of equal participants makes no difference.
        state.writers[..usize::from(self.writers)].sort_unstable();
        state.pruners[..usize::from(self.pruners)].sort_unstable();
    }

    /// Rewrites the entries up to the first one to which a fold in progress refers. Keeps the packs ever added, all
    /// tombstones, and the live snapshots. A catalog may have any age, but it only shows a writer which packs were once
    /// alive. Returns the number of rewritten entries.
    fn forget_past(&self, state: &mut State) -> usize {
        let folds = |pruner: &Pruner| matches!(pruner.at, PrunerAt::Fold | PrunerAt::FoldLast);
        let folding = state.pruners.iter().filter(|pruner| folds(pruner)).map(|pruner| pruner.head);
        let kept = folding.fold(state.log_len, u8::min);
        let past = &state.log[..usize::from(kept)];
        let view = self.view(past);
        let ever = past.iter().fold(0, |ever, entry| ever | entry.adds);
        let mut log = [Entry::default(); LOG_MAX];
        log[0].adds = ever;
        log[1].dead = view.dead;
        let mut len = 2;
        let mut alive = [(Packs::MAX, 0, 0); LOG_MAX];
        for slot in (1..=usize::from(kept)).filter(|slot| view.needs[*slot] != 0) {
            alive[len - 2] = (view.needs[slot], aims(state, slot), slot);
            len += 1;
        }
        alive[..len - 2].sort_unstable();
        let mut slots = [0; LOG_MAX + 1];
        for ((needs, _, slot), index) in alive[..len - 2].iter().zip(2..) {
            log[index].needs = *needs;
            slots[*slot] = index as u8 + 1;
        }
        let rewritten = len as u8;
        for (slot, number) in slots.iter_mut().zip(0..).skip(usize::from(kept) + 1) {
            *slot = number + rewritten - kept;
        }
        for entry in &state.log[usize::from(kept)..usize::from(state.log_len)] {
            log[len] = Entry { drops: slots[usize::from(entry.drops)], ..*entry };
            len += 1;
        }
        state.log = log;
        state.log_len = len as u8;
        let moved = |head: &mut u8, stored: &mut u8| {
            let old = *head;
            *head = if old < kept { 0 } else { old + rewritten - kept };
            if *stored == old + 1 {
                *stored = *head + 1;
            }
        };
        for writer in &mut state.writers {
            moved(&mut writer.head, &mut writer.stored);
        }
        for pruner in &mut state.pruners {
            moved(&mut pruner.head, &mut pruner.stored);
            if pruner.head == state.log_len {
                pruner.drops = slots[usize::from(pruner.drops)];
            }
            let drops = &mut pruner.flight.entry.drops;
            *drops = slots[usize::from(*drops)];
            let mut plan = 0;
            for (new, bit) in slots[1..].iter().zip(0..) {
                if pruner.plan >> bit & 1 == 1 && *new > 0 {
                    plan |= 1 << (new - 1);
                }
            }
            pruner.plan = plan;
        }
        usize::from(rewritten)
    }

    /// Deletes packs as soon as the entry that tombstones them is committed. No writer can see the difference. The
    /// check that no snapshot needs such a pack later also covers slower pruners.
    fn delete_at_once(&self, state: &mut State) {
        let dead = self.view(state.log()).dead;
        state.present &= !dead;
        for pruner in &mut state.pruners {
            if pruner.at == PrunerAt::Delete {
                pruner.dead &= !dead;
            }
        }
    }

    /// Cancels plans for dead packs, and removes dropped snapshots from plans.
    fn forget_plans(&self, state: &mut State) {
        if state.pruners.iter().all(|pruner| pruner.from == 0) {
            return;
        }
        let view = self.view(state.log());
        for pruner in &mut state.pruners {
            pruner.from &= view.alive;
            pruner.plan &= view.needing(pruner.from);
        }
    }

    /// Forgets all but one of the packs that died in the first `kept` entries. A stale catalog may name one of them,
    /// and it makes no difference which.
    fn forget_gone(&self, state: &mut State, kept: usize) {
        let dead = self.view(state.log()).dead;
        let mut used = state.present;
        for entry in &state.log()[kept..] {
            used |= entry.adds | entry.needs | entry.dead;
        }
        let added = state.log().iter().fold(0, |added, entry| added | entry.adds);
        let once = dead & added;
        let read = once & used;
        let mut choice = if read != 0 { read } else { once };
        // If packs differ, the choice must not depend on their names.
        for entry in state.log()[kept..].iter().rev() {
            for packs in [entry.dead, entry.adds, entry.needs] {
                if choice & packs != 0 {
                    choice &= packs;
                }
            }
        }
        let one = choice & choice.wrapping_neg();
        for writer in &mut state.writers {
            writer.own &= !added;
            if writer.at == WriterAt::Put && writer.stored > 0 {
                writer.needs = 0;
            }
            if writer.needs & once != 0 {
                writer.needs = writer.needs & !once | one;
            }
            used |= writer.needs | writer.own;
            used |= writer.flight.entry.adds | writer.flight.entry.needs;
        }
        for Pruner { dead, own, from, flight, .. } in state.pruners {
            used |= dead | own | from | flight.entry.adds | flight.entry.dead;
        }
        let gone = dead & !used & !one;
        state.log[0].adds &= !gone;
        state.log[1].dead &= !gone;
    }
}

/// Forgets entries that were composed for a lost slot, because they are composed again, and the content of committed
/// entries that their authors still have to look for.
fn forget_lost_slots(state: &mut State) {
    let lost = |head, stored| head != state.log_len && stored != head + 1;
    for writer in &mut state.writers {
        if lost(writer.head, writer.stored) {
            writer.head = 0;
            writer.stored = 0;
        }
    }
    for pruner in &mut state.pruners {
        if !matches!(pruner.at, PrunerAt::Put | PrunerAt::Look) {
            continue;
        }
        if lost(pruner.head, pruner.stored) {
            let Pruner { own, from, plan, known, .. } = *pruner;
            let (at, drops) = (PrunerAt::Put, pruner.drops.min(1));
            *pruner = Pruner { at, drops, own, from, plan, known, ..Pruner::default() };
        } else if pruner.stored > 0 {
            let Pruner { at, head, stored, .. } = *pruner;
            *pruner = Pruner { at, head, stored, ..Pruner::default() };
        }
    }
}

/// Lets participants put again instead of looking at the slot. If the slot is taken, they look then.
fn forget_looks(state: &mut State) {
    for writer in &mut state.writers {
        writer.at = match writer.at {
            WriterAt::Look => WriterAt::Put,
            WriterAt::LookPacks => WriterAt::PutPacks,
            at => at,
        };
    }
    for pruner in &mut state.pruners {
        if pruner.at == PrunerAt::Look {
            pruner.at = PrunerAt::Put;
        }
    }
}

/// Mixes the bits of a word.
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word ^ word >> 32).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Describes how plans and drops refer to a snapshot, regardless of who makes them.
fn aims(state: &State, slot: usize) -> u64 {
    let mut sum = 0u64;
    for Pruner { at, own, plan, drops, flight, .. } in state.pruners {
        let planned = plan >> (slot - 1) & 1 == 1;
        let dropped = [drops, flight.entry.drops].map(|drops| usize::from(drops) == slot);
        let kinds = [planned, dropped[0], dropped[1]].map(u64::from);
        if kinds != [0; 3] {
            let kinds = kinds[0] | kinds[1] << 1 | kinds[2] << 2;
            let word = at as u64 | u64::from(own != 0) << 8 | u64::from(plan.count_ones()) << 16;
            sum = sum.wrapping_add(mix(word | kinds << 24 | 1 << 42));
        }
    }
    // Entries that drop a snapshot are numbered from the end, because those before them may be rewritten.
    for (entry, age) in state.log().iter().rev().zip(1..) {
        if usize::from(entry.drops) == slot {
            sum = sum.wrapping_add(mix(age | 1 << 43));
        }
    }
    sum
}

/// Describes how a state refers to a pack, regardless of the pack's name and of the order of participants.
fn signature(state: &State, kept: usize, pack: Packs) -> u64 {
    let has = |packs: Packs| u64::from(packs & pack != 0);
    let flight = |entry: Entry| has(entry.adds) | has(entry.needs) << 1 | has(entry.dead) << 2;
    let mut sum = has(state.present);
    for (entry, slot) in state.log().iter().zip(1..) {
        // In the rewritten part, the order of snapshots depends on names, so it is ignored.
        let number = if slot > 2 && slot <= kept { 0 } else { slot as u64 };
        let size = u64::from(entry.needs.count_ones());
        let aims = if entry.needs == 0 { 0 } else { aims(state, slot) };
        let word = flight(*entry);
        if word != 0 {
            sum = sum.wrapping_add(mix(aims ^ (word << 16 | number << 8 | size << 3 | 1)));
        }
    }
    for writer in &state.writers {
        let word = has(writer.needs) | has(writer.own) << 1 | flight(writer.flight.entry) << 2;
        let at = (writer.at as u64) << 8 | u64::from(writer.head) << 16;
        let sizes = u64::from(writer.needs.count_ones() << 4 | writer.own.count_ones()) << 24;
        sum = sum.wrapping_add(mix(word | at | sizes | 1 << 40));
    }
    for pruner in &state.pruners {
        let plan = has(pruner.own) | has(pruner.from) << 1;
        let plan = plan | u64::from(pruner.plan.count_ones()) << 44;
        let word = has(pruner.dead) | flight(pruner.flight.entry) << 2 | plan << 5;
        let at = (pruner.at as u64) << 8 | u64::from(pruner.head) << 16;
        sum = sum.wrapping_add(mix(word | at | 1 << 41));
    }
    sum
}

/// Renames packs. The new names do not depend on the old ones if the packs differ. Returns whether a name changed.
fn rename(state: &mut State, kept: usize) -> bool {
    let mut all = state.present;
    for entry in state.log() {
        all |= entry.adds | entry.needs | entry.dead;
    }
    for Writer { needs, own, flight, .. } in state.writers {
        all |= needs | own | flight.entry.adds | flight.entry.needs;
    }
    for Pruner { dead, own, from, flight, .. } in state.pruners {
        all |= dead | own | from | flight.entry.adds | flight.entry.dead;
    }
    let mut order = [(u64::MAX, 0u8); PACKS_MAX as usize];
    let mut count = 0;
    for pack in (0..PACKS_MAX).filter(|pack| all >> pack & 1 == 1) {
        order[count] = (signature(state, kept, 1 << pack), pack);
        count += 1;
    }
    state.named = count as u8;
    order[..count].sort_unstable();
    if order[..count].iter().zip(0..).all(|((_, pack), name)| *pack == name) {
        return false;
    }
    let mut names = [0; PACKS_MAX as usize];
    for ((_, pack), name) in order[..count].iter().zip(0..) {
        names[usize::from(*pack)] = 1 << name;
    }
    let renamed = |packs: &mut Packs| {
        let (mut left, mut new) = (*packs, 0);
        while left != 0 {
            new |= names[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        *packs = new;
    };
    let entry_renamed = |entry: &mut Entry| {
        renamed(&mut entry.adds);
        renamed(&mut entry.needs);
        renamed(&mut entry.dead);
    };
    renamed(&mut state.present);
    let len = usize::from(state.log_len);
    state.log[..len].iter_mut().for_each(entry_renamed);
    for writer in &mut state.writers {
        renamed(&mut writer.needs);
        renamed(&mut writer.own);
        entry_renamed(&mut writer.flight.entry);
    }
    for pruner in &mut state.pruners {
        renamed(&mut pruner.dead);
        renamed(&mut pruner.own);
        renamed(&mut pruner.from);
        entry_renamed(&mut pruner.flight.entry);
    }
    true
}
