//! The log and `config` rot: damaged or missing objects are distinguished from another history, are restored from the
//! copies of hosts and checkpoints, and nothing that is still known is lost.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore_engine::codec::random;
use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, LogHeader, Time};
use icecore_engine::ops::check::{Check, CheckOptions, CheckReport, RepairSummary, check};
use icecore_engine::ops::restore::Seed;
use icecore_engine::ops::writers::{Doubt, dismiss};
use icecore_engine::progress::Silent;
use icecore_engine::repo::catalog::PackReads;
use icecore_engine::repo::keys::{KeySlots, PasswordTry};
use icecore_engine::repo::{
    Catalog, Keys, Opening, PackRowId, Purpose, Repository, StoredConfig, keys,
};
use icecore_engine::store::{Location, Store, StoreOptions, layout};
use icecore_testkit::{photos, tree};

use crate::objects::{
    TIME, checked, grow_log, job_record, named, open_as, put, put_slot, put_state, remove, round,
    state, the_password,
};
use crate::peers::liar::{Liar, Lie};
use crate::prune::{after, pruned, three};
use crate::setup::{Bench, small_packs};

fn open_for(bench: &Bench, purpose: Purpose, cache: &Path) -> Result<Repository, Error> {
    let store = bench.store();
    let config = match purpose {
        Purpose::Check => StoredConfig::read_or_kept(&store, cache)?,
        Purpose::Use | Purpose::Read | Purpose::Rebuild => StoredConfig::read(&store)?,
    };
    let keys = Keys::Reader(bench.identity.clone());
    let opening = Opening { purpose, cache_dir: cache, progress: &Silent };
    Repository::open_for(opening, store, config, keys)
}

/// Opens for a check, and repairs.
fn repair(bench: &Bench) -> (CheckReport, RepairSummary, CheckReport) {
    let repository = open_for(bench, Purpose::Check, &bench.cache).expect("it opens");
    let mut check = Check::begin(&repository, &Silent).expect("a check");
    let before = check.finish(&Silent).expect("a report");
    let done = check.repair(&Seed::default(), TIME, &Silent).expect("a repair");
    let after = check.finish(&Silent).expect("a report");
    (before, done, after)
}

fn objects(report: &CheckReport) -> BTreeSet<String> {
    report.errors.iter().map(|damage| damage.object.to_string()).collect()
}

fn rounds(count: u64) -> Bench {
    let bench = Bench::local(small_packs());
    (1..=count).for_each(|number| round(&bench, number));
    bench
}

fn spoil(bench: &Bench, name: &str) {
    let mut object = std::fs::read(bench.folder().join(name)).expect("an object");
    let middle = object.len() / 2;
    object[middle] ^= 1;
    put(bench, name, &object);
}

/// Two ways to lose an object.
type Spoil = fn(&Bench, &str);
const WAYS: [Spoil; 2] = [spoil, remove];

/// Returns another valid entry for a number, which follows the existing ones.
fn other(bench: &Bench, number: u64) -> Vec<u8> {
    let repository = bench.open();
    let before = if number > 1 { layout::log(number - 1) } else { layout::CONFIG.to_owned() };
    let before = std::fs::read(bench.folder().join(before)).expect("an object");
    let mut entry = LogEntry::new(TIME);
    entry.previous.0 = *blake3::hash(&before).as_bytes();
    let header = LogHeader { repository: bench.id, number, salt: random(), version: 1, flags: 0 };
    let owner = bench.identity.owner(bench.id);
    repository.secrets.seal_log(&header, &entry, &owner).expect("it is signed")
}

