//! The snapshot record: the part of a snapshot that only the identity may read.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

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
    /// The paths as they were given.
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
}

impl SnapshotRecord {
    pub fn encode(&self) -> Vec<u8> {
        to_cbor(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<SnapshotRecord, FormatError> {
        let record: SnapshotRecord = from_cbor("snapshot record", bytes)?;
        record.time.validate()?;
        record.root_chunks()?;
        Ok(record)
    }

    /// Returns the tree chunks of the root.
    pub fn root_chunks(&self) -> Result<Vec<ChunkId>, FormatError> {
        super::tree::split_ids(&self.root)
    }
}
