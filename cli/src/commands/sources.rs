//! The sources that `snapshot` was given: where they really are.

use std::path::{Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::files::scan;

use crate::failure::Failure;
use crate::mistyped;

/// Returns the sources by their real paths: whether `Photos`, `/home/maria/Photos` or a symlink to it was typed, it is
/// one history.
pub fn real_paths(typed: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let real = |typed: &PathBuf| -> Result<PathBuf, Failure> {
        mistyped::refuse_hyphen(typed, "icecore reads files and folders, not standard input")?;
        let path = &mistyped::local(typed);
        let real = scan::stat(path, true).and_then(|_| scan::real_path(path));
        real.map_err(|source| Error::File { action: "read", path: typed.clone(), source }.into())
    };
    typed.iter().map(real).collect()
}

/// Returns the current folder if all sources were typed as paths in it: `Photos` is then restored as `Photos`.
pub fn base(typed: &[PathBuf], real: &[PathBuf]) -> Option<PathBuf> {
    let here = scan::real_path(Path::new(".")).ok()?;
    let is_in_it = |(typed, real): (&PathBuf, &PathBuf)| {
        let local = mistyped::local(typed);
        local.is_relative() && here.join(local) == *real
    };
    typed.iter().zip(real).all(is_in_it).then_some(here)
}
