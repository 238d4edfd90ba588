//! Bugs of Borg and Duplicacy.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use icecore_engine::codec::random;
use icecore_engine::error::Error;
use icecore_engine::format::{
    ChunkId, Codec, Entry, EntryKind, LogEntry, PackKind, PackRange, PathsKey, SnapshotEntry,
    SnapshotId, SnapshotRecord, tree,
};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Catalog, PackBuilder, PackState, Repository};
use icecore_testkit::{Fault, S3Server, photos, tree as oracle};

use crate::objects::{TIME, checked, lost, open_as};
use crate::setup::{Bench, Log, Restore, small_packs};

/// Borg #1138: an I/O error of the archive's disk was mistaken for one of a source file, which was left out with a
/// warning. A test of the program covers its part.
#[test]
fn borg_1138_an_error_of_the_target_is_none_of_a_source() {
    let server = S3Server::start();
    let remote = Bench::s3(&server, small_packs());
    server.set_fault(Some(Box::new(|head| {
        let is_pack = head.method == "PUT" && head.path.contains("/packs/");
        if is_pack { Fault::Status(500, "InternalError") } else { Fault::None }
    })));
    let local = Bench::local(small_packs());
    // Put a file in place of the folder of packs.
    fs::write(local.folder().join("packs"), "").expect("a file");
    for bench in [&remote, &local] {
        bench.write_photos("shoot", 6, 900_000);
        let log = Log::default();
        let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &log);
        let error = taken.expect_err("the archive cannot be written");
        assert!(matches!(error, Error::Store(_)), "{error}");
        assert_eq!(log.problems(), [], "no source file is at fault");
        assert!(bench.open().catalog.snapshots().expect("snapshots").is_empty());
    }
    server.set_fault(None);
    fs::remove_file(local.folder().join("packs")).expect("removed");
    for bench in [&remote, &local] {
        bench.snapshot();
        oracle::assert_same(&bench.library, bench.restored("latest", "out"));
    }
}

fn spoil_catalog(bench: &Bench, sql: &str) {
    let path = bench.cache.join(bench.id.to_string()).join("catalog.sqlite");
    let connection = rusqlite::Connection::open(path).expect("a catalog");
    connection.execute_batch(sql).expect("it is spoilt");
}

/// Borg #4829: a bug in the hash table changed values of the index. The catalog is an index as well: whatever it
/// contains about the places of chunks, nothing wrong is restored, and without it everything is restored.
#[test]
fn borg_4829_an_index_that_is_wrong_restores_nothing_wrong() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 12, 300_000);
    for number in 0..12 {
        bench.write(&format!("shoot/{number}.xmp"), photos::sidecar(number));
    }
    bench.snapshot();
    let library = oracle::snapshot_of(&bench.library);
    let spoilt = [
        "UPDATE write_buffer SET offset = offset + 64 WHERE slot % 2 = 0",
        "UPDATE write_buffer SET slot = slot + 1",
        "UPDATE write_buffer SET pack = 1 + pack % (SELECT COUNT(*) FROM packs)",
        "UPDATE write_buffer SET raw = raw - 1 WHERE slot % 3 = 1",
        "UPDATE write_buffer SET codec = 1 - codec",
        "DELETE FROM write_buffer WHERE slot % 2 = 1",
        "UPDATE packs SET id = zeroblob(16) WHERE kind = 3 AND key = (SELECT MAX(key) FROM packs
         WHERE kind = 3)",
    ];
    for sql in spoilt {
        spoil_catalog(&bench, sql);
        // The restore fails and names the files; all restored files are correct.
        assert!(!lost(&bench, "latest", &library).is_empty(), "{sql}");
        Catalog::delete(&bench.cache, bench.id, &Silent).expect("deleted");
        assert!(lost(&bench, "latest", &library).is_empty(), "{sql}");
    }
    assert_eq!(bench.check().errors, []);
}

/// The worst error of an index: a photo counts as stored although it is not. A check by another host, or a check of the
/// data by this one, finds it.
#[test]
fn borg_4829_an_index_that_has_what_is_not_stored() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 2, 300_000);
    bench.snapshot();
    let content = photos::bytes(7, 100_000);
    let repository = bench.open();
    let id = repository.secrets.chunk_id(PackKind::Cold, &content);
    drop(repository);
    let hex: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    spoil_catalog(
        &bench,
        &format!(
            "INSERT INTO write_buffer SELECT x'{hex}', pack, slot + 1, offset + stored, 100000, 100016, 0
             FROM chunks WHERE pack IN (SELECT key FROM packs WHERE kind = 3)
             ORDER BY slot DESC LIMIT 1"
        ),
    );
    let path = bench.write("lost.JPG", &content);
    bench.snapshot();
    let path: PathBuf = crate::setup::in_snapshot(&path);
    for cache in [bench.path("another-host"), bench.cache.clone()] {
        let report = checked(&bench, &cache).expect("a check");
        let named: BTreeSet<_> = report.errors.iter().flat_map(|d| d.files.clone()).collect();
        assert_eq!(named, [path.clone()].into(), "{:?}", report.errors);
    }
}

/// Returns an entry of a hostile tree.
fn entry(name: &str, kind: EntryKind, size: Option<u64>, chunks: &[ChunkId]) -> Entry {
    Entry {
        name: name.as_bytes().to_vec().into(),
        kind,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: TIME,
        size,
        chunks: Some(tree::join_ids(chunks)),
        holes: None,
        target: None,
        xattrs: None,
        link: None,
        device: None,
        mark: None,
    }
}

