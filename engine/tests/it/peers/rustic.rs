//! Bugs of rustic.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use icecore_engine::format::{ChunkId, Codec, Frame, PackKind, Settings, SnapshotId};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{PruneSummary, plan, prune, reclaim::Terms};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, PackState, Repository};
use icecore_engine::store::layout;
use icecore_testkit::{Fault, S3Server, photos, tree};

use crate::prune::{after, ids};
use crate::setup::{Bench, Meddler, Restore, small_packs};

fn pruned(bench: &Bench, drop: &[SnapshotId]) -> PruneSummary {
    let repository = bench.open();
    let drop: BTreeSet<SnapshotId> = drop.iter().copied().collect();
    let terms = Terms { provider: None, end_window: true, ..Terms::default() };
    let now = after(400);
    let planned = plan(&repository, &drop, terms.at(&Prices::built_in(None), now), &Silent);
    prune(&repository, &planned.expect("a plan"), now, &Silent).expect("a prune")
}

/// Returns the chunks of all packs of a kind, each with all of its frames.
fn tables(repository: &Repository, kind: PackKind) -> BTreeMap<ChunkId, Vec<Frame>> {
    let mut chunks: BTreeMap<ChunkId, Vec<Frame>> = BTreeMap::new();
    let packs = repository.catalog.packs(PackState::Committed).expect("packs");
    for row in packs.iter().filter(|row| row.kind == kind) {
        for place in repository.catalog.chunks_in(row.key).expect("a table") {
            chunks.entry(place.frame.id).or_default().push(place.frame);
        }
    }
    chunks
}

/// rustic #392: a blob that was in several packs was counted wrongly, and a prune deleted the pack
/// with the copy in use.
#[test]
fn rustic_392_a_chunk_that_comes_often_keeps_its_pack() {
    let bench = Bench::local(small_packs());
    // The whole file consists of one or two different chunks.
    bench.write("zeros", vec![0; 20 << 20]);
    bench.write("zeros again", vec![0; 20 << 20]);
    bench.write_photos("shoot", 3, 700_000);
    bench.snapshot();
    assert_eq!(pruned(&bench, &[]), PruneSummary::default());
    let repository = bench.open();
    for row in repository.catalog.packs(PackState::Committed).expect("packs") {
        let table = repository.catalog.chunks_in(row.key).expect("a table");
        let unique: BTreeSet<ChunkId> = table.iter().map(|place| place.frame.id).collect();
        assert_eq!(unique.len(), table.len(), "a chunk stands twice in {:?}", row.id);
    }
    assert_eq!(bench.check().errors, []);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// The same with two hosts that did not know about each other: every chunk is in two packs, and
/// either host's snapshot may be dropped.
#[test]
fn rustic_392_a_chunk_in_two_packs_keeps_the_one_in_use() {
    for dropped in [0, 1] {
        let bench = Bench::local(small_packs());
        bench.write_photos("shoot", 3, 700_000);
        let done = AtomicBool::new(false);
        let meddler = Meddler::new(|| {
            if !done.swap(true, Ordering::SeqCst) {
                let credential = Box::new(bench.identity.credential(bench.id));
                let cache = bench.path("another-host");
                let other = bench.try_open(Keys::Writer(credential), &cache).expect("it opens");
                snapshot(&other, &bench.snapshot_options(), &Silent).expect("a snapshot");
            }
            false
        });
        let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &meddler);
        taken.expect("a snapshot");
        let chunks = tables(&bench.open(), PackKind::Cold);
        assert!(chunks.values().any(|frames| frames.len() == 2), "they are in two packs");
        let all = ids(&bench);
        pruned(&bench, &all[dropped..=dropped]);
        pruned(&bench, &[]);
        assert_eq!(ids(&bench), [all[1 - dropped]]);
        assert_eq!(bench.check().errors, []);
        tree::assert_same(&bench.library, bench.restored("latest", "out"));
        // A host without a catalog restores the same.
        let keys = Keys::Reader(bench.identity.clone());
        let fresh = bench.try_open(keys, &bench.path("fresh")).expect("it opens");
        let target = bench.path("fresh-out");
        let restored = Restore::default().run(&fresh, "latest", &bench.library, &target, &Silent);
        assert_eq!(restored.expect("a restore").files_failed, 0);
    }
}

