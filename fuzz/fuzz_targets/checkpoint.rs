//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding gives the same
//! bytes.
#![no_main]
use icecore_engine::format::CheckpointHeader;
use icecore_engine::format::checkpoint::{
    decode_padded, decode_proofs, decode_slots, encode_padded, encode_proofs, encode_slots,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((header, rest)) = CheckpointHeader::decode(data) {
        assert_eq!([&header.encode()[..], rest].concat(), data);
    }
    if let Ok((raw_bytes, compressed)) = decode_padded(data) {
        assert_eq!(encode_padded(raw_bytes as u32, compressed), data);
    }
    let Some((count, data)) = data.split_first() else { return };
    if let Ok(slots) = decode_slots(data, u64::from(*count)) {
        assert_eq!(encode_slots(&slots), data);
        if let Ok(proofs) = decode_proofs(data, &slots) {
            assert_eq!(encode_proofs(&proofs), data);
        }
    }
});
