//! Objects that each have one defect and are named for it, and some that look odd but must be
//! accepted.

mod log;
mod pack;

use icecore_engine::format::{Entry, Hole, Time, tree};
use serde_json::{Value, json};

use super::super::{by_spec, read};
use super::Maker;

type Bytes = Vec<u8>;

struct Cases<'a> {
    maker: &'a Maker<'a>,
    list: Vec<Value>,
}

impl Cases<'_> {
    fn put(&mut self, file: &str, decoder: &str, error: &str, bytes: Bytes) {
        let file = format!("damaged/{file}");
        self.maker.put(&file, &bytes);
        self.list.push(json!({ "file": file, "decoder": decoder, "error": error }));
    }

    /// Writes a changed copy of a good object.
    fn change(&mut self, file: &str, of: &str, error: &str, with: impl FnOnce(&mut Bytes)) {
        let mut bytes = read(of);
        with(&mut bytes);
        self.put(file, of, error, bytes);
    }
}

/// Writes the files; returns the descriptions of the accepted and the refused ones.
pub fn write(maker: &Maker, keys: &by_spec::Keys, photos: &[Entry]) -> (Value, Value) {
    let accepted = accepted(maker, keys, photos);
    let mut cases = Cases { maker, list: Vec::new() };
    config(&mut cases, keys);
    key_slot(&mut cases);
    job(&mut cases, keys);
    log::log(&mut cases, keys);
    log::checkpoint(&mut cases, keys);
    parity(&mut cases);
    trees(&mut cases, photos);
    records(&mut cases);
    pack::pack(&mut cases, keys);
    pack::tables(&mut cases);
    cases.change("credential_truncated", "writer_credential", "Truncated", |b| b.truncate(1275));
    cases.change("credential_digest_flipped", "writer_credential", "Invalid", |b| b[1280] ^= 1);
    cases.change("credential_unknown_flags", "writer_credential", "UnknownFlags", |b| b[11] = 0x80);
    (accepted, cases.list.into())
}

/// Changes the body of a `config` and corrects its MAC, as a bug or a thief of the writer
/// credential would.
fn signed(keys: &by_spec::Keys, with: impl Fn(&mut Bytes)) -> impl Fn(&mut Bytes) {
    move |bytes| {
        bytes.truncate(bytes.len() - 32);
        with(bytes);
        let mac = blake3::keyed_hash(&keys.config_key, bytes);
        bytes.extend_from_slice(mac.as_bytes());
    }
}

fn config(cases: &mut Cases, keys: &by_spec::Keys) {
    cases.change("config_truncated", "config", "Truncated", |b| b.truncate(1000));
    cases.change("config_mac_truncated", "config", "Truncated", |b| b.truncate(b.len() - 1));
    cases.change("config_wrong_magic", "config", "Magic", |b| b[..8].copy_from_slice(b"ICEPACK\0"));
    cases.change("config_empty", "config", "Magic", Vec::clear);
    cases.change("config_newer_version", "config", "TooNew", signed(keys, |b| b[8] = 2));
    cases.change("config_version_zero", "config", "Invalid", signed(keys, |b| b[8] = 0));
    cases.change("config_unknown_flags", "config", "UnknownFlags", signed(keys, |b| b[10] = 1));
    cases.change("config_chunking_odd", "config", "Invalid", signed(keys, |b| b[5164] |= 1));
    cases.change(
        "config_chunking_zero",
        "config",
        "Invalid",
        signed(keys, |b| b[5164..5168].fill(0)),
    );
    cases.change(
        "config_settings_length_overflow",
        "config",
        "Limit",
        signed(keys, |b| b[5180..5184].fill(255)),
    );
    cases.change("config_settings_missing_key", "config", "Record", signed(keys, |b| b[5184] -= 1));
    cases.change("config_trailing_byte", "config", "Limit", |b| b.push(0));
    cases
        .change("config_mac_flipped", "config", "WrongKey", |b| *b.last_mut().expect("a MAC") ^= 1);
    cases.change("config_other_public_key", "config", "WrongKey", signed(keys, |b| b[28] ^= 1));
}

