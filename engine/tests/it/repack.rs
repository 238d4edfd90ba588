//! Repacks partially live packs: live chunks move, visible snapshots can be restored, and no copy is paid for twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use icecore_engine::error::Error;
use icecore_engine::format::{LogEntry, Settings, SnapshotId, Time};
use icecore_engine::ops::check::{CheckOptions, check};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::{Decision, Horizon, Terms, Why};
use icecore_engine::ops::prune::{Blind, PrunePlan, PruneSummary, plan, prune, thaw, undelete};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::{Progress, Silent};
use icecore_engine::repo::{Keys, PackBuilder, PackState, Repository};
use icecore_testkit::{Fault, S3Server, photos, tree};

use crate::prune::{after, ids};
use crate::setup::{BUCKET, Bench, Dice, Log, Restore, in_snapshot, settle, small_packs};

fn local() -> Terms {
    Terms { provider: None, end_window: true, ..Terms::default() }
}

/// Terms by which dropped data is deleted at once.
fn at_once() -> Terms {
    Terms { end_window: true, ..Terms::default() }
}

/// Days after which even packs as small as these are worth the price of a request.
const IN_A_CENTURY: i64 = 36_500;

fn patient() -> Terms {
    let horizon = Horizon { months: 12_000.0 };
    Terms { horizon, end_window: true, ..Terms::default() }
}

/// Months in which a copy of packs as small as these pays for itself, but a copy with a thaw does not.
const COPY_PAYS_BUT_NO_THAW: f64 = 20.0;

fn deep() -> Settings {
    Settings { pack_class: "DEEP_ARCHIVE".to_owned(), ..small_packs() }
}

fn planned(repository: &Repository, drop: &[SnapshotId], terms: &Terms, now: Time) -> PrunePlan {
    let drop: BTreeSet<SnapshotId> = drop.iter().copied().collect();
    plan(repository, &drop, terms.at(&Prices::built_in(None), now), &Silent).expect("a plan")
}

/// Prunes with the identity.
fn pruned(bench: &Bench, drop: &[SnapshotId], terms: &Terms, now: Time) -> PruneSummary {
    let repository = bench.open();
    let plan = planned(&repository, drop, terms, now);
    prune(&repository, &plan, now, &Silent).expect("a prune")
}

/// Takes a snapshot of a shoot, deletes all but every `keep`th photo, and takes another. Returns both.
fn culled(bench: &Bench, photos: u64, keep: u64) -> Vec<SnapshotId> {
    bench.write_photos("shoot", photos, 600_000);
    bench.snapshot();
    for number in (0..photos).filter(|number| number % keep != 0) {
        let name = format!("shoot/IMG_{number:04}.JPG");
        std::fs::remove_file(bench.library.join(name)).expect("culled");
    }
    bench.snapshot();
    ids(bench)
}

#[track_caller]
fn assert_sound(bench: &Bench) {
    let report = check(&bench.open(), CheckOptions::default(), &Silent).expect("a check");
    assert_eq!(report.errors, []);
}

fn bytes(bench: &Bench, prefix: &str) -> u64 {
    bench.under(prefix).values().sum()
}

