//! Builds a catalog from the log, next to the old one. The old one stays until the new one is complete, because it may
//! be the only record on this host of what the archive contains.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::Connection;

use super::bulk::{Bulk, Failure};
use super::handle::{begin_file, lock_file, make_folder, remove, remove_with};
use super::{Catalog, LogFollower, LogTables, Standing, TakenSlot, lock, own, schema};
use crate::error::Error;
use crate::format::{Digest, LogEntry, RepositoryId};
use crate::progress::Progress;

/// Copies the facts that only this host knows: which data was read back and which thaws were requested, if at the same
/// place, and which disks were mounted.
const CARRY: &str = "
UPDATE packs SET (thaw_asked, read_at, read_slots, read_asked) =
    (SELECT o.thaw_asked, o.read_at, o.read_slots, o.read_asked FROM old.packs o
     WHERE o.id = packs.id AND o.rows = packs.rows)
WHERE EXISTS (SELECT 1 FROM old.packs o WHERE o.id = packs.id AND o.rows = packs.rows)
    AND (SELECT value FROM main.meta WHERE key = 'location')
        IS (SELECT value FROM old.meta WHERE key = 'location');
INSERT OR IGNORE INTO jobs SELECT * FROM old.jobs;
INSERT OR IGNORE INTO meta SELECT * FROM old.meta WHERE key LIKE 'thaw %' OR key = 'last slot';
INSERT OR IGNORE INTO mounts SELECT * FROM old.mounts;
INSERT OR IGNORE INTO own SELECT * FROM old.own;
INSERT INTO owed(number, object) SELECT number, object FROM old.owed;
INSERT OR IGNORE INTO sent SELECT * FROM old.sent;
";

/// Copies who has sent each entry, and the stat cache without the packs that each folder needs. The packs are looked up
/// again, because they have other row ids now and the owner may have ruled that nothing may rely on one of them.
const CARRY_TRUSTED: &str = "
UPDATE authors SET ours = (SELECT o.ours FROM old.authors o WHERE o.number = authors.number);
INSERT OR IGNORE INTO folders(key, inode, signature, children, tree, packs, detail)
    SELECT key, inode, signature, children, tree, NULL, detail FROM old.folders;
";

/// A catalog that is being built in a file of its own. It accepts the entries of the log, but chunks can only be found
/// after [`CatalogBuilder::finish`] has inserted them and the file has taken the place of the old one.
#[derive(Debug)]
pub struct CatalogBuilder {
    tables: LogTables,
    cache_dir: PathBuf,
    genesis: Digest,
    /// The chunks collected so far.
    pub(super) bulk: Mutex<Bulk>,
}

/// The catalog of a repository that is being opened.
#[derive(Debug)]
pub enum CatalogState {
    /// It is complete.
    Built(Catalog),
    /// It is built from the log first.
    Unbuilt(CatalogBuilder),
}

impl CatalogState {
    /// Opens the catalog in `cache_dir`. If it is empty, begins one that will replace it, because building a catalog as
    /// a whole is many times faster than entry by entry.
    pub fn open(
        cache_dir: &Path,
        repository: RepositoryId,
        genesis: Digest,
        progress: &dyn Progress,
    ) -> Result<CatalogState, Error> {
        let catalog = Catalog::open_waiting(cache_dir, repository, genesis, progress)?;
        if !catalog.wrap(knows_nothing(&catalog.lock()))? {
            return Ok(CatalogState::Built(catalog));
        }
        let path = catalog.path.clone();
        drop(catalog);
        let lock = lock_file(&path)?;
        // Another process may use the catalog by now, or may have filled it.
        let failed = |source| Error::Catalog { repository, source };
        let is_free = lock.try_lock().is_ok();
        let there = schema::open(&path, repository, genesis).map_err(failed)?;
        let is_filled = there.map_or(Ok(false), |there| knows_nothing(&there).map(|empty| !empty));
        if !is_free || is_filled.map_err(failed)? {
            drop(lock);
            let catalog = Catalog::open_waiting(cache_dir, repository, genesis, progress)?;
            return Ok(CatalogState::Built(catalog));
        }
        CatalogBuilder::create(cache_dir, lock, repository, genesis).map(CatalogState::Unbuilt)
    }
}

impl Deref for CatalogBuilder {
    type Target = LogTables;

    fn deref(&self) -> &LogTables {
        &self.tables
    }
}

impl LogFollower for CatalogBuilder {
    fn apply(
        &self,
        taken: &TakenSlot<'_>,
        entry: &LogEntry,
        standing: Standing,
    ) -> Result<(), Error> {
        let mut chunks = Vec::new();
        self.apply_entry(taken, entry, standing, |_, new| {
            chunks = new;
            Ok(())
        })?;
        let mut bulk = self.bulk.lock().expect("nothing panics here");
        bulk.add(chunks).map_err(Error::cache("write beside", &self.path))
    }

