//! Checkpoints that are damaged, or forged by a thief of a writer credential, mislead no host: their content is used
//! only if the owner vouches for it.

use std::collections::BTreeSet;

use icecore_engine::codec::random;
use icecore_engine::codec::{Author, NOTHING_SEEN, OpenedCheckpoint};
use icecore_engine::error::Error;
use icecore_engine::format::checkpoint::{EntryContent, Proof, Slot, proofs_bytes};
use icecore_engine::format::signed::{OWNER, SignedRecord};
use icecore_engine::format::{CheckpointHeader, Digest, LogEntry, LogHeader, SnapshotId};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::{self, reclaim::Terms};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Repository};
use icecore_engine::store::layout;
use icecore_testkit::{Fault, S3Server};

use super::{
    End, TIME, chain, commit, damaged, entry, fill, hash, into_bucket, into_folder, open, put,
    state, try_open, vouch,
};
use crate::prune::after;
use crate::setup::{BUCKET, Bench, small_packs};

/// Seals a checkpoint, as anyone with the credential can.
fn seal(repository: &Repository, first: u64, slots: Vec<(Slot, Option<Proof>)>) -> Vec<u8> {
    let count = slots.len() as u64;
    let header =
        CheckpointHeader { repository: repository.config.repository, first, count, salt: random() };
    let (slots, proofs) = slots.into_iter().unzip();
    let checkpoint = OpenedCheckpoint { header, slots, proofs };
    repository.secrets.seal_checkpoint(&checkpoint).expect("a small one")
}

/// Returns the slots of a checkpoint for these entries.
fn slots(repository: &Repository, first: u64, objects: &[Vec<u8>]) -> Vec<(Slot, Option<Proof>)> {
    let slot = |(number, object): (u64, &Vec<u8>)| {
        let opened = repository.secrets.open_log(number, object).expect("it opens");
        (Slot { digest: hash(object), content: Some(opened.content) }, Some(opened.proof))
    };
    (first..).zip(objects).map(slot).collect()
}

fn owner_of(bench: &Bench, cache: &str) -> Repository {
    let keys = Keys::Reader(bench.identity.clone());
    bench.try_open(keys, &bench.path(cache)).expect("it opens")
}

#[test]
fn bad_checkpoints_mislead_nobody() {
    let bench = Bench::local(small_packs());
    let owner = open(&bench, "owner");
    commit(&owner, 70);
    vouch(&bench);
    owner.sync().expect("it reads on");
    assert_eq!(damaged(&bench), BTreeSet::new());
    let truth = state(&owner);
    let folder = bench.folder();
    let read = |name: &str| std::fs::read(folder.join(name)).expect("an object");
    let name = layout::checkpoint(&(33..=64));
    let good = read(&name);
    let entries: Vec<Vec<u8>> = (33..=64).map(|number| read(&layout::log(number))).collect();
    let genuine = slots(&owner, 33, &entries);

    let foreign = bench.sibling(small_packs());
    commit(&open(&foreign, "owner"), 64);
    let foreign = std::fs::read(foreign.folder().join(&name)).expect("an object");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut object = good.clone();
        change(&mut object);
        object
    };
    // A holder of the credential can make entries that open, in a separate chain.
    let thief = Author::of(owner.secrets.credential());
    let head = hash(&read(&layout::log(32)));
    let seen = owner.catalog.seen_at(32).expect("a look").expect("it is remembered");
    let lost = chain(&owner, End { number: 33, head, seen }, 32, &thief);
    let lost = slots(&owner, 33, &lost);
    let with = |at: usize, slot: &(Slot, Option<Proof>)| {
        let mut slots = genuine.clone();
        slots[at] = slot.clone();
        seal(&owner, 33, slots)
    };
    let mut swapped = genuine.clone();
    swapped.swap(3, 4);
    let mut unsigned = genuine.clone();
    for (_, proof) in &mut unsigned {
        proof.as_mut().expect("an entry").signature[7] ^= 1;
    }
    let hidden = (Slot { content: None, ..genuine[7].0.clone() }, None);
    let cut = good.len() - proofs_bytes(32) as usize;
    // Pairs of a bad checkpoint and whether a new host notices it. A new host does not read the second part.
    let cases = [
        ("torn", good[..good.len() / 2].to_vec(), true),
        ("empty", Vec::new(), true),
        ("without its second part", good[..cut].to_vec(), true),
        ("flipped", changed(&|b| b[5000] ^= 1), true),
        ("flipped in its second part", changed(&|b| b[cut + 5000] ^= 1), false),
        ("too high a count", changed(&|b| b[36..44].fill(255)), true),
        ("one more byte", changed(&|b| b.push(0)), true),
        ("of a newer version", changed(&|b| b[8] = 2), true),
        ("larger than any may be", vec![0; (64 << 20) + 1], true),
        ("of the range before", read(&layout::checkpoint(&(1..=32))), true),
        ("of another repository", foreign, true),
        ("too short", seal(&owner, 33, genuine[..31].to_vec()), true),
        ("of another first", seal(&owner, 32, genuine.clone()), true),
        ("in another order", seal(&owner, 33, swapped), true),
        ("of entries that were never there", seal(&owner, 33, lost.clone()), true),
        ("with one forged entry", with(7, &lost[7]), true),
        ("with one that is hidden", with(7, &hidden), true),
        ("without signatures", seal(&owner, 33, unsigned), false),
    ];
    for (number, (what, object, is_seen)) in cases.into_iter().enumerate() {
        put(&folder, &name, &object);
        let fresh = open(&bench, &format!("fresh-{number}"));
        assert_eq!(state(&fresh), truth, "{what}");
        assert_eq!(fresh.store.requests().get > 32, is_seen, "{what}: it was used");
        assert_eq!(damaged(&bench), BTreeSet::from([name.clone()]), "{what}");
    }
    std::fs::remove_file(folder.join(&name)).expect("it goes");
    std::fs::create_dir(folder.join(&name)).expect("no file");
    assert_eq!(state(&open(&bench, "no-file")), truth);
    std::fs::remove_dir(folder.join(&name)).expect("it goes");

    // Names that are no valid range are ignored.
    put(&folder, "checkpoints/0000000000000002-0000000000000033", &good);
    put(&folder, "checkpoints/README", b"not ours");
    assert_eq!(damaged(&bench), BTreeSet::new());
    assert_eq!(state(&open(&bench, "other-names")), truth);
    put(&folder, &name, &good);
    let fresh = open(&bench, "good");
    // Two first parts; seven entries after them; the config, and the last entry again.
    assert_eq!((state(&fresh) == truth, fresh.store.requests().get), (true, 2 + 7 + 2));
}

