//! Bytes that look like a photo library to the engine, and are the same on every run and machine.
//!
//! The engine cares only about where files differ and how well they compress, so the pictures have
//! the marker structure of real ones but show nothing.

/// Pseudo-random bytes that do not compress. With the same seed, a longer result begins with the
/// bytes of a shorter one.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    stream("bytes", seed, len)
}

fn stream(what: &str, seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    // BLAKE3's output stream is implemented in assembly, so it is fast in unoptimised builds as
    // well.
    let mut hasher = blake3::Hasher::new();
    hasher.update(what.as_bytes()).update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

const QUANTISATION: usize = 2 + 2 + 65;
const FRAME: [u8; 19] =
    [0xff, 0xc0, 0, 17, 8, 0x0f, 0xa0, 0x17, 0x70, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
const HUFFMAN: usize = 2 + 2 + 1 + 16 + 12;
const SCAN_HEAD: [u8; 14] = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0];
/// Everything around the metadata and the scan data: start, tables, frame, scan head, end.
const FIXED: usize = 2 + QUANTISATION + FRAME.len() + HUFFMAN + SCAN_HEAD.len() + 2;
/// Room for an APP1 head, the Exif mark and an empty directory.
const SMALLEST_METADATA: usize = 24;
const LARGEST_SEGMENT: usize = 2 + 0xffff;

/// Returns a JPEG of exactly `len` bytes: a valid sequence of markers, first `metadata_len` bytes
/// of metadata segments (including their heads), and at the end scan data that does not compress.
///
/// The picture depends only on the seed. So calls with the same `len - metadata_len` give the same
/// photo with edited metadata: files that are equal from the first table on.
///
/// # Panics
/// If `metadata_len` is neither 0 nor at least 24, or `len` is too short for the rest.
pub fn jpeg(seed: u64, len: usize, metadata_len: usize) -> Vec<u8> {
    assert!(
        metadata_len == 0 || metadata_len >= SMALLEST_METADATA,
        "metadata of {metadata_len} bytes: none, or at least {SMALLEST_METADATA}"
    );
    let scan_len = len.checked_sub(FIXED + metadata_len);
    let scan_len = scan_len.unwrap_or_else(|| {
        let least = FIXED + metadata_len;
        panic!("a JPEG with that metadata has at least {least} bytes, not {len}")
    });
    let mut out = Vec::with_capacity(len);
    out.extend([0xff, 0xd8]);
    metadata(&mut out, seed, metadata_len);
    out.extend([0xff, 0xdb, 0, QUANTISATION as u8 - 2, 0]);
    out.extend((1..=64u8).map(|i| 1 + i / 2));
    out.extend(FRAME);
    out.extend([0xff, 0xc4, 0, HUFFMAN as u8 - 2, 0]);
    out.extend([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(0..12u8);
    out.extend(SCAN_HEAD);
    scan(&mut out, seed, scan_len);
    out.extend([0xff, 0xd9]);
    debug_assert_eq!(out.len(), len);
    out
}

/// Metadata segments of `len` bytes in all: an Exif head, then text in place of maker notes.
fn metadata(out: &mut Vec<u8>, seed: u64, len: usize) {
    let mut left = len;
    let mut text = sidecar(seed ^ (len as u64) << 32).into_bytes();
    text.rotate_left(len % 1000);
    let mut text = text.iter().copied().cycle();
    while left > 0 {
        let mut size = left.min(LARGEST_SEGMENT);
        if left > size && left - size < SMALLEST_METADATA {
            // Leave enough bytes for the next segment.
            size -= SMALLEST_METADATA;
        }
        out.extend([0xff, 0xe1]);
        out.extend(((size - 2) as u16).to_be_bytes());
        out.extend(b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0");
        out.extend(text.by_ref().take(size - SMALLEST_METADATA));
        left -= size;
    }
}

/// Entropy-coded data. A 0xff in it is followed by 0, or a reader would mistake it for a marker.
fn scan(out: &mut Vec<u8>, seed: u64, len: usize) {
    let end = out.len() + len;
    for byte in stream("scan", seed, len) {
        if out.len() == end {
            break;
        }
        if byte != 0xff {
            out.push(byte);
        } else if out.len() + 2 <= end {
            out.extend([0xff, 0]);
        } else {
            out.push(0);
        }
    }
}

/// Returns an XMP sidecar as a raw developer writes it: 4 to 8 KiB of repetitive text.
pub fn sidecar(seed: u64) -> String {
    let random = stream("sidecar", seed, 512);
    let wanted = 4096 + usize::from(u16::from_le_bytes([random[0], random[1]])) % 3500;
    let mut text = format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n <rdf:RDF>\n  <rdf:Description rdf:about=\"\"\n   \
         xmp:Rating=\"{}\"\n   photoshop:SidecarForExtension=\"CR3\"\n   \
         xmpMM:DocumentID=\"xmp.did:{}\">\n   <crs:History>\n    <rdf:Seq>\n",
        random[2] % 6,
        blake3::hash(&random).to_hex(),
    );
    let tail = "    </rdf:Seq>\n   </crs:History>\n  </rdf:Description>\n </rdf:RDF>\n\
                </x:xmpmeta>\n<?xpacket end=\"w\"?>\n";
    const STEPS: [&str; 7] = [
        "exposure",
        "temperature",
        "highlights",
        "lens correction",
        "denoise",
        "crop",
        "tone curve",
    ];
    let mut numbers = random.iter().cycle().skip(3).copied();
    let mut next = || numbers.next().unwrap_or_default();
    let mut number = 0;
    while text.len() + tail.len() < wanted {
        number += 1;
        let step = STEPS[usize::from(next()) % STEPS.len()];
        text += &format!(
            "     <rdf:li crs:num=\"{number}\" crs:operation=\"{step}\" crs:enabled=\"{}\" \
             crs:params=\"{:02x}{:02x}{:02x}{:02x}\"/>\n",
            next() & 1,
            next(),
            next(),
            next(),
            next(),
        );
    }
    text + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the markers of a JPEG, and returns the length of its metadata segments and its scan.
    fn walk(jpeg: &[u8]) -> (usize, &[u8]) {
        assert_eq!(jpeg[..2], [0xff, 0xd8]);
        let (mut at, mut metadata) = (2, 0);
        loop {
            assert_eq!(jpeg[at], 0xff, "no marker at {at}");
            let marker = jpeg[at + 1];
            let size = 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            if (0xe0..=0xef).contains(&marker) {
                metadata += size;
            }
            at += size;
            if marker == 0xda {
                break;
            }
        }
        let (scan, end) = jpeg[at..].split_at(jpeg.len() - at - 2);
        assert_eq!(end, [0xff, 0xd9]);
        for pair in scan.windows(2) {
            assert!(pair[0] != 0xff || pair[1] == 0, "a marker inside the scan");
        }
        assert_ne!(scan.last(), Some(&0xff), "the end marker would be misread");
        (metadata, scan)
    }

    #[test]
    fn a_jpeg_can_be_walked_and_has_the_sizes_asked_for() {
        let sizes = [
            (FIXED, 0),
            (1000, 24),
            (70_000, 4000),
            (200_000, LARGEST_SEGMENT),
            (200_000, LARGEST_SEGMENT + 1),
            (200_001, 2 * LARGEST_SEGMENT + 23),
        ];
        for (len, metadata_len) in sizes {
            for seed in 0..20 {
                let jpeg = jpeg(seed, len, metadata_len);
                assert_eq!(jpeg.len(), len);
                let (metadata, scan) = walk(&jpeg);
                assert_eq!(metadata, metadata_len);
                assert_eq!(scan.len(), len - FIXED - metadata_len);
            }
        }
    }

    #[test]
    fn editing_the_metadata_leaves_the_picture() {
        let (before, after) = (jpeg(7, 100_000, 4000), jpeg(7, 100_500, 4500));
        assert_eq!(walk(&before).1, walk(&after).1);
        assert_ne!(before[20..2000], after[20..2000]);
        assert_ne!(walk(&jpeg(8, 100_000, 4000)).1, walk(&before).1);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_on_every_machine() {
        let all = [bytes(1, 1 << 16), jpeg(1, 1 << 16, 999), sidecar(1).into_bytes()];
        let hash = blake3::hash(&all.concat()).to_hex();
        assert_eq!(&hash[..16], "2cb02e53cb386b36");
        assert_eq!(bytes(5, 1000)[..10], bytes(5, 10));
        assert_ne!(bytes(5, 10), bytes(6, 10));
    }

    #[test]
    fn sidecars_have_the_size_of_sidecars() {
        for seed in 0..300 {
            let len = sidecar(seed).len();
            assert!((4096..=8192).contains(&len), "{len}");
        }
    }
}
