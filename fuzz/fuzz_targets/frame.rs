//! Frames under a known key: a sealed frame opens, unless a bit was changed. Its content may still be hostile and gives
//! an error, never a panic, and never more bytes than the table states.
#![no_main]
use icecore_engine::codec::{Identity, PackKey, decompress};
use icecore_engine::format::pack::TAG_BYTES;
use icecore_engine::format::{ChunkId, Codec, Frame, PackHeader};
use libfuzzer_sys::fuzz_target;

static KEY: std::sync::LazyLock<PackKey> = std::sync::LazyLock::new(|| {
    let pack = include_bytes!("../../engine/tests/vectors/v1/hot_pack");
    let identity = Identity::from_seed(std::array::from_fn(|i| i as u8));
    PackKey::open(&identity, &PackHeader::decode(pack).expect("golden")).expect("its key")
});

fuzz_target!(|data: (u8, u16, u16, &[u8])| {
    let (codec, raw_bytes, flip, content) = data;
    let Ok(codec) = Codec::try_from(codec % 4) else { return };
    let frame = Frame { id: ChunkId([7; 32]), raw_bytes: raw_bytes.into(), stored_bytes: 0, codec };
    let mut sealed = vec![0; content.len() + TAG_BYTES];
    KEY.seal_frame(&mut sealed, 0, &frame, content);
    let changed = sealed.get_mut(usize::from(flip)).map(|byte| *byte ^= 1).is_some();
    match KEY.open_frame(0, &frame, &mut sealed) {
        Ok(opened) => assert!(!changed && opened == content),
        Err(_) => return assert!(changed),
    }
    let raw = decompress(codec, content, frame.raw_bytes);
    assert!(raw.is_err() || raw.is_ok_and(|raw| raw.len() == usize::from(raw_bytes)));
});
