//! Collects the versions of a file or folder: one for each content, with the snapshots that contain
//! it.
//!
//! Successive snapshots share most of their folders. If a snapshot has the same folder at the same
//! path as one that was searched before, the folder is not listed again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Snapshot, check_depth, ids};
use crate::error::Error;
use crate::files::Globs;
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::tree_limits::Sharing;

/// One version of an entry at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// The real path.
    pub path: PathBuf,
    /// The entry without chunks, holes and attributes.
    pub entry: Entry,
    /// The indexes of the first and the last snapshot that contain it, in the order in which they
    /// were added.
    pub first: usize,
    /// The index of the last one.
    pub last: usize,
    /// Number of snapshots that contain it.
    pub snapshots: u64,
}

/// Versions that were found.
#[derive(Debug, Default)]
pub struct Versions {
    found: Vec<Version>,
    by_key: HashMap<[u8; 32], usize>,
    /// The versions at and below each folder that was searched.
    searched: HashMap<[u8; 32], Vec<u32>>,
}

/// What to search for.
pub struct VersionSearch<'a> {
    /// Patterns of the paths.
    pub patterns: &'a Globs,
    /// Which of the entries with such a path are found.
    pub filter: &'a dyn Fn(&Entry) -> bool,
}

/// Called for a folder that cannot be listed. If it returns an error, the search ends.
pub type OnDamage<'a> = dyn FnMut(&Path, Error) -> Result<(), Error> + 'a;

impl Versions {
    /// Searches a snapshot for names. Snapshots are added in the order of their numbers.
    pub fn search(
        &mut self,
        snapshot: &Snapshot,
        number: usize,
        wanted: &VersionSearch,
        damaged: &mut OnDamage,
    ) -> Result<(), Error> {
        let mut search =
            Search { snapshot, number, wanted, sharing: Sharing::default(), damaged, all: self };
        search.folder(&snapshot.root()?, Path::new(""))?;
        Ok(())
    }

    /// Adds the entry at one path of a snapshot. Returns whether there is one.
    pub fn look_at(
        &mut self,
        snapshot: &Snapshot,
        number: usize,
        path: &[u8],
    ) -> Result<bool, Error> {
        match snapshot.locate(path) {
            Ok((Some(entry), place)) => {
                self.add(&snapshot.places.real(&place), &entry, number, true);
                Ok(true)
            }
            Ok((None, _)) | Err(Error::NotInSnapshot { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns all versions, by path, then in the order of the snapshots.
    pub fn sorted(self) -> Vec<Version> {
        let mut found = self.found;
        found
            .sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()).then(a.first.cmp(&b.first)));
        found
    }

    /// Counts an entry. A folder is the same version as long as its time is the same, unless its
    /// `content` matters too.
    fn add(&mut self, path: &Path, entry: &Entry, number: usize, content: bool) -> u32 {
        let key = key(path, entry, content || entry.kind != EntryKind::Folder);
        let at = *self.by_key.entry(key).or_insert_with(|| {
            let entry = Entry { chunks: None, holes: None, xattrs: None, ..entry.clone() };
            let path = path.to_owned();
            self.found.push(Version { path, entry, first: number, last: number, snapshots: 0 });
            self.found.len() - 1
        });
        self.has(at, number);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn has(&mut self, at: usize, number: usize) {
        let Some(version) = self.found.get_mut(at) else { return };
        if version.snapshots == 0 || version.last != number {
            version.snapshots += 1;
            version.last = number;
        }
    }
}

fn key(path: &Path, entry: &Entry, content: bool) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    field(path.as_os_str().as_bytes());
    field(&[entry.kind as u8]);
    field(&entry.mtime.seconds.to_le_bytes());
    field(&entry.mtime.nanos.to_le_bytes());
    if content {
        field(&entry.size.unwrap_or(0).to_le_bytes());
        field(entry.chunks.as_deref().map_or(&[][..], |ids| ids));
        field(entry.target.as_deref().map_or(&[][..], |target| target));
        for hole in entry.holes.iter().flatten() {
            field(&hole.offset.to_le_bytes());
            field(&hole.bytes.to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

/// A search of one snapshot.
struct Search<'a, 'd> {
    snapshot: &'a Snapshot<'a>,
    number: usize,
    wanted: &'a VersionSearch<'a>,
    sharing: Sharing,
    damaged: &'a mut OnDamage<'d>,
    all: &'a mut Versions,
}

impl Search<'_, '_> {
    /// Searches a folder and everything below it; returns the versions found.
    fn folder(&mut self, chunks: &[ChunkId], place: &Path) -> Result<Vec<u32>, Error> {
        let key = self.key_of_folder(chunks, place);
        if let Some(found) = self.all.searched.get(&key) {
            let found = found.clone();
            found.iter().for_each(|at| self.all.has(*at as usize, self.number));
            return Ok(found);
        }
        let mut found = Vec::new();
        match check_depth(place).and_then(|()| self.snapshot.trees.folder(chunks)) {
            Err(error) if error.is_of_object() => (self.damaged)(place, error)?,
            entries => {
                let entries = entries?;
                self.sharing.count(chunks, entries.len())?;
                for entry in entries {
                    let place = place.join(OsStr::from_bytes(&entry.name));
                    found.extend(self.entry(&place, &entry));
                    if entry.kind == EntryKind::Folder {
                        found.extend(self.folder(&ids(&entry)?, &place)?);
                    }
                }
            }
        }
        self.all.searched.insert(key, found.clone());
        Ok(found)
    }

    fn entry(&mut self, place: &Path, entry: &Entry) -> Option<u32> {
        // A folder above the sources was not archived itself.
        if self.snapshot.places.is_above(place) {
            return None;
        }
        let real = self.snapshot.places.real(place);
        let is_folder = entry.kind == EntryKind::Folder;
        let matches = self.wanted.patterns.matches([place, &real], is_folder);
        let is_wanted = matches && (self.wanted.filter)(entry);
        is_wanted.then(|| self.all.add(&real, entry, self.number, false))
    }

    fn key_of_folder(&self, chunks: &[ChunkId], place: &Path) -> [u8; 32] {
        let real = self.snapshot.places.real(place);
        let mut hasher = blake3::Hasher::new();
        for path in [place, &real] {
            let bytes = path.as_os_str().as_bytes();
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
        // Above the sources, a folder of the tree may have another real path in another snapshot.
        for (source, at) in self.snapshot.places.sources().filter(|(_, at)| at.starts_with(place)) {
            for path in [source, at] {
                let bytes = path.as_os_str().as_bytes();
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
            }
        }
        chunks.iter().for_each(|id| _ = hasher.update(&id.0));
        *hasher.finalize().as_bytes()
    }
}
