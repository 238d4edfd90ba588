//! How a host interprets the log: which entries are valid, and what follows from them.

use super::rules::{Rules, Weakness};
use super::state::{By, Entry, Fake, Form, LOG_MAX, PACKS_MAX, Packs, Slots, State, each};

/// The fate of a snapshot.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Fate {
    /// There is no snapshot, or its entry is void.
    #[default]
    None,
    Visible,
    /// The snapshot is of a revoked writer, and listed as such.
    Apart,
    Dropped,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct View {
    /// Packs that have a place.
    pub placed: Packs,
    /// Packs on which no host relies any more, although they exist.
    pub untrusted: Packs,
    pub dead: Packs,
    /// Packs that a pruner may delete.
    pub deletable: Packs,
    /// Packs that the owner has made dead.
    pub dead_by_owner: Packs,
    /// Snapshots that an entry which counts has dropped.
    pub drops: Slots,
    /// Whether a setting has ended the undelete window.
    pub ended: bool,
    pub fates: [Fate; LOG_MAX + 1],
    pub needs: [Packs; LOG_MAX + 1],
    /// Snapshots that a policy ignores.
    pub shrunk: Slots,
    /// Entries that are not valid, and entries that the owner made void or dismissed.
    pub void: Slots,
    pub voided: Slots,
    pub revoked: u8,
    pub revoked_pruner: u8,
    /// Whether hosts stop here because of damage, or of something that looks like it.
    pub stopped: bool,
    /// Whether a snapshot refers to packs other than those that its writer meant.
    pub moved: bool,
    /// Packs that the credential of the first host has added.
    pub of_stolen: Packs,
    /// The entry that gave each pack its place.
    pub places: [u8; PACKS_MAX as usize],
    /// The pack with each number, if packs are numbered consecutively (a weakness).
    order: [u8; PACKS_MAX as usize],
    count: u8,
    second: bool,
}

impl View {
    /// Returns the void slots that the owner has not dismissed.
    pub fn undismissed(&self) -> Slots {
        self.void & !self.voided
    }

    /// Returns the packs that are needed by visible snapshots, and by those that are set apart.
    pub fn needed(&self, rules: &Rules) -> Packs {
        let keeps = |fate| match fate {
            Fate::Visible => true,
            Fate::Apart => !rules.is(Weakness::ApartIsDropped),
            Fate::None | Fate::Dropped => false,
        };
        let kept = self.fates.iter().zip(&self.needs).filter(|(fate, _)| keeps(**fate));
        kept.fold(0, |all, (_, needs)| all | needs)
    }

    /// Returns the packs of dropped snapshots that can be undeleted: their window is not over, and none of their packs
    /// is gone or was declared dead by the owner.
    pub fn held(&self, state: &State) -> Packs {
        let mut held = 0;
        for slot in (1..=state.log_len).filter(|slot| state.over >> slot & 1 == 0 && !self.ended) {
            let needs = self.needs[usize::from(slot)];
            let is_whole = needs & (state.gone | self.dead_by_owner | !self.placed) == 0;
            if self.fates[usize::from(slot)] == Fate::Dropped && is_whole {
                held |= needs;
            }
        }
        held
    }

    /// Returns the packs on which a new snapshot may rely.
    pub fn trusted(&self) -> Packs {
        self.placed & !self.dead & !self.untrusted
    }

    fn place(&mut self, packs: Packs, number: u8) {
        for pack in each(packs & !self.placed) {
            self.places[pack.trailing_zeros() as usize] = number;
            self.order[usize::from(self.count)] = pack.trailing_zeros() as u8;
            self.count += 1;
        }
        self.placed |= packs;
    }

    /// Encodes packs as an entry names them.
    pub fn encode(&self, rules: &Rules, packs: Packs) -> Packs {
        if !rules.is(Weakness::VoidRenumbers) {
            return packs;
        }
        let order = self.order[..usize::from(self.count)].iter().zip(0..);
        order.fold(0, |all, (pack, number)| all | (packs >> pack & 1) << number)
    }

    /// Decodes the packs that an entry names.
    fn decode(&self, rules: &Rules, packs: Packs) -> Packs {
        if !rules.is(Weakness::VoidRenumbers) {
            return packs;
        }
        let order = self.order[..usize::from(self.count)].iter().zip(0..);
        order.fold(0, |all, (pack, number)| all | (packs >> number & 1) << pack)
    }

