//! Writes restored files, and never outside the target.
//!
//! Every folder below the target is a descriptor, opened from its parent without following a
//! symlink unless the user asks for it ([`super::Links`]); names are single components. So no
//! symlink can lead a write out of the target, whether it existed before, was just restored, or is
//! swapped in during the restore.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{SourceFile, Stat};
use crate::format::{Entry, EntryKind};
use crate::system;

/// An open folder at or below the target.
#[derive(Debug, Clone)]
pub struct Folder {
    pub(super) fd: Arc<OwnedFd>,
    /// Used in messages only, never to open anything.
    pub path: PathBuf,
    /// The device of its file system.
    pub device: u64,
    /// Whether it was reached through a symlink or a mount point below the target; then nothing is
    /// deleted in it.
    pub is_beyond: bool,
    /// Whether this process created it.
    is_new: bool,
}

/// The mode of a folder that a restore made and has not finished. Users do not choose this mode, because the sticky bit
/// has no effect where only the owner may write.
pub(super) const UNFINISHED: u32 = 0o1700;

/// An opened folder of this user.
#[derive(Debug)]
pub struct OwnFolder {
    /// The open folder.
    pub folder: Folder,
    /// Its `stat` before it was opened.
    pub before: Stat,
    /// Whether it was made readable.
    pub widened: bool,
}

const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the target itself; its path may contain symlinks.
    pub fn root(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let device = Stat::of(&rustix::fs::fstat(&fd)?).device;
        Ok(Folder {
            fd: Arc::new(fd),
            path: path.to_owned(),
            device,
            is_beyond: false,
            is_new: false,
        })
    }

    /// Opens a subfolder; fails with `NotADirectory` or a loop error on anything else.
    pub fn open(&self, name: &[u8]) -> io::Result<Folder> {
        let fd = rustix::fs::openat(&self.fd, name, FOLDER_FLAGS, Mode::empty())?;
        let mut folder = self.opened(fd, name)?;
        folder.is_beyond |= folder.device != self.device || system::is_mount(&folder.fd);
        Ok(folder)
    }

    /// Wraps a subfolder that was opened by its name in this folder.
    pub(super) fn opened(&self, fd: OwnedFd, name: &[u8]) -> io::Result<Folder> {
        let device = Stat::of(&rustix::fs::fstat(&fd)?).device;
        let (path, is_beyond) = (self.path_of(name), self.is_beyond);
        Ok(Folder { fd: Arc::new(fd), path, device, is_beyond, is_new: false })
    }

    /// Opens a subfolder. If it belongs to this user and is not readable, makes it readable first.
    pub fn open_own(&self, name: &[u8]) -> io::Result<OwnFolder> {
        match self.open(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let before = self.stat(name)?.ok_or(io::ErrorKind::NotFound)?;
                let widened = self.widen_at(name)?;
                Ok(OwnFolder { folder: self.open(name)?, before, widened })
            }
            folder => {
                let folder = folder?;
                let before = folder.own_stat()?;
                Ok(OwnFolder { folder, before, widened: false })
            }
        }
    }

    /// Creates a subfolder that only the owner may enter. It is marked as unfinished until its metadata is set.
    pub fn create(&self, name: &[u8]) -> io::Result<Folder> {
        let mode = system::mode(UNFINISHED);
        self.or_widened(|| rustix::fs::mkdirat(&self.fd, name, mode))?;
        Ok(Folder { is_new: true, ..self.open(name)? })
    }

    /// Returns whether this process created the folder, so that everything in it is from this process.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Syncs the names in the folder to the disk.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Opens a file for reading.
    pub fn open_file(&self, name: &[u8]) -> io::Result<SourceFile> {
        SourceFile::open_in(&self.fd, Path::new(OsStr::from_bytes(name)), &|| true)
    }

    /// Returns the target of a symlink.
    pub fn link_target(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// Returns the path of a name in the folder, to show it.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Returns the real path of the folder.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        system::real_path(&self.fd)
    }

    /// Examines a name without following a symlink.
    pub fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the names in the folder.
    pub fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a name that is not a folder.
    pub fn unlink(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Removes a folder that is empty.
    pub fn remove_folder(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Creates an entry that is neither a file nor a folder. Devices need root.
    pub fn create_special(&self, entry: &Entry) -> io::Result<()> {
        let name = &entry.name[..];
        let node = |kind| system::make_node(&self.fd, name, kind, entry.device.unwrap_or(0));
        match entry.kind {
            EntryKind::Symlink => {
                let target = entry.target.as_ref().map_or(&b""[..], |target| &target[..]);
                rustix::fs::symlinkat(target, &self.fd, name)?;
            }
            EntryKind::Fifo => node(FileType::Fifo)?,
            EntryKind::Socket => node(FileType::Socket)?,
            EntryKind::CharDevice => node(FileType::CharacterDevice)?,
            EntryKind::BlockDevice => node(FileType::BlockDevice)?,
            EntryKind::File | EntryKind::Folder => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(())
    }

    /// Syncs the whole file system to the disk.
    pub fn sync_file_system(&self) -> io::Result<()> {
        system::sync_file_system(&self.fd)
    }
}
