//! Cases about entries: sizes, holes, chunks, attributes, modes, times, devices, symlinks and hard
//! links.

use icecore_engine::format::tree::encode;
use icecore_engine::format::{ChunkId, Entry, EntryKind, Hole, PackKind, Time, Xattr};

use super::Case;
use super::forge::{Forge, entry, file, folder, symlink};

const TIB: u64 = 1 << 40;

pub const CASES: &[Case] = &[
    ("a size of 2^63 with one chunk", |f| sized(f, 1 << 63)),
    ("a size of 2^64 - 1 with one chunk", |f| sized(f, u64::MAX)),
    ("sizes that add up to more than 2^64", |f| {
        let data = f.data(b"data");
        let file = |name| file(name, u64::MAX, &[data]);
        f.hostile(&[file("a"), file("b"), file("c")]);
    }),
    ("a size larger than the chunks", |f| sized(f, 5)),
    ("a size smaller than the chunks", |f| sized(f, 3)),
    ("50,000 times the same chunk in an empty file", |f| {
        let data = f.data(&vec![7; 4 << 20]);
        f.hostile(&[file("x", 0, &vec![data; 50_000])]);
    }),
    ("more chunks than a file may have", |f| {
        let data = f.data(b"data");
        f.hostile(&[file("x", 4, &vec![data; (1 << 20) + 1])]);
    }),
    ("chunk ids of 33 bytes", |f| {
        let chunks = Some(vec![0; 33].into());
        f.hostile(&[Entry { chunks, ..file("x", 4, &[]) }]);
    }),
    ("a chunk that is not there", |f| f.hostile(&[file("x", 4, &[ChunkId([5; 32])])])),
    ("a chunk that is a tree", |f| {
        let tree = f.tree(&[symlink("x", "y")]);
        let bytes = encode(&[symlink("x", "y")]).len() as u64;
        f.hostile(&[file("x", bytes, &[tree])]);
    }),
    ("a hole of no bytes", |f| holes(f, 8, &[(4, 0)])),
    ("holes over each other", |f| holes(f, 14, &[(4, 6), (8, 4)])),
    ("holes in the wrong order", |f| holes(f, 14, &[(9, 5), (4, 5)])),
    ("a hole beyond the end", |f| holes(f, 14, &[(4, 11)])),
    ("a hole that ends beyond 2^64", |f| holes(f, u64::MAX, &[(4, u64::MAX)])),
    ("a hole of 1 TiB", |f| holes(f, 4 + TIB, &[(2, TIB)])),
    ("a hole of 1 EiB", |f| holes(f, 4 + (1 << 60), &[(2, 1 << 60)])),
    ("100,000 holes of a byte", |f| {
        let data = f.data(&[7; 100_000]);
        let holes = (0..100_000).map(|n| Hole { offset: 2 * n, bytes: 1 }).collect();
        f.hostile(&[Entry { holes: Some(holes), ..file("x", 200_000, &[data]) }]);
    }),
    ("20,000 holes and 20,000 chunks", |f| {
        let data = f.data(b"7");
        let holes = (0..20_000).map(|n| Hole { offset: 2 * n, bytes: 1 }).collect();
        f.hostile(&[Entry { holes: Some(holes), ..file("x", 40_000, &vec![data; 20_000]) }]);
    }),
    ("a million extended attributes", |f| {
        let xattrs = (0..1_000_000).map(|n| xattr(format!("user.{n}"), "v")).collect();
        attributed(f, xattrs);
    }),
    ("more bytes of attributes than are allowed", |f| {
        attributed(f, vec![xattr("user.x", vec![7; (16 << 20) + 1])]);
    }),
    ("attributes with odd names", |f| {
        let names = ["", "user.", "user.a\0b", "no-space", "../x", "system.nothing"];
        attributed(f, names.into_iter().map(|name| xattr(name, "v")).collect());
    }),
    ("capabilities and trusted attributes that are none", |f| {
        attributed(
            f,
            vec![xattr("security.capability", "noise"), xattr("system.posix_acl_access", "x")],
        );
    }),
    ("a mode with every bit", |f| {
        let a = Entry { mode: u32::MAX, ..plain(f, "a") };
        let tree = f.tree(&[]);
        f.hostile(&[a, Entry { mode: u32::MAX, ..folder("d", &[tree]) }]);
    }),
    ("a set-user-id program of somebody else", |f| {
        let x = Entry { mode: 0o4755, uid: 12_345, ..plain(f, "x") };
        f.hostile(&[x]);
    }),
    ("owners that are none", |f| {
        let x = Entry { uid: u32::MAX, gid: u32::MAX, ..plain(f, "x") };
        f.hostile(&[x]);
    }),
    ("times at the end of time", |f| {
        let at = |name: &str, seconds, f: &mut Forge| Entry {
            mtime: Time { seconds, nanos: 999_999_999 },
            ..plain(f, name)
        };
        let (a, b) = (at("a", i64::MAX, f), at("b", i64::MIN, f));
        f.hostile(&[a, b]);
    }),
    ("pipes, sockets and devices", |f| {
        let device = |name, kind| Entry { device: Some(0x103), ..entry(name, kind) };
        f.hostile(&[
            device("a", EntryKind::BlockDevice),
            device("b", EntryKind::CharDevice),
            entry("c", EntryKind::Fifo),
            entry("d", EntryKind::Socket),
        ]);
    }),
    ("a symlink to everything", |f| f.hostile(&[symlink("x", "/")])),
    ("a symlink to itself", |f| f.hostile(&[symlink("x", "x")])),
    ("a symlink with an empty target", |f| f.hostile(&[symlink("x", "")])),
    ("a symlink without a target", |f| f.hostile(&[entry("x", EntryKind::Symlink)])),
    ("a symlink with a zero byte", |f| f.hostile(&[symlink("x", "a\0b")])),
    ("a symlink with 64 KiB of target", |f| f.hostile(&[symlink("x", vec![b't'; 64 << 10])])),
    ("a symlink with more target than is allowed", |f| {
        f.hostile(&[symlink("x", vec![b't'; (64 << 10) + 1])]);
    }),
    ("a symlink with size, chunks and holes", |f| {
        let holes = Some(vec![Hole { offset: 0, bytes: 4 }]);
        let x = plain(f, "x");
        f.hostile(&[Entry {
            kind: EntryKind::Symlink,
            target: Some(b"t".to_vec().into()),
            holes,
            ..x
        }]);
    }),
    ("a folder with size, target and device", |f| {
        let tree = f.tree(&[]);
        let target = Some(b"../../outside".to_vec().into());
        let x = folder("x", &[tree]);
        f.hostile(&[Entry { size: Some(u64::MAX), target, device: Some(1), ..x }]);
    }),
    ("a hard link of a symlink and a file", |f| {
        let b = plain(f, "b");
        linked(f, &[symlink("a", "../../outside/file"), b]);
    }),
    ("a hard link of two symlinks with other targets", |f| {
        linked(f, &[symlink("a", "../../outside/file"), symlink("b", "t")]);
    }),
    ("a hard link of files with other content", |f| {
        let a = plain(f, "a");
        let other = f.data(b"else");
        linked(f, &[a, file("b", 4, &[other])]);
    }),
    ("a hard link of a file and a folder", |f| {
        let a = plain(f, "a");
        let tree = f.tree(&[]);
        linked(f, &[a, folder("b", &[tree])]);
    }),
    ("a hard link of a file and a device", |f| {
        let a = plain(f, "a");
        linked(f, &[a, entry("b", EntryKind::CharDevice)]);
    }),
    ("a hard link to a file that is damaged", |f| {
        let lost = |name| file(name, 4, &[ChunkId([5; 32])]);
        linked(f, &[lost("a"), lost("b")]);
    }),
    ("a file whose chunk is in a pack of trees", |f| {
        // The chunk has the id of data, but is in a pack of trees.
        let chunk = f.chunk(PackKind::Cold, b"data");
        f.meta.push(chunk.clone());
        f.hostile(&[file("x", 4, &[chunk.id])]);
    }),
];

fn plain(f: &mut Forge, name: &str) -> Entry {
    let data = f.data(b"data");
    file(name, 4, &[data])
}

fn sized(f: &mut Forge, size: u64) {
    let x = plain(f, "x");
    f.hostile(&[Entry { size: Some(size), ..x }]);
}

fn holes(f: &mut Forge, size: u64, holes: &[(u64, u64)]) {
    let holes = holes.iter().map(|&(offset, bytes)| Hole { offset, bytes }).collect();
    let x = plain(f, "x");
    f.hostile(&[Entry { size: Some(size), holes: Some(holes), ..x }]);
}

fn xattr(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Xattr {
    let bytes = |bytes: &[u8]| bytes.to_vec().into();
    Xattr { name: bytes(name.as_ref()), value: bytes(value.as_ref()) }
}

fn attributed(f: &mut Forge, xattrs: Vec<Xattr>) {
    let x = plain(f, "x");
    f.hostile(&[Entry { xattrs: Some(xattrs), ..x }]);
}

fn linked(f: &mut Forge, entries: &[Entry]) {
    let link = |entry: &Entry| Entry { link: Some((1, 2)), ..entry.clone() };
    let entries: Vec<Entry> = entries.iter().map(link).collect();
    f.hostile(&entries);
}
