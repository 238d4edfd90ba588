//! Decides which content of a file goes into the snapshot: the content that was read, the previous version, or none.

use std::io;

use super::context::Context;
use super::database::ReadFile;
use super::jobs::{FileContent, FileJob, Outcome};
use super::stat_cache::is_same;
use crate::error::Error;
use crate::files::Ignore;
use crate::files::source::{self, Xattrs};
use crate::format::{ChunkId, tree};
use crate::repo::catalog::{CachedFile, Catalog};

/// Decides on the outcome of each file, in the order of the batch.
pub(super) struct Outcomes {
    view: Catalog,
    /// The kind of the last main file, beside which the next files may lie.
    main: Main,
}

/// The chunks of a file that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadChunks<'c> {
    pub ids: &'c [ChunkId],
    /// Whether the last full snapshot contains all of them.
    pub same: bool,
    /// Whether some of them are stored again because the archive has lost them.
    pub was_lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Main {
    /// Not a database.
    File,
    /// A database that is complete by itself, so that no file beside it is stored.
    Whole,
    /// A database that needs its journals from the same time.
    WithJournals,
}

impl Outcomes {
    pub fn new(view: Catalog) -> Outcomes {
        Outcomes { view, main: Main::File }
    }

    /// Decides what the snapshot stores for a file.
    pub fn decide(
        &mut self,
        context: &Context,
        job: &FileJob,
        read: io::Result<ReadFile>,
        chunks: ReadChunks,
    ) -> Result<Outcome, Error> {
        if job.beside.is_some() && self.main == Main::Whole {
            return Ok(None);
        }
        let outcome = self.of_file(context, job, read, chunks)?;
        if outcome.as_ref().is_some_and(|content| is_rotted(job, content)) {
            context.rotted_file(&job.path);
        }
        if job.beside.is_none() {
            self.main = Main::of(outcome.as_ref());
        }
        Ok(outcome)
    }

    fn of_file(
        &mut self,
        context: &Context,
        job: &FileJob,
        read: io::Result<ReadFile>,
        chunks: ReadChunks,
    ) -> Result<Outcome, Error> {
        let ids = chunks.ids;
        context.count(|totals| totals.files_stored_again += u64::from(chunks.was_lost));
        let read = read.and_then(|read| {
            if ids.len() > tree::ENTRY_CHUNKS_MAX {
                return Err(io::Error::other("it has too many chunks for one file"));
            }
            Ok(read)
        });
        let is_part = self.is_part(job);
        let (torn, message, gone) = match read {
            Ok(read) if read.trusted => {
                return self.trusted(context, job, read, chunks).map(Some);
            }
            Ok(read) => {
                let message = match (&read.problem, &read.no_copy) {
                    (Some(problem), _) => problem.clone(),
                    (None, Some(why)) => {
                        format!("SQLite cannot copy it ({why}), and it changed while it was read")
                    }
                    (None, None) => "changed while it was read".to_owned(),
                };
                let mark = Some(tree::MARK_TORN);
                (Some(FileContent { mark, ..content(read, ids) }), message, false)
            }
            Err(error) => {
                let gone = error.kind() == io::ErrorKind::NotFound;
                (None, format!("cannot read: {error}"), gone)
            }
        };
        // Leave out a file that was removed. Keep the previous version of a file that cannot be read, because its
        // disk may be failing.
        let older = if gone || is_part { None } else { self.older(context, job)? };
        let (mut content, note) = match (older, torn) {
            (Some(older), _) => (Some(older), "; the last version that was read is kept"),
            (None, Some(torn)) => (Some(torn), "; it is stored as it was read"),
            (None, None) => (None, ""),
        };
        context.failed_file(&job.path, format!("{message}{note}"));
        if let Some(content) = &mut content {
            let older = job.older.as_ref().filter(|older| older.chunks == content.chunks);
            let same = match (&context.last, older) {
                (Some(last), Some(older)) => last.has_file(&self.view, &older.chunks)?,
                _ => false,
            };
            let database = is_part || content.database.is_some();
            context.count_of_source(job.source, content.stat.size, same, database);
            count(context, &self.view, job, content)?;
        }
        Ok(content)
    }

