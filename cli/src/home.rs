//! Expands the home folder in typed paths.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Replaces `~` by the home folder in a path that no shell has expanded.
pub fn at_home(path: &Path) -> Result<PathBuf, Failure> {
    crate::parse::at_home(path, etcetera::home_dir().ok().as_deref()).map_err(|reason| {
        Failure::usage(reason, "write the whole path, or ./~… if the name really begins with ~")
    })
}
