//! Reading an identity from hostile text gives an error, never a panic. If it succeeds, its text
//! form can be read again.
#![no_main]
use icecore_engine::codec::Identity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(identity) = std::str::from_utf8(data).ok().and_then(|t| Identity::from_text(t).ok())
    {
        assert!(Identity::from_text(&identity.to_text()).is_ok());
    }
});
