//! Creates objects in a folder: atomically, durably, and only if the name is free.
//!
//! `object_store` can do this too, but this module writes large objects past the page cache, which
//! is about twice as fast, and works on file systems without hard links.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::rights::{self, FileRights};
use super::{Listed, layout};
use crate::codec::random;
use crate::system;

/// Alignment of direct I/O, in memory and on disk, that suits any disk in use today.
pub const ALIGN_BYTES: usize = 4096;
/// Smaller writes gain nothing from direct I/O.
const DIRECT_BYTES_MIN: usize = 1 << 20;
/// Number of bytes to read at once, until a sector among them fails.
const PIECE_BYTES: usize = 1 << 20;

/// Creates the file at `path` with its folder. Returns false if the name is taken.
pub(super) fn create(path: &Path, content: &[u8]) -> io::Result<bool> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !folder.is_dir() {
        durable(folder, rights::create_folder)?;
    }
    let rights = FileRights::within(folder)?;
    let temp = &temporary(path);
    let published = write(temp, content, rights).and_then(|()| publish(temp, path));
    // After a hard link, this removes the second name; after a failure, the partial file. It may be
    // gone already.
    let _ = std::fs::remove_file(temp);
    if published? {
        sync(folder)?;
        return Ok(true);
    }
    Ok(false)
}

/// Replaces a file; the old file stays until the new one is durable.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temp = &temporary(path);
    let rights = FileRights::within(folder)?;
    let put = write(temp, content, rights).and_then(|()| std::fs::rename(temp, path));
    put.inspect_err(|_| _ = std::fs::remove_file(temp))?;
    sync(folder)
}

/// Returns a name for a file that is being written. Listings omit names of this form.
fn temporary(path: &Path) -> PathBuf {
    let mut temp = path.as_os_str().to_owned();
    temp.push(format!("#{}", u32::from_le_bytes(random())));
    temp.into()
}

/// Creates the folder of a new repository, durably.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    // No object is missing: the system has no folders of users here, as in /proc.
    durable(folder, rights::create_root).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(io::ErrorKind::PermissionDenied, "no folder can be created here")
        }
        _ => error,
    })
}

/// Creates the folders of a repository that are missing in its folder, durably. Otherwise somebody who can only add files
/// could put a link or a file in the place of one.
pub(super) fn create_prefixes(root: &Path) -> io::Result<()> {
    let missing = layout::PREFIXES.iter().map(|prefix| root.join(prefix));
    missing.filter(|path| !path.is_dir()).try_for_each(|path| durable(&path, rights::create_folder))
}

/// Returns whether a link or a file is in the place of the folder of an object.
pub(super) fn is_replaced(root: &Path, prefix: &str) -> bool {
    let stat = root.join(prefix).symlink_metadata();
    !prefix.is_empty() && stat.is_ok_and(|stat| !stat.is_dir())
}

/// Creates a folder, durably. Removes it again if it cannot be synced, because the next attempt
/// must not rely on it.
fn durable(folder: &Path, create: fn(&Path) -> io::Result<()>) -> io::Result<()> {
    create(folder)?;
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    sync(above.unwrap_or(Path::new("."))).inspect_err(|_| {
        let _ = std::fs::remove_dir(folder);
    })
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems cannot sync a folder; then there is nothing more to do.
        Err(error)
            if error.raw_os_error().is_some_and(|code| cannot(Errno::from_raw_os_error(code))) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Returns whether an error means that the file system does not support the call, as on FUSE, exFAT
/// and some network file systems.
fn cannot(error: Errno) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM].contains(&error)
}

/// Fails if the path is not a regular file, because opening a pipe would block for ever.
pub(super) fn expect_file(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_file() {
        return Ok(());
    }
    Err(io::Error::other("it is not a regular file"))
}

/// Reads a range of a file; returns less if the file ends within the range.
pub(super) fn read(path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Do not trust a length beyond the end of the file.
    let bytes = file.metadata()?.len().min(range.end).saturating_sub(range.start);
    let mut content = vec![0; usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?];
    file.read_exact_at(&mut content, range.start)?;
    Ok(content)
}

