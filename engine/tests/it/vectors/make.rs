//! Makes the golden bytes. Only values that must be random are random: names, salts, X-Wing
//! ciphertexts.

use std::collections::BTreeMap;
use std::path::Path;

use icecore_engine::codec::{
    Author, Compressor, Cutter, Identity, NOTHING_SEEN, OpenedCheckpoint, Secrets, seen,
};
use icecore_engine::format::checkpoint::Slot;
use icecore_engine::format::pack::padded_bytes;
use icecore_engine::format::{
    CheckpointHeader, ChunkId, Chunking, Digest, Entry, EntryKind, Hole, JobHeader, JobId,
    JobRecord, KdfCost, LogEntry, LogHeader, Lost, Move, OverwriteRule, PackId, PackKind,
    PackRange, RepositoryId, Settings, SnapshotEntry, SnapshotId, SnapshotRecord, Tier, Time,
    Xattr, tree,
};
use icecore_engine::repo::{PackBuilder, SealedPack};
use icecore_engine::store::layout;
use serde_json::{Value, json};

use super::describe::{hex, unhex};
use super::{PACKS, Vectors, by_spec, noise, read};

mod damage;
pub mod history;

const PASSWORD: &str = "correct horse battery staple";
const TIME: Time = Time { seconds: 1_700_000_000, nanos: 123_456_789 };

/// Returns the keys of section 3.2 by the names they have in `vectors.json`.
pub fn derived_keys(keys: &by_spec::Keys) -> [(&'static str, [u8; 32]); 5] {
    [
        ("dedup_secret", keys.dedup_secret),
        ("data_id_key", keys.data_id_key),
        ("meta_id_key", keys.meta_id_key),
        ("config_key", keys.config_key),
        ("paths_key_key", keys.paths_key),
    ]
}

pub fn gear_digest(keys: &by_spec::Keys) -> String {
    let table: Vec<u8> = keys.gear.iter().flat_map(|word| word.to_le_bytes()).collect();
    blake3::hash(&table).to_string()
}

/// Returns every step from the identity to the frames of each pack, to help debug another decoder.
pub fn pack_keys(keys: &by_spec::Keys) -> Value {
    let steps = PACKS.iter().map(|name| {
        let pack = read(name);
        let secrets = by_spec::PackKeys::open(keys.seed, &pack);
        let (_, frames) = by_spec::read_pack(keys, &pack);
        let aad: Vec<String> = frames.iter().map(|frame| hex(&frame.aad)).collect();
        let steps = json!({
            "xwing_shared_secret": hex(secrets.secret),
            "key": hex(secrets.key),
            "padding_key": hex(secrets.padding_key),
            "commitment": hex(secrets.commitment),
            "context": hex(&secrets.context),
            "frame_associated_data": aad,
            "nonce_of_frame_1": hex(by_spec::nonce(1, 0)),
            "nonce_of_table": hex(by_spec::nonce(0, 1)),
            "nonce_of_trailer": hex(by_spec::nonce(0, 2)),
        });
        (name.to_string(), steps)
    });
    Value::Object(steps.collect())
}

/// Returns the file of a cutting case: `prefix` in hex, then noise, then zeros.
pub fn cut_file(case: &Value) -> Vec<u8> {
    let number = |name: &str| case[name].as_u64().expect("a number") as usize;
    let mut file = unhex(&case["prefix"]);
    file.extend(noise("icecore v1 vectors: cut", number("noise_bytes")));
    file.resize(file.len() + number("zero_bytes"), 0);
    file
}

struct Maker<'a> {
    folder: &'a Path,
    secrets: Secrets,
}

impl Maker<'_> {
    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(name), bytes).expect("the folder can be written");
    }

    /// Makes a pack. Each chunk is compressed if that saves space.
    fn pack(&self, kind: PackKind, class: &str, chunks: &[&[u8]]) -> (SealedPack, Vec<ChunkId>) {
        let mut pack = PackBuilder::new(&self.secrets, kind, 16 << 20).expect("a valid public key");
        let mut compressor = Compressor::default();
        let mut ids = Vec::new();
        for raw in chunks {
            let id = self.secrets.chunk_id(kind, raw);
            let (codec, content) = compressor.compress(raw);
            pack.add(id, raw.len() as u32, codec, content);
            ids.push(id);
        }
        (pack.finish(class), ids)
    }
}

