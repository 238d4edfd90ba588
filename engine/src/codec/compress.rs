//! Compression where it pays. Most photo bytes do not compress: a cheap probe finds that out.

use super::CodecError;
use crate::format::Codec;

/// zstd's own default: on raw images it saves five percent more than level 1.
const LEVEL: i32 = 3;
/// Chunks below this are compressed without asking; above, the probe costs less than the try.
const PROBE_BYTES_MIN: usize = 64 << 10;
const SAMPLES: usize = 4;
const SAMPLE_BYTES: usize = 4 << 10;

/// A compressor with buffers of its own, one for each thread.
pub struct Compressor {
    probe: zstd::bulk::Compressor<'static>,
    zstd: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        let compressor = |level| {
            zstd::bulk::Compressor::new(level).expect("zstd allocates a context of known size")
        };
        Compressor { probe: compressor(1), zstd: compressor(LEVEL), out: Vec::new() }
    }
}

impl Compressor {
    /// Returns the content of a frame for `raw`, and its codec.
    pub fn compress<'a>(&'a mut self, raw: &'a [u8]) -> (Codec, &'a [u8]) {
        if raw.len() >= PROBE_BYTES_MIN && !self.pays(raw) {
            return (Codec::Stored, raw);
        }
        self.out.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
        match self.zstd.compress_to_buffer(raw, &mut self.out[..]) {
            // A saving below 2 % is not worth decompressing for.
            Ok(length) if length < raw.len() - raw.len() / 50 => (Codec::Zstd, &self.out[..length]),
            _ => (Codec::Stored, raw),
        }
    }

    /// Compresses samples spread over the chunk; no pay means incompressible everywhere sampled.
    fn pays(&mut self, raw: &[u8]) -> bool {
        let mut out = [0; SAMPLE_BYTES + 512];
        (0..SAMPLES).any(|i| {
            let at = (raw.len() - SAMPLE_BYTES) / (SAMPLES - 1) * i;
            let sample = &raw[at..at + SAMPLE_BYTES];
            self.probe
                .compress_to_buffer(sample, &mut out[..])
                .is_ok_and(|length| length < SAMPLE_BYTES - SAMPLE_BYTES / 50)
        })
    }
}

/// Decompresses a frame to exactly `raw_bytes` bytes, never more.
pub fn decompress(codec: Codec, content: &[u8], raw_bytes: u32) -> Result<Vec<u8>, CodecError> {
    let raw_bytes = raw_bytes as usize;
    let raw = match codec {
        Codec::Stored => content.to_vec(),
        Codec::Zstd => {
            zstd::bulk::decompress(content, raw_bytes).map_err(|_| CodecError::Decompression)?
        }
    };
    if raw.len() == raw_bytes { Ok(raw) } else { Err(CodecError::Decompression) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_from_end_to_end() {
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let mut compressor = Compressor::default();
        assert!(!compressor.pays(&noise));
        for third in 0..SAMPLES {
            let mut raw = noise.clone();
            let at = (raw.len() - SAMPLE_BYTES) / 3 * third;
            raw[at..at + SAMPLE_BYTES].fill(7);
            assert!(compressor.pays(&raw), "only what begins at {at} compresses");
        }
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
            assert_eq!(decompress(codec, content, raw.len() as u32).unwrap(), raw);
            assert!(decompress(codec, content, raw.len() as u32 + 1).is_err());
            if codec == Codec::Zstd {
                let content = content.to_vec();
                assert!(decompress(codec, &content, raw.len() as u32 / 2).is_err());
            }
        }
    }
}
