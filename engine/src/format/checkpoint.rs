//! The objects `checkpoints/<first>-<last>`: a run of log entries, in two sealed parts (spec section 4.9).
//!
//! The first part contains the record of each entry; the second has the salts and signatures that prove them. Both
//! parts together rebuild the objects of the log byte for byte. The first part alone is enough for a reader that finds
//! an entry of the owner that vouches for it (spec section 6.5).

use super::id::SIGNATURE_BYTES;
use super::wire::{Reader, put_preamble};
use super::{Digest, FormatError, RepositoryId, WriterId};

const MAGIC: &[u8; 8] = b"ICECKPT\0";
/// Number of entries in a small checkpoint, and number of small checkpoints that a large one covers (spec section 6.5).
pub const CHECKPOINT_STEP: u64 = 32;
/// Number of entries in a checkpoint of each level. Its first entry follows a multiple of this number (spec section
/// 6.5).
pub const CHECKPOINT_LEVELS: [u64; 2] = [CHECKPOINT_STEP, CHECKPOINT_STEP.pow(2)];
/// Maximum size of a checkpoint, and of its first part after decompression, in bytes (spec section 8).
pub const CHECKPOINT_BYTES_MAX: u64 = 64 << 20;
/// Length of the header, before the first part (spec section 4.9).
pub const CHECKPOINT_HEADER_BYTES: usize = 12 + 16 + 8 + 8 + 32;
/// Length of each slot in the second part. Void slots have it too, so that the length of the part follows from the
/// count.
pub const PROOF_BYTES: usize = 32 + SIGNATURE_BYTES;
/// Minimum size of the first part before it is sealed. It is padded to powers of two, like log entries.
const PADDED_BYTES_MIN: usize = 16 << 10;
/// Number of bytes that sealing adds to a part.
const TAG_BYTES: usize = 16;

/// The clear part of a checkpoint (spec section 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// Id of the repository, as in `config` (spec section 4.1).
    pub repository: RepositoryId,
    /// Number of the first entry, from 1.
    pub first: u64,
    /// Number of entries, from 1 to 1024.
    pub count: u64,
    /// Random; makes the keys of the checkpoint unique (spec section 3.2).
    pub salt: [u8; 32],
}

impl CheckpointHeader {
    /// Encodes the header, [`CHECKPOINT_HEADER_BYTES`] bytes (spec section 4.9).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHECKPOINT_HEADER_BYTES);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    /// Decodes the header, and returns it with the two sealed parts after it.
    ///
    /// # Errors
    /// [`FormatError::Limit`] over [`CHECKPOINT_BYTES_MAX`] bytes or over the last of [`CHECKPOINT_LEVELS`] entries,
    /// another error if the header is malformed or has no entry.
    pub fn decode(object: &[u8]) -> Result<(CheckpointHeader, &[u8]), FormatError> {
        limited("checkpoint", object.len() as u64, CHECKPOINT_BYTES_MAX)?;
        let mut reader = Reader::new("checkpoint", object);
        reader.preamble(MAGIC)?;
        let repository = RepositoryId(reader.array()?);
        let (first, count) = (reader.u64()?, reader.u64()?);
        limited("entries of a checkpoint", count, CHECKPOINT_LEVELS[CHECKPOINT_LEVELS.len() - 1])?;
        if first == 0 || count == 0 || first.checked_add(count).is_none() {
            return Err(FormatError::Invalid { what: "range of a checkpoint" });
        }
        let salt = reader.array()?;
        Ok((CheckpointHeader { repository, first, count, salt }, reader.rest()))
    }
}

/// A slot of the log, as the host that wrote the checkpoint has judged it (spec section 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// BLAKE3 of the object. For an object over 64 MiB, BLAKE3 of its length as text (spec section 4.9).
    pub digest: Digest,
    /// The signed content of an authentic entry; `None` for any other slot (spec section 4.9).
    pub content: Option<EntryContent>,
}

/// The content that the author of an entry has signed, except for its salt (spec section 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryContent {
    /// Format version in the header of the entry (spec section 4.3).
    pub version: u16,
    /// Critical flags in the header of the entry (spec section 7).
    pub flags: u16,
    /// Id of the writer; zeros for the owner (spec section 3.7).
    pub author: WriterId,
    /// The CBOR record, without its padding (spec section 4.3).
    pub record: Vec<u8>,
}

