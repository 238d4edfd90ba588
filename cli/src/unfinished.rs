//! A file that means nothing until what it is about is made: it is removed if the program ends before that.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The temporary cache of this process.
static CURRENT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Removes a file when the program ends, unless it is kept before.
pub fn begin(path: &Path) {
    if let Ok(mut current) = CURRENT.lock() {
        *current = Some(path.to_owned());
    }
}

/// Keeps the file: what it is about is made.
pub fn keep() {
    if let Ok(mut current) = CURRENT.lock() {
        *current = None;
    }
}

/// Removes the file.
pub fn remove() {
    if let Some(path) = CURRENT.lock().ok().and_then(|mut current| current.take()) {
        let _ = std::fs::remove_file(path);
    }
}
