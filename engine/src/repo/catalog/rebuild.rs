//! Rebuilds the catalog beside the old one, which stays until the new one is complete, because it
//! may have the only copy of a log entry that the store has lost.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::Connection;

use super::bulk::Bulk;
use super::{Catalog, begin_file, lock, lock_file, make_folder, remove, remove_with, schema};
use crate::error::Error;
use crate::format::{Digest, RepositoryId};
use crate::progress::Progress;

/// Copies the knowledge that is not in the log: data that was read back, thaws that were requested,
/// and mount points.
const CARRY: &str = "
UPDATE packs SET (thaw_asked, read_at, read_slots, read_asked) =
    (SELECT o.thaw_asked, o.read_at, o.read_slots, o.read_asked FROM old.packs o
     WHERE o.id = packs.id AND o.rows = packs.rows)
WHERE EXISTS (SELECT 1 FROM old.packs o WHERE o.id = packs.id AND o.rows = packs.rows);
INSERT OR IGNORE INTO jobs SELECT * FROM old.jobs;
INSERT OR IGNORE INTO meta SELECT * FROM old.meta WHERE key LIKE 'thaw %';
INSERT OR IGNORE INTO mounts SELECT * FROM old.mounts;
INSERT OR IGNORE INTO own SELECT * FROM old.own;
INSERT INTO owed(number, object) SELECT number, object FROM old.owed;
";

impl Catalog {
    /// Begins a catalog that will replace the one in `cache_dir`, once no other process uses the
    /// old one.
    pub fn begin_anew(
        cache_dir: &Path,
        repository: RepositoryId,
        genesis: Digest,
        progress: &dyn Progress,
    ) -> Result<Catalog, Error> {
        let folder = make_folder(cache_dir, repository)?;
        let path = folder.join("catalog.sqlite");
        let lock = lock_file(&path)?;
        lock::wait(&lock, &path, false, progress)?;
        begin(&folder, lock, repository, genesis)
    }

    /// Opens the catalog in `cache_dir`. If it is empty, begins one that will replace it, because
    /// building it as a whole is many times faster than entry by entry.
    pub fn open_or_begin(
        cache_dir: &Path,
        repository: RepositoryId,
        genesis: Digest,
        progress: &dyn Progress,
    ) -> Result<Catalog, Error> {
        let catalog = Catalog::open_waiting(cache_dir, repository, genesis, progress)?;
        if !catalog.wrap(knows_nothing(&catalog.lock()))? {
            return Ok(catalog);
        }
        let Catalog { path, connection, _in_use, .. } = catalog;
        drop((connection, _in_use));
        let lock = lock_file(&path)?;
        // Another process may be using it by now, or may have filled it.
        let failed = |source| Error::Catalog { repository, source };
        let is_free = lock.try_lock().is_ok();
        let there = schema::open(&path, repository, genesis).map_err(failed)?;
        let is_filled = there.map_or(Ok(false), |there| knows_nothing(&there).map(|empty| !empty));
        if !is_free || is_filled.map_err(failed)? {
            drop(lock);
            return Catalog::open_waiting(cache_dir, repository, genesis, progress);
        }
        begin(path.parent().unwrap_or(cache_dir), lock, repository, genesis)
    }

    /// Returns whether the catalog is still being rebuilt. Until it is in its place, it accepts log
    /// entries but does not answer questions about chunks.
    pub fn is_begun(&self) -> bool {
        self.bulk.lock().expect("nothing panics here").is_some()
    }

    /// Replaces the old catalog by the rebuilt one, durably.
    pub fn take_place(mut self, genesis: Digest) -> Result<(), Error> {
        self.insert_bulk()?;
        let old = self.path.with_file_name("catalog.sqlite");
        // An old catalog that cannot be read has nothing to carry over.
        let readable = schema::open(&old, self.repository, genesis).ok().flatten();
        if readable.is_some_and(|connection| to_one_file(&connection).is_ok()) {
            let _ = self.carry(&old);
        }
        self.wrap(to_one_file(&self.lock()))?;
        let Catalog { path, connection, _in_use: lock, .. } = self;
        drop(connection);
        File::open(&path).and_then(|file| file.sync_all()).map_err(Error::cache("sync", &path))?;
        // SQLite would apply the write-ahead log of the old catalog to the new one.
        ["-wal", "-shm"].iter().try_for_each(|suffix| remove_with(&old, suffix))?;
        std::fs::rename(&path, &old).map_err(Error::cache("rename", &path))?;
        remove(&path)?;
        let folder = old.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::cache("sync", folder))?;
        drop(lock);
        Ok(())
    }

    /// Removes a catalog whose rebuild has failed.
    pub fn give_up(self) {
        // The next rebuild removes whatever is left.
        let _ = remove(&self.path);
    }

    fn carry(&self, old: &Path) -> rusqlite::Result<()> {
        let connection = self.lock();
        connection.execute("ATTACH ? AS old", [old.to_string_lossy()])?;
        let carried = connection.execute_batch(&format!("BEGIN; {CARRY} COMMIT;"));
        if carried.is_err() {
            connection.execute_batch("ROLLBACK")?;
        }
        connection.execute_batch("DETACH old")
    }
}

fn begin(
    folder: &Path,
    lock: File,
    repository: RepositoryId,
    genesis: Digest,
) -> Result<Catalog, Error> {
    let path = folder.join("catalog.new");
    begin_file(&path)?;
    let connection = schema::create(&path, repository, genesis)
        .and_then(unlogged)
        .map_err(|source| Error::Catalog { repository, source })?;
    let (connection, bulk) = (Mutex::new(connection), Mutex::new(Some(Bulk::new(&path))));
    Ok(Catalog { repository, path, connection, bulk, _in_use: Some(lock) })
}

/// Returns whether a catalog is empty.
fn knows_nothing(connection: &Connection) -> rusqlite::Result<bool> {
    let packs: bool =
        connection.query_row("SELECT EXISTS(SELECT 1 FROM packs)", [], |row| row.get(0))?;
    Ok(schema::position(connection)?.number == 0 && !packs)
}

/// Switches the journal off: the catalog is not read until it is in its place, and a crashed one is
/// removed.
fn unlogged(connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Moves everything into the main file.
fn to_one_file(connection: &Connection) -> rusqlite::Result<()> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(schema::bad("another process writes to it")) } else { Ok(()) }
}
