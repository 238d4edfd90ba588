//! The state of a running prune: its options, and what its rounds have done.

use icecore_engine::format::Time;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{Blind, CopyCosts, PrunePlan, PruneSummary};
use icecore_engine::repo::Repository;
use icecore_engine::store::Requests;

use super::notes::Displaced;
use crate::args::PruneArgs;
use crate::session::Session;

/// A running prune.
pub(super) struct Pruning<'a> {
    pub session: &'a Session,
    pub args: &'a PruneArgs,
    pub repository: &'a Repository,
    pub terms: Terms,
    /// Other copies of the archive, in buckets.
    pub copies: Vec<CopyCosts>,
    /// The prices on which decisions are based.
    pub priced: Prices,
    /// The prices that are shown; `None` if those of this store are unknown.
    pub prices: Option<Prices>,
    /// Snapshots that are dropped because newer ones take their places.
    pub displaced: Vec<Displaced>,
    pub done: PruneDone,
}

/// The results of the rounds of a prune.
#[derive(Debug, Default)]
pub(super) struct PruneDone {
    pub summary: PruneSummary,
    /// Whether damage was found.
    pub damage: bool,
    /// Whether a thaw of packs would have paid off but the user did not agree to it.
    pub refused: bool,
    /// Number of packs that are being thawed and that a later run repacks.
    pub thawing: u64,
    /// The latest time at which these packs are thawed.
    pub ready_by: Option<Time>,
    pub saving_usd_per_month: f64,
    /// All predicted requests of the last round.
    pub predicted: Requests,
}

impl PruneDone {
    /// Adds an executed round.
    pub fn add(&mut self, plan: &PrunePlan, done: PruneSummary, prices: &Prices) {
        self.damage |= done.damaged > 0 || plan.blind == Some(Blind::Damaged);
        let sum = &mut self.summary;
        sum.snapshots_dropped += done.snapshots_dropped;
        sum.packs_repacked += done.packs_repacked;
        sum.bytes_written += done.bytes_written;
        sum.objects_deleted += done.objects_deleted;
        sum.parity_deleted += done.parity_deleted;
        sum.bytes_freed += done.bytes_freed;
        self.saving_usd_per_month += saving(plan, prices);
    }
}

/// Returns how much the monthly bill decreases, in dollars.
pub(super) fn saving(plan: &PrunePlan, prices: &Prices) -> f64 {
    let moved = plan.moving.packs.iter().map(|(row, _)| row);
    let gone: f64 =
        plan.doomed().chain(moved).map(|row| prices.storage(&row.class, row.bytes)).sum();
    let copied = plan.moving.copied_bytes().map(|(class, bytes)| prices.storage(class, bytes));
    gone - copied.sum::<f64>()
}
