//! Parity in a folder: packs with lost sectors are healed, and damage beyond its strength is
//! reported.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::format::{KdfCost, PackId, PackKind, Settings, SnapshotId, Time};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::init::{InitOptions, Owner, init};
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{PruneSummary, plan, prune};
use icecore_engine::ops::snapshot::snapshot;
use icecore_engine::progress::Silent;
use icecore_engine::repo::{PackBuilder, PackState, Repository};
use icecore_engine::store::{Location, StoreOptions};
use icecore_testkit::{photos, tree};

use crate::prune::{after, ids};
use crate::setup::{Bench, Dice, Log, Restore, StopAfter, set_mtime, small_packs};

const SECTOR: usize = 4096;

fn with_parity(percent: u8) -> Settings {
    Settings { parity_percent: Some(percent), ..small_packs() }
}

/// Returns a library of photos and sidecars, in one snapshot.
fn archived(settings: Settings) -> Bench {
    let bench = Bench::local(settings);
    bench.write_photos("shoot", 16, 700_000);
    for number in 0..60 {
        bench.write(&format!("shoot/IMG_{number:04}.xmp"), photos::bytes(number, 3_000));
    }
    bench.snapshot();
    bench
}

fn packs(bench: &Bench) -> BTreeSet<String> {
    let mut objects = bench.objects();
    objects.retain(|name, _| ["meta/", "hot/", "packs/"].iter().any(|kind| name.starts_with(kind)));
    objects.into_keys().collect()
}

/// Returns the packs that have parity objects.
fn protected(bench: &Bench) -> BTreeSet<String> {
    let parity = bench.under("parity/").into_keys();
    parity.map(|name| name.trim_start_matches("parity/").to_owned()).collect()
}

fn ids_of(packs: &BTreeSet<String>) -> BTreeSet<String> {
    packs.iter().map(|name| name.split('/').next_back().expect("an id").to_owned()).collect()
}

/// Overwrites some sectors of a file with noise, including the first one.
fn damage(path: &Path, sectors: usize, dice: &mut Dice) {
    let length = std::fs::metadata(path).expect("an object").len();
    let all = length.div_ceil(SECTOR as u64);
    let mut lost = BTreeSet::from([0]);
    while lost.len() < sectors {
        lost.insert(dice.roll(all));
    }
    let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("an object");
    for sector in lost {
        let at = sector * SECTOR as u64;
        let noise = photos::bytes(dice.roll(1 << 32), SECTOR.min((length - at) as usize));
        file.seek(SeekFrom::Start(at)).expect("it is there");
        file.write_all(&noise).expect("it is written");
    }
}

/// Damages one in twenty sectors of every pack, at least one.
fn damage_all(bench: &Bench) {
    let mut dice = Dice(11);
    for name in packs(bench) {
        let path = bench.folder().join(&name);
        let sectors = std::fs::metadata(&path).expect("a pack").len() as usize / SECTOR / 20;
        damage(&path, sectors.max(1), &mut dice);
    }
}

#[test]
fn bad_sectors_in_every_pack_heal() {
    let bench = archived(with_parity(10));
    let packs = packs(&bench);
    assert!(packs.len() >= 5, "{packs:?}");
    assert_eq!(ids_of(&packs), protected(&bench));
    let sizes = |prefix: &str| bench.under(prefix).values().sum::<u64>() as f64;
    let share = sizes("parity/") / (sizes("packs/") + sizes("hot/") + sizes("meta/"));
    assert!((0.10..0.125).contains(&share), "{share} of the packs is parity");
    assert_eq!(bench.check().errors, []);

    damage_all(&bench);
    let target = bench.path("out");
    let (summary, problems) = bench.restore("latest", &target, &Restore::default());
    assert_eq!((summary.files_failed, summary.files_damaged), (0, 0));
    tree::assert_same(&bench.library, target);
    let told: BTreeSet<String> =
        problems.iter().map(|problem| problem.path.display().to_string()).collect();
    assert_eq!(told, packs, "every pack is told once");
    assert_eq!(problems.len(), packs.len());
    assert!(
        problems.iter().all(|problem| problem.message.contains("its parity repaired the data"))
    );

    let errors = bench.check().errors;
    let named: BTreeSet<String> = errors.iter().map(|damage| damage.object.to_string()).collect();
    assert_eq!(named, packs);
    for damage in errors {
        assert!(damage.problem.ends_with("; its parity can repair it"), "{damage:?}");
    }
}

