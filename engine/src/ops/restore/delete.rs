//! Implements `--delete`: removes files that the snapshot does not contain. Never removes excluded
//! files or the folders above them, files on another disk that is mounted below the target, files
//! behind a symlink, files beside the archived folders, or litter (`files/litter`) in these
//! folders.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::write::RestoreWriter;
use crate::files::litter::is_litter;
use crate::files::{Folder, OwnFolder, is_temporary};
use crate::format::{Entry, EntryKind};
use crate::progress::Problem;

impl RestoreWriter<'_> {
    /// Removes the names in a folder that the snapshot does not contain; `inside` is the folder's
    /// path in the snapshot.
    pub(super) fn delete(
        &mut self,
        folder: &Folder,
        number: Option<usize>,
        entries: &[Entry],
        inside: &Path,
    ) {
        if !self.selection.covers(inside) {
            return;
        }
        let Ok(mut names) = folder.names() else { return };
        let is_there = |name: &Vec<u8>| entries.binary_search_by(|e| e.name[..].cmp(name)).is_ok();
        names.retain(|name| !is_there(name));
        if folder.is_beyond {
            if !names.is_empty() {
                self.report(folder, "on another disk or behind a symlink: nothing is removed here");
            }
            return;
        }
        self.mirrors(number);
        for name in names {
            // Snapshots usually leave litter out, so its absence does not mean that it should be
            // removed here.
            let stat = folder.stat(&name).ok().flatten();
            if stat.is_some_and(|stat| is_litter(OsStr::from_bytes(&name), stat.kind)) {
                continue;
            }
            self.writing(number, folder);
            self.remove(folder, &name, inside);
        }
    }

    /// Removes a name and everything below it, except excluded and mounted parts. Returns whether
    /// all of it is gone.
    pub(super) fn remove(&mut self, above: &Folder, name: &[u8], inside: &Path) -> bool {
        match self.try_remove(above, name, inside) {
            Ok(gone) => {
                self.summary.deleted += u64::from(gone);
                gone
            }
            Err(error) => {
                let message = format!("cannot remove: {error}");
                self.progress.problem(Problem { path: above.path_of(name), message });
                false
            }
        }
    }

    fn try_remove(&mut self, above: &Folder, name: &[u8], inside: &Path) -> io::Result<bool> {
        let Some(stat) = above.stat(name)? else { return Ok(false) };
        let path = inside.join(OsStr::from_bytes(name));
        let is_folder = stat.kind == EntryKind::Folder;
        if self.selection.protects(&path, &above.path_of(name), is_folder) {
            return Ok(false);
        }
        if !is_folder {
            // Another restore may be writing this file, so let `sweep` decide.
            if is_temporary(name) && stat.kind == EntryKind::File {
                return above.sweep(name);
            }
            return above.unlink(name).map(|()| true);
        }
        let OwnFolder { folder, before, widened } = above.open_own(name)?;
        if folder.is_beyond {
            self.report(&folder, "another disk is mounted here: it stays as it is");
            return Ok(false);
        }
        let widened = folder.widen()? || widened;
        let mut is_empty = true;
        for name in folder.names()? {
            is_empty &= self.remove(&folder, &name, &path);
        }
        if is_empty {
            above.remove_folder(name)?;
        } else {
            folder.put_back(before.mtime, widened.then_some(before.mode))?;
        }
        Ok(is_empty)
    }

    fn report(&self, folder: &Folder, message: &str) {
        let (path, message) = (folder.path.clone(), message.to_owned());
        self.progress.problem(Problem { path, message });
    }
}