#[test]
fn a_catalog_is_made_anew_beside_the_old_one() {
    let bench = rounds(3);
    bench.check();
    let repository = bench.open();
    repository.begin_job(job_record()).expect("a job");
    drop(repository);
    let whole = state(&bench);
    let catalog = bench.cache.join(bench.id.to_string()).join("catalog.sqlite");
    for damage in WAYS {
        let before = std::fs::read(&catalog).expect("a catalog");
        damage(&bench, &layout::log(1));
        let error = open_for(&bench, Purpose::Rebuild, &bench.cache).expect_err("a damaged log");
        assert!(error.is_rot(), "{error}");
        assert!(std::fs::read(&catalog).expect("a catalog") == before, "it was touched");
        tree::assert_same(&bench.library, bench.restored("latest", "out"));
        std::fs::remove_dir_all(bench.path("out")).expect("it goes");
        put_state(&bench, &whole);
    }
    let read = bench.open().catalog.read_back().expect("packs");
    assert!(!read.is_empty() && read.values().all(|read| read.at > 0), "{read:?}");
    let anew = open_for(&bench, Purpose::Rebuild, &bench.cache).expect("a sound log");
    assert!(anew.store.requests().get >= 3, "the log was read");
    // Data that is not in the log is carried over; the row ids of packs may differ.
    let again = anew.catalog.read_back().expect("packs");
    let sorted = |read: HashMap<PackRowId, PackReads>| {
        let read = read.into_values().map(|read| (read.at, read.chunks));
        read.collect::<BTreeSet<_>>()
    };
    assert_eq!(sorted(again), sorted(read));
    assert_eq!(anew.catalog.jobs().expect("jobs").len(), 1);
    drop(anew);
    let left = std::fs::read_dir(catalog.parent().expect("a folder")).expect("a folder");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("new")), "{left:?}");
    assert_eq!(bench.check().errors, []);
    // Accept another history.
    remove(&bench, &layout::log(3));
    assert!(matches!(open_as(&bench, &bench.cache), Err(Error::RolledBack { .. })));
    let accepted = open_for(&bench, Purpose::Rebuild, &bench.cache).expect("an older log");
    assert_eq!(accepted.catalog.position().expect("a position").number, 2);
    drop(accepted);
    assert_eq!(bench.open().catalog.position().expect("a position").number, 2);
    // An invalid catalog has nothing to carry over.
    std::fs::write(&catalog, b"no catalog").expect("damage");
    drop(open_for(&bench, Purpose::Rebuild, &bench.cache).expect("a sound log"));
    assert_eq!(bench.open().catalog.position().expect("a position").number, 2);
}

#[test]
fn a_newest_entry_that_rots_is_no_other_history() {
    let bench = rounds(3);
    let newest = layout::log(3);
    let whole = state(&bench);
    spoil(&bench, &newest);
    let rot = open_as(&bench, &bench.cache).expect_err("it rots");
    assert!(matches!(&rot, Error::Damaged { object, .. } if *object == newest), "{rot}");
    assert_eq!(rot.to_string().matches("damaged").count(), 1, "{rot}");
    put_state(&bench, &whole);
    let theirs = other(&bench, 3);
    put(&bench, &newest, &theirs);
    for purpose in [Purpose::Use, Purpose::Check] {
        let forked = open_for(&bench, purpose, &bench.cache).expect_err("another entry");
        assert!(matches!(forked, Error::Forked { number: 3 }), "{forked}");
    }
    put_state(&bench, &whole);
    // A host that missed an entry continues, because the next one names its hash.
    let away = bench.path("away");
    drop(open_as(&bench, &away).expect("it opens"));
    round(&bench, 4);
    for damage in WAYS {
        let whole = state(&bench);
        damage(&bench, &newest);
        let position = open_as(&bench, &away).expect("it opens").catalog.position();
        assert_eq!(position.expect("a position").number, 4);
        put_state(&bench, &whole);
    }
}

