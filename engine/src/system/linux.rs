//! The calls of Linux. `O_PATH` names a file without opening it, so that a device is not woken, and no symlink that is
//! swapped in meanwhile is followed.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags};

/// Opens a folder in order to open names in it. Needs no right to list it.
pub const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Writes to the disk without the cache of the system, if the file system supports it.
pub const DIRECT: Option<OFlags> = Some(OFlags::DIRECT);

/// A name in a folder that is examined without being opened.
pub struct Unopened(OwnedFd);

impl Unopened {
    /// Names an entry of a folder. A symlink is not followed.
    pub fn new(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<Unopened> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Unopened(rustix::fs::openat(folder, name, flags, Mode::empty())?))
    }

    /// Examines it.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?)
    }

    /// Sets its mode; it must not be a symlink.
    pub fn set_mode(&self, mode: Mode) -> rustix::io::Result<()> {
        rustix::fs::chmod(path_through(&self.0), mode)
    }

    /// Returns the target of a symlink.
    pub fn link_target(&self) -> io::Result<std::ffi::CString> {
        Ok(rustix::fs::readlinkat(&self.0, "", Vec::new())?)
    }
}

/// Returns a path by which calls reach an open file or folder.
fn path_through(open: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", open.as_raw_fd()).into()
}

/// Returns a path that starts at an open folder, for calls that have no parameter for one.
pub fn path_below(folder: &OwnedFd, rest: &Path) -> io::Result<PathBuf> {
    Ok(path_through(folder).join(rest))
}

/// Returns the real path of an open folder.
pub fn real_path(folder: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(path_through(folder))
}

/// Syncs the file system of an open folder to the disk.
pub fn sync_file_system(folder: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(folder)?)
}

/// Returns whether something is mounted at an open folder: another disk, or a folder from elsewhere. If the system is
/// too old to report it, returns false; then device numbers are compared.
pub fn is_mount(folder: &OwnedFd) -> bool {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Returns whether a file system is mounted exactly at a path. Comparing device numbers does not work, because overlay
/// file systems have several. Sends no request to the file system itself, which may be unreachable.
pub fn is_mounted_on(above: BorrowedFd<'_>, path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(above, path, flags, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Creates a pipe, a socket or a device.
pub fn make_node(folder: &OwnedFd, name: &[u8], kind: FileType, device: u64) -> io::Result<()> {
    Ok(rustix::fs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device)?)
}

/// Asks the system to read a range of a file ahead. Not all file systems support this.
pub fn will_need(file: &File, start: u64, length: u64) {
    let advice = rustix::fs::Advice::WillNeed;
    let _ = rustix::fs::fadvise(file, start, NonZeroU64::new(length), advice);
}

/// Returns a device number as `/proc/locks` writes it.
pub fn device_in_locks(device: u64) -> Option<String> {
    Some(format!("{:02x}:{:02x}", rustix::fs::major(device), rustix::fs::minor(device)))
}
