//! Drops snapshots, and reclaims space if that pays.
//!
//! [`retention`] decides which snapshots a policy keeps, and why. [`plan()`] finds the packs that
//! these snapshots do not need, and those that they need only in part. [`reclaim`] decides by price
//! what to do with each pack. [`prune`] executes a plan: it adds packs, appends to the log, and
//! deletes objects that the log has tombstoned before. [`thaw`] requests thaws of the packs that a
//! later prune will repack. [`erasing`] plans deletions that must happen whatever they cost.

mod compare;
mod copied;
mod erase;
mod execute;
mod live;
mod minimums;
mod partial;
mod plan;
pub mod policy;
pub mod reclaim;
mod repack;
pub mod retention;
mod still_there;
mod sums;
mod window;

pub use compare::{Compared, compare};
pub use copied::{CopyCosts, InCopies};
pub use erase::{Erasing, PackSum, erasing};
pub use execute::{PruneSummary, accept, forget, prune, prune_into, set_undelete_days, undelete};
pub use live::LiveSet;
pub use partial::{CopyBatch, Moving, PartialPack};
pub use plan::{Blind, PackObject, PrunePlan, Recoverable, plan};
pub use repack::{ThawingPacks, thaw};
pub use still_there::{Revocable, revocable};
pub use window::doubtful_clock;
