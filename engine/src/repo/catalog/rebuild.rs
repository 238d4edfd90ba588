//! Rebuilds the catalog next to the old one. The old one stays until the new one is complete, because it may be the
//! only record on this host of what the archive contains.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::Connection;

use super::bulk::{Bulk, Failure};
use super::handle::{begin_file, lock_file, make_folder, remove, remove_with};
use super::{Catalog, lock, schema};
use crate::error::Error;
use crate::format::{Digest, RepositoryId};
use crate::progress::Progress;

/// Copies the facts that only this host knows: which data was read back, which thaws were requested, and which disks
/// were mounted.
const CARRY: &str = "
UPDATE packs SET (thaw_asked, read_at, read_slots, read_asked) =
    (SELECT o.thaw_asked, o.read_at, o.read_slots, o.read_asked FROM old.packs o
     WHERE o.id = packs.id AND o.rows = packs.rows)
WHERE EXISTS (SELECT 1 FROM old.packs o WHERE o.id = packs.id AND o.rows = packs.rows);
INSERT OR IGNORE INTO jobs SELECT * FROM old.jobs;
INSERT OR IGNORE INTO meta SELECT * FROM old.meta WHERE key LIKE 'thaw %' OR key = 'last slot';
INSERT OR IGNORE INTO mounts SELECT * FROM old.mounts;
INSERT OR IGNORE INTO own SELECT * FROM old.own;
INSERT INTO owed(number, object) SELECT number, object FROM old.owed;
";

/// Copies the stat cache without the packs that each folder needs. These are looked up again, because they have other
/// row ids now and the owner may have ruled that nothing may rely on one of them.
const CARRY_FOLDERS: &str = "
INSERT OR IGNORE INTO folders(key, inode, signature, children, tree, packs, detail)
    SELECT key, inode, signature, children, tree, NULL, detail FROM old.folders;
";

impl Catalog {
    /// Waits until no other process uses the catalog in `cache_dir`, and begins one that will replace it.
    pub fn begin_rebuild(
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

    /// Opens the catalog in `cache_dir`. If it is empty, begins one that will replace it, because building a catalog as
    /// a whole is many times faster than entry by entry.
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
        // Another process may use the catalog by now, or may have filled it.
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

    /// Returns whether this catalog is still being built. Such a catalog accepts entries of the log, but cannot find
    /// chunks.
    pub fn is_begun(&self) -> bool {
        self.bulk.lock().expect("nothing panics here").is_some()
    }

    /// Returns a log entry that is kept in the old catalog, which this one is about to replace.
    pub fn kept_before(&self, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let old = self.path.with_file_name("catalog.sqlite");
        if !self.is_begun() || !old.exists() {
            return Ok(None);
        }
        let connection = self.lock();
        self.wrap(connection.execute("ATTACH ? AS old", [old.to_string_lossy()]))?;
        let sql = "SELECT object FROM old.entries WHERE number = ?";
        let kept = connection.query_row(sql, [schema::signed(number)], |row| row.get(0));
        self.wrap(connection.execute_batch("DETACH old"))?;
        // An unreadable old catalog is treated as having kept nothing.
        Ok(kept.ok())
    }

    /// Inserts the collected chunks into the tables.
    pub(super) fn insert_bulk(&mut self) -> Result<(), Error> {
        let Some(bulk) = self.bulk.get_mut().expect("nothing panics here").take() else {
            return Ok(());
        };
        let mut connection = self.lock();
        let inserted = (|| {
            let transaction = connection.transaction()?;
            bulk.insert(&transaction)?;
            Ok(transaction.commit()?)
        })();
        inserted.map_err(|failure| match failure {
            Failure::Sqlite(source) => Error::Catalog { repository: self.repository, source },
            Failure::File(error) => Error::cache("sort chunks beside", &self.path)(error),
        })
    }

    /// Durably replaces the old catalog by the rebuilt one. Copies the stat cache of the old one only if it is
    /// `trusted`; then no file must be read again.
    pub fn take_place(mut self, genesis: Digest, trusted: bool) -> Result<(), Error> {
        self.insert_bulk()?;
        let old = self.path.with_file_name("catalog.sqlite");
        // If the old catalog cannot be read, nothing is copied from it.
        let readable = schema::open(&old, self.repository, genesis).ok().flatten();
        if readable.is_some_and(|connection| to_one_file(&connection).is_ok()) {
            let _ = self.carry(&old, trusted);
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
        // The next rebuild removes whatever remains of it.
        let _ = remove(&self.path);
    }

    fn carry(&self, old: &Path, trusted: bool) -> rusqlite::Result<()> {
        let connection = self.lock();
        connection.execute("ATTACH ? AS old", [old.to_string_lossy()])?;
        let folders = if trusted { CARRY_FOLDERS } else { "" };
        let carried = connection.execute_batch(&format!("BEGIN; {CARRY} {folders} COMMIT;"));
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

/// Returns whether a catalog is still empty.
fn knows_nothing(connection: &Connection) -> rusqlite::Result<bool> {
    let packs: bool =
        connection.query_row("SELECT EXISTS(SELECT 1 FROM packs)", [], |row| row.get(0))?;
    Ok(schema::position(connection)?.number == 0 && !packs)
}

/// Turns off SQLite's journal on disk, so that nothing is written twice. The catalog is not used before it replaces the
/// old one, and the next rebuild removes what a crash leaves of it.
fn unlogged(connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    Ok(connection)
}

/// Moves everything from the write-ahead log into the main file.
fn to_one_file(connection: &Connection) -> rusqlite::Result<()> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(schema::bad("another process writes to it")) } else { Ok(()) }
}
