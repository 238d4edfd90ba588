//! Reads one file: its data and its holes. Detects whether it changed meanwhile.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::held::Held;
use super::scan::Ignore;
use super::{Stat, long};
use crate::format::tree::{ENTRY_CHUNKS_MAX, XATTR_BYTES_MAX};
use crate::format::{EntryKind, Hole, Xattr};

/// How long to wait for a lease. The system revokes it after 45 seconds, unless
/// `/proc/sys/fs/lease-break-time` has another value.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(90);
/// The longest pause between two checks whether a lease was released.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A regular file that is open for reading.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    /// Its `stat` when it was opened.
    pub stat: Stat,
    /// Dropped after the file is closed.
    _held: Held,
}

impl SourceFile {
    /// Opens a file. Never follows a symlink, and never blocks on a pipe or device. Waits for
    /// another program's lease as long as `keeps_waiting` returns true.
    pub fn open(path: &Path, keeps_waiting: &dyn Fn() -> bool) -> io::Result<SourceFile> {
        long::at(path, |folder, path| SourceFile::open_in(folder, path, keeps_waiting))
    }

    /// Opens a file by its path in a folder.
    pub(super) fn open_in(
        folder: impl AsFd,
        path: &Path,
        keeps_waiting: &dyn Fn() -> bool,
    ) -> io::Result<SourceFile> {
        let file = File::from(open_leased(folder.as_fd(), path, keeps_waiting)?);
        let stat = Stat::of(&rustix::fs::fstat(&file)?);
        if stat.kind != EntryKind::File {
            return Err(io::Error::other("it is no longer a regular file"));
        }
        Ok(SourceFile { file, stat, _held: Held::plain(&stat) })
    }

    /// Wraps a temporary file of this process. Reads it without holes, so that the stored data does
    /// not depend on where a file system leaves holes.
    pub(super) fn own(file: File) -> io::Result<SourceFile> {
        let stat = Stat { blocks: u64::MAX, ..Stat::of(&rustix::fs::fstat(&file)?) };
        rustix::fs::seek(&file, SeekFrom::Start(0))?;
        Ok(SourceFile { file, stat, _held: Held::plain(&stat) })
    }

    /// Returns whether the file is unchanged since it was opened.
    pub fn held_still(&self, ignore: Ignore) -> io::Result<bool> {
        Ok(Stat::of(&rustix::fs::fstat(&self.file)?).same_content(&self.stat, ignore))
    }

    /// Fails if an unchanged file has content beyond its reported size, as on file systems that
    /// generate files while they are read.
    pub fn expect_end(&self) -> io::Result<()> {
        let beyond = rustix::io::retry_on_intr(|| {
            rustix::io::pread(&self.file, &mut [0; 1], self.stat.size)
        })?;
        if beyond > 0 && self.held_still(Ignore::default())? {
            return Err(io::Error::other("it is longer than its recorded size"));
        }
        Ok(())
    }

    /// Returns the ranges with data: one for a file without holes, none for an empty file.
    pub fn data_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        let size = self.stat.size;
        if size == 0 {
            return Ok(Vec::new());
        }
        if self.stat.blocks.saturating_mul(512) >= size {
            return Ok(whole(size));
        }
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(&self.file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                // This file system does not report holes.
                Err(Errno::INVAL) => return Ok(whole(size)),
                Err(error) => return Err(error.into()),
            };
            let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start))?.min(size);
            if start >= end {
                break;
            }
            ranges.push(start..end);
            at = end;
            // Each range needs its own chunk, and an entry has a limit of chunks.
            if ranges.len() >= ENTRY_CHUNKS_MAX / 2 {
                return Ok(whole(size));
            }
        }
        Ok(ranges)
    }

    /// Seeks to the beginning of a range.
    pub fn seek(&self, offset: u64) -> io::Result<()> {
        rustix::fs::seek(&self.file, SeekFrom::Start(offset))?;
        Ok(())
    }

    /// Reads until `buffer` is full or the file ends; returns the bytes read.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Returns the open file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Opens a file for reading. The first attempt asks the holder of a lease to release it; later
