//! What a snapshot leaves out, and what a restore or a search picks.
//!
//! Patterns are those of `.gitignore`: `*.tmp` matches at any depth, `cache/` only folders,
//! `/raw/*.xmp` is anchored, `!keep.tmp` takes back, the last pattern that matches decides.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{Found, SourceFile, Stat};
use crate::error::Error;
use crate::format::EntryKind;

/// A set of patterns.
#[derive(Debug, Clone)]
pub struct Globs(Gitignore);

impl Globs {
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Globs, Error> {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            let fail = |error: ignore::Error| Error::Pattern {
                pattern: pattern.to_owned(),
                reason: error.to_string(),
            };
            builder.add_line(None, pattern).map_err(fail)?;
        }
        let fail = |error: ignore::Error| Error::Pattern {
            pattern: String::new(),
            reason: error.to_string(),
        };
        Ok(Globs(builder.build().map_err(fail)?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the last pattern that matches the path itself takes it.
    pub fn matches(&self, path: &Path, is_folder: bool) -> bool {
        !self.0.is_empty() && self.0.matched(path, is_folder).is_ignore()
    }

    /// Returns whether the path or a folder above it is taken.
    pub fn take(&self, path: &Path, is_folder: bool) -> bool {
        !self.0.is_empty() && self.0.matched_path_or_any_parents(path, is_folder).is_ignore()
    }
}

/// What a snapshot leaves out.
#[derive(Debug, Clone, Default)]
pub struct ExcludeOptions {
    pub patterns: Vec<String>,
    /// Leave out the content of folders that hold one of these names.
    pub if_present: Vec<String>,
    /// Leave out the content of folders with a `CACHEDIR.TAG`.
    pub caches: bool,
    pub one_file_system: bool,
}

/// The compiled options.
#[derive(Debug, Clone)]
pub struct Exclude {
    globs: Globs,
    options: ExcludeOptions,
}

const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

impl Exclude {
    pub fn new(options: ExcludeOptions) -> Result<Exclude, Error> {
        let globs = Globs::new(options.patterns.iter().map(String::as_str))?;
        Ok(Exclude { globs, options })
    }

    /// Returns whether a name is left out by a pattern. `inside` is its path in the snapshot.
    pub fn leaves_out(&self, inside: &Path, stat: &Stat) -> bool {
        self.globs.matches(inside, stat.kind == EntryKind::Folder)
    }

    pub fn one_file_system(&self) -> bool {
        self.options.one_file_system
    }

    /// Returns whether only the file system of each given path is taken, and a file or folder is on
    /// another than the one with this `device`.
    pub fn is_elsewhere(&self, stat: &Stat, device: u64) -> bool {
        self.options.one_file_system && stat.device != device
    }

    /// Returns which names of a folder remain if a marker in it empties it: only the marker.
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
