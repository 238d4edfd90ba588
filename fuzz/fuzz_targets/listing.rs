//! Reading the storage classes from an arbitrary page of a listing never panics, and returns no
//! more text than the page has.
#![no_main]
use icecore_engine::store::classes_of_page;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|page: &[u8]| {
    let told = classes_of_page(page);
    let bytes: usize = told.iter().map(|(key, class)| key.len() + class.len()).sum();
    assert!(bytes <= page.len());
});
