//! Decoding hostile bytes gives an error, never a panic. If all shards are intact, encoding gives the same bytes.
//! Healing with it never panics and uses bounded memory.
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