/// Makes the thief fill a range with an entry that lies about the one before it, and be the first to write its
/// checkpoint.
fn lie(bench: &Bench, put: impl Fn(&str, &[u8])) {
    let genuine = open(bench, "genuine");
    commit(&genuine, 20);
    let thief = Author::of(genuine.secrets.credential());
    // A history in which the owner seems to drop all snapshots, but has not signed that.
    let mut forged = End { number: 1, head: genuine.genesis(), seen: NOTHING_SEEN };
    let mut said = Vec::new();
    for number in 1..32 {
        let dropped = (1..=20u128).map(|n| SnapshotId((n << 64).to_le_bytes())).collect();
        let record = LogEntry { dropped, previous: forged.head, ..LogEntry::new(TIME) }.encode();
        let slot = EntryContent { version: 1, flags: 0, author: OWNER, record };
        let slot = Slot { digest: Digest([number; 32]), content: Some(slot) };
        said.push((slot.clone(), Some(Proof { salt: [9; 32], signature: [9; 3309] })));
        forged.take(slot);
    }
    let position = genuine.catalog.position().expect("a position");
    let mut real = End { number: 21, head: position.head, seen: position.seen };
    for number in 21..32 {
        let object = real.seal(&genuine, LogEntry::new(TIME), &thief);
        put(&layout::log(number), &object);
    }
    // The last entry follows the forged ones, and its running hash contains them.
    let last = forged.seal(&genuine, LogEntry::new(TIME), &thief);
    put(&layout::log(32), &last);
    said.extend(slots(&genuine, 32, &[last]));
    put(&layout::checkpoint(&(1..=32)), &seal(&genuine, 1, said));
    let more = forged.seal(&genuine, LogEntry::new(TIME), &thief);
    put(&layout::log(33), &more);
}

#[test]
fn a_thief_who_lies_about_the_entry_before_his_own_hides_nothing() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    lie(&bench, into_bucket(&server));
    hides_nothing(&bench);
    let bench = Bench::local(small_packs());
    lie(&bench, into_folder(&bench));
    hides_nothing(&bench);
}

fn hides_nothing(bench: &Bench) {
    let ids = |repository: &Repository| {
        let rows = repository.catalog.snapshots().expect("snapshots").into_iter();
        rows.map(|row| row.entry.id).collect::<Vec<_>>()
    };
    let genuine: Vec<SnapshotId> =
        (1..=20).flat_map(|n| entry(n).snapshots).map(|s| s.id).collect();
    assert_eq!(ids(&open(bench, "fresh")), genuine);
    // The owner adds a snapshot after them, and so vouches for the entries that exist.
    vouch(bench);
    let known = open(bench, "genuine");
    let more = [genuine.clone(), vec![entry(34).snapshots[0].id]].concat();
    assert_eq!((ids(&known), ids(&open(bench, "later"))), (more.clone(), more));
    assert_eq!(state(&open(bench, "another")), state(&known));
    assert_eq!(known.catalog.void_entries().expect("a look").len(), 1, "the lie is told");
}

