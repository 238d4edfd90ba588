//! Computes where the bytes of a chunk belong in a file with holes.

use std::ops::Range;

use crate::format::Hole;

/// Maps positions in the data of a file, which the chunks contain without the holes, to positions
/// in the file.
pub struct Layout {
    /// The beginning of each run of data, in the data and in the file.
    runs: Vec<(u64, u64)>,
}

impl Layout {
    /// Creates the layout from the holes of a decoded entry. The decoder has checked that they
    /// ascend, do not touch, and are inside the file.
    pub fn new(holes: Option<Vec<Hole>>) -> Self {
        let (mut data, mut file) = (0, 0);
        let mut runs = vec![(0, 0)];
        // Between two holes, data and file advance together.
        for hole in holes.into_iter().flatten() {
            data += hole.offset - file;
            file = hole.offset + hole.bytes;
            runs.push((data, file));
        }
        Layout { runs }
    }

    /// Splits `bytes` of data from position `at` into pieces of the file: the position of each in
    /// the file, and its part of the data.
    pub fn pieces(&self, at: u64, bytes: u64) -> Vec<(u64, Range<usize>)> {
        let mut pieces = Vec::new();
        let mut done = 0;
        // If several runs begin at the same place in the data, all but the last are empty.
        let mut next = self.runs.partition_point(|(data, _)| *data <= at);
        while done < bytes {
            let (data, file) = self.runs[next - 1];
            let end = self.runs.get(next).map_or(u64::MAX, |(data, _)| *data);
            let from = at + done;
            let length = (end - from).min(bytes - done);
            if length > 0 {
                pieces.push((file + (from - data), done as usize..(done + length) as usize));
            }
            done += length;
            next += 1;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_jump_over_holes() {
        let hole = |offset, bytes| Hole { offset, bytes };
        let layout = Layout::new(Some(vec![hole(0, 10), hole(15, 5), hole(30, 100)]));
        assert_eq!(layout.pieces(0, 5), [(10, 0..5)]);
        assert_eq!(layout.pieces(0, 8), [(10, 0..5), (20, 5..8)]);
        assert_eq!(layout.pieces(3, 12), [(13, 0..2), (20, 2..12)]);
        assert_eq!(layout.pieces(14, 3), [(29, 0..1), (130, 1..3)]);
        assert_eq!(layout.pieces(0, 0), []);
        assert_eq!(Layout::new(None).pieces(7, 9), [(7, 0..9)]);
    }
}
