//! Golden bytes of format version 1 (`tests/vectors/v1`): every object is decoded, compared with `vectors.json`, and
//! encoded to the same bytes again; every damaged one gives its expected error.
//!
//! The bytes never change, because they represent existing archives. `ICECORE_WRITE_VECTORS=1` makes all of them again,
//! only for a new version of the format; `=added` makes those that were added later.

mod by_spec;
mod describe;
mod make;
mod objects;
mod parity;

use std::collections::BTreeMap;
use std::path::PathBuf;

use icecore_engine::codec::{Author, CodecError, Cutter, Cutting, Identity};
use icecore_engine::format::pack::{TRAILER_BYTES, encode_table, padded_bytes};
use icecore_engine::format::{
    Chunking, Config, Credential, JobHeader, KeySlot, LogHeader, LogKey, MirrorMark, PackKind,
    SnapshotRecord, WriterId, tree,
};
use icecore_engine::repo::{Keys, Repository, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreOptions, layout};
use serde_json::{Value, json};

use describe::{hex, unhex};
use objects::Vectors;

const OBJECTS: [&str; 18] = [
    "checkpoint",
    "config",
    "job",
    "key_slot",
    "log_1",
    "log_2",
    "log_3",
    "log_4",
    "log_key",
    "mirror_mark",
    "meta_pack",
    "hot_pack",
    "cold_pack",
    "parity",
    "tree",
    "snapshot_record",
    "snapshot_record_named",
    "writer_credential",
];
const PACKS: [&str; 3] = ["hot_pack", "meta_pack", "cold_pack"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/v1")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Incompressible bytes that any implementation can reproduce: extended output of BLAKE3 over a label.
fn noise(label: &str, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(label.as_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Returns the name of the variant at the bottom of an error.
fn kind(error: &CodecError) -> String {
    let text = match error {
        CodecError::Format(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    };
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn objects_decode_to_what_is_recorded() {
    let vectors = Vectors::load();
    for name in OBJECTS {
        let decoded = vectors.decode(name, &read(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(decoded, vectors.json["objects"][name], "{name}");
    }
}

#[test]
fn objects_encode_to_the_same_bytes() {
    let vectors = Vectors::load();
    let same = |name: &str, bytes: Vec<u8>| assert!(bytes == read(name), "{name}");
    let config = Config::decode(&read("config")).expect("it decodes").config;
    same("config", vectors.secrets.encode_config(&config));
    same("key_slot", KeySlot::decode(&read("key_slot")).expect("it decodes").encode());
    same("tree", tree::encode(&tree::decode(&read("tree")).expect("it decodes")));
    for name in ["snapshot_record", "snapshot_record_named"] {
        let record = SnapshotRecord::decode(&read(name)).expect("it decodes");
        same(name, record.encode());
    }
    let credential = Credential::decode(&read("writer_credential")).expect("it decodes");
    same("writer_credential", credential.encode());
    let key = LogKey::decode(&read("log_key")).expect("it decodes");
    assert!(LogKey::of(&credential) == key);
    same("log_key", key.encode());
    same("mirror_mark", MirrorMark::decode(&read("mirror_mark")).expect("it decodes").encode());
    let object = read("job");
    let (header, _) = JobHeader::decode(&object).expect("it decodes");
    let job = vectors.identity.open_job(header.repository, header.job, &object);
    same("job", vectors.identity.seal_job(&header, &job.expect("it opens")));
    for (number, name) in [(1, "log_1"), (2, "log_2"), (3, "log_3"), (4, "log_4")] {
        let object = read(name);
        let (header, _) = LogHeader::decode(&object).expect("it decodes");
        let entry = vectors.secrets.read_log(number, &object).expect("it opens");
        let author = match number {
            1 => Author::of(vectors.secrets.credential()),
            _ => vectors.identity.owner(header.repository),
        };
        same(name, vectors.secrets.seal_log(&header, &entry, &author).expect("it is signed"));
    }
    let object = read("checkpoint");
    let checkpoint = vectors.secrets.open_checkpoint(1, 2, &object).expect("it opens");
    same("checkpoint", vectors.secrets.seal_checkpoint(&checkpoint).expect("a small one"));
    for name in PACKS {
        let object = read(name);
        let (header, key, trailer, frames) = vectors.open_pack(&object).expect("it opens");
        let mut again = header.encode();
        for (slot, frame) in frames.iter().enumerate() {
            let at = again.len();
            let mut sealed = object[at..at + frame.stored_bytes as usize].to_vec();
            let content = key.open_frame(slot as u32, frame, &mut sealed).expect("it opens");
            again.resize(at + frame.stored_bytes as usize, 0);
            key.seal_frame(&mut again[at..], slot as u32, frame, content);
        }
        let padding = again.len();
        again.resize(trailer.table_offset as usize, 0);
        key.padding(&mut again[padding..]);
        let trailer_at = object.len() - TRAILER_BYTES;
        again.resize(object.len(), 0);
        let table = &mut again[trailer.table_offset as usize..trailer_at];
        key.seal_table(table, &encode_table(&frames));
        key.seal_trailer(&mut again[trailer_at..], &trailer);
        same(name, again);
    }
}

/// NIST, ACVP-Server, ML-DSA-keyGen-FIPS204: the first case of ML-DSA-65. These are the first and last bytes of its
/// key. The second decoder verifies the signatures with OpenSSL, which shows that they conform to FIPS 204.
#[test]
fn signing_keys_are_those_of_nist() {
    let seed = json!("1bd67dc782b2958e189e315c040dd1f64c8ab232a6a170e1a7a52c33f10851b1");
    let author = Author::new(WriterId([1; 16]), &unhex(&seed).try_into().expect("32 bytes"));
    let key = hex(&author.public_key()[..]);
    assert!(key.starts_with("43ad6560d3bb684667a559ee6ec7c816020e5b65671f270f2353a8c912b6c26b"));
    assert!(key.ends_with("486432b090f0cce86aa84b661ff22d4a56035e821a1ce30f33afeb6c7b8fa9ce"));
}

#[test]
fn keys_and_ids_are_derived_as_recorded() {
    let Vectors { json, identity, secrets, keys, .. } = Vectors::load();
    let expected = &json["keys"];
    assert_eq!(identity.to_text().as_str(), expected["identity_text"]);
    let text = expected["identity_text"].as_str().expect("a string").to_lowercase();
    let again = Identity::from_text(&text).expect("lower case is the same identity");
    assert_eq!(again.public_key(), identity.public_key());
    assert_eq!(hex(identity.public_key()), expected["public_key"]);
    assert_eq!(hex(secrets.credential().dedup_secret), expected["dedup_secret"]);
    for (name, key) in make::derived_keys(&keys) {
        assert_eq!(hex(key), expected[name], "{name}");
    }
    for good in json["identity_texts_accepted"].as_array().expect("an array") {
        let text = good.as_str().expect("a string");
        let again = Identity::from_text(text).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(again.public_key(), identity.public_key(), "{text}");
    }
    for bad in json["identity_texts_refused"].as_array().expect("an array") {
        assert!(Identity::from_text(bad.as_str().expect("a string")).is_err(), "{bad}");
    }
    for sample in json["chunk_ids"].as_array().expect("an array") {
        let plaintext = unhex(&sample["plaintext"]);
        let kind = PackKind::try_from(sample["kind"].as_u64().expect("a number") as u8);
        let id = secrets.chunk_id(kind.expect("a kind"), &plaintext);
        assert_eq!(hex(id.0), sample["id"]);
    }
    let paths: Vec<Vec<u8>> =
        json["paths_key"]["paths"].as_array().expect("an array").iter().map(unhex).collect();
    assert_eq!(hex(secrets.paths_key(&paths).0), json["paths_key"]["key"]);
    for sample in json["padded_bytes"].as_array().expect("an array") {
        let [bytes, padded] = [0, 1].map(|i| sample[i].as_u64().expect("a number"));
        assert_eq!(padded_bytes(bytes), padded, "{bytes}");
        assert_eq!(by_spec::padded_bytes(bytes), padded, "{bytes}");
    }
}

#[test]
fn files_are_cut_as_recorded() {
    let Vectors { json, secrets, keys, .. } = Vectors::load();
    let words: Vec<String> = keys.gear[..8].iter().map(|word| format!("{word:016x}")).collect();
    assert_eq!(json["gear"]["first_words"], json!(words));
    assert_eq!(json["gear"]["blake3_of_little_endian_words"], make::gear_digest(&keys));
    for case in json["cuts"].as_array().expect("an array") {
        let number = |value: &Value| value.as_u64().expect("a number");
        let size = |name: &str| number(&case["chunking"][name]) as u32;
        let chunking = Chunking {
            bytes_min: size("bytes_min"),
            bytes_avg: size("bytes_avg"),
            bytes_max: size("bytes_max"),
            block_bytes: size("block_bytes"),
        };
        let file = make::cut_file(case);
        let cutter = Cutter::new(&secrets, chunking, number(&case["small_file_bytes"]));
        let window = |at: usize| &file[at..file.len().min(at + cutter.window_bytes())];
        let cutting = cutter.cutting(window(0), file.len() as u64);
        let (mut at, mut lengths) = (0, Vec::new());
        while at < file.len() {
            lengths.push(cutter.next(cutting, at as u64, window(at)));
            at += lengths[lengths.len() - 1];
        }
        assert_eq!(json!(lengths), case["lengths"], "{}", case["name"]);
        if let Cutting::Content { first } = cutting {
            let sizes = [chunking.bytes_min, chunking.bytes_avg, chunking.bytes_max];
            let masks = [0, 1].map(|i| {
                let mask = case["masks"][i].as_str().expect("a string");
                u64::from_str_radix(mask, 16).expect("hex digits")
            });
            let first = Some(first).filter(|first| *first > 0);
            let mut again: Vec<usize> = first.into_iter().collect();
            let rest = &file[first.unwrap_or(0)..];
            again.extend(by_spec::cut(&keys.gear, sizes.map(|size| size as usize), masks, rest));
            assert_eq!(again, lengths, "{}", case["name"]);
        }
    }
}

#[test]
fn a_reader_written_from_the_spec_reads_a_file() {
    let Vectors { json, keys, password, .. } = Vectors::load();
    let packs: BTreeMap<String, Vec<u8>> = PACKS
        .iter()
        .map(|name| (json["names"][name].as_str().expect("a string").to_owned(), read(name)))
        .collect();
    for file in json["files"].as_array().expect("an array") {
        let path: Vec<&str> = file["path"].as_str().expect("a string").split('/').collect();
        let content = by_spec::read_file(&keys, &read("log_1"), &packs, &path);
        assert_eq!(blake3::hash(&content).to_string(), file["blake3"], "{path:?}");
    }
    let (entries, seen) = by_spec::read_checkpoint(&keys, &read("checkpoint"));
    assert_eq!(entries, [read("log_1"), read("log_2")]);
    assert_eq!(seen, by_spec::seen_by(&keys, &read("log_3")), "the owner vouches for it");
    let config = read("config");
    let [owner, writer] = [&config[1244..3196], &config[3212..5164]];
    assert!(keys.is_signed(&read("log_1"), writer) && !keys.is_signed(&read("log_1"), owner));
    assert!(keys.is_signed(&read("log_2"), owner) && !keys.is_signed(&read("log_2"), writer));
    let (body, mac) = config.split_at(config.len() - 32);
    assert_eq!(mac, blake3::keyed_hash(&keys.config_key, body).as_bytes());
    let job = read("job");
    let (header, sealed) = job.split_at(76);
    let key = by_spec::derive("icecore v1 job", &[&keys.seed, header]);
    let padded = by_spec::open(&key, [0; 12], header, sealed);
    assert_eq!(padded.len() as u64, by_spec::padded_bytes(padded.len() as u64));
    let slot = read("key_slot");
    let [kek, key, commitment] = by_spec::slot_keys(&slot, &password);
    let expected = &json["slot_keys"];
    assert_eq!(
        [hex(kek), hex(key)].map(Value::from),
        [&expected["kek"], &expected["key"]].map(Value::clone)
    );
    assert_eq!(commitment, slot[96..128]);
    let (body, digest) = slot.split_at(slot.len() - 32);
    assert_eq!(digest, blake3::hash(body).as_bytes());
    let (head, sealed) = body.split_at(body.len() - 48);
    assert_eq!(by_spec::open(&key, [0; 12], head, sealed), keys.seed);
    assert_eq!(make::pack_keys(&keys), json["pack_keys"]);
}

#[test]
fn a_repository_of_version_1_opens() {
    let vectors = Vectors::load();
    let place = tempfile::tempdir().expect("a folder");
    for (name, object) in vectors.json["names"].as_object().expect("an object") {
        let path = place.path().join(object.as_str().expect("a string"));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("it is made");
        std::fs::write(path, read(name)).expect("it is written");
    }
    let location = Location::Folder(place.path().to_owned());
    let store = Store::open(&location, &StoreOptions::default()).expect("it opens");
    let config = StoredConfig::read(&store).expect("it decodes");
    let cache = tempfile::tempdir().expect("a folder");
    let keys = Keys::Reader(vectors.identity.clone());
    let repository = Repository::open(store, config, keys, cache.path()).expect("it opens");
    assert_eq!(repository.catalog.position().expect("it is known").number, 2);
    let settings = repository.settings().expect("they are known");
    assert_eq!(
        json!(settings.pack_bytes),
        vectors.json["objects"]["log_2"]["settings"]["pack_bytes"]
    );
    let rows = repository.catalog.snapshots().expect("they are known");
    let trees = TreeReader::new(&repository).expect("the identity is there");
    let record = trees.record(&rows[0].entry.record).expect("it is read");
    assert_eq!(describe::snapshot_record(&record), vectors.json["objects"]["snapshot_record"]);
    let root = trees.folder(&record.root_chunks().expect("whole ids")).expect("it is read");
    let photos = trees.folder(&root[0].chunk_ids().expect("whole ids")).expect("it is read");
    assert_eq!(describe::tree(&photos), vectors.json["objects"]["tree"]);
    for name in ["log_1", "log_2"] {
        let number = vectors.json["objects"][name]["number"].as_u64().expect("a number");
        assert_eq!(vectors.json["names"][name], layout::log(number));
    }
}

#[test]
fn what_a_later_writer_may_add_is_passed_over() {
    let vectors = Vectors::load();
    for case in vectors.json["accepted"].as_array().expect("an array") {
        let name = case["file"].as_str().expect("a string");
        let decoder = case["decoder"].as_str().expect("a string");
        let decoded = vectors.decode(decoder, &read(name));
        let decoded = decoded.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(decoded, vectors.json["objects"][decoder], "{name}");
    }
    // Even a value that is nested deeper than any stack is skipped.
    let tree = read("tree");
    let entries = tree::decode(&tree).expect("it decodes");
    let entry = minicbor::to_vec(&entries[0]).expect("it is encoded");
    let field = [&[0x18, 0x63][..], &[0x81; 4 << 20], &[0]].concat();
    let deep = [&[0x81, entry[0] + 1], &entry[1..], &field].concat();
    assert_eq!(tree::decode(&deep).expect("it decodes"), entries[..1]);
}

#[test]
fn damaged_objects_give_their_error() {
    let vectors = Vectors::load();
    let mut files = Vec::new();
    for case in vectors.json["damaged"].as_array().expect("an array") {
        let name = case["file"].as_str().expect("a string");
        let decoder = case["decoder"].as_str().expect("a string");
        match vectors.decode(decoder, &read(name)) {
            Ok(_) => panic!("{name} decodes"),
            Err(error) => assert_eq!(json!(kind(&error)), case["error"], "{name}: {error}"),
        }
        files.push(name.strip_prefix("damaged/").expect("it is in the folder").to_owned());
    }
    files.sort_unstable();
    let mut there: Vec<String> = std::fs::read_dir(folder().join("damaged"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it is read").file_name().into_string().expect("ASCII"))
        .collect();
    there.sort_unstable();
    assert_eq!(files, there, "each file is told in vectors.json");
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    let vectors = Vectors::load();
    let sealed = ["config", "job", "key_slot", "log_2", "log_3", "cold_pack", "writer_credential"];
    for name in sealed.into_iter().chain(["checkpoint", "parity", "log_key", "mirror_mark"]) {
        let object = read(name);
        // All padding bytes are alike, so test one in sixteen.
        let is_padded = matches!(name, "cold_pack" | "job");
        let is_looked_at = |at: &usize| {
            !is_padded || *at < 2048 || *at + 512 > object.len() || at.is_multiple_of(16)
        };
        for at in (0..object.len()).filter(is_looked_at) {
            let mut damaged = object.clone();
            damaged[at] ^= 1 << (at / 16 % 8);
            assert!(vectors.decode(name, &damaged).is_err(), "{name}: byte {at}");
            assert!(vectors.decode(name, &object[..at]).is_err(), "{name}: cut at {at}");
        }
    }
    // The plaintext of a frame is authenticated before it is decoded, so it only must not panic.
    for name in ["tree", "snapshot_record", "snapshot_record_named"] {
        let object = read(name);
        for at in 0..object.len() {
            for bit in 0..8 {
                let mut damaged = object.clone();
                damaged[at] ^= 1 << bit;
                _ = vectors.decode(name, &damaged);
            }
            assert!(vectors.decode(name, &object[..at]).is_err(), "{name}: cut at {at}");
        }
    }
}

#[test]
fn log_records_have_a_size_class() {
    let vectors = Vectors::load();
    for name in ["log_1", "log_2"] {
        let padded = vectors.keys.open_log(&read(name)).len() as u64;
        assert_eq!(padded, 16 << 10, "{name}");
    }
}
