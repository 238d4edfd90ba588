//! A forgetful provider: loses objects, puts the whole store or its log back to an earlier state, replaces it by
//! another history of the same writer, or changes the order. A host that has seen a newer state reports that before it
//! reads or writes. A new host cannot distinguish an older consistent state from the newest one, which is tested as
//! well.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use icecore_engine::error::Error;
use icecore_engine::format::Settings;
use icecore_engine::ops::check::CheckReport;
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{plan, prune, reclaim::Terms};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::Silent;
use icecore_engine::repo::Keys;
use icecore_engine::repo::keys::{self, KeySlots};
use icecore_engine::store::{ObjectName, layout};
use icecore_testkit::{photos, tree};

use crate::objects::{
    State, checked, job_record, named, open_as, put, put_slot, put_state, remove, round, state,
    the_password,
};
use crate::prune::{after, ids};
use crate::setup::{Bench, Restore};

/// Number of snapshots, each with a log entry and a pack of each kind.
const ROUNDS: u64 = 6;

fn settings() -> Settings {
    let bytes = 1 << 20;
    Settings {
        pack_bytes: bytes,
        hot_pack_bytes: bytes,
        small_file_bytes: 8 << 10,
        ..Settings::default()
    }
}

/// An archive of 28 objects, with its state after each round.
struct Archive {
    bench: Bench,
    rounds: Vec<State>,
    fresh: AtomicU64,
}

impl Archive {
    fn new() -> Archive {
        let bench = Bench::local(settings());
        put_slot(&bench, "a password");
        put_slot(&bench, "another one");
        let mut rounds = vec![state(&bench)];
        for number in 1..=ROUNDS {
            if number == ROUNDS {
                bench.open().begin_job(job_record()).expect("a job");
            }
            round(&bench, number);
            rounds.push(state(&bench));
        }
        Archive { bench, rounds, fresh: AtomicU64::new(0) }
    }

    fn whole(&self) -> &State {
        &self.rounds[ROUNDS as usize]
    }

    /// Returns the names of all objects in the order of creation: in each round the entry is last, whatever a coarse
    /// clock shows.
    fn in_order(&self) -> Vec<String> {
        let made = |name: &String| -> SystemTime {
            let found = std::fs::metadata(self.bench.folder().join(name)).expect("an object");
            found.modified().expect("a time")
        };
        let mut names: Vec<String> = Vec::new();
        for state in &self.rounds {
            let mut new: Vec<_> = state.keys().filter(|name| !names.contains(name)).collect();
            new.sort_by_key(|name| (name.starts_with("log/"), made(name), *name));
            names.extend(new.into_iter().cloned().collect::<Vec<_>>());
        }
        names
    }

    /// Checks the archive as the host that has seen everything.
    fn seen(&self) -> Result<CheckReport, Error> {
        checked(&self.bench, &self.bench.cache)
    }

    fn cache_of_nobody(&self) -> PathBuf {
        self.bench.path(&format!("fresh-{}", self.fresh.fetch_add(1, Ordering::SeqCst)))
    }

    /// Checks the archive as a new host.
    fn fresh(&self) -> Result<CheckReport, Error> {
        checked(&self.bench, &self.cache_of_nobody())
    }

    /// Fails unless the host that has seen everything refuses to read and to write.
    #[track_caller]
    fn assert_rolled_back(&self, found: u64) {
        let credential = || Box::new(self.bench.identity.credential(self.bench.id));
        let keys = [Keys::Reader(self.bench.identity.clone()), Keys::Writer(credential())];
        for keys in keys {
            let opened = self.bench.try_open(keys, &self.bench.cache);
            let Err(Error::RolledBack { seen: ROUNDS, found: last }) = opened else {
                panic!("{opened:?}")
            };
            assert_eq!(last, found);
        }
        assert!(self.seen().is_err_and(|error| error.is_damage()));
    }

    #[track_caller]
    fn assert_forked(&self) {
        let seen = self.seen();
        assert!(matches!(seen, Err(Error::Forked { number: ROUNDS })), "{seen:?}");
    }

    /// Puts everything back, and asserts that the host continues.
    #[track_caller]
    fn goes_on(&self) {
        put_state(&self.bench, self.whole());
        assert_eq!(self.seen().expect("a check").errors, []);
        self.bench.write("later.JPG", photos::bytes(99, 20_000));
        self.bench.snapshot();
        tree::assert_same(&self.bench.library, self.bench.restored("latest", "goes-on"));
        assert_eq!(self.seen().expect("a check").errors, []);
        assert_eq!(self.fresh().expect("a check").snapshots, ROUNDS + 1);
    }
}

/// Fails unless a check finds no errors and this number of snapshots.
#[track_caller]
fn assert_older_and_whole(report: Result<CheckReport, Error>, snapshots: u64) {
    let report = report.expect("a check");
    assert_eq!((report.errors, report.snapshots), (vec![], snapshots));
}

