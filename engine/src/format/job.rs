//! The objects `jobs/<id>/record`: a restore that waits for a thaw, so that any machine with the
//! identity can take it over.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::wire::{Reader, from_padded, put_preamble, to_padded};
use super::{FormatError, JobId, RepositoryId, SnapshotId, Time};

const MAGIC: &[u8; 8] = b"ICEJOB\0\0";
/// Bytes before the sealed record.
pub const HEADER_BYTES: usize = 8 + 2 + 2 + 16 + 16 + 32;
/// Largest job that is read: its padded record has 1 MiB at most.
pub const JOB_BYTES_MAX: u64 = (1 << 20) + HEADER_BYTES as u64 + 16;

/// The clear part of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHeader {
    pub repository: RepositoryId,
    pub job: JobId,
    /// Makes the key of the record unique.
    pub salt: [u8; 32],
}

impl JobHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(self.job.as_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    /// Decodes the header and returns the sealed record after it.
    pub fn decode(object: &[u8]) -> Result<(JobHeader, &[u8]), FormatError> {
        let found = object.len() as u64;
        if found > JOB_BYTES_MAX {
            return Err(FormatError::Limit { what: "job", found, max: JOB_BYTES_MAX });
        }
        let mut reader = Reader::new("job", object);
        reader.preamble(MAGIC)?;
        let repository = RepositoryId(reader.array()?);
        let job = JobId(reader.array()?);
        let salt = reader.array()?;
        Ok((JobHeader { repository, job, salt }, &object[HEADER_BYTES..]))
    }
}

/// What a job restores, where to, and how its packs are thawed (spec section 4.8).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobRecord {
    #[n(0)]
    pub snapshot: SnapshotId,
    #[n(1)]
    pub created: Time,
    /// Host that began it.
    #[n(2)]
    pub host: String,
    /// Path in the snapshot.
    #[n(3)]
    pub path: ByteVec,
    #[n(4)]
    pub include: Vec<String>,
    #[n(5)]
    pub exclude: Vec<String>,
    /// Folder on that host.
    #[n(6)]
    pub target: ByteVec,
    /// 0 refuse, 1 never, 2 if changed, 3 always.
    #[n(7)]
    pub overwrite: u8,
    #[n(8)]
    pub delete: bool,
    #[n(9)]
    pub verify: bool,
    /// 0 bulk, 1 standard.
    #[n(10)]
    pub tier: u8,
    /// How long temporary copies are kept.
    #[n(11)]
    pub days: u32,
    /// Folders on that host that chunks are taken from.
    #[n(12)]
    pub seeds: Vec<ByteVec>,
    /// Price that was agreed to, in millionths of a dollar.
    #[n(13)]
    pub agreed_micro_usd: Option<u64>,
    /// Pipes, sockets and devices are made too; absent stands for no.
    #[n(14)]
    pub special: Option<bool>,
}

impl JobRecord {
    /// Encodes the record with its length in front, padded to a size class (spec section 4.8).
    pub fn encode_padded(&self) -> Vec<u8> {
        to_padded(self)
    }

    pub fn decode_padded(bytes: &[u8]) -> Result<JobRecord, FormatError> {
        let record: JobRecord = from_padded("job record", bytes, JOB_BYTES_MAX)?;
        record.created.validate()?;
        if record.overwrite > 3 || record.tier > 1 || record.days == 0 {
            return Err(FormatError::Invalid { what: "job record" });
        }
        Ok(record)
    }
}
