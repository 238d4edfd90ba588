//! What is in a folder, by `readdir` and one `stat` per name. Never follows a symlink.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::format::{EntryKind, Time};

/// What `stat` says of a file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub kind: EntryKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// 512-byte blocks that are really there.
    pub blocks: u64,
    pub mtime: Time,
    pub ctime: Time,
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    /// Number of a device file.
    pub rdev: u64,
}

impl Stat {
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
        let time = |seconds, nanos| Time { seconds, nanos: nanos as u32 };
        Stat {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink,
            rdev: stat.st_rdev,
        }
    }

    /// Returns whether a file with this stat can be taken to have the content it had at `other`.
    pub fn same_content(&self, other: &Stat) -> bool {
        (self.size, self.mtime, self.ctime, self.inode)
            == (other.size, other.mtime, other.ctime, other.inode)
    }

    /// Appends what decides about the folder's tree.
    pub fn feed(&self, hasher: &mut blake3::Hasher) {
        let mut bytes = [0; 96];
        let words = [
            self.kind as u64 | u64::from(self.mode) << 8,
            u64::from(self.uid) << 32 | u64::from(self.gid),
            self.size,
            self.blocks,
            self.mtime.seconds as u64,
            u64::from(self.mtime.nanos) << 32 | u64::from(self.ctime.nanos),
            self.ctime.seconds as u64,
            self.device,
            self.inode,
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
    pub name: Vec<u8>,
    pub stat: Stat,
}

impl Found {
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(OsStr::from_bytes(&self.name))
    }
}

/// What a folder holds, and the names of it that could not be looked at.
pub struct Listing {
    /// Sorted by name, byte by byte.
    pub found: Vec<Found>,
    pub problems: Vec<(PathBuf, io::Error)>,
}

/// Lists a folder.
pub fn list(path: &Path) -> io::Result<Listing> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())?;
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

/// Looks at one path; `follow` says whether a symlink stands for its target.
pub fn stat(path: &Path, follow: bool) -> io::Result<Stat> {
    let stat = if follow { rustix::fs::stat(path)? } else { rustix::fs::lstat(path)? };
    Ok(Stat::of(&stat))
}

/// Returns the target of a symlink.
pub fn link_target(path: &Path) -> io::Result<Vec<u8>> {
    Ok(std::fs::read_link(path)?.into_os_string().into_vec())
}
