//! The snapshot record: the part of a snapshot that only the identity may read (spec section 4.7).

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::log::validate_history;
use super::wire::{from_cbor, to_cbor};
use super::{ChunkId, FormatError, SnapshotId, Time};

/// The snapshot record. Each snapshot has one, stored as a chunk of a meta pack (spec section 4.7).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SnapshotRecord {
    /// Id of the snapshot. A reader compares it with the id in the log entry (spec section 4.7).
    #[n(0)]
    pub id: SnapshotId,
    /// When it was taken, by the clock of its host.
    #[n(1)]
    pub time: Time,
    /// The sources: real, absolute paths, sorted and without duplicates.
    #[n(2)]
    pub paths: Vec<ByteVec>,
    /// Concatenated ids of the tree chunks of the top folder.
    #[n(3)]
    pub root: ByteVec,
    /// Name of the host that took it.
    #[n(4)]
    pub host: String,
    /// Initial tags, which the log can replace (spec section 4.7).
    #[n(5)]
    pub tags: Vec<String>,
    /// Name and version of the program that wrote it.
    #[n(6)]
    pub program: String,
    /// Number of files that could not be read, or changed while they were read.
    #[n(7)]
    pub failed: u64,
    /// Place of each source in the tree, ascending; unknown if absent.
    #[n(8)]
    pub places: Option<Vec<SourcePlace>>,
    /// Name of its history, if it has one, as in the log entry.
    #[n(9)]
    pub history: Option<String>,
    /// If all sources were given as relative paths: the real, absolute path of the folder that they are relative to. A
    /// restore of everything begins below it.
    #[n(10)]
    pub base: Option<ByteVec>,
}

/// Place of a source in the tree (spec section 4.7).
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
    /// Encodes the plaintext of the chunk (spec section 4.7).
    pub fn encode(&self) -> Vec<u8> {
        to_cbor(self)
    }

    /// Decodes the plaintext of the chunk (spec section 4.7).
    ///
    /// # Errors
    /// If it is not a record of this form, or time, root or name of the history is not valid.
    pub fn decode(bytes: &[u8]) -> Result<SnapshotRecord, FormatError> {
        let record: SnapshotRecord = from_cbor("snapshot record", bytes)?;
        record.time.validate()?;
        record.root_chunks()?;
        record.history.as_deref().map_or(Ok(()), validate_history)?;
        Ok(record)
    }

    /// Returns the ids of the tree chunks of the top folder.
    ///
    /// # Errors
    /// If the length of [`SnapshotRecord::root`] is no multiple of 32, which [`SnapshotRecord::decode`] excludes.
    pub fn root_chunks(&self) -> Result<Vec<ChunkId>, FormatError> {
        super::tree::split_ids(&self.root)
    }
}
