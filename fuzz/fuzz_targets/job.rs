//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::format::JobRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = JobRecord::decode_padded(data) {
        assert_eq!(JobRecord::decode_padded(&record.encode_padded()), Ok(record));
    }
});
