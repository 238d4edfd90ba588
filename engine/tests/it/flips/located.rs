//! Damage is reported for the files and snapshots that it affects, and a restore brings back all other files.
//!
//! The affected files are computed here from the original trees and the tables of the packs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use icecore_engine::format::pack::HEADER_BYTES;
use icecore_engine::format::{ChunkId, EntryKind, SnapshotId};
use icecore_engine::ops::browse::{Snapshot, Visit, ids};
use icecore_engine::repo::{ChunkLocation, PackRow, PackState, Repository, TreeReader};
use icecore_engine::store::layout;
use icecore_testkit::{photos, tree};

use super::{flipped, places_of, tiny_files};
use crate::objects::{checked, lost, put, remove, round, state};
use crate::setup::{Bench, Dice, in_snapshot};

/// The chunks that each file and folder of each snapshot needs. The folder without a name means the top of a snapshot,
/// and its record.
struct Needs {
    entries: BTreeMap<(SnapshotId, PathBuf), (EntryKind, BTreeSet<ChunkId>)>,
    newest: SnapshotId,
}

impl Needs {
    fn of(repository: &Repository) -> Needs {
        let trees = TreeReader::new(repository).expect("trees");
        let mut entries = BTreeMap::new();
        let rows = repository.catalog.snapshots().expect("snapshots");
        let newest = rows.last().expect("a snapshot").entry.id;
        for row in rows {
            let (id, record) = (row.entry.id, row.entry.record);
            let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
            let root = snapshot.root().expect("a root");
            let top = root.iter().copied().chain([record]).collect();
            entries.insert((id, PathBuf::new()), (EntryKind::Folder, top));
            let walked = snapshot.walk(&root, Path::new(""), &mut |path, entry| {
                let chunks = ids(entry)?.into_iter().collect();
                entries.insert((id, path.to_owned()), (entry.kind, chunks));
                Ok(Visit::Into)
            });
            walked.expect("sound trees");
        }
        Needs { entries, newest }
    }

    fn is_hit(&self, at: &(SnapshotId, PathBuf), bad: &BTreeSet<ChunkId>) -> bool {
        self.entries.get(at).is_some_and(|(_, chunks)| !chunks.is_disjoint(bad))
    }

    /// Returns whether a parent folder cannot be listed.
    fn is_hidden(&self, (id, path): &(SnapshotId, PathBuf), bad: &BTreeSet<ChunkId>) -> bool {
        path.ancestors().skip(1).any(|above| self.is_hit(&(*id, above.to_owned()), bad))
    }

    /// Returns what a check must name: files, folders that cannot be listed, and snapshots.
    fn touched(&self, bad: &BTreeSet<ChunkId>) -> (BTreeSet<PathBuf>, BTreeSet<SnapshotId>) {
        let hit = self.entries.keys().filter(|at| self.is_hit(at, bad) && !self.is_hidden(at, bad));
        let (snapshots, mut files): (BTreeSet<_>, BTreeSet<_>) = hit.cloned().unzip();
        // The top of a snapshot has no name, so it is not reported.
        files.remove(Path::new(""));
        (files, snapshots)
    }

    /// Returns the files that a restore of the library in the newest snapshot cannot restore.
    fn lost(&self, bench: &Bench, bad: &BTreeSet<ChunkId>) -> BTreeSet<PathBuf> {
        let library = in_snapshot(&bench.library);
        let files = self
            .entries
            .iter()
            .filter(|((id, _), (kind, _))| *id == self.newest && *kind == EntryKind::File);
        let lost = files.filter(|(at, _)| self.is_hit(at, bad) || self.is_hidden(at, bad));
        let paths = lost.filter_map(|((_, path), _)| path.strip_prefix(&library).ok());
        paths.map(Path::to_owned).collect()
    }
}

/// Makes fifty files in several packs of each kind, and four snapshots that share most of them.
fn archive() -> Bench {
    let bench = Bench::local(tiny_files());
    for number in 1..=3 {
        round(&bench, number);
    }
    bench.write("large/panorama.tif", photos::bytes(1, 2_500_000));
    for number in 0..20 {
        bench.write(&format!("many/{number:02}.JPG"), photos::bytes(100 + number, 9_000));
    }
    std::fs::remove_file(bench.library.join("shoot-1/IMG_0.JPG")).expect("culled");
    bench.write("shoot-2/edits/IMG_1.xmp", photos::sidecar(77));
    bench.snapshot();
    bench
}

