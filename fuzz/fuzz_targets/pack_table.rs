//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::format::pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(frames) = pack::decode_table(data, pack::PACK_BYTES_MAX) {
        assert_eq!(pack::encode_table(&frames), data);
    }
});
