//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::format::SnapshotRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = SnapshotRecord::decode(data) {
        assert_eq!(SnapshotRecord::decode(&record.encode()), Ok(record));
    }
});
