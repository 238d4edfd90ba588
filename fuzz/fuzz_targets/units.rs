//! Parsing arbitrary sizes, amounts, shares and durations gives an error or a sensible value.
#![no_main]
use icecore_engine::ops::check::Subset;
use icecore_engine::ops::prune::policy::{Within, parse_count};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../cli/src/parse.rs"]
mod parse;

fuzz_target!(|text: &str| {
    assert!(parse::size(text).is_ok_and(|bytes| bytes < 1 << 63) || parse::size(text).is_err());
    assert!(
        parse::dollars(text).is_ok_and(|amount| amount >= 0.0) || parse::dollars(text).is_err()
    );
    match parse::subset(text) {
        Ok(Subset::Share(share)) => assert!(share > 0.0 && share <= 1.0),
        Ok(Subset::Part { part, parts }) => assert!((1..=parts).contains(&part)),
        Err(reason) => assert!(!reason.is_empty()),
    }
    let _ = parse_count(text);
    if let Ok(within) = text.parse::<Within>() {
        assert_eq!(within.to_string().parse::<Within>().ok(), Some(within));
    }
});
