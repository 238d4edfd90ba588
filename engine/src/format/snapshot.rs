//! The snapshot record: the part of a snapshot that only the identity may read.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::log::validate_history;
use super::wire::{from_cbor, to_cbor};
use super::{ChunkId, FormatError, SnapshotId, Time};

/// A chunk of a meta pack, one for each snapshot (spec section 4.7).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotRecord {
    #[n(0)]
    pub id: SnapshotId,
    #[n(1)]
    pub time: Time,
    /// The sources: real, absolute paths, ascending, each once.
    #[n(2)]
    pub paths: Vec<ByteVec>,
    /// The tree chunks of the root, concatenated ids.
    #[n(3)]
    pub root: ByteVec,
    #[n(4)]
    pub host: String,
    #[n(5)]
    pub tags: Vec<String>,
    /// Name and version of the program that wrote it.
    #[n(6)]
    pub program: String,
    /// Files that could not be read or changed while read.
    #[n(7)]
    pub failed: u64,
    /// Where each source stands in the tree.
    #[n(8)]
    pub places: Option<Vec<SourcePlace>>,
    /// The name of its history, if it has one.
    #[n(9)]
    pub history: Option<String>,
}

/// Where a source stands in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct SourcePlace {
    /// The real, absolute path.
    #[n(0)]
    pub path: ByteVec,
    /// The path in the tree, without a leading slash; empty for the top.
    #[n(1)]
    pub place: ByteVec,
}

impl SnapshotRecord {
    pub fn encode(&self) -> Vec<u8> {
        to_cbor(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<SnapshotRecord, FormatError> {
        let record: SnapshotRecord = from_cbor("snapshot record", bytes)?;
        record.time.validate()?;
        record.root_chunks()?;
        record.history.as_deref().map_or(Ok(()), validate_history)?;
        Ok(record)
    }

    /// Returns the tree chunks of the root.
    pub fn root_chunks(&self) -> Result<Vec<ChunkId>, FormatError> {
        super::tree::split_ids(&self.root)
    }
}