#[test]
fn what_lives_moves_and_the_rest_is_freed() {
    let bench = Bench::local(small_packs());
    let all = culled(&bench, 24, 3);
    let before = bytes(&bench, "packs/");
    let plan = planned(&bench.open_writer(), &all[..1], &local(), after(0));
    assert_eq!(plan.blind, Some(Blind::NeedsIdentity));
    assert!(plan.partly.is_empty() && plan.moving.packs.is_empty());

    let done = pruned(&bench, &all[..1], &local(), after(0));
    assert!(done.packs_repacked >= 3, "{done:?}");
    let left = bytes(&bench, "packs/");
    assert!(left * 2 < before, "{left} of {before} bytes are left");
    assert_eq!(ids(&bench), all[1..]);
    assert!(bench.check().errors.is_empty(), "with every byte read");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    let gone = undelete(&bench.open_writer(), &all[0], after(0)).expect_err("it lost its photos");
    assert!(matches!(gone, Error::Input { .. }), "{gone}");

    // A new host reads the same from the log, and a writer relies on the moved chunks.
    let keys = || Keys::Reader(bench.identity.clone());
    let fresh = bench.try_open(keys(), &bench.path("fresh")).expect("it opens");
    let packs = |repository: &Repository| {
        let rows = repository.catalog.snapshots().expect("snapshots");
        rows.into_iter().map(|row| row.entry).collect::<Vec<_>>()
    };
    assert_eq!(packs(&fresh), packs(&bench.open()));
    settle();
    let again = bench.snapshot();
    assert_eq!(again.totals.files_unmodified, 8);
    assert!(again.totals.bytes_added < 1000, "more than its record: {:?}", again.totals);
    let taken = snapshot(&fresh, &bench.snapshot_options(), &Silent).expect("a snapshot");
    assert!(taken.totals.bytes_added < 100_000, "{:?}", taken.totals);

    // Nothing is left to do.
    assert_eq!(pruned(&bench, &[], &local(), after(1)), PruneSummary::default());
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "again"));
}

#[test]
fn nothing_is_read_before_a_snapshot_was_dropped() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, deep());
    culled(&bench, 4, 2);
    let repository = bench.open();
    let before = repository.store.requests();
    let plan = planned(&repository, &[], &Terms::default(), after(0));
    assert_eq!(plan.blind, Some(Blind::NothingDropped));
    assert_eq!(repository.store.requests().since(&before).get, 0);
}

/// Interrupts a run after a pack of photos was uploaded. A metadata pack can be uploaded first, but is smaller.
#[derive(Default)]
struct AfterUpload(AtomicBool);

