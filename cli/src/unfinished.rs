//! Deletes a file if the program ends before something else is created that alone makes the file useful.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The file to remove.
static CURRENT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Removes a file when the program ends, unless [`keep`] is called before.
pub fn begin(path: &Path) {
    if let Ok(mut current) = CURRENT.lock() {
        *current = Some(path.to_owned());
    }
}

/// Keeps the file, because it is useful now.
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
