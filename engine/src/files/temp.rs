//! Files under temporary names: `.icecore-`, 16 hex digits, `.part`. icecore removes only regular
//! files with such a name that are not in use: a restore keeps its own files locked while it writes
//! them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock};
use rustix::io::Errno;

use super::metadata::set_metadata;
use super::output::{DIRECT_BYTES_MIN, Output};
use super::{Folder, SourceFile, Stat};
use crate::codec::random;
use crate::format::{Entry, EntryKind};
use crate::system;

const PREFIX: &[u8] = b".icecore-";
const SUFFIX: &[u8] = b".part";
const DIGITS: usize = 16;
/// Maximum number of names to try while other processes keep removing our files.
const TRIES: usize = 100;
const COPIED_AT_ONCE: usize = 1 << 20;

/// Returns whether a restore would give this name to an unfinished file.
pub fn is_temporary(name: &[u8]) -> bool {
    let digits = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(is_digit))
}

/// Returns a name for a file that is being written.
fn temporary() -> Vec<u8> {
    let random: u64 = u64::from_le_bytes(random());
    [PREFIX, format!("{random:016x}").as_bytes(), SUFFIX].concat()
}

/// A file under a temporary name. It is removed on drop unless [`TempFile::keep`] was called.
#[derive(Debug)]
pub struct TempFile {
    folder: Folder,
    name: Vec<u8>,
    /// Kept open, and locked if the file system has locks, until the file has its final name, so
    /// that no other restore removes it.
    file: Arc<File>,
    /// `None` once everything is written.
    pub output: Option<Arc<Output>>,
    kept: bool,
}

impl Folder {
    /// Creates a file of `bytes` bytes under a temporary name, of which `written` bytes are
    /// written; the rest is holes.
    pub fn create_temp(&self, bytes: u64, written: u64) -> io::Result<TempFile> {
        for _ in 0..TRIES {
            let name = temporary();
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let fd = self.or_widened(|| rustix::fs::openat(&self.fd, &name[..], flags, mode))?;
            let file = Arc::new(File::from(fd));
            let mut temp = TempFile { folder: self.clone(), name, file, output: None, kept: false };
            // Another restore may see the file before it is locked, and treat it as a leftover.
            let locked = flock(&temp.file, FlockOperation::NonBlockingLockExclusive);
            if locked == Err(Errno::WOULDBLOCK) || rustix::fs::fstat(&temp.file)?.st_nlink == 0 {
                continue;
            }
            rustix::fs::ftruncate(&temp.file, bytes)?;
            // Only a few files of a batch are long enough, so this needs few descriptors.
            let direct = (written >= DIRECT_BYTES_MIN as u64)
                .then(|| self.open_direct(&temp.name, &temp.file));
            temp.output = Some(Arc::new(Output::new(temp.file.clone(), direct.flatten())));
            return Ok(temp);
        }
        Err(io::Error::other("another program removes its temporary files"))
    }

