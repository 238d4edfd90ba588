//! Writes the content of new files. Long writes bypass the page cache, because copying into the
//! cache costs several times as much. Direct I/O needs whole sectors, so the first and last bytes
//! of such a write go through the cache.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Alignment of direct I/O, in memory and on disk, that suits any disk in use today.
const ALIGN_BYTES: usize = 4096;
/// Smaller writes gain nothing from direct I/O.
pub(super) const DIRECT_BYTES_MIN: usize = 1 << 20;
/// Maximum number of bytes in one write.
const EXTENT_BYTES: usize = 8 << 20;

/// A new file. Threads may write to ranges that do not overlap.
#[derive(Debug)]
pub struct Output {
    cached: Arc<File>,
    /// The same file opened for direct I/O, if it is long enough and the file system supports it.
    direct: Option<File>,
}

impl Output {
    pub(super) fn new(cached: Arc<File>, direct: Option<File>) -> Output {
        Output { cached, direct }
    }

    fn write(&self, content: &[u8], offset: u64) -> io::Result<()> {
        let head = (offset.next_multiple_of(ALIGN_BYTES as u64) - offset) as usize;
        let Some((direct, (head, rest))) = self.direct.as_ref().zip(content.split_at_checked(head))
        else {
            return self.cached.write_all_at(content, offset);
        };
        let (sectors, tail) = rest.split_at(rest.len() - rest.len() % ALIGN_BYTES);
        if sectors.len() < DIRECT_BYTES_MIN || sectors.as_ptr().align_offset(ALIGN_BYTES) != 0 {
            return self.cached.write_all_at(content, offset);
        }
        self.cached.write_all_at(head, offset)?;
        let middle = offset + head.len() as u64;
        match direct.write_all_at(sectors, middle) {
            // The file could be opened for direct I/O, but an underlying file system does not
            // support it.
            Err(error)
                if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) =>
            {
                self.cached.write_all_at(sectors, middle)?;
            }
            done => done?,
        }
        self.cached.write_all_at(tail, middle + sectors.len() as u64)
    }
}

/// Collects adjacent content of a file, to write it at once.
#[derive(Debug)]
pub struct Extent {
    memory: Vec<u8>,
    /// Where the content begins in `memory`: at the same distance from a sector boundary as in the
    /// file.
    start: usize,
    bytes: usize,
    /// Where the content begins in the file.
    offset: u64,
}

impl Default for Extent {
    fn default() -> Self {
        // Zeroed memory of the system costs nothing until it is used.
        let memory = vec![0; EXTENT_BYTES + ALIGN_BYTES];
        let mut extent = Extent { memory, start: 0, bytes: 0, offset: 0 };
        extent.begin(0);
        extent
    }
}

impl Extent {
    /// Restarts at another offset of a file, and drops unwritten data.
    pub fn begin(&mut self, offset: u64) {
        self.start = self.first_sector() + (offset % ALIGN_BYTES as u64) as usize;
        self.offset = offset;
        self.bytes = 0;
    }

    fn first_sector(&self) -> usize {
        self.memory.as_ptr().align_offset(ALIGN_BYTES).min(ALIGN_BYTES)
    }

