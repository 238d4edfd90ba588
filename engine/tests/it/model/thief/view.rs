//! What a host makes of the log: who may say what, what is void, and what follows from it.

use super::rules::{Rules, Weakness};
use super::state::{By, Entry, Fake, Form, LOG_MAX, PACKS_MAX, Packs, Slots, State, each};

/// What has become of a snapshot.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Fate {
    /// There is none, or its entry is void.
    #[default]
    None,
    Visible,
    /// Of a revoked writer: listed as such.
    Apart,
    Dropped,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct View {
    /// Packs that have a place.
    pub placed: Packs,
    /// Packs on which nobody counts any more, though they are there.
    pub untrusted: Packs,
    pub dead: Packs,
    /// What a pruner may delete.
    pub deletable: Packs,
    pub fates: [Fate; LOG_MAX + 1],
    pub needs: [Packs; LOG_MAX + 1],
    /// Snapshots of which a policy takes no notice.
    pub shrunk: Slots,
    /// Entries that are not valid, and those that the owner made void or dismissed.
    pub void: Slots,
    pub voided: Slots,
    pub revoked: u8,
    /// Nobody goes on here: damage, or what is taken for it.
    pub stopped: bool,
    /// A snapshot means other packs than its writer did.
    pub moved: bool,
    /// Packs that the credential of the first host has added.
    pub of_stolen: Packs,
    /// The entry that gave each pack its place.
    pub places: [u8; PACKS_MAX as usize],
    /// Where packs are numbered one after the other (a weakness): the pack of each number.
    order: [u8; PACKS_MAX as usize],
    count: u8,
    second: bool,
}

impl View {
    /// Void slots that the owner has not dismissed.
    pub fn undismissed(&self) -> Slots {
        self.void & !self.voided
    }

    /// What snapshots need that stand, those set apart included.
    pub fn needed(&self, rules: &Rules) -> Packs {
        let keeps = |fate| match fate {
            Fate::Visible => true,
            Fate::Apart => !rules.is(Weakness::ApartIsDropped),
            Fate::None | Fate::Dropped => false,
        };
        let kept = self.fates.iter().zip(&self.needs).filter(|(fate, _)| keeps(**fate));
        kept.fold(0, |all, (_, needs)| all | needs)
    }

    /// Packs on which a new snapshot may count.
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

    /// Writes packs as an entry names them.
    pub fn encode(&self, rules: &Rules, packs: Packs) -> Packs {
        if !rules.is(Weakness::VoidRenumbers) {
            return packs;
        }
        let order = self.order[..usize::from(self.count)].iter().zip(0..);
        order.fold(0, |all, (pack, number)| all | (packs >> pack & 1) << number)
    }

    /// Reads the packs that an entry names.
    fn decode(&self, rules: &Rules, packs: Packs) -> Packs {
        if !rules.is(Weakness::VoidRenumbers) {
            return packs;
        }
        let order = self.order[..usize::from(self.count)].iter().zip(0..);
        order.fold(0, |all, (pack, number)| all | (packs >> number & 1) << pack)
    }

    /// Returns this with packs that an entry is about to add.
    pub fn with(&self, packs: Packs) -> View {
        let mut view = *self;
        view.place(packs, 0);
        view
    }
}

impl Rules {
    /// Returns what a host makes of the log that knows what rotted, or does not, and that may have
    /// opened by a false checkpoint.
    pub fn view(&self, state: &State, knows: bool, fake: Fake) -> View {
        let rot = if knows { 0 } else { state.rot };
        let hidden = match fake {
            Fake::None => 0,
            Fake::Other(at) | Fake::CalledVoid(at) => at,
        };
        let mut view = View { second: self.today(), ..View::default() };
        // What the owner says counts for the whole log, also behind what nobody understands.
        for (number, entry) in state.slots() {
            let proven = number != hidden && entry.form == Form::Plain && entry.by == By::Owner;
            let lost = number == rot && !self.puts_twice()
                || rot > 0 && number == rot + 1 && self.is(Weakness::OwnerProvesNothing);
            if proven && !lost {
                view.voided |= entry.voids;
                view.revoked = view.revoked.max(entry.revoked);
            }
        }
        for (number, entry) in state.slots() {
            let bit = 1 << number;
            let behind = state.log().get(usize::from(number));
            // Whoever is believed by anybody proves damage where there is none.
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
                if entry.by == By::Stolen && !self.is(Weakness::MoveIsVoid) {
                    view.of_stolen |= entry.adds;
                }
            }
        }
        view.stopped |= state.behind > 0 && self.today();
        view
    }

    /// Whether what follows a slot proves that something else was there. What does so is signed and
    /// names another object; by the store that is searched here, an honest one does only if the slot rotted.
    fn proves_damage(&self, behind: &Entry) -> bool {
        let owner = behind.by == By::Owner && !self.is(Weakness::OwnerProvesNothing);
        let signed = matches!(behind.form, Form::Plain | Form::Lie) && behind.by != By::Stranger;
        !behind.names_rot && behind.form == Form::Plain && owner
            || self.is(Weakness::AnybodyProves) && signed && !behind.names_rot
    }

    /// What is put a second time holds though the first rots: all that takes away.
    fn apply_copy(&self, view: &mut View, entry: &Entry) {
        if self.puts_twice() && matches!(entry.by, By::Owner | By::Pruner) {
            view.second |= entry.enrols;
            view.dead |= entry.dead | entry.orphans;
            view.deletable |= entry.dead | entry.orphans;
        }
    }

    fn is_void(&self, view: &View, number: u8, entry: &Entry, rot: u8) -> bool {
        let chained = entry.form != Form::Lie && {
            // The object before is what it names?
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
        // Nobody can tell whose upload an orphan is: to name one is to take away.
        let names_none = entry.orphans == 0 || self.anybody_names_orphans();
        let adds_only = entry.drops == 0 && entry.dead == 0 && entry.to == 0 && names_none;
        let may_take = adds_only || matches!(entry.by, By::Owner | By::Pruner);
        // That chunks are lost says the owner alone.
        let may_lose = entry.lost == 0 || entry.by == By::Owner || self.is(Weakness::AnybodyLoses);
        let may = may_take && may_lose || self.is(Weakness::NoRights) || entry.by == By::Stranger;
        let others = self.is(Weakness::MoveIsVoid) && entry.grows & !view.of_stolen != 0;
        let twice = entry.adds & view.placed != 0;
        let orphans = entry.orphans & view.placed != 0 && !self.is(Weakness::OrphansAdded);
        // Of a newer version; no program in the model writes one, so that this is the thief's.
        let newer = entry.form == Form::Newer && !self.is(Weakness::NewerStops);
        entry.form == Form::Nonsense
            || newer
            || !chained
            || twice
            || others
            || !self.today() && (!signed || !may || orphans)
    }

    /// Takes in a valid entry.
    fn apply(&self, view: &mut View, number: u8, entry: &Entry) {
        if entry.form == Form::Newer {
            view.stopped = true;
            return;
        }
        let revoked = entry.by == By::Stolen && view.revoked > 0 && number >= view.revoked;
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
        if self.is(Weakness::OrphansOfAnybody) {
            view.deletable |= entry.orphans;
        }
        if entry.to != 0 {
            for needs in view.needs.iter_mut().filter(|needs| **needs & dead != 0) {
                *needs = *needs & !dead | entry.to;
            }
        }
        for slot in (1..slot).filter(|slot| entry.drops >> slot & 1 == 1) {
            view.fates[slot] = Fate::Dropped;
        }
        // A move that only adds concerns packs of its author; of others it changes nothing.
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
