//! Packs: header, sealed frames, padding, sealed table, sealed trailer (spec section 4.5).

use minicbor::{Decode, Encode};

pub use super::wire::padded_bytes;

use super::wire::{Reader, put_preamble};
use super::{ChunkId, FormatError, PackId, RepositoryId};

const MAGIC: &[u8; 8] = b"ICEPACK\0";
/// Length of an X-Wing ciphertext (spec section 1.1).
pub const SEALED_KEY_BYTES: usize = 1120;
/// Length of the pack context, the front of the header. All keys of the pack depend on it (spec section 3.2).
pub const CONTEXT_BYTES: usize = 8 + 2 + 2 + 4 + 16 + 16;
/// Length of the header. The first frame follows it (spec section 4.5).
pub const HEADER_BYTES: usize = CONTEXT_BYTES + SEALED_KEY_BYTES + 32;
/// Length of the sealed trailer at the very end.
pub const TRAILER_BYTES: usize = 16 + TAG_BYTES;
/// Number of bytes that sealing adds to a frame.
pub const TAG_BYTES: usize = 16;
/// Length of one row of a table.
pub const ROW_BYTES: usize = 32 + 4 + 4 + 1;
/// Maximum size of a chunk, in bytes of plaintext (spec section 8).
pub const CHUNK_BYTES_MAX: u32 = 64 << 20;
/// Maximum size of a pack, in bytes (spec section 8).
pub const PACK_BYTES_MAX: u64 = 2 << 30;
/// Maximum number of rows in one table (spec section 8).
pub const ROWS_MAX: u64 = 1 << 20;

/// Kind of a pack, which determines its prefix and its storage class (spec section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PackKind {
    /// Trees and snapshot records, under `meta/`.
    #[n(1)]
    Meta = 1,
    /// Small files and files that change often, under `hot/`.
    #[n(2)]
    Hot = 2,
    /// All other files, under `packs/`.
    #[n(3)]
    Cold = 3,
}

impl TryFrom<u8> for PackKind {
    type Error = FormatError;
    fn try_from(byte: u8) -> Result<Self, FormatError> {
        match byte {
            1 => Ok(PackKind::Meta),
            2 => Ok(PackKind::Hot),
            3 => Ok(PackKind::Cold),
            _ => Err(FormatError::Unknown { what: "kind of pack", value: byte }),
        }
    }
}

/// Encoding of the plaintext of a chunk in its frame. A reader refuses unknown codecs (spec section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// The plaintext itself (spec section 4.5).
    Stored = 0,
    /// One zstd frame without dictionary (spec section 4.5).
    Zstd = 1,
}

impl TryFrom<u8> for Codec {
    type Error = FormatError;
    fn try_from(byte: u8) -> Result<Self, FormatError> {
        match byte {
            0 => Ok(Codec::Stored),
            1 => Ok(Codec::Zstd),
            _ => Err(FormatError::Unknown { what: "codec", value: byte }),
        }
    }
}

/// The header of a pack, in clear (spec section 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackHeader {
    /// Kind. A reader refuses a kind that it does not expect (spec section 4.5).
    pub kind: PackKind,
    /// Id of the repository, as in `config` (spec section 4.1).
    pub repository: RepositoryId,
    /// Random id, as in the name of the object (spec section 4.5).
    pub pack: PackId,
    /// X-Wing ciphertext of the shared secret from which the keys of the pack are derived (spec section 3.2).
    pub sealed_key: [u8; SEALED_KEY_BYTES],
    /// Commitment to the shared secret. Compare it before you open anything (spec section 3.3).
    pub commitment: [u8; 32],
}

/// Encodes the pack context, the first [`CONTEXT_BYTES`] of a header (spec section 3.2).
pub fn context(kind: PackKind, repository: RepositoryId, pack: PackId) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    put_preamble(&mut out, MAGIC);
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(repository.as_bytes());
    out.extend_from_slice(pack.as_bytes());
    out
}