#[test]
fn what_the_owner_has_not_seen_is_not_believed() {
    for (what, seen) in [("nothing", None), ("something else", Some(Digest([7; 32])))] {
        let bench = Bench::local(small_packs());
        commit(&open(&bench, "genuine"), 40);
        let position = open(&bench, "genuine").catalog.position().expect("a position");
        let repository = open(&bench, "genuine");
        let entry = LogEntry { previous: position.head, seen, ..LogEntry::new(TIME) };
        let header =
            LogHeader { repository: bench.id, number: 41, salt: random(), version: 1, flags: 0 };
        let owner = bench.identity.owner(bench.id);
        let object = repository.secrets.seal_log(&header, &entry, &owner).expect("it is signed");
        put(&bench.folder(), &layout::log(41), &object);
        repository.sync().expect("a sound entry");
        assert_eq!(repository.catalog.void_entries().expect("a look"), [], "{what}");
        let fresh = open(&bench, "fresh");
        assert_eq!(state(&fresh), state(&repository), "{what}");
        assert!(fresh.store.requests().get > 40, "{what}: each entry was read");
        assert_eq!(fresh.catalog.vouched().expect("a number"), 0, "{what}");
    }
}

#[test]
fn a_void_entry_does_not_end_a_checkpoint() {
    let bench = Bench::local(small_packs());
    let genuine = open(&bench, "genuine");
    commit(&genuine, 9);
    put(&bench.folder(), &layout::log(10), b"garbage");
    genuine.sync().expect("it is void");
    commit(&genuine, 30);
    vouch(&bench);
    genuine.sync().expect("it reads on");
    assert_eq!(damaged(&bench), BTreeSet::from([layout::log(10)]));
    let fresh = open(&bench, "fresh");
    assert_eq!(state(&fresh), state(&genuine));
    let numbers = |repository: &Repository| {
        let void = repository.catalog.void_entries().expect("a look").into_iter();
        void.map(|entry| entry.number).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&fresh), numbers(&genuine)), (vec![10], vec![10]));
    // One first part and the nine parts after it; then `config`, the last entry once more, and the void entry.
    assert_eq!(fresh.store.requests().get, 1 + 9 + 3);
    // A host that checks signatures checks those of void entries as well, even if their bytes have changed since.
    put(&bench.folder(), &layout::log(10), b"other garbage");
    fresh.check_signatures(&Silent).expect("they are right");
    assert_eq!(fresh.catalog.vouched().expect("a number"), 0);
}

/// An interrupted opening does not trust what it has read, and the next one learns the truth.
#[test]
fn an_opening_that_breaks_off_leaves_nothing() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    fill(&bench, 39, into_bucket(&server));
    let genuine = open(&bench, "genuine");
    commit(&genuine, 1);
    assert_eq!(bench.under("checkpoints/").len(), 1);
    let mut broken = 0;
    for nth in 0.. {
        let count = std::sync::atomic::AtomicU64::new(0);
        server.set_fault(Some(Box::new(move |head| {
            let is_get = head.method == "GET" && head.path.contains("/log/");
            match is_get && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == nth {
                true => Fault::Status(400, "InvalidRequest"),
                false => Fault::None,
            }
        })));
        let opened = try_open(&bench, "fresh");
        server.set_fault(None);
        if opened.is_ok() {
            break;
        }
        broken += 1;
        drop(opened);
        let again = open(&bench, "fresh");
        assert_eq!(state(&again), state(&genuine), "broken off at request {nth}");
        drop(again);
        std::fs::remove_dir_all(bench.path("fresh")).expect("the cache goes");
    }
    assert!(broken > 5, "it broke off {broken} times");
}

fn plan(repository: &Repository) -> Result<(), Error> {
    let (terms, prices) = (Terms::default(), Prices::built_in(None));
    prune::plan(repository, &BTreeSet::new(), terms.at(&prices, after(0)), &Silent).map(drop)
}