fn entries(state: &State) -> u64 {
    state.keys().filter(|name| name.starts_with("log/")).count() as u64
}

#[test]
fn each_object_is_gone() {
    let archive = Archive::new();
    let bench = &archive.bench;
    let names = archive.in_order();
    let mut missed = BTreeSet::new();
    for name in &names {
        remove(bench, name);
        let (seen, fresh) = (archive.seen(), archive.fresh());
        match name.split_once('/').map_or(&name[..], |(kind, _)| kind) {
            "config" => {
                for checked in [seen, fresh] {
                    let is_named =
                        matches!(checked, Err(Error::Damaged { object: ObjectName::Config, .. }));
                    assert!(is_named, "{checked:?}");
                }
            }
            // The owner may have removed it. The other password opens the archive.
            "keys" => {
                assert_older_and_whole(seen, ROUNDS);
                assert_older_and_whole(fresh, ROUNDS);
                let KeySlots { slots, problems, .. } =
                    keys::slots(&bench.store(), bench.id, &[]).expect("slots");
                assert_eq!((slots.len(), problems.len()), (1, 0));
                keys::unlock(&bench.store(), bench.id, &the_password())
                    .expect("the other one opens");
                missed.insert(name);
            }
            // The host that began the job knows it, and no snapshot depends on it.
            "jobs" => {
                assert_older_and_whole(seen, ROUNDS);
                assert_older_and_whole(fresh, ROUNDS);
                assert_eq!(bench.open().jobs().expect("jobs").0.len(), 1);
                missed.insert(name);
            }
            "log" if *name == layout::log(ROUNDS) => {
                archive.assert_rolled_back(ROUNDS - 1);
                assert_older_and_whole(fresh, ROUNDS - 1);
                missed.insert(name);
            }
            // For a host that has never opened the archive, the log ends before this entry, and the check reports the
            // objects after it.
            "log" => {
                assert_eq!(named(&seen), [name.clone()].into(), "{seen:?}");
                let number = layout::log_number(name).expect("an entry");
                let behind = (number + 1..=ROUNDS).map(layout::log).collect();
                assert_eq!(named(&fresh), behind, "{fresh:?}");
                assert_eq!(fresh.expect("a check").snapshots, number - 1);
            }
            _ => {
                for checked in [seen, fresh] {
                    assert_eq!(named(&checked), [name.clone()].into(), "{checked:?}");
                    let damage = &checked.expect("a check").errors[0];
                    assert!(!damage.snapshots.is_empty(), "{damage:?}");
                }
            }
        }
        put(bench, name, &archive.whole()[name]);
    }
    assert_eq!((names.len(), missed.len()), (28, 4));
    archive.goes_on();
    eprintln!(
        "{} objects gone, one after the other: a host with a memory finds {}, a fresh one {}",
        names.len(),
        // The check also finds that the newest entry is gone.
        names.len() - missed.len() + 1,
        names.len() - missed.len(),
    );
}

#[test]
fn the_store_goes_back_to_each_earlier_state() {
    let archive = Archive::new();
    let bench = &archive.bench;
    let names = archive.in_order();
    assert_eq!(names.last(), Some(&layout::log(ROUNDS)));
    let libraries: Vec<_> = (1..=ROUNDS)
        .map(|round| tree::snapshot_of(bench.library.join(format!("shoot-{round}"))))
        .collect();
    for count in 0..names.len() {
        let whole = archive.whole();
        let earlier: State =
            names[..count].iter().map(|name| (name.clone(), whole[name].clone())).collect();
        put_state(bench, &earlier);
        if count == 0 {
            for checked in [archive.seen(), archive.fresh()] {
                assert!(matches!(checked, Err(Error::NoRepository { .. })), "{checked:?}");
            }
            continue;
        }
        let entries = entries(&earlier);
        archive.assert_rolled_back(entries);
        // For a new host, this is a correct archive of that time.
        assert_older_and_whole(archive.fresh(), entries);
        if names[count - 1].starts_with("log/") {
            let repository = open_as(bench, &archive.cache_of_nobody()).expect("it opens");
            let target = bench.path(&format!("older-{entries}"));
            let restored =
                Restore::default().run(&repository, "latest", &bench.library, &target, &Silent);
            restored.expect("a restore");
            for (shoot, library) in (1..=entries).zip(&libraries) {
                tree::assert_same_as(library, target.join(format!("shoot-{shoot}")));
            }
        }
    }
    archive.goes_on();
    eprintln!("{} earlier states: a host that has seen newer finds each", names.len());
}

#[test]
fn the_newest_entries_are_gone() {
    let archive = Archive::new();
    for found in (0..ROUNDS).rev() {
        remove(&archive.bench, &layout::log(found + 1));
        archive.assert_rolled_back(found);
        assert_older_and_whole(archive.fresh(), found);
    }
    archive.goes_on();
    eprintln!("{ROUNDS} cuts of the log, each found by a host that has seen newer");
}

