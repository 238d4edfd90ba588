//! The oracle of the restore tests: records everything in a folder that a restore must bring back,
//! and compares two folders with a readable list of differences.
//!
//! It leaves out everything that no program can set or that does not belong to a tree: inode
//! numbers, ctime, atime, sizes of folders. It also leaves out the top folder itself, which
//! [`node_of`] can record.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The kind: file, folder, …
    pub kind: Kind,
    /// Permissions, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in nanoseconds since 1970, negative before.
    pub mtime_ns: i128,
    /// Bytes of a regular file, 0 for everything else.
    pub size: u64,
    /// BLAKE3 of a regular file's content.
    pub content: Option<blake3::Hash>,
    /// The target of a symbolic link, as stored.
    pub target: Option<Vec<u8>>,
    /// Extended attributes, including ACLs, of the entry itself (links are not followed).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Major and minor number of a device, 0 for everything else.
    pub device: u64,
    /// The sorted paths inside the tree that share this entry's inode, including its own. Empty if
    /// it shares its inode with no other path.
    pub hardlinks: Vec<Vec<u8>>,
    /// Bytes that a regular file occupies, for tests of sparse files. Never compared, because file
    /// systems differ.
    pub allocated: u64,
}

/// Records everything below `dir`, by its path relative to `dir`.
///
/// # Panics
/// If anything cannot be read, because an oracle with gaps would accept bad restores.
pub fn snapshot_of(dir: impl AsRef<Path>) -> BTreeMap<Vec<u8>, Node> {
    let dir = dir.as_ref();
    let mut nodes = BTreeMap::new();
    let mut inodes: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let path = join(dir, &folder);
        let listed = std::fs::read_dir(&path).unwrap_or_else(|e| fail(&path, &e));
        for entry in listed {
            let name = entry.unwrap_or_else(|e| fail(&path, &e)).file_name();
            let mut relative = folder.clone();
            if !relative.is_empty() {
                relative.push(b'/');
            }
            relative.extend(name.into_vec());
            let path = join(dir, &relative);
            let metadata = path.symlink_metadata().unwrap_or_else(|e| fail(&path, &e));
            let node = describe(&path, &metadata);
            if node.kind == Kind::Dir {
                folders.push(relative.clone());
            } else if metadata.nlink() > 1 {
                let inode = (metadata.dev(), metadata.ino());
                inodes.entry(inode).or_default().push(relative.clone());
            }
            nodes.insert(relative, node);
        }
    }
    for mut group in inodes.into_values().filter(|group| group.len() > 1) {
        group.sort();
        for path in &group {
            if let Some(node) = nodes.get_mut(path) {
                node.hardlinks.clone_from(&group);
            }
        }
    }
    nodes
}

/// Records a single entry, without paths that share its inode.
pub fn node_of(path: impl AsRef<Path>) -> Node {
    let path = path.as_ref();
    let metadata = path.symlink_metadata().unwrap_or_else(|e| fail(path, &e));
    describe(path, &metadata)
}

fn join(dir: &Path, relative: &[u8]) -> std::path::PathBuf {
    dir.join(std::ffi::OsStr::from_bytes(relative))
}

fn fail(path: &Path, error: &io::Error) -> ! {
    panic!("cannot read {path:?}: {error}")
}

fn describe(path: &Path, metadata: &Metadata) -> Node {
    let kind = kind_of(metadata);
    let is_file = kind == Kind::File;
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let target = (kind == Kind::Symlink).then(|| {
        let target = std::fs::read_link(path).unwrap_or_else(|e| fail(path, &e));
        target.into_os_string().into_vec()
    });
    Node {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: if is_file { metadata.len() } else { 0 },
        content: is_file.then(|| hash_of(path).unwrap_or_else(|e| fail(path, &e))),
        target,
        xattrs: xattrs_of(path).unwrap_or_else(|e| fail(path, &e)),
        device: if is_device { metadata.rdev() } else { 0 },
        hardlinks: Vec::new(),
        allocated: if is_file { metadata.blocks() * 512 } else { 0 },
    }
}

fn kind_of(metadata: &Metadata) -> Kind {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => Kind::File,
        () if kind.is_dir() => Kind::Dir,
        () if kind.is_symlink() => Kind::Symlink,
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () if kind.is_char_device() => Kind::CharDevice,
        () => Kind::BlockDevice,
    }
}

