//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding and decoding
//! again gives the same value.
#![no_main]
use icecore_engine::format::tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = tree::decode(data) {
        assert_eq!(tree::decode(&tree::encode(&entries)), Ok(entries));
    }
});
