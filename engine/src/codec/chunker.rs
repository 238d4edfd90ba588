//! Decides where files are cut (spec section 5), and names the chunks. Readers do not need the cuts, because they see
//! chunks only as ranges; they compute the names again, to verify what they have read.

use fastcdc::v2020::{Normalization, cut_gear, select_masks};

use super::Secrets;
use crate::format::tree::ENTRY_CHUNKS_MAX;
use crate::format::{ChunkId, Chunking, PackKind};

/// A JPEG marker and the length field of its segment.
const MARKER_BYTES: usize = 4;

/// How a file is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutting {
    /// Into one chunk: small files.
    Whole,
    /// Into fixed blocks: SQLite files, whose pages change in place.
    Blocks,
    /// By content.
    Content {
        /// Length of a first chunk that follows the structure of the file, in bytes; 0 if there is none.
        first: usize,
    },
}

/// Cuts by content with the secret gear table of one repository.
#[derive(Debug, Clone)]
pub struct Cutter {
    chunking: Chunking,
    small_file_bytes: u64,
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
    mask_small: u64,
    mask_large: u64,
}

impl Cutter {
    /// Returns the cutter of a repository. Files below `small_file_bytes` are one chunk.
    pub fn new(secrets: &Secrets, chunking: Chunking, small_file_bytes: u64) -> Self {
        let gear = secrets.gear_table();
        let (mask_small, mask_large) =
            select_masks(chunking.bytes_avg as usize, Normalization::Level2);
        Cutter {
            chunking,
            small_file_bytes: small_file_bytes.min(u64::from(chunking.bytes_max)),
            gear: Box::new(gear),
            gear_shifted: Box::new(gear.map(|word| word << 1)),
            mask_small,
            mask_large,
        }
    }

    /// Returns the largest number of bytes that a cutting decision examines.
    pub fn window_bytes(&self) -> usize {
        self.chunking.bytes_max as usize
    }

    /// Returns the number of bytes that suffices for most cutting decisions.
    pub fn likely_bytes(&self) -> usize {
        let Chunking { bytes_avg, bytes_max, .. } = self.chunking;
        (bytes_avg + bytes_avg / 2).min(bytes_max) as usize
    }

    /// Returns whether more than `head` of a file must be seen to choose how to cut it.
    pub fn wants_more(&self, head: &[u8]) -> bool {
        let unfinished = |at| at + MARKER_BYTES > head.len();
        head.len() < self.window_bytes() && jpeg_metadata_bytes(head).is_err_and(unfinished)
    }

    /// Chooses how to cut a file of `size` bytes that begins with `head`.
    pub fn cutting(&self, head: &[u8], size: u64) -> Cutting {
        if size < self.small_file_bytes {
            Cutting::Whole
        } else if head.starts_with(b"SQLite format 3\0") && size <= self.blocks_file_bytes_max() {
            Cutting::Blocks
        } else {
            Cutting::Content { first: jpeg_metadata_bytes(head).unwrap_or(0) }
        }
    }

    /// Returns the size above which a file has more blocks than an entry can name.
    fn blocks_file_bytes_max(&self) -> u64 {
        u64::from(self.chunking.block_bytes) * ENTRY_CHUNKS_MAX as u64
    }

    /// Returns the length of the next chunk. `window` begins where the last chunk ended and has
    /// [`Self::window_bytes`] bytes, or all that are left; `offset` is its position in the file.
    pub fn next(&self, cutting: Cutting, offset: u64, window: &[u8]) -> usize {
        match cutting {
            Cutting::Whole => window.len(),
            Cutting::Blocks => window.len().min(self.chunking.block_bytes as usize),
            Cutting::Content { first } if offset == 0 && first > 0 => first.min(window.len()),
            Cutting::Content { .. } => self.cut(window),
        }
    }

    fn cut(&self, window: &[u8]) -> usize {
        let (_, length) = cut_gear(
            window,
            self.chunking.bytes_min as usize,
            self.chunking.bytes_avg as usize,
            self.chunking.bytes_max as usize,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
            &self.gear[..],
            &self.gear_shifted[..],
        );
        length
    }
}