#[test]
fn every_object_of_a_short_log_is_put_back() {
    let bench = rounds(5);
    let whole = state(&bench);
    let mut names: Vec<String> = (1..=5).map(layout::log).collect();
    names.push(layout::CONFIG.to_owned());
    for (damage, name) in WAYS.into_iter().flat_map(|way| names.iter().map(move |n| (way, n))) {
        damage(&bench, name);
        let (before, done, after) = repair(&bench);
        let gone_back = *name == layout::log(5) && !before.errors.is_empty() && {
            objects(&before).contains(layout::LOG)
        };
        let mut wanted = BTreeSet::from([name.clone()]);
        wanted.extend(gone_back.then(|| layout::LOG.to_owned()));
        assert_eq!(objects(&before), wanted);
        assert!(before.errors.iter().all(|damage| !damage.problem.contains(name.as_str())));
        assert_eq!((done.objects_put_back, after.errors), (1, vec![]), "{name}");
        assert!(state(&bench) == whole, "{name} is what it was");
    }
    // Damage all of the log and `config` at once, except the newest entry, which shows that this is the repository.
    names.iter().filter(|name| **name != layout::log(5)).for_each(|name| spoil(&bench, name));
    let (before, done, after) = repair(&bench);
    assert_eq!((before.errors.len(), done.objects_put_back, after.errors), (5, 5, vec![]));
    assert!(state(&bench) == whole);
    assert_eq!(checked(&bench, &bench.path("fresh")).expect("a check").errors, []);
}

#[test]
fn entries_are_put_back_from_checkpoints_and_from_what_is_kept() {
    let bench = rounds(2);
    grow_log(&bench, 70);
    let kept = |number| bench.open().catalog.kept_entry(number).expect("a look").is_some();
    assert_eq!([1, 64, 65, 70].map(kept), [false, false, true, true]);
    let whole = state(&bench);
    let numbers = [1, 10, 11, 32, 33, 64, 65, 69];
    for (at, number) in numbers.into_iter().enumerate() {
        WAYS[at % 2](&bench, &layout::log(number));
    }
    let (before, done, after) = repair(&bench);
    assert_eq!(objects(&before), numbers.map(layout::log).into());
    assert_eq!((done.objects_put_back, after.errors), (8, vec![]));
    assert!(state(&bench) == whole);
    // A host that has read none of it restores the entries that checkpoints contain.
    numbers[..6].iter().for_each(|number| spoil(&bench, &layout::log(*number)));
    std::fs::remove_dir_all(&bench.cache).expect("the cache goes");
    let (before, done, after) = repair(&bench);
    assert_eq!((before.errors.len(), done.objects_put_back, after.errors), (6, 6, vec![]));
    assert!(state(&bench) == whole);
    // Without checkpoints, a host keeps at most this many entries.
    std::fs::remove_dir_all(bench.folder().join("checkpoints")).expect("they go");
    std::fs::write(bench.folder().join("checkpoints"), "in the way").expect("a file");
    std::fs::remove_dir_all(&bench.cache).expect("the cache goes");
    grow_log(&bench, 140);
    assert_eq!([1, 12, 13, 140].map(kept), [false, false, true, true]);
}

#[test]
fn what_is_valid_is_never_replaced() {
    let bench = rounds(4);
    let whole = state(&bench);
    for number in 1..4 {
        let theirs = other(&bench, number);
        put(&bench, &layout::log(number), &theirs);
        let (before, done, after) = repair(&bench);
        assert_eq!(objects(&before), [layout::log(number)].into());
        assert_eq!((done.objects_put_back, after.errors), (0, before.errors));
        assert!(state(&bench)[&layout::log(number)] == theirs);
        put_state(&bench, &whole);
    }
    // The newest entry is verified as well, by what this host has seen.
    let repository = bench.open();
    put(&bench, &layout::log(4), &other(&bench, 4));
    let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
    assert_eq!(objects(&report), [layout::log(4)].into());
}

