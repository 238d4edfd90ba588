//! Treats a repository in a folder like a hostile provider: removes, puts back and exchanges
//! objects. Returns what a host then reports and still restores.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use icecore_engine::codec::random;
use icecore_engine::error::Error;
use icecore_engine::format::{JobRecord, KdfCost, LogEntry, OverwriteRule, SnapshotId, Tier, Time};
use icecore_engine::ops::check::{CheckOptions, CheckReport, check};
use icecore_engine::progress::Silent;
use icecore_engine::repo::keys::PasswordTry;
use icecore_engine::repo::{Keys, Repository};
use icecore_engine::store::layout;
use icecore_testkit::{photos, tree};

use crate::setup::{Bench, Log, Restore};

pub const PASSWORD: &[u8] = b"correct horse";

/// Returns an attempt with the password, as of a host that knows no slot.
pub fn the_password() -> PasswordTry<'static> {
    PasswordTry { password: PASSWORD, memory_max: 1 << 30, known: &[] }
}
pub const TIME: Time = Time { seconds: 1_700_000_000, nanos: 0 };

/// All objects of a repository.
pub type State = BTreeMap<String, Vec<u8>>;

pub fn state(bench: &Bench) -> State {
    let read = |name: String| {
        let content = fs::read(bench.folder().join(&name)).expect("an object");
        (name, content)
    };
    bench.objects().into_keys().map(read).collect()
}

/// Sets the objects of the repository to this state.
pub fn put_state(bench: &Bench, wanted: &State) {
    for name in bench.objects().into_keys().filter(|name| !wanted.contains_key(name)) {
        fs::remove_file(bench.folder().join(name)).expect("an object goes");
    }
    for (name, content) in wanted {
        put(bench, name, content);
    }
}

pub fn put(bench: &Bench, name: &str, content: &[u8]) {
    let path = bench.folder().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
    fs::write(path, content).expect("an object");
}

pub fn remove(bench: &Bench, name: &str) {
    fs::remove_file(bench.folder().join(name)).expect("an object goes");
}

/// Opens the repository with the identity, as a host with this cache.
pub fn open_as(bench: &Bench, cache: &Path) -> Result<Repository, Error> {
    bench.try_open(Keys::Reader(bench.identity.clone()), cache)
}

/// Checks every byte of the archive as a host with this cache.
pub fn checked(bench: &Bench, cache: &Path) -> Result<CheckReport, Error> {
    let options = CheckOptions { read_data: true, subset: None };
    check(&open_as(bench, cache)?, options, &Silent)
}

/// Returns the objects that a check reports as damaged, or the error that ends it.
pub fn named(checked: &Result<CheckReport, Error>) -> BTreeSet<String> {
    match checked {
        Ok(report) => report.errors.iter().map(|damage| damage.object.to_string()).collect(),
        Err(error) => {
            assert!(error.is_of_object(), "{error}");
            BTreeSet::from([match error {
                Error::Damaged { object, .. } | Error::TooNew { object, .. } => object.to_string(),
                Error::Store(error) => error.name.clone(),
                Error::Forked { number } => layout::log(*number),
                Error::RolledBack { seen, .. } => layout::log(*seen),
                other => panic!("{other}"),
            }])
        }
    }
}

/// Restores the library of a snapshot, and returns the files that were not restored. Asserts that
/// each of them was reported, and that the others are correct.
pub fn lost(bench: &Bench, snapshot: &str, library: &tree_state::State) -> BTreeSet<PathBuf> {
    let target = bench.path("lost-and-found");
    if target.exists() {
        fs::remove_dir_all(&target).expect("the last target goes");
    }
    let log = Log::default();
    let restored = open_as(bench, &bench.cache).and_then(|repository| {
        Restore::default().run(&repository, snapshot, &bench.library, &target, &log)
    });
    let mut lost = BTreeSet::new();
    for (path, node) in tree_state::files(library) {
        match fs::symlink_metadata(target.join(&path)) {
            Ok(_) => assert_eq!(tree::node_of(target.join(&path)), *node, "{path:?} is another"),
            Err(_) => _ = lost.insert(path),
        }
    }
    let named: Vec<PathBuf> = log.problems().into_iter().map(|problem| problem.path).collect();
    match restored {
        Ok(summary) => {
            assert_eq!(summary.files_damaged > 0 || !named.is_empty(), !lost.is_empty());
            for path in &lost {
                // The report may name the file itself, or a parent folder that cannot be listed.
                let is_named = named.iter().any(|named| target.join(path).starts_with(named));
                assert!(is_named, "{path:?} is lost and not named: {named:?}");
            }
        }
        Err(error) => assert!(error.is_of_object() && !lost.is_empty(), "{error}"),
    }
    lost
}

/// The content of a library, by path.
pub mod tree_state {
    use std::collections::BTreeMap;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    use icecore_testkit::tree::{Kind, Node};

    pub type State = BTreeMap<Vec<u8>, Node>;

    pub fn files(state: &State) -> impl Iterator<Item = (PathBuf, &Node)> {
        let files = state.iter().filter(|(_, node)| node.kind == Kind::File);
        files.map(|(path, node)| (PathBuf::from(std::ffi::OsStr::from_bytes(path)), node))
    }
}

/// Puts a key slot with a cheap password hash, and returns its name.
pub fn put_slot(bench: &Bench, label: &str) -> String {
    let cost = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };
    let slot = bench.identity.seal_slot(bench.id, PASSWORD, label.to_owned(), 0, cost);
    let slot = slot.expect("a slot");
    let name = layout::key_slot(&slot.slot);
    let put = bench.store().create(&name, "", slot.encode().into());
    assert!(put.expect("a put"), "its name was free");
    name
}

pub fn job_record() -> JobRecord {
    JobRecord {
        snapshot: SnapshotId(random()),
        created: TIME,
        host: "host".to_owned(),
        path: b"photos".to_vec().into(),
        include: Vec::new(),
        exclude: Vec::new(),
        target: b"/restored".to_vec().into(),
        overwrite: OverwriteRule::Refuse,
        delete: false,
        verify: true,
        tier: Tier::Bulk,
        days: 3,
        seeds: Vec::new(),
        agreed_micro_usd: Some(1),
        special: None,
    }
}

/// Appends entries that change nothing, until the log has this many.
pub fn grow_log(bench: &Bench, entries: u64) {
    let repository = bench.open_writer();
    while repository.catalog.position().expect("a position").number < entries {
        repository.commit(|| Ok(Some(LogEntry::new(TIME)))).expect("a commit");
    }
}

/// Adds a folder with photos and sidecars to the library and takes a snapshot, which adds a log
/// entry and at least one pack of each kind.
pub fn round(bench: &Bench, number: u64) {
    for file in 0..4 {
        let seed = number * 10 + file;
        let bytes = 30_000 + 5_000 * file as usize;
        bench.write(&format!("shoot-{number}/IMG_{file}.JPG"), photos::bytes(seed, bytes));
        bench.write(&format!("shoot-{number}/edits/IMG_{file}.xmp"), photos::sidecar(seed));
    }
    bench.snapshot();
}