/// rustic #88: a repack compressed chunks again, so that they were restored as zstd frames.
#[test]
fn rustic_88_a_repack_moves_chunks_as_they_are() {
    let settings = Settings { pack_bytes: 1 << 20, small_file_bytes: 1 << 10, ..small_packs() };
    let bench = Bench::local(settings);
    for number in 0..24 {
        let text: String = (0..40).map(|part| photos::sidecar(number * 100 + part)).collect();
        bench.write(&format!("edits/{number:02}.txt"), text);
        bench.write(&format!("photos/{number:02}.JPG"), photos::bytes(number, 150_000));
    }
    bench.snapshot();
    for number in (0..24).filter(|number| number % 3 != 0) {
        for name in [format!("edits/{number:02}.txt"), format!("photos/{number:02}.JPG")] {
            std::fs::remove_file(bench.library.join(name)).expect("culled");
        }
    }
    bench.snapshot();
    let before = tables(&bench.open(), PackKind::Cold);
    let done = pruned(&bench, &ids(&bench)[..1]);
    assert!(done.packs_repacked > 0, "{done:?}");
    let after = tables(&bench.open(), PackKind::Cold);
    assert!(after.len() < before.len());
    for codec in [Codec::Stored, Codec::Zstd] {
        let kept = after.values().flatten().filter(|frame| frame.codec == codec).count();
        assert!(kept > 5, "{kept} chunks are {codec:?}");
    }
    for (id, frames) in &after {
        assert_eq!(frames, &before[id], "it is sealed as it was, and stands once");
    }
    assert_eq!(bench.check().errors, []);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// rustic #249: a pack was in the index although its upload had failed.
#[test]
fn rustic_249_a_pack_that_did_not_arrive_is_in_no_table() {
    for nth in 0.. {
        let server = S3Server::start();
        let bench = Bench::s3(&server, small_packs());
        bench.write_photos("shoot", 8, 1_300_000);
        let puts = Arc::new(AtomicUsize::new(0));
        let count = puts.clone();
        server.set_fault(Some(Box::new(move |head| {
            let is_pack = ["/packs/", "/meta/"].iter().any(|prefix| head.path.contains(prefix));
            if head.method == "PUT" && is_pack && count.fetch_add(1, Ordering::SeqCst) == nth {
                return Fault::Status(500, "InternalError");
            }
            Fault::None
        })));
        let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent);
        let failed = taken.is_err();
        server.set_fault(None);
        let repository = bench.open();
        let objects = bench.objects();
        for state in [PackState::Uploaded, PackState::Committed] {
            for row in repository.catalog.packs(state).expect("packs") {
                let name = layout::pack(row.kind, &row.id);
                assert_eq!(objects.get(&name), Some(&row.bytes), "pack {nth}: {name}");
            }
        }
        assert_eq!(repository.catalog.snapshots().expect("snapshots").is_empty(), failed);
        assert_eq!(failed, puts.load(Ordering::SeqCst) > nth, "put {nth} failed");
        drop(repository);
        bench.snapshot();
        assert_eq!(bench.check().errors, []);
        tree::assert_same(&bench.library, bench.restored("latest", "out"));
        if !failed {
            assert!(nth >= 3, "{nth} packs at most");
            break;
        }
    }
}

/// rustic_core #571: a path that is a symlink was stored as a symlink and as a folder, under one
/// name. Checks passed, and it could not be restored.
#[test]
fn rustic_core_571_a_path_that_is_a_symlink() {
    let bench = Bench::local(small_packs());
    bench.write("real/a.JPG", photos::bytes(1, 30_000));
    bench.write("real/deep/b.JPG", photos::bytes(2, 40_000));
    bench.write("alone.JPG", photos::bytes(3, 50_000));
    let at = |name: &str| bench.library.join(name);
    for (name, target) in [("alias", "real"), ("other", "alias"), ("link.JPG", "alone.JPG")] {
        symlink(target, at(name)).expect("a symlink");
    }
    let cases: &[&[&str]] = &[
        &["alias"],
        &["real", "alias"],
        &["alias", "real"],
        &["alias", "other", "real"],
        &["alias", "alias/deep"],
        &["alias/deep", "alias"],
        &["alias/deep", "real"],
        &["alias", "alias"],
        &["link.JPG", "alone.JPG", "alias"],
    ];
    for (number, paths) in cases.iter().enumerate() {
        let options = SnapshotOptions {
            paths: paths.iter().map(|path| at(path)).collect(),
            ..bench.snapshot_options()
        };
        let taken = snapshot(&bench.open_writer(), &options, &Silent);
        taken.unwrap_or_else(|error| panic!("{paths:?}: {error}"));
        assert_eq!(bench.check().errors, [], "{paths:?}");
        let out = bench.restored("latest", &format!("out-{number}"));
        for path in *paths {
            // The symlink means its target, which is stored once, under the given name.
            if at(path).is_dir() {
                tree::assert_same(at(path).canonicalize().expect("a folder"), out.join(path));
            } else {
                let content = |path| std::fs::read(path).expect("a file");
                assert_eq!(content(out.join(path)), content(at(path)), "{paths:?}");
            }
        }
    }
}