/// Returns the running hash of the log after one more entry.
fn seen_with(secrets: &Secrets, before: &Digest, number: u64, object: &[u8]) -> Digest {
    let content = Some(secrets.open_log(number, object).expect("it opens").content);
    seen(before, &Slot { digest: Digest(*blake3::hash(object).as_bytes()), content })
}

/// Makes a checkpoint of the first entries of the log.
fn checkpoint(secrets: &Secrets, objects: &[&[u8]]) -> Vec<u8> {
    let salt = noise("icecore v1 vectors: salt of checkpoint", 32).try_into().expect("32");
    let count = objects.len() as u64;
    let header = CheckpointHeader { repository: secrets.repository(), first: 1, count, salt };
    let (mut slots, mut proofs) = (Vec::new(), Vec::new());
    for (number, object) in (1..).zip(objects) {
        let opened = secrets.open_log(number, object).expect("it opens");
        let digest = Digest(*blake3::hash(object).as_bytes());
        slots.push(Slot { digest, content: Some(opened.content) });
        proofs.push(Some(opened.proof));
    }
    let checkpoint = OpenedCheckpoint { header, slots, proofs };
    secrets.seal_checkpoint(&checkpoint).expect("a small one")
}

/// Place of the first pack of entry 1.
pub const PLACE: u64 = 1 << 16;

