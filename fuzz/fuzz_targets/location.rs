//! A repository URL may be anything: an error, or a place that is written as one reads it.
#![no_main]
use icecore_engine::store::Location;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &str| {
    let Ok(location) = Location::parse(url) else { return };
    if location.is_remote() {
        assert_eq!(Location::parse(&location.to_string()).expect("as it was"), location);
    }
});
