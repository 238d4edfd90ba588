//! Cases about packs: false frames, false tables, headers, and decompression bombs.

use icecore_engine::codec::keys::digest;
use icecore_engine::format::pack::ROW_BYTES;
use icecore_engine::format::{ChunkId, Codec, PackKind};

use super::Case;
use super::forge::{Chunk, Forge, file};

const MIB: u64 = 1 << 20;

pub const CASES: &[Case] = &[
    ("a gigabyte of zeros in a frame of 4 bytes", |f| bomb(f, 1024, 4)),
    ("a gigabyte of zeros in a frame of 64 MiB", |f| bomb(f, 1024, 64 << 20)),
    ("a frame that holds less than it says", |f| bomb(f, 1, 2 << 20)),
    ("a frame of many frames of zstd", |f| {
        let one = zstd::bulk::compress(&[0; 1024], 3).expect("zstd");
        let content = one.repeat(10_000);
        sealed(f, 1024 * 10_000, Codec::Zstd, content, 1024 * 10_000);
    }),
    ("a frame of zstd that ends early", |f| {
        let mut content = zstd::bulk::compress(&[0; 100_000], 3).expect("zstd");
        content.truncate(content.len() - 3);
        sealed(f, 100_000, Codec::Zstd, content, 100_000);
    }),
    ("a frame of noise that says it is zstd", |f| {
        sealed(f, 100_000, Codec::Zstd, vec![0xc7; 5000], 100_000);
    }),
    ("four chunks of 64 MiB of zeros", |f| {
        let raw = vec![0; 64 << 20];
        let mut chunk = f.chunk(PackKind::Cold, &raw);
        chunk.codec = Codec::Zstd;
        chunk.content = zstd::bulk::compress(&raw, 3).expect("zstd");
        f.cold.push(chunk.clone());
        f.hostile(&[file("x", 256 * MIB, &[chunk.id; 4])]);
    }),
    ("two chunks of 64 MiB that are stored", |f| {
        let mut raw = vec![7; 64 << 20];
        let one = f.data(&raw);
        raw[0] = 8;
        let two = f.data(&raw);
        let files = ["a", "b"].map(|name| file(name, 128 * MIB, &[one, two]));
        f.hostile(&files);
    }),
    ("a chunk of more than 64 MiB", |f| {
        let mut chunk = f.chunk(PackKind::Cold, b"data");
        chunk.raw_bytes = (64 << 20) + 1;
        wrong(f, chunk);
    }),
    ("a stored frame of another length", |f| {
        let mut chunk = f.chunk(PackKind::Cold, b"data");
        chunk.raw_bytes = 5;
        wrong(f, chunk);
    }),
    ("content that has not its id", |f| {
        let mut chunk = f.chunk(PackKind::Cold, b"data");
        chunk.content = b"evil".to_vec();
        wrong(f, chunk);
    }),
    ("a pack that tells other lengths of two chunks, first", |f| lengths(f, true)),
    ("a pack that tells other lengths of two chunks, last", |f| lengths(f, false)),
    ("a table of 40 bytes", |f| table(f, |table| table.truncate(ROW_BYTES - 1))),
    ("an unknown codec", |f| table(f, |table| table[ROW_BYTES - 1] = 7)),
    ("a chunk twice in a table", |f| table(f, |table| table.extend_from_within(..ROW_BYTES))),
    ("a frame that goes beyond the pack", |f| {
        table(f, |table| {
            table[32..36].copy_from_slice(&0x0100_0000u32.to_le_bytes());
            table[36..40].copy_from_slice(&0x0100_0010u32.to_le_bytes());
        });
    }),
    ("a frame of 4 GiB", |f| table(f, |table| table[36..40].fill(0xff))),
    ("a frame of zstd shorter than a tag", |f| {
        table(f, |table| table[36..ROW_BYTES].copy_from_slice(&[3, 0, 0, 0, 1]));
    }),
    ("more rows than a table may have", |f| {
        table(f, |table| table.resize(((1 << 20) + 1) * ROW_BYTES, 0));
    }),
    ("a table in the log that is not the one in the pack", |f| {
        table(f, |table| table[0] ^= 1);
    }),
    ("a small pack of 2 GiB", |f| bytes(f, 2 << 30)),
    ("a pack of more than 2 GiB", |f| bytes(f, (2 << 30) + 1)),
    ("a pack of 2^64 - 1 bytes", |f| bytes(f, u64::MAX)),
    ("a pack of no bytes", |f| bytes(f, 0)),
    ("a pack that is 2 GiB of nothing", |f| {
        prepared(f);
        let name = f.pack_name(PackKind::Cold);
        let object = std::fs::read(f.path(&name)).expect("a pack");
        f.put_hole(&name, 2 << 30);
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::options().write(true).open(f.path(&name)).expect("a pack");
        file.write_all_at(&object, 0).expect("its front");
        last(f).bytes = 2 << 30;
        f.commit();
    }),
    ("a pack that is not there", |f| object(f, |_| None)),
    ("a pack cut short", |f| object(f, |object| Some(object[..1300].to_vec()))),
    ("a pack that is empty", |f| object(f, |_| Some(Vec::new()))),
    ("a pack with bytes behind it", |f| {
        object(f, |object| Some([object, &[0; 512]].concat()));
    }),
    ("a pack with a changed kind", |f| object(f, |object| changed(object, 12))),
    ("a pack with a changed reserved byte", |f| object(f, |object| changed(object, 13))),
    ("a pack with a changed repository", |f| object(f, |object| changed(object, 16))),
    ("a pack with a changed id", |f| object(f, |object| changed(object, 32))),
    ("a pack with a changed key", |f| object(f, |object| changed(object, 60))),
    ("a pack with a changed commitment", |f| object(f, |object| changed(object, 1170))),
    ("a pack with a changed frame", |f| object(f, |object| changed(object, 1201))),
    ("a pack with changed padding", |f| object(f, |object| changed(object, 1300))),
    ("a pack with a changed trailer", |f| object(f, |object| changed(object, object.len() - 1))),
    ("a wrong digest in the log", |f| {
        prepared(f);
        last(f).digest = digest(&[b"another"]);
        f.commit();
    }),
    ("a wrong checksum in the log", |f| {
        prepared(f);
        last(f).crc64 ^= 1;
        f.commit();
    }),
    ("a pack of data that says it holds trees", |f| {
        prepared(f);
        let name = f.pack_name(PackKind::Cold);
        last(f).kind = PackKind::Meta;
        let object = std::fs::read(f.path(&name)).expect("a pack");
        f.put(&name.replace("packs", "meta"), object);
        f.commit();
    }),
];

