//! Opens the parent folders of the paths that a walk visits, each from its own parent, beginning at
//! the target.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::files::{Folder, Links, NoFolder};

/// Caches the folder of the last path, because its neighbours are in the same folder.
pub(super) struct Parents {
    /// `None` while there is no target.
    root: Option<Folder>,
    links: Links,
    last: Option<(PathBuf, Result<Folder, NoFolder>)>,
}

impl Parents {
    pub fn new(root: Option<Folder>, links: Links) -> Self {
        Parents { root, links, last: None }
    }

    /// Opens the parent folder of a path below the target.
    pub fn of(&mut self, path: &Path) -> &Result<Folder, NoFolder> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.last.as_ref().is_none_or(|(known, _)| known != parent) {
            let root = self.root.clone().ok_or(NoFolder::Missing);
            let folder = root.and_then(|root| {
                let mut names = parent.iter();
                names.try_fold(root, |folder, name| self.links.open(&folder, name.as_bytes()))
            });
            self.last = Some((parent.to_owned(), folder));
        }
        &self.last.as_ref().expect("it was just set").1
    }
}
