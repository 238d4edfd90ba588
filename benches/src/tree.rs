//! Works on whole folders: lists, reads, copies, compares and measures them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use filetime::{FileTime, set_file_mtime};
use rayon::prelude::*;

/// A file in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to the tree.
    pub path: PathBuf,
    pub bytes: u64,
}

/// Returns all regular files below `dir`, sorted by path.
pub fn files(dir: &Path) -> Result<Vec<File>> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(folder) = pending.pop() {
        let full = dir.join(&folder);
        let list = fs::read_dir(&full).with_context(|| format!("listing {}", full.display()))?;
        for entry in list {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                pending.push(path);
            } else if kind.is_file() {
                let bytes = entry.metadata()?.len();
                found.push(File { path, bytes });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Returns how many files there are below `dir` and the sum of their apparent sizes.
pub fn usage(dir: &Path) -> Result<(u64, u64)> {
    let files = files(dir)?;
    Ok((files.len() as u64, files.iter().map(|f| f.bytes).sum()))
}

/// Reads everything once, so that it is in the page cache for the next measurement.
pub fn warm(dir: &Path) -> Result<()> {
    files(dir)?.par_iter().try_for_each_init(
        || vec![0; 1 << 20],
        |buffer, file| {
            let mut input = fs::File::open(dir.join(&file.path))?;
            while input.read(buffer)? > 0 {}
            Ok(())
        },
    )
}

/// Copies a tree of files and folders with the files' times.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let files = files(from)?;
    for file in &files {
        if let Some(folder) = file.path.parent() {
            fs::create_dir_all(to.join(folder))?;
        }
    }
    files.par_iter().try_for_each(|file| {
        let (source, target) = (from.join(&file.path), to.join(&file.path));
        fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        let time = FileTime::from_last_modification_time(&fs::metadata(&source)?);
        Ok(set_file_mtime(&target, time)?)
    })
}

/// Describes the first difference between two trees; `None` if every file is the same.
pub fn difference(expected: &Path, actual: &Path) -> Result<Option<String>> {
    let [a, b] = [files(expected)?, files(actual)?];
    let paths = |list: &[File]| -> std::collections::BTreeSet<PathBuf> {
        list.iter().map(|f| f.path.clone()).collect()
    };
    let [in_a, in_b] = [paths(&a), paths(&b)];
    if let Some(path) = in_a.difference(&in_b).next() {
        let count = in_a.difference(&in_b).count();
        return Ok(Some(format!("{count} missing, as {}", path.display())));
    }
    if let Some(path) = in_b.difference(&in_a).next() {
        let count = in_b.difference(&in_a).count();
        return Ok(Some(format!("{count} too many, as {}", path.display())));
    }
    let differs =
        |f: &&File| !same(&expected.join(&f.path), &actual.join(&f.path)).unwrap_or(false);
    let different = a.par_iter().find_any(differs);
    Ok(different.map(|f| format!("other content in {}", f.path.display())))
}

/// Returns whether two files have the same content.
pub fn same(a: &Path, b: &Path) -> Result<bool> {
    if fs::metadata(a)?.len() != fs::metadata(b)?.len() {
        return Ok(false);
    }
    let [mut a, mut b] = [fs::File::open(a)?, fs::File::open(b)?];
    let [mut x, mut y] = [Vec::new(), Vec::new()];
    loop {
        x.clear();
        y.clear();
        (&mut a).take(1 << 20).read_to_end(&mut x)?;
        (&mut b).take(1 << 20).read_to_end(&mut y)?;
        if x != y {
            return Ok(false);
        }
        if x.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        fs::create_dir_all(a.join("x"))?;
        fs::write(a.join("x/1"), "one")?;
        copy(&a, &b)?;
        assert_eq!(difference(&a, &b)?, None);
        assert_eq!(usage(&b)?, (1, 3));
        fs::write(b.join("x/1"), "eno")?;
        assert_eq!(difference(&a, &b)?, Some("other content in x/1".into()));
        fs::write(b.join("2"), "two")?;
        assert_eq!(difference(&a, &b)?, Some("1 too many, as 2".into()));
        fs::remove_file(b.join("x/1"))?;
        assert_eq!(difference(&a, &b)?, Some("1 missing, as x/1".into()));
        Ok(())
    }
}
