//! Writing back, and never outside the target.
//!
//! Every folder below the target is a descriptor, opened from its parent without following a
//! symlink; names are single components. So no symlink, whether it was there before, was restored
//! a moment ago or is swapped in meanwhile, can lead a write out of the target.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags};
use rustix::fs::{Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::output::{DIRECT_BYTES_MIN, Output};
use super::{SourceFile, Stat};
use crate::codec::random;
use crate::format::{Entry, EntryKind, Time};

const TEMP_PREFIX: &str = ".icecore-";
const XATTR: &str = "set an extended attribute of";
const TEMP_SUFFIX: &str = ".part";

/// An open folder at or below the target.
#[derive(Debug, Clone)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    /// For messages only; nothing is opened by it.
    pub path: PathBuf,
}

const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the target itself, which may be reached through symlinks.
    pub fn root(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Folder { fd: Arc::new(fd), path: path.to_owned() })
    }

    /// Opens a subfolder; fails with `NotADirectory` or a loop error on anything else.
    pub fn open(&self, name: &[u8]) -> io::Result<Folder> {
        let fd = rustix::fs::openat(&self.fd, name, FOLDER_FLAGS, Mode::empty())?;
        Ok(Folder { fd: Arc::new(fd), path: self.path_of(name) })
    }

    /// Makes a subfolder that only the owner may enter until its metadata is set.
    pub fn create(&self, name: &[u8]) -> io::Result<Folder> {
        rustix::fs::mkdirat(&self.fd, name, Mode::RWXU)?;
        self.open(name)
    }

    /// Opens what is below, one folder after the other.
    pub fn below(&self, path: &Path) -> io::Result<Folder> {
        path.iter().try_fold(self.clone(), |folder, name| folder.open(name.as_bytes()))
    }

    /// Opens a file for reading.
    pub fn open_file(&self, name: &[u8]) -> io::Result<SourceFile> {
        SourceFile::open_in(&self.fd, Path::new(OsStr::from_bytes(name)), &|| true)
    }

    /// Returns the target of a symlink.
    pub fn link_target(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Looks at a name without following a symlink.
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

    /// Removes a name and everything below it, without following a symlink. Returns how many names
    /// that were.
    pub fn remove(&self, name: &[u8]) -> io::Result<u64> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            other => return Ok(other.map(|()| 1)?),
        }
        let folder = self.open(name)?;
        let mut removed = 1;
        for name in folder.names()? {
            removed += folder.remove(&name)?;
        }
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?;
        Ok(removed)
    }

    /// Removes what a killed restore left behind.
    pub fn sweep(&self) -> io::Result<()> {
        for name in self.names()? {
            if name.starts_with(TEMP_PREFIX.as_bytes()) && name.ends_with(TEMP_SUFFIX.as_bytes()) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Begins a file of so many bytes under a temporary name. Not all are written: the rest is holes.
    pub fn create_temp(&self, bytes: u64, written: u64) -> io::Result<TempFile> {
        let name = temporary();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, &name[..], flags, Mode::RUSR | Mode::WUSR)?;
        let mut temp = TempFile { folder: self.clone(), name, output: None, kept: false };
        rustix::fs::ftruncate(&fd, bytes)?;
        // Few files of a batch are long: they do not take many descriptors.
        let direct =
            (written >= DIRECT_BYTES_MIN as u64).then(|| self.open_direct(&temp.name, &fd));
        temp.output = Some(Arc::new(Output::new(fd.into(), direct.flatten())));
        Ok(temp)
    }

    /// Opens a file once more, to write past the page cache, if its file system can.
    fn open_direct(&self, name: &[u8], file: &OwnedFd) -> Option<File> {
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = flags | OFlags::CLOEXEC;
        let direct = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).ok()?;
        let (direct_stat, stat) = (rustix::fs::fstat(&direct).ok()?, rustix::fs::fstat(file).ok()?);
        // Somebody may have put another one there meanwhile.
        let is_same = (direct_stat.st_dev, direct_stat.st_ino) == (stat.st_dev, stat.st_ino);
        is_same.then(|| File::from(direct))
    }

    /// Makes what is no file and no folder. Devices need root.
    pub fn create_special(&self, entry: &Entry) -> io::Result<()> {
        let name = &entry.name[..];
        let node = |kind| {
            let device = entry.device.unwrap_or(0);
            rustix::fs::mknodat(&self.fd, name, kind, Mode::RUSR | Mode::WUSR, device)
        };
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

    /// Gives a file that was restored a second name. What has it stays unless it is to be replaced, and
    /// until it is.
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
        let temp = &temporary()[..];
        rustix::fs::linkat(&self.fd, name, &to.fd, temp, AtFlags::empty())?;
        let renamed = rustix::fs::renameat(&to.fd, temp, &to.fd, to_name);
        // A rename leaves both names if they are of one file already.
        let _ = rustix::fs::unlinkat(&to.fd, temp, AtFlags::empty());
        Ok(renamed?)
    }

    /// Sets owner, attributes, mode and times of the folder itself.
    pub fn set_own_metadata(&self, entry: &Entry) -> Vec<(&'static str, io::Error)> {
        set_metadata(self.fd.as_fd(), entry)
    }

    /// Sets owner and times of something that cannot be opened.
    pub fn set_metadata_at(&self, entry: &Entry) -> Vec<(&'static str, io::Error)> {
        let name = &entry.name[..];
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let mut problems = Vec::new();
        let (uid, gid) = owner(entry);
        note(
            &mut problems,
            "set the owner of",
            rustix::fs::chownat(&self.fd, name, uid, gid, flags),
        );
        if entry.kind != EntryKind::Symlink {
            note(&mut problems, "set the mode of", self.set_mode(entry));
        }
        let times = timestamps(entry.mtime);
        let set = rustix::fs::utimensat(&self.fd, name, &times, flags);
        note(&mut problems, "set the time of", set);
        problems
    }

    /// Sets the mode of something that must not be opened: a device may do anything then. A path
    /// that only names it is opened instead, since a mode by name follows symlinks.
    fn set_mode(&self, entry: &Entry) -> rustix::io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, &entry.name[..], flags, Mode::empty())?;
        if Stat::of(&rustix::fs::fstat(&fd)?).kind != entry.kind {
            return Err(Errno::LOOP);
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::fs::chmod(path, Mode::from_raw_mode(mode(entry)))
    }

    /// Writes everything of this file system that is not on the disk yet, to it.
    pub fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.fd)?)
    }
}

