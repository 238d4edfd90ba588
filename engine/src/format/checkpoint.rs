//! The objects `checkpoints/<first>-<last>`: entries of the log as they are, one after the other, so
//! that they are read with one request (spec section 4.9).
//!
//! Nothing here is sealed or authenticated: each entry is, and the last of them is compared with
//! the object in the log before any is believed (spec section 6.5).

use super::log::ENTRY_BYTES_MAX;
use super::wire::{Reader, put_preamble};
use super::{FormatError, RepositoryId};

const MAGIC: &[u8; 8] = b"ICECKPT\0";
/// How many checkpoints of a level, or entries, the next level holds.
pub const CHECKPOINT_STEP: u64 = 32;
/// How many entries a checkpoint of each level holds. It begins behind a multiple of that.
pub const CHECKPOINT_LEVELS: [u64; 3] =
    [CHECKPOINT_STEP, CHECKPOINT_STEP.pow(2), CHECKPOINT_STEP.pow(3)];
/// Largest checkpoint, as a whole object. The smallest entries fill half of it at the last level.
pub const CHECKPOINT_BYTES_MAX: u64 = 64 << 20;
/// Bytes before the first entry.
pub const CHECKPOINT_HEADER_BYTES: u64 = 8 + 2 + 2 + 16 + 8 + 8;
/// Bytes before each entry: its length.
pub const CHECKPOINT_ENTRY_HEADER_BYTES: u64 = 8;

/// Some entries of the log that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    pub repository: RepositoryId,
    /// Number of the first entry, from 1.
    pub first: u64,
    /// The objects of the log, in order and as they are there; at least one.
    pub entries: Vec<&'a [u8]>,
}

impl<'a> Checkpoint<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let header_bytes = CHECKPOINT_HEADER_BYTES as usize;
        let entry_bytes = |entry: &&[u8]| CHECKPOINT_ENTRY_HEADER_BYTES as usize + entry.len();
        let bytes = header_bytes + self.entries.iter().map(entry_bytes).sum::<usize>();
        let mut out = Vec::with_capacity(bytes);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&(entry.len() as u64).to_le_bytes());
            out.extend_from_slice(entry);
        }
        out
    }

    /// Finds the entries in an object. Opens none of them.
    ///
    /// Fails on more than [`CHECKPOINT_BYTES_MAX`] bytes, on no entry or more than the last of
    /// [`CHECKPOINT_LEVELS`], and on an entry of more than [`ENTRY_BYTES_MAX`].
    pub fn decode(object: &'a [u8]) -> Result<Checkpoint<'a>, FormatError> {
        let limited = |what, found, max| {
            if found > max { Err(FormatError::Limit { what, found, max }) } else { Ok(()) }
        };
        limited("checkpoint", object.len() as u64, CHECKPOINT_BYTES_MAX)?;
        let mut reader = Reader::new("checkpoint", object);
        reader.preamble(MAGIC)?;
        let repository = RepositoryId(reader.array()?);
        let (first, count) = (reader.u64()?, reader.u64()?);
        limited("entries of a checkpoint", count, CHECKPOINT_LEVELS[CHECKPOINT_LEVELS.len() - 1])?;
        if first == 0 || count == 0 || first.checked_add(count).is_none() {
            return Err(FormatError::Invalid { what: "range of a checkpoint" });
        }
        // Grows by what is there: the count may promise more.
        let mut entries = Vec::new();
        for _ in 0..count {
            let bytes = reader.u64()?;
            limited("log entry", bytes, ENTRY_BYTES_MAX)?;
            entries.push(reader.take(bytes as usize)?);
        }
        reader.end()?;
        Ok(Checkpoint { repository, first, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::log::HEADER_BYTES;

    #[test]
    fn the_smallest_entries_fit_at_every_level() {
        // A record of 1024 bytes with its tag.
        let entry = HEADER_BYTES as u64 + 1024 + 16 + CHECKPOINT_ENTRY_HEADER_BYTES;
        let bytes = CHECKPOINT_HEADER_BYTES + CHECKPOINT_LEVELS[2] * entry;
        assert!(bytes <= CHECKPOINT_BYTES_MAX, "{bytes}");
    }
}
