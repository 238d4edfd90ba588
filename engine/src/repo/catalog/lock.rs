//! Waits for locks of other processes of this host. Polls the lock, so that a wait can be reported,
//! bounded and interrupted. The kernel releases a lock when its process ends.

use std::fs::{File, TryLockError};
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::info;

use crate::error::Error;
use crate::files::private;
use crate::progress::{Holder, Progress, Wait};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of times that a lock file which another user has locked is replaced.
const REPLACE_TRIES: u32 = 3;

/// Opens the file at `path` and locks it exclusively. Replaces the file if another user has locked
/// it: other users cannot open it now, but could before it was private.
pub(super) fn alone(
    path: &Path,
    what: &'static str,
    progress: &dyn Progress,
) -> Result<File, Error> {
    let mut replaced = 0;
    let mut file = private::open_lock(path)?;
    let began = Instant::now();
    let mut waited = false;
    loop {
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => break,
            // Another process has replaced it.
            Ok(()) => {
                file = private::open_lock(path)?;
                continue;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::cache("lock", path)(error)),
        }
        let process = process_with(&file);
        if replaced < REPLACE_TRIES && process.is_some_and(private::is_foreign_process) {
            replaced += 1;
            std::fs::remove_file(path).map_err(Error::cache("remove", path))?;
            file = private::open_lock(path)?;
            continue;
        }
        if !waited {
            info!(what, process, "waiting for another process");
        }
        waited = true;
        let holder = process.map(|process| Holder { process, since: since(&file, process) });
        progress.waits(&Wait { what, waited: began.elapsed(), holder })?;
        std::thread::sleep(PAUSE);
    }
    if waited {
        progress.waited();
    }
    // The note shows waiting processes who has the lock; the lock also works without it.
    let note = format!("{}\n", std::process::id());
    let _ =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
    Ok(file)
}

/// Locks an open file, shared or exclusively.
pub(super) fn wait(
    file: &File,
    path: &Path,
    shared: bool,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut waited = false;
    loop {
        let tried = if shared { file.try_lock_shared() } else { file.try_lock() };
        match tried {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::cache("lock", path)(error)),
        }
        waited = true;
        let holder = process_with(file).map(|process| Holder { process, since: None });
        let what = "another run on this host, which uses the catalog";
        progress.waits(&Wait { what, waited: began.elapsed(), holder })?;
        std::thread::sleep(PAUSE);
    }
    if waited {
        progress.waited();
    }
    Ok(())
}

/// Returns whether a file is the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let same =
        |(a, b): (std::fs::Metadata, std::fs::Metadata)| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let stats = file.metadata().ok().zip(std::fs::symlink_metadata(path).ok());
    // If the file cannot be examined, assume that it is the same.
    stats.is_none_or(same)
}

/// Returns the process that has locked a file, if the system reports it.
fn process_with(file: &File) -> Option<u32> {
    let stat = file.metadata().ok()?;
    let device = crate::system::device_in_locks(stat.dev())?;
    let wanted = format!("{device}:{}", stat.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| process_of(line, &wanted))
}

/// Reads a line of `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`.
fn process_of(line: &str, wanted: &str) -> Option<u32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields[..] {
        [_, "FLOCK", _, _, process, file, ..] if file == wanted => {
            process.parse().ok().filter(|process| *process != 0)
        }
        _ => None,
    }
}

/// Returns when a process acquired a lock, which is the time when it wrote its process id into the
/// file.
fn since(file: &File, process: u32) -> Option<std::time::SystemTime> {
    use std::os::unix::fs::FileExt;
    let mut text = [0; 16];
    let bytes = file.read_at(&mut text, 0).ok()?;
    let noted = std::str::from_utf8(&text[..bytes]).ok()?.trim().parse::<u32>().ok()?;
    (noted == process).then(|| file.metadata().ok()?.modified().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Three(AtomicU32);

    impl Progress for Three {
        fn waits(&self, wait: &Wait) -> Result<(), Error> {
            if let Some(holder) = &wait.holder {
                assert_eq!(holder.process, std::process::id());
                assert!(holder.since.is_some(), "it is noted in the file");
            }
            if self.0.fetch_add(1, Ordering::Relaxed) == 2 {
                Err(Error::Interrupted)
            } else {
                Ok(())
            }
        }
    }

    #[test]
    fn a_wait_is_heard_of_and_can_be_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("writer.lock");
        std::fs::write(&path, "what is in it does no harm").unwrap();
        let (first, second) = (Three::default(), Three::default());
        let held = alone(&path, "another run", &first).unwrap();
        assert!(matches!(alone(&path, "another run", &second), Err(Error::Interrupted)));
        assert_eq!((first.0.into_inner(), second.0.into_inner()), (0, 3));
        drop(held);
        drop(alone(&path, "another run", &Three::default()).unwrap());
        // A lock on a file that was renamed does not keep other processes out.
        let held = alone(&path, "another run", &Three::default()).unwrap();
        std::fs::rename(&path, folder.path().join("old.lock")).unwrap();
        let other = alone(&path, "another run", &Three::default()).unwrap();
        assert!(is_at(&other, &path) && !is_at(&held, &path));
    }

    #[test]
    fn the_list_of_locks_is_read() {
        let line = "12: FLOCK  ADVISORY  WRITE 4711 08:1f:131 0 EOF";
        assert_eq!(process_of(line, "08:1f:131"), Some(4711));
        assert_eq!(process_of(line, "08:1f:13"), None);
        assert_eq!(
            process_of("12: -> FLOCK  ADVISORY  WRITE 4711 08:1f:131 0 EOF", "08:1f:131"),
            None
        );
        assert_eq!(process_of("", ""), None);
    }
}
