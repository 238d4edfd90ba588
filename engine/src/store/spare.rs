//! Memory that ranges are read into, used again: clearing fresh pages takes as long as hashing them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

/// Buffers that are kept, …
const KEPT_MAX: usize = 8;
/// … and bytes of one, beyond which it is not.
const KEPT_BYTES_MAX: usize = 9 << 20;

/// Buffers that nobody reads from.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

struct Taken {
    bytes: Vec<u8>,
    home: Spare,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Ok(mut kept) = self.home.0.lock()
            && kept.len() < KEPT_MAX
            && self.bytes.len() <= KEPT_BYTES_MAX
        {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Spare {
    /// Reads a range of a file, less where the file ends in it.
    pub fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Bytes> {
        let file = File::open(path)?;
        // No length is believed that is more than there is.
        let end = range.end.min(file.metadata()?.len());
        let wanted = end.saturating_sub(range.start);
        let wanted = usize::try_from(wanted).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let free = self.0.lock().ok().and_then(|mut kept| kept.pop());
        let mut taken = Taken { bytes: free.unwrap_or_default(), home: self.clone() };
        if taken.bytes.len() < wanted {
            taken.bytes = vec![0; wanted];
        }
        file.read_exact_at(&mut taken.bytes[..wanted], range.start)?;
        Ok(Bytes::from_owner(taken).slice(..wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_a_range_is_read_and_memory_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        let content: Vec<u8> = (0..10_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let spare = Spare::default();
        for range in [0..10_000u64, 100..200, 9_999..10_000, 5_000..1 << 40, 10_000..10_001, 7..7] {
            let read = spare.read(&path, range.clone()).unwrap();
            let end = range.end.min(10_000) as usize;
            assert_eq!(read, content[(range.start as usize).min(end)..end], "{range:?}");
            let other = spare.read(&path, 0..1).unwrap();
            assert_eq!((other[0], read.first()), (0, content[..end].get(range.start as usize)));
        }
        assert_eq!(spare.0.lock().unwrap().len(), 2);
        assert!(spare.read(&folder.path().join("none"), 0..1).is_err());
    }
}
