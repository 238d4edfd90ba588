//! Parsing an arbitrary price table gives an error, never a panic, and never a price that is not a
//! number.
#![no_main]
use icecore_engine::ops::cost::Prices;
use icecore_engine::store::{Requests, Tier};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(prices) = Prices::parse(&text, Some("a")) {
        let mut requests = Requests { list: 3, ..Requests::default() };
        requests.add_get("GLACIER", 1 << 40);
        requests.add_thaw("GLACIER", Tier::Bulk, 1 << 40, 7, true);
        assert!(prices.bill(&requests).total_usd() >= 0.0 && prices.egress_free_gb() >= 0.0);
        assert!(prices.storage("GLACIER", 1 << 40) >= 0.0);
    }
});
