//! Where the bytes of a chunk belong in a file with holes.

use std::ops::Range;

use crate::format::Hole;

/// Maps positions in the data of a file, which the chunks hold, to positions in the file.
pub struct Layout {
    holes: Vec<Hole>,
}

impl Layout {
    /// Takes the holes of a decoded entry: ascending, apart, and inside the file.
    pub fn new(holes: Option<Vec<Hole>>) -> Self {
        Layout { holes: holes.unwrap_or_default() }
    }

    /// Splits `bytes` of data that begin at `at` in the data into pieces of the file: where each
    /// goes, and which part of the data it is.
    pub fn pieces(&self, at: u64, bytes: u64) -> Vec<(u64, Range<usize>)> {
        let mut pieces = Vec::new();
        let (mut data, mut file) = (0, 0);
        let mut done = 0;
        // Between two holes, data and file advance together.
        let ends = self.holes.iter().map(|hole| (hole.offset, hole.bytes));
        for (hole, hole_bytes) in ends.chain([(u64::MAX, 0)]) {
            let run = hole - file;
            let from = at + done;
            if from < data + run {
                let length = (data + run - from).min(bytes - done);
                let range = done as usize..(done + length) as usize;
                if length > 0 {
                    pieces.push((file + (from - data), range));
                }
                done += length;
                if done == bytes {
                    break;
                }
            }
            data += run;
            file = hole.saturating_add(hole_bytes);
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
