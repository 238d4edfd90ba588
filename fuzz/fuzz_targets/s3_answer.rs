//! Arbitrary answers of a bucket never cause a panic: headers give a state, and a refused thaw
//! gives a short reason.
#![no_main]
use http::{HeaderMap, HeaderValue};
use icecore_engine::store::{ObjectState, Provider, ThawAnswer};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["x-amz-storage-class", "x-amz-restore", "x-ms-archive-status"];

fuzz_target!(|data: (u16, &str)| {
    let (status, text) = data;
    let value = |line| HeaderValue::from_str(line).ok();
    let given = |(name, line)| Some((name, value(line)?));
    let headers = NAMES.map(http::HeaderName::from_static).into_iter().zip(text.lines());
    let headers: HeaderMap = headers.filter_map(given).collect();
    let told = headers.contains_key(NAMES[1]) || headers.contains_key(NAMES[2]);
    for provider in [Provider::S3, Provider::Gcs, Provider::Azure] {
        let state = ObjectState::of_headers(provider, &headers);
        assert!(told || matches!(state, ObjectState::Warm | ObjectState::Cold));
    }
    let refused = ThawAnswer::read("packs/a", status, text).err();
    assert!(refused.is_none_or(|e| !e.reason.is_empty() && e.reason.len() <= 300));
});