impl Progress for AfterUpload {
    fn uploads(&self, packs: i64, bytes: i64) {
        self.0.fetch_or(packs < 0 && bytes < -100_000, Ordering::SeqCst);
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn what_an_upload_that_was_cut_off_has_left_goes() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 12, 600_000);
    let stopped = AfterUpload::default();
    let cut = snapshot(&bench.open_writer(), &bench.snapshot_options(), &stopped);
    assert!(matches!(cut, Err(Error::Interrupted)), "{cut:?}");
    assert!(!bench.under("packs/").is_empty(), "a pack has arrived: {:?}", bench.objects());
    // A snapshot of two of the photos uses the pack of the interrupted run; no snapshot was dropped.
    let shoot = bench.library.join("shoot");
    let mut photos: Vec<_> = std::fs::read_dir(&shoot).expect("a folder").flatten().collect();
    photos.sort_by_key(|photo| photo.file_name());
    for photo in &photos[2..] {
        std::fs::remove_file(photo.path()).expect("culled");
    }
    bench.snapshot();
    let plan = planned(&bench.open_pruner(), &[], &local(), after(1));
    assert_eq!(plan.blind, Some(Blind::NothingDropped), "only the identity can look");
    let plan = planned(&bench.open(), &[], &local(), after(1));
    assert!(plan.partly.iter().any(|pack| pack.dead_fraction() > 0.1), "{:?}", plan.partly);
    let done = pruned(&bench, &[], &local(), after(1));
    assert!(done.packs_repacked > 0 && done.bytes_freed > done.bytes_written, "{done:?}");
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn a_cold_pack_is_thawed_once_and_only_if_that_pays() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, deep());
    let all = culled(&bench, 24, 12);
    let now = after(IN_A_CENTURY);
    // Under the usual terms, repacking packs as small as these never pays.
    let usual = planned(&bench.open(), &all[..1], &at_once(), now);
    assert!(usual.partly.iter().any(|pack| pack.dead_fraction() > 0.5));
    assert_eq!(usual.thaws().count(), 0);
    let young = planned(&bench.open(), &all[..1], &patient(), after(100));
    let waits = |why: &Decision| matches!(why, Decision::Keep(Why::TooYoung { .. }));
    assert!(young.partly.iter().any(|pack| waits(&pack.decision)));
    assert_eq!(young.thaws().count(), 0);

    let repository = bench.open();
    let plan = planned(&repository, &all[..1], &patient(), now);
    let wanted = plan.thaws().count();
    assert!(wanted >= 1, "{:?}", plan.partly);
    assert!(plan.moving.packs.iter().all(|(row, _)| row.class != "DEEP_ARCHIVE"));
    let dropped = prune(&repository, &plan, now, &Silent).expect("a prune");
    assert_eq!(dropped.snapshots_dropped, 1);
    assert_eq!(thaw(&repository, &plan, &patient(), &Silent).expect("it is asked"), wanted as u64);
    assert_eq!(server.restores().len(), wanted);
    // The thaw is in progress, so it is neither requested again nor repacked.
    let waiting = planned(&repository, &[], &patient(), now);
    assert_eq!((waiting.on_their_way().count(), waiting.thaws().count()), (wanted, 0));
    server.advance(Duration::from_secs(49 * 3600));
    let before = bytes(&bench, "packs/");
    let done = pruned(&bench, &[], &patient(), now);
    assert_eq!(done.packs_repacked as usize, wanted);
    assert!(bytes(&bench, "packs/") < before);
    assert_eq!(server.restores().len(), wanted, "no second thaw");
    assert_sound(&bench);
    // New packs are in the class of the old ones.
    for object in server.objects(BUCKET) {
        if object.key.contains("/packs/") {
            assert_eq!(object.storage_class, "DEEP_ARCHIVE", "{}", object.key);
            server.thaw(BUCKET, &object.key);
        }
    }
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn a_thaw_that_nobody_came_for_is_not_asked_for_again() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, deep());
    let all = culled(&bench, 24, 12);
    let now = after(IN_A_CENTURY);
    pruned(&bench, &all[..1], &patient(), now);
    let repository = bench.open();
    let plan = planned(&repository, &[], &patient(), now);
    let wanted = thaw(&repository, &plan, &patient(), &Silent).expect("it is asked");
    assert!(wanted > 0);
    server.advance(Duration::from_secs(30 * 86_400));
    let vain = planned(&repository, &[], &patient(), now);
    assert_eq!(vain.thaws().count(), 0);
    let in_vain = |decision: &Decision| *decision == Decision::Keep(Why::ThawedInVain);
    let found = vain.partly.iter().filter(|pack| in_vain(&pack.decision)).count();
    assert_eq!(found as u64, wanted);
    let again = Terms { thaw_again: true, ..patient() };
    assert_eq!(planned(&repository, &[], &again, now).thaws().count() as u64, wanted);
}

#[test]
fn what_a_restore_has_thawed_is_repacked_without_a_second_thaw() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, deep());
    let all = culled(&bench, 24, 12);
    for object in server.objects(BUCKET) {
        server.thaw(BUCKET, &object.key);
    }
    let done = pruned(&bench, &all[..1], &patient(), after(IN_A_CENTURY));
    assert!(done.packs_repacked > 0, "{done:?}");
    assert_eq!(server.restores().len(), 0);
    assert_sound(&bench);
}

/// The packs are already thawed for a restore: a copy may pay although a thaw would not.
#[test]
fn a_thaw_that_somebody_paid_for_is_made_use_of() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, deep());
    let all = culled(&bench, 24, 12);
    let now = after(IN_A_CENTURY);
    let horizon = Horizon { months: COPY_PAYS_BUT_NO_THAW };
    let terms = Terms { horizon, end_window: true, ..Terms::default() };
    let cold = planned(&bench.open(), &all[..1], &terms, now);
    assert_eq!((cold.thaws().count(), cold.moving.packs.len()), (0, 0));
    for object in server.objects(BUCKET) {
        server.thaw(BUCKET, &object.key);
    }
    let done = pruned(&bench, &all[..1], &terms, now);
    assert!(done.packs_repacked > 0, "{done:?}");
    assert_sound(&bench);
}

