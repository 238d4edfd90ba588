//! Counts the files in folders. The time is limited, because a network share may be slow or gone, and a library may be
//! large.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use icecore_engine::files::litter::is_litter;
use icecore_engine::format::EntryKind;

use crate::units::{count, size};

/// How often to check whether everything is counted.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The result of counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub files: u64,
    pub bytes: u64,
    /// Number of names that a snapshot leaves out, because programs create them again.
    pub litter: u64,
    /// Whether everything was counted.
    pub is_whole: bool,
}

impl Counted {
    /// Returns the sum of several counts.
    pub fn sum(all: &[Counted]) -> Counted {
        let start = Counted { is_whole: true, ..Counted::default() };
        all.iter().fold(start, |sum, one| Counted {
            files: sum.files + one.files,
            bytes: sum.bytes + one.bytes,
            litter: sum.litter + one.litter,
            is_whole: sum.is_whole && one.is_whole,
        })
    }

    /// Formats the count: `17 files, 6.61 MiB`, or more than that.
    pub fn text(&self) -> String {
        let Counted { files, bytes, is_whole, .. } = *self;
        match (is_whole, files) {
            (false, 0) => "not counted".to_owned(),
            (false, _) => format!("more than {}, {}", count(files, "file"), size(bytes)),
            (true, _) => format!("{}, {}", count(files, "file"), size(bytes)),
        }
    }
}

/// The counters of one folder.
#[derive(Default)]
struct Counting {
    files: AtomicU64,
    bytes: AtomicU64,
    litter: AtomicU64,
    is_whole: AtomicBool,
    is_over: AtomicBool,
}

/// Counts the files below each path, all paths at the same time, for at most `time_max`. A share that does not answer
/// blocks only its own thread.
pub fn count_all(paths: &[PathBuf], time_max: Duration) -> Vec<Counted> {
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let begin = |path: &PathBuf| {
        let counting = Arc::new(Counting::default());
        let (path, stop, shared) = (path.clone(), stop.clone(), counting.clone());
        let spawned = std::thread::Builder::new().name("count".to_owned()).spawn(move || {
            let is_whole = walk(&path, &shared, &stop);
            shared.is_whole.store(is_whole, Ordering::Relaxed);
            shared.is_over.store(true, Ordering::Release);
        });
        if spawned.is_err() {
            counting.is_over.store(true, Ordering::Release);
        }
        counting
    };
    let all: Vec<Arc<Counting>> = paths.iter().map(begin).collect();
    let is_over = |one: &Arc<Counting>| one.is_over.load(Ordering::Acquire);
    while started.elapsed() < time_max && !all.iter().all(is_over) {
        std::thread::sleep(LOOK_EVERY);
    }
    stop.store(true, Ordering::Relaxed);
    let counted = |one: &Arc<Counting>| {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            is_whole: is_over(one) && one.is_whole.load(Ordering::Relaxed),
            files: of(&one.files),
            bytes: of(&one.bytes),
            litter: of(&one.litter),
        }
    };
    all.iter().map(counted).collect()
}

/// Walks a folder. Returns whether everything in it was counted.
fn walk(path: &Path, counting: &Counting, stop: &AtomicBool) -> bool {
    let Ok(stat) = std::fs::metadata(path) else { return false };
    if !stat.is_dir() {
        counting.files.fetch_add(1, Ordering::Relaxed);
        counting.bytes.fetch_add(stat.len(), Ordering::Relaxed);
        return true;
    }
    let mut folders = vec![path.to_owned()];
    let mut is_whole = true;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            is_whole = false;
            continue;
        };
        for entry in entries.flatten() {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            folders.extend(add(&entry, counting));
        }
    }
    is_whole
}

/// Counts an entry of a folder. Returns its path if it is a folder to walk.
fn add(entry: &DirEntry, counting: &Counting) -> Option<PathBuf> {
    let stat = entry.metadata().ok()?;
    let kind = if stat.is_dir() { EntryKind::Folder } else { EntryKind::File };
    if is_litter(&entry.file_name(), kind) {
        counting.litter.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    if stat.is_dir() {
        return Some(entry.path());
    }
    if stat.is_file() {
        counting.files.fetch_add(1, Ordering::Relaxed);
        counting.bytes.fetch_add(stat.len(), Ordering::Relaxed);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_litter_apart() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("2024/@eaDir")).unwrap();
        std::fs::write(at("2024/a.cr3"), [0; 70]).unwrap();
        std::fs::write(at("2024/@eaDir/thumb"), [0; 70]).unwrap();
        std::fs::write(at("b.cr3"), [0; 30]).unwrap();
        std::fs::write(at(".DS_Store"), [0; 30]).unwrap();
        std::os::unix::fs::symlink("/", at("link")).unwrap();
        let paths = [folder.path().to_owned(), at("b.cr3"), at("nowhere")];
        let [whole, file, nowhere] = count_all(&paths, Duration::from_secs(60))[..] else {
            panic!("three")
        };
        assert_eq!(whole, Counted { files: 2, bytes: 100, litter: 2, is_whole: true });
        assert_eq!(file, Counted { files: 1, bytes: 30, litter: 0, is_whole: true });
        assert_eq!(nowhere, Counted::default());
        assert_eq!(Counted::sum(&[whole, file]).bytes, 130);
        assert!(!Counted::sum(&[whole, nowhere]).is_whole);
        assert_eq!(whole.text(), "2 files, 100 B");
        assert_eq!(Counted { is_whole: false, ..whole }.text(), "more than 2 files, 100 B");
        assert_eq!(nowhere.text(), "not counted");
    }

    #[test]
    fn counting_ends_in_time() {
        let started = Instant::now();
        let all = count_all(&[PathBuf::from("/")], Duration::from_millis(50));
        assert!(!all[0].is_whole);
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