    /// Returns this view with the packs that an entry is about to add.
    pub fn with(&self, packs: Packs) -> View {
        let mut view = *self;
        view.place(packs, 0);
        view
    }
}

impl Rules {
    /// Returns the view of a host. `knows` is whether it read the rotten entry before it rotted. It may have opened by
    /// a false checkpoint.
    pub fn view(&self, state: &State, knows: bool, fake: Fake) -> View {
        let rot = if knows { 0 } else { state.rot };
        let hidden = match fake {
            Fake::None => 0,
            Fake::Other(at) | Fake::CalledVoid(at) => at,
        };
        let mut view = View { second: self.today(), ..View::default() };
        // Statements of the owner count for the whole log, even after entries that cannot be read.
        for (number, entry) in state.slots() {
            let proven = number != hidden && entry.form == Form::Plain && entry.by == By::Owner;
            let lost = number == rot && !self.puts_twice()
                || rot > 0 && number == rot + 1 && self.is(Weakness::OwnerProvesNothing);
            if proven && !lost {
                view.voided |= entry.voids;
                view.revoked = view.revoked.max(entry.revoked);
                view.revoked_pruner = view.revoked_pruner.max(entry.revoked_pruner);
            }
        }
        for (number, entry) in state.slots() {
            let bit = 1 << number;
            let behind = state.log().get(usize::from(number));
            // With this weakness, a writer can make hosts believe that an intact slot is damaged.
            let accused = behind.is_some_and(|behind| behind.form == Form::Lie);
            view.stopped |= accused && self.is(Weakness::AnybodyProves);
            if number == hidden {
                view.void |= if matches!(fake, Fake::CalledVoid(_)) { bit } else { 0 };
            } else if number == rot {
                view.void |= bit;
                view.stopped |= behind.is_some_and(|behind| self.proves_damage(behind));
                self.apply_copy(&mut view, entry);
            } else if self.is_void(&view, number, entry, rot) {
                view.void |= bit;
                view.stopped |= self.today();
            } else if view.voided & bit == 0 {
                self.apply(&mut view, number, entry);
            } else if !self.is(Weakness::VoidDropsPacks) && !self.is(Weakness::VoidRenumbers) {
                view.place(entry.adds, number);
                view.untrusted |= entry.adds;
                self.apply_orphans(&mut view, entry);
                if entry.by == By::Stolen && !self.is(Weakness::MoveIsVoid) {
                    view.of_stolen |= entry.adds;
                }
            }
        }
        view.stopped |= state.behind > 0 && self.today();
        view
    }

    /// Returns whether the entry after a slot proves that the slot is damaged. Such an entry is signed and names
    /// another object. The entry of an honest author does so only if the slot rotted after it was written.
    fn proves_damage(&self, behind: &Entry) -> bool {
        let owner = behind.by == By::Owner && !self.is(Weakness::OwnerProvesNothing);
        let signed = matches!(behind.form, Form::Plain | Form::Lie) && behind.by != By::Stranger;
        !behind.names_rot && behind.form == Form::Plain && owner
            || self.is(Weakness::AnybodyProves) && signed && !behind.names_rot
    }

    /// Applies the second copy of an entry that rotted. Entries that remove something are put twice.
    fn apply_copy(&self, view: &mut View, entry: &Entry) {
        if self.puts_twice() && matches!(entry.by, By::Owner | By::Pruner) {
            view.second |= entry.enrols;
            view.dead |= entry.dead | entry.orphans;
            view.deletable |= entry.dead | entry.orphans;
        }
    }

