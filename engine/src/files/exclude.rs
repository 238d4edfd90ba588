//! Decides what a snapshot leaves out.

use std::path::Path;

use super::globs::{Globs, LeftOut};
use super::{Found, SourceFile, Stat};
use crate::error::Error;
use crate::format::EntryKind;

/// What a snapshot leaves out.
#[derive(Debug, Clone, Default)]
pub struct ExcludeOptions {
    /// Patterns of names that are left out, as in a `.gitignore`.
    pub patterns: Vec<String>,
    /// Leave out litter: files that systems and programs create again.
    pub litter: bool,
    /// Leave out the content of folders that contain one of these names.
    pub if_present: Vec<String>,
    /// Leave out the content of folders with a `CACHEDIR.TAG`.
    pub caches: bool,
    /// Leave out folders on another file system than the given path above them.
    pub one_file_system: bool,
}

/// The options, compiled.
#[derive(Debug, Clone)]
pub struct Exclude {
    globs: Globs,
    options: ExcludeOptions,
}

const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

impl Exclude {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`Error::Pattern`] if one is not valid.
    pub fn new(options: ExcludeOptions) -> Result<Exclude, Error> {
        let globs = Globs::new(options.patterns.iter().map(String::as_str))?;
        let globs = globs.with_litter(options.litter);
        Ok(Exclude { globs, options })
    }

    /// Returns whether a name is left out. `inside` is its path in the snapshot, `real` that on the disk.
    pub fn leaves_out(&self, inside: &Path, real: &Path, stat: &Stat) -> LeftOut {
        self.globs.leave_out([inside, real], stat.kind)
    }

    /// Returns the indexes of the patterns that have matched nothing.
    pub fn unmatched(&self) -> Vec<usize> {
        self.globs.unmatched()
    }

    /// Returns whether folders on another file system are left out.
    pub fn one_file_system(&self) -> bool {
        self.options.one_file_system
    }

    /// Returns whether a file or folder is left out because it is on a different file system from
    /// the given path, which is on `device`.
    pub fn is_elsewhere(&self, stat: &Stat, device: u64) -> bool {
        self.options.one_file_system && stat.device != device
    }

    /// Returns the marker because of which the content of a folder is left out, if it has one. Only
    /// the marker itself is archived.
    pub fn marker<'a>(&self, folder: &Path, found: &'a [Found]) -> Option<&'a Found> {
        found.iter().find(|found| {
            let named =
                self.options.if_present.iter().any(|name| name.as_bytes() == &found.name[..]);
            named || (self.options.caches && is_cache_tag(&found.path_in(folder), found))
        })
    }
}

fn is_cache_tag(path: &Path, found: &Found) -> bool {
    if found.name != CACHE_TAG || found.stat.kind != EntryKind::File {
        return false;
    }
    let mut start = [0; CACHE_SIGNATURE.len()];
    SourceFile::open(path, &|| true)
        .is_ok_and(|mut file| file.read(&mut start).is_ok_and(|read| read == start.len()))
        && start == CACHE_SIGNATURE
}