/// Runs a check, and compares its report with the files that the bad chunks of a pack affect.
fn assert_located(bench: &Bench, needs: &Needs, pack: &str, bad: &BTreeSet<ChunkId>, what: &str) {
    let report = checked(bench, &bench.cache).expect("a check");
    assert!(!report.errors.is_empty(), "{pack}, {what}: it is not found");
    let (mut files, mut snapshots) = (BTreeSet::new(), BTreeSet::new());
    for damage in &report.errors {
        assert_eq!(damage.object, pack, "{what}: {damage:?}");
        files.extend(damage.files.iter().cloned());
        snapshots.extend(damage.snapshots.iter().copied());
    }
    assert_eq!((files, snapshots), needs.touched(bad), "{pack}, {what}: {:?}", report.errors);
}

/// Restores, and compares the missing files with those that the bad chunks affect.
fn assert_rest_restored(bench: &Bench, needs: &Needs, bad: &BTreeSet<ChunkId>, what: &str) {
    let library = tree::snapshot_of(&bench.library);
    assert_eq!(lost(bench, "latest", &library), needs.lost(bench, bad), "{what}");
}

/// Returns the chunks that contain a byte of a pack.
fn chunks_at(repository: &Repository, row: &PackRow, byte: usize) -> BTreeSet<ChunkId> {
    let places = places_of(repository, row);
    let hit = |range: std::ops::Range<u64>| byte < HEADER_BYTES || range.contains(&(byte as u64));
    places.iter().filter(|place| hit(place.range())).map(|place| place.frame.id).collect()
}

#[test]
fn a_flipped_bit_is_said_of_its_files() {
    const FLIPS: u64 = 200;
    let begun = Instant::now();
    let bench = archive();
    let repository = bench.open();
    let needs = Needs::of(&repository);
    let packs = repository.catalog.packs(PackState::Committed).expect("packs");
    let before = state(&bench);
    let mut dice = Dice(20);
    let mut touching = 0;
    for number in 0..FLIPS {
        let row = &packs[dice.roll(packs.len() as u64) as usize];
        let name = layout::pack(row.kind, &row.id);
        // Most bytes are in frames, so choose the header or the end now and then.
        let bytes = row.bytes;
        let byte = match dice.roll(6) {
            0 => dice.roll(HEADER_BYTES as u64),
            1 => bytes - 1 - dice.roll(700),
            _ => dice.roll(bytes),
        };
        let bit = byte as usize * 8 + dice.roll(8) as usize;
        put(&bench, &name, &flipped(&before[&name], bit));
        let bad = chunks_at(&repository, row, byte as usize);
        touching += u64::from(!needs.touched(&bad).1.is_empty());
        let what = format!("flip {number} of byte {byte}");
        assert_located(&bench, &needs, &name, &bad, &what);
        // A restore syncs every file, so do not run one each time.
        if number % 4 == 0 {
            assert_rest_restored(&bench, &needs, &bad, &what);
        }
        put(&bench, &name, &before[&name]);
    }
    assert!(checked(&bench, &bench.cache).expect("a check").errors.is_empty());
    eprintln!(
        "{FLIPS} flips in {} packs of an archive of {} entries, {touching} of them in what snapshots \
         need: each said of its files; {:.1?}",
        packs.len(),
        needs.entries.len(),
        begun.elapsed(),
    );
}

#[test]
fn a_missing_pack_is_said_of_its_files() {
    let bench = archive();
    let repository = bench.open();
    let needs = Needs::of(&repository);
    let packs = repository.catalog.packs(PackState::Committed).expect("packs");
    let before = state(&bench);
    for row in &packs {
        let name = layout::pack(row.kind, &row.id);
        let bad = chunks_at(&repository, row, 0);
        remove(&bench, &name);
        assert_located(&bench, &needs, &name, &bad, "missing");
        assert_rest_restored(&bench, &needs, &bad, "missing");
        // Keep half of it: chunks that end before that are intact.
        let half = before[&name].len() / 2;
        let ends = |place: &ChunkLocation| half < HEADER_BYTES || place.range().end > half as u64;
        let cut = places_of(&repository, row).into_iter().filter(ends);
        let bad = cut.map(|place| place.frame.id).collect();
        put(&bench, &name, &before[&name][..half]);
        let report = checked(&bench, &bench.cache).expect("a check");
        let files: BTreeSet<PathBuf> =
            report.errors.iter().flat_map(|damage| damage.files.clone()).collect();
        assert_eq!(files, needs.touched(&bad).0, "{name} is cut");
        assert_rest_restored(&bench, &needs, &bad, "cut");
        put(&bench, &name, &before[&name]);
    }
    eprintln!("{} packs missing, each said of its files", packs.len());
}
