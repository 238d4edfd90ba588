//! What the owner and genuine hosts do after a generated log: prune, and take further snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use icecore_engine::files::{Globs, Links};
use icecore_engine::format::{SnapshotId, Time};
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune::reclaim::Terms;
use icecore_engine::ops::prune::{plan, prune as execute};
use icecore_engine::ops::restore::{RestoreOptions, Selection, restore};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{Keys, Purpose, Repository, TreeReader};
use icecore_engine::store::layout;
use icecore_testkit::tree;

use super::Place;
use super::cast::Cast;
use super::compare::{assert_means, ids_by_ordinal, named};
use super::menu::Log;
use super::statements::chunks_of;
use crate::setup::{Dice, Log as Problems, bytes_of, in_snapshot};

/// Files that a genuine host stores at the end.
pub struct Settled;

impl Settled {
    pub fn contents(seed: u64) -> [String; 2] {
        [format!("a new photo of {seed}\n"), "the same every day\n".to_owned()]
    }
}

/// Returns a time at which no object is too young to be deleted.
fn late() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    Time { seconds: now.as_secs() as i64 + 400 * 86_400, nanos: 0 }
}

fn names(place: &Place) -> BTreeSet<String> {
    let listed = place.store.list("", None).expect("a listing");
    listed.into_iter().map(|object| object.name).collect()
}

/// Prunes unneeded objects as the owner, and returns the names of the deleted ones.
pub fn prune_unneeded(cast: &Cast, place: &Place, cache: &str) -> BTreeSet<String> {
    pruned(&place.open(cast, cache), place, &BTreeSet::new())
}

/// Prunes as the owner, and drops about half of the snapshots except those in `keep`. Returns the number of deleted
/// objects. Fails if they are not those in the plan.
pub fn prune(cast: &Cast, place: &Place, seed: u64, keep: &[SnapshotId]) -> usize {
    let repository = place.open(cast, "along");
    let mut dice = Dice(seed ^ 0x77);
    let visible = repository.catalog.snapshots().expect("snapshots");
    let apart = repository.catalog.apart_snapshots().expect("snapshots");
    let all = visible.iter().chain(&apart);
    let drop: BTreeSet<SnapshotId> =
        all.map(|row| row.entry.id).filter(|id| !keep.contains(id) && dice.roll(2) == 0).collect();
    pruned(&repository, place, &drop).len()
}

fn pruned(repository: &Repository, place: &Place, drop: &BTreeSet<SnapshotId>) -> BTreeSet<String> {
    let provider = repository.store.location().provider();
    let terms = Terms { provider, end_window: true, ..Terms::default() };
    let prices = Prices::built_in(None);
    let plan = plan(repository, drop, terms.at(&prices, late()), &Silent).expect("a plan");
    let expected: BTreeSet<String> = plan.objects().map(|object| object.name).collect();
    let before = names(place);
    let done = execute(repository, &plan, late(), &Silent).expect("a prune");
    let after = names(place);
    let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
    // A hostile pack that cannot be read cannot be repacked. It stays, and the run counts it as damaged.
    let unreadable: BTreeSet<String> = match done.damaged {
        0 => BTreeSet::new(),
        _ => plan.moving.packs.iter().map(|(row, _)| layout::pack(row.kind, &row.id)).collect(),
    };
    assert!(gone.is_subset(&expected), "what is deleted was announced: {gone:?} {expected:?}");
    let stay: Vec<&String> = expected.difference(&gone).collect();
    assert!(stay.iter().all(|name| unreadable.contains(*name)), "it stays: {stay:?} {done:?}");
    assert_eq!(done.objects_deleted, gone.len() as u64);
    assert!(gone.iter().all(|name| !name.starts_with("log/") && name != layout::CONFIG));
    gone
}

