//! A temporary cache, for read-only commands on hosts whose cache cannot be used: a rescue system, a container, a full
//! disk. The catalog is private, so it is created where no other user can read it, and removed when the program ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use icecore_engine::codec::random;
use icecore_engine::files::private;

/// The temporary cache of this process.
static CURRENT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Returns possible places for a temporary cache, the best one first: a disk has more space than memory.
pub fn places() -> Vec<PathBuf> {
    let given = std::env::var_os("TMPDIR").map(PathBuf::from);
    let usual = ["/var/tmp", "/tmp", "/dev/shm"].map(PathBuf::from);
    given.into_iter().chain(usual).collect()
}

/// Creates a temporary cache in a folder, with a copy of the catalog in `cache` if that can be read. The copy records
/// how long the log was, so that a store that has gone back is noticed.
pub fn make(place: &Path, cache: Option<&Path>, repository: &str) -> io::Result<PathBuf> {
    let name = format!("icecore-{:016x}", u64::from_le_bytes(random()));
    let folder = place.join(name);
    if !place.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let make = |folder: &Path| {
        private::folder(folder, private::OTHERS, |_| true).map_err(io::Error::other)
    };
    make(&folder)?;
    remove();
    if let Ok(mut current) = CURRENT.lock() {
        *current = Some(folder.clone());
    }
    let Some(cache) = cache else { return Ok(folder) };
    let (from, to) = (cache.join(repository), folder.join(repository));
    make(&to)?;
    let copied = ["catalog.sqlite", "catalog.sqlite-wal"].iter().try_for_each(|name| {
        match File::open(from.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            there => io::copy(&mut there?, &mut private::create(&to.join(name))?).map(drop),
        }
    });
    if copied.is_err() {
        // A partial copy is useless, so delete it; the catalog is read from the log instead.
        std::fs::remove_dir_all(&to)?;
    }
    Ok(folder)
}

/// Removes the temporary cache.
pub fn remove() {
    if let Some(folder) = CURRENT.lock().ok().and_then(|mut current| current.take()) {
        // If it cannot be removed, it is left behind, as after a kill. It is small and only a cache.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Ends the program at once.
pub fn exit(code: u8) -> ! {
    crate::screen::erase_at_exit();
    crate::echo::restore();
    crate::unfinished::remove();
    remove();
    std::process::exit(i32::from(code))
}
