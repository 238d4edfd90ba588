//! Computes a snapshot without some paths: which tree chunks are new, which are kept, and which are
//! removed. Stores nothing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::format::{ChunkId, Entry, EntryKind, PackKind, tree};
use crate::ops::browse::{Snapshot, check_depth, ids};
use crate::repo::TreeReader;

/// Numbers of files and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of files.
    pub files: u64,
    /// Their total size.
    pub bytes: u64,
    /// Number of empty files.
    pub empty: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Counts) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.empty += other.empty;
    }
}

/// A snapshot without some paths.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// The tree chunks of its new root.
    pub root: Vec<ChunkId>,
    /// Whether anything is left besides the folders above the removed paths.
    pub keeps: bool,
    /// Tree chunks that are new.
    pub made: Vec<(ChunkId, Vec<u8>)>,
    /// Tree chunks that are kept, with everything below them, …
    pub kept_trees: Vec<ChunkId>,
    /// … and chunks of files that are kept in the changed folders.
    pub kept_data: Vec<ChunkId>,
    /// Tree chunks that are removed, with everything below them, …
    pub gone_trees: Vec<ChunkId>,
    /// … and single chunks that are removed: those of files and of the folders above.
    pub gone: Vec<ChunkId>,
    /// The removed places in the tree, with the counts of files and bytes there.
    pub removed: Vec<(PathBuf, Counts)>,
}

/// Names to remove, as a tree of folders. A name without names below it is removed itself.
#[derive(Debug, Default)]
struct RemovedNames(BTreeMap<Vec<u8>, RemovedNames>);

/// Removes paths from snapshots. Caches the counts of trees.
pub(super) struct PathRemover<'a> {
    trees: &'a TreeReader<'a>,
    paths: &'a [Vec<u8>],
    counted: HashMap<ChunkId, Counts>,
}

impl<'a> PathRemover<'a> {
    pub fn new(trees: &'a TreeReader<'a>, paths: &'a [Vec<u8>]) -> Self {
        PathRemover { trees, paths, counted: HashMap::new() }
    }

    /// Removes the paths from a snapshot; returns `None` if it contains none of them.
    pub fn cut(&mut self, snapshot: &Snapshot) -> Result<Option<Rewritten>, Error> {
        let mut top = RemovedNames::default();
        let mut places = Vec::new();
        for path in self.paths {
            places.extend(snapshot.locate_all(path)?);
        }
        for place in &places {
            let mut node = &mut top;
            let mut names = place.iter().peekable();
            if names.peek().is_none() {
                return self.whole(snapshot).map(Some);
            }
            while let Some(name) = names.next() {
                let is_new = !node.0.contains_key(name.as_bytes());
                let next = node.0.entry(name.as_bytes().to_vec()).or_default();
                // A folder above this place is already removed.
                if !is_new && next.0.is_empty() {
                    break;
                }
                if names.peek().is_none() {
                    next.0.clear();
                }
                node = next;
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let mut cut = Rewritten { gone: vec![snapshot.row.entry.record], ..Rewritten::default() };
        cut.root = self.folder(&snapshot.root()?, Path::new(""), &top, &mut cut)?;
        Ok(Some(cut))
    }

    /// Removes everything from a snapshot.
    fn whole(&mut self, snapshot: &Snapshot) -> Result<Rewritten, Error> {
        let gone_trees = snapshot.root()?;
        let counts = self.count_trees(&gone_trees, 0)?;
        let removed = vec![(PathBuf::new(), counts)];
        Ok(Rewritten {
            gone: vec![snapshot.row.entry.record],
            gone_trees,
            removed,
            ..Rewritten::default()
        })
    }

    /// Removes names from a folder and from those below it; returns its new tree chunks. Keeps a
    /// chunk in which nothing changes.
    fn folder(
        &mut self,
        chunks: &[ChunkId],
        place: &Path,
        names: &RemovedNames,
        cut: &mut Rewritten,
    ) -> Result<Vec<ChunkId>, Error> {
        check_depth(place)?;
        let mut all = Vec::new();
        for id in chunks {
            let entries = self.trees.folder(std::slice::from_ref(id))?;
            if !entries.iter().any(|entry| names.0.contains_key(&entry.name[..])) {
                cut.kept_trees.push(*id);
                cut.keeps = true;
                all.push(*id);
                continue;
            }
            cut.gone.push(*id);
            let mut left = Vec::with_capacity(entries.len());
            for mut entry in entries {
                let below = names.0.get(&entry.name[..]);
                let place = place.join(OsStr::from_bytes(&entry.name));
                match below {
                    Some(below) if below.0.is_empty() => {
                        cut.removed.push((place, self.count(&entry, 0)?));
                        match entry.kind {
                            EntryKind::Folder => cut.gone_trees.extend(ids(&entry)?),
                            _ => cut.gone.extend(ids(&entry)?),
                        }
                        continue;
                    }
                    Some(below) if entry.kind == EntryKind::Folder => {
                        let new = self.folder(&ids(&entry)?, &place, below, cut)?;
                        entry.chunks = Some(tree::join_ids(&new));
                    }
                    _ if entry.kind == EntryKind::Folder => {
                        let below = ids(&entry)?;
                        cut.keeps |= !below.is_empty();
                        cut.kept_trees.extend(below);
                    }
                    _ => {
                        cut.keeps = true;
                        cut.kept_data.extend(ids(&entry)?);
                    }
                }
                left.push(entry);
            }
            if !left.is_empty() {
                let raw = tree::encode(&left);
                let id = self.trees.repository().secrets.chunk_id(PackKind::Meta, &raw);
                cut.made.push((id, raw));
                all.push(id);
            }
        }
        Ok(all)
    }

    /// Counts the files and bytes at and below an entry.
    pub fn count(&mut self, entry: &Entry, depth: usize) -> Result<Counts, Error> {
        match entry.kind {
            EntryKind::File => {
                let bytes = entry.size.unwrap_or(0);
                Ok(Counts { files: 1, bytes, empty: u64::from(bytes == 0) })
            }
            EntryKind::Folder => self.count_trees(&ids(entry)?, depth + 1),
            _ => Ok(Counts::default()),
        }
    }

    fn count_trees(&mut self, chunks: &[ChunkId], depth: usize) -> Result<Counts, Error> {
        if depth > tree::DEPTH_MAX {
            let reason = format!("its folders are nested more than {} deep", tree::DEPTH_MAX);
            return Err(Error::damaged("a tree", reason));
        }
        let mut all = Counts::default();
        for id in chunks {
            let counts = match self.counted.get(id) {
                Some(counts) => *counts,
                None => {
                    let mut counts = Counts::default();
                    for entry in self.trees.folder(std::slice::from_ref(id))? {
                        counts.add(self.count(&entry, depth)?);
                    }
                    self.counted.insert(*id, counts);
                    counts
                }
            };
            all.add(counts);
        }
        Ok(all)
    }
}
