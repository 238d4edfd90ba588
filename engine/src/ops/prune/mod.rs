//! Dropping snapshots and reclaiming space where it pays.
//!
//! [`retention`] tells which snapshots a policy keeps and why, [`plan`] which packs none of them
//! needs. Both only tell: nothing here writes.

mod plan;
pub mod policy;
pub mod retention;

pub use plan::{Needed, PrunePlan, plan};
