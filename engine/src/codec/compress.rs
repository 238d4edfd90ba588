//! Compresses chunks where that saves space. Most photo data does not compress, which a cheap probe detects.

use super::CodecError;
use crate::format::Codec;

/// Zstandard level. On raw images, level 3 would save five percent more and take three times as long.
const LEVEL: i32 = 1;
/// Smaller chunks are compressed without a probe; for larger ones, the probe costs less than trying.
const PROBE_BYTES_MIN: usize = 64 << 10;
const SAMPLES: usize = 16;
const SAMPLE_BYTES: usize = 1 << 10;
/// Compression pays if the samples together have at least this many times the pairs of equal bytes that noise has, …
const PAIRS_PAY: f64 = 1.5;
/// … or if a single sample has at least this many times the pairs of noise.
const PAIRS_PAY_ALONE: f64 = 2.0;

/// A compressor with its own buffers; each thread has one.
pub struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        let zstd = zstd::bulk::Compressor::new(LEVEL);
        let zstd = zstd.expect("zstd allocates a context of known size");
        Compressor { zstd, out: Vec::new() }
    }
}

impl Compressor {
    /// Returns the content of a frame for `raw`, and its codec.
    pub fn compress<'a>(&'a mut self, raw: &'a [u8]) -> (Codec, &'a [u8]) {
        let mut out = std::mem::take(&mut self.out);
        if out.len() < raw.len() {
            out.resize(raw.len(), 0);
        }
        let length = self.compress_into(raw, &mut out);
        self.out = out;
        match length {
            Some(length) => (Codec::Zstd, &self.out[..length]),
            None => (Codec::Stored, raw),
        }
    }

    /// Compresses `raw` into `out`, which has the same length, if that saves space. Returns the compressed length.
    pub fn compress_into(&mut self, raw: &[u8], out: &mut [u8]) -> Option<usize> {
        if !may_pay(raw) {
            return None;
        }
        // Saving less than 2 % is not worth the decompression, so the compressor gets no more room than that.
        let most = (raw.len() - raw.len() / 50).saturating_sub(1);
        self.zstd.compress_to_buffer(raw, &mut out[..most]).ok()
    }
}

/// Compresses `raw` even if the result is larger.
pub(super) fn compress_all(raw: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(raw, LEVEL).expect("zstd has room for what does not compress")
}

/// Estimates from samples spread over the chunk whether compression pays. Photo data that does not compress looks like
/// noise: every byte value is equally frequent. The measure is how often two bytes of a sample are equal (the Rényi
/// entropy of order 2), because counting them is faster than compressing.
pub fn may_pay(raw: &[u8]) -> bool {
    if raw.len() < PROBE_BYTES_MIN {
        return true;
    }
    let mut all = [0; 256];
    (0..SAMPLES).any(|number| {
        let at = (raw.len() - SAMPLE_BYTES) / (SAMPLES - 1) * number;
        let mut counts = [0; 256];
        for byte in &raw[at..at + SAMPLE_BYTES] {
            counts[usize::from(*byte)] += 1;
        }
        all.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        pairs(&counts, SAMPLE_BYTES) > PAIRS_PAY_ALONE
    }) || pairs(&all, SAMPLES * SAMPLE_BYTES) > PAIRS_PAY
}

/// Returns the number of pairs of equal bytes, divided by the number that noise of the same length would have.
fn pairs(counts: &[u32; 256], bytes: usize) -> f64 {
    let pairs: u64 = counts.iter().map(|count| u64::from(count * count.saturating_sub(1))).sum();
    let noise = (bytes * (bytes - 1)) as f64 / 256.0;
    pairs as f64 / noise
}

/// A decompressor; each thread has one. It allocates its memory when the first compressed frame arrives.
#[derive(Default)]
pub struct Decompressor(Option<zstd::bulk::Decompressor<'static>>);

impl Decompressor {
    /// Decompresses content to exactly the length of `out`, never more.
    pub fn decompress(&mut self, content: &[u8], out: &mut [u8]) -> Result<(), CodecError> {
        let zstd = self.0.get_or_insert_with(|| {
            let zstd = zstd::bulk::Decompressor::new();
            zstd.expect("zstd allocates a context of known size")
        });
        match zstd.decompress_to_buffer(content, &mut *out) {
            Ok(bytes) if bytes == out.len() => Ok(()),
            _ => Err(CodecError::Decompression),
        }
    }
}

/// Decompresses a single frame.
pub fn decompress(codec: Codec, content: &[u8], raw_bytes: u32) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![0; raw_bytes as usize];
    match codec {
        Codec::Stored if content.len() == out.len() => out.copy_from_slice(content),
        Codec::Stored => return Err(CodecError::Decompression),
        Codec::Zstd => Decompressor::default().decompress(content, &mut out)?,
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_from_end_to_end() {
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(!may_pay(&noise));
        for number in 0..SAMPLES {
            let mut raw = noise.clone();
            let at = (raw.len() - SAMPLE_BYTES) / 15 * number;
            raw[at..at + SAMPLE_BYTES].fill(7);
            assert!(may_pay(&raw), "only what begins at {at} compresses");
        }
        // Some bytes are twice as frequent: one sample does not show that, but all samples together do.
        let folded = |at: u8| noise.iter().map(|byte| byte % at).collect::<Vec<u8>>();
        assert!(may_pay(&folded(160)) && !may_pay(&folded(240)));
    }

    #[test]
    fn round_trip_and_probe() {
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text = b"<x:xmpmeta>".repeat(20_000);
        let mut compressor = Compressor::default();
        for (raw, expected) in [
            (&noise[..], Codec::Stored),
            (&text[..], Codec::Zstd),
            (&noise[..1000], Codec::Stored),
            (&text[..1000], Codec::Zstd),
            (&[], Codec::Stored),
        ] {
            let (codec, content) = compressor.compress(raw);
            assert_eq!(codec, expected, "{} bytes", raw.len());
            if codec == Codec::Stored {
                assert_eq!(content, raw);
                continue;
            }
            let mut decompressor = Decompressor::default();
            let mut out = vec![0; raw.len()];
            decompressor.decompress(content, &mut out).unwrap();
            assert_eq!(out, raw);
            for bytes in [0, raw.len() / 2, raw.len() - 1, raw.len() + 1] {
                assert!(decompressor.decompress(content, &mut vec![0; bytes]).is_err(), "{bytes}");
            }
        }
    }
}
