//! Finds the original location of a part of a snapshot.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::files::Folder;
use crate::format::EntryKind;
use crate::ops::browse::{Snapshot, clean};

/// A part of a snapshot, and the folder on the host that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Path in the snapshot; the content of a folder goes directly into the target.
    pub path: Vec<u8>,
    /// The folder on the host.
    pub target: PathBuf,
    /// The folder of the snapshot that corresponds to the target.
    folder: PathBuf,
}

impl Original {
    /// Finds the original location of a path in the snapshot. A folder above the sources means all
    /// sources below it.
    pub fn find(snapshot: &Snapshot, path: &[u8]) -> Result<Original, Error> {
        let (entry, wanted) = snapshot.locate(path)?;
        let sources = sources(snapshot)?;
        if let Some((real, place)) = sources.iter().find(|(_, place)| wanted.starts_with(place)) {
            let below = wanted.strip_prefix(place).unwrap_or(Path::new(""));
            let real = real.components().chain(below.components()).collect();
            let is_folder = entry.is_none_or(|entry| entry.kind == EntryKind::Folder);
            return Original::at(wanted, real, is_folder);
        }
        let mut below = sources.iter().filter(|(_, place)| place.starts_with(&wanted));
        match (below.next(), below.next()) {
            (Some((_, place)), None) => Original::find(snapshot, place.as_os_str().as_bytes()),
            // The sources have the same layout in the snapshot as on the disk.
            (Some(_), _)
                if sources.iter().all(|(real, place)| *real == Path::new("/").join(place)) =>
            {
                let real = Path::new("/").join(&wanted);
                Original::at(wanted, real, true)
            }
            (Some(_), _) => {
                Err(refused("its sources were in several places; choose one with SNAP:PATH"))
            }
            (None, _) => Err(refused("the snapshot does not record where it was")),
        }
    }

    fn at(path: PathBuf, real: PathBuf, is_folder: bool) -> Result<Original, Error> {
        let bytes = path.clone().into_os_string().into_vec();
        if is_folder {
            return Ok(Original { path: bytes, target: real, folder: path });
        }
        match (real.parent(), path.parent()) {
            (Some(target), Some(folder)) if real.file_name() == path.file_name() => {
                Ok(Original { path: bytes, target: target.to_owned(), folder: folder.to_owned() })
            }
            _ => Err(refused("the file has a different name in the snapshot")),
        }
    }

    /// Creates the target and its missing parents, with the metadata from the snapshot.
    pub fn make_folders(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let (mut target, mut folder) = (self.target.as_path(), self.folder.as_path());
        let mut missing = Vec::new();
        while target.symlink_metadata().is_err() && target.file_name() == folder.file_name() {
            let (Some(above), Some(above_folder)) = (target.parent(), folder.parent()) else {
                break;
            };
            missing.push((target, folder));
            (target, folder) = (above, above_folder);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let top = Folder::root(target).map_err(Error::file("open", target))?;
        let before = top.own_stat().map_err(Error::file("read the metadata of", target))?;
        let widened = top.widen().map_err(Error::file("write into", target))?;
        let mut made = Vec::new();
        let mut above = top.clone();
        for (target, folder) in missing.into_iter().rev() {
            let name = target.file_name().unwrap_or_default().as_bytes();
            above = above.create(name).map_err(Error::file("create", target))?;
            made.extend(snapshot.find(folder.as_os_str().as_bytes())?.map(|e| (above.clone(), e)));
        }
        for (folder, entry) in made.into_iter().rev() {
            // If this fails, the same problem is reported for each file.
            let _ = folder.set_own_metadata(&entry);
        }
        let mode = widened.then_some(before.mode);
        top.put_back(before.mtime, mode).map_err(Error::file("put back the time of", target))
    }
}

/// Returns the original path and the place in the tree of each source.
fn sources(snapshot: &Snapshot) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let sources = snapshot.places.sources();
    let mut found: Vec<(PathBuf, PathBuf)> =
        sources.map(|(real, place)| (Path::new("/").join(real), place.to_owned())).collect();
    if found.is_empty() {
        // The record of an older snapshot has no places; they are the same as the original paths,
        // if these were given as absolute paths.
        let given = snapshot.record.paths.iter().map(|path| Path::new(OsStr::from_bytes(path)));
        let is_clear = |path: &&Path| {
            path.is_absolute() && path.components().all(|part| part != Component::ParentDir)
        };
        let place = |path: &Path| (path.to_owned(), clean(path.as_os_str().as_bytes()));
        found = given.filter(is_clear).map(place).collect();
    }
    match found.is_empty() {
        true => Err(refused("its sources were relative paths")),
        false => Ok(found),
    }
}

fn refused(reason: &'static str) -> Error {
    Error::NoOriginal { reason }
}
