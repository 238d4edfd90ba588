//! Raws and 16-bit TIFFs: compressed ones are incompressible, plain ones are smooth with noise.

use super::date::Moment;
use super::ifd::{Ifd, TIFF_HEADER};
use super::rng::Rng;
use super::{exif, jpeg};

/// Appends a losslessly compressed raw of `len` bytes: directory, EXIF of a few KB, a preview of
/// `preview` bytes, then sensor data that does not compress further.
pub fn compressed(out: &mut Vec<u8>, rng: &mut Rng, len: usize, preview: usize, taken: Moment) {
    header(out, rng, preview, taken);
    let rest = len.saturating_sub(out.len());
    rng.fill(out, rest);
}

/// Appends an uncompressed raw of about `len` bytes: 14-bit samples in 16-bit words.
pub fn plain(out: &mut Vec<u8>, rng: &mut Rng, len: usize, preview: usize, taken: Moment) {
    header(out, rng, preview, taken);
    let scene = Scene {
        channels: 2, // a row of a Bayer pattern alternates two colours
        levels: 1600,
        floor: 512,
        noise: 1,
        top: (1 << 14) - 1,
    };
    let rest = len.saturating_sub(out.len());
    scene.paint(out, rng, rest);
}

/// Appends an uncompressed 16-bit RGB TIFF of about `len` bytes, as editors export for print.
pub fn tiff(out: &mut Vec<u8>, rng: &mut Rng, len: usize, taken: Moment) {
    let width = 5000;
    let height = (len / (width * 6)).max(1);
    let dir = |strip: usize| {
        Ifd::default()
            .short(0x0100, &[width as u16])
            .short(0x0101, &[height as u16])
            .short(0x0102, &[16, 16, 16])
            .short(0x0103, &[1])
            .short(0x0106, &[2])
            .long(0x0111, strip as u32)
            .short(0x0115, &[3])
            .long(0x0117, (width * height * 6) as u32)
            .text(0x0131, "Retouching 25.4")
            .text(0x0132, &taken.exif())
    };
    let strip = 8 + dir(0).len();
    out.extend(TIFF_HEADER);
    dir(strip).write(out, 8);
    let scene = Scene { channels: 3, levels: 9000, floor: 3000, noise: 2, top: u16::MAX };
    scene.paint(out, rng, width * height * 6);
}

fn header(out: &mut Vec<u8>, rng: &mut Rng, preview: usize, taken: Moment) {
    let exif_len = rng.range(3000, 9000) as usize;
    let block = exif::block(rng, exif_len, taken);
    let dir = |exif_at: usize, preview_at: usize| {
        Ifd::default()
            .short(0x0100, &[8192])
            .short(0x0101, &[5464])
            .short(0x0103, &[6])
            .text(0x010f, exif::CAMERA_MAKE)
            .text(0x0110, exif::CAMERA_MODEL)
            .long(0x0111, (preview_at + preview) as u32)
            .text(0x0132, &taken.exif())
            .long(0x0201, preview_at as u32)
            .long(0x0202, preview as u32)
            .long(0x8769, exif_at as u32)
    };
    let exif_at = 8 + dir(0, 0).len();
    out.extend(TIFF_HEADER);
    dir(exif_at, exif_at + block.len()).write(out, 8);
    out.extend(block);
    jpeg::preview(out, rng, preview);
}

/// The parameters of a picture of 16-bit samples.
struct Scene {
    channels: usize,
    /// The range of the smooth part above the floor.
    levels: u64,
    floor: u16,
    /// Bits by which the noise is shifted up.
    noise: u32,
    top: u16,
}

impl Scene {
    /// Appends `len` bytes of little-endian samples: slopes between random levels every
    /// `SPAN` samples, plus the triangular noise of two random bytes.
    fn paint(&self, out: &mut Vec<u8>, rng: &mut Rng, len: usize) {
        const SPAN: usize = 1024;
        let start = out.len();
        out.resize(start + len, 0);
        let mut from = vec![i64::from(self.floor); self.channels];
        let mut step = vec![0; self.channels];
        for (row, span) in out[start..].chunks_mut(2 * SPAN).enumerate() {
            for (channel, (level, step)) in from.iter_mut().zip(&mut step).enumerate() {
                *level += *step * SPAN as i64;
                let wish = self.floor as u64 + rng.below(self.levels) / (channel as u64 + 1);
                let goal = if row == 0 { 0 } else { (wish as i64) << 16 };
                if row == 0 {
                    *level = (wish as i64) << 16;
                } else {
                    *step = (goal - *level) / SPAN as i64;
                }
            }
            self.slope(span, rng, &from, &step);
        }
    }

    fn slope(&self, span: &mut [u8], rng: &mut Rng, from: &[i64], step: &[i64]) {
        let top = i64::from(self.top);
        let mut channel = 0;
        for (block, samples) in span.chunks_mut(8).enumerate() {
            let noise = rng.next_u64().to_le_bytes();
            for (i, sample) in samples.chunks_exact_mut(2).enumerate() {
                let at = (block * 4 + i) as i64;
                let smooth = (from[channel] + step[channel] * at) >> 16;
                let grain = i64::from(noise[2 * i]) + i64::from(noise[2 * i + 1]) - 255;
                let value = (smooth + ((grain << self.noise) >> 2)).clamp(0, top);
                sample.copy_from_slice(&(value as u16).to_le_bytes());
                channel = (channel + 1) % self.channels;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::date::FIRST_SHOOT;

    fn ratio(data: &[u8]) -> f64 {
        let packed = zstd::bulk::compress(data, 3).expect("memory compresses");
        packed.len() as f64 / data.len() as f64
    }

    #[test]
    fn raws_compress_as_theirs_do() {
        let mut out = Vec::new();
        compressed(&mut out, &mut Rng::new(1), 2_000_000, 80_000, FIRST_SHOOT);
        assert_eq!(out.len(), 2_000_000);
        assert!(ratio(&out) > 0.99);

        out.clear();
        plain(&mut out, &mut Rng::new(1), 8_000_000, 80_000, FIRST_SHOOT);
        assert_eq!(out.len(), 8_000_000);
        let plain = ratio(&out);
        assert!((0.74..0.81).contains(&plain), "plain raw: {plain}");

        out.clear();
        tiff(&mut out, &mut Rng::new(1), 8_000_000, FIRST_SHOOT);
        let tiff = ratio(&out);
        assert!((0.7..0.95).contains(&tiff), "TIFF: {tiff}");
    }
}
