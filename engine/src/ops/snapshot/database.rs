//! Opening a file for a snapshot. A database is copied first; where it cannot be, it is read together with
//! its journals, and trusted if none of them changes while it is read.

use std::io;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::jobs::FileJob;
use crate::files::beside::JOURNALS;
use crate::files::source::Xattrs;
use crate::files::{Database, NoCopy, Reading, Sight, SourceFile, Stat, WasRead, source};
use crate::format::Hole;
use crate::format::tree::MARK_COPY;
use crate::repo::catalog::CachedDatabase;

/// A file that is open for reading.
pub(super) struct OpenedFile {
    pub reading: Reading,
    pub taken: ReadAs,
}

/// What is read of a file.
pub(super) enum ReadAs {
    /// The file itself.
    File,
    /// A copy of a database that was so when it was begun.
    Copy(Sight),
    /// A database itself, with the reason why there is no copy.
    Database(Sight, NoCopy),
}

/// What the files beside a file are that follow it in its batch.
#[derive(Default)]
pub(super) enum DatabaseSet {
    /// Files like others.
    #[default]
    Ordinary,
    /// They lie beside a database that was copied.
    Copied,
    /// They lie beside a database that was so when it was read.
    Read(Box<(PathBuf, Sight)>),
}

/// What is known of a file beside its chunks.
pub(super) struct ReadFile {
    pub stat: Stat,
    pub holes: Option<Vec<Hole>>,
    pub xattrs: Xattrs,
    /// It held still, and was as long as it said.
    pub trusted: bool,
    /// As in the tree entry.
    pub mark: Option<u64>,
    pub database: Option<CachedDatabase>,
    /// Why there is no copy of a database.
    pub no_copy: Option<String>,
    /// What is wrong with it, however well it was read.
    pub problem: Option<String>,
    /// It is a database that SQLite finds damaged: its bytes were read as they are.
    pub is_damaged: bool,
}

/// Opens a file by `open`, or a copy of it.
pub(super) fn open(
    context: &Context,
    job: &FileJob,
    open: &dyn Fn() -> io::Result<SourceFile>,
) -> io::Result<OpenedFile> {
    let path = &job.path;
    let file = open()?;
    let database = if job.beside.is_none() { Database::sniff(path, &file)? } else { None };
    let Some(database) = database else {
        return Ok(OpenedFile { reading: Reading::new(file)?, taken: ReadAs::File });
    };
    drop(file);
    let sight = Sight::of(path)?;
    let copied = database.copy(context.repository.catalog.folder_path(), &|| context.stopped());
    let (file, taken) = match copied {
        Ok(copy) => (copy, ReadAs::Copy(sight)),
        Err(NoCopy::Stopped) => return Err(io::ErrorKind::Interrupted.into()),
        // Looked at again: SQLite sets the owner of a journal that it opens as root, which changes its ctime.
        Err(why) => (open()?, ReadAs::Database(Sight::of(path)?, why)),
    };
    Ok(OpenedFile { reading: Reading::new(file)?, taken })
}

impl ReadAs {
    pub fn is_database(&self) -> bool {
        !matches!(self, ReadAs::File)
    }

    /// Returns what the files are that follow it.
    pub fn set(self, path: &Path) -> DatabaseSet {
        match self {
            ReadAs::File => DatabaseSet::Ordinary,
            ReadAs::Copy(_) => DatabaseSet::Copied,
            ReadAs::Database(sight, _) => DatabaseSet::Read(Box::new((path.to_owned(), sight))),
        }
    }

    /// Returns what is known of a file that was read to its end.
    pub fn end(&self, context: &Context, job: &FileJob, read: &WasRead) -> io::Result<ReadFile> {
        let stat = read.file.stat;
        let mut found = ReadFile {
            stat,
            holes: source::holes(&read.ranges, stat.size),
            xattrs: source::xattrs(&job.path),
            trusted: read.whole && read.file.held_still(context.options.ignore)?,
            mark: None,
            database: None,
            no_copy: None,
            problem: None,
            is_damaged: false,
        };
        match self {
            ReadAs::File => {}
            ReadAs::Copy(Sight { stat, journals }) => {
                let bytes = found.stat.size;
                found.stat = *stat;
                found.mark = Some(MARK_COPY);
                found.database = Some(CachedDatabase { journals: *journals, bytes });
            }
            ReadAs::Database(sight, why) => {
                found.trusted &= sight.is_still(&job.path, context.options.ignore)?;
                let journals = sight.journals;
                found.database = Some(CachedDatabase { journals, bytes: stat.size });
                let missing = journals
                    .each()
                    .find(|(number, journal)| journal.size > 0 && !job.journals[*number]);
                match why {
                    NoCopy::Damaged(why) => {
                        let problem = format!("SQLite finds it damaged in itself ({why})");
                        found.problem =
                            Some(format!("{problem}; its bytes are stored as they are"));
                        found.is_damaged = true;
                    }
                    NoCopy::Torn => {
                        found.trusted = false;
                        found.problem = Some(why.reason().to_owned());
                    }
                    why => found.no_copy = Some(why.reason().to_owned()),
                }
                if let (Some((number, _)), Some(why)) = (missing, &found.no_copy) {
                    let journal = JOURNALS[number];
                    let problem = format!("SQLite cannot copy it ({why})");
                    let lacks = format!("and its {journal} file is not in the snapshot");
                    found.problem = Some(format!("{problem}, {lacks}: edits may be missing"));
                }
            }
        }
        Ok(found)
    }
}

impl DatabaseSet {
    /// Returns whether a database of which this file is a part is as it was.
    pub fn is_still(&self, context: &Context) -> io::Result<bool> {
        match self {
            DatabaseSet::Ordinary | DatabaseSet::Copied => Ok(true),
            DatabaseSet::Read(read) => {
                let (path, sight) = &**read;
                sight.is_still(path, context.options.ignore)
            }
        }
    }
}
