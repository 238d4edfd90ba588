//! The finite list of things that the thief may put. The thief has the credential of the first host, knows everything
//! in the store, and may create any object, but cannot replace or delete one.

use super::rules::{Rules, Weakness};
use super::state::{BOTH, By, Entry, Fake, Form, NONSENSE, OLD, Packs, Slots, State, each};
use super::view::Fate;
use crate::model::search::Found;

/// One item of the menu.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// Drops every snapshot, and tombstones every pack.
    Wipe,
    Drop,
    Tombstone,
    /// A pack with wrong contents, a move of a pack to it, and its tombstone.
    FalseMove,
    /// An empty snapshot.
    EmptySnapshot,
    /// A snapshot that claims to contain everything.
    PlausibleSnapshot,
    /// A pack whose table names chunks that it does not have.
    Poison,
    /// A pack with a false table, and a move that only adds: snapshots that need any pack also need this one.
    Grow,
    /// Adds a pack that another host has uploaded and not committed.
    FrontRun,
    /// Names such a pack as an orphan.
    Orphan,
    /// Names a pack that an entry has added as an orphan.
    OrphanAdded,
    /// Names every chunk of every pack as lost.
    Lost,
    Nonsense,
    /// The wipe, signed with an unknown key.
    Stranger,
    /// An entry with a false `previous`.
    Lie,
    AddTwice,
    Newer,
    BehindGap,
    /// A checkpoint with a false entry.
    CheckpointOther,
    /// A checkpoint that calls an entry void, with the true hash of the entry.
    CheckpointVoid,
    /// The wipe, signed with the credential of the pruner.
    PrunerWipe,
    PrunerDrop,
    PrunerTombstone,
    /// The false move, signed with the credential of the pruner.
    PrunerMove,
    /// The wipe of the pruner, with the setting that there is no undelete window.
    PrunerEnd,
    /// Names what other hosts have uploaded and not committed as orphans.
    PrunerOrphan,
}

impl Item {
    /// What a thief who has robbed the pruner puts.
    pub const OF_PRUNER: u32 = Item::PrunerWipe.bit()
        | Item::PrunerDrop.bit()
        | Item::PrunerTombstone.bit()
        | Item::PrunerMove.bit()
        | Item::PrunerEnd.bit()
        | Item::PrunerOrphan.bit();