#[test]
fn without_parity_the_same_damage_loses_files() {
    let bench = archived(small_packs());
    assert_eq!(bench.under("parity/").len(), 0);
    let mut dice = Dice(11);
    for name in bench.under("packs/").into_keys() {
        damage(&bench.folder().join(name), 2, &mut dice);
    }
    let (summary, _) = bench.restore("latest", &bench.path("out"), &Restore::default());
    assert!(summary.files_damaged > 0);
    assert!(bench.check().errors.iter().all(|damage| !damage.problem.contains("parity")));
}

#[test]
fn what_is_beyond_the_strength_is_lost_and_said_so() {
    let bench = archived(with_parity(10));
    let name = bench.under("packs/").into_keys().next().expect("a pack");
    let path = bench.folder().join(&name);
    let sectors = std::fs::metadata(&path).expect("a pack").len() as usize / SECTOR;
    damage(&path, sectors / 5, &mut Dice(5));
    let (summary, problems) = bench.restore("latest", &bench.path("out"), &Restore::default());
    assert!(summary.files_damaged > 0 && summary.files > 0, "{summary:?}");
    assert!(problems.iter().all(|problem| !problem.message.contains("healed")));
    let errors = bench.check().errors;
    assert!(errors.iter().all(|e| e.object == name && !e.problem.contains("parity")), "{errors:?}");
}

#[test]
fn a_pack_that_was_cut_short_heals_and_one_that_is_gone_does_not() {
    let bench = archived(with_parity(10));
    // A full pack has little padding.
    let largest = bench.under("packs/").into_iter().max_by_key(|(_, bytes)| *bytes);
    let (name, _) = largest.expect("a pack");
    let path = bench.folder().join(&name);
    let content = std::fs::read(&path).expect("a pack");
    // Cut off more than padding and table.
    std::fs::write(&path, &content[..content.len() - 100_000]).expect("cut short");
    tree::assert_same(&bench.library, {
        let target = bench.path("out");
        let (summary, _) = bench.restore("latest", &target, &Restore::default());
        assert_eq!((summary.files_failed, summary.files_damaged), (0, 0));
        target
    });
    let errors = bench.check().errors;
    assert!(errors.iter().all(|e| e.object == name), "{errors:?}");
    assert!(errors.iter().any(|e| e.problem.ends_with("; its parity can repair it")), "{errors:?}");
    std::fs::remove_file(&path).expect("it is gone");
    let (summary, _) = bench.restore("latest", &bench.path("gone"), &Restore::default());
    assert!(summary.files_damaged > 0);
}

#[test]
fn damaged_parity_is_named_and_harms_nothing() {
    let bench = archived(with_parity(10));
    let mut parity = bench.under("parity/").into_keys();
    let (flipped, gone, head) = (parity.next(), parity.next(), parity.next());
    let [flipped, gone, head] = [flipped, gone, head].map(|name| name.expect("parity"));
    let path = bench.folder().join(&flipped);
    let mut content = std::fs::read(&path).expect("parity");
    let at = content.len() / 2;
    content[at] ^= 1;
    std::fs::write(&path, &content).expect("damaged");
    std::fs::remove_file(bench.folder().join(&gone)).expect("gone");
    let path = bench.folder().join(&head);
    let mut content = std::fs::read(&path).expect("parity");
    content[20] ^= 1;
    std::fs::write(&path, &content).expect("damaged");
    let errors = bench.check().errors;
    let named: BTreeSet<String> = errors.iter().map(|damage| damage.object.to_string()).collect();
    assert_eq!(named, BTreeSet::from([flipped.clone(), gone.clone(), head.clone()]));
    let problem = |name: &str| &errors.iter().find(|e| e.object == name).expect("named").problem;
    assert!(problem(&gone).starts_with("it is missing"), "{errors:?}");
    assert!(errors.iter().all(|e| e.snapshots.is_empty() && e.files.is_empty()), "{errors:?}");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    // The end repeats the head, and the shards are intact, so it heals.
    let id = head.trim_start_matches("parity/");
    let name = packs(&bench).into_iter().find(|name| name.ends_with(id)).expect("its pack");
    let mut content = std::fs::read(bench.folder().join(&name)).expect("a pack");
    let whole = content.clone();
    content[1500] ^= 1;
    std::fs::write(bench.folder().join(&name), &content).expect("damaged");
    let repository = bench.open();
    let id: PackId = id.parse().expect("an id");
    let row = repository.catalog.pack_by_id(&id).expect("it is asked").expect("it is known");
    assert_eq!(repository.heal(&row).expect("it is read").expect("it heals"), whole);
}

