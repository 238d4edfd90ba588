//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding and decoding
//! again gives the same value.
#![no_main]
use icecore_engine::format::SnapshotRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = SnapshotRecord::decode(data) {
        assert_eq!(SnapshotRecord::decode(&record.encode()), Ok(record));
    }
});
