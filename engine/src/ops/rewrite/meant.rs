//! Finds what a typed path refers to in all snapshots, and under which other names the same content remains. Stores
//! nothing.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::format::{Entry, EntryKind};
use crate::ops::browse::{Snapshot, Visit, ids};
use crate::progress::Progress;
use crate::repo::{Repository, SnapshotRow, TreeReader};

/// Returns all snapshots whose trees may still exist: visible, dropped and set apart.
pub(super) fn all_of(repository: &Repository) -> Result<Vec<SnapshotRow>, Error> {
    let catalog = &repository.catalog;
    let mut all = catalog.snapshots()?;
    all.extend(catalog.dropped_snapshots()?);
    all.extend(catalog.apart_snapshots()?);
    Ok(all)
}

/// What typed paths refer to in all snapshots.
pub(super) struct Meant {
    /// The typed paths, and the real paths that they refer to in any snapshot.
    pub all: Vec<Vec<u8>>,
    /// The typed paths that are in no snapshot.
    pub unknown: Vec<Vec<u8>>,
}

/// Finds what typed paths refer to. A path may be typed as one snapshot shows it and have another name in another
/// snapshot, and must be removed there as well.
pub(super) fn meant(
    trees: &TreeReader,
    rows: &[SnapshotRow],
    typed: &[Vec<u8>],
) -> Result<Meant, Error> {
    let mut all: Vec<Vec<u8>> = typed.to_vec();
    let mut unknown = all.clone();
    let mut fresh = all.clone();
    while !fresh.is_empty() {
        let mut found = Vec::new();
        for row in rows {
            let places = Snapshot::open(trees, row.clone()).and_then(|snapshot| {
                let mut missing = Vec::new();
                for path in &unknown {
                    if snapshot.locate_all(path)?.is_empty() {
                        missing.push(path.clone());
                    }
                }
                unknown = missing;
                let places = places(&snapshot, &fresh)?;
                Ok(places.iter().map(|p| snapshot.places.real(p).into_owned()).collect::<Vec<_>>())
            });
            match places {
                // If the trees are gone, this snapshot no longer names anything.
                Err(error) if error.is_of_object() => {}
                places => found.extend(places?),
            }
        }
        fresh.clear();
        // Skip the top of a snapshot, which has no name other than the typed paths.
        for path in found.into_iter().filter(|path| !path.as_os_str().is_empty()) {
            let path = Path::new("/").join(path).as_os_str().as_bytes().to_vec();
            if !all.contains(&path) {
                all.push(path.clone());
                fresh.push(path);
            }
        }
    }
    Ok(Meant { all, unknown })
}

/// Finds the places that some paths have in a snapshot.
fn places(snapshot: &Snapshot, paths: &[Vec<u8>]) -> Result<Vec<PathBuf>, Error> {
    let mut places = Vec::new();
    for path in paths {
        places.extend(snapshot.locate_all(path)?);
    }
    Ok(places)
}

/// Returns the snapshots that contain one of some paths.
pub(super) fn having<'r>(
    trees: &TreeReader,
    rows: &'r [SnapshotRow],
    paths: &[Vec<u8>],
) -> Result<Vec<&'r SnapshotRow>, Error> {
    let mut having = Vec::new();
    for row in rows {
        if !places(&Snapshot::open(trees, row.clone())?, paths)?.is_empty() {
            having.push(row);
        }
    }
    Ok(having)
}

/// Content that remains after one of its names is removed, because other files have the same content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptElsewhere {
    /// Number of different contents.
    pub contents: u64,
    /// The other names of these contents in all snapshots, as real paths.
    pub names: BTreeSet<PathBuf>,
}

/// Finds content of some paths that remains in the `visible` snapshots under other names.
pub(super) fn elsewhere(
    trees: &TreeReader,
    visible: &[SnapshotRow],
    dropped: &[SnapshotRow],
    paths: &[Vec<u8>],
    progress: &dyn Progress,
) -> Result<KeptElsewhere, Error> {
    let mut gone = Contents::default();
    for (row, is_dropped) in
        visible.iter().map(|row| (row, false)).chain(dropped.iter().map(|row| (row, true)))
    {
        progress.check_interrupted()?;
        match gone.add(trees, row, paths) {
            Err(error) if is_dropped && error.is_of_object() => {}
            added => added?,
        }
    }
    let mut contents: HashSet<[u8; 16]> = HashSet::new();
    let mut names: BTreeSet<PathBuf> = BTreeSet::new();
    let mut seen: HashSet<(PathBuf, [u8; 16])> = HashSet::new();
    for row in visible.iter().rev().filter(|_| !gone.keys.is_empty()) {
        progress.check_interrupted()?;
        let snapshot = Snapshot::open(trees, row.clone())?;
        let places = places(&snapshot, paths)?;
        if places.iter().any(|place| place.as_os_str().is_empty()) {
            continue;
        }
        snapshot.walk(&snapshot.root()?, Path::new(""), &mut |place, entry| {
            if places.iter().any(|gone| gone == place) {
                return Ok(Visit::Over);
            }
            let Some(key) = key(entry) else { return Ok(Visit::Into) };
            if entry.kind == EntryKind::Folder {
                // At another place, files of the same tree have other names. Remember only trees that stay whole.
                let is_whole = !places.iter().any(|gone| gone.starts_with(place));
                return Ok(match is_whole && !seen.insert((place.to_owned(), key)) {
                    true => Visit::Over,
                    false => Visit::Into,
                });
            }
            if gone.keys.contains(&key) {
                contents.insert(key);
                names.insert(snapshot.places.real(place).into_owned());
            }
            Ok(Visit::Into)
        })?;
    }
    Ok(KeptElsewhere { contents: contents.len() as u64, names })
}

/// The contents of removed files.
#[derive(Default)]
struct Contents {
    keys: HashSet<[u8; 16]>,
    seen: HashSet<[u8; 16]>,
}

impl Contents {
    fn add(
        &mut self,
        trees: &TreeReader,
        row: &SnapshotRow,
        paths: &[Vec<u8>],
    ) -> Result<(), Error> {
        let snapshot = Snapshot::open(trees, row.clone())?;
        for place in places(&snapshot, paths)? {
            match snapshot.at(&place)? {
                Some(Some(entry)) if entry.kind != EntryKind::Folder => self.entry(&entry),
                Some(entry) => {
                    let chunks = entry.as_ref().map_or_else(|| snapshot.root(), ids)?;
                    if entry.as_ref().and_then(key).is_some_and(|key| !self.seen.insert(key)) {
                        continue;
                    }
                    snapshot.walk(&chunks, &place, &mut |_, entry| {
                        if entry.kind == EntryKind::Folder {
                            let is_new = key(entry).is_none_or(|key| self.seen.insert(key));
                            return Ok(if is_new { Visit::Into } else { Visit::Over });
                        }
                        self.entry(entry);
                        Ok(Visit::Into)
                    })?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) {
        if entry.kind == EntryKind::File {
            self.keys.extend(key(entry));
        }
    }
}

/// Returns half of a hash over the chunks of an entry; `None` if it has no chunks.
fn key(entry: &Entry) -> Option<[u8; 16]> {
    let chunks = entry.chunks.as_deref().filter(|chunks| !chunks.is_empty())?;
    blake3::hash(chunks).as_bytes().first_chunk().copied()
}
