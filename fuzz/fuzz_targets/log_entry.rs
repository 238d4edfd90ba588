//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding and decoding
//! again gives the same value.
#![no_main]
use icecore_engine::format::LogEntry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = LogEntry::decode(data) {
        assert_eq!(LogEntry::decode(&entry.encode()), Ok(entry));
    }
});
