//! Parsing an arbitrary repository URL gives an error or a location. The printed form of a bucket
//! parses to the same location.
#![no_main]
use icecore_engine::store::Location;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &str| {
    let Ok(location) = Location::parse(url) else { return };
    if location.is_remote() {
        assert_eq!(Location::parse(&location.to_string()).expect("as it was"), location);
    }
});
