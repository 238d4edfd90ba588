//! The local catalog: one SQLite file per repository, with the state that the log describes.
//!
//! It is a cache: if it is deleted, stale, foreign or damaged, it is rebuilt from hot objects. Only a few facts are
//! nowhere else: objects and entries that the store has lost, restores in progress that the store refused to record,
//! requested thaws, and when data was read back. On a host without the identity it contains no file names.

mod apply;
mod authors;
mod begun;
mod bloom;
mod builder;
mod bulk;
mod checkpointing;
mod chunks;
mod compaction;
mod drops;
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
mod retained;
mod rows;
mod schema;
mod scrub;
mod snapshots;
mod write_buffer;

pub use apply::LogFollower;
pub use authors::{Verdicts, VoidEntry, Writer, WriterEntry, WriterTotals};
pub use begun::{BegunCheck, Scope, WHOLE};
pub use builder::{CatalogBuilder, CatalogState};
pub use checkpointing::OpenRanges;
pub use drops::Undone;
pub use filter::Filter;
pub use folders::{CachedDatabase, CachedFile, CachedFolder, FolderRow};
pub use handle::{Catalog, LogTables};
pub use lost::{LostBy, MISSING};
pub use mounts::MountRow;
pub use own::Owed;
pub use packs::{PackRow, PackState};
pub use places::{ENTRY_PACKS_MAX, LONE, NUMBER_MAX, entry_of_place};
pub use retained::KeptConfig;
pub use rows::{ChunkLocation, PackRowId, Position, Standing, TakenSlot};
pub use scrub::{PackReads, Readings};
pub use snapshots::SnapshotRow;