#[test]
fn a_pack_that_a_newcomer_names_stays() {
    let bench = Bench::local(small_packs());
    let all = culled(&bench, 24, 3);
    let repository = bench.open();
    let plan = planned(&repository, &all[..1], &local(), after(0));
    assert!(plan.moving.packs.len() >= 3);
    // A deleted photo returns before the plan is executed, and relies on its old pack.
    let back = "shoot/IMG_0001.JPG";
    let culled: Vec<u8> =
        std::fs::read(bench.restored(&all[0].to_string(), "first").join(back)).expect("the photo");
    bench.write(back, culled);
    let keys = Keys::Reader(bench.identity.clone());
    let other = bench.try_open(keys, &bench.path("other")).expect("it opens");
    let taken = snapshot(&other, &bench.snapshot_options(), &Silent).expect("a snapshot");
    assert!(taken.totals.bytes_added < 100_000, "{:?}", taken.totals);
    let done = prune(&repository, &plan, after(0), &Silent).expect("a prune");
    assert_eq!(done.packs_repacked, 0, "all of them are named by the newcomer");
    assert!(bench.check().errors.is_empty());
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    // The next plan includes it, and the copy that was made in vain is used now.
    let done = pruned(&bench, &[], &local(), after(0));
    assert!(done.packs_repacked >= 3, "{done:?}");
    assert!(bench.check().errors.is_empty());
    tree::assert_same(&bench.library, bench.restored("latest", "again"));
}

/// Restores with a repository that was opened earlier, and with what it knew then.
#[track_caller]
fn assert_restores(bench: &Bench, reader: &Repository) {
    let (target, log) = (bench.path("out"), Log::default());
    let path = in_snapshot(&bench.library);
    let restored = Restore::default().run(reader, "latest", &path, &target, &log);
    assert_eq!(log.problems(), []);
    assert_eq!(restored.expect("a restore").files_failed, 0);
    tree::assert_same(&bench.library, &target);
}

#[test]
fn who_reads_while_packs_go_finds_what_moved() {
    let bench = Bench::local(small_packs());
    let all = culled(&bench, 24, 3);
    // This reader has read the log, and will not learn of the prune.
    let keys = Keys::Reader(bench.identity.clone());
    let reader = bench.try_open(keys, &bench.path("reader")).expect("it opens");
    assert!(pruned(&bench, &all[..1], &local(), after(0)).packs_repacked >= 3);
    assert_restores(&bench, &reader);
}

/// S3 answers a role that may not list the whole bucket like this: reading a missing object is forbidden.
#[test]
fn who_reads_while_packs_go_need_not_be_told_that_they_are_gone() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    let all = culled(&bench, 24, 3);
    let keys = Keys::Reader(bench.identity.clone());
    let reader = bench.try_open(keys, &bench.path("reader")).expect("it opens");
    let before = bench.objects();
    assert!(pruned(&bench, &all[..1], &local(), after(0)).packs_repacked >= 3);
    let left = bench.objects();
    let gone: BTreeSet<String> =
        before.into_keys().filter(|name| !left.contains_key(name)).collect();
    server.set_fault(Some(Box::new(move |head| {
        let is_gone = gone.iter().any(|name| head.path.ends_with(name.as_str()));
        if is_gone { Fault::Status(403, "AccessDenied") } else { Fault::None }
    })));
    assert_restores(&bench, &reader);
}