/// attempts find out whether it did, because the holder may write its data first.
fn open_leased(
    folder: std::os::fd::BorrowedFd<'_>,
    path: &Path,
    keeps_waiting: &dyn Fn() -> bool,
) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(5);
    loop {
        match rustix::fs::openat(folder, path, flags, Mode::empty()) {
            Err(Errno::AGAIN) if !keeps_waiting() => {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Err(Errno::AGAIN) if waited >= LEASE_WAIT_MAX => {
                return Err(io::Error::other(
                    "another program has a lease on it (an oplock of Samba, for example) and does not release the lease",
                ));
            }
            Err(Errno::AGAIN) => {
                std::thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            opened => return Ok(opened?),
        }
    }
}

fn whole(size: u64) -> Vec<Range<u64>> {
    std::iter::once(0..size).collect()
}

/// Returns the holes between ranges of data, up to `size`.
pub fn holes(ranges: &[Range<u64>], size: u64) -> Option<Vec<Hole>> {
    let mut holes = Vec::new();
    let mut at = 0;
    let ends = ranges.iter().map(|range| (range.start, range.end));
    for (start, end) in ends.chain([(size, size)]) {
        if start > at {
            holes.push(Hole { offset: at, bytes: start - at });
        }
        at = end;
    }
    (!holes.is_empty()).then_some(holes)
}

/// The extended attributes of a file or folder.
#[derive(Debug, Default)]
pub struct Xattrs {
    /// The attributes that could be read, sorted; `None` if there are none.
    pub found: Option<Vec<Xattr>>,
    /// Which attributes could not be read, and why.
    pub problem: Option<String>,
}

/// Reads the extended attributes of a path. An unreadable attribute is left out and reported; a
/// file system without attributes counts as having none.
pub fn xattrs(path: &Path) -> Xattrs {
    match long::short(path, |path| Ok(read_xattrs(path))) {
        Ok(xattrs) => xattrs,
        Err(error) => Xattrs { found: None, problem: Some(not_listed(&error)) },
    }
}

fn read_xattrs(path: &Path) -> Xattrs {
    let names: BTreeSet<OsString> = match xattr::list(path) {
        Ok(names) => names.collect(),
        Err(error) if unsupported(&error) => return Xattrs::default(),
        Err(error) => return Xattrs { found: None, problem: Some(not_listed(&error)) },
    };
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for name in names {
        // This label belongs to the running system, not to the photo.
        if name.as_bytes() == b"security.selinux" {
            continue;
        }
        let value = match xattr::get(path, &name) {
            Ok(Some(value)) if bytes + name.len() + value.len() > XATTR_BYTES_MAX => {
                Err(io::Error::other("the file has too many extended attributes"))
            }
            // The attribute has been removed since it was listed.
            Ok(None) => continue,
            Err(error) if unsupported(&error) => continue,
            Ok(Some(value)) => Ok(value),
            Err(error) => Err(error),
        };
        match value {
            Ok(value) => {
                bytes += name.len() + value.len();
                found.push(Xattr { name: name.into_vec().into(), value: value.into() });
            }
            Err(error) => unread.push((name.to_string_lossy().into_owned(), error)),
        }
    }
    let problem = (!unread.is_empty()).then(|| not_read(&unread));
    Xattrs { found: (!found.is_empty()).then_some(found), problem }
}

/// Maximum number of attributes that a message names.
const NAMED_MAX: usize = 3;

fn not_read(unread: &[(String, io::Error)]) -> String {
    let named: Vec<String> =
        unread.iter().take(NAMED_MAX).map(|(name, error)| format!("{name:?}: {error}")).collect();
    let (what, without) = match unread.len() {
        1 => ("an extended attribute".to_owned(), "it"),
        count => (format!("{count} extended attributes"), "them"),
    };
    let more = if unread.len() > NAMED_MAX { ", …" } else { "" };
    format!("cannot read {what} ({}{more}); archived without {without}", named.join(", "))
}

fn not_listed(error: &io::Error) -> String {
    format!("cannot list its extended attributes: {error}; archived without them")
}

/// Returns whether the file system supports no extended attributes, or not this kind of them.
fn unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error())
}
