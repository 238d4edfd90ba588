//! Tracks which files this process has open. SQLite uses POSIX locks: the kernel drops all of them
//! when the process closes any descriptor of the same file, whatever its name. So while a database
//! is connected, this process closes no other descriptor of its file, and it connects only while no
//! such descriptor is open.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::Stat;

/// A file, by device and inode.
type FileId = (u64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Number of open descriptors.
    Plain(usize),
    Database,
}

static OPEN: Mutex<BTreeMap<FileId, Use>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

/// Registers the use of a file until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    file: FileId,
}

fn open() -> MutexGuard<'static, BTreeMap<FileId, Use>> {
    OPEN.lock().expect("nothing panics while it holds the lock")
}

impl Held {
    /// Registers an open descriptor. Waits until no connection to the same file is left, so that
    /// closing the descriptor cannot drop its locks.
    pub fn plain(stat: &Stat) -> Held {
        let file = (stat.device, stat.inode);
        let is_connected =
            |open: &mut BTreeMap<FileId, Use>| open.get(&file) == Some(&Use::Database);
        let open = CHANGED.wait_while(open(), is_connected);
        let mut open = open.expect("nothing panics while it holds the lock");
        match open.entry(file).or_insert(Use::Plain(0)) {
            Use::Plain(count) => *count += 1,
            Use::Database => unreachable!("waited until it is none"),
        }
        Held { file }
    }

    /// Registers a connection. Waits until no other descriptor of the file is open.
    pub fn database(stat: &Stat) -> Held {
        let file = (stat.device, stat.inode);
        let is_open = |open: &mut BTreeMap<FileId, Use>| open.contains_key(&file);
        let open = CHANGED.wait_while(open(), is_open);
        open.expect("nothing panics while it holds the lock").insert(file, Use::Database);
        Held { file }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = open();
        match open.get_mut(&self.file) {
            Some(Use::Plain(count)) if *count > 1 => *count -= 1,
            _ => _ = open.remove(&self.file),
        }
        drop(open);
        CHANGED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{SourceFile, scan};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_connection_waits_for_descriptors_and_they_for_it_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, "x").unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        let stat = scan::stat(&path, false).unwrap();
        let (first, second) = (
            SourceFile::open(&path, &|| true).unwrap(),
            SourceFile::open(&other, &|| true).unwrap(),
        );
        let connected = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let held = Held::database(&stat);
                connected.store(true, Ordering::SeqCst);
                // Give the other threads the chance to start and wait.
                std::thread::yield_now();
                connected.store(false, Ordering::SeqCst);
                drop(held);
            });
            drop(first);
            assert!(!connected.load(Ordering::SeqCst), "one descriptor is open");
            drop(second);
            for _ in 0..100 {
                let file = SourceFile::open(&other, &|| true).unwrap();
                assert!(!connected.load(Ordering::SeqCst), "a descriptor is open");
                drop(file);
            }
        });
        assert!(!open().contains_key(&(stat.device, stat.inode)));
    }
}
