//! The files beside an SQLite database whose names are derived from its own: journals, which are
//! part of the database, and shared memory and lock files, which are not. Decides by names and by
//! stat, and opens no file.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use super::{Found, Ignore, Stat, scan};
use crate::format::{EntryKind, Time};

/// Endings of the journals, in the order of [`Journals`].
pub const JOURNALS: [&str; 2] = ["-wal", "-journal"];
/// Shared memory, which is created again when the database is opened.
pub const SHARED_MEMORY: &str = "-shm";
/// Lock files, for example those of Lightroom and darktable.
const LOCKS: [&str; 2] = [".lock", "-lock"];
/// A larger file is not a lock file, whatever its name.
const LOCK_BYTES_MAX: u64 = 64 << 10;

/// The role of a file beside a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// A part of the database: its index in [`JOURNALS`].
    Journal(usize),
    /// Useful only to programs that have the database open.
    Volatile,
}

/// Returns, for each name in a folder, the file to which it would belong if that file were a
/// database.
pub fn groups(found: &[Found]) -> Vec<Option<(usize, Beside)>> {
    let mut groups = vec![None; found.len()];
    for at in 0..found.len() {
        let Found { name, stat } = &found[at];
        let split = split(name, stat.size).filter(|_| stat.kind == EntryKind::File);
        let Some((main, beside)) = split else { continue };
        let Ok(main) = found[..at].binary_search_by(|found| found.name[..].cmp(main)) else {
            continue;
        };
        if found[main].stat.kind == EntryKind::File && groups[main].is_none() {
            groups[at] = Some((main, beside));
        }
    }
    groups
}

/// Splits a file name, judging by the name and the size: returns the name of the database that the
/// file may belong to, and the role of the file beside it.
pub fn split(name: &[u8], bytes: u64) -> Option<(&[u8], Beside)> {
    let without = |ending: &str| name.strip_suffix(ending.as_bytes());
    for (number, ending) in JOURNALS.iter().enumerate() {
        if let Some(main) = without(ending) {
            return Some((main, Beside::Journal(number)));
        }
    }
    let lock = LOCKS.iter().filter(|_| bytes <= LOCK_BYTES_MAX);
    let main = lock.chain([&SHARED_MEMORY]).find_map(|ending| without(ending))?;
    Some((main, Beside::Volatile))
}

/// Returns the path of a file beside a database.
pub fn path_beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(ending);
    path.into()
}

/// Size and times of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Journal {
    /// Size in bytes.
    #[n(0)]
    pub size: u64,
    /// When its content was last changed.
    #[n(1)]
    pub mtime: Time,
    /// When its content or its metadata was last changed.
    #[n(2)]
    pub ctime: Time,
}

/// The journals of a database, as `stat` shows them. Edits may stay in the journals for days before
/// they reach the database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Journals {
    /// The write-ahead log, `-wal`.
    #[n(0)]
    pub wal: Option<Journal>,
    /// The rollback journal, `-journal`.
    #[n(1)]
    pub journal: Option<Journal>,
}

impl Journals {
    /// Looks at the journals beside a database.
    ///
    /// # Errors
    /// If the file system does not report whether a journal exists.
    pub fn of(database: &Path) -> io::Result<Journals> {
        let look = |ending| match scan::stat(&path_beside(database, ending), true) {
            Ok(Stat { size, mtime, ctime, .. }) => Ok(Some(Journal { size, mtime, ctime })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // No file can have a name of this length.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => Ok(None),
            Err(error) => Err(error),
        };
        Ok(Journals { wal: look(JOURNALS[0])?, journal: look(JOURNALS[1])? })
    }

    /// Returns the existing journals, with their indexes.
    pub fn each(&self) -> impl Iterator<Item = (usize, Journal)> {
        [self.wal, self.journal]
            .into_iter()
            .enumerate()
            .filter_map(|(number, journal)| Some((number, journal?)))
    }

    /// Returns whether the database is complete without its journals.
    pub fn are_empty(&self) -> bool {
        self.each().all(|(_, journal)| journal.size == 0)
    }
}

/// The state of a database and its journals at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The `stat` of the database file.
    pub stat: Stat,
    /// Its journals.
    pub journals: Journals,
}

impl Sight {
    /// Looks at a database and its journals.
    ///
    /// # Errors
    /// If the database does not exist, or cannot be examined.
    pub fn of(database: &Path) -> io::Result<Sight> {
        Ok(Sight { stat: scan::stat(database, false)?, journals: Journals::of(database)? })
    }

    /// Returns whether the database and its journals are unchanged since.
    pub fn is_still(&self, database: &Path, ignore: Ignore) -> io::Result<bool> {
        let now = Sight::of(database)?;
        Ok(now.stat.same_content(&self.stat, ignore) && now.journals == self.journals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_a_file_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a.lrcat", "a.lrcat-data", "a.lrcat-journal", "a.lrcat-shm", "a.lrcat-wal"];
        let more = ["a.lrcat.lock", "a.lrcat-wal-wal", "b-wal", "c.lock", "c"];
        for name in names.iter().chain(&more) {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.path().join("c-journal")).unwrap();
        std::fs::write(folder.path().join("c.lock"), vec![0; 70_000]).unwrap();
        let found = scan::list(folder.path()).unwrap().found;
        let name = |at: usize| String::from_utf8(found[at].name.clone()).unwrap();
        let groups = groups(&found).into_iter().enumerate();
        let beside: Vec<_> = groups
            .filter_map(|(at, group)| group.map(|(main, b)| (name(at), name(main), b)))
            .collect();
        let of_a =
            |ending: &str, beside| (format!("a.lrcat{ending}"), "a.lrcat".to_owned(), beside);
        let expected = [
            of_a("-journal", Beside::Journal(1)),
            of_a("-shm", Beside::Volatile),
            of_a("-wal", Beside::Journal(0)),
            of_a(".lock", Beside::Volatile),
        ];
        assert_eq!(beside, expected);
    }
}
