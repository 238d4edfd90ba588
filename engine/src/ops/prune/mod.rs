//! Dropping snapshots and reclaiming space where it pays.
//!
//! [`retention`] tells which snapshots a policy keeps and why, [`plan()`] which packs none of them
//! needs, [`reclaim`] what becomes of each pack, by price. All three only tell: nothing here writes.

mod plan;
pub mod policy;
pub mod reclaim;
pub mod retention;

pub use plan::{Needed, PrunePlan, plan};
