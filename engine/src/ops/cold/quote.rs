//! The price of reading packs.

use super::pack::PackStates;
use crate::ops::cost::{Bill, Prices};
use crate::store::Requests;

/// What reading packs costs, and how long it takes until the last of them can be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quote {
    /// The price of all requests, including thaws.
    pub bill: Bill,
    /// Number of packs that must be thawed first.
    pub packs_frozen: u64,
    /// Number of hours until the last of them can be read.
    pub hours: u32,
}

impl Quote {
    /// Prices requests; `None` if the table of prices does not contain all of their classes.
    pub fn of(
        prices: &Prices,
        requests: &Requests,
        states: PackStates,
        hours: u32,
    ) -> Option<Quote> {
        let is_known = prices.gap(requests).is_none();
        is_known.then(|| Quote { bill: prices.bill(requests), packs_frozen: states.cold, hours })
    }
}