fn key_slot(cases: &mut Cases) {
    let u32_at = |at: usize, value: u32| {
        move |bytes: &mut Bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes())
    };
    cases.change("slot_truncated", "key_slot", "Truncated", |b| b.truncate(b.len() - 1));
    cases.change("slot_kdf_too_expensive", "key_slot", "Invalid", u32_at(52, (64 << 20) + 1));
    cases.change("slot_kdf_too_many_passes", "key_slot", "Invalid", u32_at(56, 17));
    cases.change("slot_kdf_no_lanes", "key_slot", "Invalid", u32_at(60, 0));
    cases.change("slot_label_too_long", "key_slot", "Limit", |b| b[129] = 1);
    cases.change("slot_label_not_utf8", "key_slot", "Invalid", |b| b[130] = 0xff);
    cases.change("slot_digest_flipped", "key_slot", "Invalid", |b| {
        *b.last_mut().expect("a digest") ^= 1
    });
    cases.change("slot_label_flipped", "key_slot", "Invalid", |b| b[130] ^= 1);
    // If an attacker changes a slot and corrects the digest, opening it with the password shows the
    // change.
    let mut forged = |name, kind, at: usize| {
        cases.change(name, "key_slot", kind, move |b| {
            b[at] ^= 1;
            let body = b.len() - 32;
            let digest = blake3::hash(&b[..body]);
            b[body..].copy_from_slice(digest.as_bytes());
        });
    };
    forged("slot_of_other_repository", "Authentication", 12);
    forged("slot_created_changed", "Authentication", 44);
    forged("slot_salt_flipped", "WrongKey", 64);
    forged("slot_commitment_flipped", "WrongKey", 96);
    forged("slot_sealed_flipped", "Authentication", read("key_slot").len() - 33);
}

fn job(cases: &mut Cases, keys: &by_spec::Keys) {
    cases.change("job_header_truncated", "job", "Truncated", |b| b.truncate(75));
    cases.change("job_record_missing", "job", "Authentication", |b| b.truncate(76));
    cases.change("job_of_other_repository", "job", "Authentication", |b| b[12] ^= 1);
    cases.change("job_under_other_name", "job", "Authentication", |b| b[28] ^= 1);
    cases.change("job_record_flipped", "job", "Authentication", |b| b[200] ^= 1);
    cases.change("job_newer_version", "job", "TooNew", |b| b[8] = 2);
    cases.change("job_too_large", "job", "Limit", |b| b.resize((1 << 20) + 93, 0));
    let resealed = |change: fn(&mut Bytes)| {
        let seed = keys.seed;
        move |b: &mut Bytes| {
            let (header, sealed) = b.split_at(76);
            let key = by_spec::derive("icecore v1 job", &[&seed, header]);
            let mut padded = by_spec::open(&key, [0; 12], header, sealed);
            change(&mut padded);
            *b = [header, &by_spec::seal(&key, [0; 12], header, &padded)].concat();
        }
    };
    let overflow = resealed(|r| r[..4].fill(255));
    cases.change("job_length_overflow", "job", "Limit", overflow);
    let padding = resealed(|r| *r.last_mut().expect("padding") = 1);
    cases.change("job_padding_not_zero", "job", "Invalid", padding);
    // Change the tier. It follows its own key, and the key of the days follows it.
    let tier = resealed(|r| {
        let at = find(r, &[0x0a, 0x01, 0x0b, 0x03]);
        r[at + 1] = 2;
    });
    cases.change("job_unknown_tier", "job", "Record", tier);
    // The rule for files in the way, after its key and before that of the deletion.
    let rule = resealed(|r| {
        let at = find(r, &[0x07, 0x02, 0x08, 0xf4]);
        r[at + 1] = 4;
    });
    cases.change("job_unknown_overwrite", "job", "Record", rule);
}

/// Changes both heads of a parity object, and corrects their digests.
fn both_heads(with: impl Fn(&mut Bytes)) -> impl Fn(&mut Bytes) {
    move |bytes| {
        let (front, length) = bytes.split_last_chunk::<4>().expect("a length");
        let length = u32::from_le_bytes(*length);
        let mut head = front[..length as usize - 32].to_vec();
        with(&mut head);
        let digest = blake3::hash(&head);
        head.extend_from_slice(digest.as_bytes());
        let shards = &front[length as usize..front.len() - length as usize];
        let length = (head.len() as u32).to_le_bytes();
        *bytes = [&head, shards, &head, &length].concat();
    }
}

