//! The writer credentials of this computer: one file for each archive, readable by its owner alone.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::files::private::{self, Provisional};
use crate::format::{Credential, RepositoryId};

/// Returns the file that contains the writer credential of an archive.
pub fn path(folder: &Path, archive: RepositoryId) -> PathBuf {
    folder.join(format!("{archive}.credential"))
}

/// How the name of a prune credential ends.
const PRUNE: &str = ".prune.credential";

/// Returns the file that contains the credential with which this computer prunes an archive unattended. The credential
/// that adds snapshots has a file of its own ([`path`]).
pub fn prune_path(folder: &Path, archive: RepositoryId) -> PathBuf {
    folder.join(format!("{archive}{PRUNE}"))
}

/// Returns whether a credentials folder contains a credential with which this computer prunes any archive unattended.
pub fn has_prune(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().ends_with(PRUNE))
}

/// Loads a credential from a file in the credentials folder; returns `None` if there is no such file.
///
/// # Errors
/// [`Error::Exposed`] if another user could have written it, [`Error::Damaged`] if it is not a credential, and
/// [`Error::File`] if it cannot be read.
pub fn load(folder: &Path, path: &Path) -> Result<Option<Credential>, Error> {
    private::check(folder, private::OTHERS, |_| true)?;
    let Some(bytes) = private::read(path, private::OTHERS)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let credential = Credential::decode(&bytes);
    credential
        .map(Some)
        .map_err(|error| Error::damaged(path.to_string_lossy().into_owned(), error.to_string()))
}

/// Writes a writer credential to a file that replaces the earlier one when it is kept, as soon as the writer is enrolled.
///
/// # Errors
/// [`Error::Exposed`] if other users can write to the folder, and [`Error::File`] if the file cannot be written.
pub fn prepare(folder: &Path, credential: &Credential) -> Result<Provisional, Error> {
    private::folder(folder, private::OTHERS, |_| true)?;
    let path = path(folder, credential.repository);
    let bytes = Zeroizing::new(credential.encode());
    Provisional::beside(&path, bytes).map_err(Error::file("write", &path))
}

/// Stores a writer credential durably, and returns its file.
///
/// # Errors
/// [`Error::Exposed`] if other users can write to the folder, and [`Error::File`] if the file cannot be written.
pub fn save(folder: &Path, credential: &Credential) -> Result<PathBuf, Error> {
    private::folder(folder, private::OTHERS, |_| true)?;
    let path = path(folder, credential.repository);
    let bytes = Zeroizing::new(credential.encode());
    private::replace(&path, &bytes).map_err(Error::file("write", &path))?;
    Ok(path)
}
