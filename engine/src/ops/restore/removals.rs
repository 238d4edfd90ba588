//! Counts in advance what `--delete` will remove, by the same decisions as in `delete.rs`. Changes nothing, not even a
//! mode, so it does not count files in a folder that would have to be made readable first.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::select::{Selection, Start};
use super::{Overwrite, RestoreOptions};
use crate::error::Error;
use crate::files::litter::is_litter;
use crate::files::{Folder, Links, is_temporary};
use crate::format::{ChunkId, Entry, EntryKind};
use crate::ops::browse::{check_depth, ids};
use crate::ops::tree_limits::Sharing;
use crate::progress::Progress;

/// Counts the names in the target that are not in the snapshot and that a restore will remove.
pub(super) fn removals(
    selection: &Selection,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let (Ok(root), Start::Folder { chunks, path }) =
        (Folder::root(&options.target), selection.start()?)
    else {
        return Ok(0);
    };
    let links = options.links(selection.snapshot.trees.repository());
    let sharing = Sharing::default();
    let mut counter = RemovalCounter { selection, options, progress, links, sharing, removed: 0 };
    counter.folder(&chunks, &root, &path, true)?;
    Ok(counter.removed)
}

struct RemovalCounter<'a> {
    selection: &'a Selection<'a>,
    options: &'a RestoreOptions,
    progress: &'a dyn Progress,
    links: Links,
    sharing: Sharing,
    removed: u64,
}

impl RemovalCounter<'_> {
    fn folder(
        &mut self,
        chunks: &[ChunkId],
        folder: &Folder,
        path: &Path,
        picked: bool,
    ) -> Result<(), Error> {
        self.progress.check_interrupted()?;
        let trees = self.selection.snapshot.trees;
        let entries = match check_depth(path).and_then(|()| trees.folder(chunks)) {
            // The restore will report it.
            Err(error) if error.is_of_object() => return Ok(()),
            entries => entries?,
        };
        self.sharing.count(chunks, entries.len())?;
        if picked {
            self.others(folder, &entries, path);
        }
        for entry in &entries {
            let path = path.join(OsStr::from_bytes(&entry.name));
            if self.selection.leaves_out(&path, entry) {
                continue;
            }
            let picked = self.selection.picks(&path, entry);
            if entry.kind == EntryKind::Folder {
                if let Ok(below) = self.links.open(folder, &entry.name) {
                    self.folder(&ids(entry)?, &below, &path, picked)?;
                }
                continue;
            }
            let is_folder = |stat: crate::files::Stat| stat.kind == EntryKind::Folder;
            if picked
                && self.options.overwrite == Some(Overwrite::Always)
                && folder.stat(&entry.name).ok().flatten().is_some_and(is_folder)
            {
                // This folder is in the way of a file.
                self.goes(folder, &entry.name, path.parent().unwrap_or(Path::new("")));
            }
        }
        Ok(())
    }

    /// Counts the names in a folder that the snapshot does not contain.
    fn others(&mut self, folder: &Folder, entries: &[Entry], inside: &Path) {
        if folder.is_beyond || !self.selection.covers(inside) {
            return;
        }
        let Ok(names) = folder.names() else { return };
        for name in names {
            if entries.binary_search_by(|entry| entry.name[..].cmp(&name)).is_ok() {
                continue;
            }
            let stat = folder.stat(&name).ok().flatten();
            if stat.is_some_and(|stat| is_litter(OsStr::from_bytes(&name), stat.kind)) {
                continue;
            }
            self.goes(folder, &name, inside);
        }
    }

    /// Counts what will be removed at and below a name. Returns whether all of it will be.
    fn goes(&mut self, above: &Folder, name: &[u8], inside: &Path) -> bool {
        let Ok(Some(stat)) = above.stat(name) else { return false };
        let path = inside.join(OsStr::from_bytes(name));
        let is_folder = stat.kind == EntryKind::Folder;
        if self.selection.protects(&path, &above.path_of(name), is_folder) {
            return false;
        }
        let mut all = true;
        if is_folder {
            let Ok(folder) = above.open(name) else { return false };
            let Ok(names) = folder.names() else { return false };
            if folder.is_beyond {
                return false;
            }
            for name in names {
                all &= self.goes(&folder, &name, &path);
            }
        } else if is_temporary(name) && stat.kind == EntryKind::File {
            // Another restore may be writing it.
            return false;
        }
        self.removed += u64::from(all);
        all
    }
}
