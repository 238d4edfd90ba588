//! A restore as it was asked for: what to restore, by which tier, and what may be paid.

use std::time::Instant;

use icecore_engine::format::{JobId, JobRecord};
use icecore_engine::ops::cold::Quote;
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::{RestoreOptions, Selection};
use icecore_engine::repo::Repository;
use icecore_engine::store::{Requests, Tier};

use crate::args::WaitArgs;
use crate::commands::consent;
use crate::patterns::Patterns;
use crate::session::Session;

/// What the user agreed to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consent {
    pub max_cost: Option<f64>,
    pub wait: bool,
    /// Somebody can be asked.
    pub ask: bool,
}

impl Consent {
    pub fn of(session: &Session, args: &WaitArgs) -> Consent {
        Consent { max_cost: args.max_cost, wait: args.wait, ask: consent::can_ask(session) }
    }
}

/// A restore on its way.
pub struct Flow<'a> {
    pub session: &'a Session,
    pub selection: &'a Selection<'a>,
    pub options: RestoreOptions,
    pub record: &'a JobRecord,
    /// `None`: as many as it takes to fetch everything.
    pub days: Option<u32>,
    pub consent: Consent,
    pub started: Instant,
    /// What picks and what leaves out, if it was typed for this run.
    pub typed: Option<[&'a Patterns; 2]>,
    /// The job that the command line names.
    pub resumed: Option<JobId>,
    /// It is a drill, which says itself what has come back.
    pub is_drill: bool,
}

impl Flow<'_> {
    pub fn repository(&self) -> &Repository {
        self.selection.snapshot.trees.repository()
    }

    /// Returns all that was requested by this run.
    pub fn requests(&self) -> Requests {
        self.repository().store.requests()
    }
}

/// What a plan costs.
pub struct Priced {
    pub tiers: [TierPrice; 2],
    /// How long temporary copies are kept.
    pub days: u32,
    /// GB a month that are downloaded for nothing.
    pub free_gb: u64,
    /// Whose prices they are, and of when.
    pub region: String,
    pub date: String,
}

/// What a plan costs with a tier.
pub struct TierPrice {
    pub tier: Tier,
    pub quote: Quote,
    /// What the seed saves of it, in dollars.
    pub spared_usd: f64,
}

impl Priced {
    pub fn bill(&self, tier: Tier) -> Bill {
        let found = self.tiers.iter().find(|price| price.tier == tier);
        found.map(|price| price.quote.bill).unwrap_or_default()
    }
}

/// Returns the tier that a journal names.
pub fn tier_of(record: &JobRecord) -> Tier {
    if record.tier == 1 { Tier::Standard } else { Tier::Bulk }
}
