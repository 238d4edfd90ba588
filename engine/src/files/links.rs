//! Symlinks in place of folders: a photographer moves the folder of a year to a larger disk and
//! leaves a link. A restore follows such a link only if the user asks for it, and only if it
//! existed before the restore.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Folder, OwnFolder, Stat};
use crate::format::EntryKind;
use crate::system::Unopened;

/// Decides which symlinks may stand for a folder. Clones share the list of symlinks that the
/// restore has made.
#[derive(Debug, Clone, Default)]
pub struct Links {
    follow: bool,
    /// The owner of the target; links of other users are not followed.
    owner: Option<u32>,
    /// Folders that no followed link may lead into.
    protect: Vec<PathBuf>,
    /// Symlinks that this restore has created, by device and inode. They are never followed,
    /// because the archive may be hostile.
    made: Arc<Mutex<HashSet<(u64, u64)>>>,
}

/// Why a name cannot be opened as a folder.
#[derive(Debug)]
pub enum NoFolder {
    /// Nothing has this name.
    Missing,
    /// A symlink that is not followed, and why.
    Link(String),
    /// Another kind of entry is in the way.
    Other,
    /// The system cannot open it.
    Failed(io::Error),
}

impl From<io::Error> for NoFolder {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => NoFolder::Missing,
            _ => NoFolder::Failed(error),
        }
    }
}

impl std::fmt::Display for NoFolder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoFolder::Missing => write!(formatter, "it does not exist"),
            NoFolder::Link(why) => write!(formatter, "{why}"),
            NoFolder::Other => write!(formatter, "something that is not a folder is in the way"),
            NoFolder::Failed(error) => write!(formatter, "{error}"),
        }
    }
}

impl Links {
    /// Returns the rules for a restore. With `follow`, any symlink in the target may stand for a folder.
    pub fn new(follow: bool) -> Links {
        Links { follow, ..Links::default() }
    }

    /// Returns the rules for a target of `owner`.
    pub fn of(&self, owner: Option<u32>, protect: Vec<PathBuf>) -> Links {
        Links { owner, protect, ..self.clone() }
    }

    /// Opens a folder by its name in another; see [`Folder::open_own`].
    pub fn open_own(&self, above: &Folder, name: &[u8]) -> Result<OwnFolder, NoFolder> {
        match above.stat(name)?.map(|stat| stat.kind) {
            None => Err(NoFolder::Missing),
            Some(EntryKind::Folder) => Ok(above.open_own(name)?),
            Some(EntryKind::Symlink) => {
                let folder = self.follow(above, name)?;
                let before = folder.own_stat()?;
                Ok(OwnFolder { folder, before, widened: false })
            }
            Some(_) => Err(NoFolder::Other),
        }
    }

    /// Opens a subfolder by its name.
    pub fn open(&self, above: &Folder, name: &[u8]) -> Result<Folder, NoFolder> {
        match above.stat(name)?.map(|stat| stat.kind) {
            None => Err(NoFolder::Missing),
            Some(EntryKind::Folder) => Ok(above.open(name)?),
            Some(EntryKind::Symlink) => self.follow(above, name),
            Some(_) => Err(NoFolder::Other),
        }
    }

    /// Records a symlink that the restore has made.
    pub fn made(&self, folder: &Folder, name: &[u8]) {
        if self.follow
            && let Ok(Some(stat)) = folder.stat(name)
        {
            self.lock().insert((stat.device, stat.inode));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(u64, u64)>> {
        self.made.lock().expect("nothing panics here")
    }

    fn follow(&self, above: &Folder, name: &[u8]) -> Result<Folder, NoFolder> {
        let no = |why: String| Err(NoFolder::Link(why));
        let link = Unopened::new(above.fd.as_fd(), name)?;
        let (stat, target) = (Stat::of(&link.stat()?), link.link_target()?);
        let to = String::from_utf8_lossy(target.as_bytes());
        let to = to.escape_debug();
        if !self.follow {
            return no(format!("it is now a symlink to {to}, where the snapshot has a folder"));
        }
        if self.lock().contains(&(stat.device, stat.inode)) {
            return no("it is a symlink that this restore created".to_owned());
        }
        let user = rustix::process::geteuid().as_raw();
        if ![Some(user), Some(0), self.owner].contains(&Some(stat.uid)) {
            return no(format!("it is a symlink to {to} that another user created"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&above.fd, target.as_c_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                return no(format!(
                    "it is a symlink to {to}, which does not exist: is its disk mounted?"
                ));
            }
            Err(Errno::NOTDIR) => {
                return no(format!("it is a symlink to {to}, which is not a folder"));
            }
            Err(error) => return Err(io::Error::from(error).into()),
        };
        let mut folder = above.opened(fd, name)?;
        folder.is_beyond = true;
        let real = folder.real_path()?;
        if let Some(own) = self.protect.iter().find(|own| real.starts_with(own)) {
            return no(format!("it is a symlink into {}, which belongs to icecore", own.display()));
        }
        Ok(folder)
    }
}
