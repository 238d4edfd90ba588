//! Bytes that may be hostile: an error, never a panic; what decodes is what was encoded.
#![no_main]
use icecore_engine::format::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((config, body, _)) = Config::decode(data) {
        assert_eq!(config.encode_body().len(), body.len());
    }
});
