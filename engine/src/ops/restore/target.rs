//! Checks whether a restore may write to its target, and whether it can.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::options::RestoreOptions;
use crate::error::{Argument, Error};
use crate::files::{Folder, Links, private};
use crate::repo::Repository;
use crate::store::Location;

/// Fails if a restore is not allowed to write to its target. Called before any request that costs
/// money.
pub fn check_target(repository: &Repository, options: &RestoreOptions) -> Result<(), Error> {
    let target = &options.target;
    refuse_own_folders(repository, options)?;
    let names = match Folder::root(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.and_then(|root| root.names()).map_err(Error::file("open", target))?,
    };
    if options.overwrite.is_none() && !options.resume && !names.is_empty() {
        return Err(Error::TargetNotEmpty { path: target.clone() });
    }
    Ok(())
}

/// Creates the target, and fails if the restore could not write to it. Called before a thaw is
/// requested.
pub fn prepare_target(options: &RestoreOptions, bytes: u64) -> Result<(), Error> {
    let target = &options.target;
    private::target(target).map_err(Error::file("create", target))?;
    let root = Folder::root(target).map_err(Error::file("open", target))?;
    let before = root.own_stat().map_err(Error::file("read the metadata of", target))?;
    let tried = root.create_temp(0, 0).map(drop);
    // Reset the mode of the folder, which may have been made writable for the test.
    let widened = root.own_stat().is_ok_and(|now| now.mode != before.mode);
    let back = root.put_back(before.mtime, widened.then_some(before.mode));
    tried.and(back).map_err(Error::file("write into", target))?;
    let space = rustix::fs::statvfs(target).map_err(|error| Error::File {
        action: "read the metadata of",
        path: target.clone(),
        source: error.into(),
    })?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if bytes > free {
        let reason = format!("{bytes} bytes are needed, but only {free} bytes are free");
        let source = io::Error::new(io::ErrorKind::StorageFull, reason);
        return Err(Error::File { action: "restore into", path: target.clone(), source });
    }
    Ok(())
}

impl RestoreOptions {
    /// Returns the real paths of icecore's own folders, including the repository.
    fn own_folders(&self, repository: &Repository) -> Vec<PathBuf> {
        let mut own = self.protect.clone();
        if let Location::Folder(path) = repository.store.location() {
            own.push(path.clone());
        }
        own.into_iter().filter_map(|path| path.canonicalize().ok()).collect()
    }

    /// Returns which symlinks in the target may stand for a folder.
    pub(super) fn links(&self, repository: &Repository) -> Links {
        let owner = std::fs::metadata(&self.target).ok().map(|target| target.uid());
        self.links.of(owner, self.own_folders(repository))
    }
}

/// Refuses to write into the repository or another folder of icecore. Also refuses to delete in a
/// folder above one of these, because the archive itself is not in the snapshot and would be
/// deleted.
fn refuse_own_folders(repository: &Repository, options: &RestoreOptions) -> Result<(), Error> {
    let target = real_path(&options.target);
    for folder in options.own_folders(repository) {
        let inside = target.starts_with(&folder);
        if inside || (options.delete && folder.starts_with(&target)) {
            let how = if inside { "is inside" } else { "contains" };
            let reason = format!("it {how} {}, which belongs to icecore", folder.display());
            return Err(Error::Input { what: Argument::Target(target), reason });
        }
    }
    Ok(())
}

/// Returns the real path. If the path does not exist, resolves the part that does.
pub fn real_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    real.map_or_else(
        || path.clone(),
        |(above, real)| match path.strip_prefix(above) {
            // Joining an empty path would add a slash, so that a folder that exists had another name than one that
            // does not.
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
    )
}
