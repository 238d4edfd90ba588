//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding gives the same
//! bytes.
#![no_main]
use icecore_engine::format::pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(frames) = pack::decode_table(data, pack::PACK_BYTES_MAX) {
        assert_eq!(pack::encode_table(&frames), data);
    }
});