#[test]
fn a_store_that_has_gone_back_gets_its_log_only_if_it_has_its_packs() {
    let bench = rounds(4);
    let whole = state(&bench);
    let packs = |number: u64| -> BTreeSet<String> {
        let object = &whole[&layout::log(number)];
        let entry = bench.open().secrets.read_log(number, object).expect("an entry");
        entry.packs.iter().map(|pack| layout::pack(pack.kind, &pack.id)).collect()
    };
    let packs = [3, 4].map(packs);
    [3, 4].iter().for_each(|number| remove(&bench, &layout::log(*number)));
    packs[1].iter().for_each(|name| remove(&bench, name));
    let (before, done, after) = repair(&bench);
    assert!(objects(&before).contains(layout::LOG), "{before:#?}");
    assert_eq!(done.objects_put_back, 1, "the one that has its packs");
    assert!(objects(&after).contains(layout::LOG), "{after:#?}");
    assert!(!state(&bench).contains_key(&layout::log(4)));
    put_state(&bench, &whole);
    [3, 4].iter().for_each(|number| remove(&bench, &layout::log(*number)));
    let (_, done, after) = repair(&bench);
    assert_eq!((done.objects_put_back, after.errors), (2, vec![]));
    assert!(state(&bench) == whole);
}

#[test]
fn a_check_goes_on_beside_an_entry_that_it_has_not_seen() {
    let bench = rounds(2);
    let away = bench.path("away");
    drop(open_as(&bench, &away).expect("it opens"));
    round(&bench, 3);
    round(&bench, 4);
    spoil(&bench, &layout::log(3));
    let repository = open_for(&bench, Purpose::Check, &away).expect("it opens");
    // This host cannot know whether the object ever was an entry. The next entry claims so; it counts, but is doubtful.
    let doubts = BTreeSet::from([3, 4].map(layout::log));
    let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
    assert!(objects(&report).is_superset(&doubts), "{report:#?}");
    assert_eq!(report.snapshots, 3);
    drop(repository);
    let fresh = named(&checked(&bench, &bench.path("fresh")));
    assert!(fresh.is_superset(&doubts), "{fresh:?}");
    // After a host that has read the entry has restored it, every entry counts for all hosts.
    let (_, done, after) = repair(&bench);
    assert_eq!((done.objects_put_back, after.errors), (1, vec![]));
    for cache in ["away", "fresh"] {
        let report = checked(&bench, &bench.path(cache)).expect("a check");
        assert_eq!((report.errors, report.snapshots), (vec![], 4), "{cache}");
    }
}

#[test]
fn a_config_of_another_repository_is_not_taken_for_ours() {
    let bench = rounds(2);
    let other = Bench::local(small_packs());
    // Later, another repository is at the same place.
    let theirs = state(&other);
    put_state(&bench, &theirs);
    let store = bench.store();
    let found = StoredConfig::read_or_kept(&store, &bench.cache).expect("a config");
    assert_eq!(found.config.repository, other.id);
    remove(&bench, layout::CONFIG);
    let gone = StoredConfig::read_or_kept(&store, &bench.cache).expect_err("none");
    assert!(matches!(gone, Error::NoRepository { .. }), "{gone}");
    assert_eq!(Catalog::kept_configs(&bench.cache, "elsewhere").len(), 0);
}

#[test]
fn key_slots_of_others_are_named_and_no_damage() {
    let bench = rounds(1);
    let other = Bench::local(small_packs());
    let name = put_slot(&other, "theirs");
    let slot = std::fs::read(other.folder().join(&name)).expect("a slot");
    put(&bench, &name, &slot);
    let report = bench.check();
    assert_eq!((report.errors, report.foreign_slots), (vec![], vec![name.clone()]));
    let KeySlots { slots, problems, .. } =
        keys::slots(&bench.store(), bench.id, &[]).expect("slots");
    assert!(slots.is_empty() && problems.iter().all(|problem| problem.foreign));
    // A foreign slot must not make a wrong password look right.
    let wrong =
        keys::unlock(&bench.store(), bench.id, &PasswordTry { password: b"any", ..the_password() })
            .expect_err("no slot");
    assert!(matches!(wrong, Error::WrongPassword { slots: 0, left_out: 0 }), "{wrong}");
}

#[test]
fn damage_is_said_once() {
    let bench = rounds(2);
    for damage in WAYS {
        let whole = state(&bench);
        damage(&bench, &layout::log(1));
        let report = checked(&bench, &bench.cache).expect("a check");
        let [damage] = &report.errors[..] else { panic!("{report:#?}") };
        assert!(!damage.problem.contains("log/") && !damage.problem.contains("damaged"));
        put_state(&bench, &whole);
    }
    assert_eq!(named(&checked(&bench, &bench.cache)), BTreeSet::new());
}

