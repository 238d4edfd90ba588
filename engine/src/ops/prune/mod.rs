//! Dropping snapshots and reclaiming space where it pays.
//!
//! [`retention`] tells which snapshots a policy keeps and why, [`plan`] which packs none of them
//! needs, [`reclaim`] what becomes of each pack, by price. Only [`prune`] and [`undrop`] write: they
//! append to the log, and delete what the log has given up before.

mod execute;
mod plan;
pub mod policy;
pub mod reclaim;
pub mod retention;

pub use execute::{PruneSummary, prune, undrop};
pub use plan::{Needed, Orphan, PrunePlan, plan};
