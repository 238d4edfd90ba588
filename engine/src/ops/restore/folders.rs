//! The folders of the target: opened when the walk reaches them, finished at the end. A folder that
//! the restore has created gets the metadata from the snapshot. An existing folder keeps its own,
//! including its time, even if files were written into it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::open::Cause;
use super::options::Overwrite;
use super::state::{At, Before, Was};
use super::write::RestoreWriter;
use crate::files::{Folder, NoFolder, OwnFolder};
use crate::progress::Problem;

impl RestoreWriter<'_> {
    /// Opens the folder of `at`, and creates it and its parents if necessary. If something else is
    /// in the way, reports that and returns `None`.
    pub(super) fn ensure(&mut self, at: &mut At) -> Option<Folder> {
        if at.folder.is_none() {
            let mut line = self.line(at.number);
            line.reverse();
            let mut folder = self.root.clone();
            for (name, number) in at.components.iter().zip(line) {
                folder = self.enter(&folder, name, number)?;
            }
            at.folder = Some(folder);
        }
        at.folder.clone()
    }

    /// Returns the indexes of a folder and of its parents.
    fn line(&self, number: Option<usize>) -> Vec<usize> {
        std::iter::successors(number, |above| self.folders[*above].parent).collect()
    }

    /// Opens a subfolder by its name, and creates it if necessary.
    pub(super) fn enter(&mut self, above: &Folder, name: &[u8], number: usize) -> Option<Folder> {
        let entered = match self.folders[number].was {
            Was::Blocked => return None,
            Was::NotOpened => self.open_or_create(above, name, number),
            Was::Made | Was::There(_) => self.links.open(above, name),
        };
        match entered {
            Ok(folder) => {
                self.disks.entry(folder.device).or_insert_with(|| folder.clone());
                Some(folder)
            }
            Err(why) => {
                self.folders[number].was = Was::Blocked;
                let message = match &why {
                    NoFolder::Link(_) => {
                        self.summary.links_in_the_way += 1;
                        format!("not restored into: {why}")
                    }
                    _ => format!("cannot create the folder: {why}"),
                };
                self.fail(above.path_of(name), message, Cause::Local);
                None
            }
        }
    }

    fn open_or_create(
        &mut self,
        above: &Folder,
        name: &[u8],
        number: usize,
    ) -> Result<Folder, NoFolder> {
        let parent = self.folders[number].parent;
        match self.links.open_own(above, name) {
            Err(NoFolder::Missing) => {
                self.writing(parent, above);
                match above.create(name) {
                    // Another restore may have created it at the same moment.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => {
                        self.folders[number].was = Was::Made;
                        return Ok(made?);
                    }
                }
            }
            // A symlink is never removed, because its target is a part of the library.
            Err(NoFolder::Other) if self.options.overwrite == Some(Overwrite::Always) => {
                self.writing(parent, above);
                above.unlink(name)?;
                self.folders[number].was = Was::Made;
                return Ok(above.create(name)?);
            }
            opened => return Ok(self.entered(opened?, number)),
        }
        let opened = self.links.open_own(above, name)?;
        Ok(self.entered(opened, number))
    }

    fn entered(&mut self, opened: OwnFolder, number: usize) -> Folder {
        let OwnFolder { folder, before, widened } = opened;
        // If a job began with an empty target, it has created every folder there.
        let is_ours = self.options.resume && self.options.overwrite.is_none();
        self.folders[number].was = match is_ours || before.is_unfinished() {
            true => Was::Made,
            false => Was::there(before, widened),
        };
        self.sweep(&folder, Some(number));
        folder
    }

    fn was(&mut self, number: Option<usize>) -> &mut Was {
        match number {
            Some(number) => &mut self.folders[number].was,
            None => &mut self.root_was,
        }
    }

    /// Prepares a folder for writing: makes it writable if it belongs to this user and is
    /// read-only.
    pub(super) fn writing(&mut self, number: Option<usize>, folder: &Folder) {
        if let Was::There(before) = self.was(number)
            && !before.written
        {
            before.written = true;
            // If that fails, the next write reports why.
            before.widened |= folder.widen().unwrap_or(false);
        }
    }

    /// Records that a folder becomes equal to the one in the snapshot.
    pub(super) fn mirrors(&mut self, number: Option<usize>) {
        if let Was::There(before) = self.was(number) {
            before.mirrors = true;
        }
    }

    /// Removes temporary files that killed restores left in a folder.
    pub(super) fn sweep(&mut self, folder: &Folder, number: Option<usize>) {
        let swept = folder.leftovers().and_then(|names| {
            for name in names {
                self.writing(number, folder);
                folder.sweep(&name)?;
            }
            Ok(())
        });
        if let Err(error) = swept {
            let message = format!("cannot remove what an interrupted restore left here: {error}");
            self.progress.problem(Problem { path: folder.path.clone(), message });
        }
    }

    /// Finishes folders, the deepest first, so that setting metadata of a folder cannot change the
    /// time of its parent afterwards. After a failure, does not report metadata that cannot be set.
    pub(super) fn finish_folders(&mut self, reports: bool) {
        // The open folders from the top down to the current one. Its neighbours need most of them,
        // too.
        let mut open: Vec<(usize, Folder)> = Vec::new();
        for number in (0..self.folders.len()).rev() {
            if !matches!(self.folders[number].was, Was::Made | Was::There(_)) {
                continue;
            }
            let mut line = self.line(Some(number));
            line.reverse();
            let same = open.iter().zip(&line).take_while(|((a, _), b)| a == *b).count();
            open.truncate(same);
            let top = open.last().map_or(&self.root, |(_, folder)| folder).clone();
            let opened = line[same..].iter().try_fold(top, |above, below| {
                let folder = self.links.open(&above, &self.folders[*below].entry.name)?;
                if open.len() < self.levels_open {
                    open.push((*below, folder.clone()));
                }
                Ok::<Folder, NoFolder>(folder)
            });
            let problems = match opened {
                Ok(folder) => self.finish_folder(&folder, number),
                Err(NoFolder::Missing) => Vec::new(),
                Err(why) => vec![("open", io::Error::other(why.to_string()))],
            };
            let names = line.iter().map(|at| OsStr::from_bytes(&self.folders[*at].entry.name));
            let path = self.root.path.join(names.collect::<PathBuf>());
            if reports {
                self.report_metadata(&path, problems);
            }
        }
        if let Was::There(before) = &self.root_was {
            let problems = put_back(&self.root, before);
            self.report_metadata(&self.root.path, problems);
        }
    }

    fn finish_folder(&self, folder: &Folder, number: usize) -> Vec<(&'static str, io::Error)> {
        let Some(pending) = self.folders.get(number) else { return Vec::new() };
        match &pending.was {
            Was::There(before) if !before.mirrors => put_back(folder, before),
            _ => folder.set_own_metadata(&pending.entry),
        }
    }
}

fn put_back(folder: &Folder, before: &Before) -> Vec<(&'static str, io::Error)> {
    if !before.written && !before.widened {
        return Vec::new();
    }
    let back = folder.put_back(before.mtime, before.widened.then_some(before.mode));
    back.err().into_iter().map(|error| ("put back the mode and time of", error)).collect()
}
