//! Dropping snapshots and reclaiming space where it pays.
//!
//! [`plan`] tells which packs no snapshot needs. It only tells: nothing here writes.

mod plan;

pub use plan::{Needed, PrunePlan, plan};
