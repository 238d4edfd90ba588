//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::format::MirrorMark;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(mark) = MirrorMark::decode(data) {
        assert_eq!(mark.encode(), data);
    }
});
