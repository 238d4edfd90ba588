//! Finds typed paths on this computer.

use std::path::{Path, PathBuf};

use icecore_engine::files::on_disk;

use crate::failure::Failure;

/// Returns the existing path for a typed one, which may have the other form of accents, or begin with a `~` that no
/// shell has expanded. Returns the typed path if nothing exists.
pub fn local(typed: &Path) -> PathBuf {
    if typed.symlink_metadata().is_ok() {
        return typed.to_owned();
    }
    let at_home = crate::home::at_home(typed).unwrap_or_else(|_| typed.to_owned());
    on_disk(&at_home).unwrap_or_else(|| typed.to_owned())
}

/// Returns the existing paths of typed folders. Fails if one does not exist, before any request to the store.
pub fn all_local(typed: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let here = |path: &PathBuf| {
        let local = local(path);
        let found = local.metadata().map(|_| local);
        found.map_err(|error| Failure::file("read", path, &error))
    };
    typed.iter().map(here).collect()
}

/// What is wrong with `-` where a file or folder is named.
pub const HYPHEN: &str = "- does not name a file or folder here";

/// Refuses `-`, which is standard input or output for other programs. `instead` says what to use here.
pub fn refuse_hyphen(path: &Path, instead: &str) -> Result<(), Failure> {
    match path == Path::new("-") {
        false => Ok(()),
        true => Err(Failure::usage(HYPHEN, &format!("{instead}; a folder of that name is ./-"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_other_form_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("Mu\u{308}ller")).unwrap();
        let found = local(&folder.path().join("M\u{fc}ller"));
        assert_eq!(found, folder.path().join("Mu\u{308}ller"));
        assert_eq!(local(&folder.path().join("x")), folder.path().join("x"));
    }
}
