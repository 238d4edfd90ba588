//! Expands the home folder in typed paths.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Replaces `~` by the home folder in the address of an archive.
pub fn url_at_home(url: &str) -> Result<String, Failure> {
    match url.starts_with('~') {
        true => Ok(at_home(Path::new(url))?.to_string_lossy().into_owned()),
        false => Ok(url.to_owned()),
    }
}

/// Replaces `~` by the home folder in a path that no shell has expanded.
pub fn at_home(path: &Path) -> Result<PathBuf, Failure> {
    crate::parse::at_home(path, etcetera::home_dir().ok().as_deref()).map_err(|reason| {
        Failure::usage(reason, "write the whole path, or ./~… if the name really begins with ~")
    })
}
