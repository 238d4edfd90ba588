//! Opens a file for a snapshot. A database is copied first. If that is not possible, it is read together with its
//! journals, and trusted if none of them changes meanwhile.

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

/// What is read in place of a file.
pub(super) enum ReadAs {
    /// The file itself.
    File,
    /// A copy of a database, with the state of the original when the copy began.
    Copy(Sight),
    /// The database file itself, with its state and the reason why there is no copy.
    Database(Sight, NoCopy),
}

/// How to treat the files that follow a file in its batch because they lie beside it.
#[derive(Default)]
pub(super) enum DatabaseSet {
    /// As ordinary files.
    #[default]
    Ordinary,
    /// As files beside a database that was copied, which need not be stored.
    Copied,
    /// As files beside a database that was read itself, in this state.
    Read(Box<(PathBuf, Sight)>),
}

/// What is known about a file in addition to its chunks.
pub(super) struct ReadFile {
    pub stat: Stat,
    pub holes: Option<Vec<Hole>>,
    pub xattrs: Xattrs,
    /// Whether the file did not change, and was as long as its size.
    pub trusted: bool,
    /// The mark of the tree entry.
    pub mark: Option<u64>,
    pub database: Option<CachedDatabase>,
    /// Why there is no copy of a database.
    pub no_copy: Option<String>,
    /// A problem with the file that does not prevent storing it.
    pub problem: Option<String>,
    /// Whether the file is a database that SQLite finds damaged. Its bytes were read as they are.
    pub is_damaged: bool,
}

/// Opens a file with `open`; opens a copy of it if it is a database.
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
        // Take the state again, because SQLite, when run as root, sets the owner of a journal that it opens, which
        // changes its ctime.
        Err(why) => (open()?, ReadAs::Database(Sight::of(path)?, why)),
    };
    Ok(OpenedFile { reading: Reading::new(file)?, taken })
}

impl ReadAs {
    pub fn is_database(&self) -> bool {
        !matches!(self, ReadAs::File)
    }

    /// Returns how to treat the files that follow this one.
    pub fn set(self, path: &Path) -> DatabaseSet {
        match self {
            ReadAs::File => DatabaseSet::Ordinary,
            ReadAs::Copy(_) => DatabaseSet::Copied,
            ReadAs::Database(sight, _) => DatabaseSet::Read(Box::new((path.to_owned(), sight))),
        }
    }

    /// Returns what is known about a file that was read to its end.
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
                        let problem = format!("SQLite finds it damaged ({why})");
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
    /// Returns whether the database that this file belongs to is unchanged.
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
