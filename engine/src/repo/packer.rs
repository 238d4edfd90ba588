//! Fills packs: seals chunks into the buffer of a pack one after the other, then closes the pack.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm;

use super::buffers::{Buffer, Buffers};
use crate::codec::keys::{digest, random};
use crate::codec::{CodecError, PackKey, Secrets};
use crate::format::pack::{
    HEADER_BYTES, ROW_BYTES, TAG_BYTES, TRAILER_BYTES, encode_table, padded_bytes, tail_bytes,
};
use crate::format::{ChunkId, Codec, Frame, PackId, PackKind, PackRecord, Trailer};
use crate::store::DIRECT_ALIGN_BYTES;

/// Maximum number of chunks in one pack, so that a log entry has room for the tables of several
/// packs.
const WRITTEN_ROWS_MAX: usize = 1 << 17;

/// Spare space, so that a chunk larger than the pack's target size needs no copy of the buffer.
const CHUNK_SPARE_BYTES: usize = 64 << 10;

/// Returns the size up to which a pack may grow so that a file ends in it.
pub fn grown_bytes_max(bytes_target: u64) -> u64 {
    bytes_target + bytes_target / 16
}

/// A pack that is being filled. The buffer is the object: nothing is copied when it is closed.
pub struct PackBuilder {
    kind: PackKind,
    id: PackId,
    key: Arc<PackKey>,
    /// The buffer of the pack. It returns to its pool when it is dropped.
    buffer: Buffer,
    /// Offset of the object in the buffer, aligned for direct I/O.
    start: usize,
    /// The part of the buffer before the first chunk that is not sealed yet, …
    sealed: BytesMut,
    /// … the sealed chunks after it, by slot, …
    ahead: BTreeMap<u32, BytesMut>,
    /// … and the free rest.
    free: BytesMut,
    /// The first slot that is not sealed yet.
    slot: u32,
    bytes: usize,
    /// CRC of the object up to the end of `sealed`, computed while those bytes are in cache.
    crc64: crc_fast::Digest,
    frames: Vec<Frame>,
    bytes_target: usize,
}

/// The space of one chunk in a pack: [`PackBuilder::place`] reserves it, the thread that has the chunk seals the chunk
/// there, and [`PackBuilder::put_back`] joins it to the pack.
pub struct FrameSlot {
    frame: Frame,
    number: u32,
    out: BytesMut,
    /// `None` once the chunk is sealed.
    key: Option<Arc<PackKey>>,
}

impl FrameSlot {
    /// Seals the content of the chunk.
    pub fn seal(mut self, content: &[u8]) -> FrameSlot {
        let key = self.key.take().expect("a slot is sealed once");
        key.seal_frame(&mut self.out, self.number, &self.frame, content);
        self
    }
}

/// A closed pack, ready to be uploaded.
#[derive(Debug, Clone)]
pub struct SealedPack {
    /// Its record for the log.
    pub record: PackRecord,
    /// The whole object.
    pub object: Bytes,
}

impl PackBuilder {
    /// Begins a pack of at least `bytes_target` bytes, with a fresh name and a fresh key.
    pub fn new(secrets: &Secrets, kind: PackKind, bytes_target: u64) -> Result<Self, CodecError> {
        PackBuilder::within(Buffer::single, secrets, kind, bytes_target, 0)
    }

    /// Begins a pack in a reused buffer. Waits until one is free. `raw_bytes` is the size of the
    /// first chunk, which may be larger than the target size.
    pub fn in_one_of(
        buffers: &Arc<Buffers>,
        secrets: &Secrets,
        kind: PackKind,
        bytes_target: u64,
        raw_bytes: u64,
    ) -> Result<Self, CodecError> {
        PackBuilder::within(|bytes| buffers.take(bytes), secrets, kind, bytes_target, raw_bytes)
    }

