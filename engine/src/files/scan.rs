//! Lists a folder by `readdir` and one `stat` per name. Never follows a symlink.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::long;
use crate::format::{EntryKind, Time};
use crate::system;

/// The result of `stat`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// File, folder, symlink, pipe, socket or device.
    pub kind: EntryKind,
    /// Permission bits, without the kind.
    pub mode: u32,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Number of allocated 512-byte blocks.
    pub blocks: u64,
    /// When the content was last changed.
    pub mtime: Time,
    /// When the content or the metadata was last changed.
    pub ctime: Time,
    /// Number of the file system.
    pub device: u64,
    /// Number of the file in its file system.
    pub inode: u64,
    /// Number of names of the file.
    pub links: u64,
    /// Number of a device file.
    pub rdev: u64,
}

/// Fields to ignore when a file is compared with its earlier state: network shares and FUSE file
/// systems may change inode numbers at each mount, and a copied disk has new inodes and ctimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ignore {
    /// Ignore the inode number.
    pub inode: bool,
    /// Ignore the ctime.
    pub ctime: bool,
}

impl Stat {
    /// Converts the answer of the system.
    pub fn of(stat: &rustix::fs::Stat) -> Stat {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => EntryKind::Socket,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::RegularFile | FileType::Unknown => EntryKind::File,
        };
        let numbers = system::numbers(stat);
        let time = |seconds, nanos| Time { seconds, nanos: nanos as u32 };
        Stat {
            kind,
            mode: numbers.mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            device: numbers.device,
            inode: stat.st_ino,
            links: numbers.links,
            rdev: numbers.rdev,
        }
    }

    /// Returns whether a file with this stat presumably has the same content as with `other`.
    pub fn same_content(&self, other: &Stat, ignore: Ignore) -> bool {
        (self.size, self.mtime) == (other.size, other.mtime)
            && (ignore.ctime || self.ctime == other.ctime)
            && (ignore.inode || self.inode == other.inode)
    }

    /// Hashes the fields that affect the folder's tree. Includes the inode of a file with several
    /// names even if inodes are ignored, because a restore links files by inode. Includes the
    /// ctime, because it alone shows that an attribute has changed; reading the attributes again is
    /// cheap, as it reads no content.
    pub fn feed(&self, hasher: &mut blake3::Hasher, ignore: Ignore) {
        let mut bytes = [0; 96];
        let (device, inode) =
            if ignore.inode && self.links < 2 { (0, 0) } else { (self.device, self.inode) };
        let words = [
            self.kind as u64 | u64::from(self.mode) << 8,
            u64::from(self.uid) << 32 | u64::from(self.gid),
            self.size,
            self.blocks,
            self.mtime.seconds as u64,
            u64::from(self.mtime.nanos) << 32 | u64::from(self.ctime.nanos),
            self.ctime.seconds as u64,
            device,
            inode,
            self.links,
            self.rdev,
        ];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        hasher.update(&bytes);
    }
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name, as bytes.
    pub name: Vec<u8>,
    /// Its `stat`; a symlink is not followed.
    pub stat: Stat,
}

impl Found {
    /// Returns its path, if it is in `folder`.
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(OsStr::from_bytes(&self.name))
    }
}

/// The content of a folder, and the names in it that could not be examined.
pub struct Listing {
    /// Sorted by name, byte by byte.
    pub found: Vec<Found>,
    /// The names that could not be examined, as paths, and why.
    pub problems: Vec<(PathBuf, io::Error)>,
}

/// Lists a folder.
pub fn list(path: &Path) -> io::Result<Listing> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder =
        long::at(path, |above, name| Ok(rustix::fs::openat(above, name, flags, Mode::empty())?))?;
    let mut listing = Listing { found: Vec::new(), problems: Vec::new() };
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let name = name.to_bytes().to_vec();
                listing.found.push(Found { name, stat: Stat::of(&stat) });
            }
            Err(error) => {
                let name = OsStr::from_bytes(name.to_bytes());
                listing.problems.push((path.join(name), error.into()));
            }
        }
    }
    listing.found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

/// Examines one path. With `follow`, examines the target of a symlink.
pub fn stat(path: &Path, follow: bool) -> io::Result<Stat> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    long::at(path, |above, name| Ok(Stat::of(&rustix::fs::statat(above, name, flags)?)))
}

/// Returns the target of a symlink.
pub fn link_target(path: &Path) -> io::Result<Vec<u8>> {
    long::at(path, |above, name| Ok(rustix::fs::readlinkat(above, name, Vec::new())?.into_bytes()))
}

/// Resolves the symlinks in a path.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    long::real(path)
}

/// Returns whether a file system is mounted exactly at a path; `false` if the system does not
/// report it.
pub fn is_mounted_on(path: &Path) -> bool {
    long::at(path, system::is_mounted_on).unwrap_or(false)
}