#[test]
fn another_history_of_the_same_writer() {
    let archive = Archive::new();
    let bench = &archive.bench;
    let (mut forks, mut spliced) = (0, 0);
    for common in 0..ROUNDS {
        // Another host continues from there with the same credential, until it has one entry more than ours.
        put_state(bench, &archive.rounds[common as usize]);
        let other_cache = archive.cache_of_nobody();
        for last in common + 1..=ROUNDS + 1 {
            let credential = Box::new(bench.identity.credential(bench.id));
            let other = bench.try_open(Keys::Writer(credential), &other_cache).expect("it opens");
            let name = format!("other/{common}-{last}.JPG");
            bench.write(&name, photos::bytes(1000 + last, 30_000));
            snapshot(&other, &bench.snapshot_options(), &Silent).expect("a snapshot");
            drop(other);
            let theirs = state(bench);
            assert_eq!(entries(&theirs), last);
            if last < ROUNDS {
                archive.assert_rolled_back(last);
            } else {
                archive.assert_forked();
            }
            assert_older_and_whole(archive.fresh(), last);
            // The other host detects our history as well.
            put_state(bench, archive.whole());
            let found = open_as(bench, &other_cache);
            match found {
                Err(Error::RolledBack { seen, found }) => {
                    assert_eq!((seen, found), (ROUNDS + 1, ROUNDS))
                }
                Err(Error::Forked { number }) => assert!(number == last && last <= ROUNDS),
                other => panic!("{other:?}"),
            }
            forks += 1;
            // Put one of their entries between ours.
            if last > common + 1 && last <= ROUNDS {
                let name = layout::log(last);
                put(bench, &name, &theirs[&name]);
                let seen = archive.seen();
                assert_eq!(named(&seen), [name.clone()].into(), "{seen:?}");
                // A writer's entry does not prove which of the two conflicting entries is ours.
                let fresh = archive.fresh();
                assert!(!named(&fresh).is_empty(), "{name} is like ours: {fresh:?}");
                spliced += 1;
            }
            put_state(bench, &theirs);
        }
    }
    archive.goes_on();
    eprintln!("{forks} other histories and {spliced} single entries of them, all found");
}

#[test]
fn entries_in_another_order() {
    let archive = Archive::new();
    let whole = archive.whole();
    let mut pairs = 0;
    for (first, second) in (1..=ROUNDS).flat_map(|a| (a + 1..=ROUNDS).map(move |b| (a, b))) {
        let names = [layout::log(first), layout::log(second)];
        put(&archive.bench, &names[0], &whole[&names[1]]);
        put(&archive.bench, &names[1], &whole[&names[0]]);
        // An entry does not open under another number. The newest entry is read first.
        let seen = named(&archive.seen());
        let first = if second == ROUNDS { 1 } else { 0 };
        assert_eq!(seen, names[first..].iter().cloned().collect(), "{seen:?}");
        // A host that has not read them before finds that they are not valid entries, or that the next one has seen
        // others.
        let fresh = archive.fresh();
        assert!(names.iter().any(|name| named(&fresh).contains(name)), "{fresh:?}");
        put_state(&archive.bench, whole);
        pairs += 1;
    }
    archive.goes_on();
    eprintln!("{pairs} pairs of entries in each other's place, all found");
}

#[test]
fn what_nothing_needs_is_not_missed() {
    let archive = Archive::new();
    let bench = &archive.bench;
    std::fs::remove_dir_all(bench.library.join("shoot-1")).expect("culled");
    bench.snapshot();
    let before = state(bench);
    let mut all = ids(bench);
    let newest = all.pop().expect("a snapshot");
    let terms = Terms { provider: None, end_window: true, ..Terms::default() };
    let repository = bench.open();
    let drop: BTreeSet<_> = all.into_iter().collect();
    let planned = plan(&repository, &drop, terms.at(&Prices::built_in(None), after(0)), &Silent);
    prune(&repository, &planned.expect("a plan"), after(0), &Silent).expect("a prune");
    let left = state(bench);
    let dead: Vec<&String> = before.keys().filter(|name| !left.contains_key(*name)).collect();
    assert!(dead.len() > 2, "{dead:?}");
    for checked in [archive.seen(), archive.fresh()] {
        assert_older_and_whole(checked, 1);
    }
    // Put packs back, as if the prune had been killed while it deleted them. It does not matter how many.
    for name in &dead {
        put(bench, name, &before[*name]);
    }
    for name in &dead {
        for checked in [archive.seen(), archive.fresh()] {
            assert_older_and_whole(checked, 1);
        }
        remove(bench, name);
    }
    tree::assert_same(&bench.library, bench.restored(&newest.to_string(), "out"));
    eprintln!("{} dead packs gone, none of them missed", dead.len());
}
