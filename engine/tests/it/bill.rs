//! Predicted prices equal the bill: for many generated libraries and restores, compares the price
//! of a plan with a bill for the requests that the server received, computed from an independent
//! price list.
//!
//! `ICECORE_SCENARIOS=1000 cargo test -p icecore-engine bill` runs more scenarios.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use icecore_engine::format::Settings;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{self, reclaim::Horizon, reclaim::Terms};
use icecore_engine::ops::restore::{RestoreOptions, Selection, plan, restore, thaw};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, TreeReader};
use icecore_engine::store::{Provider, Tier};
use icecore_testkit::{Bill, S3Server, photos, tree};

use crate::prune::{after, ids};
use crate::setup::{Bench, Dice, bytes_of};

#[track_caller]
pub fn assert_close(predicted: f64, billed: f64, what: &str) {
    let off = (predicted - billed).abs() / billed;
    assert!(
        off <= 0.01,
        "{what}: predicted {predicted:.9}, billed {billed:.9}: {:.2} %",
        off * 100.0
    );
}

/// Number of packs that were repacked in all scenarios, to show that the prunes had something to
/// do.
static REPACKED: AtomicU64 = AtomicU64::new(0);
static THAWED: AtomicU64 = AtomicU64::new(0);

fn scenario(number: u64) {
    let mut dice = Dice(number * 7919 + 1);
    let server = S3Server::start();
    let prices = Prices::built_in(None);
    let settings = Settings {
        pack_class: dice
            .pick(&["DEEP_ARCHIVE", "DEEP_ARCHIVE", "GLACIER", "GLACIER_IR", "STANDARD_IA"])
            .to_owned(),
        hot_class: dice.pick(&["GLACIER_IR", "STANDARD", "STANDARD_IA"]).to_owned(),
        pack_bytes: dice.pick(&[1 << 20, 3 << 20, 8 << 20]),
        hot_pack_bytes: 1 << 20,
        small_file_bytes: 32 << 10,
        ..Settings::default()
    };
    let bench = Bench::s3(&server, settings.clone());
    for shoot in 0..1 + dice.roll(3) {
        for photo in 0..1 + dice.roll(7) {
            let bytes = 40_000 + dice.roll(1_500_000) as usize;
            let content = photos::jpeg(number * 1000 + shoot * 100 + photo, bytes, 2000);
            bench.write(&format!("shoot-{shoot}/IMG_{photo}.JPG"), content);
        }
        for sidecar in 0..dice.roll(5) {
            bench.write(
                &format!("shoot-{shoot}/IMG_{sidecar}.xmp"),
                photos::sidecar(number + sidecar),
            );
        }
    }
    let what = format!("scenario {number}, {settings:?}");

    // Two snapshots, each preceded by a dry run.
    for round in 0..2 {
        // Between the two snapshots, most of a shoot is culled.
        for photo in (1..7).filter(|_| round == 1 && dice.roll(3) > 0) {
            _ = std::fs::remove_file(bench.library.join(format!("shoot-0/IMG_{photo}.JPG")));
        }
        bench.write("shoot-0/new.JPG", photos::jpeg(number * 1000 + 900 + round, 300_000, 500));
        let writer = || Keys::Writer(Box::new(bench.identity.credential(bench.id)));
        let dry = bench.try_open(writer(), &bench.path("dry")).expect("it opens");
        let options = SnapshotOptions { dry_run: true, ..bench.snapshot_options() };
        let planned = snapshot(&dry, &options, &Silent).expect("a dry run");
        let predicted = prices.bill(&dry.store.requests().plus(&planned.predicted));
        server.clear_requests();
        let real = bench.try_open(writer(), &bench.path("dry")).expect("it opens");
        snapshot(&real, &bench.snapshot_options(), &Silent).expect("a snapshot");
        let billed = Bill::of(&server.requests()).total();
        let counted = prices.bill(&real.store.requests()).total_usd();
        assert!((counted - billed).abs() < 1e-12, "{what}: counted {counted}, billed {billed}");
        assert_close(predicted.total_usd(), billed, &format!("{what}: snapshot {round}"));
    }

    // Restore a photo, a shoot or everything.
    let path = match dice.roll(3) {
        0 => PathBuf::from("shoot-0/IMG_0.JPG"),
        1 => PathBuf::from("shoot-0"),
        _ => PathBuf::new(),
    };
    let tier = dice.pick(&Tier::ALL);
    server.clear_requests();
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let opened = Snapshot::open(&trees, row).expect("a snapshot");
    let none = || icecore_engine::files::Globs::new([]).expect("no patterns");
    let selection = Selection {
        snapshot: &opened,
        path: bytes_of(&bench.library.join(&path)),
        include: none(),
        exclude: none(),
    };
    let target = bench.path("out");
    let mut options = RestoreOptions { target: target.clone(), ..RestoreOptions::default() };
    let mut planned = plan(&selection, &options, &Silent).expect("a plan");
    let days = planned.days();
    let ahead = repository.store.requests().plus(&planned.predict(tier, days));
    let predicted = prices.bill(&ahead);
    thaw(&repository, &mut planned, tier, days, &Silent).expect("a thaw");
    server.advance(Duration::from_secs(48 * 3600));
    planned.look(&repository, &Silent).expect("a look");
    options.unreadable = std::sync::Arc::new(planned.unreadable());
    assert!(options.unreadable.is_empty(), "{what}: something is still cold");
    let restored = restore(&selection, &options, &Silent).expect("a restore");
    assert_eq!((restored.files, restored.files_failed), (planned.files, 0), "{what}");
    let bill = Bill::of(&server.requests());
    let counted = prices.bill(&repository.store.requests());
    assert!((counted.total_usd() - bill.total()).abs() < 1e-12, "{what}: {counted:?} {bill:?}");
    assert_close(predicted.total_usd(), bill.total(), &format!("{what}: restore of {path:?}"));
    assert_eq!(repository.store.requests().bytes_fetched, ahead.bytes_fetched, "{what}");
    if path.extension().is_none() {
        tree::assert_same(bench.library.join(&path), &target);
    }

    // Prune now, or when everything is past its minimum days.
    let drop = ids(&bench).into_iter().take(dice.pick(&[0, 1, 1, 1, 2])).collect();
    let horizon = Horizon { months: dice.pick(&[24.0, 12_000.0, 12_000.0]) };
    let terms =
        Terms { provider: Some(Provider::S3), horizon, end_window: true, ..Terms::default() };
    let now = after(dice.pick(&[0, 400, 36_500, 36_500]));
    let pruner = dice.roll(3) == 0;
    if pruner {
        bench.pruner();
    }
    server.clear_requests();
    let repository = if pruner { bench.open_pruner() } else { bench.open() };
    let planned = prune::plan(&repository, &drop, terms.at(&prices, now), &Silent).expect("a plan");
    let more = planned.predict().plus(&planned.predict_thaws(&terms));
    let predicted = prices.bill(&repository.store.requests().plus(&more));
    let done = prune::prune(&repository, &planned, now, &Silent).expect("a prune");
    prune::thaw(&repository, &planned, &terms, &Silent).expect("thaws are asked for");
    let billed = Bill::of(&server.requests()).total();
    let counted = prices.bill(&repository.store.requests()).total_usd();
    assert!((counted - billed).abs() < 1e-12, "{what}: counted {counted}, billed {billed}");
    assert_close(predicted.total_usd(), billed, &format!("{what}: prune of {}", drop.len()));
    REPACKED.fetch_add(done.packs_repacked, Ordering::SeqCst);
    THAWED.fetch_add(planned.thaws().count() as u64, Ordering::SeqCst);
}

#[test]
fn the_predicted_bill_is_the_bill() {
    let count = std::env::var("ICECORE_SCENARIOS").ok().and_then(|count| count.parse().ok());
    let count: u64 = count.unwrap_or(60);
    std::thread::scope(|threads| {
        for worker in 0..2 {
            threads.spawn(move || (worker..count).step_by(2).for_each(scenario));
        }
    });
    let [repacked, thawed] = [&REPACKED, &THAWED].map(|count| count.load(Ordering::SeqCst));
    eprintln!("{repacked} packs were repacked, {thawed} thawed for that");
    assert!(repacked > 0 && thawed > 0, "{repacked}, {thawed}");
}
