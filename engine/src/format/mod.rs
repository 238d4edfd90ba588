//! The binary format of a repository: encodes and decodes the types that `format-spec.md`
//! specifies.
//!
//! This module does no I/O, has no keys and never reads the clock. Everything that it decodes may
//! be hostile: each length is checked against a limit before anything is allocated, and decoders
//! return errors and never panic. The module `codec`, one floor above, seals and opens objects.

mod error;
mod needed_rights;
mod wire;

pub mod authority;
pub mod checkpoint;
pub mod config;
pub mod credential;
mod head;
pub mod id;
pub mod job;
pub mod key_slot;
pub mod log;
pub mod log_key;
pub mod mirror;
mod ordinals;
pub mod pack;
pub mod parity;
pub mod signed;
pub mod snapshot;
pub mod tree;

pub use authority::{Enrolled, Revoked};
pub use checkpoint::CheckpointHeader;
pub use config::{Authority, Chunking, Config, DecodedConfig, Settings};
pub use credential::Credential;
pub use error::FormatError;
pub use head::LogHead;
pub use id::{
    ChunkId, Digest, JobId, PackId, PathsKey, RepositoryId, SlotId, SnapshotId, WriterId,
};
pub use job::{JobHeader, JobRecord, OverwriteRule, Tier};
pub use key_slot::{KdfCost, KeySlot};
pub use log::{
    HistoryKey, LogEntry, LogHeader, Lost, Move, PackRange, PackRecord, ROTTED, Replaced, SHRUNK,
    SnapshotEntry, SourceCount, Tagged, validate_history,
};
pub use log_key::LogKey;
pub use mirror::MirrorMark;
pub use ordinals::Ordinals;
pub use pack::{Codec, Frame, PackHeader, PackKind, Trailer};
pub use signed::SignedRecord;
pub use snapshot::{SnapshotRecord, SourcePlace};
pub use tree::{Entry, EntryKind, Hole, Time, Xattr};

/// The version of the format that this program writes, which is also the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;
