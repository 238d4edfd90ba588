//! A repository: its keys, log, catalog and packs.
//!
//! The state changes only through [`Repository::commit`], which appends to the log. Everything that
//! an entry names is durable before the entry is written, so every visible snapshot can be
//! restored.

mod authority;
mod buffers;
pub mod catalog;
mod checkpointing;
mod checkpoints;
mod commit;
mod copies;
mod elsewhere;
pub mod jobs;
pub mod keys;
mod mark;
mod memory;
mod opening;
mod other_copy;
mod packer;
pub mod parity;
mod prices;
mod promise;
pub mod reader;
mod remains;
mod repository;
pub mod stored;
mod uploads;
mod verify;
mod vouched;

pub use buffers::Buffers;
pub use catalog::{Catalog, ChunkLocation, PackRow, PackRowId, PackState, SnapshotRow};
pub use catalog::{Undone, VoidEntry, Writer, WriterEntry, WriterTotals};
pub use jobs::{Job, JobProblem};
pub use keys::{KeyInfo, KeySlots, SlotProblem};
pub use mark::FoundMark;
pub use opening::{Opening, Purpose};
pub use other_copy::OtherCopy;
pub use packer::{FrameSlot, PackBuilder, SealedPack, grown_bytes_max};
pub use prices::{ClassReadPrice, ReadPrices};
pub use reader::{ChunkReader, TreeReader};
pub(crate) use remains::{config_is_missing, log_in, remains};
pub use repository::{Keys, Repository, StoredConfig, settings_at};
pub(crate) use uploads::put_object;
pub use verify::PackDamage;
