//! Opens paths that are too long for one system call, part by part.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use crate::system;

/// A longer path is opened in parts of at most this many bytes. The system accepts 4095; the rest
/// is reserved for the path of an open folder.
const PART_BYTES_MAX: usize = 4000;

/// Calls `act` with a folder and a path in it that the system accepts: the whole path, or its end
/// together with the open folder above. Opens at most two folders at once.
pub(super) fn at<T>(
    path: &Path,
    act: impl FnOnce(BorrowedFd<'_>, &Path) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= PART_BYTES_MAX {
        return act(CWD, path);
    }
    let (folder, rest) = split(path)?;
    act(folder.as_fd(), rest)
}

/// Calls `act` with a path that the system accepts, for calls that have no parameter for an open
/// folder.
pub(super) fn short<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= PART_BYTES_MAX {
        return act(path);
    }
    let (folder, rest) = split(path)?;
    act(&system::path_below(&folder, rest)?)
}

/// Resolves the symlinks in a path. Leaves the part beyond the system's limit as it was given.
pub(super) fn real(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => {
            let bytes = path.as_os_str().as_bytes();
            let Some(cut) = cut(bytes) else { return Err(error) };
            let above = Path::new(OsStr::from_bytes(&bytes[..cut.max(1)])).canonicalize()?;
            Ok(above.join(OsStr::from_bytes(below(bytes, cut))))
        }
        other => other,
    }
}

/// Opens the folder above the end of a long path. Opens each part from the previous one, which is
/// closed afterwards.
fn split(path: &Path) -> io::Result<(OwnedFd, &Path)> {
    let mut rest = path.as_os_str().as_bytes();
    let mut folder: Option<OwnedFd> = None;
    loop {
        // A name has at most 255 bytes.
        let cut = cut(rest).ok_or(Errno::NAMETOOLONG)?;
        let part = &rest[..cut.max(1)];
        let above = folder.as_ref().map_or(CWD, AsFd::as_fd);
        let opened = rustix::fs::openat(above, part, system::SEARCH, Mode::empty())?;
        rest = below(rest, cut);
        if rest.len() <= PART_BYTES_MAX {
            return Ok((opened, Path::new(OsStr::from_bytes(rest))));
        }
        folder = Some(opened);
    }
}

/// Returns the last slash in the longest part of a path that can be opened at once.
fn cut(path: &[u8]) -> Option<usize> {
    path[..path.len().min(PART_BYTES_MAX)].iter().rposition(|byte| *byte == b'/')
}

/// Returns the path after a slash; the folder itself if it is empty.
fn below(path: &[u8], slash: usize) -> &[u8] {
    let rest = &path[slash..];
    let start = rest.iter().position(|byte| *byte != b'/');
    start.map_or(b".", |start| &rest[start..])
}

#[cfg(test)]
mod tests {
    use rustix::fs::OFlags;

    use super::*;
    use crate::files::{SourceFile, scan, source};

    /// Creates nested folders, and returns the path of the innermost one.
    fn nest(top: &Path, name: &str, levels: usize) -> PathBuf {
        let mut folder = rustix::fs::open(top, system::SEARCH, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&folder, name, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, name, system::SEARCH, Mode::empty()).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        rustix::fs::openat(&folder, "photo", flags, Mode::RUSR | Mode::WUSR).unwrap();
        rustix::fs::symlinkat("elsewhere", &folder, "link").unwrap();
        top.join(vec![name; levels].join("/"))
    }

    #[test]
    fn what_lies_deeper_than_the_system_takes_is_reached() {
        let temp = tempfile::tempdir().unwrap();
        for (name, levels) in [("b".repeat(250), 17), ("c".repeat(97), 150)] {
            let folder = nest(temp.path(), &name, levels);
            assert_eq!(scan::list(&folder).unwrap().found.len(), 2);
            assert_eq!(scan::link_target(&folder.join("link")).unwrap(), b"elsewhere");
            assert_eq!(scan::stat(&folder.join("photo"), false).unwrap().size, 0);
            assert!(SourceFile::open(&folder.join("photo"), &|| true).is_ok());
            assert!(source::xattrs(&folder.join("photo")).problem.is_none());
            assert_eq!(
                scan::stat(&folder.join("none"), false).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
            assert!(real(&folder).unwrap().ends_with(&name));
        }
    }

    #[test]
    fn a_long_path_is_parted_at_slashes() {
        let name = "e".repeat(300);
        let path = format!("/{}", vec![&name[..]; 40].join("//"));
        let rest = below(path.as_bytes(), cut(path.as_bytes()).unwrap());
        assert!(rest.starts_with(name.as_bytes()) && rest.len() > PART_BYTES_MAX);
        assert_eq!(below(b"a//", 1), b".");
        assert_eq!(cut("f".repeat(5000).as_bytes()), None);
    }
}
