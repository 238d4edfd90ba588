//! Finds the path of this program, for schedules, runs and the identity page.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Returns the path by which this program was called, or else the path of its file. A link stays a link, such as
/// /usr/local/bin/icecore to the version that is installed: a schedule still works after the link gets a new target.
pub fn path() -> io::Result<PathBuf> {
    let file = env::current_exe()?;
    let called = env::args_os().next().unwrap_or_default();
    Ok(called_as(&called, &env::var_os("PATH").unwrap_or_default(), &file).unwrap_or(file))
}

/// Returns the absolute path that `called` stands for, if it leads to `file`.
fn called_as(called: &OsStr, folders: &OsStr, file: &Path) -> Option<PathBuf> {
    let called = Path::new(called);
    let leads_to_file = |path: &PathBuf| {
        let real = path.canonicalize();
        path.is_absolute() && real.is_ok_and(|real| file.canonicalize().is_ok_and(|f| f == real))
    };
    if called.components().count() > 1 {
        // Without `..`, because a schedule shows this path.
        let folder = called.parent().and_then(|folder| folder.canonicalize().ok());
        let is_short =
            called.is_absolute() && !called.components().any(|c| c == Component::ParentDir);
        return match (is_short, folder, called.file_name()) {
            (true, ..) => Some(called.to_owned()).filter(leads_to_file),
            (false, Some(folder), Some(name)) => Some(folder.join(name)).filter(leads_to_file),
            _ => None,
        };
    }
    env::split_paths(folders).map(|folder| folder.join(called)).find(leads_to_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let (file, folder) = (temp.path().join("icecore-1.2"), temp.path().join("bin"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&folder).unwrap();
        let link = folder.join("icecore");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let other = temp.path().join("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("icecore"), "").unwrap();

        let folders = env::join_paths([&other, &folder]).unwrap();
        assert_eq!(called_as("icecore".as_ref(), &folders, &file), Some(link.clone()));
        assert_eq!(called_as(link.as_ref(), "".as_ref(), &file), Some(link.clone()));
        let upwards = other.join("../bin/icecore");
        let real = temp.path().canonicalize().unwrap().join("bin/icecore");
        assert_eq!(called_as(upwards.as_ref(), "".as_ref(), &file), Some(real));
        // Another program, a name that is not found, and no name.
        assert_eq!(called_as(other.join("icecore").as_ref(), &folders, &file), None);
        assert_eq!(called_as("ice".as_ref(), &folders, &file), None);
        assert_eq!(called_as("".as_ref(), &folders, &file), None);
    }
}
