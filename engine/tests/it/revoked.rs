//! Tests that a writer stops when it is revoked while it works, and that data which a revoked pruner has deleted is
//! stored again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, PackId};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{plan, prune, reclaim::Terms};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::ops::writers::revoke;
use icecore_engine::progress::{Progress, Silent};
use icecore_engine::repo::{PackState, Repository};
use icecore_testkit::tree;

use crate::objects::{TIME, open_as};
use crate::prune::{after, ids};
use crate::setup::{Bench, small_packs};

/// Revokes the first writer as soon as one of its packs of photos has been uploaded. A metadata pack is smaller.
struct AtFirstPack {
    owner: Repository,
    done: AtomicBool,
}

impl Progress for AtFirstPack {
    fn uploads(&self, packs: i64, bytes: i64) {
        if packs < 0 && bytes < -100_000 && !self.done.swap(true, Ordering::SeqCst) {
            let writer = self.owner.config.authority.first_writer;
            revoke(&self.owner, writer, 1, TIME).expect("it is revoked");
        }
    }
}

#[test]
fn a_writer_that_is_revoked_uploads_no_more() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 12, 900_000);
    let owner = open_as(&bench, &bench.path("owner")).expect("it opens");
    let revoking = AtFirstPack { owner, done: AtomicBool::new(false) };
    let look_again = Some(Duration::ZERO);
    let options = SnapshotOptions { look_again, ..bench.snapshot_options() };
    let taken = snapshot(&bench.open_writer(), &options, &revoking);
    assert!(matches!(taken, Err(Error::Revoked { .. })), "{taken:?}");
    let packs = bench.under("packs/").len();
    assert!((1..4).contains(&packs), "{packs} packs were uploaded of twelve photos");
    // The next run fails before it uploads anything.
    let again = snapshot(&bench.open_writer(), &bench.snapshot_options(), &revoking);
    assert!(matches!(again, Err(Error::Revoked { .. })), "{again:?}");
    assert_eq!(bench.under("packs/").len(), packs);
}

/// A host that prunes has dropped a snapshot and deleted its packs, and is revoked later from an entry before that. The
/// log then says that the packs are alive, but the entry of the owner says that their chunks are lost.
#[test]
fn what_a_revoked_pruner_has_deleted_is_stored_again() {
    let bench = Bench::local(small_packs());
    bench.write_photos("first", 3, 1_300_000);
    bench.snapshot();
    let photos = bench.path("photos");
    std::fs::rename(bench.library.join("first"), &photos).expect("they are away");
    bench.write_photos("second", 3, 1_300_000);
    bench.snapshot();
    let (all, before) = (ids(&bench), bench.under("packs/").len());
    let pruner = bench.try_open(bench.pruner(), &bench.path("pruner")).expect("it opens");
    let from = pruner.catalog.position().expect("a position").number + 1;
    let (terms, prices) = (Terms::default(), Prices::built_in(None));
    let planned = plan(&pruner, &[all[0]].into(), terms.at(&prices, after(0)), &Silent);
    let planned = planned.expect("a plan");
    prune(&pruner, &planned, after(0), &Silent).expect("a prune");
    let writer = pruner.writer_id();
    drop(pruner);
    assert!(bench.under("packs/").len() < before, "packs are gone");

    let owner = open_as(&bench, &bench.path("owner")).expect("it opens");
    let revoked = revoke(&owner, writer, from, TIME);
    assert!(matches!(revoked, Ok(()) | Err(Error::Reread)), "{revoked:?}");
    drop(owner);
    assert_eq!(ids(&bench).len(), 2, "the snapshot is visible again");
    std::fs::rename(&photos, bench.library.join("first")).expect("they are back");
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// An orphan that a host has named stays dead when the host is revoked, because it may be deleted by now.
#[test]
fn an_orphan_that_a_revoked_pruner_has_named_stays_dead() {
    let bench = Bench::local(small_packs());
    bench.write_photos("first", 1, 300_000);
    bench.snapshot();
    let pruner = bench.try_open(bench.pruner(), &bench.path("pruner")).expect("it opens");
    let (id, writer) = (PackId([7; 16]), pruner.writer_id());
    let said = LogEntry { orphans: vec![id], ..LogEntry::new(TIME) };
    pruner.commit(|| Ok(Some(said.clone()))).expect("a commit");
    let from = pruner.catalog.position().expect("a position").number;
    let owner = open_as(&bench, &bench.path("owner")).expect("it opens");
    _ = revoke(&owner, writer, from, TIME);
    let fresh = open_as(&bench, &bench.path("fresh")).expect("it opens");
    let row = fresh.catalog.pack_by_id(&id).expect("a catalog").expect("it is known");
    assert_eq!(row.state, PackState::Tombstoned);
}
