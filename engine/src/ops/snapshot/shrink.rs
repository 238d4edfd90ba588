//! Detects whether a snapshot has shrunk: compares its counts with the last full snapshot of its history. Uses the log
//! alone, so that a host without the identity can do it.
//!
//! A file is *the same* if all its chunks are in packs that the last full snapshot needs. It is not enough that its
//! content is already stored, because an interrupted run or a marked snapshot may have stored it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::context::{Context, FOLDER, GIVEN};
use super::last::is_less_than_half;
use super::mounts::MissingMount;
use super::totals::SourceTotals;
use crate::error::Error;
use crate::files::Found;
use crate::format::{EntryKind, PathsKey, ROTTED, SHRUNK, SnapshotEntry, SourceCount};
use crate::repo::SnapshotRow;
use crate::repo::catalog::{CachedFolder, Catalog};

/// If a snapshot has fewer files than this, all of them may be edited in one day.
const CHANGED_FILES_MIN: u64 = 5;
/// A clock that goes back by no more than this was only corrected.
const CLOCK_SECONDS: i64 = 86_400;

/// Why a snapshot is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The last full snapshot.
    pub last: SnapshotEntry,
    /// Number of files in it, …
    pub files: u64,
    /// … and how many of them still exist or, if there are enough files to judge by content, exist with the
    /// same content.
    pub left: u64,
    /// Whether the files still exist, but with other contents.
    pub changed: bool,
    /// Whether the two snapshots have no source in common and share only a name.
    pub other_sources: bool,
}

/// A source, or a mount point below one, that has lost its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emptied {
    /// The source, or the mount point.
    pub path: PathBuf,
    /// Number of files that it had, …
    pub before: u64,
    /// … and that it has now.
    pub now: u64,
}

/// What the owner should know about a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubts {
    /// The mark that the snapshot got, because it lacks many files.
    pub mark: Option<Mark>,
    /// Sources and mount points that had files and now have none or few, perhaps because a disk is not mounted.
    pub emptied: Vec<Emptied>,
    /// Sources that are left out completely because of patterns or markers.
    pub left_out: Vec<PathBuf>,
    /// The previous snapshot, if its time is much later than that of this one.
    pub clock: Option<SnapshotEntry>,
    /// Number of files of this snapshot that were corrupted on disk
    /// ([`Totals::files_rotted`](super::Totals::files_rotted)).
    pub rotted: u64,
    /// Earlier snapshots of the history that are marked because of such files and have not been accepted.
    pub rotted_before: Vec<SnapshotEntry>,
}

impl Doubts {
    /// Returns whether the snapshot may lack files that it should contain.
    pub fn is_incomplete(&self) -> bool {
        self.mark.is_some() || !self.emptied.is_empty() || !self.left_out.is_empty()
    }

    /// Returns whether this snapshot, or an earlier one that the owner has not accepted, contains files that were
    /// corrupted on disk.
    pub fn has_rotted(&self) -> bool {
        self.rotted > 0 || !self.rotted_before.is_empty()
    }

    /// Returns the reason to mark the snapshot, if any (spec section 4.3, key 10).
    pub(super) fn marked(&self) -> Option<u64> {
        let rotted = (self.rotted > 0).then_some(ROTTED);
        self.mark.as_ref().map(|_| SHRUNK).or(rotted)
    }
}

/// What this host knows of its sources from earlier runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// It has no record of one of the sources, so it does not know what was renamed there.
    pub lacks_source: bool,
    /// It has lost its catalog, so that it does not know which files are new: it wrote the last full snapshot, but has no
    /// record of one of its sources.
    pub is_lost: bool,
}

impl Memory {
    pub fn or(self, other: Memory) -> Memory {
        Memory {
            lacks_source: self.lacks_source || other.lacks_source,
            is_lost: self.is_lost || other.is_lost,
        }
    }
}

