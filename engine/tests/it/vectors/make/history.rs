//! Fields that later versions added to snapshots: histories, sources, marks, replacements, tags. `log_3` and `log_4`
//! follow `log_2`, but belong to no repository.

use std::path::Path;

use icecore_engine::codec::NOTHING_SEEN;
use icecore_engine::format::{
    Digest, LogEntry, LogHeader, LogKey, MirrorMark, PackRange, Replaced, SHRUNK, SnapshotEntry,
    SnapshotId, SnapshotRecord, SourceCount, SourcePlace, Tagged, Time,
};

use super::super::{Vectors, noise, read};
use super::TIME;

/// Writes `log_3`, `log_4`, `snapshot_record_named` and the objects of mirrors, and adds them to `vectors.json`.
pub fn write(vectors: &Vectors, folder: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("the folder can be written");
    };
    let secrets = &vectors.secrets;
    let paths = [b"/home/anna/Pictures".to_vec(), b"/media/card".to_vec()];
    let key = |paths: &[Vec<u8>]| secrets.paths_key(paths);
    let mut sources = vec![
        SourceCount { key: key(&paths[..1]), files: 2, empty: 1 },
        SourceCount { key: key(&paths[1..]), files: 1, empty: 0 },
    ];
    sources.sort_unstable_by_key(|source| source.key);
    let old = SnapshotRecord::decode(&read("snapshot_record")).expect("it decodes");
    let place = |path: &[u8], place: &[u8]| SourcePlace {
        path: path.to_vec().into(),
        place: place.to_vec().into(),
    };
    let record = SnapshotRecord {
        id: SnapshotId([0x5b; 16]),
        paths: paths.iter().map(|path| path.clone().into()).collect(),
        places: Some(vec![place(&paths[0], b"Pictures"), place(&paths[1], b"media/card")]),
        history: Some("Größe".into()),
        base: Some(b"/home/anna".to_vec().into()),
        ..old
    };
    put("snapshot_record_named", &record.encode());
    let chunk = secrets.chunk_id(icecore_engine::format::PackKind::Meta, &record.encode());
    let entry = SnapshotEntry {
        id: record.id,
        time: TIME,
        host: record.host.clone(),
        tags: record.tags.clone(),
        record: chunk,
        files: 3,
        bytes: 13_352,
        packs: vec![PackRange { first: super::PLACE, count: 2 }],
        paths_key: key(&paths),
        history: record.history.clone(),
        marked: Some(SHRUNK),
        sources: Some(sources),
    };
    let log_3 = LogEntry {
        previous: Digest(*blake3::hash(&read("log_2")).as_bytes()),
        snapshots: vec![entry],
        accepted: Some(vec![SnapshotId([0x5a; 16])]),
        seen: Some([1, 2].iter().fold(NOTHING_SEEN, |before, number| {
            super::seen_with(secrets, &before, *number, &read(&format!("log_{number}")))
        })),
        ..LogEntry::new(Time { seconds: TIME.seconds + 172_800, nanos: 0 })
    };
    let salt = noise("icecore v1 vectors: salt 3", 32).try_into().expect("32");
    let header =
        LogHeader { repository: secrets.repository(), number: 3, salt, version: 1, flags: 0 };
    let owner = vectors.identity.owner(secrets.repository());
    put("log_3", &secrets.seal_log(&header, &log_3, &owner).expect("it is signed"));
    write_amends(vectors, &log_3, put);
    let credential = secrets.credential();
    put("log_key", &LogKey::of(credential).encode());
    put("mirror_mark", &MirrorMark { repository: credential.repository }.encode());
    let mut json = vectors.json.clone();
    for name in ["log_3", "log_4", "log_key", "mirror_mark", "snapshot_record_named"] {
        json["objects"][name] = vectors.decode(name, &read(name)).expect("what was just made");
    }
    let text = serde_json::to_string_pretty(&json).expect("it has a text form");
    put("vectors.json", (text + "\n").as_bytes());
}

/// Writes `log_4`: a snapshot replaces that of `log_3`, and the first one has another tag.
fn write_amends(vectors: &Vectors, log_3: &LogEntry, put: impl Fn(&str, &[u8])) {
    let old = &log_3.snapshots[0];
    let new = SnapshotEntry { id: SnapshotId([0x5c; 16]), files: 2, bytes: 13_000, ..old.clone() };
    let log_4 = LogEntry {
        previous: Digest(*blake3::hash(&read("log_3")).as_bytes()),
        replaced: Some(vec![Replaced { new: new.id, old: old.id }]),
        snapshots: vec![new],
        tagged: Some(vec![Tagged {
            snapshot: SnapshotId([0x5a; 16]),
            tags: vec!["best".into(), "Größe".into()],
        }]),
        ..LogEntry::new(Time { seconds: TIME.seconds + 259_200, nanos: 0 })
    };
    let salt = noise("icecore v1 vectors: salt 4", 32).try_into().expect("32");
    let (repository, flags) = (vectors.secrets.repository(), log_4.flags());
    let header = LogHeader { repository, number: 4, salt, version: 1, flags };
    let owner = vectors.identity.owner(repository);
    put("log_4", &vectors.secrets.seal_log(&header, &log_4, &owner).expect("it is signed"));
}