    /// Returns where the content ends in the file.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes as u64
    }

    /// Returns the free memory, which ends on a sector boundary.
    fn left(&mut self) -> &mut [u8] {
        let end = self.first_sector() + EXTENT_BYTES;
        &mut self.memory[self.start + self.bytes..end]
    }

    /// Returns the next `bytes` bytes of free memory, if there are as many.
    pub fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        self.left().get_mut(..bytes)
    }

    /// Adds bytes that the caller wrote into [`Extent::room`].
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Appends as much content as fits; returns the rest.
    pub fn add<'c>(&mut self, content: &'c [u8]) -> &'c [u8] {
        let left = self.left();
        let (content, rest) = content.split_at(content.len().min(left.len()));
        left[..content.len()].copy_from_slice(content);
        self.grow(content.len());
        rest
    }

    /// Writes the content, to a file if there is one, and continues after it.
    pub fn write(&mut self, output: Option<&Output>) -> io::Result<()> {
        let content = &self.memory[self.start..self.start + self.bytes];
        let done = output.map_or(Ok(()), |output| output.write(content, self.offset));
        self.begin(self.end());
        done
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;

    const FILE_BYTES: usize = 3 * EXTENT_BYTES + 12_345;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    fn open(path: &Path) -> File {
        File::options().write(true).create(true).truncate(false).open(path).unwrap()
    }

    fn open_direct(path: &Path) -> Option<File> {
        let flags = crate::system::DIRECT?.bits() as i32;
        File::options().write(true).custom_flags(flags).open(path).ok()
    }

    /// Writes a range of the content in chunks: some are written in place, others are copied.
    fn write(extent: &mut Extent, output: &Output, content: &[u8], range: std::ops::Range<usize>) {
        extent.begin(range.start as u64);
        let mut at = range.start;
        for bytes in [1, 4095, 70_000, 1 << 20, 4096, 0, 3 << 20].into_iter().cycle() {
            let chunk = &content[at..range.end.min(at + bytes)];
            match extent.room(chunk.len()) {
                Some(room) if bytes % 2 == 0 => {
                    room.copy_from_slice(chunk);
                    extent.grow(chunk.len());
                }
                _ => {
                    let mut rest = extent.add(chunk);
                    while !rest.is_empty() {
                        extent.write(Some(output)).unwrap();
                        rest = extent.add(rest);
                    }
                }
            }
            at += chunk.len();
            assert_eq!(extent.end(), at as u64);
            if at == range.end {
                return extent.write(Some(output)).unwrap();
            }
        }
    }

    #[test]
    fn what_many_write_piece_by_piece_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let content = noise(FILE_BYTES);
        // Simulates a file that cannot do direct I/O: writing to this file fails with EINVAL.
        let unable = || File::options().write(true).open("/proc/self/oom_score_adj").ok();
        for (name, direct) in [("cached", 0), ("direct", 1), ("unable", 2)] {
            let path = &folder.path().join(name);
            let cached = open(path);
            cached.set_len(FILE_BYTES as u64).unwrap();
            let direct = [None, open_direct(path), unable()].into_iter().nth(direct).flatten();
            let (output, content) = (&Output::new(Arc::new(cached), direct), &content);
            // Neighbouring ranges share a sector, in which one ends and the next begins.
            let edges = [0, 5_000, 300_001, (2 << 20) + 3, EXTENT_BYTES * 2 + 77, FILE_BYTES];
            std::thread::scope(|threads| {
                for range in edges.windows(2) {
                    let range = range[0]..range[1];
                    threads.spawn(move || write(&mut Extent::default(), output, content, range));
                }
            });
            assert!(std::fs::read(path).unwrap() == *content, "{name}");
        }
    }

    #[test]
    fn a_run_takes_what_it_has_room_for() {
        let mut extent = Extent::default();
        let content = noise(EXTENT_BYTES);
        extent.begin(4097);
        assert_eq!(extent.room(EXTENT_BYTES - 1).map(|room| room.len()), Some(EXTENT_BYTES - 1));
        assert!(extent.room(EXTENT_BYTES).is_none());
        assert_eq!(extent.add(&content).len(), 1);
        assert_eq!((extent.end(), extent.room(1).is_some()), (4096 + EXTENT_BYTES as u64, false));
        // Even if there is no file, the buffer continues after the content.
        extent.write(None).unwrap();
        assert_eq!(extent.end(), 4096 + EXTENT_BYTES as u64);
        assert!(extent.room(EXTENT_BYTES).is_some());
    }

    #[test]
    fn a_full_disk_and_a_closed_file_are_errors() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let mut extent = Extent::default();
        extent.add(b"content");
        let error = extent.write(Some(&Output::new(Arc::new(full), None))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // If direct I/O fails for any reason other than missing support, it is not repeated through
        // the cache.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (cached, direct) = (open(&path), File::open(&path).unwrap());
        extent.begin(0);
        extent.add(&noise(1 << 20));
        assert!(extent.write(Some(&Output::new(Arc::new(cached), Some(direct)))).is_err());
    }
}