impl Secrets {
    /// Computes the id of a chunk: a keyed BLAKE3 of its plaintext, with one key for metadata and another for photos.
    pub fn chunk_id(&self, kind: PackKind, plaintext: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(self.chunk_id_key(kind), plaintext).as_bytes())
    }
}

/// Returns where the metadata segments of a JPEG end: at the first marker after `SOI` that is
/// neither `APPn` nor `COM`. Cutting there keeps the chunks of the picture unchanged when keywords
/// are edited. If there is no such marker, the error is the offset where it should have been.
fn jpeg_metadata_bytes(head: &[u8]) -> Result<usize, usize> {
    if !head.starts_with(&[0xff, 0xd8, 0xff]) {
        return Err(0);
    }
    let mut at = 2;
    loop {
        let marker = head.get(at..).and_then(|rest| rest.first_chunk::<MARKER_BYTES>());
        let Some(&[0xff, marker, high, low]) = marker else { return Err(at) };
        if !matches!(marker, 0xe0..=0xef | 0xfe) {
            return if at > 2 { Ok(at) } else { Err(at) };
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]).max(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Identity;
    use crate::format::RepositoryId;

    fn cutter(seed: u8) -> Cutter {
        let credential = Identity::from_seed([seed; 32]).credential(RepositoryId([7; 16]));
        Cutter::new(&Secrets::new(credential), Chunking::default(), 512 << 10)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut out);
        out
    }

    fn lengths(cutter: &Cutter, data: &[u8]) -> Vec<usize> {
        let cutting = cutter.cutting(data, data.len() as u64);
        let mut at = 0;
        let mut lengths = Vec::new();
        while at < data.len() {
            let window = &data[at..data.len().min(at + cutter.window_bytes())];
            lengths.push(cutter.next(cutting, at as u64, window));
            at += lengths[lengths.len() - 1];
        }
        lengths
    }

    #[test]
    fn content_cuts_depend_on_the_secret_and_survive_an_insertion() {
        let data = noise(24 << 20);
        let ours = lengths(&cutter(1), &data);
        assert!((16..40).contains(&ours.len()), "{ours:?}");
        assert_ne!(ours, lengths(&cutter(2), &data));
        let mut longer = noise(1000);
        longer.extend_from_slice(&data);
        let shifted = lengths(&cutter(1), &longer);
        assert_eq!(ours[ours.len() - 10..], shifted[shifted.len() - 10..]);
    }

    #[test]
    fn jpeg_is_cut_after_its_metadata() {
        let mut photo = vec![0xff, 0xd8, 0xff, 0xe1, 0x03, 0xe8];
        photo.resize(4 + 1000, 7);
        photo.extend_from_slice(&[0xff, 0xdb, 0, 0x43]);
        photo.extend_from_slice(&noise(1 << 20));
        assert_eq!(lengths(&cutter(1), &photo)[0], 1004);
        assert_eq!(jpeg_metadata_bytes(&photo[..900]), Err(1004));
        assert_eq!(jpeg_metadata_bytes(b"\xff\xd8\xff\xdb\x00\x43abc"), Err(2));
        let more = [0, 3, 900, 1007, 1008].map(|seen| cutter(1).wants_more(&photo[..seen]));
        assert_eq!(more, [true, true, true, true, false]);
        assert!(!cutter(1).wants_more(b"raw files") && !cutter(1).wants_more(&vec![0xff; 4 << 20]));
    }

    #[test]
    fn sqlite_is_cut_in_blocks_and_small_files_not_at_all() {
        let mut catalog = b"SQLite format 3\0".to_vec();
        catalog.resize(1 << 20, 1);
        assert!(lengths(&cutter(1), &catalog).iter().all(|length| *length == 16 << 10));
        assert_eq!(lengths(&cutter(1), &noise(1000)), [1000]);
        assert_eq!(cutter(1).cutting(&[], (512 << 10) - 1), Cutting::Whole);
        assert_eq!(cutter(1).cutting(&[], 512 << 10), Cutting::Content { first: 0 });
    }
}
