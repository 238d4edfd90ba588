//! A model of a mirror: a second copy that lags, dies at any step, and is promoted while its archive is lost, comes back,
//! or was never lost (`docs/protocol.md`, "The second copy").
//!
//! The archive changes as the protocol permits, one entry at a time. How its writers and pruners agree is modelled
//! elsewhere. Here only the entries and packs that a mirror can find there matter.

mod copy;
mod owner;
mod state;

use std::fmt;

use super::search::{Found, Model, check_holds, run};
use state::{Entry, LOG_MAX, MirrorAt, Packs, Place, State};

pub(super) const HOLE: &str = "the copy shows a snapshot whose pack it does not have";
pub(super) const OTHER: &str = "the copy has another history than its archive";
pub(super) const CONFUSED: &str = "a host takes the lost archive for the promoted one";
const GONE: &str = "an acknowledged snapshot is gone";

/// A rule that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weakness {
    None,
    /// The entries of a group are copied before its packs.
    EntriesFirst,
    /// The entries of a group are copied from the first to the last.
    FirstToLast,
    /// Each entry is a group of its own, although packs that it names do not exist any more.
    NoGroups,
    /// Packs that the log has given up are deleted from the copy before its entries are copied.
    DeleteFirst,
    /// A pack that was deleted since the archive was listed is left out, and the run continues.
    NoSecondPlan,
    /// The copy has no mark, so that writers add to it.
    NoMark,
    /// A promotion removes the mark before it puts its entry.
    MarkFirst,
    /// The copy is promoted while a run copies.
    Together,
    /// A promotion puts no entry.
    NoEntry,
    /// A mirror does not compare the two logs.
    BlindMirror,
}

/// The bounds of a model.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub weakness: Weakness,
    /// Number of snapshots that writers take in the archive.
    pub snapshots: u8,
    pub drops: u8,
    pub prunes: u8,
    pub repacks: u8,
    /// How often the mirror or the promotion dies.
    pub deaths: u8,
    pub promotions: u8,
    /// How often the archive is lost or comes back.
    pub losses: u8,
    /// Number of snapshots that writers take in a copy without a mark.
    pub later: u8,
}

const BASE: Rules = Rules {
    weakness: Weakness::None,
    snapshots: 2,
    drops: 1,
    prunes: 1,
    repacks: 0,
    deaths: 1,
    promotions: 0,
    losses: 0,
    later: 0,
};

/// The archive is lost, and its copy is promoted and used.
const PROMOTED: Rules = Rules { promotions: 1, losses: 2, later: 1, ..BASE };

/// The models that every run of the tests explores.
const SMALL: [Rules; 3] = [
    Rules { deaths: 2, ..BASE },
    Rules { snapshots: 1, repacks: 1, ..BASE },
    Rules { snapshots: 1, deaths: 2, ..PROMOTED },
];

/// The models that a long run explores too.
const NIGHTLY: [Rules; 4] = [
    Rules { repacks: 1, ..BASE },
    PROMOTED,
    Rules { snapshots: 1, repacks: 1, ..PROMOTED },
    Rules { snapshots: 1, deaths: 2, promotions: 2, ..PROMOTED },
];

/// The weaker protocols with what happens, and the number of steps to it.
const WEAK: [(Weakness, &str, u32); 10] = [
    (Weakness::EntriesFirst, HOLE, 3),
    (Weakness::FirstToLast, HOLE, 5),
    (Weakness::NoGroups, HOLE, 4),
    (Weakness::DeleteFirst, HOLE, 9),
    (Weakness::NoSecondPlan, HOLE, 6),
    (Weakness::NoMark, OTHER, 4),
    (Weakness::MarkFirst, CONFUSED, 7),
    (Weakness::Together, HOLE, 11),
    (Weakness::NoEntry, CONFUSED, 7),
    (Weakness::BlindMirror, HOLE, 14),
];

#[test]
fn a_copy_is_whole_at_each_step() {
    assert!(check_holds(&SMALL) > 50_000, "the small models are not trivial");
    if std::env::var("ICECORE_MODEL").is_ok_and(|size| size == "nightly") {
        check_holds(&NIGHTLY);
    }
}

#[test]
fn each_rule_of_a_mirror_is_needed() {
    for (weakness, expected, steps) in WEAK {
        let outcome = run(&Rules { weakness, snapshots: 1, repacks: 1, ..PROMOTED });
        let found = (outcome.violation, outcome.depth);
        assert_eq!(found, (Some(expected), steps), "{weakness:?}");
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { weakness, snapshots, drops, prunes, repacks, deaths, .. } = self;
        let Rules { promotions, losses, later, .. } = self;
        write!(f, "mirror {weakness:?} {snapshots} snapshots, {drops} drops, {prunes} prunes, ")?;
        write!(f, "{repacks} repacks, {deaths} deaths, {promotions} promotions, ")?;
        write!(f, "{losses} losses, {later} later")
    }
}

