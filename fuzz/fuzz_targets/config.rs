//! Decoding hostile bytes gives an error, never a panic. If it succeeds, encoding and decoding again gives the same
//! value.
#![no_main]
use icecore_engine::format::{Config, DecodedConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(DecodedConfig { config, body, mac }) = Config::decode(data) {
        assert_eq!([body, &mac], [&data[..body.len()], &data[body.len()..]]);
        let again = [&config.encode_body()[..], &mac].concat();
        assert_eq!(Config::decode(&again).expect("encoded a moment ago").config, config);
    }
});
