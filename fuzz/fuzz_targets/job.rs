//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding and decoding
//! again gives the same value.
#![no_main]
use icecore_engine::format::JobRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = JobRecord::decode_padded(data) {
        assert_eq!(JobRecord::decode_padded(&record.encode_padded()), Ok(record));
    }
});
