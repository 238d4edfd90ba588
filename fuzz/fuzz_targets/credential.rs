//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding gives the same
//! bytes.
#![no_main]
use icecore_engine::format::Credential;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(credential) = Credential::decode(data) {
        assert_eq!(credential.encode(), data);
    }
});
