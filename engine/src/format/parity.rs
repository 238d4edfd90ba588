//! Parity of a pack: redundancy that heals its damaged bytes (spec section 4.10).
//!
//! There is one head at the front and a copy at the end, so that damage to one of them does no harm. Nothing here is
//! secret or authenticates anything. A reader compares a healed pack with the log.

use super::pack::PACK_BYTES_MAX;
use super::wire::{Reader, put_digest, put_preamble};
use super::{FormatError, PackId};

const MAGIC: &[u8; 8] = b"ICEPAR\0\0";
/// Length of the head before the digests of the shards.
const FIXED_BYTES: usize = 12 + 16 + 8 + 4 + 4 + 4;
/// Length of the digest of a shard.
const SHARD_DIGEST_BYTES: usize = 16;
/// Maximum number of shards of a pack, and of shards of its parity (spec section 8).
pub const SHARDS_MAX: usize = 1024;
/// Maximum size of a shard, in bytes (spec section 8).
pub const SHARD_BYTES_MAX: usize = 2 << 20;
/// Maximum size of a parity object, in bytes: parity as large as the pack, and two heads (spec section 8).
pub const PARITY_BYTES_MAX: u64 = PACK_BYTES_MAX + (1 << 20);

/// Digest that detects damage to one shard (spec section 4.10).
pub type ShardDigest = [u8; SHARD_DIGEST_BYTES];

/// Returns the length in bytes of a head for this many shards.
fn head_bytes(shards: usize) -> usize {
    FIXED_BYTES + shards * SHARD_DIGEST_BYTES + 32
}

/// Returns the length in bytes of a whole parity object (spec section 4.10).
pub fn object_bytes(originals: usize, recovery: usize, shard_bytes: usize) -> usize {
    2 * head_bytes(originals + recovery) + recovery * shard_bytes + 4
}

/// Returns the digest of a shard: the first half of its BLAKE3 (spec section 4.10).
pub fn shard_digest(shard: &[u8]) -> ShardDigest {
    let mut digest = [0; SHARD_DIGEST_BYTES];
    digest.copy_from_slice(&blake3::hash(shard).as_bytes()[..SHARD_DIGEST_BYTES]);
    digest
}

/// The head of a parity object (spec section 4.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParityHead {
    /// Id of the pack, as in the name of the object (spec section 4.10).
    pub pack: PackId,
    /// Length of the pack, at most [`PACK_BYTES_MAX`].
    pub pack_bytes: u64,
    /// Size of each shard, a multiple of 64. The last shard of the pack is padded with zeros.
    pub shard_bytes: usize,
    /// Digests of the shards of the pack.
    pub originals: Vec<ShardDigest>,
    /// Digests of the shards of parity.
    pub recovery: Vec<ShardDigest>,
}

impl ParityHead {
    /// Returns the length of the head, in bytes.
    pub fn bytes(&self) -> usize {
        head_bytes(self.originals.len() + self.recovery.len())
    }

    /// Encodes the whole object from the head and the shards of parity (spec section 4.10).
    pub fn encode<'a>(&self, recovery: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let shards = self.recovery.len() * self.shard_bytes;
        let mut out = Vec::with_capacity(2 * self.bytes() + shards + 4);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.pack.as_bytes());
        out.extend_from_slice(&self.pack_bytes.to_le_bytes());
        for count in [self.shard_bytes, self.originals.len(), self.recovery.len()] {
            out.extend_from_slice(&(count as u32).to_le_bytes());
        }
        out.extend_from_slice(self.originals.as_flattened());
        out.extend_from_slice(self.recovery.as_flattened());
        put_digest(&mut out);
        for shard in recovery {
            out.extend_from_slice(shard);
        }
        out.extend_from_within(..self.bytes());
        out.extend_from_slice(&(self.bytes() as u32).to_le_bytes());
        out
    }

    /// Decodes the head that `bytes` begin with.
    fn decode(bytes: &[u8]) -> Result<ParityHead, FormatError> {
        let mut reader = Reader::new("parity", bytes);
        reader.preamble(MAGIC)?;
        let pack = PackId(reader.array()?);
        let pack_bytes = reader.u64()?;
        if pack_bytes > PACK_BYTES_MAX {
            let what = "pack of a parity";
            return Err(FormatError::Limit { what, found: pack_bytes, max: PACK_BYTES_MAX });
        }
        let shard_bytes = reader.length("shard of a parity", SHARD_BYTES_MAX as u64)?;
        let originals = reader.length("shards of a pack", SHARDS_MAX as u64)?;
        let recovery = reader.length("shards of a parity", originals as u64)?;
        let wanted = pack_bytes
            .checked_div(shard_bytes as u64)
            .map(|whole| whole + u64::from(!pack_bytes.is_multiple_of(shard_bytes as u64)));
        if !shard_bytes.is_multiple_of(64) || wanted != Some(originals as u64) || recovery == 0 {
            return Err(FormatError::Invalid { what: "shards of a parity" });
        }
        let mut digests = |count: usize| -> Result<Vec<ShardDigest>, FormatError> {
            let bytes = reader.take(count * SHARD_DIGEST_BYTES)?;
            Ok(bytes.as_chunks().0.to_vec())
        };
        let (originals, recovery) = (digests(originals)?, digests(recovery)?);
        let head = ParityHead { pack, pack_bytes, shard_bytes, originals, recovery };
        let digest: [u8; 32] = reader.array()?;
        if blake3::hash(&bytes[..head.bytes() - 32]) != digest {
            return Err(FormatError::Invalid { what: "digest" });
        }
        Ok(head)
    }

    /// Decodes the head at the end of an object.
    fn decode_last(object: &[u8]) -> Option<ParityHead> {
        let (front, length) = object.split_last_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let at = front.len().checked_sub(length)?;
        ParityHead::decode(&front[at..]).ok().filter(|head| head.bytes() == length)
    }
}

