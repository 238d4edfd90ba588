//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::format::LogEntry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = LogEntry::decode_padded(data) {
        assert_eq!(LogEntry::decode_padded(&entry.encode_padded()), Ok(entry));
    }
});
