//! The folders that hold what a walk visits, opened one below the other from the target.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::Folder;

/// The folder of the path that was asked for last: its neighbours are in it too.
pub(super) struct Parents {
    /// `None` while there is no target.
    root: Option<Folder>,
    last: Option<(PathBuf, io::Result<Folder>)>,
}

impl Parents {
    pub fn new(root: Option<Folder>) -> Self {
        Parents { root, last: None }
    }

    /// Opens the folder that a path below the target is in.
    pub fn of(&mut self, path: &Path) -> &io::Result<Folder> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            let root = self.root.as_ref().ok_or(io::ErrorKind::NotFound.into());
            let folder = root.and_then(|root| root.below(parent));
            self.last = Some((parent.to_owned(), folder));
        }
        &self.last.as_ref().expect("it was just set").1
    }
}
