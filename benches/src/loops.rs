//! The hot loops of the engine, each next to a bare call of the library below it. The difference is what icecore adds.

use std::rc::Rc;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use anyhow::Result;
use fastcdc::v2020::FastCDC;
use icecore_engine::codec::{
    Compressor, Cutter, Decompressor, Identity, PackKey, Secrets, may_pay,
};
use icecore_engine::format::pack::{TAG_BYTES, encode_table};
use icecore_engine::format::{
    ChunkId, Chunking, Codec, Digest, Frame, PackId, PackKind, PackRecord, RepositoryId,
};
use icecore_engine::repo::Catalog;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 1 << 20;
/// Number of bytes to cut.
const FILE_BYTES: usize = 16 << 20;
/// Number of chunks in the catalog; below, in one pack.
const CATALOG_CHUNKS: u32 = 64 * PACK_CHUNKS;
const PACK_CHUNKS: u32 = 256;

/// One loop.
pub struct Loop {
    /// The operation, and the library if it runs alone: `seal`, or `seal (AES-256-GCM-SIV alone)`.
    pub name: &'static str,
    /// The amount of work of one run: bytes or elements.
    pub amount: Amount,
    pub run: Box<dyn FnMut()>,
}

#[derive(Debug, Clone, Copy)]
pub enum Amount {
    Bytes(u64),
    Elements(u64),
}

/// Makes all loops.
pub fn all() -> Result<Vec<Loop>> {
    let mut loops = Loops(Vec::new());
    copying(&mut loops);
    cutting(&mut loops);
    naming(&mut loops);
    compressing(&mut loops)?;
    sealing(&mut loops)?;
    cataloguing(&mut loops)?;
    Ok(loops.0)
}

struct Loops(Vec<Loop>);

impl Loops {
    fn add(&mut self, name: &'static str, amount: Amount, run: impl FnMut() + 'static) {
        self.0.push(Loop { name, amount, run: Box::new(run) });
    }
}

/// The work of a loop over one chunk.
const CHUNK: Amount = Amount::Bytes(CHUNK_BYTES as u64);
const REPOSITORY: RepositoryId = RepositoryId([1; 16]);

fn secrets() -> Secrets {
    Secrets::new(Identity::from_seed([2; 32]).credential(REPOSITORY))
}

fn copying(loops: &mut Loops) {
    let (from, mut to) = (noise(CHUNK_BYTES), vec![0; CHUNK_BYTES]);
    loops.add("copy (memcpy alone)", CHUNK, move || see(&mut to).copy_from_slice(see(&from)));
}

fn cutting(loops: &mut Loops) {
    let file = noise(FILE_BYTES);
    let cutter = Cutter::new(&secrets(), Chunking::default(), 512 << 10);
    let cut = move || {
        let (mut at, cutting) = (0, cutter.cutting(&file, file.len() as u64));
        while at < file.len() {
            let window = &file[at..file.len().min(at + cutter.window_bytes())];
            at += see(cutter.next(cutting, at as u64, window));
        }
    };
    loops.add("cut", Amount::Bytes(FILE_BYTES as u64), cut);
    let file = noise(FILE_BYTES);
    let Chunking { bytes_min, bytes_avg, bytes_max, .. } = Chunking::default();
    let sizes = [bytes_min, bytes_avg, bytes_max].map(|bytes| bytes as usize);
    let cut = move || {
        let [min, avg, max] = sizes;
        see(FastCDC::new(&file, min, avg, max).count());
    };
    loops.add("cut (FastCDC alone)", Amount::Bytes(FILE_BYTES as u64), cut);
}

fn naming(loops: &mut Loops) {
    let (raw, keys) = (noise(CHUNK_BYTES), secrets());
    loops.add("name", CHUNK, move || _ = see(keys.chunk_id(PackKind::Cold, see(&raw))));
    let raw = noise(CHUNK_BYTES);
    let hash = move || _ = see(blake3::keyed_hash(&[3; 32], see(&raw)));
    loops.add("name (keyed BLAKE3 alone)", CHUNK, hash);

    let raw = noise(CHUNK_BYTES);
    loops.add("probe", CHUNK, move || _ = see(may_pay(see(&raw))));
}

fn compressing(loops: &mut Loops) -> Result<()> {
    let (raw, mut out, mut compressor) =
        (samples(CHUNK_BYTES), vec![0; CHUNK_BYTES], Compressor::default());
    let compress = move || _ = see(compressor.compress_into(see(&raw), &mut out));
    loops.add("compress", CHUNK, compress);
    let (raw, mut out) = (samples(CHUNK_BYTES), vec![0; CHUNK_BYTES]);
    let mut zstd = zstd::bulk::Compressor::new(1)?;
    let compress = move || _ = see(zstd.compress_to_buffer(see(&raw), &mut out[..]).is_ok());
    loops.add("compress (zstd alone)", CHUNK, compress);
    let packed = zstd::bulk::compress(&samples(CHUNK_BYTES), 1)?;
    let (mut decompressor, mut unpacked) = (Decompressor::default(), vec![0; CHUNK_BYTES]);
    let unpack = move || _ = see(decompressor.decompress(see(&packed), &mut unpacked).is_ok());
    loops.add("decompress", CHUNK, unpack);
    Ok(())
}