/// Writes all of `tests/vectors/v1`.
pub fn write(folder: &Path) {
    _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder.join("damaged")).expect("it is made");
    let seed = std::array::from_fn(|i| i as u8);
    let identity = Identity::from_seed(seed);
    let repository = RepositoryId(std::array::from_fn(|i| 0xa0 + i as u8));
    let secrets = Secrets::new(identity.credential(repository));
    let maker = Maker { folder, secrets };
    let settings = Settings {
        pack_class: "DEEP_ARCHIVE".into(),
        hot_class: "GLACIER_IR".into(),
        ..Settings::default()
    };
    let public_key = identity.public_key();
    let config = identity.config(repository, Chunking::default(), settings);
    let owner = identity.owner(repository);
    let writer = Author::of(maker.secrets.credential());
    let config_object = maker.secrets.encode_config(&config);
    maker.put("config", &config_object);
    maker.put("writer_credential", &maker.secrets.credential().encode());
    let cost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };
    let slot = identity
        .seal_slot(repository, PASSWORD.as_bytes(), "Größe 1".into(), TIME.seconds, cost)
        .expect("a small cost");
    maker.put("key_slot", &slot.encode());

    let header = JobHeader { repository, job: JobId([0x6a; 16]), salt: [0x77; 32] };
    maker.put("job", &identity.seal_job(&header, &job()));

    let text = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>golden</x:xmpmeta>\n".repeat(12);
    let raw = noise("icecore v1 vectors: raw", 1500);
    let (hot, data) = maker.pack(PackKind::Hot, "GLACIER_IR", &[&text, &raw]);
    let (cold, _) = maker.pack(PackKind::Cold, "DEEP_ARCHIVE", &[&raw[..100]]);
    let photos = photos(&data, text.len() as u64, raw.len() as u64);
    let photos_tree = tree::encode(&photos);
    let photos_id = maker.secrets.chunk_id(PackKind::Meta, &photos_tree);
    let root = Entry {
        name: b"photos".to_vec().into(),
        kind: EntryKind::Folder,
        mode: 0o755,
        chunks: Some(tree::join_ids(&[photos_id])),
        ..entry("photos")
    };
    let root_tree = tree::encode(&[root]);
    let root_id = maker.secrets.chunk_id(PackKind::Meta, &root_tree);
    let record = SnapshotRecord {
        id: SnapshotId([0x5a; 16]),
        time: TIME,
        paths: vec![b"/photos".to_vec().into()],
        root: tree::join_ids(&[root_id]),
        host: "studio".into(),
        tags: vec!["golden".into(), "v1".into()],
        program: "icecore 0.1.0".into(),
        failed: 0,
        places: None,
        history: None,
        base: None,
    };
    let chunks = [&photos_tree[..], &root_tree, &record.encode()];
    let (meta, meta_ids) = maker.pack(PackKind::Meta, "", &chunks);
    maker.put("tree", &photos_tree);
    maker.put("snapshot_record", &record.encode());
    let mut names: BTreeMap<&str, String> = BTreeMap::from([
        ("config", layout::CONFIG.to_owned()),
        ("key_slot", layout::key_slot(&slot.slot)),
        ("job", layout::job_record(&JobId([0x6a; 16]))),
        ("log_1", layout::log(1)),
        ("log_2", layout::log(2)),
    ]);
    for (name, pack) in [("hot_pack", &hot), ("meta_pack", &meta), ("cold_pack", &cold)] {
        maker.put(name, &pack.object);
        names.insert(name, layout::pack(pack.record.kind, &pack.record.id));
    }
    names.insert("parity", layout::parity(&hot.record.id));
    maker.put("parity", &super::parity::made());

    let paths = vec![b"/photos".to_vec()];
    let snapshot = SnapshotEntry {
        id: record.id,
        time: TIME,
        host: record.host.clone(),
        tags: record.tags.clone(),
        record: meta_ids[2],
        files: 3,
        bytes: 13_352,
        packs: vec![PackRange { first: PLACE, count: 2 }],
        paths_key: maker.secrets.paths_key(&paths),
        history: None,
        marked: None,
        sources: None,
    };
    let log_1 = LogEntry {
        previous: Digest(*blake3::hash(&config_object).as_bytes()),
        time: TIME,
        packs: vec![hot.record, meta.record, cold.record],
        snapshots: vec![snapshot],
        seen: Some(NOTHING_SEEN),
        ..LogEntry::new(TIME)
    };
    let header = |number, salt| LogHeader { repository, number, salt, version: 1, flags: 0 };
    let log_1_header = header(1, noise("icecore v1 vectors: salt 1", 32).try_into().expect("32"));
    let log_1_object =
        maker.secrets.seal_log(&log_1_header, &log_1, &writer).expect("it is signed");
    maker.put("log_1", &log_1_object);
    let log_2 = LogEntry {
        previous: Digest(*blake3::hash(&log_1_object).as_bytes()),
        time: Time { seconds: TIME.seconds + 86_400, nanos: 0 },
        packs: vec![],
        snapshots: vec![],
        dropped: vec![SnapshotId([0xdd; 16])],
        tombstones: vec![PackRange { first: PLACE + 2, count: 1 }],
        settings: Some(Settings { pack_bytes: 128 << 20, ..config.settings.clone() }),
        orphans: vec![PackId([0x0f; 16])],
        undropped: vec![SnapshotId([0xee; 16])],
        moved: vec![Move { from: PLACE + 2, to: vec![PackRange { first: PLACE, count: 1 }] }],
        lost: vec![Lost { pack: PLACE, slots: vec![PackRange { first: 7, count: 2 }] }],
        found: vec![Lost { pack: PLACE + 3, slots: vec![PackRange { first: 0, count: 1 }] }],
        slots: Some(vec![slot.slot]),
        seen: Some(seen_with(&maker.secrets, &NOTHING_SEEN, 1, &log_1_object)),
        ..LogEntry::new(TIME)
    };
    let log_2_header = header(2, noise("icecore v1 vectors: salt 2", 32).try_into().expect("32"));
    let log_2_object = maker.secrets.seal_log(&log_2_header, &log_2, &owner).expect("it is signed");
    maker.put("log_2", &log_2_object);
    maker.put("checkpoint", &checkpoint(&maker.secrets, &[&log_1_object, &log_2_object]));

    let keys = by_spec::Keys::new(seed, &repository.0);
    let [kek, slot_key, _] = by_spec::slot_keys(&slot.encode(), PASSWORD.as_bytes());
    let mut json = json!({
        "about": "Golden bytes of icecore format version 1; see format-spec.md. Bytes are in hex.",
        "names": names,
        "keys": {
            "identity_seed": hex(seed),
            "identity_text": identity.to_text().as_str(),
            "repository": hex(repository.0),
            "public_key": hex(public_key),
            "password": PASSWORD,
        },
        "slot_keys": { "kek": hex(kek), "key": hex(slot_key) },
        "identity_texts_accepted": accepted_texts(&identity),
        "identity_texts_refused": refused_texts(&identity),
        "chunk_ids": chunk_ids(&maker.secrets),
        "paths_key": { "paths": [hex(&paths[0])], "key": hex(maker.secrets.paths_key(&paths).0) },
        "padded_bytes": padded_samples(),
        "gear": {
            "first_words": keys.gear[..8].iter().map(|w| format!("{w:016x}")).collect::<Vec<_>>(),
            "blake3_of_little_endian_words": gear_digest(&keys),
        },
        "cuts": cuts(&maker.secrets),
        "pack_keys": pack_keys(&keys),
        "files": files(&text, &raw),
    });
    for (name, key) in derived_keys(&keys) {
        json["keys"][name] = hex(key).into();
    }
    let vectors = Vectors::new(json.clone());
    // The objects of the history follow those that were just made.
    history::write(&vectors, maker.folder);
    for name in super::OBJECTS {
        let decoded = vectors.decode(name, &read(name)).expect("what was just made");
        json["objects"][name] = decoded;
    }
    let (accepted, damaged) = damage::write(&maker, &keys, &photos);
    json["accepted"] = accepted;
    json["damaged"] = damaged;
    let text = serde_json::to_string_pretty(&json).expect("it has a text form");
    maker.put("vectors.json", (text + "\n").as_bytes());
    history::write(&Vectors::new(json), folder);
}

