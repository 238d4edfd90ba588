//! Cases about trees: names, order, kinds, depth, and endless listings.

use icecore_engine::format::tree::encode;
use icecore_engine::format::{ChunkId, Entry, EntryKind, PackKind, Time};

use super::Case;
use super::forge::{Forge, entry, file, folder, symlink};

pub const CASES: &[Case] = &[
    ("a name that leads up", |f| named(f, b"..")),
    ("a name that is a dot", |f| named(f, b".")),
    ("an empty name", |f| named(f, b"")),
    ("a name with a slash", |f| named(f, b"a/b")),
    ("an absolute name", |f| named(f, b"/etc/passwd")),
    ("a name that leads up and down", |f| named(f, b"../outside/file")),
    ("a name with a zero byte", |f| named(f, b"a\0b")),
    ("a name of 4097 bytes", |f| named(f, &[b'n'; 4097])),
    ("a name longer than the file system takes", |f| named(f, &[b'n'; 300])),
    ("a name like a temporary file", |f| named(f, b".icecore-0000000000000001.part")),
    ("a name with escape sequences", |f| named(f, b"\x1b[2J\x1b]0;title\x07")),
    ("a folder that leads up", |f| {
        let inside = victim(f, "file");
        let tree = f.tree(&[inside]);
        f.hostile(&[folder("..", &[tree])]);
    }),
    ("a name twice", |f| {
        let (a, b) = (victim(f, "x"), victim(f, "x"));
        f.hostile(&[a, b]);
    }),
    ("names out of order", |f| {
        let (a, b) = (victim(f, "a"), victim(f, "b"));
        f.hostile(&[b, a]);
    }),
    ("a symlink, and a folder of that name in the same chunk", |f| {
        let inside = victim(f, "file");
        let tree = f.tree(&[inside]);
        f.hostile(&[symlink("x", "../../outside"), folder("x", &[tree])]);
    }),
    ("a symlink, and a folder of that name in the next chunk", |f| {
        let inside = victim(f, "file");
        let tree = f.tree(&[inside]);
        let first = f.tree(&[symlink("x", "../../outside")]);
        let second = f.tree(&[folder("x", &[tree])]);
        chunks(f, &[first, second]);
    }),
    ("a symlink, and a file of that name in the next chunk", |f| {
        let first = f.tree(&[symlink("x", "../../outside/file")]);
        let second = victim(f, "x");
        let second = f.tree(&[second]);
        chunks(f, &[first, second]);
    }),
    ("a tree chunk twice in a folder", |f| {
        let tree = victim(f, "x");
        let tree = f.tree(&[tree]);
        chunks(f, &[tree, tree]);
    }),
    ("a symlink to a folder outside, and files as if in it", |f| {
        let inside = victim(f, "x/file");
        f.hostile(&[symlink("x", "../../outside"), inside]);
    }),
    ("an unknown kind", |f| {
        let mut bytes = encode(&[entry("x", EntryKind::BlockDevice)]);
        let at = bytes.iter().position(|byte| *byte == b'x').expect("its name") + 2;
        bytes[at] = 7;
        raw(f, &bytes);
    }),
    ("a tree that is a file's data", |f| {
        let chunk = f.chunk(PackKind::Cold, &encode(&[symlink("x", "y")]));
        f.cold.push(chunk.clone());
        chunks(f, &[chunk.id]);
    }),
    ("a tree chunk that is not there", |f| chunks(f, &[ChunkId([5; 32])])),
    ("a tree with the id of another", |f| {
        // This is as close as possible to a folder that contains itself.
        let mut chunk = f.chunk(PackKind::Meta, b"");
        chunk.content = encode(&[folder("x", &[chunk.id])]);
        chunk.raw_bytes = chunk.content.len() as u32;
        f.meta.push(chunk.clone());
        chunks(f, &[chunk.id]);
    }),
    ("65,537 entries in a chunk", |f| {
        let entries: Vec<Entry> = (0..65_537).map(|n| symlink(format!("{n:06}"), "t")).collect();
        f.hostile(&entries);
    }),
    ("a tree that claims 2^40 entries", |f| raw(f, b"\x9b\0\0\x01\0\0\0\0\0")),
    ("a tree of unknown length", |f| raw(f, b"\x9f\xff")),
    ("a tree with bytes behind it", |f| raw(f, b"\x80\x80")),
    ("a tree that is noise", |f| raw(f, &[0xc7; 5000])),
    ("an unknown field nested 1,000,000 deep", |f| {
        let mut bytes = encode(&[entry("x", EntryKind::Symlink)]);
        // Add one more pair to the map of the entry.
        bytes[1] += 1;
        bytes.extend(b"\x18\x63");
        bytes.extend(vec![0x81; 1_000_000]);
        bytes.push(0);
        raw(f, &bytes);
    }),
    ("a name that claims 2^60 bytes", |f| raw(f, b"\x81\xa1\0\x5b\x10\0\0\0\0\0\0\0")),
    ("a million attributes of no bytes", |f| {
        let mut bytes = encode(&[symlink("x", "y")]);
        bytes[1] += 1;
        bytes.extend(b"\x0a\x9a\0\x0f\x42\x40");
        bytes.extend(b"\x82\x40\x40".repeat(1_000_000));
        raw(f, &bytes);
    }),
    ("ten million holes of no bytes", |f| {
        let mut bytes = encode(&[symlink("x", "y")]);
        bytes[1] += 1;
        // An array of indefinite length.
        bytes.extend(b"\x08\x9f");
        bytes.extend(b"\x82\0\0".repeat(10_000_000));
        bytes.push(0xff);
        raw(f, &bytes);
    }),
    ("nanoseconds of a whole second", |f| {
        let mtime = Time { seconds: 0, nanos: 1_000_000_000 };
        f.hostile(&[Entry { mtime, ..symlink("x", "y") }]);
    }),
    ("folders nested 2,000 deep", |f| nested(f, 2000)),
    ("folders nested 100,000 deep", |f| nested(f, 100_000)),
    ("a tree bomb: 60 levels of two", |f| {
        let end = victim(f, "file");
        let end = f.tree(&[end]);
        bomb(f, 60, 2, end);
    }),
    ("a tree bomb of folders that are empty", |f| {
        let end = f.tree(&[]);
        bomb(f, 30, 2, end);
    }),
    ("a tree bomb: 8 levels of ten", |f| {
        let end = victim(f, "file");
        let end = f.tree(&[end]);
        bomb(f, 8, 10, end);
    }),
    ("a tree bomb over a chunk that is not there", |f| bomb(f, 16, 2, ChunkId([5; 32]))),
    ("a folder of 300 names for one folder", |f| {
        // Copies of one folder are not a bomb.
        let end = victim(f, "file");
        let end = f.tree(&[end]);
        bomb(f, 1, 300, end);
    }),
];

/// Returns a file that would overwrite a victim.
fn victim(f: &mut Forge, name: impl AsRef<[u8]>) -> Entry {
    let data = f.data(b"overwritten");
    file(name, 11, &[data])
}

fn named(f: &mut Forge, name: &[u8]) {
    let entry = victim(f, name);
    f.hostile(&[entry]);
}

fn chunks(f: &mut Forge, chunks: &[ChunkId]) {
    f.beside(chunks);
    f.commit();
}

fn raw(f: &mut Forge, tree: &[u8]) {
    let tree = f.meta(tree);
    chunks(f, &[tree]);
}

fn nested(f: &mut Forge, levels: usize) {
    let mut tree = f.tree(&[]);
    for _ in 0..levels {
        tree = f.tree(&[folder("d", &[tree])]);
    }
    chunks(f, &[tree]);
}

/// Makes nested folders, each of which contains the next one several times.
fn bomb(f: &mut Forge, levels: usize, times: usize, mut tree: ChunkId) {
    for level in 0..levels {
        let names = (0..times).map(|n| folder(format!("{level}-{n:04}"), &[tree]));
        let names: Vec<Entry> = names.collect();
        tree = f.tree(&names);
    }
    chunks(f, &[tree]);
}
