//! The files that an audit searches for, each with the forms in which a snapshot may contain it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::files::{Beside, LocalFile, beside};
use crate::format::tree::MARK_TORN;
use crate::format::{ChunkId, Hole};
use crate::progress::{Problem, Progress};

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Number of files that were examined.
    pub files: u64,
    /// Their total size.
    pub bytes: u64,
    /// Files that no snapshot contains completely, sorted by path, with their sizes.
    pub missing: Vec<(PathBuf, u64)>,
    /// Number of files and folders that could not be read, so that nothing is proven about them.
    pub failed: u64,
    /// Given paths without any file, perhaps of a card that is not mounted.
    pub empty: Vec<PathBuf>,
    /// Unreadable objects of the archive that contain trees. Missing files may be listed there.
    pub damaged: BTreeSet<String>,
    /// Number of packs in the log that are missing or truncated.
    pub packs_absent: u64,
    /// Number of files and folders that are litter, and were not searched for.
    pub litter: u64,
}

impl AuditReport {
    /// Returns whether every path has files, and all of these are archived.
    pub fn is_proven(&self) -> bool {
        self.files > 0 && self.missing.is_empty() && self.failed == 0 && self.empty.is_empty()
    }
}

/// A hash of the content of a file: its size, its chunks and its holes.
pub(super) type ContentHash = [u8; 16];

pub(super) fn content(size: u64, chunks: &[ChunkId], holes: &[Hole]) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&size.to_le_bytes()).update(&(chunks.len() as u64).to_le_bytes());
    chunks.iter().for_each(|id| _ = hasher.update(&id.0));
    for hole in holes {
        hasher.update(&hole.offset.to_le_bytes()).update(&hole.bytes.to_le_bytes());
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// A local file, with its journals if it is a database.
pub(super) struct FileGroup {
    pub main: LocalFile,
    pub beside: Vec<(LocalFile, Beside)>,
}

/// Groups each file with the files that would be journals or lock files beside it.
pub(super) fn group(files: Vec<LocalFile>) -> Vec<FileGroup> {
    let paths: HashSet<&[u8]> = files.iter().map(|(path, _)| path.as_os_str().as_bytes()).collect();
    let main_of = |(path, bytes): &LocalFile| {
        let (main, beside) = beside::split(path.as_os_str().as_bytes(), *bytes)?;
        let is_main = paths.contains(main) && beside::split(main, 0).is_none();
        is_main.then(|| (main.to_vec(), beside))
    };
    let mains: Vec<_> = files.iter().map(main_of).collect();
    drop(paths);
    let mut below: HashMap<Vec<u8>, Vec<(LocalFile, Beside)>> = HashMap::new();
    let mut groups = Vec::with_capacity(files.len());
    for (file, main) in files.into_iter().zip(mains) {
        match main {
            Some((main, beside)) => below.entry(main).or_default().push((file, beside)),
            None => groups.push(FileGroup { main: file, beside: Vec::new() }),
        }
    }
    if !below.is_empty() {
        for group in &mut groups {
            let main = group.main.0.as_os_str().as_bytes();
            group.beside = below.remove(main).unwrap_or_default();
        }
    }
    groups
}

/// A local file to find in a snapshot.
pub(super) struct SoughtFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// The forms in which a snapshot may have the file. Each form lists the contents that are still missing; when one
    /// list is empty, the file is found.
    pub ways: Vec<Vec<ContentHash>>,
    pub kind: Kind,
}

/// How a file is compared.
pub(super) enum Kind {
    /// Byte for byte.
    Plain,
    /// By the copy that SQLite makes, or byte for byte together with its journals.
    Database {
        /// Why SQLite could not copy the database; `None` if it could.
        no_copy: Option<String>,
    },
}

/// Returns the last part of a path.
fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

/// All files to find.
#[derive(Default)]
pub(super) struct SoughtFiles {
    files: Vec<SoughtFile>,
    /// For each content, the indices of the files and of their forms that need it.
    by_content: HashMap<ContentHash, Vec<(usize, usize)>>,
    /// Names of the databases that are not found yet.
    databases: HashSet<Vec<u8>>,
    /// The names in `databases` for which some snapshot contains the database file itself, not a copy made by SQLite.
    with_journal: HashSet<Vec<u8>>,
    /// Number of files that may still be found.
    open: usize,
}

impl SoughtFiles {
    pub fn add(&mut self, file: SoughtFile) {
        for (way, contents) in file.ways.iter().enumerate() {
            for content in contents {
                self.by_content.entry(*content).or_default().push((self.files.len(), way));
            }
        }
        if let Kind::Database { .. } = file.kind {
            self.databases.insert(name_of(&file.path).to_vec());
        }
        self.open += usize::from(!file.ways.is_empty());
        self.files.push(file);
    }

    /// Records that a snapshot contains a content.
    pub fn found(&mut self, content: &ContentHash) {
        for (file, way) in self.by_content.remove(content).unwrap_or_default() {
            let ways = &mut self.files[file].ways;
            let is_found = |ways: &[Vec<ContentHash>]| ways.iter().any(|way| way.is_empty());
            if is_found(ways) {
                continue;
            }
            ways[way].retain(|wanted| wanted != content);
            if is_found(ways) {
                self.open -= 1;
                self.databases.remove(name_of(&self.files[file].path));
            }
        }
    }

    /// Returns whether no further snapshot can change the result.
    pub fn is_done(&self) -> bool {
        self.open == 0 && self.databases.iter().all(|name| self.with_journal.contains(name))
    }

    /// Records that a snapshot has a file of this name. A database with a journal beside it, or one that another
    /// program was changing, is not a copy by SQLite.
    pub fn met(&mut self, name: &[u8], mark: Option<u64>) {
        if self.databases.is_empty() {
            return;
        }
        let main = match beside::split(name, u64::MAX) {
            Some((main, Beside::Journal(_))) => main,
            _ if mark == Some(MARK_TORN) => name,
            _ => return,
        };
        if self.databases.contains(main) {
            self.with_journal.insert(main.to_vec());
        }
    }

    /// Reports the files that were not found.
    pub fn end(self, report: &mut AuditReport, progress: &dyn Progress) {
        let is_found = |file: &SoughtFile| file.ways.iter().any(|way| way.is_empty());
        for file in self.files.into_iter().filter(|file| !is_found(file)) {
            let is_database = matches!(file.kind, Kind::Database { .. });
            let message = match file.kind {
                Kind::Database { no_copy: Some(why) } => {
                    format!("SQLite cannot copy it to compare it ({why})")
                }
                _ if is_database && self.with_journal.contains(name_of(&file.path)) => {
                    "it cannot be compared: the archive has the database as it was, with its journal; restore both and open them to see their contents"
                        .to_owned()
                }
                _ => {
                    report.missing.push((file.path, file.bytes));
                    continue;
                }
            };
            report.failed += 1;
            progress.problem(Problem { path: file.path, message });
        }
    }
}
