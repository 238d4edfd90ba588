//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding gives the same
//! bytes.
#![no_main]
use icecore_engine::format::Trailer;
use icecore_engine::format::pack::{HEADER_BYTES, PACK_BYTES_MAX, TRAILER_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((bytes, trailer)) = data.split_first_chunk() else { return };
    let pack_bytes = u64::from_le_bytes(*bytes) % (PACK_BYTES_MAX + 1);
    if let Ok(found) = Trailer::decode(trailer, pack_bytes) {
        assert_eq!(found.encode(), trailer);
        let end = found.table_offset + found.table_bytes + TRAILER_BYTES as u64;
        assert!(found.table_offset >= HEADER_BYTES as u64 && end == pack_bytes);
    }
});
