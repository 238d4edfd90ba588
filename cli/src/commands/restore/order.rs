//! A requested restore: what to restore, the tier, and the consent to the price.

use std::time::Instant;

use icecore_engine::format::{JobId, JobRecord};
use icecore_engine::ops::cold::Quote;
use icecore_engine::ops::cost::Bill;
use icecore_engine::ops::restore::{RestoreOptions, Selection};
use icecore_engine::repo::Repository;
use icecore_engine::store::{Requests, Tier};

use crate::args::WaitArgs;
use crate::commands::{consent, spent};
use crate::failure::Failure;
use crate::patterns::Patterns;
use crate::session::Session;

/// The consent of the user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consent {
    pub max_cost: Option<f64>,
    pub wait: bool,
    /// Whether there is a terminal for a question.
    pub ask: bool,
}

impl Consent {
    pub fn of(session: &Session, args: &WaitArgs) -> Consent {
        Consent { max_cost: args.max_cost, wait: args.wait, ask: consent::can_ask(session) }
    }
}

/// A running restore.
pub struct Flow<'a> {
    pub session: &'a Session,
    pub selection: &'a Selection<'a>,
    pub options: RestoreOptions,
    pub record: &'a JobRecord,
    /// Number of days for which thawed copies are kept; `None` for as many as it takes to fetch
    /// everything.
    pub days: Option<u32>,
    pub consent: Consent,
    pub started: Instant,
    /// The patterns to include and to exclude, if they were given in this run.
    pub typed: Option<[&'a Patterns; 2]>,
    /// The job in the command line, if this is `jobs resume`.
    pub resumed: Option<JobId>,
    /// Whether this is a drill, which prints its own result.
    pub is_drill: bool,
}

impl Flow<'_> {
    pub fn repository(&self) -> &Repository {
        self.selection.snapshot.trees.repository()
    }

    /// Returns all requests of this run, including those to other copies.
    pub fn requests(&self) -> Requests {
        self.repository().store.requests().plus(&self.session.requests_to_copies())
    }

    /// Returns what this run has cost, also at other copies; `None` if a price is not known.
    pub fn spent(&self) -> Result<Option<f64>, Failure> {
        let own = spent(self.session, &self.repository().store.requests())?;
        Ok(own.zip(self.session.spent_at_copies()).map(|(own, copies)| own + copies))
    }
}

/// What a plan costs.
pub struct Priced {
    pub tiers: [TierPrice; 2],
    /// Number of days for which temporary copies are kept.
    pub days: u32,
    /// Number of GB per month that can be downloaded for free.
    pub free_gb: u64,
    /// The region and the date of the prices.
    pub region: String,
    pub date: String,
}

/// The price of a plan with a tier.
pub struct TierPrice {
    pub tier: Tier,
    pub quote: Quote,
    /// The amount that the seed saves, in dollars.
    pub spared_usd: f64,
}

impl Priced {
    pub fn bill(&self, tier: Tier) -> Bill {
        let found = self.tiers.iter().find(|price| price.tier == tier);
        found.map(|price| price.quote.bill).unwrap_or_default()
    }
}