/// A thief of the writer credential adds packs that claim to contain the chunks of other packs.
#[test]
fn a_pack_that_lies_takes_no_other_pack_with_it() {
    let bench = Bench::local(small_packs());
    let all = culled(&bench, 24, 3);
    let honest = bench.under("packs/");
    let thief = bench.open_writer();
    let kind = icecore_engine::format::PackKind::Cold;
    let mut lie = PackBuilder::new(&thief.secrets, kind, 4 << 20).expect("a pack");
    thief
        .catalog
        .each_chunk(|places| {
            let mut frame = places[0].frame;
            if thief.catalog.pack(places[0].pack)?.is_some_and(|row| row.kind == kind) {
                frame.raw_bytes = 5;
                lie.add(frame.id, 5, icecore_engine::format::Codec::Stored, b"empty");
            }
            Ok(())
        })
        .expect("the chunks");
    thief.upload(&lie.finish(""), &Silent).expect("an upload");
    let packs = thief.catalog.open_packs(PackState::Uploaded).expect("packs");
    let mut entry = Some(LogEntry { packs, ..LogEntry::new(after(0)) });
    thief.commit(|| Ok(entry.take())).expect("an entry");
    drop(thief);

    pruned(&bench, &all[..1], &local(), after(0));
    assert!(bench.under("packs/").len() < honest.len(), "mostly dead packs went");
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// A host that may prune tombstones packs that snapshots need.
#[test]
fn what_a_visible_snapshot_names_is_not_deleted() {
    let bench = Bench::local(small_packs());
    let all = culled(&bench, 24, 3);
    let thief = bench.open_pruner();
    let tombstones = thief.catalog.snapshots().expect("snapshots")[1].entry.packs.clone();
    let mut entry = Some(LogEntry { tombstones, ..LogEntry::new(after(0)) });
    thief.commit(|| Ok(entry.take())).expect("an entry");
    let before = bench.under("packs/");
    let log = Log::default();
    let plan = planned(&thief, &[], &local(), after(0));
    let done = prune(&thief, &plan, after(0), &log).expect("a prune");
    assert_eq!(bench.under("packs/"), before);
    assert!(done.damaged > 1, "{done:?}");
    assert_eq!(done.damaged as usize, log.problems().len());
    assert_eq!(ids(&bench), all);
}

#[test]
fn an_interrupted_repack_does_not_copy_again() {
    let server = S3Server::start();
    let bench = Bench::s3(&server, small_packs());
    let all = culled(&bench, 24, 3);
    let repository = bench.open();
    let plan = planned(&repository, &all[..1], &at_once(), after(400));
    assert!(!plan.moving.copies.is_empty());
    // The first entry drops the snapshot, and the second repeats its tombstones; the third would move the needed part of
    // the packs.
    let entries = AtomicU64::new(0);
    server.set_fault(Some(Box::new(move |head| match head.method.as_str() {
        "PUT" if head.path.contains("/log/") => match entries.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Fault::None,
            _ => Fault::DropConnectionBefore,
        },
        _ => Fault::None,
    })));
    prune(&repository, &plan, after(400), &Silent).expect_err("the log is out of reach");
    server.set_fault(None);
    assert_sound(&bench);
    assert_eq!(ids(&bench), all[1..]);
    let plan = planned(&repository, &[], &at_once(), after(400));
    assert!(plan.moving.copies.is_empty(), "{:?}", plan.moving.copies.len());
    assert!(plan.moving.packs.len() >= 3);
    let done = prune(&repository, &plan, after(0), &Silent).expect("a prune");
    assert_eq!((done.bytes_written, done.packs_repacked as usize), (0, plan.moving.packs.len()));
    assert_sound(&bench);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn what_cannot_be_read_stays_where_it_is() {
    let bench = Bench::local(small_packs());
    let all = culled(&bench, 24, 3);
    let repository = bench.open();
    let plan = planned(&repository, &all[..1], &local(), after(0));
    let going = plan.partly.iter().filter(|pack| pack.goes());
    let counted = going.map(|pack| (pack.live_chunks, pack.live_bytes));
    let counted = counted.fold((0, 0), |sum, pack| (sum.0 + pack.0, sum.1 + pack.1));
    let copied = plan.moving.copies.iter().map(|copy| u64::from(copy.frame.stored_bytes));
    assert_eq!(counted, (copied.clone().count() as u64, copied.sum()));
    // Which copy comes first depends on random ids; some may be listings.
    let of = |pack| repository.catalog.pack(pack).expect("a row").expect("it is there");
    let is_photo = |id: &str| bench.folder().join("packs").join(id).is_file();
    let mut copies = plan.moving.copies.iter();
    let place = copies.find(|copy| is_photo(&of(copy.pack).id.to_string())).expect("a photo");
    let row = of(place.pack);
    let path = bench.folder().join("packs").join(row.id.to_string());
    let mut object = std::fs::read(&path).expect("a pack");
    object[place.offset as usize + 100] ^= 1;
    std::fs::write(&path, object).expect("damaged");
    let log = Log::default();
    let done = prune(&repository, &plan, after(0), &log).expect("a prune");
    assert_eq!(done.packs_repacked as usize, plan.moving.packs.len() - 1);
    assert_eq!((done.damaged, log.problems().len()), (1, 1));
    assert!(done.bytes_written > done.packs_repacked * 100_000, "{done:?}");
    assert!(path.exists());
    let damage = bench.check().errors;
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].object.to_string().contains(&row.id.to_string()));
}

