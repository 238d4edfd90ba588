//! Bugs of restic.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore_engine::codec::{Compressor, Identity, decompress, random};
use icecore_engine::error::Error;
use icecore_engine::format::{Chunking, Codec, EntryKind, RepositoryId};
use icecore_engine::ops::browse::{self, Snapshot, Visit, ids};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{plan, prune, reclaim::Terms};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Repository, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreOptions};
use icecore_testkit::{Fault, S3Server, photos, tree};

use super::liar::{Liar, Lie};
use crate::prune::after;
use crate::setup::{Bench, Dice, Restore, small_packs};

/// restic PR #1589: the upload of the index was cancelled, and the run reported success.
#[test]
fn restic_1589_an_entry_that_did_not_arrive_is_no_success() {
    let refusals = [
        Fault::Status(403, "AccessDenied"),
        Fault::Status(500, "InternalError"),
        Fault::DropConnectionBefore,
    ];
    for fault in refusals {
        let server = S3Server::start();
        let bench = Bench::s3(&server, small_packs());
        bench.write_photos("shoot", 2, 60_000);
        let answer = fault.clone();
        server.set_fault(Some(Box::new(move |head| {
            let is_entry = head.method == "PUT" && head.path.contains("/log/");
            if is_entry { answer.clone() } else { Fault::None }
        })));
        let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent);
        assert!(matches!(taken, Err(Error::Store(_))), "{fault:?}: {taken:?}");
        server.set_fault(None);
        assert!(bench.under("log/").is_empty());
        assert!(bench.open().catalog.snapshots().expect("snapshots").is_empty());
        bench.snapshot();
        tree::assert_same(&bench.library, bench.restored("latest", "out"));
    }
}

/// An archive in a store that lies.
struct Lied {
    liar: Liar,
    store: Store,
    identity: Identity,
    bench: Bench,
}

impl Lied {
    fn new() -> Lied {
        let liar = Liar::new();
        let location = Location::parse("s3://peers").expect("a URL");
        let options = StoreOptions { retry_for: Duration::ZERO, ..StoreOptions::default() };
        let store = Store::over(Arc::new(liar.clone()), &location, &options).expect("a store");
        let identity = Identity::generate();
        let config = identity.config(RepositoryId(random()), Chunking::default(), small_packs());
        Repository::create(&store, &identity, &config).expect("a repository");
        // The bench is used only for its library and folders.
        let bench = Bench::local(small_packs());
        Lied { liar, store, identity, bench }
    }

    fn open(&self, cache: &Path) -> Result<Repository, Error> {
        let config = StoredConfig::read(&self.store)?;
        Repository::open(self.store.clone(), config, Keys::Reader(self.identity.clone()), cache)
    }

    fn snapshot(&self) {
        let repository = self.open(&self.bench.cache).expect("it opens");
        snapshot(&repository, &self.bench.snapshot_options(), &Silent).expect("a snapshot");
    }

    fn names(&self) -> BTreeSet<String> {
        let listed = self.store.list("", None).expect("a listing");
        listed.into_iter().map(|object| object.name).collect()
    }

    /// Prunes so late that everything unneeded may be deleted.
    fn prune(&self, cache: &Path) -> Result<(), Error> {
        let repository = self.open(cache)?;
        let now = after(20 * 365);
        let terms = Terms { end_window: true, ..Default::default() };
        let prices = Prices::built_in(None);
        let planned = plan(&repository, &BTreeSet::new(), terms.at(&prices, now), &Silent)?;
        prune(&repository, &planned, now, &Silent).map(drop)
    }
}

/// restic #4612: a failed listing was mistaken for an empty one, so that for the following prune, no snapshot needed
/// anything.
#[test]
fn restic_4612_a_listing_that_lies_deletes_nothing() {
    let lied = Lied::new();
    lied.bench.write_photos("shoot", 3, 60_000);
    lied.snapshot();
    lied.bench.write_photos("later", 3, 70_000);
    lied.snapshot();
    let before = lied.names();
    assert!(before.len() >= 7, "{before:?}");
    let mut ends = Vec::new();
    for prefix in ["log", "packs", ""] {
        for lie in [Lie::Empty, Lie::Short, Lie::BreaksOff] {
            // One host has seen the archive before; the other relies only on the store.
            for (host, cache) in [("known", "known"), ("fresh", &format!("{prefix}-{lie:?}"))] {
                let cache = lied.bench.path(cache);
                if host == "known" {
                    lied.open(&cache).expect("it opens");
                }
                lied.liar.tell(lie, prefix);
                let ended = lied.prune(&cache);
                lied.liar.tell(Lie::Nothing, "");
                let what = format!("{lie:?} of {prefix:?}, {host} host: {ended:?}");
                let kept = lied.names();
                assert!(before.is_subset(&kept), "{what}: {:?}", before.difference(&kept));
                if lie == Lie::BreaksOff {
                    assert!(ended.is_err(), "{what}");
                }
                if (prefix, host) == ("log", "known") {
                    assert!(ended.is_err_and(|error| {
                        lie == Lie::BreaksOff || matches!(error, Error::RolledBack { .. })
                    }));
                }
                ends.push(what);
            }
        }
    }
    let repository = lied.open(&lied.bench.path("judge")).expect("it opens");
    let options = CheckOptions { read_data: true, subset: None };
    let report = check(&repository, options, &Silent).expect("a check");
    assert_eq!((report.errors, report.snapshots), (vec![], 2));
    let (library, target) = (&lied.bench.library, lied.bench.path("out"));
    let restored = Restore::default().run(&repository, "latest", library, &target, &Silent);
    restored.expect("a restore");
    tree::assert_same(library, target);
    eprintln!("{}", ends.join("\n"));
}

