//! File permissions of a repository in a folder: its owner, and the group that it is shared with, can read the objects.
//! Other users never can, whatever the umask, because anyone who reads a key slot can try passwords.
//!
//! A folder is shared if its group can write to it, if new files in it belong to its group (set-group-id), or if only
//! its group can enter it. The group then gets the same rights to everything that is created in the folder.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

const GROUP: u32 = 0o070;
const GROUP_READ: u32 = 0o040;
const GROUP_WRITE: u32 = 0o020;
const SET_GROUP: u32 = 0o2000;
const WORLD: u32 = 0o007;

/// The owner and permissions of new files in a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileRights {
    owner: u32,
    group: u32,
    /// The permission bits of the group of the folder.
    bits: u32,
}

impl FileRights {
    /// Returns the rights of files that are created in a folder of a repository.
    pub fn within(folder: &Path) -> io::Result<FileRights> {
        let stat = folder.metadata()?;
        Ok(FileRights::of(&stat, stat.mode() & WORLD == 0))
    }

    /// Returns the rights of a repository that is created in a folder. A home folder that its group can enter does not
    /// count as shared.
    fn above(folder: &Path) -> io::Result<FileRights> {
        Ok(FileRights::of(&folder.metadata()?, false))
    }

    fn of(stat: &Metadata, is_closed: bool) -> FileRights {
        let is_shared = is_closed || stat.mode() & (GROUP_WRITE | SET_GROUP) != 0;
        let bits = if is_shared { stat.mode() & GROUP } else { 0 };
        FileRights { owner: stat.uid(), group: stat.gid(), bits }
    }

    /// Makes a new file readable to the readers of the folder; until then only its owner can read it. Gives no write
    /// permission, because objects never change.
    pub fn give_file(&self, file: &File) -> io::Result<()> {
        self.give(file, 0o600, GROUP_READ)
    }

    fn give(&self, file: &File, own: u32, group_max: u32) -> io::Result<()> {
        let stat = file.metadata()?;
        let is_root = rustix::process::geteuid().is_root();
        if is_root && stat.uid() != self.owner {
            // If root creates a file in a user's folder, give it to that user, who can then read the archive without
            // root.
            let _ = rustix::fs::fchown(file, Some(Uid::from_raw(self.owner)), None);
        }
        let bits = self.bits & group_max;
        if bits == 0 {
            return Ok(());
        }
        let given = stat.gid() == self.group
            || rustix::fs::fchown(file, None, Some(Gid::from_raw(self.group))).is_ok();
        if !given {
            // The file belongs to another group, so give no permissions to that group.
            return Ok(());
        }
        let special = file.metadata()?.mode() & 0o7000;
        let mode = Mode::from_raw_mode((special | own | bits) as rustix::fs::RawMode);
        match rustix::fs::fchmod(file, mode) {
            // exFAT and some network file systems have no modes.
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                Ok(())
            }
            done => Ok(done?),
        }
    }
}

/// Creates a folder in a repository, and its missing parents.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    create(folder, FileRights::within)
}

/// Creates the folder of a new repository, and its missing parents.
pub(super) fn create_root(folder: &Path) -> io::Result<()> {
    create(folder, FileRights::above)
}

fn create(folder: &Path, rights: fn(&Path) -> io::Result<FileRights>) -> io::Result<()> {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && above != folder => {
            create(above, rights)?;
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
                made => made?,
            }
        }
        Err(_) if folder.is_dir() => return Ok(()),
        Err(error) => return Err(error),
    }
    rights(above)?.give(&open(folder)?, 0o700, GROUP)
}

fn open(folder: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::empty())?.into())
}

/// Removes the permissions of other users from a folder that an older version has left open. Does nothing for a user
/// who does not own the folder, because its owner will do it.
pub(super) fn close(folder: &Path) {
    let Ok(opened) = open(folder) else { return };
    let Ok(stat) = opened.metadata() else { return };
    let bits = FileRights::of(&stat, false).bits;
    let wanted = stat.mode() & 0o7700 | bits;
    if wanted != stat.mode() & 0o7777 && stat.mode() & WORLD != 0 {
        let _ = rustix::fs::fchmod(&opened, Mode::from_raw_mode(wanted as rustix::fs::RawMode));
    }
}
