//! Deletes a file at the end of the program if the file is useless, because what it belongs to was never
//! created.

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
