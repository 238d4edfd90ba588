//! The interface of packs that may have to be thawed, and counts of such packs by state.

use crate::repo::stored::Seen;
use crate::store::{ObjectState, Tier};

/// A pack that may have to be thawed before it can be read.
pub trait ColdPack {
    /// Returns the name of its object.
    fn name(&self) -> String;
    /// Returns its class in the store, or the one in the log until the store was asked.
    fn class(&self) -> &str;
    /// Returns its length. A thaw is billed for the whole length.
    fn bytes(&self) -> u64;
    /// Returns its last known state.
    fn state(&self) -> ObjectState;
    /// Changes its state.
    fn set_state(&mut self, state: ObjectState);
    /// Updates its class and state with the answer of the store; `None` if it is missing.
    fn saw(&mut self, seen: Option<Seen>);
}

impl<P: ColdPack> ColdPack for &mut P {
    fn name(&self) -> String {
        (**self).name()
    }

    fn class(&self) -> &str {
        (**self).class()
    }

    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn state(&self) -> ObjectState {
        (**self).state()
    }

    fn set_state(&mut self, state: ObjectState) {
        (**self).set_state(state);
    }

    fn saw(&mut self, seen: Option<Seen>) {
        (**self).saw(seen);
    }
}

/// Number of packs in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackStates {
    /// Number of packs that must be thawed.
    pub cold: u64,
    /// Number of packs that are being thawed.
    pub thawing: u64,
    /// Number of packs that can be read.
    pub readable: u64,
}

impl PackStates {
    /// Counts packs by their state.
    pub fn of<P: ColdPack>(packs: &[P]) -> PackStates {
        let mut states = PackStates::default();
        for pack in packs {
            match pack.state() {
                ObjectState::Cold => states.cold += 1,
                ObjectState::Thawing => states.thawing += 1,
                ObjectState::Warm | ObjectState::Thawed { .. } => states.readable += 1,
            }
        }
        states
    }

    /// Returns the number of packs that cannot be read now.
    pub fn waiting(&self) -> u64 {
        self.cold + self.thawing
    }
}

/// The terms of a thaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThawTerms {
    /// The speed of the thaw.
    pub tier: Tier,
    /// Number of days for which temporary copies are kept.
    pub days: u32,
}
