//! Tests that a writer stops when it is revoked while it works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use icecore_engine::error::Error;
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::ops::writers::revoke;
use icecore_engine::progress::Progress;
use icecore_engine::repo::Repository;

use crate::objects::{TIME, open_as};
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
