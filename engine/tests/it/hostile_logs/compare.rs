//! Compares the state that the engine computes from a log with the one according to the rules.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::format::{PackId, PackRange};
use icecore_engine::repo::catalog::LostBy;
use icecore_engine::repo::{PackState, Repository, SnapshotRow};

use super::reference::{Meaning, Shot};

/// Fails if the state of an open repository differs from the rules.
pub fn assert_means(repository: &Repository, meaning: &Meaning) {
    let catalog = &repository.catalog;
    let void = catalog.void_entries().expect("void entries");
    let void: BTreeMap<u64, bool> =
        void.into_iter().map(|entry| (entry.number, entry.dismissed)).collect();
    assert_eq!(void, meaning.void, "entries that are void or doubtful");
    assert_eq!(repository.behind_gap().expect("numbers"), meaning.behind, "behind the end");
    assert_eq!(repository.has_doubts().expect("an answer"), meaning.has_doubts(), "doubts");
    let verdicts = catalog.verdicts().expect("verdicts");
    assert_eq!(verdicts.revoked, meaning.revoked, "who is revoked");
    assert_eq!(verdicts.void, meaning.voided, "what the owner calls void");
    writers(repository, meaning);
    packs(repository, meaning);
    let ids = ids_by_ordinal(repository);
    let dropped = meaning.sorted(|shot| shot.dropped > 0);
    for (what, found, expected) in [
        ("visible snapshots", catalog.snapshots(), meaning.visible()),
        ("snapshots set apart", catalog.apart_snapshots(), meaning.apart()),
        ("dropped snapshots", catalog.dropped_snapshots(), dropped),
    ] {
        let row = |row: SnapshotRow| seen(&ids, row);
        let found: Vec<Seen> = found.expect("snapshots").into_iter().map(row).collect();
        let expected: Vec<Seen> = expected.into_iter().map(said).collect();
        assert_eq!(found, expected, "{what}");
    }
    let drops: BTreeMap<_, _> = catalog.drops().expect("numbers").into_iter().collect();
    let dropped = meaning.shots.iter().filter(|shot| shot.dropped > 0);
    assert_eq!(drops, dropped.map(|shot| (shot.id, shot.dropped)).collect(), "who dropped what");
    assert_eq!(catalog.settings().expect("settings"), meaning.settings, "settings");
}

fn writers(repository: &Repository, meaning: &Meaning) {
    let found = repository.catalog.writers().expect("writers");
    let found: Vec<_> = found
        .into_iter()
        .map(|writer| {
            (writer.number, writer.id, writer.label, writer.rights.bits(), writer.revoked_from)
        })
        .collect();
    let mut expected: Vec<_> = meaning
        .writers
        .iter()
        .map(|(writer, number)| {
            let revoked = meaning.revoked.get(&writer.id).copied();
            (*number, writer.id, writer.label.clone(), writer.rights & 3, revoked)
        })
        .collect();
    expected.sort();
    assert_eq!(found, expected, "writers, and what each may say");
}

fn packs(repository: &Repository, meaning: &Meaning) {
    let catalog = &repository.catalog;
    let alive = catalog.packs(PackState::Committed).expect("packs");
    let dead = catalog.packs(PackState::Tombstoned).expect("packs");
    let (dead, orphans): (Vec<_>, Vec<_>) = dead.into_iter().partition(|row| row.ordinal.is_some());
    let ids = |rows: &[icecore_engine::repo::PackRow]| -> BTreeSet<PackId> {
        rows.iter().map(|row| row.id).collect()
    };
    let are = |dead: bool| -> BTreeSet<PackId> {
        meaning.packs.iter().filter(|(_, pack)| pack.dead == dead).map(|(id, _)| *id).collect()
    };
    assert_eq!(ids(&alive), are(false), "packs that are alive");
    assert_eq!(ids(&dead), are(true), "packs that are dead");
    assert_eq!(ids(&orphans), meaning.orphans, "orphans");
    for row in alive.iter().chain(&dead) {
        let pack = &meaning.packs[&row.id];
        assert_eq!(row.by_writer, pack.by_writer, "who gave up pack {}", row.id);
        let lost = catalog.lost_slots(row.key, LostBy::Log).expect("slots");
        let lost: BTreeSet<u64> = (0..pack.slots).filter(|slot| lost.contains(*slot)).collect();
        assert_eq!(lost, pack.lost, "slots of pack {} on which nothing counts", row.id);
    }
    let order = |row: &&icecore_engine::repo::PackRow| row.ordinal;
    let mut placed: Vec<_> = alive.iter().chain(&dead).collect();
    placed.sort_by_key(order);
    let mut expected: Vec<_> = meaning.packs.iter().map(|(id, pack)| (pack.place, *id)).collect();
    expected.sort();
    let placed: Vec<PackId> = placed.iter().map(|row| row.id).collect();
    assert_eq!(placed, expected.iter().map(|(_, id)| *id).collect::<Vec<_>>(), "places of packs");
}

/// The compared fields of a snapshot.
type Seen = (String, u64, String, Vec<String>, [bool; 2], BTreeSet<PackId>);

fn said(shot: &Shot) -> Seen {
    let Shot { id, number, writer, tags, accepted, apart, packs, .. } = shot;
    (id.to_string(), *number, writer.to_string(), tags.clone(), [*accepted, *apart], packs.clone())
}

fn seen(ids: &BTreeMap<u64, PackId>, row: SnapshotRow) -> Seen {
    let SnapshotRow { entry, number, writer, accepted, apart } = row;
    let packs = named(ids, &entry.packs);
    (entry.id.to_string(), number, writer.to_string(), entry.tags, [accepted, apart], packs)
}

/// Returns the packs that a snapshot names.
pub fn named(ids: &BTreeMap<u64, PackId>, ranges: &[PackRange]) -> BTreeSet<PackId> {
    let run = |range: &PackRange| {
        assert!(range.count < 1 << 20, "a run in the catalog is of packs that are there");
        range.first..range.first + range.count
    };
    ranges.iter().flat_map(run).map(|ordinal| ids[&ordinal]).collect()
}

pub fn ids_by_ordinal(repository: &Repository) -> BTreeMap<u64, PackId> {
    let states = [PackState::Committed, PackState::Tombstoned];
    let rows = states.map(|state| repository.catalog.packs(state).expect("packs"));
    let rows = rows.into_iter().flatten();
    rows.filter_map(|row| row.ordinal.map(|ordinal| (ordinal, row.id))).collect()
}
