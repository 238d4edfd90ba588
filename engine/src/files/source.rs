//! Reading one file: its data, its holes, and whether it held still meanwhile.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, SeekFrom};

use super::Stat;
use crate::format::tree::{ENTRY_CHUNKS_MAX, XATTR_BYTES_MAX};
use crate::format::{EntryKind, Hole, Xattr};

/// A regular file that is open for reading.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    /// What it was when it was opened.
    pub stat: Stat,
}

impl SourceFile {
    /// Opens a file, never through a symlink, and never waiting on something that is no file.
    pub fn open(path: &Path) -> io::Result<SourceFile> {
        SourceFile::open_in(CWD, path)
    }

    /// Opens a file by its path in a folder.
    pub(super) fn open_in(folder: impl AsFd, path: &Path) -> io::Result<SourceFile> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(folder, path, flags, Mode::empty())?);
        let stat = Stat::of(&rustix::fs::fstat(&file)?);
        if stat.kind != EntryKind::File {
            return Err(io::Error::other("it is not a regular file any more"));
        }
        Ok(SourceFile { file, stat })
    }

    /// Returns whether the file is as it was when it was opened.
    pub fn held_still(&self) -> io::Result<bool> {
        Ok(Stat::of(&rustix::fs::fstat(&self.file)?).same_content(&self.stat))
    }

    /// Fails if a file that holds still has content beyond the size that it tells, as those of some
    /// file systems do that are made while they are read.
    pub fn expect_end(&self) -> io::Result<()> {
        let beyond = rustix::io::retry_on_intr(|| {
            rustix::io::pread(&self.file, &mut [0; 1], self.stat.size)
        })?;
        if beyond > 0 && self.held_still()? {
            return Err(io::Error::other("it has more than its size tells"));
        }
        Ok(())
    }

    /// Returns the ranges that hold data; one for a file without holes, none for an empty one.
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
                Err(rustix::io::Errno::NXIO) => break,
                // This file system knows no holes.
                Err(rustix::io::Errno::INVAL) => return Ok(whole(size)),
                Err(error) => return Err(error.into()),
            };
            let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start))?.min(size);
            if start >= end {
                break;
            }
            ranges.push(start..end);
            at = end;
            // Each takes a chunk of its own: the limit of an entry must not be met.
            if ranges.len() >= ENTRY_CHUNKS_MAX / 2 {
                return Ok(whole(size));
            }
        }
        Ok(ranges)
    }

    /// Moves to where a range begins.
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

    pub fn into_file(self) -> File {
        self.file
    }
}

fn whole(size: u64) -> Vec<Range<u64>> {
    std::iter::once(0..size).collect()
}

/// Returns what lies between ranges of data, up to `size`.
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

/// Returns the extended attributes of a path, sorted; an absent support counts as none.
pub fn xattrs(path: &Path) -> io::Result<Option<Vec<Xattr>>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if unsupported(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        // Labels of the running system, not of the photo.
        if name.as_bytes() == b"security.selinux" {
            continue;
        }
        if let Some(value) = xattr::get(path, &name)? {
            found.push(Xattr { name: name.into_vec().into(), value: value.into() });
        }
    }
    if found.iter().map(|x| x.name.len() + x.value.len()).sum::<usize>() > XATTR_BYTES_MAX {
        return Err(io::Error::other("it has too many extended attributes"));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((!found.is_empty()).then_some(found))
}

fn unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error())
}