    pub const ALL: [Item; 26] = [
        Item::Wipe,
        Item::Drop,
        Item::Tombstone,
        Item::FalseMove,
        Item::EmptySnapshot,
        Item::PlausibleSnapshot,
        Item::Poison,
        Item::Grow,
        Item::FrontRun,
        Item::Orphan,
        Item::OrphanAdded,
        Item::Lost,
        Item::Nonsense,
        Item::Stranger,
        Item::Lie,
        Item::AddTwice,
        Item::Newer,
        Item::BehindGap,
        Item::CheckpointOther,
        Item::CheckpointVoid,
        Item::PrunerWipe,
        Item::PrunerDrop,
        Item::PrunerTombstone,
        Item::PrunerMove,
        Item::PrunerEnd,
        Item::PrunerOrphan,
    ];

    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Rules {
    pub(super) fn thief_steps(&self, state: &State, steps: &mut Found<State>) {
        if state.entries == 0 {
            return;
        }
        let state = State { entries: state.entries - 1, ..*state };
        for item in Item::ALL {
            if self.menu & item.bit() != 0 {
                self.serve(&state, item, steps);
            }
        }
    }

    fn serve(&self, state: &State, item: Item, steps: &mut Found<State>) {
        let view = self.view(state, true, Fake::None);
        let by = if Item::OF_PRUNER & item.bit() == 0 { By::Stolen } else { By::Pruner };
        let says = Entry { by, thief: true, ..Entry::default() };
        let snapshots: Slots = (1..=state.log_len)
            .filter(|slot| view.fates[usize::from(*slot)] == Fate::Visible)
            .fold(0, |all, slot| all | 1 << slot);
        let alive = view.placed & !view.dead;
        let mut put = |state: &State, what: &'static str, entry: Entry| {
            let mut after = *state;
            match after.append(entry, true) {
                Some(_) => steps.push('T', 0, what, after),
                None => steps.cut = true,
            }
        };
        // Includes packs that are deleted by now, because the thief remembers the names.
        let genuine = |pack: &Packs| state.holds[pack.trailing_zeros() as usize] != 0;
        let not_added = each(state.uploaded() & !view.placed).filter(genuine);
        let not_added = not_added.fold(0, |all, pack| all | pack);
        match item {
            Item::Wipe | Item::Stranger | Item::PrunerWipe | Item::PrunerEnd => {
                let by = if item == Item::Stranger { By::Stranger } else { by };
                let ends = item == Item::PrunerEnd;
                let dead = view.encode(self, alive);
                put(
                    state,
                    "drops and tombstones all",
                    Entry { by, drops: snapshots, dead, ends, ..says },
                );
            }
            Item::Drop | Item::PrunerDrop => {
                put(state, "drops all snapshots", Entry { drops: snapshots, ..says })
            }
            Item::Tombstone | Item::PrunerTombstone => {
                let dead = view.encode(self, alive);
                put(state, "tombstones all packs", Entry { dead, ..says });
            }
            Item::FalseMove | Item::PrunerMove => {
                for from in each(alive & view.needed(self)) {
                    let mut after = *state;
                    let claims = state.claimed(from);
                    let Some(to) = after.upload(claims, 0) else {
                        steps.cut = true;
                        return;
                    };
                    let dead = view.with(to).encode(self, from);
                    let entry = Entry { adds: to, dead, to, ..says };
                    match after.append(entry, true) {
                        Some(_) => steps.push('T', 0, "moves a pack to a false one", after),
                        None => steps.cut = true,
                    }
                }
            }
            Item::EmptySnapshot => {
                let entry = Entry { snapshot: true, shrunk: true, ..says };
                put(state, "adds an empty snapshot", entry);
            }
            Item::PlausibleSnapshot => {
                let mut after = *state;
                let Some(pack) = after.upload(OLD, 0) else {
                    steps.cut = true;
                    return;
                };
                let needs = view.with(pack).encode(self, pack);
                let entry = Entry { adds: pack, snapshot: true, needs, meant: pack, ..says };
                put(&after, "adds a snapshot that looks whole", entry);
            }
            Item::Poison => {
                let mut after = *state;
                match after.upload(BOTH, 0) {
                    Some(pack) => {
                        put(&after, "adds a pack that lies", Entry { adds: pack, ..says })
                    }
                    None => steps.cut = true,
                }
            }
            Item::Grow => {
                let own =
                    if self.is(Weakness::GrowsOthers) { alive } else { alive & view.of_stolen };
                let mut after = *state;
                match after.upload(BOTH, 0) {
                    Some(adds) => {
                        put(&after, "moves to more packs", Entry { adds, grows: own, ..says });
                    }
                    None => steps.cut = true,
                }
            }
            Item::FrontRun => {
                for pack in each(not_added) {
                    put(state, "adds the pack of another", Entry { adds: pack, ..says });
                }
            }
            Item::Orphan | Item::PrunerOrphan => {
                for pack in each(not_added & !view.dead) {
                    let entry = Entry { orphans: pack, ..says };
                    put(state, "calls the pack of another an orphan", entry);
                }
            }
            Item::OrphanAdded => {
                let entry = Entry { orphans: alive, ..says };
                put(state, "calls all packs orphans", entry);
            }
            Item::Lost => put(state, "calls all lost", Entry { lost: alive, ..says }),
            Item::Nonsense => put(state, "puts nonsense", NONSENSE),
            Item::Lie => {
                put(state, "lies about the slot before", Entry { form: Form::Lie, ..says })
            }
            Item::AddTwice => {
                for pack in each(alive) {
                    put(state, "adds a pack twice", Entry { adds: pack, ..says });
                }
            }
            Item::Newer => {
                put(state, "puts an entry of version 9", Entry { form: Form::Newer, ..says });
            }
            Item::BehindGap => {
                if state.behind == 0 {
                    let after = State { behind: state.log_len + 2, ..*state };
                    steps.push('T', 0, "puts an object behind a gap", after);
                }
            }
            Item::CheckpointOther | Item::CheckpointVoid => {
                self.serve_checkpoint(state, item, steps);
            }
        }
    }

    /// Puts a false checkpoint, which hides one genuine entry.
    fn serve_checkpoint(&self, state: &State, item: Item, steps: &mut Found<State>) {
        if state.fake != Fake::None {
            return;
        }
        for (number, _) in state.slots().filter(|(_, entry)| !entry.thief) {
            let fake = match item {
                Item::CheckpointVoid => Fake::CalledVoid(number),
                _ => Fake::Other(number),
            };
            steps.push('T', 0, "puts a false checkpoint", State { fake, ..*state });
        }
    }
}