/// Makes a file `x` of two chunks. One pack has false lengths for them, another one the true ones.
pub fn lengths(f: &mut Forge, lies_first: bool) {
    let chunks = [f.data(b"first"), f.data(b"second")];
    let tree = f.tree(&[file("x", 11, &chunks)]);
    let honest = std::mem::take(&mut f.cold);
    let lie = |chunk: &Chunk, content: &[u8]| {
        let raw_bytes = content.len() as u32;
        Chunk { raw_bytes, content: content.to_vec(), ..chunk.clone() }
    };
    let lies = vec![lie(&honest[0], b"secret"), lie(&honest[1], b"first")];
    let packs = if lies_first { [lies, honest] } else { [honest, lies] };
    for chunks in packs {
        f.cold = chunks;
        f.close_packs();
    }
    f.beside(&[tree]);
    f.commit();
}

/// Makes a file `x` with one chunk, which may be false.
fn wrong(f: &mut Forge, chunk: Chunk) {
    f.cold.push(chunk.clone());
    f.hostile(&[file("x", u64::from(chunk.raw_bytes), &[chunk.id])]);
}

/// Makes a chunk of zeros that decompresses to `bytes` bytes, whatever its table claims.
fn sealed(f: &mut Forge, raw_bytes: u32, codec: Codec, content: Vec<u8>, bytes: usize) {
    let id = f.chunk(PackKind::Cold, &vec![0; bytes]).id;
    wrong(f, Chunk { id, raw_bytes, codec, content });
}

fn bomb(f: &mut Forge, mebibytes: usize, raw_bytes: u32) {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
    let zeros = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        std::io::Write::write_all(&mut encoder, &zeros).expect("zstd");
    }
    let content = encoder.finish().expect("zstd");
    // A frame is never longer than its plaintext, so cut it to the length that the table claims.
    let content = content[..content.len().min(raw_bytes as usize)].to_vec();
    wrong(f, Chunk { id: ChunkId([6; 32]), raw_bytes, codec: Codec::Zstd, content });
}

/// Makes a snapshot of `good` and of `hostile/x`, whose data is alone in the last pack.
fn prepared(f: &mut Forge) {
    let x = f.data(b"data");
    let tree = f.tree(&[file("x", 4, &[x])]);
    let good = f.data(b"good");
    f.cold.retain(|chunk| chunk.id == good);
    f.close_packs();
    f.data(b"data");
    f.beside(&[tree]);
    // `beside` has added the good chunk again.
    let pack = f.entry.packs.pop().expect("a pack");
    std::fs::remove_file(f.path(&format!("packs/{}", pack.id))).expect("a pack");
    let chunk = f.chunk(PackKind::Cold, b"data");
    let pack = f.pack(PackKind::Cold, &[chunk]);
    f.add_pack(&pack);
}

fn last(f: &mut Forge) -> &mut icecore_engine::format::PackRecord {
    f.entry.packs.last_mut().expect("a pack")
}

fn table(f: &mut Forge, change: fn(&mut Vec<u8>)) {
    prepared(f);
    let mut table = last(f).table.to_vec();
    change(&mut table);
    last(f).table = table.into();
    f.commit();
}

fn bytes(f: &mut Forge, bytes: u64) {
    prepared(f);
    last(f).bytes = bytes;
    f.commit();
}

/// Changes or removes the object of the last pack.
fn object(f: &mut Forge, change: fn(&[u8]) -> Option<Vec<u8>>) {
    prepared(f);
    let name = f.pack_name(PackKind::Cold);
    let object = std::fs::read(f.path(&name)).expect("a pack");
    match change(&object) {
        Some(object) => f.put(&name, object),
        None => std::fs::remove_file(f.path(&name)).expect("a pack"),
    }
    f.commit();
}

fn changed(object: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut object = object.to_vec();
    object[at] ^= 1;
    Some(object)
}
