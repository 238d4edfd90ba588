//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::codec::Identity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(identity) = std::str::from_utf8(data).ok().and_then(|t| Identity::from_text(t).ok())
    {
        assert!(Identity::from_text(&identity.to_text()).is_ok());
    }
});