fn job() -> JobRecord {
    JobRecord {
        snapshot: SnapshotId([0x5a; 16]),
        created: TIME,
        host: "studio".into(),
        path: b"photos".to_vec().into(),
        include: vec!["*.raw".into()],
        exclude: Vec::new(),
        target: b"/home/me/back".to_vec().into(),
        overwrite: OverwriteRule::IfChanged,
        delete: false,
        verify: true,
        tier: Tier::Standard,
        days: 3,
        seeds: vec![b"/mnt/nas".to_vec().into()],
        agreed_micro_usd: Some(1_250_000),
        special: None,
    }
}

fn entry(name: &str) -> Entry {
    Entry {
        name: name.as_bytes().to_vec().into(),
        kind: EntryKind::File,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        mtime: TIME,
        size: None,
        chunks: None,
        holes: None,
        target: None,
        xattrs: None,
        link: None,
        device: None,
        mark: None,
    }
}

/// Returns a folder with one entry of each kind, sorted by name.
fn photos(data: &[ChunkId], text_bytes: u64, raw_bytes: u64) -> Vec<Entry> {
    let chunks = |ids: &[ChunkId]| Some(tree::join_ids(ids));
    vec![
        Entry {
            size: Some(raw_bytes + 8192),
            chunks: chunks(&data[1..]),
            holes: Some(vec![
                Hole { offset: 1000, bytes: 4096 },
                Hole { offset: 5196, bytes: 4096 },
            ]),
            ..entry("IMG_0001.raw")
        },
        Entry {
            size: Some(text_bytes),
            chunks: chunks(&data[..1]),
            xattrs: Some(vec![Xattr {
                name: b"user.a".to_vec().into(),
                value: vec![0, 255].into(),
            }]),
            link: Some((2049, 77)),
            mtime: Time { seconds: -1, nanos: 999_999_999 },
            ..entry("IMG_0001.xmp")
        },
        Entry {
            size: Some(3000),
            chunks: chunks(&[data[1], data[1]]),
            mark: Some(tree::MARK_TORN),
            ..entry("both.bin")
        },
        Entry { kind: EntryKind::CharDevice, device: Some(0x103), ..entry("device") },
        Entry { size: Some(0), chunks: chunks(&[]), ..entry("empty") },
        Entry { kind: EntryKind::Folder, mode: 0o1777, chunks: chunks(&[]), ..entry("folder") },
        Entry {
            kind: EntryKind::Symlink,
            target: Some(b"IMG_0001.raw".to_vec().into()),
            ..entry("latest")
        },
        Entry { kind: EntryKind::Fifo, ..entry("pipe") },
        Entry { kind: EntryKind::Socket, ..entry("\u{e9}") },
    ]
}

fn files(text: &[u8], raw: &[u8]) -> Value {
    let zeros = [0; 4096];
    let sparse = [&raw[..1000], &zeros, &raw[1000..1100], &zeros, &raw[1100..]].concat();
    let file = |path: &str, content: &[u8]| json!({ "path": path, "bytes": content.len(), "blake3": blake3::hash(content).to_string() });
    json!([
        file("photos/IMG_0001.raw", &sparse),
        file("photos/IMG_0001.xmp", text),
        file("photos/both.bin", &[raw, raw].concat()),
        file("photos/empty", &[]),
    ])
}

/// Returns ways in which a person may type the identity of the page.
fn accepted_texts(identity: &Identity) -> Value {
    let text = identity.to_text();
    let (front, data) = text.split_at(text.len() - 58);
    let groups: Vec<&str> = (0..58).step_by(5).map(|at| &data[at..58.min(at + 5)]).collect();
    let typed = format!("{front} {}", groups.join(" ").to_lowercase().replace('0', "O"));
    json!([format!("i{}", &text[1..]), format!("  {front}{}\n", groups.join("-")), typed])
}