/// A file under a temporary name; gone when dropped, unless it was kept.
#[derive(Debug)]
pub struct TempFile {
    folder: Folder,
    name: Vec<u8>,
    /// `None` when it was closed.
    pub output: Option<Arc<Output>>,
    kept: bool,
}

impl TempFile {
    /// Sets the metadata of the file and gives it its name; if something has it, that is replaced or this
    /// fails. Content must be synced before. Returns what could not be set: when the file has its name it
    /// is complete.
    pub fn keep(
        mut self,
        entry: &Entry,
        replaces: bool,
    ) -> io::Result<Vec<(&'static str, io::Error)>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder.fd, &self.name[..], flags, Mode::empty())?;
        let problems = set_metadata(file.as_fd(), entry);
        let to = &entry.name[..];
        let folder = &self.folder.fd;
        if replaces {
            rustix::fs::renameat(folder, &self.name[..], folder, to)?;
        } else {
            rename_new(folder, &self.name, to)?;
        }
        self.kept = true;
        Ok(problems)
    }
}

/// Names a file that is being written.
fn temporary() -> Vec<u8> {
    let random: u64 = u64::from_le_bytes(random());
    format!("{TEMP_PREFIX}{random:016x}{TEMP_SUFFIX}").into_bytes()
}

/// Renames a file unless the name is taken: by a file that was restored just now, if the disk takes two
/// names for one.
fn rename_new(folder: &OwnedFd, name: &[u8], to: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(folder, name, folder, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot refuse by themselves.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match rustix::fs::statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => rustix::fs::renameat(folder, name, folder, to),
                there => there.and(Err(Errno::EXIST)),
            }
        }
        done => done,
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing can be done about a failure here; the next restore sweeps it away.
            let _ = rustix::fs::unlinkat(&self.folder.fd, &self.name[..], AtFlags::empty());
        }
    }
}

/// Sets owner, attributes, mode and times, and returns what could not be set.
fn set_metadata(fd: std::os::fd::BorrowedFd<'_>, entry: &Entry) -> Vec<(&'static str, io::Error)> {
    let mut problems = Vec::new();
    let (uid, gid) = owner(entry);
    // The owner first: changing it clears set-user-id bits and capabilities.
    note(&mut problems, "set the owner of", rustix::fs::fchown(fd, uid, gid));
    for xattr in entry.xattrs.iter().flatten() {
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::fsetxattr(fd, &xattr.name[..], &xattr.value, flags);
        // One is told: there may be any number of them.
        if set.is_err() && problems.iter().all(|(what, _)| *what != XATTR) {
            note(&mut problems, XATTR, set);
        }
    }
    let mode = Mode::from_raw_mode(mode(entry));
    note(&mut problems, "set the mode of", rustix::fs::fchmod(fd, mode));
    note(&mut problems, "set the time of", rustix::fs::futimens(fd, &timestamps(entry.mtime)));
    problems
}

/// Returns the owner to set: only root can give files away. The largest number is nobody's: the
/// system takes it for no change.
fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    let id = |id: u32| Some(id).filter(|id| *id != u32::MAX);
    if rustix::process::geteuid().is_root() {
        (id(entry.uid).map(Uid::from_raw), id(entry.gid).map(Gid::from_raw))
    } else {
        (None, None)
    }
}

/// Returns the mode to set. A program that runs as its owner must not come to run as another: the
/// bits are left off where the owner is not set.
fn mode(entry: &Entry) -> u32 {
    let user = rustix::process::geteuid();
    let is_owner = owner(entry).0.is_some() || user.as_raw() == entry.uid;
    let masked = if is_owner || entry.kind == EntryKind::Folder { 0o7777 } else { 0o1777 };
    entry.mode & masked
}

fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: time, last_modification: time }
}

fn note(
    problems: &mut Vec<(&'static str, io::Error)>,
    what: &'static str,
    result: rustix::io::Result<()>,
) {
    if let Err(error) = result {
        problems.push((what, error.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    #[test]
    fn a_name_is_taken_from_nobody_who_was_not_asked_for() {
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
        // The second time it is a link already.
        for _ in 0..2 {
            root.hard_link(b"first", &root, b"other", true).unwrap();
            assert_eq!(std::fs::read(path("other")).unwrap(), b"photo");
            assert_eq!(root.names().unwrap().len(), 2, "no temporary name is left");
        }
    }
}