/// A parity object as it was read. It may be partly damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity<'a> {
    /// The head at the front, or the one at the end if the front one is damaged.
    pub head: ParityHead,
    /// The shards of parity. Damaged or missing ones are `None`.
    pub recovery: Vec<Option<&'a [u8]>>,
    /// Whether both heads and all shards are intact.
    pub is_whole: bool,
}

impl<'a> Parity<'a> {
    /// Decodes an object that has at least one intact head (spec section 4.10).
    ///
    /// # Errors
    /// [`FormatError::Limit`] over [`PARITY_BYTES_MAX`] bytes, or the error of the first head if both are damaged.
    pub fn decode(object: &'a [u8]) -> Result<Parity<'a>, FormatError> {
        let found = object.len() as u64;
        if found > PARITY_BYTES_MAX {
            return Err(FormatError::Limit { what: "parity", found, max: PARITY_BYTES_MAX });
        }
        let first = ParityHead::decode(object);
        let first_is_whole = first.is_ok();
        let head = first.or_else(|error| ParityHead::decode_last(object).ok_or(error))?;
        let (start, shard_bytes) = (head.bytes(), head.shard_bytes);
        let shard = |(at, digest): (usize, &ShardDigest)| {
            let from = start + at * shard_bytes;
            let shard = object.get(from..from + shard_bytes)?;
            (shard_digest(shard) == *digest).then_some(shard)
        };
        let recovery: Vec<_> = head.recovery.iter().enumerate().map(shard).collect();
        let end = start + recovery.len() * shard_bytes;
        let is_whole = first_is_whole
            && recovery.iter().all(Option::is_some)
            && object.get(end..).is_some_and(|rest| {
                let length = (start as u32).to_le_bytes();
                rest.strip_suffix(&length) == Some(&object[..start])
            });
        Ok(Parity { head, recovery, is_whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Vec<u8> {
        let shards: Vec<[u8; 64]> = vec![[1; 64], [2; 64]];
        let head = ParityHead {
            pack: PackId([7; 16]),
            pack_bytes: 150,
            shard_bytes: 64,
            originals: vec![[3; 16], [4; 16], [5; 16]],
            recovery: shards.iter().map(|shard| shard_digest(shard)).collect(),
        };
        head.encode(shards.iter().map(|shard| &shard[..]))
    }

    #[test]
    fn any_damaged_byte_is_noticed_and_one_head_is_enough() {
        let object = object();
        let whole = Parity::decode(&object).unwrap();
        assert!(whole.is_whole);
        assert_eq!(whole.recovery, [Some(&[1; 64][..]), Some(&[2; 64])]);
        for at in 0..object.len() {
            let mut damaged = object.clone();
            damaged[at] ^= 0x40;
            let found = Parity::decode(&damaged).unwrap();
            assert!(!found.is_whole, "byte {at}");
            assert_eq!(found.head, whole.head, "byte {at}");
            let lost = found.recovery.iter().filter(|shard| shard.is_none()).count();
            let in_shard = (whole.head.bytes()..whole.head.bytes() + 128).contains(&at);
            assert_eq!(lost, usize::from(in_shard), "byte {at}");
        }
        for cut in 0..object.len() {
            match Parity::decode(&object[..cut]) {
                Ok(found) => assert!(!found.is_whole && found.head == whole.head, "cut at {cut}"),
                Err(_) => assert!(cut < whole.head.bytes(), "cut at {cut}"),
            }
        }
        let mut longer = object.clone();
        longer.push(0);
        assert!(!Parity::decode(&longer).unwrap().is_whole);
        let mut both = object.clone();
        both[13] ^= 1;
        let second = both.len() - 4 - whole.head.bytes() + 13;
        both[second] ^= 1;
        assert_eq!(Parity::decode(&both), Err(FormatError::Invalid { what: "digest" }));
    }

    #[test]
    fn more_than_any_parity_is_not_looked_at() {
        // The zeros are never written, so they use no memory.
        let object = vec![0; PARITY_BYTES_MAX as usize + 1];
        let found = object.len() as u64;
        let (what, max) = ("parity", (2 << 30) + (1 << 20));
        assert_eq!(Parity::decode(&object), Err(FormatError::Limit { what, found, max }));
        let most = Parity::decode(&object[1..]);
        assert!(matches!(most, Err(error) if !matches!(error, FormatError::Limit { .. })));
    }

    #[test]
    fn no_count_is_believed() {
        let object = object();
        for (at, count) in [(28, u64::MAX), (28, 0), (36, 0), (36, 65), (40, 4), (44, 0), (44, 4)] {
            let mut bad = object[..object.len() / 2].to_vec();
            let width = if at == 28 { 8 } else { 4 };
            bad[at..at + width].copy_from_slice(&count.to_le_bytes()[..width]);
            let error = Parity::decode(&bad).unwrap_err();
            let refused = matches!(error, FormatError::Invalid { .. } | FormatError::Limit { .. });
            assert!(refused, "{at} {count}: {error}");
        }
    }
}
