//! Bytes that may be hostile: an error, never a panic; what is whole is what was encoded. Healing by
//! them is bounded by what they are.
#![no_main]
use icecore_engine::codec::parity::heal;
use icecore_engine::format::parity::Parity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(parity) = Parity::decode(data) {
        if parity.is_whole {
            let shards = parity.recovery.iter().copied().flatten();
            assert_eq!(parity.head.encode(shards), data);
        }
        let _ = heal(data, &parity);
    }
});
