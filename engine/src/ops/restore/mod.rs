//! Restores files from a snapshot.
//!
//! A plan is computed from trees and the catalog alone. Execution visits the selected files in the order of their
//! paths, which is roughly the order of the packs, one batch at a time. It reads the ranges that the batch needs from
//! each pack, those of the first files first, and verifies every chunk by its id. Files are written under temporary
//! names, synced, and only then given their names. A file does not wait for its batch, so an interrupted run keeps
//! every file that is complete.

mod aside;
mod batch;
mod consent;
mod delete;
mod finish;
mod folders;
mod in_the_way;
mod link;
mod needs;
mod open;
mod options;
mod original;
mod parents;
mod pieces;
mod plan;
mod planned;
mod predict;
mod removals;
mod seed;
mod select;
mod sparse;
mod state;
mod target;
mod thaw;
mod verify;
mod waves;
mod write;

pub use consent::{ConsentNeed, ContinuedJob, agreed_micro_usd};
pub use options::{Overwrite, RestoreOptions, RestoreSummary, Span};
pub use original::Original;
pub use plan::{RestorePlan, plan};
pub use planned::PlannedPack;
pub use seed::{Seed, seed};
pub use select::Selection;
pub use sparse::Layout;
pub use target::{check_target, prepare_target, real_path};
pub use thaw::thaw;
pub use waves::{Allowance, WaitingFiles, Wave, WaveTerms, Waves};
pub use write::restore;