fn sealing(loops: &mut Loops) -> Result<()> {
    let public_key = Identity::from_seed([2; 32]).public_key();
    let (key, _) = PackKey::create(&public_key, REPOSITORY, PackId([3; 16]), PackKind::Cold)?;
    let key = Rc::new(key);
    let raw = noise(CHUNK_BYTES);
    let stored_bytes = (CHUNK_BYTES + TAG_BYTES) as u32;
    let (id, codec) = (ChunkId([4; 32]), Codec::Stored);
    let frame = Frame { id, raw_bytes: CHUNK_BYTES as u32, stored_bytes, codec };
    let mut out = vec![0; CHUNK_BYTES + TAG_BYTES];
    key.seal_frame(&mut out, 0, &frame, &raw);
    let (sealed, mut spare) = (out.clone(), out.clone());
    let sealing = key.clone();
    let seal = move || sealing.seal_frame(see(&mut out), 0, &frame, see(&raw));
    loops.add("seal", CHUNK, seal);
    let open = move || {
        // Opening works in place, so copy the sealed bytes there each time.
        spare.copy_from_slice(see(&sealed));
        see(key.open_frame(0, &frame, &mut spare).is_ok());
    };
    loops.add("open", CHUNK, open);
    let cipher = Aes256GcmSiv::new(&[5; 32].into());
    let mut buffer = noise(CHUNK_BYTES);
    let seal = move || {
        let sealed =
            cipher.encrypt_inout_detached(&Nonce::default(), b"", (&mut buffer[..]).into());
        see(sealed.is_ok());
    };
    loops.add("seal (AES-256-GCM-SIV alone)", CHUNK, seal);
    Ok(())
}

fn cataloguing(loops: &mut Loops) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::open(folder.path(), REPOSITORY, Digest([0; 32]))?;
    for pack in 0..CATALOG_CHUNKS / PACK_CHUNKS {
        insert(&catalog, pack)?;
    }
    for (name, known) in
        [("look up a chunk that is stored", true), ("look up a chunk that is new", false)]
    {
        let (view, mut next) = (catalog.view()?, 0);
        let look_up = move || {
            next = (next + 7919) % CATALOG_CHUNKS;
            let id = chunk_id(if known { next } else { u32::MAX - next });
            assert_eq!(view.sound_chunk(&id).is_ok_and(|place| place.is_some()), known);
        };
        loops.add(name, Amount::Elements(1), look_up);
    }
    let mut pack = CATALOG_CHUNKS / PACK_CHUNKS;
    let fill = move || {
        let _kept = &folder;
        pack += 1;
        insert(&catalog, pack).expect("a pack goes into the catalog");
    };
    loops.add("insert the chunks of a pack", Amount::Elements(u64::from(PACK_CHUNKS)), fill);
    Ok(())
}

fn see<T>(value: T) -> T {
    std::hint::black_box(value)
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
    out
}

/// Samples of 14 bits, like those of an uncompressed raw: noise around a slow wave.
fn samples(bytes: usize) -> Vec<u8> {
    let noise = noise(bytes);
    let sample = |(at, noise): (usize, &[u8])| {
        let wave = 6000.0 + 4000.0 * (at as f64 / 3000.0).sin();
        (wave as u16 + u16::from(noise[0]) / 2).to_le_bytes()
    };
    noise.chunks_exact(2).enumerate().flat_map(sample).collect()
}

fn chunk_id(number: u32) -> ChunkId {
    ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Adds a pack to a catalog like an upload does.
fn insert(catalog: &Catalog, pack: u32) -> Result<()> {
    let frame = |number| Frame {
        id: chunk_id(number),
        raw_bytes: 1000,
        stored_bytes: 1000 + TAG_BYTES as u32,
        codec: Codec::Stored,
    };
    let frames = (pack * PACK_CHUNKS..(pack + 1) * PACK_CHUNKS).map(frame);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&pack.to_le_bytes());
    let record = PackRecord {
        id: PackId(id),
        kind: PackKind::Cold,
        bytes: 1 << 20,
        digest: Digest([0; 32]),
        crc64: 0,
        class: String::new(),
        table: encode_table(&frames.collect::<Vec<_>>()).into(),
    };
    catalog.upload_begins(&record)?;
    catalog.upload_done(&record)?;
    Ok(())
}
