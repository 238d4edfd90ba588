//! Selects a part of a snapshot.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::files::beside::JOURNALS;
use crate::files::{Globs, normal};
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::browse::{Snapshot, Visit, clean, ids};

/// A path in a snapshot, and patterns that include or exclude files below it.
pub struct Selection<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot<'a>,
    /// Path in the snapshot; its content goes straight into the target. Empty for everything.
    pub path: Vec<u8>,
    /// Patterns of the files that are restored; none for all.
    pub include: Globs,
    /// Patterns of the files that are left out.
    pub exclude: Globs,
}

/// Where the walk of a selection begins.
pub(super) enum Start {
    Folder {
        chunks: Vec<ChunkId>,
        path: PathBuf,
    },
    /// A file, and its journals if it is a database.
    Files(Vec<Entry>),
}

impl Selection<'_> {
    pub(super) fn start(&self) -> Result<Start, Error> {
        Ok(match self.snapshot.locate(&self.path)? {
            (None, path) => Start::Folder { chunks: self.snapshot.root()?, path },
            (Some(entry), path) if entry.kind == EntryKind::Folder => {
                Start::Folder { chunks: ids(&entry)?, path }
            }
            (Some(entry), place) => {
                let journals = self.journals(&entry, &place)?;
                Start::Files([entry].into_iter().chain(journals).collect())
            }
        })
    }

    /// Returns the journals that were stored beside a file. Without them, a database that another program had open is
    /// useless.
    fn journals(&self, entry: &Entry, place: &Path) -> Result<Vec<Entry>, Error> {
        let mut journals = Vec::new();
        if entry.kind != EntryKind::File {
            return Ok(journals);
        }
        for ending in JOURNALS {
            match self.snapshot.find(&[place.as_os_str().as_bytes(), ending.as_bytes()].concat()) {
                Ok(Some(entry)) if entry.kind == EntryKind::File => journals.push(entry),
                Ok(_) | Err(Error::NotInSnapshot { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(journals)
    }

    /// Returns whether the snapshot contains a whole folder, because the folder is a source or below one, not above
    /// one.
    pub(super) fn covers(&self, folder: &Path) -> bool {
        if self.snapshot.places.sources().next().is_some() {
            return self.snapshot.places.sources().any(|(_, place)| folder.starts_with(place));
        }
        // An older snapshot contains only the paths as they were given. The place of a path with `..` is its real path,
        // which the snapshot does not contain.
        self.snapshot.record.paths.iter().any(|given| {
            let path = Path::new(OsStr::from_bytes(given));
            let goes_up = path.components().any(|part| part == Component::ParentDir);
            !goes_up && folder.starts_with(clean(given))
        })
    }

    /// Returns whether an entry is excluded, with everything below it.
    pub(super) fn leaves_out(&self, path: &Path, entry: &Entry) -> bool {
        self.excludes(path, entry.kind == EntryKind::Folder)
    }

    /// Returns whether a pattern excludes a path. A pattern may be written for the place of an entry in the tree, for
    /// its real path, or for its path below the folder that is restored.
    pub(super) fn excludes(&self, path: &Path, is_folder: bool) -> bool {
        let real = self.snapshot.places.real(path);
        self.exclude.matches([path, &real, self.below(path)], is_folder)
    }

    /// Returns whether a pattern protects a file in the target that the snapshot does not contain. The pattern may be
    /// written as for a file of the snapshot, or for the path on this computer.
    pub(super) fn protects(&self, path: &Path, here: &Path, is_folder: bool) -> bool {
        let here = std::path::absolute(here).unwrap_or_else(|_| here.to_owned());
        let here = here.strip_prefix("/").unwrap_or(&here);
        self.excludes(path, is_folder) || self.exclude.matches([here], is_folder)
    }

    /// Returns the path of an entry below the folder that is restored.
    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        let above = clean(&self.path);
        // The typed path has the same number of names, but may have the other form of accents.
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

    /// Returns whether an entry is included, by its own path, by a folder above it, or as the journal of an included
    /// database.
    pub(super) fn picks(&self, path: &Path, entry: &Entry) -> bool {
        let is_folder = entry.kind == EntryKind::Folder;
        let includes = |path: &Path| {
            let real = self.snapshot.places.real(path);
            self.include.take([path, &real, self.below(path)], is_folder)
        };
        let is_of_picked = || {
            let bytes = path.as_os_str().as_bytes();
            let database = JOURNALS.iter().find_map(|ending| bytes.strip_suffix(ending.as_bytes()));
            database.is_some_and(|path| includes(Path::new(OsStr::from_bytes(path))))
        };
        self.include.is_empty() || includes(path) || (!is_folder && is_of_picked())
    }

    /// Visits all selected files, each with its path below the target. Calls `damaged` for each folder that cannot be
    /// listed.
    pub(super) fn each_file(
        &self,
        visit: &mut dyn FnMut(&Path, &Entry) -> Result<(), Error>,
        damaged: &mut dyn FnMut(&Path, Error) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (chunks, start) = match self.start()? {
            Start::Folder { chunks, path } => (chunks, path),
            Start::Files(entries) => {
                let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
                for file in files {
                    visit(Path::new(OsStr::from_bytes(&file.name)), file)?;
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