fn refused_texts(identity: &Identity) -> Value {
    let text = identity.to_text();
    let swapped = text.replace("ICECORE-IDENTITY-1", "ICECORE-IDENTITY-1Q");
    let typo = format!("{}{}", &text[..30], text[31..].replacen('Q', "P", 1));
    json!([swapped, typo, &text[..text.len() - 1], "", "# only a comment"])
}

fn chunk_ids(secrets: &Secrets) -> Value {
    let mut samples = Vec::new();
    for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
        for plaintext in [&b""[..], b"abc"] {
            let id = hex(secrets.chunk_id(kind, plaintext).0);
            samples.push(json!({ "kind": kind as u8, "plaintext": hex(plaintext), "id": id }));
        }
    }
    samples.into()
}

fn padded_samples() -> Value {
    let samples: [u64; 15] = [
        0,
        1,
        16_384,
        16_385,
        65_536,
        131_071,
        131_072,
        131_073,
        1_000_000,
        1 << 20,
        4 << 20,
        (4 << 20) + 1,
        64 << 20,
        (64 << 20) + 1,
        67_000_000,
    ];
    samples.iter().map(|bytes| json!([bytes, padded_bytes(*bytes)])).collect()
}

/// Name, sizes, masks, `small_file_bytes`, prefix in hex, bytes of noise, zeros.
type CutCase<'a> = (&'a str, Chunking, [u64; 2], u64, &'a str, u64, u64);

fn cuts(secrets: &Secrets) -> Value {
    let sizes = |bytes_min, bytes_avg, bytes_max| Chunking {
        bytes_min,
        bytes_avg,
        bytes_max,
        block_bytes: 4096,
    };
    let small = sizes(256, 1024, 4096);
    let jpeg = "ffd8ffe10008010203040506fffe0004aabbffdb0043";
    let sqlite = hex(b"SQLite format 3\0");
    let cases: [CutCase; 8] = [
        ("default", Chunking::default(), DEFAULT_MASKS, 524_288, "", 9_000_001, 0),
        ("small", small, SMALL_MASKS, 0, "", 60_001, 0),
        ("odd_average", sizes(300, 1500, 6000), ODD_MASKS, 0, "", 60_000, 0),
        ("zeros", small, SMALL_MASKS, 0, "", 0, 10_001),
        ("short_tail", small, SMALL_MASKS, 0, "", 257, 0),
        ("jpeg", small, SMALL_MASKS, 0, jpeg, 20_000, 0),
        ("sqlite", small, SMALL_MASKS, 0, &sqlite, 10_000, 0),
        ("whole", small, SMALL_MASKS, 3000, "", 2_999, 0),
    ];
    let describe = |(name, chunking, masks, small_file_bytes, prefix, noise_bytes, zero_bytes)| {
        let masks: [u64; 2] = masks;
        let mut case = json!({
            "name": name,
            "chunking": super::describe::chunking(chunking),
            "masks": masks.map(|mask| format!("{mask:016x}")),
            "small_file_bytes": small_file_bytes,
            "prefix": prefix,
            "noise_bytes": noise_bytes,
            "zero_bytes": zero_bytes,
        });
        let file = cut_file(&case);
        let cutter = Cutter::new(secrets, chunking, small_file_bytes);
        let window = |at: usize| &file[at..file.len().min(at + cutter.window_bytes())];
        let cutting = cutter.cutting(window(0), file.len() as u64);
        let (mut at, mut lengths) = (0, Vec::new());
        while at < file.len() {
            lengths.push(cutter.next(cutting, at as u64, window(at)));
            at += lengths[lengths.len() - 1];
        }
        case["lengths"] = json!(lengths);
        case
    };
    cases.into_iter().map(describe).collect()
}

const DEFAULT_MASKS: [u64; 2] = [0x0000_d937_6753_7000, 0x0000_d907_0753_7000];
/// Masks for an average of 1024 bytes: those of 4 KiB and of 256 bytes.
const SMALL_MASKS: [u64; 2] = [0x0000_d901_0353_0000, 0x0000_0018_0003_5300];
/// Masks for 1500 bytes, which counts as 2^11: those of 8 KiB and of 512 bytes.
const ODD_MASKS: [u64; 2] = [0x0000_d903_0353_0000, 0x0000_0190_0035_3000];
