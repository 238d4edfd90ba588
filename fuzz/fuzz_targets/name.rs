//! A name in a tree is accepted if and only if it is a single plain component of a path.
#![no_main]
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use icecore_engine::format::tree::{NAME_BYTES_MAX, validate_name};
use icecore_engine::ops::browse::clean;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let name = OsStr::from_bytes(data);
    let plain = Path::new(name).components().eq([Component::Normal(name)]);
    let fits = data.len() <= NAME_BYTES_MAX && !data.contains(&0);
    assert_eq!(validate_name(data).is_ok(), plain && fits);
    assert!(clean(data).components().all(|part| part != Component::RootDir));
});
