//! Restores files from a snapshot.
//!
//! A plan is made from trees and catalog alone. Execution goes through the selected files in the
//! order of their paths, which is about the order of the packs: a batch of files at a time, the
//! ranges that they need of each pack are read at once, those of the first files first, every chunk is
//! verified by its id, files are written under temporary names, synced, and only then given their
//! names. A file does not wait for its batch: an interrupted run keeps every file that is complete.

mod aside;
mod batch;
mod delete;
mod finish;
mod folders;
mod in_the_way;
mod link;
mod open;
mod options;
mod original;
mod parents;
mod pieces;
mod plan;
mod removals;
mod seed;
mod select;
mod sparse;
mod state;
mod target;
mod thaw;
mod verify;
mod write;

pub use options::{Overwrite, RestoreOptions, RestoreSummary};
pub use original::Original;
pub use plan::{PlannedPack, RestorePlan, plan};
pub use seed::{Seed, seed};
pub use select::Selection;
pub use sparse::Layout;
pub use target::{check_target, prepare_target, real_path};
pub use thaw::thaw;
pub use write::restore;