fn hash_of(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

fn xattrs_of(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        // A file system without attributes cannot lose any.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut all = BTreeMap::new();
    for name in names {
        // The system sets this attribute by the place of the file, so a restore need not preserve
        // it.
        if name == "security.selinux" {
            continue;
        }
        let value = xattr::get(path, &name)?.unwrap_or_default();
        all.insert(name.into_vec(), value);
    }
    Ok(all)
}

/// Returns the differences between two records, one line each; none if they are the same.
pub fn differences(a: &BTreeMap<Vec<u8>, Node>, b: &BTreeMap<Vec<u8>, Node>) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, node) in a {
        match b.get(path) {
            None => lines.push(format!("{}: missing ({:?})", text(path), node.kind)),
            Some(other) => compare(&mut lines, &text(path), node, other),
        }
    }
    for (path, node) in b.iter().filter(|(path, _)| !a.contains_key(*path)) {
        lines.push(format!("{}: not expected ({:?})", text(path), node.kind));
    }
    lines
}

fn compare(lines: &mut Vec<String>, path: &str, a: &Node, b: &Node) {
    let mut tell = |what: &str, expected: String, found: String| {
        if expected != found {
            lines.push(format!("{path}: {what} {expected} became {found}"));
        }
    };
    tell("kind", format!("{:?}", a.kind), format!("{:?}", b.kind));
    if a.kind != b.kind {
        // Other differences follow from this one.
        return;
    }
    tell("mode", format!("{:04o}", a.mode), format!("{:04o}", b.mode));
    tell("uid", a.uid.to_string(), b.uid.to_string());
    tell("gid", a.gid.to_string(), b.gid.to_string());
    tell("mtime", seconds(a.mtime_ns), seconds(b.mtime_ns));
    tell("size", a.size.to_string(), b.size.to_string());
    tell("content", hash(a.content), hash(b.content));
    let target = |node: &Node| node.target.as_deref().map(text).unwrap_or_default();
    tell("link target", target(a), target(b));
    tell("device", format!("{:#x}", a.device), format!("{:#x}", b.device));
    tell("hard links", list(&a.hardlinks), list(&b.hardlinks));
    let names: BTreeSet<_> = a.xattrs.keys().chain(b.xattrs.keys()).collect();
    for name in names {
        let value = |node: &Node| {
            let value = node.xattrs.get(name).map(|value| text(value));
            value.unwrap_or_else(|| "nothing".to_owned())
        };
        tell(&format!("xattr {}", text(name)), value(a), value(b));
    }
}

fn hash(content: Option<blake3::Hash>) -> String {
    let short = content.map(|hash| hash.to_hex()[..16].to_owned());
    short.unwrap_or_default()
}

fn seconds(ns: i128) -> String {
    let (s, ns) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    format!("{s}.{ns:09}")
}

/// Converts bytes to text, so that different bytes give different texts.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

fn list(paths: &[Vec<u8>]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| text(path)).collect();
    format!("[{}]", paths.join(", "))
}

/// Panics with a list of the differences unless `a_dir` and `b_dir` have the same content.
#[track_caller]
pub fn assert_same(a_dir: impl AsRef<Path>, b_dir: impl AsRef<Path>) {
    let (a_dir, b_dir) = (a_dir.as_ref(), b_dir.as_ref());
    assert_same_snapshots(&snapshot_of(a_dir), &snapshot_of(b_dir), b_dir);
}

/// Like [`assert_same`], for a tree that has changed since it was recorded.
#[track_caller]
pub fn assert_same_as(expected: &BTreeMap<Vec<u8>, Node>, dir: impl AsRef<Path>) {
    let dir = dir.as_ref();
    assert_same_snapshots(expected, &snapshot_of(dir), dir);
}

#[track_caller]
fn assert_same_snapshots(
    expected: &BTreeMap<Vec<u8>, Node>,
    found: &BTreeMap<Vec<u8>, Node>,
    dir: &Path,
) {
    const SHOWN: usize = 60;
    let lines = differences(expected, found);
    if lines.is_empty() {
        return;
    }
    let mut message = format!("{} differences in {dir:?}:", lines.len());
    for line in lines.iter().take(SHOWN) {
        // Writing into a string cannot fail.
        let _ = write!(message, "\n  {line}");
    }
    if lines.len() > SHOWN {
        let _ = write!(message, "\n  and {} more", lines.len() - SHOWN);
    }
    panic!("{message}");
}
