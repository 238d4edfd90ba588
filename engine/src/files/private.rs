//! The private files of icecore on this host: the writer credential, catalogs, locks, an exported
//! identity.
//!
//! Only their owner can read or write them, whatever the umask. No file is created through a
//! symlink, and no folder is used that another user could write to.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::codec::random;
use crate::error::{Error, Exposed};

/// The permissions of group and others.
pub const OTHERS: u32 = 0o077;
/// The permissions of group and others to write.
pub const OTHERS_WRITE: u32 = 0o022;
const WORLD_WRITE: u32 = 0o002;
/// The sticky bit: only the owner of an entry in the folder can remove it, as in `/tmp`.
const STICKY: u32 = 0o1000;
/// Largest file that is read whole, such as a credential or a profile.
const BYTES_MAX: u64 = 1 << 20;
/// The ending of icecore's temporary files.
const TEMP_SUFFIX: &[u8] = b".part";
/// Number of attempts to replace a file while other processes of this user replace it, too.
const REPLACE_TRIES: u32 = 3;

/// Creates a folder that only its owner can enter, and its missing parents. A folder that exists must pass [`check`].
pub fn folder(path: &Path, bits: u32, is_ours: impl Fn(&[u8]) -> bool) -> Result<(), Error> {
    make(path, 0o700).map_err(Error::file("create", path))?;
    check(path, bits, is_ours)
}

/// Creates the target folder of a restore, with its missing parents, if it does not exist. The
/// umask decides who can read it; other users can never write to it.
pub fn target(path: &Path) -> io::Result<()> {
    make(path, 0o775)
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(mode);
    match builder.create(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            make(above.ok_or(error)?, mode)?;
            match builder.create(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                made => made,
            }
        }
        Err(_) if path.is_dir() => Ok(()),
        made => made,
    }
}

/// Removes the permissions `bits` of other users from a folder if all files in it are icecore's; a folder with other
/// files in it keeps its permissions. Then fails if another user could write to it. Accepts a folder that does not
/// exist.
pub fn check(path: &Path, bits: u32, is_ours: impl Fn(&[u8]) -> bool) -> Result<(), Error> {
    let failed = |error: Errno| Error::file("open", path)(error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => File::from(opened.map_err(failed)?),
    };
    let exposed = |reason| Error::Exposed { path: path.to_owned(), reason };
    let stat = folder.metadata().map_err(Error::file("open", path))?;
    expect_owner(&stat).map_err(exposed)?;
    let mut mode = stat.mode();
    if mode & bits != 0 && stat.uid() == user() && only_ours(&folder, is_ours).map_err(failed)? {
        mode = narrow(&folder, mode, bits);
    }
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 && !is_read_only(&folder) {
        return Err(exposed(Exposed::Writable));
    }
    Ok(())
}

/// Returns whether a file system is read-only.
fn is_read_only(folder: &File) -> bool {
    let stat = rustix::fs::fstatvfs(folder);
    stat.is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

fn only_ours(folder: &File, is_ours: impl Fn(&[u8]) -> bool) -> rustix::io::Result<bool> {
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !is_ours(name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the permissions of other users from the files in a folder that has just become private. Deletes files of
/// other users, files that everyone could write to, and everything that is not a file; `keeps` selects the files that
/// stay although everyone could write to them, because their content does not matter.
pub fn clear(folder: &Path, keeps: impl Fn(&[u8]) -> bool) -> Result<(), Error> {
    let failed = || Error::file("list", folder);
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let path = entry.path();
        let stat = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            stat => stat.map_err(Error::file("read the metadata of", &path))?,
        };
        if stat.is_dir() {
            continue;
        }
        let is_forged = stat.mode() & WORLD_WRITE != 0 && !keeps(entry.file_name().as_bytes());
        if !stat.is_file() || is_forged || expect_owner(&stat).is_err() {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::file("remove", path)(error));
                }
                _ => continue,
            }
        }
        if stat.mode() & OTHERS != 0 && stat.uid() == user() {
            // No other user can enter the folder, so files whose permissions cannot be changed do
            // no harm.
            let mode = Permissions::from_mode(stat.mode() & 0o700);
            let _ = std::fs::set_permissions(&path, mode);
        }
    }
    Ok(())
}