/// The proof of an entry: with its [`EntryContent`], it rebuilds the object of the log (spec section 4.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Salt in the header of the entry (spec section 4.3).
    pub salt: [u8; 32],
    /// ML-DSA-65 signature by the author (spec section 3.7).
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Slot {
    /// Returns the length of the slot in a first part, in bytes.
    pub fn bytes(&self) -> u64 {
        let content = |content: &EntryContent| {
            2 + 2 + WriterId::BYTES as u64 + 4 + content.record.len() as u64
        };
        Digest::BYTES as u64 + 1 + self.content.as_ref().map_or(0, content)
    }
}

/// Encodes the slots of a first part, before compression (spec section 4.9).
pub fn encode_slots(slots: &[Slot]) -> Vec<u8> {
    let mut out = Vec::with_capacity(slots.iter().map(Slot::bytes).sum::<u64>() as usize);
    for Slot { digest, content } in slots {
        out.extend_from_slice(digest.as_bytes());
        out.push(u8::from(content.is_some()));
        if let Some(EntryContent { version, flags, author, record }) = content {
            out.extend_from_slice(&version.to_le_bytes());
            out.extend_from_slice(&flags.to_le_bytes());
            out.extend_from_slice(author.as_bytes());
            out.extend_from_slice(&(record.len() as u32).to_le_bytes());
            out.extend_from_slice(record);
        }
    }
    out
}

/// Decodes the slots of a first part, after decompression (spec section 4.9).
///
/// # Errors
/// If there are not exactly `count` slots, or one is malformed.
pub fn decode_slots(bytes: &[u8], count: u64) -> Result<Vec<Slot>, FormatError> {
    let mut reader = Reader::new("slots of a checkpoint", bytes);
    // Allocate slot by slot, because the count may be false.
    let mut slots = Vec::new();
    for _ in 0..count {
        let digest = Digest(reader.array()?);
        let content = match reader.u8()? {
            0 => None,
            1 => {
                let (version, flags) = (reader.u16()?, reader.u16()?);
                let author = WriterId(reader.array()?);
                let length = reader.length("log record", CHECKPOINT_BYTES_MAX)?;
                Some(EntryContent { version, flags, author, record: reader.take(length)?.to_vec() })
            }
            _ => return Err(FormatError::Invalid { what: "kind of a slot" }),
        };
        slots.push(Slot { digest, content });
    }
    reader.end()?;
    Ok(slots)
}

