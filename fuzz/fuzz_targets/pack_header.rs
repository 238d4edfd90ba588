//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding gives the same
//! first bytes.
#![no_main]
use icecore_engine::format::PackHeader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = PackHeader::decode(data) {
        assert!(data.starts_with(&header.encode()));
    }
});