    fn kept_before(&self, number: u64) -> Result<Option<Vec<u8>>, Error> {
        let old = self.path.with_file_name("catalog.sqlite");
        if !old.exists() {
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
}

impl CatalogBuilder {
    /// Waits until no other process uses the catalog in `cache_dir`, and begins one that will replace it.
    pub fn begin(
        cache_dir: &Path,
        repository: RepositoryId,
        genesis: Digest,
        progress: &dyn Progress,
    ) -> Result<CatalogBuilder, Error> {
        let path = make_folder(cache_dir, repository)?.join("catalog.sqlite");
        let lock = lock_file(&path)?;
        lock::wait(&lock, &path, false, progress)?;
        CatalogBuilder::create(cache_dir, lock, repository, genesis)
    }

    fn create(
        cache_dir: &Path,
        lock: File,
        repository: RepositoryId,
        genesis: Digest,
    ) -> Result<CatalogBuilder, Error> {
        let path = cache_dir.join(repository.to_string()).join("catalog.new");
        begin_file(&path)?;
        let connection = schema::create(&path, repository, genesis)
            .and_then(unlogged)
            .map_err(|source| Error::Catalog { repository, source })?;
        let bulk = Mutex::new(Bulk::new(&path));
        let connection = Mutex::new(connection);
        let tables = LogTables { repository, path, connection, _in_use: Some(lock) };
        Ok(CatalogBuilder { tables, cache_dir: cache_dir.to_owned(), genesis, bulk })
    }

    /// Durably replaces the old catalog by this one, and opens it. If the old one is `trusted`, copies its stat cache, so
    /// that the next snapshot need not read every file again, and what it knows about who has sent entries.
    pub fn finish(self, trusted: bool, progress: &dyn Progress) -> Result<Catalog, Error> {
        let CatalogBuilder { tables, cache_dir, genesis, bulk } = self;
        insert(&tables, bulk.into_inner().expect("nothing panics here"))?;
        let old = tables.path.with_file_name("catalog.sqlite");
        // If the old catalog cannot be read, nothing is copied from it.
        let readable = schema::open(&old, tables.repository, genesis).ok().flatten();
        if readable.is_some_and(|connection| to_one_file(&connection).is_ok()) {
            let _ = carry(&tables, &old, trusted);
        }
        tables.wrap(own::is_whole(&tables.lock()))?;
        tables.wrap(to_one_file(&tables.lock()))?;
        let LogTables { repository, path, connection, _in_use: lock } = tables;
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
        Catalog::open_waiting(&cache_dir, repository, genesis, progress)
    }

    /// Removes a catalog that could not be built.
    pub fn give_up(self) {
        // The next rebuild removes whatever remains of it.
        let _ = remove(&self.path);
    }
}

/// Inserts the collected chunks into the tables.
fn insert(tables: &LogTables, bulk: Bulk) -> Result<(), Error> {
    let mut connection = tables.lock();
    let inserted = (|| {
        let transaction = connection.transaction()?;
        bulk.insert(&transaction)?;
        Ok(transaction.commit()?)
    })();
    inserted.map_err(|failure| match failure {
        Failure::Sqlite(source) => Error::Catalog { repository: tables.repository, source },
        Failure::File(error) => Error::cache("sort chunks beside", &tables.path)(error),
    })
}

fn carry(tables: &LogTables, old: &Path, trusted: bool) -> rusqlite::Result<()> {
    let connection = tables.lock();
    connection.execute("ATTACH ? AS old", [old.to_string_lossy()])?;
    // What a catalog of another version does not have is not carried, but the rest is.
    for facts in [CARRY, CARRY_TRUSTED].into_iter().take(if trusted { 2 } else { 1 }) {
        if connection.execute_batch(&format!("BEGIN; {facts} COMMIT;")).is_err() {
            connection.execute_batch("ROLLBACK")?;
        }
    }
    connection.execute_batch("DETACH old")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn a_catalog_is_opened_only_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let (id, genesis) = (RepositoryId([1; 16]), Digest([2; 32]));
        let begin = || {
            let builder = CatalogBuilder::begin(folder.path(), id, genesis, &Silent).unwrap();
            assert_eq!(builder.position().unwrap().number, 0);
            builder.keep_config(b"new", "there").unwrap();
            builder
        };
        let open = || Catalog::open(folder.path(), id, genesis).unwrap();
        let old = open();
        old.acknowledged(7, b"mine").unwrap();
        drop(old);
        let unfinished = folder.path().join(id.to_string()).join("catalog.new");
        // A run that is killed leaves the file.
        drop(begin());
        assert!(unfinished.exists());
        assert_eq!(open().kept_config().unwrap(), None);
        begin().give_up();
        assert!(!unfinished.exists());
        assert_eq!(open().kept_config().unwrap(), None);
        let new = begin().finish(false, &Silent).unwrap();
        assert!(!unfinished.exists());
        assert_eq!(new.kept_config().unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(new.own_entry(7).unwrap().as_deref(), Some(&b"mine"[..]));
    }
}
