//! Reading a file and cutting it on the way, a window at a time.

use std::io;
use std::ops::Range;

use super::SourceFile;
use crate::codec::{Cutter, Cutting};

/// Bytes read at once beyond what the cutter needs to see.
const READ_AHEAD_BYTES: usize = 4 << 20;

/// A chunk of a file in memory.
pub struct Cut<'a> {
    /// Its place in the file.
    pub offset: u64,
    pub raw: &'a [u8],
    /// Bytes of data from here on to the end of the file, this chunk included.
    pub left: u64,
}

/// Cuts a file. Returns its ranges of data, and whether it was as long as it said; fails if it is longer.
pub fn cut_file<E: From<io::Error>>(
    file: &mut SourceFile,
    cutter: &Cutter,
    buffer: &mut Vec<u8>,
    chunk: &mut dyn FnMut(Cut) -> Result<(), E>,
) -> Result<(Vec<Range<u64>>, bool), E> {
    let ranges = file.data_ranges()?;
    let mut whole = true;
    let mut left: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let mut cutting = None;
    for range in &ranges {
        file.seek(range.start)?;
        whole &= cut_range(file, range, cutter, buffer, &mut cutting, &mut left, chunk)?;
    }
    file.expect_end()?;
    Ok((ranges, whole))
}

/// Cuts one range of data. Returns false if the file ended early.
fn cut_range<E: From<io::Error>>(
    file: &mut SourceFile,
    range: &Range<u64>,
    cutter: &Cutter,
    buffer: &mut Vec<u8>,
    cutting: &mut Option<Cutting>,
    left: &mut u64,
    chunk: &mut dyn FnMut(Cut) -> Result<(), E>,
) -> Result<bool, E> {
    let window_bytes = cutter.window_bytes();
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let capacity = wanted.min(window_bytes + READ_AHEAD_BYTES);
    if buffer.len() < capacity {
        buffer.resize(capacity, 0);
    }
    // `buffer[start..end]` is read and not yet cut; `offset` is the place of `start`.
    let (mut start, mut end, mut offset) = (0, 0, range.start);
    let mut complete = true;
    while offset < range.end {
        if end - start < window_bytes && offset + ((end - start) as u64) < range.end {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            let unread = range.end - offset - end as u64;
            let room = (capacity - end).min(usize::try_from(unread).unwrap_or(usize::MAX));
            let read = file.read(&mut buffer[end..end + room])?;
            end += read;
            complete &= read == room;
        }
        if start == end {
            break;
        }
        let window = &buffer[start..end.min(start + window_bytes)];
        let cutting = *cutting.get_or_insert_with(|| cutter.cutting(window, file.stat.size));
        let length = cutter.next(cutting, offset, window);
        chunk(Cut { offset, raw: &window[..length], left: *left })?;
        *left = left.saturating_sub(length as u64);
        start += length;
        offset += length as u64;
        if !complete && start == end {
            break;
        }
    }
    Ok(complete)
}
