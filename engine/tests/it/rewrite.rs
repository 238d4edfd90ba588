//! Removes a path from every snapshot, whatever the name of its source was at that time.

use std::os::unix::fs::symlink;

use icecore_engine::format::Time;
use icecore_engine::ops::browse::Snapshot;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::rewrite::{plan, rewrite};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Repository, TreeReader};
use icecore_testkit::photos;

use crate::setup::{Bench, Log, in_snapshot, small_packs};

/// Counts the visible snapshots that contain a path.
fn having(repository: &Repository, path: &std::path::Path) -> usize {
    let trees = TreeReader::new(repository).expect("a reader");
    let rows = repository.catalog.snapshots().expect("snapshots").into_iter();
    let path = path.as_os_str().as_encoded_bytes();
    rows.filter(|row| {
        let snapshot = Snapshot::open(&trees, row.clone()).expect("a snapshot");
        snapshot.find(path).is_ok()
    })
    .count()
}

#[test]
fn a_path_goes_from_every_snapshot_whatever_it_is_called_there() {
    let bench = Bench::local(small_packs());
    bench.write("miller/a.jpg", photos::bytes(1, 50_000));
    bench.write("jones/b.jpg", photos::bytes(2, 50_000));
    // One source was given by two names, so it has two places.
    let link = bench.path("by-link");
    symlink(&bench.library, &link).expect("a symlink");
    for path in [&bench.library, &link.join("miller")] {
        let options = SnapshotOptions { paths: vec![path.clone()], ..bench.snapshot_options() };
        snapshot(&bench.open_writer(), &options, &Log::default()).expect("a snapshot");
    }
    let repository = bench.open();
    let real = bench.library.canonicalize().expect("a path").join("miller/a.jpg");
    assert_eq!(having(&repository, &real), 2);
    // Use its place in one of them, which does not exist on this computer.
    let typed = [in_snapshot(&link.join("miller/a.jpg")).into_os_string().into_encoded_bytes()];
    let now = Time { seconds: 2_000_000_000, nanos: 0 };
    let (terms, prices) = (Terms::default(), Prices::built_in(None));
    let planned = plan(&repository, &typed, terms.at(&prices, now), &Silent).expect("a plan");
    assert_eq!(planned.affected.len(), 2, "{:?}", planned.meant);
    assert_eq!(planned.elsewhere.contents, 0);
    let done = rewrite(&repository, &typed, now, &Silent).expect("rewritten");
    assert_eq!((done.replaced.len(), done.dropped.len(), &done.left[..]), (1, 1, &[][..]));
    assert_eq!(having(&repository, &real), 0);
    let kept = bench.library.canonicalize().expect("a path").join("jones/b.jpg");
    assert_eq!(having(&repository, &kept), 1);
}