/// Adds a snapshot to the log with a file in these nested folders, built from the innermost one.
fn forge(thief: &Repository, folders: &[&str], name: &str) -> SnapshotId {
    let mut data = PackBuilder::new(&thief.secrets, PackKind::Cold, 1 << 20).expect("a pack");
    let mut meta = PackBuilder::new(&thief.secrets, PackKind::Meta, 1 << 20).expect("a pack");
    let add = |pack: &mut PackBuilder, kind: PackKind, raw: &[u8]| {
        let id = thief.secrets.chunk_id(kind, raw);
        pack.add(id, raw.len() as u32, Codec::Stored, raw);
        id
    };
    let content = format!("evil of {folders:?} {name:?}");
    let file = add(&mut data, PackKind::Cold, content.as_bytes());
    let mut within = entry(name, EntryKind::File, Some(content.len() as u64), &[file]);
    for folder in folders.iter().rev() {
        let chunk = add(&mut meta, PackKind::Meta, &tree::encode(&[within]));
        within = entry(folder, EntryKind::Folder, None, &[chunk]);
    }
    let root = add(&mut meta, PackKind::Meta, &tree::encode(&[within]));
    let id = SnapshotId(random());
    let record = SnapshotRecord {
        id,
        time: TIME,
        paths: vec![b"/".to_vec().into()],
        root: tree::join_ids(&[root]),
        host: "thief".to_owned(),
        tags: Vec::new(),
        program: "none".to_owned(),
        failed: 0,
        places: None,
        history: None,
        base: None,
    };
    let record = add(&mut meta, PackKind::Meta, &record.encode());
    for pack in [data, meta] {
        thief.upload(&pack.finish(""), &Silent).expect("an upload");
    }
    let first = thief.catalog.next_ordinal().expect("an ordinal");
    let packs = thief.catalog.open_packs(PackState::Uploaded).expect("packs");
    let snapshot = SnapshotEntry {
        id,
        time: TIME,
        host: "thief".to_owned(),
        tags: Vec::new(),
        record,
        files: 1,
        bytes: 1,
        packs: vec![PackRange { first, count: 2 }],
        paths_key: PathsKey([0; 16]),
        history: None,
        marked: None,
        sources: None,
    };
    let mut entry = Some(LogEntry { packs, snapshots: vec![snapshot], ..LogEntry::new(TIME) });
    thief.commit(|| Ok(entry.take())).expect("an entry");
    id
}

/// Duplicacy #692: names in a snapshot were joined to the target without a check, including `..` and slashes. A thief
/// of the writer credential can make such a snapshot.
#[test]
fn duplicacy_692_a_name_that_leads_out() {
    let bench = Bench::local(small_packs());
    fs::create_dir(bench.path("a")).expect("a folder");
    let outside = oracle::snapshot_of(bench.path("a"));
    let thief = bench.open_writer();
    let absolute = bench.path("a/evil");
    let absolute = absolute.to_str().expect("a plain path");
    let cases: &[(&[&str], &str)] = &[
        (&[], "../evil"),
        (&[], "../a/evil"),
        (&[], ".."),
        (&[], "."),
        (&[], ""),
        (&[], absolute),
        (&["..", "a"], "evil"),
        (&["fine", "..", "..", "a"], "evil"),
        (&["fine/../../a"], "evil"),
        (&["."], "evil"),
        (&["fine"], "nul\0evil"),
        // Also try a valid one, to show that these are built correctly.
        (&["fine", "deep"], "good"),
    ];
    for (folders, name) in cases {
        let id = forge(&thief, folders, name);
        let is_good = *name == "good";
        let repository = open_as(&bench, &bench.cache).expect("it opens");
        let target = bench.path("target");
        let log = Log::default();
        let top = PathBuf::from("/");
        let restored = Restore::default().run(&repository, &id.to_string(), &top, &target, &log);
        let failed = restored.as_ref().map_or(true, |_| !log.problems().is_empty());
        assert_eq!(failed, !is_good, "{folders:?} {name:?}: {restored:?} {:?}", log.problems());
        oracle::assert_same_as(&outside, bench.path("a"));
        assert!(!bench.path("evil").exists(), "{folders:?} {name:?}");
        if target.exists() {
            let written = oracle::snapshot_of(&target);
            let files = written.values().filter(|node| node.kind == oracle::Kind::File).count();
            assert_eq!(files, usize::from(is_good), "{folders:?} {name:?}");
            fs::remove_dir_all(&target).expect("removed");
        }
        let report = checked(&bench, &bench.cache).expect("a check");
        let blamed = report.errors.iter().any(|damage| damage.snapshots.contains(&id));
        assert_eq!(blamed, !is_good, "{folders:?} {name:?}: {:?}", report.errors);
    }
    drop(thief);
    let snapshots = open_as(&bench, &bench.cache).expect("it opens").catalog.snapshots();
    assert_eq!(snapshots.expect("snapshots").len(), cases.len());
    // Honest writers can continue nevertheless.
    bench.write("mine.JPG", "mine");
    snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent).expect("a snapshot");
    oracle::assert_same(&bench.library, bench.restored("latest", "out"));
}