/// Begins the upload of a pack that never arrives.
fn begun(repository: &Repository) -> PackId {
    let pack = PackBuilder::new(&repository.secrets, PackKind::Hot, 1 << 20).expect("a pack");
    let record = pack.finish("").record;
    repository.catalog.upload_begins(&record).expect("it is remembered");
    record.id
}

/// Drops snapshots and prunes with the planned deletions.
fn pruned(bench: &Bench, drop: &[SnapshotId], now: Time) -> PruneSummary {
    let repository = bench.open();
    let terms = Terms { provider: None, end_window: true, ..Terms::default() };
    let drop: BTreeSet<SnapshotId> = drop.iter().copied().collect();
    let plan = plan(&repository, &drop, terms.at(&Prices::built_in(None), now), &Silent);
    let plan = plan.expect("a plan");
    let before = repository.store.requests();
    let wanted = plan.predict().delete;
    let done = prune(&repository, &plan, now, &Silent).expect("a prune");
    assert_eq!(repository.store.requests().since(&before).delete, wanted);
    done
}

#[test]
fn prune_takes_parity_with_its_packs() {
    let bench = Bench::local(with_parity(5));
    bench.write_photos("first", 9, 700_000);
    bench.write_photos("shoot", 24, 600_000);
    bench.snapshot();
    std::fs::remove_dir_all(bench.library.join("first")).expect("culled");
    for number in (0..24).filter(|number| number % 3 != 0) {
        let name = format!("shoot/IMG_{number:04}.JPG");
        std::fs::remove_file(bench.library.join(name)).expect("culled");
    }
    bench.snapshot();
    let all = ids(&bench);
    let before = packs(&bench);
    let done = pruned(&bench, &all[..1], after(0));
    assert!(done.packs_repacked > 0 && done.objects_deleted > 2 * done.packs_repacked, "{done:?}");
    let left = packs(&bench);
    assert!(left.difference(&before).count() > 0, "packs moved");
    assert_eq!(ids_of(&left), protected(&bench));
    assert_eq!(bench.check().errors, []);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    assert_eq!(pruned(&bench, &[], after(1)), PruneSummary::default());
    pruned(&bench, &all[1..], after(2));
    assert_eq!((packs(&bench).len(), protected(&bench).len()), (0, 0));
}

#[test]
fn interrupted_uploads_and_deletions_leave_no_parity_for_ever() {
    let bench = Bench::local(with_parity(10));
    let bytes = bench.write_photos("shoot", 20, 1_300_000);
    let stop = StopAfter::bytes(bytes / 2);
    let stopped = snapshot(&bench.open_writer(), &bench.snapshot_options(), &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    assert!(!packs(&bench).is_empty());
    assert_eq!(ids_of(&packs(&bench)), protected(&bench));
    // The run was killed between a parity object and its pack, and within another upload.
    let lost: Vec<PackId> = [0, 1].map(|_| begun(&bench.open_writer())).into();
    let parity = |id: &PackId| bench.folder().join(format!("parity/{id}"));
    std::fs::write(parity(&lost[0]), b"all of it").expect("parity");
    std::fs::write(bench.folder().join(format!("parity/{}#7", lost[1])), b"half").expect("a part");
    let half = bench.folder().join("parity/00000000000000000000000000000001#7");
    std::fs::write(&half, b"of another host").expect("a part");
    bench.snapshot();
    assert_eq!(bench.check().errors, []);
    let alone: BTreeSet<_> = &protected(&bench) - &ids_of(&packs(&bench));
    assert_eq!(alone, BTreeSet::from([lost[0].to_string()]));
    let parts = std::fs::read_dir(bench.folder().join("parity")).expect("a folder");
    let parts = parts.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().contains('#')
    });
    assert_eq!(parts.count(), 1, "what was ours is gone");

    // The object is too young to be deleted, because its upload may be running.
    let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = real.expect("after 1970").as_secs() as i64;
    let at = |seconds| Time { seconds, nanos: 0 };
    assert_eq!(pruned(&bench, &[], at(now)), PruneSummary::default());
    let old = now - 3 * 86_400;
    for name in bench.under("parity/").into_keys() {
        set_mtime(&bench.folder().join(name), old, 0);
    }
    set_mtime(&half, old, 0);
    let done = pruned(&bench, &[], at(now));
    assert_eq!(done.objects_deleted, 2, "{done:?}");
    assert!(!half.exists());
    assert_eq!(ids_of(&packs(&bench)), protected(&bench));
    // A prune ended between deleting a pack and its parity.
    let id = {
        let all = ids(&bench);
        let copy = bench.path("parity");
        std::fs::create_dir(&copy).expect("a folder");
        let (name, _) = bench.under("parity/").pop_first().expect("parity");
        let file = name.trim_start_matches("parity/").to_owned();
        std::fs::copy(bench.folder().join(&name), copy.join(&file)).expect("a copy");
        pruned(&bench, &all, at(now));
        std::fs::copy(copy.join(&file), bench.folder().join(&name)).expect("it is back");
        file
    };
    assert_eq!(protected(&bench), BTreeSet::from([id]));
    assert_eq!(pruned(&bench, &[], at(now)).objects_deleted, 1);
    assert_eq!(protected(&bench).len(), 0);
}