impl Rules {
    fn is(&self, weakness: Weakness) -> bool {
        self.weakness == weakness
    }
}

impl Model for Rules {
    type State = State;

    /// An archive with one snapshot of one pack, and no copy.
    fn start(&self) -> State {
        let mut state = State { named: 1, ids: 1, budget: *self, ..State::default() };
        state.from.present = 1;
        state.from.have = 1;
        state.from.log[0] = Entry { id: 1, adds: 1, needs: 1, ..Entry::default() };
        state
    }

    fn find(&self, state: &State, steps: &mut Found<State>) {
        archive(state, steps);
        copy::steps(self, state, steps);
        owner::steps(self, state, steps);
    }

    fn normalise(&self, _state: &mut State) {}

    fn violation(&self, state: &State) -> Option<&'static str> {
        let State { from, to, .. } = state;
        assert_eq!(from.view(from.head()).needed() & !from.present, 0, "the archive is whole");
        let view = to.view(to.head());
        if view.needed() & !to.present != 0 {
            return Some(HOLE);
        }
        let is_same = |at: usize| to.log[at].id == from.log[at].id && at < from.head();
        if !state.is_promoted && !(0..to.head()).all(is_same) {
            return Some(OTHER);
        }
        if state.later.iter().any(|slot| *slot > 0 && !view.counts[usize::from(*slot)]) {
            return Some(GONE);
        }
        let seen = usize::from(state.seen);
        let accepts = seen > 0 && from.head() >= seen && from.log[seen - 1].id == state.seen_id;
        (accepts && !state.is_away).then_some(CONFUSED)
    }

    /// A mirror run must finish if its archive exists and does not change.
    fn is_stuck(&self, state: &State) -> bool {
        let follows = state.is_promoted || state.is_away || state.to.head() == state.from.head();
        !follows || state.mirror.at != MirrorAt::Start && !state.is_away
    }

    fn fingerprint(&self, state: &State) -> u64 {
        state.fingerprint()
    }

    fn is_weak(&self) -> bool {
        self.weakness != Weakness::None
    }
}

/// Adds a pack to a place.
fn upload(state: &mut State, place: impl Fn(&mut State) -> &mut Place) -> Packs {
    let pack = 1 << state.named;
    state.named += 1;
    place(state).present |= pack;
    pack
}

/// The steps of the writers and pruners of the archive, and its loss.
fn archive(state: &State, steps: &mut Found<State>) {
    let budget = state.budget;
    if budget.losses > 0 {
        let what = if state.is_away { "comes back" } else { "is lost" };
        let mut after = *state;
        after.budget.losses -= 1;
        after.is_away = !state.is_away;
        steps.push('A', 0, what, after);
    }
    if state.is_away {
        return;
    }
    let head = state.from.head();
    if head == LOG_MAX {
        steps.cut = true;
        return;
    }
    let view = state.from.view(head);
    if budget.snapshots > 0 {
        for old in state::each(view.alive).chain([0]) {
            let mut after = *state;
            after.budget.snapshots -= 1;
            let pack = upload(&mut after, |state| &mut state.from);
            after.append_from(Entry { adds: pack, needs: pack | old, ..Entry::default() });
            steps.push('A', 0, "takes a snapshot", after);
        }
    }
    if budget.drops > 0 {
        for slot in (1..=head).filter(|slot| view.needs[*slot] != 0) {
            let mut after = *state;
            after.budget.drops -= 1;
            after.append_from(Entry { drops: slot as u8, ..Entry::default() });
            steps.push('A', 0, "drops a snapshot", after);
        }
    }
    let unused = view.alive & !view.needed();
    if budget.prunes > 0 && unused != 0 {
        let mut after = *state;
        after.budget.prunes -= 1;
        after.append_from(Entry { dead: unused, ..Entry::default() });
        steps.push('A', 0, "tombstones packs", after);
    }
    if budget.repacks > 0 {
        for old in state::each(view.needed()) {
            let mut after = *state;
            after.budget.repacks -= 1;
            let pack = upload(&mut after, |state| &mut state.from);
            after.append_from(Entry { adds: pack, dead: old, ..Entry::default() });
            steps.push('A', 0, "repacks a pack", after);
        }
    }
    for pack in state::each(view.dead & state.from.present) {
        let mut after = *state;
        after.from.present &= !pack;
        steps.push('A', 0, "deletes a pack", after);
    }
}
