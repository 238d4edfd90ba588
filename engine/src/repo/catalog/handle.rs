//! Opens, locks and deletes the catalog. A `Catalog` is one connection to its file.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rusqlite::Connection;

use super::rows::Position;
use super::{lock, schema};
use crate::error::Error;
use crate::files::private;
use crate::format::{Digest, RepositoryId, Settings};
use crate::progress::{Progress, Silent};

/// Size of SQLite's page cache for a view, and for a run that needs its memory for packs. SQLite reads a negative
/// number as KiB. Other pages are in the page cache of the system.
const LITTLE_CACHE_KIB: i64 = -256;

/// The catalog of one repository, complete up to its position.
#[derive(Debug)]
pub struct Catalog(pub(super) LogTables);

impl Deref for Catalog {
    type Target = LogTables;

    fn deref(&self) -> &LogTables {
        &self.0
    }
}

/// The connection to a catalog, which may still be incomplete. Its methods are those that reading the log needs: they
/// find the position, authors, verdicts, packs and kept entries, but no chunks.
#[derive(Debug)]
pub struct LogTables {
    pub(super) repository: RepositoryId,
    pub(super) path: PathBuf,
    pub(super) connection: Mutex<Connection>,
    /// Locked as long as the catalog is in use, so that no other process rebuilds it. The kernel
    /// releases it when the process ends.
    pub(super) _in_use: Option<File>,
}

impl Catalog {
    /// Opens the catalog in `cache_dir`, and rebuilds it if it is missing, foreign, damaged or of
    /// another version. `genesis` is the digest of `config`.
    pub fn open(
        cache_dir: &Path,
        repository: RepositoryId,
        genesis: Digest,
    ) -> Result<Catalog, Error> {
        Catalog::open_waiting(cache_dir, repository, genesis, &Silent)
    }

    /// Opens the catalog as [`Catalog::open`] does. Reports a wait for another process to `progress`.
    pub fn open_waiting(
        cache_dir: &Path,
        repository: RepositoryId,
        genesis: Digest,
        progress: &dyn Progress,
    ) -> Result<Catalog, Error> {
        let folder = make_folder(cache_dir, repository)?;
        let path = folder.join("catalog.sqlite");
        let failed = |source| Error::Catalog { repository, source };
        let lock = lock_file(&path)?;
        let unlock = || lock.unlock().map_err(Error::cache("unlock", &path));
        lock::wait(&lock, &path, true, progress)?;
        let mut connection = schema::open(&path, repository, genesis).map_err(failed)?;
        if connection.is_none() {
            // Another process may be rebuilding it, or may still have it open.
            unlock()?;
            lock::wait(&lock, &path, false, progress)?;
            connection = schema::open(&path, repository, genesis).map_err(failed)?;
        }
        let connection = match connection {
            Some(connection) => connection,
            None => {
                begin_file(&path)?;
                schema::create(&path, repository, genesis).map_err(failed)?
            }
        };
        unlock()?;
        lock::wait(&lock, &path, true, progress)?;
        let connection = Mutex::new(connection);
        Ok(Catalog(LogTables { repository, path, connection, _in_use: Some(lock) }))
    }

    /// Returns whether a repository has a catalog in `cache_dir`.
    pub fn is_there(cache_dir: &Path, repository: RepositoryId) -> bool {
        cache_dir.join(repository.to_string()).join("catalog.sqlite").exists()
    }

    /// Deletes the catalog of a repository. Waits until no process uses it.
    pub fn delete(
        cache_dir: &Path,
        repository: RepositoryId,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let path = cache_dir.join(repository.to_string()).join("catalog.sqlite");
        if !path.exists() {
            return Ok(());
        }
        let lock = lock_file(&path)?;
        lock::wait(&lock, &path, false, progress)?;
        remove(&path)
    }

    /// Opens a second connection for another thread. It sees committed changes.
    pub fn view(&self) -> Result<Catalog, Error> {
        let connection = self.wrap(schema::connect(&self.path))?;
        let view = Catalog(LogTables {
            repository: self.repository,
            path: self.path.clone(),
            connection: Mutex::new(connection),
            // A view is dropped before the catalog that it belongs to, which has the lock.
            _in_use: None,
        });
        // There may be one view per core.
        view.keep_little()?;
        Ok(view)
    }

