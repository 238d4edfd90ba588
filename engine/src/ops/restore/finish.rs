//! Finishes written batches while the next one is being written: syncs the files, sets their
//! metadata and gives them their names.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use super::aside;
use super::looks_same;
use super::open::{Cause, Written};
use super::verify::is_same;
use crate::error::Error;
use crate::files::Folder;
use crate::format::{Entry, EntryKind};
use crate::progress::{Problem, Progress};
use crate::repo::Repository;

/// The results for the files.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub files: u64,
    pub bytes: u64,
    pub failed: BTreeMap<PathBuf, Cause>,
}

/// Finishes batches until there are no more.
pub(super) fn run(
    batches: Receiver<Vec<Written>>,
    repository: &Repository,
    progress: &dyn Progress,
) -> Result<Finished, Error> {
    let mut finished = Finished::default();
    for batch in batches {
        // One sync of each disk for the whole batch, before any file gets its name, because a name
        // must never refer to content that can be lost.
        let written = batch.iter().filter(|file| file.result.is_ok());
        let disks: BTreeMap<u64, &Folder> =
            written.map(|file| (file.task.folder.device, &file.task.folder)).collect();
        for folder in disks.into_values() {
            folder.sync_file_system().map_err(Error::file("sync", &folder.path))?;
        }
        for file in batch {
            finish(file, &mut finished, repository, progress);
        }
    }
    Ok(finished)
}

/// Returns whether the existing file is already what was to be restored, because another restore
/// into the same target was faster.
pub(super) fn is_there(repository: &Repository, entry: &Entry, folder: &Folder) -> bool {
    let there = folder.stat(&entry.name).ok().flatten();
    there.is_some_and(|there| looks_same(&there, entry, folder))
        && (entry.kind != EntryKind::File || is_same(repository, entry, folder).unwrap_or(false))
}

fn finish(
    file: Written,
    finished: &mut Finished,
    repository: &Repository,
    progress: &dyn Progress,
) {
    let Written { task, path, result } = file;
    let kept = result.and_then(|temp| {
        aside::before_keep(&temp, &task.folder, &task.entry, &task.stale, progress).map_err(
            |error| {
                let message = format!("cannot move aside a journal that has its name: {error}");
                (message, Cause::Local)
            },
        )?;
        let kept = temp.keep(&task.entry, task.replaces);
        kept.or_else(|error| {
            let why = match error.kind() {
                io::ErrorKind::AlreadyExists if is_there(repository, &task.entry, &task.folder) => {
                    return Ok(Vec::new());
                }
                io::ErrorKind::AlreadyExists => {
                    "another file has that name (on some disks, IMG.jpg and img.jpg are the same name)"
                        .to_owned()
                }
                _ => error.to_string(),
            };
            Err((format!("cannot rename it to its final name: {why}"), Cause::Local))
        })
    });
    match kept {
        Ok(unset) => {
            for (what, error) in unset {
                let message = format!("restored, but failed to {what} it: {error}");
                progress.problem(Problem { path: path.clone(), message });
            }
            finished.files += 1;
            finished.bytes = finished.bytes.saturating_add(task.entry.size.unwrap_or(0));
            progress.advance(1, 0);
        }
        Err((message, cause)) => {
            finished.failed.insert(path.clone(), cause);
            if cause != Cause::Cold {
                progress.problem(Problem { path, message });
            }
        }
    }
}
