//! Resolves the sources of `snapshot`.

use std::path::{Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::files::scan;

use crate::failure::Failure;
use crate::mistyped;

/// Returns the real paths of the sources, so that `Photos`, `/home/maria/Photos` and a symlink to it belong to the same
/// history.
pub fn real_paths(typed: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let real = |typed: &PathBuf| -> Result<PathBuf, Failure> {
        mistyped::refuse_hyphen(typed, "icecore reads files and folders, not standard input")?;
        let path = &mistyped::local(typed);
        let real = scan::stat(path, true).and_then(|_| scan::real_path(path));
        real.map_err(|source| Error::File { action: "read", path: typed.clone(), source }.into())
    };
    typed.iter().map(real).collect()
}

/// Returns the current folder if all sources were given as paths relative to it, so that `Photos` is restored as
/// `Photos`.
pub fn base(typed: &[PathBuf], real: &[PathBuf]) -> Option<PathBuf> {
    let here = scan::real_path(Path::new(".")).ok()?;
    let is_in_it = |(typed, real): (&PathBuf, &PathBuf)| {
        let local = mistyped::local(typed);
        local.is_relative() && here.join(local) == *real
    };
    typed.iter().zip(real).all(is_in_it).then_some(here)
}