#[test]
fn a_pack_arrives_after_its_parity() {
    let bench = Bench::local(with_parity(10));
    bench.write_photos("shoot", 10, 700_000);
    // Make it impossible to write parity.
    let blocked = bench.folder().join("parity");
    std::fs::write(&blocked, b"in the way").expect("a file");
    let failed = snapshot(&bench.open_writer(), &bench.snapshot_options(), &Silent);
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(packs(&bench).len(), 0);
    std::fs::remove_file(&blocked).expect("it is gone");
    bench.snapshot();
    assert_eq!(ids_of(&packs(&bench)), protected(&bench));
    assert_eq!(bench.check().errors, []);
}

#[test]
fn the_identity_of_a_pack_is_what_the_log_says() {
    let bench = archived(with_parity(50));
    let repository: Repository = bench.open();
    let rows = repository.catalog.packs(PackState::Committed).expect("packs");
    let (a, b) = (&rows[0], &rows[1]);
    let name = |id: &PackId| bench.folder().join(format!("parity/{id}"));
    // Use the parity of another pack under this name. Even with this name in it, its length is
    // wrong.
    std::fs::copy(name(&b.id), name(&a.id)).expect("a copy");
    assert_eq!(repository.heal(a).expect("it is read"), None);
    // A forged pack does not match the log, although its parity matches the pack.
    let mut lying = b.clone();
    lying.crc64 ^= 1;
    assert_eq!(repository.heal(&lying).expect("it is read"), None);
    assert!(bench.open().heal(b).expect("it is read").is_some());
}

#[test]
fn a_damaged_pack_is_emptied_by_what_its_parity_heals() {
    let bench = archived(with_parity(10));
    for number in (0..16).filter(|number| number % 3 != 0) {
        let name = format!("shoot/IMG_{number:04}.JPG");
        std::fs::remove_file(bench.library.join(name)).expect("culled");
    }
    bench.snapshot();
    let mut dice = Dice(11);
    let damaged = bench.under("packs/");
    for name in damaged.keys() {
        damage(&bench.folder().join(name), 4, &mut dice);
    }
    let drop = BTreeSet::from([ids(&bench)[0]]);
    let terms = Terms { provider: None, end_window: true, ..Terms::default() };
    let (now, log) = (after(1), Log::default());
    let repository = bench.open();
    let plan = plan(&repository, &drop, terms.at(&Prices::built_in(None), now), &Silent);
    let done = prune(&repository, &plan.expect("a plan"), now, &log).expect("a prune");
    assert!(done.packs_repacked > 0 && done.damaged == 0, "{done:?} {:?}", log.problems());
    let told = log.problems();
    assert!(!told.is_empty(), "nobody is told");
    assert!(
        told.iter().all(|problem| problem.message.contains("its parity repaired the data")),
        "{told:?}"
    );
    let left = bench.under("packs/");
    assert!(damaged.keys().all(|name| !left.contains_key(name)), "{left:?}");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    assert_eq!(bench.check().errors, []);
}

#[test]
fn a_bucket_is_refused() {
    let location = Location::parse("s3://photos/archive").expect("a URL");
    let options = InitOptions {
        settings: with_parity(10),
        password: b"password".to_vec().into(),
        label: String::new(),
        time: 0,
        cost: KdfCost::with_memory(0),
        owner: Owner::generate(),
    };
    let refused = init(&location, &StoreOptions::default(), options, |_| Ok(()));
    assert!(matches!(refused, Err(Error::Input { .. })), "it is refused");
}
