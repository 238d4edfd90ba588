//! Finds all files below some local folders, whatever their names.

use std::path::{Path, PathBuf};

use super::{Globs, LeftOut, scan};
use crate::error::Error;
use crate::format::EntryKind;
use crate::progress::{Problem, Progress};

/// A local file and its size.
pub type LocalFile = (PathBuf, u64);

/// The result of a search.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// The files, with their sizes in bytes.
    pub files: Vec<LocalFile>,
    /// Paths that cannot be examined or listed.
    pub failed: Vec<PathBuf>,
    /// Paths that were left out as litter.
    pub litter: Vec<PathBuf>,
}

/// Lists the files at and below some paths, except those that `exclude` leaves out. Reports paths
/// that cannot be examined or listed, and continues.
pub fn gather(
    paths: &[PathBuf],
    exclude: &Globs,
    progress: &dyn Progress,
) -> Result<Gathered, Error> {
    let mut gatherer = Gatherer { exclude, progress, found: Gathered::default() };
    for path in paths {
        let stat = scan::stat(path, true).map_err(Error::file("read", path))?;
        // Follow a symlink that the caller named.
        let path = scan::real_path(path).map_err(Error::file("read", path))?;
        match stat.kind {
            EntryKind::Folder => gatherer.below(path)?,
            _ => gatherer.found.files.push((path, stat.size)),
        }
    }
    Ok(gatherer.found)
}

struct Gatherer<'a> {
    exclude: &'a Globs,
    progress: &'a dyn Progress,
    found: Gathered,
}

impl Gatherer<'_> {
    /// Visits a folder and everything below it, at any depth.
    fn below(&mut self, folder: PathBuf) -> Result<(), Error> {
        let mut folders = vec![(folder, PathBuf::new())];
        while let Some((folder, inside)) = folders.pop() {
            let first = folders.len();
            self.folder(&folder, &inside, &mut folders)?;
            folders[first..].reverse();
        }
        Ok(())
    }

    /// Lists a folder; `inside` is its path below the starting folder. Adds its subfolders to `folders`.
    fn folder(
        &mut self,
        folder: &Path,
        inside: &Path,
        folders: &mut Vec<(PathBuf, PathBuf)>,
    ) -> Result<(), Error> {
        self.progress.check_interrupted()?;
        let listing = match scan::list(folder) {
            Ok(listing) => listing,
            Err(error) => {
                self.failed(folder.to_owned(), format!("cannot list it: {error}"));
                return Ok(());
            }
        };
        for (path, error) in listing.problems {
            // Its kind is unknown, so treat it as a file.
            let inside = inside.join(path.file_name().unwrap_or_default());
            if !self.exclude.matches([&inside, &path], false) {
                self.failed(path, format!("cannot read its metadata: {error}"));
            }
        }
        for found in listing.found {
            let (path, inside) = (found.path_in(folder), found.path_in(inside));
            match self.exclude.leave_out([&inside, &path], found.stat.kind) {
                LeftOut::No => {}
                LeftOut::ByPattern => continue,
                LeftOut::AsLitter => {
                    self.found.litter.push(path);
                    continue;
                }
            }
            match found.stat.kind {
                EntryKind::File => self.found.files.push((path, found.stat.size)),
                EntryKind::Folder => folders.push((path, inside)),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed(&mut self, path: PathBuf, message: String) {
        self.progress.problem(Problem { path: path.clone(), message });
        self.found.failed.push(path);
    }
}