    fn within(
        buffer: impl FnOnce(usize) -> Buffer,
        secrets: &Secrets,
        kind: PackKind,
        bytes_target: u64,
        raw_bytes: u64,
    ) -> Result<Self, CodecError> {
        let id = PackId(random());
        let credential = secrets.credential();
        let (key, header) =
            PackKey::create(&credential.public_key, credential.repository, id, kind)?;
        let bytes_target = usize::try_from(bytes_target).expect("a pack fits in memory");
        let bytes_max = grown_bytes_max(bytes_target as u64).max(raw_bytes);
        let capacity = padded_bytes(bytes_max) as usize + CHUNK_SPARE_BYTES;
        let mut buffer = buffer(capacity + DIRECT_ALIGN_BYTES);
        let mut sealed = std::mem::take(&mut buffer.bytes);
        let start = sealed.as_ptr().align_offset(DIRECT_ALIGN_BYTES).min(DIRECT_ALIGN_BYTES);
        let free = sealed.split_off(start);
        let mut pack = PackBuilder {
            kind,
            id,
            key: Arc::new(key),
            buffer,
            start,
            sealed,
            ahead: BTreeMap::new(),
            free,
            slot: 0,
            bytes: 0,
            crc64: crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme),
            frames: Vec::new(),
            bytes_target,
        };
        pack.fill(HEADER_BYTES, |_, out| out.copy_from_slice(&header.encode()));
        Ok(pack)
    }

    /// Reserves the next bytes of the buffer. Their content is arbitrary.
    fn room(&mut self, bytes: usize) -> BytesMut {
        if self.free.len() < bytes {
            // This rarely happens. Spaces that were reserved before are copied when they are put
            // back.
            let at = self.sealed.len();
            self.sealed.resize(at + 2 * bytes, 0);
            self.free = self.sealed.split_off(at);
        }
        self.bytes += bytes;
        self.free.split_to(bytes)
    }

    fn append(&mut self, out: BytesMut) {
        self.crc64.update(&out);
        self.sealed.unsplit(out);
    }

    fn fill(&mut self, bytes: usize, fill: impl FnOnce(&PackKey, &mut [u8])) {
        let mut out = self.room(bytes);
        fill(&self.key, &mut out);
        self.append(out);
    }

    /// Returns the kind of the pack.
    pub fn kind(&self) -> PackKind {
        self.kind
    }

    /// Returns whether it has no chunk.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns whether the pack has its target size.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.bytes_target || self.frames.len() >= WRITTEN_ROWS_MAX
    }

    /// Returns whether the pack has at least half of its target size.
    pub fn is_half_full(&self) -> bool {
        self.bytes >= self.bytes_target / 2
    }

    /// Returns whether `raw_bytes` of plaintext in `chunks` chunks still fit. A file that begins in
    /// a pack should end in it, even if the pack then exceeds its target size. Any chunk fits into
    /// an empty pack.
    pub fn fits(&self, raw_bytes: u64, chunks: usize) -> bool {
        let rows = self.frames.len() + chunks;
        let overhead = (rows * ROW_BYTES + (chunks + 1) * TAG_BYTES + TRAILER_BYTES) as u64;
        let wanted = self.bytes as u64 + raw_bytes + overhead;
        self.is_empty() || (!self.is_full() && wanted <= grown_bytes_max(self.bytes_target as u64))
    }

    /// Reserves the space of the next chunk.
    pub fn place(&mut self, frame: Frame) -> FrameSlot {
        let number = self.frames.len() as u32;
        self.frames.push(frame);
        let out = self.room(frame.stored_bytes as usize);
        FrameSlot { frame, number, out, key: Some(self.key.clone()) }
    }

    /// Puts back the space of a chunk, which must be sealed.
    pub fn put_back(&mut self, slot: FrameSlot) {
        assert!(slot.key.is_none(), "a slot is put back with its chunk sealed");
        self.ahead.insert(slot.number, slot.out);
        while let Some(out) = self.ahead.remove(&self.slot) {
            self.append(out);
            self.slot += 1;
        }
    }

    /// Returns whether every reserved space is sealed.
    pub fn is_whole(&self) -> bool {
        self.slot as usize == self.frames.len()
    }

    /// Seals one chunk into the pack.
    pub fn add(&mut self, id: ChunkId, raw_bytes: u32, codec: Codec, content: &[u8]) -> Frame {
        let frame = Frame::new(id, raw_bytes, codec, content.len());
        let slot = self.place(frame);
        self.put_back(slot.seal(content));
        frame
    }

    /// Closes the pack with its padding, table and trailer. Every chunk must be sealed.
    pub fn finish(mut self, class: &str) -> SealedPack {
        assert!(self.is_whole(), "a chunk of the pack is not sealed");
        let table = encode_table(&self.frames);
        let tail = tail_bytes(self.frames.len() as u64) as usize;
        let total = padded_bytes((self.bytes + tail) as u64) as usize;
        let table_offset = total - tail;
        self.fill(table_offset - self.bytes, |key, out| key.padding(out));
        let table_bytes = table.len() + TAG_BYTES;
        self.fill(table_bytes, |key, out| key.seal_table(out, &table));
        let trailer =
            Trailer { table_offset: table_offset as u64, table_bytes: table_bytes as u64 };
        self.fill(TRAILER_BYTES, |key, out| key.seal_trailer(out, &trailer));
        self.sealed.unsplit(self.free);
        self.buffer.bytes = self.sealed;
        let object = Bytes::from_owner(self.buffer).slice(self.start..self.start + total);
        let record = PackRecord {
            id: self.id,
            kind: self.kind,
            bytes: total as u64,
            digest: digest(&[&object[..HEADER_BYTES], &object[table_offset..]]),
            crc64: self.crc64.finalize(),
            class: class.to_owned(),
            table: table.into(),
        };
        SealedPack { record, object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Identity;
    use crate::format::{RepositoryId, Settings};

    /// A snapshot may use 200 MiB. About 40 of them are for windows, compressed data, the catalog
    /// and the program.
    #[test]
    fn the_packs_of_a_snapshot_leave_memory_for_the_rest() {
        let Settings { pack_bytes, hot_pack_bytes, .. } = Settings::default();
        let most = |bytes| padded_bytes(grown_bytes_max(bytes));
        let bytes = 2 * most(pack_bytes) + most(hot_pack_bytes);
        assert!(bytes <= 154 << 20, "{bytes} bytes");
    }

    #[test]
    fn a_pack_grows_by_a_sixteenth_for_a_file_to_end_in_it() {
        let secrets = Secrets::new(Identity::from_seed([1; 32]).credential(RepositoryId([7; 16])));
        let mut pack = PackBuilder::new(&secrets, PackKind::Hot, 1 << 20).unwrap();
        assert!(pack.fits(5 << 20, 2), "an empty one takes anything");
        pack.add(ChunkId([1; 32]), 700 << 10, Codec::Stored, &vec![1; 700 << 10]);
        assert!(pack.fits(380 << 10, 1) && !pack.fits(390 << 10, 1));
        pack.add(ChunkId([2; 32]), 380 << 10, Codec::Stored, &vec![2; 380 << 10]);
        assert!(pack.is_full() && !pack.fits(1, 1));
    }
}