    /// Opens a file a second time for direct I/O, if the file system supports it.
    fn open_direct(&self, name: &[u8], file: &File) -> Option<File> {
        let flags = OFlags::WRONLY | system::DIRECT? | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::CLOEXEC;
        let direct = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).ok()?;
        let (direct_stat, stat) = (rustix::fs::fstat(&direct).ok()?, rustix::fs::fstat(file).ok()?);
        // Another process may have created a new file there.
        let is_same = (direct_stat.st_dev, direct_stat.st_ino) == (stat.st_dev, stat.st_ino);
        is_same.then(|| File::from(direct))
    }

    /// Renames a file unless the other name is taken.
    pub fn rename_new(&self, name: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(rename_new(self, name, to)?)
    }

    /// Returns the names of files in the folder that a killed restore may have left.
    pub fn leftovers(&self) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.names()?.into_iter().filter(|name| is_temporary(name)).collect())
    }

    /// Removes a file that a killed restore has left. Returns false, and keeps the file, if it is
    /// not such a file or a running restore uses it.
    pub fn sweep(&self, name: &[u8]) -> io::Result<bool> {
        if !is_temporary(name) || !self.stat(name)?.is_some_and(|s| s.kind == EntryKind::File) {
            return Ok(false);
        }
        // A file that cannot be opened belongs to another user.
        let Ok(source) = self.open_file(name) else { return Ok(false) };
        let stat = source.stat;
        if flock(source.file(), FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        let is_same = |there: Stat| (there.device, there.inode) == (stat.device, stat.inode);
        if !self.stat(name)?.is_some_and(is_same) {
            return Ok(false);
        }
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?;
        Ok(true)
    }

    /// Gives a restored file a second name. An existing file of that name stays, or is replaced
    /// atomically if requested.
    pub fn hard_link(
        &self,
        name: &[u8],
        to: &Folder,
        to_name: &[u8],
        replaces: bool,
    ) -> io::Result<()> {
        if !replaces {
            return Ok(rustix::fs::linkat(&self.fd, name, &to.fd, to_name, AtFlags::empty())?);
        }
        // Another restore may find the temporary name, so the file must be locked.
        let file = self.open_file(name);
        let _locked =
            file.map(|file| flock(file.file(), FlockOperation::LockShared).map(|()| file));
        let temp = &temporary()[..];
        rustix::fs::linkat(&self.fd, name, &to.fd, temp, AtFlags::empty())?;
        let renamed = rustix::fs::renameat(&to.fd, temp, &to.fd, to_name);
        // A rename keeps both names if they already belong to the same file.
        let _ = rustix::fs::unlinkat(&to.fd, temp, AtFlags::empty());
        Ok(renamed?)
    }

    /// Copies a restored file to a second name, for disks that cannot make hard links. Returns the
    /// metadata that could not be set.
    pub fn copy(
        &self,
        name: &[u8],
        to: &Folder,
        entry: &Entry,
        replaces: bool,
    ) -> io::Result<Vec<(&'static str, io::Error)>> {
        let source = self.open_file(name)?;
        let temp = to.create_temp(source.stat.size, 0)?;
        let data = source.data_ranges()?;
        let from = source.file();
        let mut buffer = vec![0; COPIED_AT_ONCE];
        for range in data {
            let mut at = range.start;
            while at < range.end {
                let bytes = (range.end - at).min(buffer.len() as u64) as usize;
                from.read_exact_at(&mut buffer[..bytes], at)?;
                temp.file.write_all_at(&buffer[..bytes], at)?;
                at += bytes as u64;
            }
        }
        temp.file.sync_data()?;
        temp.keep(entry, replaces)
    }
}

impl TempFile {
    /// Opens the file for reading.
    pub fn open(&self) -> io::Result<SourceFile> {
        self.folder.open_file(&self.name)
    }

    /// Sets the metadata of the file and gives it its name; replaces an existing file of that name,
    /// or fails. The content must be synced before, so that a file with its name is complete.
    /// Returns the metadata that could not be set.
    pub fn keep(
        mut self,
        entry: &Entry,
        replaces: bool,
    ) -> io::Result<Vec<(&'static str, io::Error)>> {
        let problems = set_metadata(self.file.as_fd(), entry);
        let to = &entry.name[..];
        let folder = &self.folder;
        folder.or_widened(|| match replaces {
            true => rustix::fs::renameat(&folder.fd, &self.name[..], &folder.fd, to),
            false => rename_new(folder, &self.name, to),
        })?;
        self.kept = true;
        Ok(problems)
    }
}