fn parity(cases: &mut Cases) {
    let of = "parity";
    let field = |at: usize, value: u32| {
        both_heads(move |head| head[at..at + 4].copy_from_slice(&value.to_le_bytes()))
    };
    cases.put("parity_empty", of, "Magic", Vec::new());
    cases.change("parity_is_a_pack", of, "Magic", |b| *b = read("hot_pack"));
    cases.change("parity_head_truncated", of, "Truncated", |b| b.truncate(47));
    cases.change("parity_newer_version", of, "TooNew", both_heads(|head| head[8] = 2));
    cases.change("parity_unknown_flags", of, "UnknownFlags", both_heads(|head| head[10] = 1));
    cases.change("parity_pack_too_large", of, "Limit", field(32, 1));
    cases.change("parity_shard_zero", of, "Invalid", field(36, 0));
    cases.change("parity_shard_odd", of, "Invalid", field(36, 500));
    cases.change("parity_shard_too_large", of, "Limit", field(36, (2 << 20) + 64));
    cases.change("parity_originals_too_many", of, "Limit", field(40, 1025));
    cases.change("parity_originals_other", of, "Invalid", field(40, 31));
    cases.change("parity_recovery_zero", of, "Invalid", field(44, 0));
    cases.change("parity_recovery_too_many", of, "Limit", field(44, 33));
    cases.change("parity_recovery_beyond_end", of, "Truncated", |b| {
        b.truncate(100);
    });
    cases.change("parity_digests_flipped", of, "Invalid", |b| {
        let last = b.len() - 5;
        b[last] ^= 1;
        let length = u32::from_le_bytes(*b.last_chunk().expect("a length"));
        b[length as usize - 1] ^= 1;
    });
    cases.change("parity_of_other_pack", of, "Authentication", both_heads(|head| head[12] ^= 1));
    // These parity objects can still heal, but are not what was written.
    cases.change("parity_first_head_flipped", of, "Authentication", |b| b[60] ^= 1);
    cases.change("parity_last_head_flipped", of, "Authentication", |b| {
        let at = b.len() - 40;
        b[at] ^= 1;
    });
    cases.change("parity_shard_flipped", of, "Authentication", |b| {
        let at = b.len() / 2;
        b[at] ^= 1;
    });
    cases.change("parity_trailing_byte", of, "Authentication", |b| b.push(0));
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}

fn trees(cases: &mut Cases, photos: &[Entry]) {
    let mut names = |file: &str, error: &str, names: &[&[u8]]| {
        let entries: Vec<Entry> = names
            .iter()
            .map(|name| Entry { name: name.to_vec().into(), ..photos[4].clone() })
            .collect();
        cases.put(file, "tree", error, tree::encode(&entries));
    };
    names("tree_name_dotdot", "Invalid", &[b".."]);
    names("tree_name_dot", "Invalid", &[b"."]);
    names("tree_name_empty", "Invalid", &[b""]);
    names("tree_name_with_slash", "Invalid", &[b"../escape"]);
    names("tree_name_with_nul", "Invalid", &[b"a\0b"]);
    names("tree_name_too_long", "Limit", &[&[b'a'; 4097]]);
    names("tree_names_unsorted", "Invalid", &[b"b", b"a"]);
    names("tree_names_twice", "Invalid", &[b"a", b"a"]);
    let mut one = |file: &str, error: &str, change: &dyn Fn(&mut Entry)| {
        let mut entry = photos[0].clone();
        change(&mut entry);
        cases.put(file, "tree", error, tree::encode(&[entry]));
    };
    let hole = |offset, bytes| Hole { offset, bytes };
    one("tree_nanoseconds", "Invalid", &|e| e.mtime = Time { seconds: 0, nanos: 1_000_000_000 });
    one("tree_chunk_ids_ragged", "Invalid", &|e| e.chunks = Some(vec![1; 33].into()));
    one("tree_hole_empty", "Invalid", &|e| e.holes = Some(vec![hole(5, 0)]));
    one("tree_hole_beyond_end", "Invalid", &|e| e.holes = Some(vec![hole(9000, 10_000)]));
    one("tree_hole_overflow", "Invalid", &|e| e.holes = Some(vec![hole(u64::MAX, 2)]));
    one("tree_holes_overlap", "Invalid", &|e| e.holes = Some(vec![hole(0, 10), hole(9, 10)]));
    let target = |e: &mut Entry| e.target = Some(vec![b'a'; (64 << 10) + 1].into());
    one("tree_symlink_target_too_long", "Limit", &target);
    cases.change("tree_truncated", "tree", "Record", |b| b.truncate(b.len() - 1));
    cases.change("tree_trailing_byte", "tree", "Record", |b| b.push(0));
    cases.change("tree_unknown_kind", "tree", "Record", |b| {
        let at = find(b, &[0x01, 0x00, 0x02]);
        b[at + 1] = 7;
    });
    cases.put(
        "tree_count_overflow",
        "tree",
        "Limit",
        vec![0x9b, 0, 255, 255, 255, 255, 255, 255, 255],
    );
    let name = [&[0x81, 0xa1, 0x00, 0x5b][..], &[0x7f; 8], b"a"].concat();
    cases.put("tree_name_length_overflow", "tree", "Record", name);
    cases.put("tree_entry_without_name", "tree", "Record", vec![0x81, 0xa0]);
    cases.put("tree_is_empty_bytes", "tree", "Record", vec![]);
}