/// A late listing loses nothing either: a new entry of another host may not be listed yet, but the put to its slot
/// fails.
#[test]
fn a_listing_that_lags_behind_loses_no_race() {
    let lied = Lied::new();
    for (shoot, photos) in [("shoot", 3), ("later", 2)] {
        lied.bench.write_photos(shoot, photos, 60_000);
        let late = lied.open(&lied.bench.path("late")).expect("it opens");
        lied.snapshot();
        lied.liar.tell(Lie::Short, "log");
        snapshot(&late, &lied.bench.snapshot_options(), &Silent).expect("a snapshot");
        lied.liar.tell(Lie::Nothing, "");
    }
    let anew = lied.open(&lied.bench.path("anew")).expect("it opens");
    assert_eq!(anew.catalog.snapshots().expect("snapshots").len(), 4);
    let report = check(&anew, CheckOptions::default(), &Silent).expect("a check");
    assert_eq!(report.errors, []);
}

/// restic #3999: a thread wrote chunk ids to a list that another thread had just replaced by a longer one, so that
/// files were stored with ids of zeros.
#[test]
fn restic_3999_files_of_many_chunks_on_all_cores() {
    let mut dice = Dice(3999);
    for round in 0..4 {
        let bench = Bench::local(small_packs());
        for number in 0..40 {
            let bytes = 1 + dice.roll(40_000) as usize;
            bench.write(&format!("small/{number}"), photos::bytes(dice.0, bytes));
        }
        // With chunks of 16 KiB, each file has more than a hundred.
        for number in 0..4 {
            let mut content = b"SQLite format 3\0".to_vec();
            content.extend(photos::bytes(dice.0, 1_600_000 + dice.roll(500_000) as usize));
            bench.write(&format!("catalog-{number}.lrcat"), content);
        }
        bench.snapshot();
        let repository = bench.open();
        let trees = TreeReader::new(&repository).expect("trees");
        let row = browse::resolve(&repository, "latest").expect("a snapshot");
        let taken = Snapshot::open(&trees, row).expect("a snapshot");
        let mut most = 0;
        let walked =
            taken.walk(&taken.root().expect("a root"), Path::new(""), &mut |path, entry| {
                let chunks = ids(entry)?;
                let mut bytes = 0;
                for id in &chunks {
                    assert_ne!(id.0, [0; 32], "{path:?}");
                    let place = repository.catalog.chunk(id)?.expect("a chunk that is stored");
                    bytes += u64::from(place.frame.raw_bytes);
                }
                if entry.kind == EntryKind::File {
                    assert_eq!(bytes, entry.data_bytes(), "{path:?}");
                    most = most.max(chunks.len());
                }
                Ok(Visit::Into)
            });
        walked.expect("sound trees");
        assert!(most > 97, "{most} chunks at most, round {round}");
        tree::assert_same(&bench.library, bench.restored("latest", "out"));
    }
}

/// restic #4523: at its highest level, the zstd encoder sometimes wrote frames that do not decompress to the input.
#[test]
fn restic_4523_the_largest_chunks_come_back_from_the_encoder() {
    let mut dice = Dice(4523);
    // Use one encoder for all chunks, like each worker does.
    let mut compressor = Compressor::default();
    let mut compressed = 0;
    for round in 0..24 {
        let bytes = [4 << 20, 16 << 20, (4 << 20) - 1, 1 << 20][round % 4];
        let raw = compressible(&mut dice, bytes);
        let (codec, content) = compressor.compress(&raw);
        let content = content.to_vec();
        compressed += u32::from(codec == Codec::Zstd);
        let again = decompress(codec, &content, bytes as u32).expect("it decompresses");
        assert!(again == raw, "round {round}: {bytes} bytes are not what they were");
    }
    assert!(compressed >= 20, "{compressed} chunks were compressed");

    // Also test with an archive: files without cut points have the largest possible chunks.
    let bench = Bench::local(small_packs());
    for number in 0..3 {
        let line = photos::bytes(number, 100);
        bench.write(&format!("{number}.tif"), line.repeat(100_000));
    }
    bench.snapshot();
    let repository = bench.open();
    let mut largest = 0;
    let each = repository.catalog.each_chunk(|places| {
        largest = largest.max(places[0].frame.raw_bytes);
        Ok(())
    });
    each.expect("chunks");
    assert_eq!(largest, Chunking::default().bytes_max);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// Returns bytes of many kinds in sequence: noise, runs, near and far repeats, text.
fn compressible(dice: &mut Dice, bytes: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes + (64 << 10));
    while out.len() < bytes {
        let length = 1 + dice.roll(60_000) as usize;
        match dice.roll(5) {
            0 => out.extend(photos::bytes(dice.0, length)),
            1 => out.extend(std::iter::repeat_n(dice.roll(256) as u8, length)),
            2 if !out.is_empty() => {
                let from = dice.roll(out.len() as u64) as usize;
                let end = out.len().min(from + length);
                out.extend_from_within(from..end);
            }
            3 => out.extend((0..length).map(|at| (at / 3) as u8 ^ (at % 7) as u8)),
            _ => out.extend(photos::sidecar(dice.0).into_bytes()),
        }
        dice.roll(2);
    }
    out.truncate(bytes);
    out
}