    fn is_void(&self, view: &View, number: u8, entry: &Entry, rot: u8) -> bool {
        let chained = entry.form != Form::Lie && {
            // Does `previous` match the object before it?
            let rotten = rot > 0 && number == rot + 1;
            rotten == entry.names_rot || entry.by == By::Owner
        };
        let chain_counts = self.is(Weakness::MismatchIsVoid) || self.today();
        let chained = chained || !chain_counts;
        let signed = match entry.by {
            By::Stranger => self.is(Weakness::NoSignatures),
            By::Second => view.second,
            By::Renewed => view.revoked > 0,
            By::Owner => !self.is(Weakness::OwnerProvesNothing) || rot == 0 || number != rot + 1,
            By::Pruner | By::Stolen => true,
        };
        // No host can know whose upload an orphan is, so naming one counts as removing.
        let names_none = entry.orphans == 0 || self.anybody_names_orphans();
        let adds_only = entry.drops == 0 && entry.dead == 0 && entry.to == 0 && names_none;
        let may_take = adds_only || matches!(entry.by, By::Owner | By::Pruner);
        // Only the owner may name lost chunks.
        let may_lose = entry.lost == 0 || entry.by == By::Owner || self.is(Weakness::AnybodyLoses);
        let may = may_take && may_lose || self.is(Weakness::NoRights) || entry.by == By::Stranger;
        // A move that removes packs from snapshots removes them from the undelete window too.
        let only_owner = entry.ends && !self.is(Weakness::WritersEndWindow)
            || self.window && entry.to != 0 && !self.is(Weakness::WritersMove);
        let may = may && (entry.by == By::Owner || !only_owner);
        let others = self.is(Weakness::MoveIsVoid) && entry.grows & !view.of_stolen != 0;
        let twice = entry.adds & view.placed != 0;
        let orphans = entry.orphans & view.placed != 0 && !self.is(Weakness::OrphansAdded);
        // No program in the model writes a newer version, so this entry is the thief's.
        let newer = entry.form == Form::Newer && !self.is(Weakness::NewerStops);
        entry.form == Form::Nonsense
            || newer
            || !chained
            || twice
            || others
            || !self.today() && (!signed || !may || orphans)
    }

    /// Applies the orphans of an entry that is set apart. They may be deleted by now. The writer who uploaded one
    /// uploads it again.
    fn apply_orphans(&self, view: &mut View, entry: &Entry) {
        if entry.by == By::Pruner && !self.is(Weakness::OrphansRise) {
            view.dead |= entry.orphans;
            view.deletable |= entry.orphans;
        }
    }

    /// Applies a valid entry.
    fn apply(&self, view: &mut View, number: u8, entry: &Entry) {
        if entry.form == Form::Newer {
            view.stopped = true;
            return;
        }
        let is_from = |from: u8| from > 0 && number >= from;
        let revoked = match entry.by {
            By::Stolen => is_from(view.revoked),
            By::Pruner => is_from(view.revoked_pruner) && !self.is(Weakness::MarksStay),
            _ => false,
        };
        let slot = usize::from(number);
        view.place(entry.adds, number);
        view.of_stolen |= if entry.by == By::Stolen { entry.adds } else { 0 };
        view.needs[slot] = view.decode(self, entry.needs);
        view.moved |= !entry.thief && view.needs[slot] != entry.meant;
        if entry.snapshot {
            view.fates[slot] = if revoked { Fate::Apart } else { Fate::Visible };
            view.shrunk |= Slots::from(entry.shrunk) << number;
        }
        if revoked {
            view.untrusted |= if self.is(Weakness::TrustsRevoked) { 0 } else { entry.adds };
            self.apply_orphans(view, entry);
            return;
        }
        view.second |= entry.enrols;
        let dead = view.decode(self, entry.dead) & view.placed;
        let deletes = matches!(entry.by, By::Owner | By::Pruner)
            || self.today()
            || self.is(Weakness::NoRights)
            || self.is(Weakness::NoSignatures);
        view.dead |= dead | entry.orphans;
        view.deletable |= if deletes { dead | entry.orphans } else { 0 };
        view.dead_by_owner |= if entry.by == By::Owner { dead | entry.orphans } else { 0 };
        let counts = entry.by != By::Pruner || !is_from(view.revoked_pruner);
        view.drops |= if counts { entry.drops } else { 0 };
        view.ended |= entry.ends;
        if self.is(Weakness::OrphansOfAnybody) {
            view.deletable |= entry.orphans;
        }
        if entry.to != 0 {
            let keeps = |fate: &Fate| self.window && *fate == Fate::Dropped;
            let moved = view.needs.iter_mut().zip(&view.fates).filter(|(_, fate)| !keeps(fate));
            for (needs, _) in moved.filter(|(needs, _)| **needs & dead != 0) {
                *needs = *needs & !dead | entry.to;
            }
        }
        for slot in (1..slot).filter(|slot| entry.drops >> slot & 1 == 1) {
            view.fates[slot] = Fate::Dropped;
        }
        // A move that only adds affects only packs of its author.
        let others = if self.is(Weakness::GrowsOthers) { Packs::MAX } else { view.of_stolen };
        let grows = entry.grows & others;
        if grows != 0 {
            for needs in view.needs.iter_mut().filter(|needs| **needs & grows != 0) {
                *needs |= entry.adds;
            }
        }
        view.untrusted |= entry.lost;
    }
}