/// Returns whether a file was created by this user, or by root, and no other user can write to it.
pub fn is_trusted(path: &Path) -> bool {
    let sound = |stat: &Metadata| stat.is_file() && stat.mode() & OTHERS_WRITE == 0;
    std::fs::symlink_metadata(path).is_ok_and(|stat| sound(&stat) && expect_owner(&stat).is_ok())
}

/// Creates a file that only its owner can read or write. Fails if the name is taken, even by a symlink.
pub fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Creates a private file without a name, which disappears when it is closed; `path` must be free
/// during the call.
pub fn nameless(path: &Path) -> io::Result<File> {
    remove(path)?;
    let file = create(path)?;
    remove(path)?;
    Ok(file)
}

/// Opens or creates a file to lock it, and keeps its content. Replaces a symlink, or a file of
/// another user, who could keep it locked.
pub fn open_lock(path: &Path) -> Result<File, Error> {
    let failed = || Error::file("open", path);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    for _ in 0..REPLACE_TRIES {
        match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map(File::from) {
            Ok(file) => {
                let stat = file.metadata().map_err(failed())?;
                if stat.is_file() && expect_owner(&stat).is_ok() {
                    narrow(&file, stat.mode(), OTHERS);
                    return Ok(file);
                }
            }
            Err(Errno::LOOP) => {}
            Err(error) => return Err(failed()(error.into())),
        }
        remove(path).map_err(Error::file("remove", path))?;
    }
    Err(Error::Exposed { path: path.to_owned(), reason: Exposed::Irregular })
}

/// Replaces a private file durably: after a crash, either the old or the new file exists, complete.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    sweep(path, folder);
    let mut tries = 0;
    loop {
        tries += 1;
        let temp = path.with_extension(format!("{:016x}.part", u64::from_le_bytes(random())));
        let put = write(&temp, content).and_then(|()| std::fs::rename(&temp, path));
        match put {
            Ok(()) => return File::open(folder)?.sync_all(),
            // Another process has removed the temporary file.
            Err(error) if error.kind() == ErrorKind::NotFound && tries < REPLACE_TRIES => {}
            Err(error) => {
                let _ = remove(&temp);
                return Err(error);
            }
        }
    }
}

/// Writes a file without secrets, such as a manual page; the umask decides who may read it.
pub fn write_open(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::write(path, content)
}

/// Replaces a file without secrets atomically: a program that reads it sees either the old or the new content.
pub fn replace_open(path: &Path, content: &[u8]) -> io::Result<()> {
    let temp = path.with_extension(format!("{:016x}.part", u64::from_le_bytes(random())));
    let put = std::fs::write(&temp, content).and_then(|()| std::fs::rename(&temp, path));
    put.inspect_err(|_| _ = remove(&temp))
}

/// Writes a new private file durably. A failed write leaves no file.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    write(path, content).inspect_err(|error| {
        // The existing file is not ours; keep it.
        if error.kind() != ErrorKind::AlreadyExists {
            let _ = remove(path);
        }
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A private file that is on the disk before the change that makes it useful. It is removed when it is dropped without
/// [`Provisional::keep`]; a file that it was to replace then stays as it is.
#[must_use]
pub struct Provisional {
    path: PathBuf,
    /// The file that has the content now: `path`, or a temporary file beside it.
    written: PathBuf,
    content: Zeroizing<Vec<u8>>,
    is_kept: bool,
}

