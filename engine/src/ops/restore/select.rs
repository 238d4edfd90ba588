//! Selects a part of a snapshot.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::files::{Globs, normal};
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::browse::{Snapshot, Visit, clean, ids};

/// A path in a snapshot, and patterns that include or exclude files below it.
pub struct Selection<'a> {
    pub snapshot: &'a Snapshot<'a>,
    /// Path in the snapshot; its content goes directly into the target. Empty for everything.
    pub path: Vec<u8>,
    pub include: Globs,
    pub exclude: Globs,
}

/// Where a selection begins.
pub(super) enum Start {
    Folder { chunks: Vec<ChunkId>, path: PathBuf },
    File(Box<Entry>),
}

impl Selection<'_> {
    pub(super) fn start(&self) -> Result<Start, Error> {
        Ok(match self.snapshot.locate(&self.path)? {
            (None, path) => Start::Folder { chunks: self.snapshot.root()?, path },
            (Some(entry), path) if entry.kind == EntryKind::Folder => {
                Start::Folder { chunks: ids(&entry)?, path }
            }
            (Some(entry), _) => Start::File(Box::new(entry)),
        })
    }

    /// Returns whether the snapshot has the whole folder, because it is at or below a source, not
    /// above one.
    pub(super) fn covers(&self, folder: &Path) -> bool {
        if self.snapshot.places.sources().next().is_some() {
            return self.snapshot.places.sources().any(|(_, place)| folder.starts_with(place));
        }
        // The record of an older snapshot has the paths as they were given. A path with `..` was
        // resolved on the disk, and the record does not show where to.
        self.snapshot.record.paths.iter().any(|given| {
            let path = Path::new(std::ffi::OsStr::from_bytes(given));
            let goes_up = path.components().any(|part| part == Component::ParentDir);
            !goes_up && folder.starts_with(clean(given))
        })
    }

    /// Returns whether an entry is left out, with everything below it.
    pub(super) fn leaves_out(&self, path: &Path, entry: &Entry) -> bool {
        self.excludes(path, entry.kind == EntryKind::Folder)
    }

    /// Returns whether a pattern leaves a path out. A pattern may refer to the place of an entry in
    /// the tree, to its real path, or to its path below the restored folder.
    pub(super) fn excludes(&self, path: &Path, is_folder: bool) -> bool {
        let real = self.snapshot.places.real(path);
        self.exclude.matches([path, &real, self.below(path)], is_folder)
    }

    /// Returns whether a pattern protects a name in the target that the snapshot does not have. A
    /// pattern may refer to it like to a file of the snapshot, or by its path on this computer.
    pub(super) fn protects(&self, path: &Path, here: &Path, is_folder: bool) -> bool {
        let here = std::path::absolute(here).unwrap_or_else(|_| here.to_owned());
        let here = here.strip_prefix("/").unwrap_or(&here);
        self.excludes(path, is_folder) || self.exclude.matches([here], is_folder)
    }

    /// Returns the path of an entry below the restored folder.
    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        let above = clean(&self.path);
        // The parent names are as many as were typed, but may have their accents in the other form.
        if !path.starts_with(&above) && !normal(path).starts_with(&*normal(&above)) {
            return path;
        }
        let mut names = path.iter();
        above.iter().for_each(|_| _ = names.next());
        match names.as_path() {
            below if below.as_os_str().is_empty() => path,
            below => below,
        }
    }

    /// Returns whether an entry is included, by itself or with a folder above it.
    pub(super) fn picks(&self, path: &Path, entry: &Entry) -> bool {
        let folder = entry.kind == EntryKind::Folder;
        let real = self.snapshot.places.real(path);
        self.include.is_empty() || self.include.take([path, &real, self.below(path)], folder)
    }

    /// Visits all selected files, each with its path below the target. Calls `damaged` for each
    /// folder that cannot be listed.
    pub(super) fn each_file(
        &self,
        visit: &mut dyn FnMut(&Path, &Entry) -> Result<(), Error>,
        damaged: &mut dyn FnMut(&Path, Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (chunks, start) = match self.start()? {
            Start::Folder { chunks, path } => (chunks, path),
            Start::File(entry) => {
                let name = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.name));
                if entry.kind == EntryKind::File {
                    visit(&name, &entry)?;
                }
                return Ok(());
            }
        };
        let visit = &mut |path: &Path, entry: &Entry| {
            if self.leaves_out(path, entry) {
                return Ok(Visit::Over);
            }
            if entry.kind == EntryKind::File && self.picks(path, entry) {
                visit(path.strip_prefix(&start).unwrap_or(path), entry)?;
            }
            Ok(Visit::Into)
        };
        self.snapshot.walk_past(&chunks, &start, visit, damaged)
    }
}
