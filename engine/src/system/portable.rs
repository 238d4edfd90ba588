//! The same as in `linux`, from calls that every Unix has. Where these cannot do the same, each function says what is
//! lost.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::types::numbers;

/// Opens a folder in order to open names in it. Needs the right to list it.
pub const SEARCH: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// There is no direct I/O: writes pass the cache of the system.
pub const DIRECT: Option<OFlags> = None;

/// A name in a folder. Each call looks the name up again, so another program may replace the file between two of them;
/// a symlink is never followed.
pub struct NameInFolder {
    folder: OwnedFd,
    name: Vec<u8>,
}

impl NameInFolder {
    /// Names an entry of a folder.
    pub fn new(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<NameInFolder> {
        let named = NameInFolder { folder: folder.try_clone_to_owned()?, name: name.to_vec() };
        named.stat()?;
        Ok(named)
    }

    /// Examines it.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.folder, &self.name[..], AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Sets its mode. macOS would set that of a symlink itself.
    pub fn set_mode(&self, mode: Mode) -> rustix::io::Result<()> {
        rustix::fs::chmodat(&self.folder, &self.name[..], mode, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Returns the target of a symlink.
    pub fn link_target(&self) -> io::Result<std::ffi::CString> {
        Ok(rustix::fs::readlinkat(&self.folder, &self.name[..], Vec::new())?)
    }
}

/// Returns a path that starts at an open folder. It fails if it is too long, or if the folder is moved meanwhile.
pub fn path_below(folder: &OwnedFd, rest: &Path) -> io::Result<PathBuf> {
    Ok(real_path(folder)?.join(rest))
}

/// Returns the real path of an open folder.
#[cfg(target_os = "macos")]
pub fn real_path(folder: &OwnedFd) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = rustix::fs::getpath(folder)?;
    Ok(std::ffi::OsString::from_vec(path.into_bytes()).into())
}

/// There is no call for it that every Unix has.
#[cfg(not(target_os = "macos"))]
pub fn real_path(_folder: &OwnedFd) -> io::Result<PathBuf> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Syncs all file systems. On macOS, `sync` only begins to write, so the disk of the folder is flushed, too.
pub fn sync_file_system(folder: &OwnedFd) -> io::Result<()> {
    rustix::fs::sync();
    #[cfg(target_os = "macos")]
    if rustix::fs::fcntl_fullfsync(folder).is_ok() {
        return Ok(());
    }
    Ok(rustix::fs::fsync(folder)?)
}

/// Returns whether an open folder is on another device than the folder that contains it. Does not see a folder of the
/// same disk that is mounted there.
pub fn is_mount(folder: &OwnedFd) -> bool {
    is_mounted_on(folder.as_fd(), Path::new(".")).unwrap_or(false)
}

/// Returns whether a folder is on another device than the folder that contains it. May wait for a file system that is
/// unreachable.
pub fn is_mounted_on(above: BorrowedFd<'_>, path: &Path) -> io::Result<bool> {
    let device = |path: &Path| {
        let stat = rustix::fs::statat(above, path, AtFlags::SYMLINK_NOFOLLOW)?;
        io::Result::Ok(numbers(&stat).device)
    };
    Ok(device(path)? != device(&path.join(".."))?)
}

/// macOS has no call that creates these in an open folder, so they are not restored.
pub fn make_node(_folder: &OwnedFd, _name: &[u8], _kind: FileType, _device: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Does nothing: it would only save time.
pub fn will_need(_file: &File, _start: u64, _length: u64) {}

/// There is no `/proc/locks`.
pub fn device_in_locks(_device: u64) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::linux;

    #[test]
    fn what_every_unix_has_gives_the_same_answers_as_linux() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("elsewhere", temp.path().join("link")).unwrap();
        let open = |flags| rustix::fs::open(temp.path(), flags, Mode::empty()).unwrap();
        let (ours, theirs) = (open(SEARCH), open(linux::SEARCH));
        let link = NameInFolder::new(ours.as_fd(), b"link").unwrap();
        let of_linux = linux::Unopened::new(theirs.as_fd(), b"link").unwrap();
        assert_eq!(link.link_target().unwrap(), of_linux.link_target().unwrap());
        let (one, other) = (link.stat().unwrap(), of_linux.stat().unwrap());
        assert_eq!((one.st_ino, one.st_mode), (other.st_ino, other.st_mode));
        assert!(NameInFolder::new(ours.as_fd(), b"none").is_err());
        sync_file_system(&ours).unwrap();
        let inside = rustix::fs::openat(&ours, "folder", SEARCH, Mode::empty()).unwrap();
        assert_eq!((is_mount(&inside), linux::is_mount(&inside)), (false, false));
        let root = rustix::fs::open("/", SEARCH, Mode::empty()).unwrap();
        let photo = File::open("/proc/self/exe").unwrap();
        will_need(&photo, 0, 1);
        assert!(DIRECT.is_none() && linux::DIRECT.is_some());
        assert!(path_below(&ours, Path::new("folder")).is_err());
        assert!(make_node(&ours, b"pipe", FileType::Fifo, 0).is_err());
        assert_eq!(device_in_locks(0x801), None);
        assert_eq!(linux::device_in_locks(0x801).as_deref(), Some("08:01"));
        // Linux refuses this for a symlink, and its older kernels for everything.
        assert!(link.set_mode(Mode::RWXU).is_err());
        for (path, is_mounted) in [("proc", true), ("proc/self", false)] {
            let path = Path::new(path);
            assert_eq!(is_mounted_on(root.as_fd(), path).unwrap(), is_mounted, "{path:?}");
        }
    }
}
