//! JPEGs: valid streams of markers around incompressible, properly stuffed scan data.

use anyhow::{Result, bail, ensure};

use super::date::Moment;
use super::rng::Rng;
use super::{exif, sidecar};

pub const SOI: u8 = 0xd8;
pub const EOI: u8 = 0xd9;
pub const SOS: u8 = 0xda;
pub const APP1: u8 = 0xe1;
const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Appends a JPEG with the metadata of a camera or an export, `len` bytes in all
/// (more only if the metadata alone is longer).
pub fn photo(out: &mut Vec<u8>, rng: &mut Rng, len: usize, name: &str, taken: Moment) {
    let start = out.len();
    out.extend([0xff, SOI]);
    segment(out, 0xe0, &[b"JFIF\0\x01\x02\x01\x01\x2c\x01\x2c\0\0"]);
    let exif_len = rng.range(10_000, 40_000) as usize;
    let block = exif::block(rng, exif_len, taken);
    segment(out, APP1, &[EXIF, &block]);
    let xmp_len = rng.range(4000, 8000) as usize;
    let xmp = sidecar::text(rng, name, taken, xmp_len);
    segment(out, APP1, &[XMP, xmp.as_bytes()]);
    segment(out, 0xe2, &[b"ICC_PROFILE\0\x01\x01", &colour_profile()]);
    segment(out, 0xed, &[&iptc(rng, name)]);
    picture(out, rng, len.saturating_sub(out.len() - start), 8192, 5464);
}

/// Appends a bare preview, as raws embed them.
pub fn preview(out: &mut Vec<u8>, rng: &mut Rng, len: usize) {
    out.extend([0xff, SOI]);
    picture(out, rng, len.saturating_sub(2), 1620, 1080);
}

/// Tables, frame, scan and end: `len` bytes.
fn picture(out: &mut Vec<u8>, rng: &mut Rng, len: usize, width: u16, height: u16) {
    let start = out.len();
    for table in 0..2_u8 {
        let mut steps = [0_u8; 64];
        for (i, step) in steps.iter_mut().enumerate() {
            *step = 2 + i as u8 / (2 - table);
        }
        segment(out, 0xdb, &[&[table], &steps]);
    }
    let [h, w] = [height.to_be_bytes(), width.to_be_bytes()];
    let parts = [3, 1, 0x21, 0, 2, 0x11, 1, 3, 0x11, 1];
    segment(out, 0xc0, &[&[8], &h, &w, &parts]);
    for table in 0..2_u8 {
        let dc: Vec<u8> = (0..12).collect();
        let counts = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
        segment(out, 0xc4, &[&[table], &counts, &dc]);
        let counts = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125];
        segment(out, 0xc4, &[&[0x10 | table], &counts, &ac_symbols()]);
    }
    segment(out, SOS, &[&[3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]]);
    let scan = len.saturating_sub(out.len() - start + 2).max(64);
    entropy(out, rng, scan);
    out.extend([0xff, EOI]);
}

/// Returns all (run, size) symbols of the AC tables: end of block, a run of sixteen zeros, and 16 ×
/// 10 pairs.
fn ac_symbols() -> Vec<u8> {
    let mut symbols = vec![0x00, 0xf0];
    symbols.extend((0..16_u8).flat_map(|run| (1..11_u8).map(move |size| run << 4 | size)));
    symbols
}

fn segment(out: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let len = 2 + parts.iter().map(|p| p.len()).sum::<usize>();
    debug_assert!(len <= 0xffff);
    out.extend([0xff, marker]);
    out.extend((len as u16).to_be_bytes());
    parts.iter().for_each(|part| out.extend(*part));
}

/// Exactly `len` bytes of scan: random ones, every FF followed by a stuffed 00.
fn entropy(out: &mut Vec<u8>, rng: &mut Rng, len: usize) {
    let end = out.len() + len;
    out.reserve(len + 16);
    while out.len() < end {
        let word = rng.next_u64();
        // Fast path: no byte of the word is FF (no byte of its complement is zero).
        let inverted = !word;
        let zero = inverted.wrapping_sub(0x0101_0101_0101_0101) & !inverted;
        if zero & 0x8080_8080_8080_8080 == 0 {
            out.extend_from_slice(&word.to_le_bytes());
        } else {
            for byte in word.to_le_bytes() {
                out.push(byte);
                if byte == 0xff {
                    out.push(0);
                }
            }
        }
    }
    out.truncate(end);
    // Truncation may have left a single FF at the end, where it would start a marker.
    if let Some(last) = out.last_mut().filter(|last| **last == 0xff) {
        *last = 0x7f;
    }
}