/// The owner revokes and dismisses, a genuine host takes a snapshot, and all genuine snapshots restore.
pub fn check_interrupted(
    cast: &Cast,
    place: &Place,
    log: &mut Log,
    contents: &[String; 2],
    seed: u64,
) -> usize {
    // Include the entries of the prune.
    log.adopt(place);
    let settled = log.slots.len();
    log.settle();
    place.put(log, settled..log.slots.len());
    let meaning = log.meaning();
    assert_means(&place.open(cast, "along"), &meaning);

    let library = place.cache("library");
    std::fs::create_dir_all(&library).expect("a folder");
    for (content, number) in contents.iter().zip(0..) {
        std::fs::write(library.join(format!("{number}.txt")), content).expect("a file");
    }
    let options = SnapshotOptions {
        paths: vec![library.clone(), cast.bench.library.clone()],
        host: "second".to_owned(),
        time: Time { seconds: 1_700_000_500, nanos: seed as u32 % 1000 },
        program: "icecore test".to_owned(),
        ..SnapshotOptions::default()
    };
    let keys = Keys::Writer(Box::new(cast.second.credential.clone()));
    let genuine = place.try_open(keys, "second", Purpose::Use).expect("it opens");
    let problems = Problems::default();
    snapshot(&genuine, &options, &problems).expect("a snapshot");
    assert_eq!(problems.problems(), []);
    drop(genuine);

    let repository = place.open(cast, "along");
    let latest = browse::resolve(&repository, "latest").expect("a snapshot");
    assert_eq!(latest.writer, cast.second.enrolled.id);
    let ids = ids_by_ordinal(&repository);
    let needed = named(&ids, &latest.entry.packs);
    let entry = repository.secrets.read_log(
        latest.number,
        &place.store.get(&layout::log(latest.number), 64 << 20).expect("an entry"),
    );
    let added = entry.expect("an entry").packs;
    let old = log.slots.iter().filter_map(|slot| slot.said.as_ref());
    let old = old.flat_map(|said| said.entry.packs.clone());
    let tables: BTreeMap<_, _> =
        old.chain(added).map(|record| (record.id, chunks_of(&record))).collect();
    for content in contents {
        let id = cast.chunk_of(content.as_bytes());
        let has = |pack: &&icecore_engine::format::PackId| {
            let is_relied_on = meaning.packs.get(*pack).is_none_or(|pack| pack.lost.is_empty());
            is_relied_on && tables[*pack].contains(&id)
        };
        assert!(needed.iter().any(|pack| has(&pack)), "{content:?} counts on a revoked writer");
    }
    let first = cast.base.snapshots[0].id;
    drop(repository);
    // The owner has dismissed all entries of the thief, so this prune deletes objects. It must not delete genuine ones.
    let gone = prune(cast, place, seed + 1, &[first, latest.entry.id]);
    let repository = place.open(cast, "along");
    restores(&repository, "latest", &library, place, "new");
    restores(&repository, "latest", &cast.bench.library, place, "old");
    if repository.catalog.snapshots().expect("snapshots").iter().any(|row| row.entry.id == first) {
        restores(&repository, &first.to_string(), &cast.bench.library, place, "first");
    }
    gone
}

/// Fails if the restore of a folder differs from the folder as it is now.
pub fn restores(repository: &Repository, name: &str, path: &Path, place: &Place, target: &str) {
    let target = place.cache(target);
    let options = RestoreOptions {
        target: target.clone(),
        special: true,
        links: Links::new(false),
        ..RestoreOptions::default()
    };
    let trees = TreeReader::new(repository).expect("a reader of trees");
    let row = browse::resolve(repository, name).expect("it is there");
    let snapshot = Snapshot::open(&trees, row).expect("its record is read");
    let selection = Selection {
        snapshot: &snapshot,
        path: bytes_of(&in_snapshot(path)),
        include: Globs::new([]).expect("no pattern"),
        exclude: Globs::new([]).expect("no pattern"),
    };
    let problems = Problems::default();
    restore(&selection, &options, &problems).expect("a restore");
    assert_eq!(problems.problems(), []);
    tree::assert_same(path, target);
}