impl PackHeader {
    /// Encodes the header, [`HEADER_BYTES`] bytes (spec section 4.5).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = context(self.kind, self.repository, self.pack);
        out.extend_from_slice(&self.sealed_key);
        out.extend_from_slice(&self.commitment);
        out
    }

    /// Decodes the first [`HEADER_BYTES`] of a pack (spec section 4.5).
    ///
    /// # Errors
    /// If there are too few bytes, or magic, version, flags, kind or reserved bytes are not valid.
    pub fn decode(bytes: &[u8]) -> Result<PackHeader, FormatError> {
        let mut reader = Reader::new("pack", bytes);
        reader.preamble(MAGIC)?;
        let kind = PackKind::try_from(reader.u8()?)?;
        if reader.array::<3>()? != [0; 3] {
            return Err(FormatError::Invalid { what: "reserved bytes of a pack" });
        }
        Ok(PackHeader {
            kind,
            repository: RepositoryId(reader.array()?),
            pack: PackId(reader.array()?),
            sealed_key: reader.array()?,
            commitment: reader.array()?,
        })
    }
}

/// A row of the table, which describes one sealed chunk. Frames follow each other without gaps (spec section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Id of the chunk, unique in a table (spec section 4.5).
    pub id: ChunkId,
    /// Size of the plaintext, at most [`CHUNK_BYTES_MAX`].
    pub raw_bytes: u32,
    /// Size in the pack, including the tag.
    pub stored_bytes: u32,
    /// Encoding of the content of the frame.
    pub codec: Codec,
}

impl Frame {
    /// Returns the row of a chunk whose encoded content has `content_bytes` bytes, without the tag. The content may not
    /// be larger than the plaintext, which has at most [`CHUNK_BYTES_MAX`].
    pub fn new(id: ChunkId, raw_bytes: u32, codec: Codec, content_bytes: usize) -> Frame {
        Frame { id, raw_bytes, stored_bytes: (content_bytes + TAG_BYTES) as u32, codec }
    }

    /// Returns the size of the encoded content, in bytes, without the tag.
    pub fn content_bytes(&self) -> u64 {
        u64::from(self.stored_bytes).saturating_sub(TAG_BYTES as u64)
    }
}

/// Encodes a table, [`ROW_BYTES`] for each frame (spec section 4.5).
pub fn encode_table(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.len() * ROW_BYTES);
    for frame in frames {
        out.extend_from_slice(frame.id.as_bytes());
        out.extend_from_slice(&frame.raw_bytes.to_le_bytes());
        out.extend_from_slice(&frame.stored_bytes.to_le_bytes());
        out.push(frame.codec as u8);
    }
    out
}

/// Decodes a table whose frames must fit in a pack of `pack_bytes` (spec section 4.5).
///
/// # Errors
/// If there are too many rows, a length or codec is not valid, or a chunk occurs twice.
pub fn decode_table(bytes: &[u8], pack_bytes: u64) -> Result<Vec<Frame>, FormatError> {
    let rows = (bytes.len() / ROW_BYTES) as u64;
    if !bytes.len().is_multiple_of(ROW_BYTES) {
        return Err(FormatError::Invalid { what: "length of a pack table" });
    }
    if rows > ROWS_MAX {
        return Err(FormatError::Limit {
            what: "rows of a pack table",
            found: rows,
            max: ROWS_MAX,
        });
    }
    let mut reader = Reader::new("pack table", bytes);
    let mut end = HEADER_BYTES as u64;
    let mut frames = Vec::with_capacity(rows as usize);
    for _ in 0..rows {
        let id = ChunkId(reader.array()?);
        let raw_bytes = reader.length("chunk", u64::from(CHUNK_BYTES_MAX))? as u32;
        let stored_bytes = reader.u32()?;
        let codec = Codec::try_from(reader.u8()?)?;
        let sealed_max = u64::from(raw_bytes) + TAG_BYTES as u64;
        let stored = u64::from(stored_bytes);
        let fits = match codec {
            Codec::Stored => stored == sealed_max,
            Codec::Zstd => (TAG_BYTES as u64..=sealed_max).contains(&stored),
        };
        end += stored;
        if !fits || end > pack_bytes {
            return Err(FormatError::Invalid { what: "length of a frame" });
        }
        frames.push(Frame { id, raw_bytes, stored_bytes, codec });
    }
    let mut ids: Vec<&ChunkId> = frames.iter().map(|frame| &frame.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(FormatError::Invalid { what: "pack table: it lists a chunk twice" });
    }
    Ok(frames)
}