impl Provisional {
    /// Writes a new file. Fails if the name is taken.
    pub fn create(path: &Path, content: Zeroizing<Vec<u8>>) -> io::Result<Provisional> {
        write_new(path, &content)?;
        let path = path.to_owned();
        Ok(Provisional { written: path.clone(), path, content, is_kept: false })
    }

    /// Writes a temporary file, which replaces the one at `path` when it is kept.
    pub fn beside(path: &Path, content: Zeroizing<Vec<u8>>) -> io::Result<Provisional> {
        sweep(path, path.parent().unwrap_or(Path::new(".")));
        let written = path.with_extension(format!("{:016x}.part", u64::from_le_bytes(random())));
        write_new(&written, &content)?;
        Ok(Provisional { path: path.to_owned(), written, content, is_kept: false })
    }

    /// Makes the file permanent, and returns its path.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot take its name.
    pub fn keep(mut self) -> Result<PathBuf, Error> {
        if self.written != self.path && std::fs::rename(&self.written, &self.path).is_err() {
            // Another process may have removed the temporary file.
            replace(&self.path, &self.content).map_err(Error::file("write", &self.path))?;
            return Ok(self.path.clone());
        }
        self.is_kept = true;
        // The content is durable. If the name is not yet, only a power cut in this moment loses it.
        let _ = self.path.parent().map(File::open).map(|folder| folder.and_then(|f| f.sync_all()));
        Ok(self.path.clone())
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = remove(&self.written);
        }
    }
}

/// Removes the temporary files that killed runs left while they replaced a file. Never writes to
/// them, because they may be symlinks or readable by others.
fn sweep(path: &Path, folder: &Path) {
    let Some(stem) = path.file_stem() else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.as_bytes().strip_prefix(stem.as_bytes());
        if rest.is_some_and(|rest| rest.starts_with(b".") && rest.ends_with(TEMP_SUFFIX)) {
            let _ = remove(&entry.path());
        }
    }
}

/// Reads a small file that belongs to this user or root; returns `None` if it does not exist. Removes the permissions
/// `bits` of other users from it, then fails if another user could write to it.
pub fn read(path: &Path, bits: u32) -> Result<Option<Vec<u8>>, Error> {
    let failed = || Error::file("read", path);
    let exposed = |reason| Error::Exposed { path: path.to_owned(), reason };
    // Opening a pipe would block for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened.map_err(|error| failed()(error.into()))?),
    };
    let stat = file.metadata().map_err(failed())?;
    if stat.is_dir() || stat.file_type().is_fifo() {
        return Err(exposed(Exposed::Irregular));
    }
    expect_owner(&stat).map_err(exposed)?;
    let mode = narrow(&file, stat.mode(), bits);
    if mode & OTHERS_WRITE != 0 && !is_read_only(&file) {
        return Err(exposed(Exposed::Writable));
    }
    let mut content = Vec::with_capacity(stat.len().min(BYTES_MAX) as usize);
    file.take(BYTES_MAX).read_to_end(&mut content).map_err(failed())?;
    Ok(Some(content))
}

/// Removes permissions of other users if the file belongs to this user. Returns the resulting mode.
fn narrow(file: &File, mode: u32, bits: u32) -> u32 {
    if mode & bits == 0 {
        return mode;
    }
    let wanted = Permissions::from_mode(mode & 0o7777 & !bits);
    // If the permissions cannot be changed, return them as they are.
    let _ = file.set_permissions(wanted);
    file.metadata().map_or(mode, |stat| stat.mode())
}

/// Fails if the owner is neither this user nor root, who can do anything anyway.
fn expect_owner(stat: &Metadata) -> Result<(), Exposed> {
    let owner = stat.uid();
    if owner == user() || owner == 0 { Ok(()) } else { Err(Exposed::Foreign(owner)) }
}

/// Returns whether a process belongs to a user who is neither this one nor root.
pub fn is_foreign_process(process: u32) -> bool {
    std::fs::metadata(format!("/proc/{process}")).is_ok_and(|stat| expect_owner(&stat).is_err())
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
