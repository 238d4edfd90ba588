//! Restores the other names of files: as hard links, or as copies if the disk cannot link.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::aside;
use super::finish::is_there;
use super::open::Cause;
use super::state::{Destination, Further, components};
use super::write::RestoreWriter;
use crate::files::Folder;
use crate::format::EntryKind;

impl RestoreWriter<'_> {
    /// Gives files their additional names.
    pub(super) fn link(&mut self) {
        for further in std::mem::take(&mut self.further_names) {
            let Further { place, entry, .. } = &further;
            let first = entry.link.and_then(|link| self.first_names.get(&link)).cloned();
            let Some((first, _)) = first else { continue };
            let path = self.path_of(place);
            if let Some(cause) = self.failed.get(&self.path_of(&first)).copied() {
                self.fail(path, "its other name could not be restored".to_owned(), cause);
                continue;
            }
            match self.link_or_copy(&first, &further) {
                Ok(()) => {
                    self.summary.files += u64::from(entry.kind == EntryKind::File);
                    self.summary.bytes = self.summary.bytes.saturating_add(entry.size.unwrap_or(0));
                    self.progress.advance(u64::from(entry.kind == EntryKind::File), 0);
                }
                Err(error) => {
                    let message = format!("cannot link it to its other name, or copy it: {error}");
                    self.fail(path, message, Cause::Local);
                }
            }
        }
    }

    fn link_or_copy(
        &self,
        (first_folder, first_name): &Destination,
        Further { place: (folder, name), entry, replaces, stale }: &Further,
    ) -> io::Result<()> {
        let from = self.open(first_folder)?;
        let to = self.open(folder)?;
        aside::before_link((&from, first_name), &to, entry, stale, self.progress)?;
        match from.hard_link(first_name, &to, name, *replaces) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let repository = self.selection.snapshot.trees.repository();
                return if is_there(repository, entry, &to) { Ok(()) } else { Err(error) };
            }
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
        // The link may fail because the file system has none, because the name is on another disk,
        // or because a file has a maximum number of links.
        if entry.kind != EntryKind::File {
            return self.make_special(&to, entry);
        }
        let unset = from.copy(first_name, &to, entry, *replaces)?;
        self.report_metadata(&to.path_of(name), unset);
        Ok(())
    }

    fn open(&self, components: &[Vec<u8>]) -> io::Result<Folder> {
        let mut names = components.iter();
        let opened =
            names.try_fold(self.root.clone(), |folder, name| self.links.open(&folder, name));
        opened.map_err(|why| io::Error::other(why.to_string()))
    }

    fn path_of(&self, (folder, name): &Destination) -> PathBuf {
        self.options.target.join(components(folder)).join(OsStr::from_bytes(name))
    }
}