/// Place of the table in a pack (spec section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// Offset of the sealed table from the start of the pack, at least [`HEADER_BYTES`].
    pub table_offset: u64,
    /// Bytes of the sealed table, tag included.
    pub table_bytes: u64,
}

impl Trailer {
    /// Encodes the trailer, before it is sealed (spec section 4.5).
    pub fn encode(&self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.table_offset.to_le_bytes());
        out[8..].copy_from_slice(&self.table_bytes.to_le_bytes());
        out
    }

    /// Decodes the opened trailer of a pack of `pack_bytes` (spec section 4.5).
    ///
    /// # Errors
    /// If the table does not end where the trailer begins, starts within the header, or is over its limit.
    pub fn decode(bytes: &[u8], pack_bytes: u64) -> Result<Trailer, FormatError> {
        let mut reader = Reader::new("pack trailer", bytes);
        let trailer = Trailer { table_offset: reader.u64()?, table_bytes: reader.u64()? };
        reader.end()?;
        let end = trailer.table_offset.checked_add(trailer.table_bytes);
        let end = end.and_then(|end| end.checked_add(TRAILER_BYTES as u64));
        let rows = trailer.table_bytes.checked_sub(TAG_BYTES as u64);
        let bounded = rows.is_some_and(|rows| rows <= ROWS_MAX * ROW_BYTES as u64);
        if end != Some(pack_bytes) || trailer.table_offset < HEADER_BYTES as u64 || !bounded {
            return Err(FormatError::Invalid { what: "pack trailer" });
        }
        Ok(trailer)
    }
}

/// Returns the length of sealed table and trailer together, in bytes, of a pack with `rows` chunks.
pub fn tail_bytes(rows: u64) -> u64 {
    rows.saturating_mul(ROW_BYTES as u64).saturating_add((TAG_BYTES + TRAILER_BYTES) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::wire::POWERS_BYTES_MAX;
    use super::*;

    #[test]
    fn a_table_has_as_many_rows_as_it_may() {
        let rows = |count: u64| {
            let frame = |number: u64| {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&number.to_le_bytes());
                Frame { id: ChunkId(id), raw_bytes: 0, stored_bytes: 16, codec: Codec::Stored }
            };
            decode_table(&encode_table(&(0..count).map(frame).collect::<Vec<_>>()), PACK_BYTES_MAX)
        };
        assert_eq!(rows(ROWS_MAX).map(|frames| frames.len() as u64), Ok(ROWS_MAX));
        assert!(matches!(rows(ROWS_MAX + 1), Err(FormatError::Limit { max: ROWS_MAX, .. })));
    }

    #[test]
    fn padding_is_small_and_coarse() {
        assert_eq!(padded_bytes(0), 0);
        assert_eq!(padded_bytes(1), 16 << 10);
        assert_eq!(padded_bytes((16 << 10) + 1), 32 << 10);
        assert_eq!(padded_bytes((2 << 20) + 1), 4 << 20);
        assert_eq!(padded_bytes((4 << 20) + 1), (4 << 20) + (32 << 10));
        assert_eq!(padded_bytes(64 << 20), 64 << 20);
        assert_eq!(padded_bytes((64 << 20) + 1), (64 << 20) + (512 << 10));
        let classes: std::collections::BTreeSet<u64> =
            (32 << 20..64 << 20).step_by(4097).map(padded_bytes).collect();
        assert!(classes.len() <= 129, "{}", classes.len());
        for bytes in (100_000..90_000_000).step_by(99_991) {
            let padded = padded_bytes(bytes);
            let most = if bytes <= POWERS_BYTES_MAX { 1.0 } else { 0.008 };
            assert!(padded >= bytes && (padded - bytes) as f64 <= most * bytes as f64);
        }
    }
}