/// Renames a file unless the name is taken. On a file system that treats two names as one, a file
/// that was just restored may have taken it.
fn rename_new(folder: &Folder, name: &[u8], to: &[u8]) -> rustix::io::Result<()> {
    let fd = &folder.fd;
    match rustix::fs::renameat_with(fd, name, fd, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot refuse atomically.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match rustix::fs::statat(fd, to, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => rustix::fs::renameat(fd, name, fd, to),
                there => there.and(Err(Errno::EXIST)),
            }
        }
        done => done,
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            // A failure here cannot be handled; the next restore removes the file.
            let _ = rustix::fs::unlinkat(&self.folder.fd, &self.name[..], AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Time;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.as_bytes().to_vec().into(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: Time { seconds: 1_700_000_000, nanos: 0 },
            size: Some(0),
            chunks: None,
            holes: None,
            target: None,
            xattrs: None,
            link: None,
            device: None,
            mark: None,
        }
    }

    #[test]
    fn a_file_that_was_not_asked_for_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = Folder::root(folder.path()).unwrap();
        let names = || root.names().unwrap().len();
        let keep = |replaces| root.create_temp(5, 0).unwrap().keep(&entry("IMG_1.jpg"), replaces);
        assert!(keep(false).unwrap().is_empty());
        std::fs::write(folder.path().join("IMG_1.jpg"), "photo").unwrap();
        assert_eq!(keep(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(folder.path().join("IMG_1.jpg")).unwrap(), b"photo");
        assert!(keep(true).unwrap().is_empty());
        assert_eq!(std::fs::read(folder.path().join("IMG_1.jpg")).unwrap(), [0; 5]);
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_link_that_cannot_be_made_takes_nothing_away() {
        let folder = tempfile::tempdir().unwrap();
        let root = Folder::root(folder.path()).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("first"), "photo").unwrap();
        std::fs::write(path("other"), "edit").unwrap();
        assert!(root.hard_link(b"none", &root, b"other", true).is_err());
        assert!(root.hard_link(b"first", &root, b"other", false).is_err());
        assert_eq!(std::fs::read(path("other")).unwrap(), b"edit");
        // The second time, the link already exists.
        for _ in 0..2 {
            root.hard_link(b"first", &root, b"other", true).unwrap();
            assert_eq!(std::fs::read(path("other")).unwrap(), b"photo");
            assert_eq!(root.names().unwrap().len(), 2, "no temporary name is left");
        }
    }

    #[test]
    fn only_unused_files_with_our_mark_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let root = Folder::root(folder.path()).unwrap();
        let path = |name: &str| folder.path().join(name);
        let ours = ".icecore-0123456789abcdef.part";
        for name in [
            ".icecore-backup.part",
            ".icecore-0123456789abcde.part",
            ".icecore-0123456789abcdeff.part",
            ".icecore-0123456789ABCDEF.part",
            ".icecore-0123456789abcdef.part.jpg",
            "icecore-0123456789abcdef.part",
        ] {
            std::fs::write(path(name), "mine").unwrap();
            assert!(!root.sweep(name.as_bytes()).unwrap() && path(name).exists(), "{name}");
        }
        std::fs::create_dir(path(ours)).unwrap();
        assert!(!root.sweep(ours.as_bytes()).unwrap());
        std::fs::remove_dir(path(ours)).unwrap();
        std::os::unix::fs::symlink(".icecore-backup.part", path(ours)).unwrap();
        assert!(!root.sweep(ours.as_bytes()).unwrap());
        std::fs::remove_file(path(ours)).unwrap();
        std::fs::write(path(ours), "half a file").unwrap();
        assert_eq!(root.leftovers().unwrap(), [ours.as_bytes()]);
        assert!(root.sweep(ours.as_bytes()).unwrap() && !path(ours).exists());
        // This temporary file belongs to a running restore.
        let temp = root.create_temp(5, 0).unwrap();
        assert!(!root.sweep(&temp.name).unwrap());
        assert!(temp.keep(&entry("photo"), false).unwrap().is_empty() && path("photo").exists());
    }

    #[test]
    fn a_copy_stands_in_for_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = Folder::root(folder.path()).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("first"), "photo").unwrap();
        std::fs::write(path("other"), "edit").unwrap();
        assert!(root.copy(b"first", &root, &entry("other"), false).is_err());
        assert_eq!(std::fs::read(path("other")).unwrap(), b"edit");
        assert!(root.copy(b"first", &root, &entry("other"), true).unwrap().is_empty());
        assert_eq!(std::fs::read(path("other")).unwrap(), b"photo");
        assert_eq!(root.names().unwrap().len(), 2, "no temporary name is left");
    }
}