impl Context<'_> {
    /// Returns what this host knows of its sources from earlier runs.
    pub fn memory(&self) -> Result<Memory, Error> {
        let own = self.last.as_ref().filter(|last| last.is_own);
        let mut memory = Memory::default();
        for path in &self.roots.paths {
            let key = self.repository.secrets.paths_key(std::slice::from_ref(path));
            let path = Path::new(OsStr::from_bytes(path));
            // The stat cache records a file in the row of its parent folder.
            let (what, at) =
                if path.is_dir() { (FOLDER, Some(path)) } else { (GIVEN, path.parent()) };
            let row = at.map(|at| self.folder_key(what, at));
            let known = row.map(|row| self.repository.catalog.folder(row)).transpose()?.flatten();
            if known.is_some() {
                continue;
            }
            memory.lacks_source = true;
            memory.is_lost |= own.is_some_and(|last| {
                let sources = last.entry.sources.as_ref();
                sources.is_none_or(|sources| sources.iter().any(|source| source.key == key))
            });
        }
        Ok(memory)
    }

    /// Counts the files of a folder that has not changed since the last run, which need not be the run of the last full
    /// snapshot.
    pub fn count_unchanged(
        &self,
        view: &Catalog,
        source: usize,
        (key, folder): (i64, &CachedFolder),
        found: &[Found],
    ) -> Result<(), Error> {
        let files = found.iter().filter(|found| found.stat.kind == EntryKind::File);
        let (mut count, mut empty) = (0, 0);
        files.for_each(|file| (count, empty) = (count + 1, empty + u64::from(file.stat.size == 0)));
        let (mut same, mut databases) = (0, 0);
        if let Some(last) = self.last.as_ref().filter(|_| count > 0) {
            same = count - empty;
            if !last.has_all(folder.packs.iter().flatten()) {
                let files = view.folder_files(key)?;
                let full = files.iter().filter(|file| file.size > 0);
                same = 0;
                for file in full {
                    match last.has_file(view, &file.chunks)? {
                        true => same += 1,
                        false => databases += u64::from(file.database.is_some()),
                    }
                }
            }
        }
        self.count_source(source, |totals| {
            totals.files += count;
            totals.empty += empty;
            totals.same += same;
            totals.databases += databases;
        });
        Ok(())
    }

    /// Returns the counts of each source in the form of the log.
    pub fn source_counts(&self) -> Vec<SourceCount> {
        let sources = self.totals().sources;
        let counts = self.roots.paths.iter().zip(sources);
        let count = |(path, totals): (&Vec<u8>, SourceTotals)| SourceCount {
            key: self.repository.secrets.paths_key(std::slice::from_ref(path)),
            files: totals.files,
            empty: totals.empty,
        };
        let mut counts: Vec<SourceCount> = counts.map(count).collect();
        counts.sort_unstable_by_key(|count| count.key);
        counts
    }

    /// Compares what the run found with the last full snapshot.
    pub fn doubts(&self) -> Result<Doubts, Error> {
        let keys = self.roots.paths.iter();
        let keys = keys.map(|path| self.repository.secrets.paths_key(std::slice::from_ref(path)));
        let now: Vec<_> = keys.zip(self.totals().sources).collect();
        let path = |at: usize| PathBuf::from(OsStr::from_bytes(&self.roots.paths[at]));
        let mut doubts = Doubts {
            clock: self.clock()?,
            rotted: self.totals().files_rotted,
            rotted_before: self.rotted_before()?,
            ..Doubts::default()
        };
        for (at, (_, totals)) in now.iter().enumerate() {
            if totals.left_out_whole || (totals.left_out && totals.files == 0) {
                doubts.left_out.push(path(at));
            }
        }
        let lost = self.lost(&now)?;
        doubts.emptied = lost.iter().map(|(emptied, _)| emptied.clone()).collect();
        let missing: u64 = lost.iter().map(|(emptied, _)| emptied.before - emptied.now).sum();
        let holder = lost.first().map(|(_, holder)| holder);
        let last = self.last.as_ref().map(|last| &last.entry);
        let is_last = |last: &SnapshotEntry| {
            lost.is_empty() || lost.iter().any(|(_, holder)| holder.id == last.id)
        };
        if let Some(last) = last.filter(|last| is_last(last)) {
            doubts.mark =
                Overlap::with(last, &now, lost.is_empty()).mark(last, last.files, missing);
        } else if let Some(holder) = holder {
            // The other history's contents were not counted, and this snapshot may not have all of its sources.
            let compared = Overlap::with(holder, &now, false);
            let had: u64 = doubts.emptied.iter().map(|emptied| emptied.before).sum();
            let (files, there) = match compared.other_sources {
                true => (had, had - missing),
                false => (compared.files, compared.there),
            };
            let compared = Overlap { there, same: there, other_sources: false, ..compared };
            doubts.mark = compared.mark(holder, files, missing);
        }
        Ok(doubts)
    }

    /// Finds sources and mount points that had files and now have none or few, each with the newest full snapshot with
    /// these files. Looks at all histories, because a new set of sources may contain an old source.
    fn lost(
        &self,
        now: &[(PathsKey, SourceTotals)],
    ) -> Result<Vec<(Emptied, SnapshotEntry)>, Error> {
        let rows = self.repository.catalog.snapshots()?;
        let host = &self.options.host;
        let full = || rows.iter().rev().filter(|row| row.entry.host == *host && !row.is_marked());
        let count = |entry: &SnapshotEntry, key: &PathsKey| {
            entry.sources.iter().flatten().find(|source| source.key == *key).map(|s| s.files)
        };
        let last = self.last.as_ref().map(|last| &last.entry);
        let mut lost = Vec::new();
        for (path, (key, totals)) in self.roots.paths.iter().zip(now) {
            if totals.files > 0 {
                continue;
            }
            let in_last = last.and_then(|entry| Some((count(entry, key)?, entry)));
            let newest = || full().find_map(|row| Some((count(&row.entry, key)?, &row.entry)));
            let had = in_last
                .filter(|(files, _)| *files > 0)
                .or_else(|| newest().filter(|(files, _)| *files > 0 && !totals.left_out));
            if let Some((before, entry)) = had {
                let path = PathBuf::from(OsStr::from_bytes(path));
                lost.push((Emptied { path, before, now: 0 }, entry.clone()));
            }
        }
        for MissingMount { path, before, now, holder } in self.mounts.away() {
            if lost.iter().all(|(emptied, _)| emptied.path != path) {
                let is_full = full().any(|row| row.entry.id == holder.id);
                let last = last.filter(|_| !is_full);
                let holder = last.cloned().unwrap_or(holder);
                lost.push((Emptied { path, before, now }, holder));
            }
        }
        Ok(lost)
    }

    /// Returns the snapshots of the history that are marked because files were corrupted on disk.
    fn rotted_before(&self) -> Result<Vec<SnapshotEntry>, Error> {
        let key = self.options.history_key(self.repository, &self.roots.paths);
        let rows = self.repository.catalog.snapshots()?.into_iter();
        let is_ours = |row: &SnapshotRow| {
            row.entry.host == self.options.host && row.entry.history_key() == key
        };
        let rotted = rows.filter(|row| is_ours(row) && row.is_rotted());
        Ok(rotted.map(|row| row.entry).collect())
    }

    /// Returns the previous snapshot, if its time is much later than that of this one.
    fn clock(&self) -> Result<Option<SnapshotEntry>, Error> {
        let key = self.options.history_key(self.repository, &self.roots.paths);
        let rows = self.repository.catalog.snapshots()?;
        let is_ours = |row: &SnapshotRow| {
            row.entry.host == self.options.host && row.entry.history_key() == key
        };
        let before = rows.into_iter().rfind(is_ours).map(|row| row.entry);
        let now = self.options.time.seconds;
        Ok(before.filter(|entry| entry.time.seconds.saturating_sub(now) > CLOCK_SECONDS))
    }
}