    /// Decides on a file that did not change while it was read. Reports other problems with it.
    fn trusted(
        &self,
        context: &Context,
        job: &FileJob,
        read: ReadFile,
        chunks: ReadChunks,
    ) -> Result<FileContent, Error> {
        let (problem, of_xattrs) = (read.problem.clone(), read.xattrs.problem.clone());
        let is_damaged = read.is_damaged;
        let mut content = content(read, chunks.ids);
        if let Some(problem) = of_xattrs {
            context.failed_file(&job.path, problem);
        }
        if let Some(problem) = problem {
            // Let the next run read the file and report it again.
            content.trusted = false;
            match is_damaged {
                true => context.damaged_file(&job.path, problem),
                false => context.failed_file(&job.path, problem),
            }
        }
        count(context, &self.view, job, &mut content)?;
        let same = chunks.same && !content.chunks.is_empty();
        let database = self.is_part(job) || content.database.is_some();
        context.count_of_source(job.source, content.stat.size, same, database);
        Ok(content)
    }

    /// Returns whether a file is a journal that a database beside it needs.
    fn is_part(&self, job: &FileJob) -> bool {
        job.beside.is_some() && self.main == Main::WithJournals
    }

    /// Returns the version of the last run, if it is usable on its own and all of it is still stored.
    fn older(&mut self, context: &Context, job: &FileJob) -> Result<Option<FileContent>, Error> {
        let Some(older) = job.older.as_ref().filter(|older| older.is_good_alone()) else {
            return Ok(None);
        };
        let mut packs = Vec::new();
        for id in tree::split_ids(&older.chunks).unwrap_or_default() {
            match self.view.sound_chunk(&id)? {
                Some(place) => packs.push(place.pack),
                None => return Ok(None),
            }
        }
        context.dedup.need(packs);
        let mut stat = job.stat;
        (stat.size, stat.mtime, stat.ctime, stat.inode) =
            (older.size, older.mtime, older.ctime, older.inode);
        let xattrs = source::xattrs(&job.path);
        Ok(Some(FileContent::recorded(older.clone(), stat, xattrs, false)))
    }
}

impl Main {
    fn of(outcome: Option<&FileContent>) -> Main {
        match outcome {
            Some(FileContent { mark: Some(tree::MARK_COPY), .. }) => Main::Whole,
            // An older version is kept only if it is usable on its own.
            Some(FileContent { database: Some(database), trusted, mark: None, .. })
                if !trusted && database.journals.are_empty() =>
            {
                Main::Whole
            }
            Some(FileContent { database: Some(_), .. }) => Main::WithJournals,
            _ => Main::File,
        }
    }
}

/// Returns whether the content of a file differs from when it was last read although its size and all its times are the
/// same. A program cannot cause this, because every write changes the ctime. The inode is ignored, because some servers
/// assign new inode numbers on each mount. Databases are excluded, because they are stored as copies, which may differ.
fn is_rotted(job: &FileJob, content: &FileContent) -> bool {
    let is_plain = content.mark.is_none() && content.database.is_none() && content.trusted;
    job.older.as_ref().is_some_and(|older| {
        let was_plain = older.mark.is_none() && older.database.is_none();
        is_plain
            && was_plain
            && is_same(older, &content.stat, Ignore { inode: true, ctime: false })
            && older.chunks != content.chunks
    })
}

fn content(read: ReadFile, chunks: &[ChunkId]) -> FileContent {
    let ReadFile { stat, holes, xattrs, trusted, mark, database, .. } = read;
    let Xattrs { found: xattrs, problem } = xattrs;
    let (chunks, has_all_xattrs) = (tree::join_ids(chunks), problem.is_none());
    FileContent {
        stat,
        chunks,
        holes,
        xattrs,
        has_all_xattrs,
        trusted,
        mark,
        database,
        replaces: false,
    }
}

/// Counts a file, and notes whether a snapshot has an earlier version of it, which an interrupted run may have replaced
/// in the stat cache.
fn count(
    context: &Context,
    view: &Catalog,
    job: &FileJob,
    content: &mut FileContent,
) -> Result<(), Error> {
    let same =
        |older: &CachedFile| older.chunks == content.chunks && older.size == content.stat.size;
    let saved = match &job.older {
        Some(older) => context.saved.has_file(view, &older.chunks)?,
        None => false,
    };
    // Empty files, as a card or a sync program leaves them, do not show a move.
    let is_moved = job.older.is_none()
        && !content.chunks.is_empty()
        && context.saved.has_file(view, &content.chunks)?;
    let unchanged = job.older.as_ref().is_some_and(same);
    content.replaces = match saved {
        true => !unchanged,
        false => job.older.as_ref().is_some_and(|older| older.replaces),
    };
    context.count(|totals| {
        match saved {
            false if is_moved => totals.files_moved += 1,
            false if content.replaces => totals.files_changed += 1,
            false => totals.files_new += 1,
            true if unchanged => totals.files_unmodified += 1,
            true => totals.files_changed += 1,
        }
        totals.bytes_processed += content.bytes();
    });
    Ok(())
}
