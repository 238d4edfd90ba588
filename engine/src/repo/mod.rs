//! What a repository is: keys, log, catalog, packs.
//!
//! State changes only by [`Repository::commit`], which appends to the log; everything an entry
//! refers to is durable before the entry is written, so a snapshot that can be seen can be
//! restored.

pub mod catalog;
mod checkpoints;
mod commit;
mod copies;
pub mod jobs;
pub mod keys;
mod packer;
pub mod parity;
pub mod reader;
mod repository;
mod uploads;
mod verify;

pub use catalog::{Catalog, ChunkPlace, PackKey, PackRow, PackState, SnapshotRow};
pub use jobs::Job;
pub use keys::{KeyInfo, SlotProblem};
pub use packer::{PackBuilder, SealedPack};
pub use reader::{ChunkReader, TreeReader};
pub use repository::{Keys, Purpose, Repository, StoredConfig};
pub use verify::PackDamage;