/// Reads as much of a range of a file as possible: returns less if the file ends within the range,
/// and zeros for sectors that the disk cannot read.
pub(super) fn salvage(path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len().min(range.end).saturating_sub(range.start);
    let mut content = vec![0; usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?];
    let mut at = range.start;
    for piece in content.chunks_mut(PIECE_BYTES) {
        if file.read_exact_at(piece, at).is_err() {
            let sectors = (at..).step_by(ALIGN_BYTES);
            for (sector, at) in piece.chunks_mut(ALIGN_BYTES).zip(sectors) {
                if file.read_exact_at(sector, at).is_err() {
                    sector.fill(0);
                }
            }
        }
        at += PIECE_BYTES as u64;
    }
    Ok(content)
}

/// Lists the objects at and below a folder. Omits files that cannot be objects by their names:
/// files that are being written, and files of other programs.
pub(super) fn list(root: &Path, below: &str) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    let mut folders = vec![below.trim_matches('/').to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_spare(&folder) => {
                continue;
            }
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                continue;
            }
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let stat = std::fs::metadata(entry.path());
            // Whatever has the name of an entry of the log takes its slot, so it must be listed.
            if layout::log_number(&name).is_some()
                && !stat.as_ref().is_ok_and(|stat| stat.is_file())
            {
                let Ok(own) = entry.path().symlink_metadata() else { continue };
                let modified = own.mtime();
                found.push(Listed { name, bytes: 0, modified, class: Some(String::new()) });
                continue;
            }
            match stat {
                // Following a symlink to a parent folder would never end.
                Ok(metadata) if metadata.is_dir() && !entry.file_type()?.is_symlink() => {
                    folders.push(name);
                }
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) => {
                    let modified = std::os::unix::fs::MetadataExt::mtime(&metadata);
                    let class = Some(String::new());
                    found.push(Listed { name, bytes: metadata.len(), modified, class });
                }
                // The file was removed meanwhile, or is a dangling or circular link: it does not
                // count as an object.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {}
                Err(error) if is_spare(&name) && leads_nowhere(&entry, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Returns whether an object is a password or a checkpoint, so that work continues without it. Anyone who may write to
/// the folder can put something there that this user may not look into.
fn is_spare(name: &str) -> bool {
    let below = |prefix| name.strip_prefix(prefix).is_some_and(|rest: &str| rest.starts_with('/'));
    below(layout::KEYS) || below(layout::CHECKPOINTS)
}

/// Returns whether an entry is a symlink whose target cannot be an object that this user reads.
fn leads_nowhere(entry: &std::fs::DirEntry, error: &io::Error) -> bool {
    let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotADirectory];
    is_link
        && (kinds.contains(&error.kind())
            || error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()))
}