fn records(cases: &mut Cases) {
    cases.change("snapshot_truncated", "snapshot_record", "Record", |b| b.truncate(40));
    cases.change("snapshot_trailing_byte", "snapshot_record", "Record", |b| b.push(0));
    cases.change("snapshot_root_ragged", "snapshot_record", "Invalid", |b| {
        let at = find(b, &[0x03, 0x58, 0x20]);
        b[at + 2] = 0x1f;
        b.remove(at + 3);
    });
    cases.change("snapshot_id_short", "snapshot_record", "Record", |b| {
        b[2] = 0x4f;
        b.remove(3);
    });
}

/// Adds an unknown key to a CBOR map: `99: [1, {0: ""}]`.
fn with_unknown_key(map: &[u8]) -> Bytes {
    with(map, &[0x18, 0x63, 0x82, 0x01, 0xa1, 0x00, 0x60])
}

fn with(map: &[u8], field: &[u8]) -> Bytes {
    assert!((0xa0..0xb7).contains(&map[0]));
    [&[map[0] + 1], &map[1..], field].concat()
}

fn accepted(maker: &Maker, keys: &by_spec::Keys, photos: &[Entry]) -> Value {
    let mut list = Vec::new();
    let mut put = |file: &str, decoder: &str, bytes: Bytes| {
        maker.put(file, &bytes);
        list.push(json!({ "file": file, "decoder": decoder }));
    };
    let cbor = |entry: &Entry| minicbor::to_vec(entry).expect("it is encoded");
    let entries = |change: &dyn Fn(&Entry) -> Bytes| {
        let head = vec![0x80 + photos.len() as u8];
        photos.iter().fold(head, |all, entry| [all, change(entry)].concat())
    };
    put("tree_unknown_keys", "tree", entries(&|entry| with_unknown_key(&cbor(entry))));
    let null = |entry: &Entry| {
        let cbor = cbor(entry);
        if entry.device.is_none() { with(&cbor, &[0x0c, 0xf6]) } else { cbor }
    };
    put("tree_null_for_absent", "tree", entries(&null));
    put(
        "snapshot_record_unknown_key",
        "snapshot_record",
        with_unknown_key(&read("snapshot_record")),
    );
    let object = read("log_1");
    let padded = keys.open_log(&object);
    let record = by_spec::record_of(&padded);
    let reseal = |record: &[u8]| keys.sign_log(&object[..68], record);
    put("log_unknown_key", "log_1", reseal(&with_unknown_key(record)));
    // The running hash comes last.
    let (front, seen) = record.split_at(record.len() - 35);
    let (shorter, lists) = front.split_at(front.len() - 10);
    assert_eq!(lists, [0x07, 0x80, 0x08, 0x80, 0x09, 0x80, 0x0a, 0x80, 0x0b, 0x80]);
    put("log_without_orphans", "log_1", reseal(&[&[record[0] - 5], &shorter[1..], seen].concat()));
    let config = read("config");
    let settings = with_unknown_key(&config[5184..config.len() - 32]);
    let mut body = config[..5180].to_vec();
    body.extend_from_slice(&(settings.len() as u32).to_le_bytes());
    body.extend_from_slice(&settings);
    let mac = blake3::keyed_hash(&keys.config_key, &body);
    put("config_unknown_setting", "config", [&body, &mac.as_bytes()[..]].concat());
    list.into()
}
