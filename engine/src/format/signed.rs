//! The sealed part of a log entry: author, signature and record (spec section 4.3).

use super::id::SIGNATURE_BYTES;
use super::log::ENTRY_BYTES_MAX;
use super::wire::{Reader, to_cbor};
use super::{FormatError, LogEntry, WriterId};

/// The only signature scheme: ML-DSA-65.
const ML_DSA_65: u16 = 1;
/// Minimum size of a padded record. The entry of a usual night has this size, so that it does not reveal how many
/// chunks were added.
const PADDED_BYTES_MIN: u64 = 16 << 10;

/// Returns the length of the object of an entry with a record of `record_bytes` (spec section 4.3).
pub fn entry_bytes(record_bytes: u64) -> u64 {
    padded_bytes(record_bytes) + 68 + 16
}

/// Length of the smallest object of an entry, such as that of a usual night: 16,468 bytes (spec section 4.3).
pub const SMALL_ENTRY_BYTES: u64 = PADDED_BYTES_MIN + 68 + 16;

/// The author id of the owner, who has the identity: sixteen zeros (spec section 3.7).
pub const OWNER: WriterId = WriterId([0; 16]);

/// A writer id that no entry may enrol. It belongs to hosts with the key of a log reader (spec section 3.9).
pub const NO_WRITER: WriterId = WriterId([0xff; 16]);

/// A record with its author and signature, before it is sealed (spec section 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord<'a> {
    /// Id of the writer, or [`OWNER`].
    pub author: WriterId,
    /// ML-DSA-65 signature of [`signed_bytes`] (spec section 3.7).
    pub signature: [u8; SIGNATURE_BYTES],
    /// The CBOR record, at most [`ENTRY_BYTES_MAX`].
    pub record: &'a [u8],
}

impl<'a> SignedRecord<'a> {
    /// Encodes author, signature and record, padded to a power of two (spec section 4.3).
    pub fn encode_padded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(padded_bytes(self.record.len() as u64) as usize);
        out.extend_from_slice(&ML_DSA_65.to_le_bytes());
        out.extend_from_slice(self.author.as_bytes());
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(&(self.record.len() as u32).to_le_bytes());
        out.extend_from_slice(self.record);
        out.resize(padded_bytes(self.record.len() as u64) as usize, 0);
        out
    }

    /// Decodes the output of [`SignedRecord::encode_padded`]. Each record has only one valid padding, so that the
    /// object can be rebuilt from a checkpoint, which omits the padding.
    ///
    /// # Errors
    /// [`FormatError::UnknownScheme`] if the signature is not ML-DSA-65, another error if length or padding is wrong.
    pub fn decode_padded(bytes: &'a [u8]) -> Result<SignedRecord<'a>, FormatError> {
        let mut reader = Reader::new("log record", bytes);
        match reader.u16()? {
            ML_DSA_65 => {}
            scheme => return Err(FormatError::UnknownScheme { scheme }),
        }
        let author = WriterId(reader.array()?);
        let signature = reader.array()?;
        let length = reader.length("log record", ENTRY_BYTES_MAX)?;
        let record = reader.take(length)?;
        let padding = reader.rest();
        if padded_bytes(length as u64) != bytes.len() as u64 || padding.iter().any(|b| *b != 0) {
            return Err(FormatError::Invalid { what: "padding of a record" });
        }
        Ok(SignedRecord { author, signature, record })
    }
}

/// Returns the length of a record of `record_bytes` with author, signature and padding.
fn padded_bytes(record_bytes: u64) -> u64 {
    let bytes = 2 + WriterId::BYTES as u64 + SIGNATURE_BYTES as u64 + 4 + record_bytes;
    bytes.next_power_of_two().max(PADDED_BYTES_MIN)
}

/// Returns the message that an author signs: header of the entry, author, record (spec section 3.7).
pub fn signed_bytes(header: &[u8], author: WriterId, record: &[u8]) -> Vec<u8> {
    [header, author.as_bytes(), record].concat()
}

impl LogEntry {
    /// Encodes the record in the form that is signed (spec section 4.3).
    pub fn encode(&self) -> Vec<u8> {
        to_cbor(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_quiet_night_have_one_size() {
        let record = vec![7; 12_000];
        let mut sizes = std::collections::BTreeSet::new();
        for length in [0, 1, 900, 12_000] {
            let signature = [9; SIGNATURE_BYTES];
            let signed = SignedRecord { author: OWNER, signature, record: &record[..length] };
            let padded = signed.encode_padded();
            assert_eq!(SignedRecord::decode_padded(&padded), Ok(signed));
            sizes.insert(padded.len());
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [16 << 10]);
        assert_eq!(padded_bytes(20_000), 32 << 10);
    }

    #[test]
    fn another_padding_is_refused() {
        let signed = SignedRecord { author: OWNER, signature: [9; SIGNATURE_BYTES], record: b"x" };
        let mut padded = signed.encode_padded();
        let last = padded.len() - 1;
        padded[last] = 1;
        assert!(SignedRecord::decode_padded(&padded).is_err());
        padded[last] = 0;
        padded.resize(2 * padded.len(), 0);
        assert!(SignedRecord::decode_padded(&padded).is_err(), "twice as long");
        padded.truncate(5000);
        assert!(SignedRecord::decode_padded(&padded).is_err(), "without most of it");
    }
}
