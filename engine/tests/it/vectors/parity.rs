//! The golden parity object, and the setting that requests it.

use icecore_engine::codec::CodecError;
use icecore_engine::codec::parity::{heal, protect};
use icecore_engine::format::parity::Parity;
use icecore_engine::format::{Config, PackId};
use serde_json::{Value, json};

use super::describe::hex;
use super::{Vectors, read};

const PERCENT: u8 = 10;

/// Makes the parity of the golden pack of small files.
pub fn made() -> Vec<u8> {
    let pack = read("hot_pack");
    let id = PackId(pack[32..48].try_into().expect("16 bytes"));
    protect(id, &pack, PERCENT)
}

/// Decodes a parity object. Refuses a changed one, although it may still heal.
pub fn decode(bytes: &[u8]) -> Result<Value, CodecError> {
    let parity = Parity::decode(bytes)?;
    let head = &parity.head;
    if !parity.is_whole || head.pack.as_bytes()[..] != read("hot_pack")[32..48] {
        return Err(CodecError::Authentication);
    }
    Ok(json!({
        "pack": hex(head.pack.as_bytes()),
        "pack_bytes": head.pack_bytes,
        "shard_bytes": head.shard_bytes,
        "originals": head.originals.iter().map(hex).collect::<Vec<_>>(),
        "recovery": head.recovery.iter().map(hex).collect::<Vec<_>>(),
    }))
}

#[test]
fn the_golden_parity_is_made_again_and_heals_its_pack() {
    let _ = Vectors::load();
    let (object, pack) = (read("parity"), read("hot_pack"));
    assert!(object == made());
    let parity = Parity::decode(&object).expect("it decodes");
    let sectors = pack.len().div_ceil(512);
    assert_eq!((parity.head.shard_bytes, parity.head.originals.len()), (512, sectors));
    // One sector of 4096 bytes may be lost, but no more.
    let without = |lost: std::ops::Range<usize>| {
        let mut damaged = pack.clone();
        damaged[lost].fill(0);
        heal(&damaged, &parity)
    };
    assert_eq!(parity.head.recovery.len(), 8);
    assert!(without(4096..8192).is_some_and(|healed| healed == pack));
    assert_eq!(without(4096..8193), None);

    // Decode it again, by the specification alone.
    let number = |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().expect("4")) as usize;
    assert_eq!(
        (&object[..12], number(28), number(32)),
        (&b"ICEPAR\0\0\x01\0\0\0"[..], pack.len(), 0)
    );
    let (shard, originals, recovery) = (number(36), number(40), number(44));
    let head = 48 + 16 * (originals + recovery) + 32;
    assert_eq!(object.len(), 2 * head + recovery * shard + 4);
    assert_eq!(object[head - 32..head], *blake3::hash(&object[..head - 32]).as_bytes());
    assert_eq!(object[..head], object[object.len() - 4 - head..object.len() - 4]);
    assert_eq!(number(object.len() - 4), head);
    let shards = pack.chunks(shard).chain(object[head..].chunks(shard).take(recovery));
    for (shard, digest) in shards.zip(object[48..].chunks(16)) {
        assert_eq!(blake3::hash(shard).as_bytes()[..16], *digest);
    }
}

#[test]
fn a_config_tells_the_parity() {
    let vectors = Vectors::load();
    let golden = read("config");
    let mut config = Config::decode(&golden).expect("it decodes").config;
    assert_eq!(config.settings.parity_percent, None);
    config.settings.parity_percent = Some(PERCENT);
    let object = vectors.secrets.encode_config(&config);
    let settings = &golden[5184..golden.len() - 32];
    let settings = [&[settings[0] + 1], &settings[1..], &[0x05, 0x0a]].concat();
    assert_eq!(object[5184..object.len() - 32], settings);
    let again = Config::decode(&object).expect("it decodes").config;
    assert_eq!(again, config);
    for percent in [0, 51, 255] {
        config.settings.parity_percent = Some(percent);
        let refused = Config::decode(&vectors.secrets.encode_config(&config)).err();
        assert!(refused.is_some(), "{percent} %");
    }
}
