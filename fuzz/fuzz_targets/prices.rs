//! A price table may be anybody's: an error, never a panic, and no price that is no number.
#![no_main]
use icecore_engine::ops::cost::Prices;
use icecore_engine::store::Requests;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(prices) = Prices::parse(&text, None) {
        let requests = Requests { bytes_fetched: 1 << 40, list: 3, ..Requests::default() };
        assert!(prices.bill(&requests).total_usd() >= 0.0);
    }
});
