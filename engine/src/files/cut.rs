//! Reads a file window by window, and cuts it into chunks while reading.

use std::io;
use std::ops::Range;

use super::SourceFile;
use crate::codec::{Cutter, Cutting};

/// Number of bytes to read before cutting, small enough for the processor's cache.
const READ_BYTES: usize = 2 << 20;

/// A buffer that files are read into and cut in.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    /// Bytes before this offset are cut, …
    start: usize,
    /// … and bytes from this offset on are unused.
    end: usize,
    /// Whether the uncut bytes begin a chunk that needs a whole window.
    full: bool,
}

impl ReadBuffer {
    /// Returns the bytes of a chunk that was cut.
    pub fn raw(&self, place: &Range<usize>) -> &[u8] {
        &self.bytes[place.clone()]
    }

    /// Returns how many bytes are cut.
    pub fn cut_bytes(&self) -> usize {
        self.start
    }

    /// Returns whether no more can be cut until the cut chunks are forgotten.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Discards the cut chunks, and keeps the bytes that are read but not cut.
    pub fn discard_cut(&mut self) {
        self.full = false;
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }

    /// Replaces the content of this buffer with the uncut bytes of `other`, which loses them.
    pub fn move_uncut_from(&mut self, other: &mut ReadBuffer) {
        (self.start, self.end, self.full) = (0, 0, false);
        let rest = other.start..other.end;
        self.room(rest.len())[..rest.len()].copy_from_slice(&other.bytes[rest.clone()]);
        self.end = rest.len();
        other.forget_uncut();
    }

    /// Discards the bytes that were read but not cut.
    pub fn forget_uncut(&mut self) {
        (self.end, self.full) = (self.start, false);
    }

    fn uncut(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Returns free space to read into.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let wanted = self.end + bytes;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        &mut self.bytes[self.end..wanted]
    }
}

/// A file that is being read and cut.
#[derive(Debug)]
pub struct Reading {
    file: SourceFile,
    /// Where the file has data.
    ranges: Vec<Range<u64>>,
    /// The index of the range that is being read.
    at: usize,
    /// The file offset of the next chunk.
    offset: u64,
    /// Bytes that are not cut yet.
    left: u64,
    cutting: Option<Cutting>,
    /// False once the file turned out shorter than its size.
    whole: bool,
}

/// A file that was read to its end.
#[derive(Debug)]
pub struct WasRead {
    /// The file, open and at its end.
    pub file: SourceFile,
    /// The ranges in which data was read.
    pub ranges: Vec<Range<u64>>,
    /// Whether the file was as long as its size.
    pub whole: bool,
}

impl Reading {
    /// Begins to read a file.
    ///
    /// # Errors
    /// If the file system cannot find where the file has data.
    pub fn new(file: SourceFile) -> io::Result<Reading> {
        let ranges = file.data_ranges()?;
        let left = ranges.iter().map(|range| range.end - range.start).sum();
        let mut reading =
            Reading { file, ranges, at: 0, offset: 0, left, cutting: None, whole: true };
        reading.turn_to(0)?;
        Ok(reading)
    }

    fn turn_to(&mut self, range: usize) -> io::Result<()> {
        self.at = range;
        if let Some(range) = self.ranges.get(range) {
            self.file.seek(range.start)?;
            self.offset = range.start;
        }
        Ok(())
    }

    /// Returns whether everything was read and cut.
    pub fn is_over(&self) -> bool {
        self.at == self.ranges.len()
    }

    /// Returns the number of bytes of data from the next chunk to the end of the file.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Reads on and cuts at least one chunk, if there is more. Adds the range of each chunk in the
    /// window to `cuts`; the chunks follow each other. The uncut bytes of the window must belong to
    /// this file. If a long chunk needs the whole window, cuts nothing and leaves the
    /// window full.
    pub fn step(
        &mut self,
        cutter: &Cutter,
        window: &mut ReadBuffer,
        cuts: &mut Vec<Range<usize>>,
    ) -> io::Result<()> {
        let Some(range) = self.ranges.get(self.at).cloned() else { return Ok(()) };
        let mut ended = false;
        let mut wanted = READ_BYTES;
        loop {
            let uncut = window.uncut().len();
            let unread = range.end.saturating_sub(self.offset + uncut as u64);
            let unread = usize::try_from(unread).unwrap_or(usize::MAX);
            let room = wanted.saturating_sub(uncut).min(unread);
            let read = self.file.read(window.room(room))?;
            window.end += read;
            self.whole &= read == room;
            ended |= read < room || room == unread;
            let before = cuts.len();
            self.cut(cutter, window, cuts, ended);
            if ended {
                // The lost end becomes a hole, because the stored file must be as long as its entry
                // says.
                self.ranges[self.at].end = self.offset;
                return self.turn_to(self.at + 1);
            }
            if cuts.len() > before {
                return Ok(());
            }
            if window.start > 0 {
                window.full = true;
                return Ok(());
            }
            wanted = cutter.window_bytes();
        }
    }

