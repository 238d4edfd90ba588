//! Finishes written files while others are being written: syncs them, sets their metadata and gives
//! them their names.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::aside;
use super::in_the_way::looks_same;
use super::open::{Cause, Written};
use super::pieces::{BATCH_BYTES, batch_files_max};
use super::verify::is_same;
use crate::error::Error;
use crate::files::Folder;
use crate::format::{Entry, EntryKind};
use crate::progress::{Problem, Progress};
use crate::repo::Repository;

/// The counts of finished and failed files.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub files: u64,
    pub bytes: u64,
    pub failed: BTreeMap<PathBuf, Cause>,
}

/// How long a written file waits for others to be synced with it. A run that is killed loses at most this much work.
const WAITS: Duration = Duration::from_secs(1);

/// Finishes files until there are no more. If the run is interrupted, still finishes the files that are complete.
pub(super) fn run(
    files: Receiver<Written>,
    repository: &Repository,
    progress: &dyn Progress,
) -> Result<Finished, Error> {
    let mut finished = Finished::default();
    while let Ok(first) = files.recv() {
        let batch = together(first, &files);
        // Sync each disk once for all files, before any of them gets its name, because a name must never refer to
        // content that can be lost.
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

/// Returns the files to sync together: those that arrive before the time is up or the batch is full.
fn together(first: Written, files: &Receiver<Written>) -> Vec<Written> {
    let until = Instant::now() + WAITS;
    let mut bytes = first.task.entry.data_bytes();
    let mut batch = vec![first];
    while bytes < BATCH_BYTES && batch.len() < batch_files_max() {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(file) = files.recv_timeout(left) else { break };
        bytes = bytes.saturating_add(file.task.entry.data_bytes());
        batch.push(file);
    }
    batch
}

/// Returns whether the existing file is the one to restore, because another restore into the same target was faster.
pub(super) fn is_there(repository: &Repository, entry: &Entry, folder: &Folder) -> bool {
    let there = folder.stat(&entry.name).ok().flatten();
    there.is_some_and(|there| looks_same(repository, &there, entry, folder))
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
