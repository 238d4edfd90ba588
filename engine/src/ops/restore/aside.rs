//! Sets aside journals in the target that would corrupt a restored database. SQLite treats a
//! journal beside a database as a part of it, so it would apply an older journal to the restored
//! database. The journal is renamed just before the database gets its name. So even if the restore
//! is killed, nothing is lost, and no restored database is beside the journal of another.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::files::beside::{JOURNALS, SHARED_MEMORY};
use crate::files::{Folder, TempFile, is_database};
use crate::format::tree::MARK_COPY;
use crate::format::{Entry, EntryKind};
use crate::progress::{Problem, Progress};

/// The ending that a journal gets when it is set aside.
const ASIDE: &str = ".set-aside";
/// Maximum number of set-aside journals of one name.
const ASIDE_MAX: u32 = 1000;

/// Endings of the journals that must not be beside a restored database.
pub(super) type Stale = Vec<&'static str>;

fn endings() -> impl Iterator<Item = &'static str> {
    JOURNALS.into_iter().chain([SHARED_MEMORY])
}

/// Returns whether edits of a database in the target may be in its journals.
pub(super) fn has_journals(folder: &Folder, name: &[u8]) -> bool {
    JOURNALS.into_iter().any(|ending| {
        let there = folder.stat(&[name, ending.as_bytes()].concat());
        there.is_ok_and(|stat| stat.is_some_and(|stat| stat.size > 0))
    })
}

/// Returns the names in a folder of the snapshot that the restore writes and that may be journals.
pub(super) fn journals<'e>(
    entries: &'e [Entry],
    picks: impl Fn(&Entry) -> bool + 'e,
) -> BTreeSet<Vec<u8>> {
    let may_be = |entry: &&Entry| {
        endings().any(|ending| entry.name.ends_with(ending.as_bytes())) && picks(entry)
    };
    entries.iter().filter(may_be).map(|entry| entry.name.to_vec()).collect()
}

/// Returns the journals that must not be beside an entry; none in a new folder, which is empty.
pub(super) fn stale(entry: &Entry, folder: &Folder, journals: &BTreeSet<Vec<u8>>) -> Stale {
    if entry.kind != EntryKind::File || folder.is_new() {
        return Vec::new();
    }
    let is_own = |ending: &str| {
        let name = [&entry.name[..], ending.as_bytes()].concat();
        entry.mark != Some(MARK_COPY) && journals.contains(&name)
    };
    endings().filter(|ending| !is_own(ending)).collect()
}

/// Sets aside the journals that must not be beside a file, just before the file gets its name.
pub(super) fn before_keep(
    temp: &TempFile,
    folder: &Folder,
    entry: &Entry,
    stale: &[&str],
    progress: &dyn Progress,
) -> io::Result<()> {
    let is_database = || Ok(entry.mark == Some(MARK_COPY) || is_database(&temp.open()?)?);
    set_aside(folder, entry, stale, is_database, progress)
}

/// Sets aside the journals that must not be beside another name of a restored file.
pub(super) fn before_link(
    first: (&Folder, &[u8]),
    folder: &Folder,
    entry: &Entry,
    stale: &[&str],
    progress: &dyn Progress,
) -> io::Result<()> {
    let is_database = || is_database(&first.0.open_file(first.1)?);
    set_aside(folder, entry, stale, is_database, progress)
}

fn set_aside(
    folder: &Folder,
    entry: &Entry,
    stale: &[&str],
    is_database: impl Fn() -> io::Result<bool>,
    progress: &dyn Progress,
) -> io::Result<()> {
    let mut renamed = false;
    for ending in stale {
        let name = [&entry.name[..], ending.as_bytes()].concat();
        match folder.stat(&name) {
            Ok(Some(stat)) if stat.kind == EntryKind::File => {}
            // The file system does not allow names of this length.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => continue,
            found => {
                found?;
                continue;
            }
        }
        if !is_database()? {
            return Ok(());
        }
        let to = rename(folder, &name)?;
        let to = folder.path_of(&to);
        let to = to.file_name().unwrap_or_default().display();
        let message = format!(
            "it belongs to the database that was replaced and would damage the restored one, so it is now called {to}"
        );
        progress.problem(Problem { path: folder.path_of(&name), message });
        renamed = true;
    }
    // Sync, so that the rename reaches the disk before the database gets its name.
    if renamed { folder.sync() } else { Ok(()) }
}

fn rename(folder: &Folder, name: &[u8]) -> io::Result<Vec<u8>> {
    for number in 1..=ASIDE_MAX {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let to = [name, ASIDE.as_bytes(), number.as_bytes()].concat();
        match folder.rename_new(name, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed.map(|()| to),
        }
    }
    let name = Path::new(std::ffi::OsStr::new(ASIDE)).display();
    Err(io::Error::other(format!("too many files end in {name}")))
}