#[test]
fn a_key_slot_that_cannot_be_read_is_damage_of_that_slot() {
    let bench = rounds(1);
    let name = put_slot(&bench, "on a bad sector");
    let liar = Liar::new();
    let location = Location::parse("s3://slots").expect("a URL");
    let options = StoreOptions { retry_for: Duration::ZERO, ..StoreOptions::default() };
    let store = Store::over(Arc::new(liar.clone()), &location, &options).expect("a store");
    for (name, object) in state(&bench) {
        assert!(store.create(&name, "", object.into()).expect("a put"));
    }
    let config = StoredConfig::read(&store).expect("a config");
    let keys = Keys::Reader(bench.identity.clone());
    let repository = Repository::open(store, config, keys, &bench.path("it")).expect("it opens");
    assert_eq!(check(&repository, CheckOptions::default(), &Silent).expect("a check").errors, []);
    liar.tell(Lie::Unreadable, layout::KEYS);
    let report = check(&repository, CheckOptions::default(), &Silent).expect("a check");
    assert_eq!(objects(&report), [name.clone()].into());
    let locked = keys::unlock(
        &repository.store,
        bench.id,
        &PasswordTry { password: b"any", ..the_password() },
    )
    .expect_err("no slot opens");
    assert!(matches!(&locked, Error::Damaged { object, .. } if *object == name), "{locked}");
}

#[test]
fn a_thaw_is_dated_by_its_newest_request() {
    let bench = rounds(1);
    let repository = bench.open();
    let (mut job, _) = repository.begin_job(job_record()).expect("a job");
    assert_eq!(job.thaw, job.record.created);
    let later = Time { seconds: job.record.created.seconds + 200_000, nanos: 0 };
    repository.job_thaws(&mut job, later).expect("it is noted");
    repository.check_thaws(later).expect("it is noted");
    drop(repository);
    let noted = || {
        let repository = bench.open();
        let (jobs, _) = repository.jobs().expect("jobs");
        (jobs[0].thaw, repository.check_thaw().expect("a time"))
    };
    assert_eq!(noted(), (later, Some(later)));
    // A rebuilt catalog keeps it, and the ended job is known.
    open_for(&bench, Purpose::Rebuild, &bench.cache).expect("a new catalog");
    assert_eq!(noted(), (later, Some(later)));
    let repository = bench.open();
    repository.end_job(&job.id).expect("it ends");
    assert_eq!(repository.jobs().expect("jobs").0, []);
    assert!(repository.ended_jobs().expect("ids").contains(&job.id));
}

#[test]
fn tombstones_survive_the_rot_of_their_entry() {
    let mut bench = Bench::local(small_packs());
    let all = three(&bench);
    bench.pruner();
    let number = bench.open().catalog.position().expect("a position").number;
    pruned(&bench, &all[..1], after(0));
    assert_eq!(bench.under("log/").len() as u64, number + 2, "two entries give the packs up");
    // The first entry rots before another host has read it, and the owner takes it for one that never was valid.
    let rotten = bench.folder().join(layout::log(number + 1));
    let bytes = std::fs::metadata(&rotten).expect("an entry").len();
    std::fs::write(&rotten, photos::bytes(1, bytes as usize)).expect("it rots");
    bench.cache = bench.path("fresh");
    let owner = bench.open();
    let void = owner.catalog.void_entries().expect("entries");
    assert_eq!(void.iter().map(|entry| entry.number).collect::<Vec<_>>(), [number + 1, number + 2]);
    let dismissed = dismiss(&owner, &[number + 1, number + 2], Doubt::Counts, after(1));
    assert!(matches!(dismissed, Err(Error::Reread)), "{dismissed:?}");
    drop(owner);
    // Photos that return are stored again: no snapshot relies on the packs that are gone.
    bench.write_photos("first", 9, 1_300_000);
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}
