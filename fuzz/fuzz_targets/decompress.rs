//! Decompressing hostile bytes gives an error or exactly the expected length, never a panic.
#![no_main]
use icecore_engine::codec::decompress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(raw) = decompress(icecore_engine::format::Codec::Zstd, data, 1 << 20) {
        assert_eq!(raw.len(), 1 << 20);
    }
});