#[test]
fn what_deletes_checks_each_signature_once() {
    let bench = Bench::local(small_packs());
    commit(&open(&bench, "genuine"), 70);
    vouch(&bench);
    let fresh = owner_of(&bench, "fresh");
    assert_eq!(fresh.catalog.vouched().expect("a number"), 64);
    let before = fresh.store.requests();
    plan(&fresh).expect("a plan");
    let read = fresh.store.requests().since(&before);
    assert!(
        read.bytes_fetched > 64 * 3341,
        "{} bytes: signatures are among them",
        read.bytes_fetched
    );
    assert_eq!(fresh.catalog.vouched().expect("a number"), 0);
    drop(fresh);
    let again = owner_of(&bench, "fresh");
    let before = again.store.requests();
    plan(&again).expect("a plan");
    assert_eq!(again.store.requests().since(&before).get, 0, "once");

    // Without checkpoints, the entries themselves are used.
    let other = owner_of(&bench, "other");
    std::fs::remove_dir_all(bench.folder().join("checkpoints")).expect("they go");
    std::fs::create_dir(bench.folder().join("checkpoints")).expect("a folder");
    other.check_signatures(&Silent).expect("they are right");
    assert!(other.store.requests().get > 64);
}

/// An owner's program never vouches for an entry that is not signed. If one did, a prune would not trust it.
#[test]
fn a_signature_that_is_wrong_stops_what_deletes() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    let put = into_bucket(&server);
    let repository = open(&bench, "filler");
    let owner = bench.identity.owner(bench.id);
    let mut end = End { number: 1, head: repository.genesis(), seen: NOTHING_SEEN };
    let mut objects = Vec::new();
    for number in 1..=33 {
        let mut object = end.seal(&repository, entry(number), &owner);
        if number == 5 {
            let opened = repository.secrets.open_log(5, &object).expect("it opens");
            let mut signature = opened.proof.signature;
            signature[7] ^= 1;
            let EntryContent { author, ref record, .. } = opened.content;
            let signed = SignedRecord { author, signature, record };
            object = repository.secrets.seal_signed(&object[..68], &signed);
            let before = objects.iter().fold(NOTHING_SEEN, |before, object: &Vec<u8>| {
                let at = objects.iter().position(|other| other == object).expect("it is there");
                let slot =
                    slots(&repository, at as u64 + 1, std::slice::from_ref(object)).remove(0).0;
                icecore_engine::codec::seen(&before, &slot)
            });
            end = End { number: 5, head: end.head, seen: before };
            end.take(slots(&repository, 5, std::slice::from_ref(&object)).remove(0).0);
        }
        put(&layout::log(number), &object);
        objects.push(object);
    }
    put(
        &layout::checkpoint(&(1..=32)),
        &seal(&repository, 1, slots(&repository, 1, &objects[..32])),
    );
    let fresh = owner_of(&bench, "fresh");
    assert_eq!(fresh.catalog.vouched().expect("a number"), 32);
    for _ in 0..2 {
        let error = plan(&fresh).expect_err("a wrong signature");
        assert!(error.to_string().contains("vouched"), "{error}");
    }
    // A host that reads entry by entry notices that it is not an entry.
    server.clear_requests();
    let name = format!("archive/{}", layout::checkpoint(&(1..=32)));
    server.put(BUCKET, &name, b"torn", "STANDARD");
    let singly = open(&bench, "singly");
    let void = singly.catalog.void_entries().expect("a look");
    assert!(void.iter().any(|entry| entry.number == 5), "{void:?}");
}

/// The entries themselves exist, so a thief who replaces their copies cannot prevent deletions.
#[test]
fn a_false_checkpoint_stops_no_prune() {
    let bench = Bench::local(small_packs());
    let owner = open(&bench, "owner");
    commit(&owner, 70);
    vouch(&bench);
    let folder = bench.folder();
    let read = |number| std::fs::read(folder.join(layout::log(number))).expect("an entry");
    let entries: Vec<Vec<u8>> = (1..=32).map(read).collect();
    let mut false_slots = slots(&owner, 1, &entries);
    let other = LogEntry { dropped: vec![SnapshotId([7; 16])], ..LogEntry::new(TIME) }.encode();
    let (slot, _) = &mut false_slots[31];
    slot.content.as_mut().expect("an entry").record = other;
    for (cache, object) in [("false", seal(&owner, 1, false_slots)), ("torn", vec![7; 900])] {
        let fresh = owner_of(&bench, cache);
        assert!(fresh.catalog.vouched().expect("a number") > 32);
        put(&folder, &layout::checkpoint(&(1..=32)), &object);
        fresh.check_signatures(&Silent).expect("the entries are signed");
        assert_eq!(fresh.catalog.vouched().expect("a number"), 0);
        put(&folder, &layout::checkpoint(&(1..=32)), &seal(&owner, 1, slots(&owner, 1, &entries)));
    }
}
