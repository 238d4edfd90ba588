//! The objects `jobs/<id>/record`: a restore that waits for a thaw, which any machine with the
//! identity can continue.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::wire::{Reader, from_padded, put_preamble, to_padded};
use super::{FormatError, JobId, RepositoryId, SnapshotId, Time};

const MAGIC: &[u8; 8] = b"ICEJOB\0\0";
/// Length of the header, before the sealed record (spec section 4.8).
pub const HEADER_BYTES: usize = 8 + 2 + 2 + 16 + 16 + 32;
/// Maximum size of a job, in bytes. Its padded record has at most 1 MiB (spec section 8).
pub const JOB_BYTES_MAX: u64 = (1 << 20) + HEADER_BYTES as u64 + 16;

/// The clear part of a job (spec section 4.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobHeader {
    /// Id of the repository, as in `config` (spec section 4.1).
    pub repository: RepositoryId,
    /// Random id, as in the name of the object (spec section 4.8).
    pub job: JobId,
    /// Random; makes the key of the record unique (spec section 3.2). Zeros in a mark.
    pub salt: [u8; 32],
}

impl JobHeader {
    /// Encodes the header, [`HEADER_BYTES`] bytes, which is also the whole object of a mark (spec section 4.8).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(self.job.as_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    /// Decodes the header, and returns it with the sealed record after it.
    ///
    /// # Errors
    /// [`FormatError::Limit`] over [`JOB_BYTES_MAX`] bytes, another error if the header is malformed.
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

/// What a restore does with files that exist in its target. A reader refuses other values (spec section 4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OverwriteRule {
    /// It does not begin: the target must be empty.
    #[n(0)]
    Refuse = 0,
    /// They stay.
    #[n(1)]
    Never = 1,
    /// They are replaced if they differ.
    #[n(2)]
    IfChanged = 2,
    /// They are replaced.
    #[n(3)]
    Always = 3,
}

/// How fast a thaw is, and what it costs. A reader refuses other values in a job (spec section 4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Tier {
    /// The slowest and cheapest: up to two days.
    #[n(0)]
    Bulk = 0,
    /// Within half a day.
    #[n(1)]
    Standard = 1,
}

/// The sealed part of a job: a restore with its options (spec section 4.8).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct JobRecord {
    /// Id of the snapshot that is restored.
    #[n(0)]
    pub snapshot: SnapshotId,
    /// When the restore began, by the clock of its host.
    #[n(1)]
    pub created: Time,
    /// Host that began it.
    #[n(2)]
    pub host: String,
    /// Path in the snapshot; empty for everything.
    #[n(3)]
    pub path: ByteVec,
    /// Patterns of the paths that are restored.
    #[n(4)]
    pub include: Vec<String>,
    /// Patterns of the paths that are left out.
    #[n(5)]
    pub exclude: Vec<String>,
    /// Folder on that host.
    #[n(6)]
    pub target: ByteVec,
    /// What happens to existing files.
    #[n(7)]
    pub overwrite: OverwriteRule,
    /// Whether files that are not in the snapshot are removed from the target.
    #[n(8)]
    pub delete: bool,
    /// Whether restored files are read again.
    #[n(9)]
    pub verify: bool,
    /// Tier of the thaw.
    #[n(10)]
    pub tier: Tier,
    /// Number of days for which thawed copies are kept, at least 1.
    #[n(11)]
    pub days: u32,
    /// Folders on that host from which chunks are read.
    #[n(12)]
    pub seeds: Vec<ByteVec>,
    /// Price that the user agreed to, in millionths of a US dollar.
    #[n(13)]
    pub agreed_micro_usd: Option<u64>,
    /// Whether pipes, sockets and devices are created; absent means no.
    #[n(14)]
    pub special: Option<bool>,
}

impl JobRecord {
    /// Encodes the record with its length in front, padded to a size class (spec section 4.8).
    pub fn encode_padded(&self) -> Vec<u8> {
        to_padded(self)
    }

    /// Decodes a record with its length and padding (spec section 4.8).
    ///
    /// # Errors
    /// [`FormatError::Record`] if the record is malformed or has an unknown rule or tier, [`FormatError::Invalid`] if it
    /// has another field out of its range or the padding is not zeros.
    pub fn decode_padded(bytes: &[u8]) -> Result<JobRecord, FormatError> {
        let record: JobRecord = from_padded("job record", bytes, JOB_BYTES_MAX)?;
        record.created.validate()?;
        if record.days == 0 {
            return Err(FormatError::Invalid { what: "job record" });
        }
        Ok(record)
    }
}