/// Libraries grow, are edited and culled at random, while snapshots are dropped and packs repacked: visible snapshots
/// can be restored, and no dead byte stays for ever.
#[test]
fn years_of_culling_lose_nothing() {
    const SEEDS: u64 = 6;
    const ROUNDS: u64 = 7;
    for seed in 0..SEEDS {
        let bench = Bench::local(small_packs());
        let mut dice = Dice(seed + 1);
        let mut taken = Vec::new();
        for round in 0..ROUNDS {
            for number in 0..12 {
                let name = format!("shoot-{}/{number}.jpg", dice.roll(4));
                match dice.roll(4) {
                    0 => _ = std::fs::remove_file(bench.library.join(name)),
                    1 => _ = bench.write(&name, photos::sidecar(dice.roll(1000))),
                    _ => {
                        let bytes = 20_000 + dice.roll(900_000) as usize;
                        bench.write(&name, photos::jpeg(dice.roll(40), bytes, 200));
                    }
                }
            }
            bench.snapshot();
            let visible = bench.open().catalog.snapshots().expect("snapshots");
            let new = visible.iter().max_by_key(|row| row.number).expect("one").entry.id;
            taken.push((new, tree::snapshot_of(&bench.library)));
            let many = dice.roll(3);
            let gone = (0..many).map(|_| dice.roll(taken.len() as u64) as usize);
            let mut gone: BTreeSet<usize> = gone.collect();
            gone.remove(&(taken.len() - 1));
            let drop: Vec<SnapshotId> = gone.iter().map(|at| taken[*at].0).collect();
            pruned(&bench, &drop, &local(), after(round as i64));
            taken.retain(|(id, _)| !drop.contains(id));
            assert_sound(&bench);
            let (id, state) = &taken[dice.roll(taken.len() as u64) as usize];
            let out = bench.restored(&id.to_string(), &format!("out-{round}"));
            tree::assert_same_as(state, &out);
        }
        let last = taken.pop().expect("the newest");
        let drop: Vec<SnapshotId> = taken.into_iter().map(|(id, _)| id).collect();
        pruned(&bench, &drop, &Terms { local_dead_fraction_min: 0.0, ..local() }, after(50));
        assert!(bench.check().errors.is_empty(), "seed {seed}");
        tree::assert_same_as(&last.1, bench.restored("latest", "last"));
        let partly = planned(&bench.open(), &[], &local(), after(51));
        assert_eq!((partly.partly.len(), partly.dead.len()), (0, 0), "seed {seed}");
    }
}
