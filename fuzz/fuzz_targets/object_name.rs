//! Parsing an arbitrary name of a listing succeeds only if formatting the result gives the same
//! name.
#![no_main]
use icecore_engine::format::{JobId, PackKind, SlotId, SnapshotId};
use icecore_engine::store::layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
        assert!(layout::pack_id(kind, name).is_none_or(|id| layout::pack(kind, &id) == name));
    }
    assert!(layout::log_number(name).is_none_or(|number| layout::log(number) == name));
    if let Some(entries) = layout::checkpoint_entries(name) {
        assert!(*entries.start() > 0 && layout::checkpoint(&entries) == name);
    }
    let id = name.rsplit('/').next().unwrap_or_default();
    let same = |text: String| text == id.to_ascii_lowercase();
    assert!(
        id.parse::<SlotId>().is_ok_and(|id| same(id.to_string())) == id.parse::<JobId>().is_ok()
    );
    assert!(id.parse::<SnapshotId>().is_err() || id.len() == 32);
});
