//! Objects in place of others of their kind: from the same repository, and from a sibling with the
//! same identity and password.

use std::collections::BTreeMap;

use icecore_engine::error::Error;
use icecore_engine::format::PackKind;
use icecore_engine::repo::keys::{self, KeySlots};
use icecore_engine::repo::{ChunkReader, Keys};
use icecore_engine::store::layout;
use icecore_testkit::tree;

use super::{Subject, tiny_files};
use crate::objects::{
    State, checked, grow_log, job_record, lost, named, open_as, put, put_slot, put_state, round,
    state, the_password,
};
use crate::setup::Bench;

/// Fills a repository with several objects of each kind.
fn fill(bench: &Bench) {
    for number in 1..=3 {
        put_slot(bench, "a password");
        round(bench, number);
        bench.open().begin_job(job_record()).expect("a job");
    }
    grow_log(bench, 64);
}

/// Returns the names of objects that could be confused with each other.
fn kinds(objects: &State) -> BTreeMap<&str, Vec<&str>> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in objects.keys() {
        let kind = name.split_once('/').map_or(&name[..], |(kind, _)| kind);
        kinds.entry(kind).or_default().push(name);
    }
    kinds
}

/// Fails unless this object is reported as changed: by a check, or if it belongs to a job, by a new
/// host, which opens jobs that it did not begin.
#[track_caller]
fn assert_named(bench: &Bench, name: &str, what: &str) {
    if name.starts_with("jobs/") {
        let fresh = bench.path("another-host");
        let (_, problems) = open_as(bench, &fresh).and_then(|r| r.jobs()).expect("jobs");
        assert!(problems.iter().any(|problem| problem.object == name), "{what}: {problems:?}");
    } else {
        let found = checked(bench, &bench.cache);
        assert!(named(&found).contains(name), "{what}: {found:?}");
    }
}

#[test]
fn two_objects_of_a_kind_change_places() {
    let bench = Bench::local(tiny_files());
    fill(&bench);
    let library = tree::snapshot_of(&bench.library);
    let before = state(&bench);
    let mut pairs = 0;
    for (kind, names) in kinds(&before) {
        for (at, a) in names.iter().enumerate() {
            for b in &names[at + 1..] {
                // The rest of the log is tested below, without a check for each pair.
                if kind == "log" && ![1, 2, 33, 64].contains(&layout::log_number(b).expect("it")) {
                    continue;
                }
                put(&bench, a, &before[*b]);
                put(&bench, b, &before[*a]);
                if !(kind == "log" && *b == layout::log(64)) {
                    assert_named(&bench, a, "changed places");
                }
                assert_named(&bench, b, "changed places");
                if ["meta", "hot", "packs"].contains(&kind) {
                    assert!(!lost(&bench, "latest", &library).is_empty());
                }
                put(&bench, a, &before[*a]);
                put(&bench, b, &before[*b]);
                pairs += 1;
            }
        }
    }
    let secrets = bench.open().secrets;
    let mut entries = 0;
    for (number, other) in (1..=64).flat_map(|a| (1..=64).map(move |b| (a, b))) {
        let opened = secrets.read_log(number, &before[&layout::log(other)]);
        assert_eq!(opened.is_ok(), number == other);
        entries += u64::from(number != other);
    }
    assert!(checked(&bench, &bench.cache).expect("a check").errors.is_empty());
    assert!(lost(&bench, "latest", &library).is_empty());
    eprintln!("{pairs} pairs of objects, {entries} entries under numbers of others: all found");
}

#[test]
fn an_object_of_a_sister_takes_the_place_of_one() {
    let bench = Bench::local(tiny_files());
    let sister = bench.sibling(tiny_files());
    fill(&bench);
    fill(&sister);
    let (before, other) = (state(&bench), state(&sister));
    let (mut replays, mut slots) = (0, 0);
    for (kind, names) in kinds(&before) {
        let replacements = &kinds(&other)[kind];
        for (at, name) in names.iter().enumerate() {
            // Replace log entries and checkpoints by those of the same name, and others by any.
            let same = [replacements[at.min(replacements.len() - 1)]];
            let those =
                if ["log", "checkpoints"].contains(&kind) { &same } else { &replacements[..] };
            for replacement in those {
                put(&bench, name, &other[*replacement]);
                match kind {
                    "config" => {
                        // This `config` is valid, but belongs to another repository, and nothing
                        // else of that repository is here.
                        let credential = Box::new(bench.identity.credential(bench.id));
                        let writer = bench.try_open(Keys::Writer(credential), &bench.cache);
                        assert!(matches!(writer, Err(Error::WrongCredential)));
                        let opened = checked(&bench, &bench.cache);
                        // The keys of that repository open no entry.
                        assert!(named(&opened).contains(&layout::log(1)), "{opened:?}");
                    }
                    "keys" => slots += sister_slot(&bench, names.len(), name),
                    _ => assert_named(&bench, name, "replayed"),
                }
                put(&bench, name, &before[*name]);
                replays += 1;
            }
        }
    }
    let secrets = bench.open().secrets;
    let mut entries = 0;
    for (number, replayed) in (1..=64).flat_map(|a| (1..=64).map(move |b| (a, b))) {
        assert!(secrets.read_log(number, &other[&layout::log(replayed)]).is_err());
        entries += 1;
    }
    put_state(&bench, &before);
    assert!(checked(&bench, &bench.cache).expect("a check").errors.is_empty());
    eprintln!(
        "{replays} objects and {entries} entries of a sister: none used, all but {slots} key slots \
         reported"
    );
}

/// Checks that a slot of another repository is skipped: it is not reported as damage, because a
/// killed `init` leaves such slots, and it opens nothing.
fn sister_slot(bench: &Bench, slots: usize, name: &str) -> u64 {
    let store = bench.store();
    let KeySlots { slots: found, problems, .. } =
        keys::slots(&store, bench.id, &[]).expect("slots");
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!((found.len(), &problem.object[..], problem.foreign), (slots - 1, name, true));
    assert!(found.iter().all(|slot| layout::key_slot(&slot.slot) != name));
    let by = keys::unlock(&store, bench.id, &the_password()).expect("another slot opens");
    assert_ne!(layout::key_slot(&by.slot), name);
    assert!(checked(bench, &bench.cache).expect("a check").errors.is_empty());
    1
}

#[test]
fn two_chunks_of_a_pack_change_places() {
    let bench = Bench::local(tiny_files());
    round(&bench, 1);
    round(&bench, 2);
    let repository = bench.open();
    let reader = ChunkReader::new(&repository).expect("a reader");
    let mut pairs = 0;
    for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
        let subject = Subject::new(&repository, &reader, kind);
        let (header, rest) = subject.object.split_at(subject.places[0].offset as usize);
        let frames: Vec<_> = subject.places.iter().map(|place| place.range()).collect();
        let frames: Vec<&[u8]> =
            frames.iter().map(|r| &subject.object[r.start as usize..r.end as usize]).collect();
        let around = &rest[frames.iter().map(|frame| frame.len()).sum()..];
        for a in 0..frames.len() {
            for b in a + 1..frames.len() {
                let mut exchanged = frames.clone();
                exchanged.swap(a, b);
                let object = [header, &exchanged.concat(), around].concat();
                let (bad, around) = subject.checked(object).expect("the header is sound");
                let [a, b] = [a, b].map(|at| subject.places[at].frame.id);
                assert!(bad.contains(&a) && bad.contains(&b) && !around);
                pairs += 1;
            }
        }
    }
    assert!(pairs > 10, "{pairs}");
    eprintln!("{pairs} pairs of chunks, all found");
}