    /// Keeps less of the catalog in memory from now on. SQLite then sorts in temporary files sooner.
    pub fn keep_little(&self) -> Result<(), Error> {
        self.wrap(self.lock().pragma_update(None, "cache_size", LITTLE_CACHE_KIB))
    }

    /// Begins a read transaction; pair it with [`Catalog::end_read`]. Lookups in between need no locks of their own.
    pub fn begin_read(&self) -> Result<(), Error> {
        self.wrap(self.lock().prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])))?;
        Ok(())
    }

    /// Ends the read transaction.
    pub fn end_read(&self) -> Result<(), Error> {
        self.wrap(self.lock().prepare_cached("COMMIT").and_then(|mut end| end.execute([])))?;
        Ok(())
    }

    /// Acquires the writer lock, so that only one process of this host uploads to this repository. Waits for another
    /// process that has it. The kernel releases the lock when the process ends.
    pub fn writer_lock(&self, progress: &dyn Progress) -> Result<File, Error> {
        lock::alone(&self.path.with_file_name("writer.lock"), "another run on this host", progress)
    }

    /// Acquires a lock file next to the catalog; `None` if another process has it.
    pub fn try_lock(&self, name: &str) -> Result<Option<File>, Error> {
        let file = private::open_lock(&self.path.with_file_name(name)).map_err(Error::of_cache)?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// Returns the settings in force; `None` if the log has changed none.
    pub fn settings(&self) -> Result<Option<Settings>, Error> {
        let blob: Option<Vec<u8>> = self.wrap(schema::get_meta(&self.lock(), "settings"))?;
        Ok(blob.and_then(|blob| minicbor::decode(&blob).ok()))
    }
}

impl LogTables {
    /// Returns the folder of the catalog, in which unnamed files may be created.
    pub fn folder_path(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Returns how far the log was read.
    pub fn position(&self) -> Result<Position, Error> {
        let connection = self.lock();
        self.wrap(schema::position(&connection))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("no catalog code panics while it holds the connection")
    }

    pub(super) fn wrap<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Catalog { repository: self.repository, source })
    }
}

/// Makes the folder of the catalog of a repository.
pub(super) fn make_folder(cache_dir: &Path, repository: RepositoryId) -> Result<PathBuf, Error> {
    // The folder contains only catalogs, unless the user keeps other things in it.
    let is_catalog = |name: &[u8]| std::str::from_utf8(name).is_ok_and(is_repository);
    private::folder(cache_dir, private::OTHERS, is_catalog).map_err(Error::of_cache)?;
    let folder = cache_dir.join(repository.to_string());
    private::folder(&folder, private::OTHERS, |_| true).map_err(Error::of_cache)?;
    private::clear(&folder, |name| name.ends_with(b".lock")).map_err(Error::of_cache)?;
    Ok(folder)
}

pub(super) fn lock_file(catalog: &Path) -> Result<File, Error> {
    private::open_lock(&catalog.with_file_name("catalog.lock")).map_err(Error::of_cache)
}

/// Returns whether a name is the id of a repository.
fn is_repository(name: &str) -> bool {
    name.parse::<RepositoryId>().is_ok()
}

/// Creates an empty file for a new catalog. SQLite accepts it as a new database, and gives its journals the same mode.
pub(super) fn begin_file(path: &Path) -> Result<(), Error> {
    remove(path)?;
    private::create(path).map(drop).map_err(Error::cache("create", path))
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    ["", "-wal", "-shm"].iter().try_for_each(|suffix| remove_with(path, suffix))
}

/// Removes a file whose name is a path and a suffix, if it is there.
pub(super) fn remove_with(path: &Path, suffix: &str) -> Result<(), Error> {
    let mut file = path.as_os_str().to_owned();
    file.push(suffix);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::cache("remove", file)(error))
        }
        _ => Ok(()),
    }
}