/// How much of one snapshot is left in the sources of another.
struct Overlap {
    /// Number of files in the sources that both have, …
    files: u64,
    /// … of those that still exist, …
    there: u64,
    /// … and of those with the same content.
    same: u64,
    /// Whether the two have no source in common.
    other_sources: bool,
}

impl Overlap {
    /// Compares counts, source by source. If `moved` is true, a file with known content counts wherever it is now.
    fn with(last: &SnapshotEntry, now: &[(PathsKey, SourceTotals)], moved: bool) -> Overlap {
        let sum = |of: fn(&SourceTotals) -> u64| now.iter().map(|(_, t)| of(t)).sum::<u64>();
        let Some(sources) = &last.sources else {
            let same = sum(|t| t.same + t.empty + t.databases);
            let (files, there) = (last.files, sum(|t| t.files));
            return Overlap { files, there, same, other_sources: false };
        };
        let mut all = Overlap { files: 0, there: 0, same: 0, other_sources: true };
        let (mut filled, mut empty, mut databases) = (0, 0, 0);
        for before in sources {
            let filled_before = before.files.saturating_sub(before.empty);
            (filled, empty) = (filled + filled_before, empty + before.empty);
            let Some((_, totals)) = now.iter().find(|(key, _)| *key == before.key) else {
                continue;
            };
            all.other_sources = false;
            all.files += before.files;
            all.there += before.files.min(totals.files);
            all.same += filled_before.min(totals.same + totals.databases);
            all.same += before.empty.min(totals.empty);
            databases += totals.databases;
        }
        if moved {
            let known = filled.min(sum(|t| t.same) + databases) + empty.min(sum(|t| t.empty));
            (all.there, all.same) = (all.there.max(known), all.same.max(known));
        }
        all
    }

    /// Decides by the counts whether to mark the snapshot. `files` is the number of files in the compared sources of
    /// the other snapshot; `missing` is the number that disappeared from emptied sources, whatever was added since.
    fn mark(self, last: &SnapshotEntry, files: u64, missing: u64) -> Option<Mark> {
        let Overlap { there, same, other_sources, .. } = self;
        let there = there.min(files);
        let lost = missing > 0 || (files >= 2 && is_less_than_half(there, files));
        let changed = files >= CHANGED_FILES_MIN && is_less_than_half(same, files);
        let few = files < CHANGED_FILES_MIN;
        let left = if few { there } else { same.min(there) };
        (lost || changed).then(|| Mark {
            last: last.clone(),
            files,
            left: left.min(files.saturating_sub(missing)),
            changed: changed && !lost,
            other_sources,
        })
    }
}
