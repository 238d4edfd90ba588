//! A prune on its way: what it was asked for, and what its rounds have done.

use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{Blind, PrunePlan, PruneSummary};
use icecore_engine::repo::Repository;
use icecore_engine::store::Requests;

use crate::args::PruneArgs;
use crate::session::Session;

/// A prune on its way.
pub(super) struct Pruning<'a> {
    pub session: &'a Session,
    pub args: &'a PruneArgs,
    pub repository: &'a Repository,
    pub terms: Terms,
    /// What decisions are made by.
    pub priced: Prices,
    /// The prices that are shown; `None` if those of this store are not known.
    pub prices: Option<Prices>,
    pub done: PruneDone,
}

/// What the rounds of a prune did.
#[derive(Debug, Default)]
pub(super) struct PruneDone {
    pub summary: PruneSummary,
    /// Something is not what it was.
    pub damage: bool,
    /// A thaw of packs would have paid off, but was not agreed to.
    pub refused: bool,
    /// Packs that are being thawed, to be repacked by a later run.
    pub thawing: u64,
    pub saving_usd_per_month: f64,
    /// What the last round was to request in all.
    pub predicted: Requests,
}

impl PruneDone {
    /// Adds a round that was executed.
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

/// Returns by how much the monthly bill becomes smaller, in dollars.
pub(super) fn saving(plan: &PrunePlan, prices: &Prices) -> f64 {
    let moved = plan.moving.packs.iter().map(|(row, _)| row);
    let gone: f64 =
        plan.doomed().chain(moved).map(|row| prices.storage(&row.class, row.bytes)).sum();
    let copied = plan.moving.copied_bytes().map(|(class, bytes)| prices.storage(class, bytes));
    gone - copied.sum::<f64>()
}
