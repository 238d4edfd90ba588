//! A range of an object that is read piece by piece: from memory if it came over the network,
//! otherwise from its file. Small pieces are copied from the page cache right before they are
//! decrypted, so they are still in the processor's cache; a copy of several megabytes would not
//! fit.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::{StoreError, StoreErrorKind};
use crate::system;

/// A range of an object.
pub struct ObjectRange {
    name: String,
    range: Range<u64>,
    content: RangeContent,
}

enum RangeContent {
    Held(Bytes),
    File(File),
}

impl ObjectRange {
    /// Wraps bytes of an object that begin at `start`.
    pub fn held(name: &str, start: u64, bytes: Bytes) -> ObjectRange {
        let range = start..start.saturating_add(bytes.len() as u64);
        ObjectRange { name: name.to_owned(), range, content: RangeContent::Held(bytes) }
    }

    /// Opens a file; fails if it ends before the range does.
    pub(super) fn open(
        name: &str,
        path: &Path,
        range: Range<u64>,
    ) -> Result<ObjectRange, StoreError> {
        let failed = |error: io::Error| StoreError::of_file(name, &error).of_object();
        let file = File::open(path).map_err(failed)?;
        let there = file.metadata().map_err(failed)?.len();
        if there < range.end {
            let reason = format!("it has {there} bytes, but at least {} are needed", range.end);
            return Err(StoreError::new(StoreErrorKind::Length, name.to_owned(), reason));
        }
        // The disk can fetch the second piece while the first is decrypted.
        system::will_need(&file, range.start, range.end - range.start);
        Ok(ObjectRange { name: name.to_owned(), range, content: RangeContent::File(file) })
    }

    /// Returns the length of the range in bytes.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Returns whether a range of the object is in this one.
    pub fn covers(&self, wanted: &Range<u64>) -> bool {
        self.range.start <= wanted.start
            && wanted.start <= wanted.end
            && wanted.end <= self.range.end
    }

    /// Reads a part of the range into a reused buffer.
    pub fn read<'a>(
        &self,
        wanted: Range<u64>,
        memory: &'a mut Vec<u8>,
    ) -> Result<&'a mut [u8], StoreError> {
        self.expect(&wanted)?;
        let length = (wanted.end - wanted.start) as usize;
        if memory.len() < length {
            memory.resize(length, 0);
        }
        let out = &mut memory[..length];
        self.read_to(wanted.start, out)?;
        Ok(out)
    }

    /// Fills `out` with the bytes from `start` on.
    pub fn read_to(&self, start: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.expect(&(start..start.saturating_add(out.len() as u64)))?;
        match &self.content {
            RangeContent::Held(bytes) => {
                let from = (start - self.range.start) as usize;
                out.copy_from_slice(&bytes[from..from + out.len()]);
            }
            RangeContent::File(file) => file
                .read_exact_at(out, start)
                .map_err(|error| StoreError::of_file(&self.name, &error).of_object())?,
        }
        Ok(())
    }

    fn expect(&self, wanted: &Range<u64>) -> Result<(), StoreError> {
        if self.covers(wanted) {
            return Ok(());
        }
        let reason = "it ends too early".to_owned();
        Err(StoreError::new(StoreErrorKind::Length, self.name.clone(), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_a_range_is_read_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        let content: Vec<u8> = (0..10_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let held = Bytes::from(content.clone()).slice(100..9_000);
        let file = ObjectRange::open("pack", &path, 100..9_000).unwrap();
        for window in [ObjectRange::held("pack", 100, held), file] {
            assert_eq!(window.bytes(), 8_900);
            let mut memory = Vec::new();
            for range in [100..101u64, 100..9_000, 8_999..9_000, 5_000..5_000] {
                let read = window.read(range.clone(), &mut memory).unwrap();
                assert_eq!(read, &content[range.start as usize..range.end as usize]);
            }
            let mut memory = Vec::new();
            for range in [99..100, 0..200, 8_999..9_001, 9_000..9_001, 200..u64::MAX] {
                let error = window.read(range, &mut memory).unwrap_err();
                assert_eq!((error.kind, memory.len()), (StoreErrorKind::Length, 0));
            }
        }
        assert!(ObjectRange::open("pack", &path, 0..10_000).is_ok());
        let kind = |end| ObjectRange::open("pack", &path, 0..end).err().map(|error| error.kind);
        assert_eq!(kind(10_001), Some(StoreErrorKind::Length));
        let none = ObjectRange::open("none", &folder.path().join("none"), 0..1);
        assert_eq!(none.err().map(|error| error.kind), Some(StoreErrorKind::NotFound));
        // The file is truncated while it is read.
        let window = ObjectRange::open("pack", &path, 0..10_000).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(5_000).unwrap();
        assert!(window.read(4_000..5_000, &mut Vec::new()).is_ok());
        assert!(window.read(4_000..5_001, &mut Vec::new()).is_err());
    }
}
