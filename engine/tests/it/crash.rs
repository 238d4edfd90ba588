//! The real code over a store that fails at every operation: two hosts take snapshots while a third
//! prunes, and one of them ends, or loses its connection, at one operation.
//!
//! A case is an order of the hosts' operations, drawn from a seed, and a point: a host, one of its operations, and what
//! goes wrong with it. The test runs all points of a seed, then those of the next. After the point
//!
//! 1. the archive is opened and checked, with the catalog of the host that had trouble and without a catalog; every
//!    visible snapshot is restored and compared; every acknowledged one is visible or was dropped by the prune;
//! 2. that host runs again while another prunes or takes a snapshot, and has trouble at a second point, drawn from the
//!    seed; then 1. must be true again;
//! 3. it runs once more, and a prune runs: both succeed, the check passes, and no object is left that is tombstoned or
//!    not in the log.
//!
//! Late operations arrive between operations of other hosts, or after 1.
//!
//! The test was seen to fail for each of these changes to the engine: packs are deleted before the entry that
//! tombstones them; orphans that are being uploaded are deleted; a prune deletes a pack that has become needed since
//! its plan; a snapshot is committed without checking whether its packs were tombstoned meanwhile; a snapshot is
//! acknowledged although the put of its entry failed; a put without an answer counts as done; a taken slot counts as
//! ours; a pack counts as uploaded because its upload has begun.
//!
//! `ICECORE_CRASH=nightly` runs ten times as many points, `ICECORE_CRASH=500` that many; `--nocapture` prints a
//! summary. A failure prints the case and the order of events.

mod case;
mod line;
mod random;
mod scene;
mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use case::{Case, Went};
use scene::{Scene, Stores};
use store::{At, Fault, Point, Verb};

/// Number of points of a test run. Each opens repositories and signs entries, which takes time.
const POINTS: u64 = 800;
const POINTS_NIGHTLY: u64 = 100_000;

/// Counts of the cases that were run.
#[derive(Default)]
struct Tally {
    cases: u64,
    points: u64,
    operations: u64,
    runs: u64,
    succeeded: u64,
    by_host: [u64; 3],
    by_kind: BTreeMap<(Fault, Verb), u64>,
}

impl Tally {
    fn add(&mut self, went: &Went) {
        self.cases += 1;
        self.operations += went.operations;
        self.runs += went.runs;
        self.succeeded += went.succeeded;
        for (host, fault, verb) in &went.faults {
            self.points += 1;
            self.by_host[*host] += 1;
            *self.by_kind.entry((*fault, *verb)).or_default() += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((fault, verb), count) in &self.by_kind {
            writeln!(f, "{count:>7} {verb:?} {fault:?}")?;
        }
        let Tally { cases, points, operations, runs, succeeded, by_host: [a, b, c], .. } = self;
        writeln!(
            f,
            "on the part of A {a}, of B {b}, of C {c}; {succeeded} of {runs} runs succeeded"
        )?;
        write!(f, "{points} points in {cases} cases, {operations} operations")
    }
}

#[test]
fn every_operation_may_be_the_last() {
    let begun = Instant::now();
    let scene = Scene::new();
    let points = match std::env::var("ICECORE_CRASH").as_deref() {
        Ok("nightly") => POINTS_NIGHTLY,
        Ok(number) => number.parse().unwrap(),
        _ => POINTS,
    };
    let tally = Mutex::new(Tally::default());
    let seeds = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(2, |count| count.get());
    std::thread::scope(|scope| {
        // The hosts of a case wait for each other.
        for _ in 0..2 * cores {
            scope.spawn(|| {
                let stores = Stores::new();
                let goes_on = || tally.lock().unwrap().points < points;
                while goes_on() && !failed.load(Ordering::Relaxed) {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    let explored = AssertUnwindSafe(|| explore(&scene, &stores, seed, &tally));
                    catch_unwind(explored).unwrap_or_else(|panic| {
                        failed.store(true, Ordering::Relaxed);
                        resume_unwind(panic)
                    });
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{tally}, {:.1} s", begun.elapsed().as_secs_f64());
    assert!(tally.points >= points);
}

/// Runs all points of one order of events.
fn explore(scene: &Scene, stores: &Stores, seed: u64, tally: &Mutex<Tally>) {
    let case = |point| {
        let went = Case { seed, point }.run(scene, stores);
        tally.lock().expect("nothing panics here").add(&went);
        went
    };
    let plain = case(None);
    assert_eq!(plain.succeeded, plain.runs, "without trouble all succeed");
    for (host, verbs) in plain.verbs.iter().enumerate() {
        for (at, verb) in verbs.iter().enumerate() {
            for fault in Fault::ALL.into_iter().filter(|fault| fault.fits(*verb)) {
                case(Some(Point { host, at: At::Number(at), fault }));
            }
        }
    }
}
