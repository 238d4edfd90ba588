//! The objects `keys/<slot>`: the identity, sealed under a password (spec section 4.2).

use super::wire::{Reader, put_digest, put_preamble};
use super::{FormatError, RepositoryId, SlotId};

const MAGIC: &[u8; 8] = b"ICEKEY\0\0";
/// Length of a sealed identity: seed and tag.
pub const SEALED_BYTES: usize = 32 + 16;
/// Maximum length of a label, in bytes of UTF-8 (spec section 8).
pub const LABEL_BYTES_MAX: usize = 255;
/// Maximum size of a key slot, in bytes (spec section 8).
pub const SLOT_BYTES_MAX: u64 = 1024;

/// Maximum number of slots under `keys/`, and in a list of valid slots (spec section 8).
pub const SLOTS_MAX: usize = 64;

/// Maximum memory that a slot can demand, in KiB: 64 GiB (spec section 8). See also [`KdfCost::MEMORY_KIB_USUAL`].
pub const MEMORY_KIB_MAX: u32 = 64 << 20;

/// Cost of Argon2id (spec section 3.5). Checked against limits when read, so that a hostile slot cannot exhaust the
/// host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB: 8 KiB to 64 GiB, and at least 8 KiB per lane (spec section 8).
    pub memory_kib: u32,
    /// Passes over the memory, 1 to 16 (spec section 8).
    pub passes: u32,
    /// Degree of parallelism, 1 to 16 (spec section 8).
    pub lanes: u32,
}

impl Default for KdfCost {
    /// Returns 256 MiB, 3 passes and 4 lanes. This is four times the memory of the second recommended option of RFC
    /// 9106, because the provider of the store can copy a slot and try passwords on it for decades.
    fn default() -> Self {
        KdfCost { memory_kib: 256 << 10, passes: 3, lanes: 4 }
    }
}

impl KdfCost {
    /// Maximum memory that a reader uses unless the user allows more, in KiB: 1 GiB (spec section 3.5).
    pub const MEMORY_KIB_USUAL: u32 = 1 << 20;
    /// Minimum memory of a new slot, in KiB: 8 MiB (spec section 4.2).
    pub const MEMORY_KIB_LEAST: u32 = 8 << 10;

    /// Returns the default cost with `bytes` of memory, clamped to the limits of a new slot.
    pub fn with_memory(bytes: u64) -> KdfCost {
        let kib = (bytes >> 10).clamp(Self::MEMORY_KIB_LEAST.into(), MEMORY_KIB_MAX.into());
        KdfCost { memory_kib: kib as u32, ..KdfCost::default() }
    }

    /// Returns the cost of a new slot on a machine with `bytes` of memory: the default, but at most a quarter of the
    /// memory, rounded down to a power of two (spec section 4.2).
    pub fn on_machine(bytes: u64) -> KdfCost {
        let quarter = (bytes / 4).checked_ilog2().map_or(0, |log| 1 << log);
        KdfCost::with_memory(quarter.min(KdfCost::default().memory_bytes()))
    }

    /// Returns the memory that one attempt with a password needs, in bytes.
    pub fn memory_bytes(self) -> u64 {
        u64::from(self.memory_kib) << 10
    }

    fn validate(self) -> Result<Self, FormatError> {
        let bounded = (8..=MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && self.memory_kib >= 8 * self.lanes;
        if bounded { Ok(self) } else { Err(FormatError::Invalid { what: "Argon2id cost" }) }
    }
}

/// A decoded key slot, still sealed (spec section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Id of the repository, as in `config` (spec section 4.1).
    pub repository: RepositoryId,
    /// Random id, as in the name of the object (spec section 4.2).
    pub slot: SlotId,
    /// Time of creation, in seconds since 1970 UTC.
    pub created: i64,
    /// Cost of Argon2id for each attempt with a password.
    pub cost: KdfCost,
    /// Random salt of Argon2id (spec section 3.5).
    pub salt: [u8; 32],
    /// Commitment to the slot key, because AES-GCM-SIV does not commit to its key (spec section 3.3).
    pub commitment: [u8; 32],
    /// Name chosen by the owner, not encrypted, at most [`LABEL_BYTES_MAX`] bytes. Escape it before you print it.
    pub label: String,
    /// The identity seed, sealed under the slot key (spec section 3.3).
    pub sealed: [u8; SEALED_BYTES],
}

impl KeySlot {
    /// Encodes everything before the sealed identity, which is also its associated data.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(self.slot.as_bytes());
        out.extend_from_slice(&self.created.to_le_bytes());
        for cost in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            out.extend_from_slice(&cost.to_le_bytes());
        }
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.commitment);
        out.extend_from_slice(&(self.label.len() as u16).to_le_bytes());
        out.extend_from_slice(self.label.as_bytes());
        out
    }

    /// Encodes the whole object (spec section 4.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_head();
        out.extend_from_slice(&self.sealed);
        put_digest(&mut out);
        out
    }

    /// Decodes an object. The digest at its end detects damage without the password but authenticates nothing.
    ///
    /// # Errors
    /// If a field is malformed or over its limit, or the digest is wrong.
    pub fn decode(object: &[u8]) -> Result<KeySlot, FormatError> {
        let mut reader = Reader::new("key slot", object);
        reader.preamble(MAGIC)?;
        let repository = RepositoryId(reader.array()?);
        let slot = SlotId(reader.array()?);
        let created = i64::from_le_bytes(reader.array()?);
        let cost =
            KdfCost { memory_kib: reader.u32()?, passes: reader.u32()?, lanes: reader.u32()? }
                .validate()?;
        let salt = reader.array()?;
        let commitment = reader.array()?;
        let length = usize::from(reader.u16()?);
        if length > LABEL_BYTES_MAX {
            let max = LABEL_BYTES_MAX as u64;
            return Err(FormatError::Limit { what: "label", found: length as u64, max });
        }
        let label = String::from_utf8(reader.take(length)?.to_vec())
            .map_err(|_| FormatError::Invalid { what: "label" })?;
        let sealed = reader.array()?;
        reader.digest(object)?;
        Ok(KeySlot { repository, slot, created, cost, salt, commitment, label, sealed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_takes_less_memory_for_a_password() {
        let mib = |machine: u64| KdfCost::on_machine(machine << 20).memory_kib >> 10;
        assert_eq!([24_000, 1024, 1023, 512, 480, 256].map(mib), [256, 256, 128, 128, 64, 64]);
        assert_eq!([32, 16, 0].map(mib), [8, 8, 8], "less is too little for any password");
        assert!(KdfCost::on_machine(1 << 30) == KdfCost::default());
        let costly = KdfCost { memory_kib: MEMORY_KIB_MAX, ..KdfCost::default() };
        assert!(costly.validate().is_ok());
        let over = KdfCost { memory_kib: MEMORY_KIB_MAX + 1, ..costly };
        assert!(over.validate().is_err(), "no length is believed without a limit");
    }
}
