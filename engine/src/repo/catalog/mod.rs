//! The local catalog: one SQLite file per repository that contains the state which the log
//! describes.
//!
//! It is a cache. If it is deleted, stale, foreign or damaged, it is rebuilt from hot objects; nothing in
//! it is ever the only copy of anything that is whole in the store, but for a restore in progress that
//! the store refused to note, and for what was read back when. On a host without the identity it
//! holds no name.

mod apply;
mod authors;
mod bloom;
mod bulk;
mod checkpointing;
mod chunks;
mod compaction;
mod filter;
mod folders;
mod handle;
mod jobs;
mod lock;
mod lost;
mod mounts;
mod own;
mod packs;
mod places;
mod rebuild;
mod retained;
mod rows;
mod schema;
mod scrub;
mod snapshots;
mod write_buffer;

pub use authors::{Verdicts, VoidEntry, Writer, WriterEntry, WriterTotals};
pub use checkpointing::Unfolded;
pub use filter::Filter;
pub use folders::{CachedDatabase, CachedFile, CachedFolder, FolderRow};
pub use handle::Catalog;
pub use lost::{LostBy, MISSING};
pub use mounts::MountRow;
pub use own::Owed;
pub use packs::{PackRow, PackState, REVOKED};
pub use places::{ENTRY_PACKS_MAX, LONE, NUMBER_MAX, entry_of_place};
pub use retained::KeptConfig;
pub use rows::{ChunkLocation, PackRowId, Position, Standing, TakenSlot};
pub use scrub::{PackReads, Readings};
pub use snapshots::SnapshotRow;