/// Encodes a second part, with zeros for each slot that is not authentic (spec section 4.9).
pub fn encode_proofs(proofs: &[Option<Proof>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(proofs.len() * PROOF_BYTES);
    for proof in proofs {
        match proof {
            Some(Proof { salt, signature }) => {
                out.extend_from_slice(salt);
                out.extend_from_slice(signature);
            }
            None => out.resize(out.len() + PROOF_BYTES, 0),
        }
    }
    out
}

/// Decodes the second part of a checkpoint with these slots (spec section 4.9).
///
/// # Errors
/// If the length is not that of these slots, or a slot that is not authentic has a proof.
pub fn decode_proofs(bytes: &[u8], slots: &[Slot]) -> Result<Vec<Option<Proof>>, FormatError> {
    let mut reader = Reader::new("proofs of a checkpoint", bytes);
    let mut proofs = Vec::with_capacity(slots.len());
    for slot in slots {
        let proof = Proof { salt: reader.array()?, signature: reader.array()? };
        let is_nothing = proof.salt == [0; 32] && proof.signature == [0; SIGNATURE_BYTES];
        match slot.content {
            Some(_) => proofs.push(Some(proof)),
            None if is_nothing => proofs.push(None),
            None => return Err(FormatError::Invalid { what: "proof of a void slot" }),
        }
    }
    reader.end()?;
    Ok(proofs)
}

/// Encodes a first part from compressed slots, padded to a power of two; `raw_bytes` is their length uncompressed.
pub fn encode_padded(raw_bytes: u32, compressed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(padded_bytes(compressed.len()));
    out.extend_from_slice(&raw_bytes.to_le_bytes());
    out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
    out.extend_from_slice(compressed);
    out.resize(padded_bytes(compressed.len()), 0);
    out
}

/// Decodes a first part, and returns the uncompressed length of the slots, and the compressed slots.
///
/// # Errors
/// If a length exceeds [`CHECKPOINT_BYTES_MAX`], or the padding is not that of [`encode_padded`].
pub fn decode_padded(bytes: &[u8]) -> Result<(usize, &[u8]), FormatError> {
    let mut reader = Reader::new("first part of a checkpoint", bytes);
    let raw_bytes = reader.length("slots of a checkpoint", CHECKPOINT_BYTES_MAX)?;
    let length = reader.length("first part of a checkpoint", CHECKPOINT_BYTES_MAX)?;
    let compressed = reader.take(length)?;
    if padded_bytes(length) != bytes.len() || reader.rest().iter().any(|byte| *byte != 0) {
        return Err(FormatError::Invalid { what: "padding of a checkpoint" });
    }
    Ok((raw_bytes, compressed))
}

fn padded_bytes(compressed_bytes: usize) -> usize {
    (compressed_bytes + 8).next_power_of_two().max(PADDED_BYTES_MIN)
}

/// Returns the length of the sealed second part of a checkpoint of `count` entries, in bytes (spec section 4.9).
pub fn proofs_bytes(count: u64) -> u64 {
    count * PROOF_BYTES as u64 + TAG_BYTES as u64
}

/// Returns the approximate length of a checkpoint of `count` entries, in bytes, if its slots do not compress.
pub fn checkpoint_bytes(count: u64, slots_bytes: u64) -> u64 {
    let slots = (slots_bytes + 8).next_power_of_two().max(PADDED_BYTES_MIN as u64);
    (CHECKPOINT_HEADER_BYTES + TAG_BYTES) as u64 + slots + proofs_bytes(count)
}

fn limited(what: &'static str, found: u64, max: u64) -> Result<(), FormatError> {
    if found > max { Err(FormatError::Limit { what, found, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Vec<Slot> {
        let record = vec![0xa5; 300];
        let content = EntryContent { version: 1, flags: 0, author: WriterId([7; 16]), record };
        let void = Slot { digest: Digest([1; 32]), content: None };
        vec![void, Slot { digest: Digest([2; 32]), content: Some(content) }]
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused() {
        let (slots, proof) = (slots(), Proof { salt: [3; 32], signature: [4; SIGNATURE_BYTES] });
        let encoded = encode_slots(&slots);
        assert_eq!(encoded.len() as u64, slots.iter().map(Slot::bytes).sum::<u64>());
        assert_eq!(decode_slots(&encoded, 2).as_ref(), Ok(&slots));
        for count in [0, 1, 3, u64::MAX] {
            assert!(decode_slots(&encoded, count).is_err(), "{count} slots");
        }
        for length in 0..encoded.len() {
            assert!(decode_slots(&encoded[..length], 2).is_err(), "{length} bytes");
        }
        let proofs = vec![None, Some(proof)];
        let mut encoded = encode_proofs(&proofs);
        assert_eq!(decode_proofs(&encoded, &slots), Ok(proofs));
        assert!(decode_proofs(&encoded[1..], &slots).is_err());
        encoded[0] = 1;
        assert!(decode_proofs(&encoded, &slots).is_err(), "a proof of nothing");
    }

    #[test]
    fn the_first_part_has_a_size_class() {
        let mut sizes = std::collections::BTreeSet::new();
        for length in [0, 1, 9_000, 16_376] {
            let compressed = vec![7; length];
            let padded = encode_padded(70_000, &compressed);
            assert_eq!(decode_padded(&padded), Ok((70_000, &compressed[..])));
            sizes.insert(padded.len());
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [16 << 10]);
        let mut padded = encode_padded(9, b"x");
        padded[5000] = 1;
        assert!(decode_padded(&padded).is_err());
        padded[5000] = 0;
        padded.resize(32 << 10, 0);
        assert!(decode_padded(&padded).is_err(), "twice as long");
        assert!(decode_padded(&encode_padded(u32::MAX, b"x")).is_err(), "over the limit");
    }
}
