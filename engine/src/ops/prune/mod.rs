//! Dropping snapshots and reclaiming space where it pays.
//!
//! [`retention`] decides which snapshots a policy keeps and why, [`plan()`] which packs none of them
//! needs and which they need in part, [`reclaim`] what becomes of each pack, by price. Only [`prune`]
//! and [`undrop`] write: they add packs, append to the log, and delete what the log has given up
//! before. [`thaw`] asks for what a later prune will repack. [`erasing`] plans what must go whatever it costs.

mod compare;
mod erase;
mod execute;
mod live;
mod partly;
mod plan;
pub mod policy;
pub mod reclaim;
mod repack;
pub mod retention;
mod window;

pub use compare::{Compared, compare};
pub use erase::{Erasing, Group, erasing};
pub use execute::{PruneSummary, accept, forget, prune, set_undelete_days, undrop};
pub use live::Live;
pub use partly::{Batch, Moving, Partly};
pub use plan::{Blind, Orphan, PrunePlan, plan};
pub use repack::{still_thawing, thaw};
pub use window::{Recoverable, doubtful_clock};