/// Removes the temporary files that killed runs left while they created a file.
pub(super) fn sweep(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let rest = entry.file_name().into_encoded_bytes();
        let rest = rest.strip_prefix(name.as_encoded_bytes());
        if rest.is_some_and(|rest| rest.starts_with(b"#")) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Removes the temporary files of killed runs in a folder that are older than a time in seconds
/// since 1970. Returns the number of files and bytes.
pub(super) fn sweep_all(folder: &Path, before: i64) -> io::Result<(u64, u64)> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        other => other?,
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_encoded_bytes();
        // `NAME#NUMBER`: no object has such a name.
        let number = name.rsplit(|byte| *byte == b'#').next().unwrap_or_default();
        let is_left = number.len() < name.len() && number.iter().all(u8::is_ascii_digit);
        if !is_left {
            continue;
        }
        let swept = entry.metadata().and_then(|metadata| {
            if !metadata.is_file() || metadata.mtime() >= before {
                return Ok(());
            }
            std::fs::remove_file(entry.path())?;
            files += 1;
            bytes += metadata.len();
            Ok(())
        });
        match swept {
            // The file may be gone: its writer has finished, or another prune was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok((files, bytes))
}

/// Writes a new file and syncs it. Sets its permissions here, before it gets its final name.
fn write(path: &Path, content: &[u8], rights: FileRights) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let aligned = content.as_ptr().align_offset(ALIGN_BYTES) == 0
        && content.len().is_multiple_of(ALIGN_BYTES)
        && content.len() >= DIRECT_BYTES_MIN;
    let direct = if let Some(direct) = system::DIRECT.filter(|_| aligned) {
        match rustix::fs::open(path, flags | direct, mode) {
            // The file system does not support direct I/O. Some of these have created the file
            // nevertheless.
            Err(Errno::INVAL) => {
                let _ = std::fs::remove_file(path);
                None
            }
            opened => Some(opened?),
        }
    } else {
        None
    };
    let mut file = File::from(match direct {
        Some(file) => file,
        None => rustix::fs::open(path, flags, mode)?,
    });
    rights.give_file(&file)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Gives the file its name; returns false if the name is taken.
fn publish(temp: &Path, path: &Path) -> io::Result<bool> {
    match rustix::fs::link(temp, path) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // exFAT and some network file systems have no hard links.
        Err(error) if cannot(error) || error == Errno::MLINK => {
            match rustix::fs::renameat_with(CWD, temp, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(error) if cannot(error) => publish_in_turn(temp, path),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives the file its name on a file system that cannot refuse a taken name atomically. A lock on
/// the folder makes the writers of this host take turns; the kernel releases it when a process
/// ends. It does not exclude writers of other hosts.
fn publish_in_turn(temp: &Path, path: &Path) -> io::Result<bool> {
    let folder = File::open(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    folder.lock()?;
    match std::fs::symlink_metadata(path) {
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::rename(temp, path)?;
    Ok(true)
}

/// Returns whether only the lock of [`publish_in_turn`] prevents two writers from taking the same
/// name.
pub(super) fn takes_turns(folder: &Path) -> io::Result<bool> {
    let (one, other) = (temporary(&folder.join("one")), temporary(&folder.join("other")));
    write(&one, b"a name", FileRights::within(folder)?)?;
    let linked = rustix::fs::link(&one, &other);
    let renamed = match linked {
        Ok(()) => Ok(()),
        Err(_) => rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::NOREPLACE),
    };
    for name in [one, other] {
        let _ = std::fs::remove_file(name);
    }
    Ok(renamed.is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_wins_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log/1");
        let won: Vec<bool> = std::thread::scope(|threads| {
            let racers: Vec<_> = (0..8u8)
                .map(|i| {
                    let path = &path;
                    threads.spawn(move || create(path, &[i; 3000]).unwrap())
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let winner = won.iter().position(|won| *won).unwrap() as u8;
        assert_eq!(std::fs::read(&path).unwrap(), [winner; 3000]);
        assert_eq!(std::fs::read_dir(folder.path().join("log")).unwrap().count(), 1);
    }

    #[test]
    fn writers_that_take_turns_replace_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        let won: Vec<bool> = std::thread::scope(|threads| {
            let racers: Vec<_> = (0..8u8)
                .map(|i| {
                    let path = &path;
                    threads.spawn(move || {
                        let temp = temporary(path);
                        write(
                            &temp,
                            &[i; 3000],
                            FileRights::within(path.parent().unwrap()).unwrap(),
                        )
                        .unwrap();
                        publish_in_turn(&temp, path).unwrap()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let winner = won.iter().position(|won| *won).unwrap() as u8;
        assert_eq!(std::fs::read(&path).unwrap(), [winner; 3000]);
        std::os::unix::fs::symlink("nowhere", folder.path().join("2")).unwrap();
        let temp = temporary(&folder.path().join("2"));
        write(&temp, b"x", FileRights::within(folder.path()).unwrap()).unwrap();
        assert!(!publish_in_turn(&temp, &folder.path().join("2")).unwrap(), "a link is a name too");
    }

    #[test]
    fn what_can_be_read_is_salvaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        let content: Vec<u8> = (0..10_001u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        assert_eq!(salvage(&path, 0..1 << 20).unwrap(), content);
        assert_eq!(salvage(&path, 0..5000).unwrap(), content[..5000]);
        assert!(salvage(&path, 0..0).unwrap().is_empty());
        assert!(salvage(&folder.path().join("other"), 0..1).is_err());
    }

    #[test]
    fn large_aligned_content_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let buffer = vec![7u8; (2 << 20) + ALIGN_BYTES];
        let start = buffer.as_ptr().align_offset(ALIGN_BYTES);
        let content = &buffer[start..start + (2 << 20)];
        let path = folder.path().join("pack");
        assert!(create(&path, content).unwrap());
        assert!(!create(&path, b"other").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}
