//! Filling a pack: chunks are sealed into its buffer one after the other, then it is closed.

use bytes::Bytes;

use crate::codec::keys::{digest, random};
use crate::codec::{CodecError, PackKey, Secrets};
use crate::format::pack::{
    HEADER_BYTES, ROW_BYTES, TAG_BYTES, TRAILER_BYTES, encode_table, padded_bytes, tail_bytes,
};
use crate::format::{ChunkId, Codec, Frame, PackId, PackKind, PackRecord, Trailer};
use crate::store::DIRECT_ALIGN_BYTES;

/// Most chunks that are put into one pack: its table must leave room in a log entry.
const WRITTEN_ROWS_MAX: usize = 1 << 17;

/// Room for a chunk larger than the pack is meant to be, without copying the rest.
const CHUNK_SPARE_BYTES: usize = 64 << 10;

/// How large a pack may grow for a file to end in it.
fn bytes_max(bytes_target: usize) -> usize {
    bytes_target + bytes_target / 2
}

/// A pack that is being filled. The buffer is the object: nothing is copied when it is closed.
pub struct PackBuilder {
    kind: PackKind,
    id: PackId,
    key: PackKey,
    buffer: Vec<u8>,
    /// Where the object begins in the buffer, so that a disk can take it directly.
    start: usize,
    frames: Vec<Frame>,
    bytes_target: usize,
}

/// A closed pack, ready to be uploaded.
#[derive(Debug, Clone)]
pub struct SealedPack {
    pub record: PackRecord,
    pub object: Bytes,
}

impl PackBuilder {
    /// Begins a pack of `bytes_target` bytes or somewhat more, under a fresh name and a fresh key.
    pub fn new(secrets: &Secrets, kind: PackKind, bytes_target: u64) -> Result<Self, CodecError> {
        let id = PackId(random());
        let credential = secrets.credential();
        let (key, header) =
            PackKey::create(&credential.public_key, credential.repository, id, kind)?;
        let bytes_target = usize::try_from(bytes_target).expect("a pack fits in memory");
        // Reserved whole, so that filling never copies; pages that stay empty cost nothing.
        let bytes_max = bytes_max(bytes_target) as u64;
        let capacity = padded_bytes(bytes_max) as usize + CHUNK_SPARE_BYTES;
        let mut buffer: Vec<u8> = Vec::with_capacity(capacity + DIRECT_ALIGN_BYTES);
        let start = buffer.as_ptr().align_offset(DIRECT_ALIGN_BYTES).min(DIRECT_ALIGN_BYTES);
        buffer.resize(start, 0);
        buffer.extend_from_slice(&header.encode());
        Ok(PackBuilder { kind, id, key, buffer, start, frames: Vec::new(), bytes_target })
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Returns whether it has the size that it is meant to have.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_target || self.frames.len() >= WRITTEN_ROWS_MAX
    }

    /// Returns whether it is at least half of what it is meant to be.
    pub fn is_half_full(&self) -> bool {
        self.bytes() >= self.bytes_target / 2
    }

    /// Returns whether `raw_bytes` of plaintext in `chunks` chunks may still go in: a file that
    /// begins in a pack should end in it, even if that makes the pack larger than it is meant to
    /// be. An empty pack takes any chunk.
    pub fn fits(&self, raw_bytes: u64, chunks: usize) -> bool {
        let rows = self.frames.len() + chunks;
        let overhead = (rows * ROW_BYTES + (chunks + 1) * TAG_BYTES + TRAILER_BYTES) as u64;
        let wanted = self.bytes() as u64 + raw_bytes + overhead;
        self.is_empty() || (!self.is_full() && wanted <= bytes_max(self.bytes_target) as u64)
    }

    /// Seals one chunk into the pack.
    pub fn add(&mut self, id: ChunkId, raw_bytes: u32, codec: Codec, content: &[u8]) -> Frame {
        let stored_bytes = (content.len() + TAG_BYTES) as u32;
        let frame = Frame { id, raw_bytes, stored_bytes, codec };
        self.key.seal_frame(&mut self.buffer, self.frames.len() as u32, &frame, content);
        self.frames.push(frame);
        frame
    }

    /// Closes the pack: padding, table, trailer.
    pub fn finish(mut self, class: &str) -> SealedPack {
        let table = encode_table(&self.frames);
        let tail = tail_bytes(self.frames.len() as u64) as usize;
        let total = padded_bytes((self.bytes() + tail) as u64) as usize;
        let padding = self.buffer.len();
        let table_offset = total - tail;
        self.buffer.resize(self.start + table_offset, 0);
        self.key.padding(&mut self.buffer[padding..]);
        self.key.seal_table(&mut self.buffer, &table);
        let trailer = Trailer {
            table_offset: table_offset as u64,
            table_bytes: (table.len() + TAG_BYTES) as u64,
        };
        self.key.seal_trailer(&mut self.buffer, &trailer);
        let object = Bytes::from(self.buffer).slice(self.start..);
        let record = PackRecord {
            id: self.id,
            kind: self.kind,
            bytes: total as u64,
            digest: digest(&[&object[..HEADER_BYTES], &object[table_offset..]]),
            crc64: crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &object),
            class: class.to_owned(),
            table: table.into(),
        };
        SealedPack { record, object }
    }
}
