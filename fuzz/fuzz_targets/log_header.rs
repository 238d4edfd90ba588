//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding gives the same
//! bytes.
#![no_main]
use icecore_engine::format::LogHeader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((header, sealed)) = LogHeader::decode(data) {
        assert_eq!([&header.encode(), sealed].concat(), data);
    }
});
