//! Sets owner, attributes, mode and times of restored files and folders, and preserves those of
//! folders that existed before.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::target::UNFINISHED;
use super::{Folder, Stat};
use crate::format::{Entry, EntryKind, Time};
use crate::system::{self, Unopened};

const XATTR: &str = "set an extended attribute of";
/// The permissions that an owner needs to write into a folder.
const WRITABLE: u32 = 0o700;

impl Stat {
    /// Returns whether an earlier restore created this folder and was killed before it set the
    /// folder's metadata.
    pub fn is_unfinished(&self) -> bool {
        let own = self.uid == rustix::process::geteuid().as_raw();
        // The parent folder may pass on its group and the set-group-id bit.
        own && self.kind == EntryKind::Folder && self.mode & 0o1777 == UNFINISHED
    }
}

impl Folder {
    /// Returns the `stat` of the folder itself.
    pub fn own_stat(&self) -> io::Result<Stat> {
        Ok(Stat::of(&rustix::fs::fstat(&self.fd)?))
    }

    /// Makes a read-only folder of this user writable, until [`Folder::put_back`]. Returns whether
    /// that was necessary.
    pub fn widen(&self) -> io::Result<bool> {
        widen(&self.own_stat()?, |mode| rustix::fs::fchmod(&self.fd, mode))
    }

    /// Runs `work` in the folder. If permission is denied, makes the folder writable and tries
    /// again, because another restore may have reset its mode in between.
    pub(super) fn or_widened<T>(&self, work: impl Fn() -> rustix::io::Result<T>) -> io::Result<T> {
        match work() {
            Err(Errno::ACCESS) if self.widen()? => Ok(work()?),
            done => Ok(done?),
        }
    }

    /// Makes a subfolder of this user readable and writable.
    pub(super) fn widen_at(&self, name: &[u8]) -> io::Result<bool> {
        let subfolder = Unopened::new(self.fd.as_fd(), name)?;
        let stat = Stat::of(&subfolder.stat()?);
        if stat.kind != EntryKind::Folder {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        widen(&stat, |mode| subfolder.set_mode(mode))
    }

    /// Resets the time of a folder to its value before the restore, and the mode too if the folder
    /// was made writable.
    pub fn put_back(&self, mtime: Time, mode: Option<u32>) -> io::Result<()> {
        if self.own_stat()?.mtime != mtime {
            let mut times = timestamps(mtime);
            times.last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            match rustix::fs::futimens(&self.fd, &times) {
                // A user who may write into another user's folder still cannot set its time.
                Err(Errno::PERM | Errno::ACCESS) => {}
                done => done?,
            }
        }
        if let Some(mode) = mode {
            rustix::fs::fchmod(&self.fd, system::mode(mode))?;
        }
        Ok(())
    }

    /// Sets owner, attributes, mode and times of the folder itself.
    pub fn set_own_metadata(&self, entry: &Entry) -> Vec<(&'static str, io::Error)> {
        set_metadata(self.fd.as_fd(), entry)
    }

    /// Sets owner and times of an entry that cannot be opened.
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

    /// Sets the mode of an entry that must not be opened, because opening a device may have
    /// effects. Follows no symlink.
    fn set_mode(&self, entry: &Entry) -> io::Result<()> {
        let special = Unopened::new(self.fd.as_fd(), &entry.name)?;
        if Stat::of(&special.stat()?).kind != entry.kind {
            return Err(Errno::LOOP.into());
        }
        Ok(special.set_mode(system::mode(mode(entry)))?)
    }
}

/// Adds the mode bits that the owner needs, if the folder belongs to this user and lacks them.
fn widen(stat: &Stat, set: impl FnOnce(Mode) -> rustix::io::Result<()>) -> io::Result<bool> {
    let user = rustix::process::geteuid();
    if user.is_root() || stat.uid != user.as_raw() || stat.mode & WRITABLE == WRITABLE {
        return Ok(false);
    }
    // For a user who is not in the group, the system would clear the bit, and icecore could not set
    // it again.
    if stat.mode & 0o2000 != 0 && !is_member(stat.gid) {
        return Ok(false);
    }
    set(system::mode(stat.mode | WRITABLE))?;
    Ok(true)
}

fn is_member(gid: u32) -> bool {
    rustix::process::getegid().as_raw() == gid
        || rustix::process::getgroups()
            .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// Sets owner, attributes, mode and times, and returns what could not be set.
pub(super) fn set_metadata(fd: BorrowedFd<'_>, entry: &Entry) -> Vec<(&'static str, io::Error)> {
    let mut problems = Vec::new();
    let (uid, gid) = owner(entry);
    // Set the owner first, because changing it clears set-user-id bits and capabilities.
    note(&mut problems, "set the owner of", rustix::fs::fchown(fd, uid, gid));
    for xattr in entry.xattrs.iter().flatten() {
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::fsetxattr(fd, &xattr.name[..], &xattr.value, flags);
        // Report only the first, because there may be any number of them.
        if set.is_err() && problems.iter().all(|(what, _)| *what != XATTR) {
            note(&mut problems, XATTR, set);
        }
    }
    note(&mut problems, "set the time of", rustix::fs::futimens(fd, &timestamps(entry.mtime)));
    // Set the mode last: until then it marks the folder as unfinished.
    let mode = system::mode(mode(entry));
    note(&mut problems, "set the mode of", rustix::fs::fchmod(fd, mode));
    problems
}

/// Returns the owner to set; only root can change owners. The largest id belongs to no user: the
/// system interprets it as no change.
fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    let id = |id: u32| Some(id).filter(|id| *id != u32::MAX);
    if rustix::process::geteuid().is_root() {
        (id(entry.uid).map(Uid::from_raw), id(entry.gid).map(Gid::from_raw))
    } else {
        (None, None)
    }
}

/// Returns the mode to set. Omits the set-id bits if the owner is not set, because a program that
/// runs as its owner must not run as another user.
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
    result: Result<(), impl Into<io::Error>>,
) {
    if let Err(error) = result {
        problems.push((what, error.into()));
    }
}
