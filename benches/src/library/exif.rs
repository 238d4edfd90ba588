//! EXIF blocks: a camera's directory with a maker note that fills the block to a given size.

use super::date::Moment;
use super::ifd::{Ifd, TIFF_HEADER};
use super::rng::Rng;

pub const CAMERA_MAKE: &str = "Canon";
pub const CAMERA_MODEL: &str = "Canon EOS R5";

/// Returns a TIFF-framed EXIF block of about `len` bytes.
pub fn block(rng: &mut Rng, len: usize, taken: Moment) -> Vec<u8> {
    let at = 8 + camera(0).len();
    let fixed = at + shot(rng, taken, Vec::new()).len();
    let note = maker_note(rng, len.saturating_sub(fixed).max(16));
    let mut out = TIFF_HEADER.to_vec();
    camera(at as u32).write(&mut out, 8);
    shot(rng, taken, note).write(&mut out, at);
    out
}

fn camera(exif_at: u32) -> Ifd {
    Ifd::default()
        .text(0x010f, CAMERA_MAKE)
        .text(0x0110, CAMERA_MODEL)
        .short(0x0112, &[1])
        .rational(0x011a, 300, 1)
        .text(0x013b, "Mara Lindqvist Photography")
        .long(0x8769, exif_at)
}

fn shot(rng: &mut Rng, taken: Moment, note: Vec<u8>) -> Ifd {
    Ifd::default()
        .rational(0x829a, 1, [60, 125, 250, 500, 1000][rng.below(5) as usize])
        .rational(0x829d, [14, 18, 28, 40, 56][rng.below(5) as usize], 10)
        .short(0x8827, &[[100, 200, 400, 800, 1600][rng.below(5) as usize]])
        .text(0x9003, &taken.exif())
        .text(0x9004, &taken.exif())
        .bytes(0x927c, note)
        .text(0xa431, &format!("{:012}", 22_021_000_417_u64))
        .text(0xa434, "RF24-70mm F2.8 L IS USM")
}

/// Like a real maker note: half tables that hardly vary between frames, half data that varies.
fn maker_note(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut note = Vec::with_capacity(len + 64);
    for i in 0..len / 4 {
        let word = (i as u16).wrapping_mul(37) & 0x0fff;
        note.extend(word.to_le_bytes());
    }
    let rest = len - note.len();
    rng.fill(&mut note, rest);
    note
}