    /// Cuts the bytes that were read, until the next cut depends on bytes that were not.
    fn cut(
        &mut self,
        cutter: &Cutter,
        window: &mut ReadBuffer,
        cuts: &mut Vec<Range<usize>>,
        ended: bool,
    ) {
        let most = cutter.window_bytes();
        let first = window.start;
        while window.start < window.end {
            let seen = window.uncut();
            let seen = &seen[..seen.len().min(most)];
            // Wait for the next read if the chunk probably ends there, or these bytes would be
            // scanned twice.
            if seen.len() < cutter.likely_bytes() && window.start > first && !ended {
                return;
            }
            let cutting = match self.cutting {
                Some(cutting) => cutting,
                None if !ended && cutter.wants_more(seen) => return,
                None => *self.cutting.insert(cutter.cutting(seen, self.file.stat.size)),
            };
            let length = cutter.next(cutting, self.offset, seen);
            if length == seen.len() && length < most && !ended {
                return;
            }
            let place = window.start..window.start + length;
            window.start = place.end;
            cuts.push(place);
            self.left = self.left.saturating_sub(length as u64);
            self.offset += length as u64;
        }
    }

    /// Finishes the file. Fails if it is longer than its size.
    pub fn end(self) -> io::Result<WasRead> {
        self.file.expect_end()?;
        let Reading { file, mut ranges, whole, .. } = self;
        ranges.retain(|range| range.start < range.end);
        Ok(WasRead { file, ranges, whole })
    }
}

/// Cuts a whole file. Calls `chunk` with each chunk and its position in the file.
pub fn cut_file<E: From<io::Error>>(
    file: SourceFile,
    cutter: &Cutter,
    window: &mut ReadBuffer,
    mut chunk: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<WasRead, E> {
    let mut reading = Reading::new(file)?;
    // Drop the rest of a file that could not be read.
    (window.start, window.end, window.full) = (0, 0, false);
    let mut cuts = Vec::new();
    while !reading.is_over() {
        let mut offset = reading.offset;
        reading.step(cutter, window, &mut cuts)?;
        for cut in cuts.drain(..) {
            let raw = window.raw(&cut);
            chunk(offset, raw)?;
            offset += raw.len() as u64;
        }
        window.discard_cut();
    }
    Ok(reading.end()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Identity, Secrets};
    use crate::format::{Chunking, RepositoryId};

    /// Checks that reading the file in parts gives the same cuts as cutting the whole content at
    /// once.
    fn check(cutter: &Cutter, window: &mut ReadBuffer, content: &[u8]) {
        let bytes = content.len();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo");
        std::fs::write(&path, content).unwrap();
        let mut expected = Vec::new();
        let head = &content[..bytes.min(cutter.window_bytes())];
        let (mut at, cutting) = (0, cutter.cutting(head, bytes as u64));
        while at < bytes {
            expected.push(at as u64);
            let seen = &content[at..bytes.min(at + cutter.window_bytes())];
            at += cutter.next(cutting, at as u64, seen);
        }
        let (mut found, mut all) = (Vec::new(), Vec::new());
        let file = SourceFile::open(&path, &|| true).unwrap();
        let read = cut_file(file, cutter, window, |offset, raw| {
            found.push(offset);
            all.extend_from_slice(raw);
            Ok::<(), io::Error>(())
        });
        assert!(read.unwrap().whole && all == content, "{bytes} bytes");
        assert_eq!(found, expected, "{bytes} bytes");
    }

    #[test]
    fn a_file_is_cut_where_all_of_it_at_once_would_be() {
        let credential = Identity::from_seed([1; 32]).credential(RepositoryId([7; 16]));
        let cutter = Cutter::new(&Secrets::new(credential), Chunking::default(), 512 << 10);
        let mut noise = vec![0; 30 << 20];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut noise);
        // A stretch without cuts that is longer than a window.
        noise[11 << 20..20 << 20].fill(0);
        let mut window = ReadBuffer::default();
        for bytes in [0, 1, 512 << 10, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 30 << 20] {
            check(&cutter, &mut window, &noise[..bytes]);
        }
        // The metadata of the photo ends within the first read, in a later one, or not at all.
        for segments in [1, 45, 60, 90] {
            let mut photo = vec![0xff, 0xd8];
            for segment in noise.chunks(0xfffd).take(segments) {
                photo.extend_from_slice(&[0xff, 0xe2, 0xff, 0xff]);
                photo.extend_from_slice(segment);
            }
            check(&cutter, &mut window, &photo[..photo.len() - 9]);
            photo.extend_from_slice(&[0xff, 0xdb, 0, 0x43]);
            photo.extend_from_slice(&noise[..3 << 20]);
            check(&cutter, &mut window, &photo);
        }
    }

    #[test]
    fn a_file_that_is_cut_short_has_a_hole_where_it_had_data() {
        let credential = Identity::from_seed([1; 32]).credential(RepositoryId([7; 16]));
        let cutter = Cutter::new(&Secrets::new(credential), Chunking::default(), 512 << 10);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for left in [0, 1, 700_000, 5_000_000] {
            std::fs::write(&path, vec![7; 9_000_000]).unwrap();
            // File systems may allocate blocks late.
            std::fs::File::open(&path).unwrap().sync_all().unwrap();
            let file = SourceFile::open(&path, &|| true).unwrap();
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
            let mut bytes = 0;
            let read = cut_file(file, &cutter, &mut ReadBuffer::default(), |_, raw| {
                bytes += raw.len() as u64;
                Ok::<(), io::Error>(())
            });
            let read = read.unwrap();
            assert!(!read.whole && bytes == left, "{left} bytes are left");
            let data: u64 = read.ranges.iter().map(|range| range.end - range.start).sum();
            assert_eq!(data, bytes);
        }
    }
}