/// The colour profile is the same in every photo, like a photographer's working profile.
fn colour_profile() -> Vec<u8> {
    let mut profile = Vec::with_capacity(3144);
    Rng::keyed(0, "colour profile", 0).fill(&mut profile, 3144);
    profile
}

fn iptc(rng: &mut Rng, name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let city = rng.pick(&["Uppsala", "Bergen", "Porto", "Graz", "Galway"]);
    let rights = "(c) Mara Lindqvist Photography, all rights reserved";
    for (record, text) in [(5, name), (90, city), (116, rights)] {
        data.extend([0x1c, 2, record]);
        data.extend((text.len() as u16).to_be_bytes());
        data.extend(text.as_bytes());
    }
    let mut out = b"Photoshop 3.0\x008BIM\x04\x04\0\0".to_vec();
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(&data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
    out
}

/// A marker segment: the code of the marker, and its range from the FF to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub marker: u8,
    pub start: usize,
    pub end: usize,
}

/// Walks the markers from SOI to EOI; the scan belongs to its SOS segment.
pub fn segments(jpeg: &[u8]) -> Result<Vec<Segment>> {
    ensure!(jpeg.starts_with(&[0xff, SOI]), "no SOI at the start");
    let mut found = Vec::new();
    let mut at = 2;
    loop {
        let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) else {
            bail!("no marker segment at {at}");
        };
        let mut end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        ensure!(end <= jpeg.len(), "segment at {at} runs over the end");
        if marker == SOS {
            end += scan_len(&jpeg[end..])?;
        }
        found.push(Segment { marker, start: at, end });
        at = end;
        if jpeg.get(at..at + 2) == Some(&[0xff, EOI]) {
            ensure!(at + 2 == jpeg.len(), "bytes after EOI");
            return Ok(found);
        }
    }
}

fn scan_len(scan: &[u8]) -> Result<usize> {
    let marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
    match scan.windows(2).position(marker) {
        Some(len) => Ok(len),
        None => bail!("the scan has no end"),
    }
}

/// Returns the same picture with new EXIF data of another size.
pub fn with_new_exif(jpeg: &[u8], rng: &mut Rng, edited: Moment) -> Result<Vec<u8>> {
    let is_exif = |s: &Segment| s.marker == APP1 && jpeg[s.start + 4..].starts_with(EXIF);
    let Some(old) = segments(jpeg)?.into_iter().find(is_exif) else {
        bail!("no EXIF segment");
    };
    let old_len = old.end - old.start - 10;
    // The size grows or shrinks, but never stays the same, so that everything after it moves.
    let change = rng.range(32, 2048) as usize;
    let len = match rng.below(2) {
        0 if old_len > 8000 => old_len - change,
        _ if old_len < 60_000 => old_len + change,
        _ => old_len - change,
    };
    let mut out = Vec::with_capacity(jpeg.len() + 4096);
    out.extend_from_slice(&jpeg[..old.start]);
    segment(&mut out, APP1, &[EXIF, &exif::block(rng, len, edited)]);
    out.extend_from_slice(&jpeg[old.end..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::date::FIRST_SHOOT;

    fn sample(len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        photo(&mut out, &mut Rng::new(3), len, "IMG_0001", FIRST_SHOOT);
        out
    }

    #[test]
    fn markers_are_walkable_and_in_order() {
        let jpeg = sample(300_000);
        assert_eq!(jpeg.len(), 300_000);
        let markers: Vec<u8> =
            segments(&jpeg).expect("a walkable stream").iter().map(|s| s.marker).collect();
        let expected =
            [0xe0, APP1, APP1, 0xe2, 0xed, 0xdb, 0xdb, 0xc0, 0xc4, 0xc4, 0xc4, 0xc4, SOS];
        assert_eq!(markers, expected);
    }

    #[test]
    fn previews_are_walkable() {
        let mut out = Vec::new();
        preview(&mut out, &mut Rng::new(4), 50_000);
        assert_eq!(out.len(), 50_000);
        assert!(segments(&out).is_ok());
    }

    #[test]
    fn new_exif_leaves_the_picture_alone() {
        let old = sample(200_000);
        let new = with_new_exif(&old, &mut Rng::new(5), FIRST_SHOOT).expect("an edit");
        assert_ne!(old.len(), new.len());
        let [a, b] = [&old, &new].map(|j| segments(j).expect("a walkable stream"));
        assert_eq!(a.len(), b.len());
        for (x, y) in a.iter().zip(&b).filter(|(x, _)| x != &&a[1]) {
            assert_eq!(old[x.start..x.end], new[y.start..y.end]);
        }
    }
}
