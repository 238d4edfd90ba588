//! The local catalog: one SQLite file per repository that contains the state which the log
//! describes.
//!
//! It is a cache. If it is deleted, stale, foreign or damaged, it is rebuilt from hot objects; nothing in
//! it is ever the only copy of anything that is whole in the store, but for a restore in progress that
//! the store refused to note, and for what was read back when. On a host without the identity it
//! holds no name.

mod authors;
mod bulk;
mod chunks;
mod filter;
mod fold;
mod folders;
mod jobs;
mod kept;
mod lock;
mod lost;
mod mounts;
mod own;
mod packs;
mod places;
mod reads;
mod rebuild;
mod recent;
mod schema;
mod snapshots;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Error;
use crate::files::private;
use crate::format::{Digest, LogEntry, PackId, PackKind, RepositoryId, Settings, WriterId};
use crate::progress::{Progress, Silent};

pub use authors::{Said, Verdicts, VoidEntry, Writer, Written};
pub use chunks::ChunkPlace;
pub use filter::Filter;
pub use fold::Unfolded;
pub use folders::{CachedDatabase, CachedFile, CachedFolder};
pub use kept::KeptConfig;
pub use lost::{LostBy, MISSING};
pub use own::Owed;
pub use packs::{PackRow, PackState};
pub use places::{ENTRY_PACKS_MAX, LONE, NUMBER_MAX};
pub use reads::{ReadBack, Readings};
pub use snapshots::SnapshotRow;

/// The row of a pack in this catalog; another catalog of the same repository has other keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackKey(pub i64);

/// What a view, and a run that needs its memory for packs, keep in memory of the catalog, as SQLite takes it:
/// the page cache of the system has the rest.
const LITTLE_CACHE_KIB: i64 = -256;

/// How far the log has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the last entry read; 0 for none.
    pub number: u64,
    /// Digest of that entry, or of `config`.
    pub head: Digest,
    /// What has been seen of the log up to there (spec section 6.1).
    pub seen: Digest,
}

/// A slot of the log that is taken in.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    pub number: u64,
    pub digest: Digest,
    /// What has been seen of the log with it.
    pub seen: Digest,
    /// Bytes that it takes in the first part of a checkpoint.
    pub bytes: u64,
    /// The object, where it is to be kept.
    pub object: Option<&'a [u8]>,
}

/// Who has said an entry, and whether it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub author: WriterId,
    /// The author is revoked: what it added is kept apart, and nothing else counts.
    pub revoked: bool,
    /// The author is neither this host nor the owner.
    pub is_other: bool,
    /// What is odd about the entry, although it counts.
    pub doubt: Option<&'static str>,
}

/// The catalog of one repository.
#[derive(Debug)]
pub struct Catalog {
    repository: RepositoryId,
    path: PathBuf,
    connection: Mutex<Connection>,
    /// During a rebuild: its chunks, until all are known.
    bulk: Mutex<Option<bulk::Bulk>>,
    /// Locked as long as the catalog is in use, so that no other process rebuilds it. The kernel
    /// releases it when the process ends.
    _in_use: Option<File>,
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

    /// Opens the catalog as [`Catalog::open`] does; `progress` hears of a wait for another process.
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
        let (connection, bulk) = (Mutex::new(connection), Mutex::default());
        Ok(Catalog { repository, path, connection, bulk, _in_use: Some(lock) })
    }

    /// Returns whether there is a catalog of a repository.
    pub fn is_there(cache_dir: &Path, repository: RepositoryId) -> bool {
        cache_dir.join(repository.to_string()).join("catalog.sqlite").exists()
    }

    /// Deletes the catalog of a repository, waiting until no process uses it.
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

    /// Returns the folder that it is in, where files without a name may be made.
    pub fn folder_path(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Opens a second view for another thread: it sees what was committed.
    pub fn view(&self) -> Result<Catalog, Error> {
        let connection = self.wrap(schema::connect(&self.path))?;
        let view = Catalog {
            repository: self.repository,
            path: self.path.clone(),
            connection: Mutex::new(connection),
            bulk: Mutex::default(),
            // Views are gone before the catalog that they are views of.
            _in_use: None,
        };
        // There may be one for each core.
        view.keep_little()?;
        Ok(view)
    }

    /// Keeps less of the catalog in memory from now on. What is sorted in it goes to a temporary file sooner.
    pub fn keep_little(&self) -> Result<(), Error> {
        self.wrap(self.lock().pragma_update(None, "cache_size", LITTLE_CACHE_KIB))
    }

    /// Holds one moment of the catalog until it is let go: what is looked up in between needs no locks.
    pub fn hold(&self) -> Result<(), Error> {
        self.wrap(self.lock().prepare_cached("BEGIN").and_then(|mut begin| begin.execute([])))?;
        Ok(())
    }

    pub fn let_go(&self) -> Result<(), Error> {
        self.wrap(self.lock().prepare_cached("COMMIT").and_then(|mut end| end.execute([])))?;
        Ok(())
    }

    /// Takes the lock that makes this process the only one of this host that uploads to this
    /// repository, waiting for another. The kernel releases it when the process ends.
    pub fn writer_lock(&self, progress: &dyn Progress) -> Result<File, Error> {
        lock::alone(&self.path.with_file_name("writer.lock"), "another run on this host", progress)
    }

    /// Takes a lock beside the catalog; `None` if another process has it.
    pub fn try_lock(&self, name: &str) -> Result<Option<File>, Error> {
        let file = private::open_lock(&self.path.with_file_name(name)).map_err(Error::of_cache)?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    pub fn position(&self) -> Result<Position, Error> {
        let connection = self.lock();
        self.wrap(schema::position(&connection))
    }

    pub fn settings(&self) -> Result<Option<Settings>, Error> {
        let blob: Option<Vec<u8>> = self.wrap(schema::get_meta(&self.lock(), "settings"))?;
        Ok(blob.and_then(|blob| minicbor::decode(&blob).ok()))
    }

    /// Takes in one log entry, whole or not at all. Does nothing if another process did already.
    pub fn apply(
        &self,
        taken: &Taken<'_>,
        entry: &LogEntry,
        standing: Standing,
    ) -> Result<(), Error> {
        let number = taken.number;
        if !standing.revoked {
            self.judge_by(number, entry)?;
        }
        let mut connection = self.lock();
        let transaction =
            self.wrap(connection.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let position = self.wrap(schema::position(&transaction))?;
        if position.number >= number {
            return Ok(());
        }
        let added = packs::add(&transaction, number, entry, standing);
        let mut chunks = added.map_err(|error| match error {
            packs::ApplyError::Sqlite(source) => {
                Error::Catalog { repository: self.repository, source }
            }
            packs::ApplyError::Format(error) => {
                Error::object(&crate::store::layout::log(number), error)
            }
        })?;
        let mut bulk = self.bulk.lock().expect("nothing panics here");
        self.wrap((|| {
            if bulk.is_none() {
                recent::insert(&transaction, &mut chunks)?;
            }
            let entry = places::to_ordinals(&transaction, entry)?;
            for writer in entry.enrolled.iter().flatten() {
                authors::enrol(&transaction, writer, number)?;
            }
            snapshots::add(&transaction, number, &entry, standing)?;
            if !standing.revoked {
                packs::give_up(&transaction, &entry)?;
                snapshots::apply(&transaction, number, &entry)?;
                lost::apply(&transaction, &entry)?;
                if let Some(settings) = &entry.settings {
                    let settings =
                        minicbor::to_vec(settings).expect("encoding into memory does not fail");
                    schema::set_meta(&transaction, "settings", &settings)?;
                }
                if let Some(slots) = &entry.slots {
                    authors::list_slots(&transaction, slots)?;
                }
            }
            if let Some(doubt) = standing.doubt {
                // What it names as the one before it is in doubt: what was read there is not.
                let digests = [taken.digest, position.head];
                authors::put_void(&transaction, taken.number, digests, doubt, true)?;
            }
            go_on_to(&transaction, taken)?;
            transaction.commit()
        })())?;
        match &mut *bulk {
            Some(bulk) => bulk.add(chunks).map_err(Error::cache("write beside", &self.path)),
            None => Ok(()),
        }
    }

    /// Takes in an entry that changes nothing; `twice` is what it says if it is void only because it adds packs that
    /// are there. Does nothing if another process did already.
    pub fn apply_void(
        &self,
        taken: &Taken<'_>,
        reason: &str,
        twice: Option<&LogEntry>,
    ) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let position = schema::position(&transaction)?;
            if position.number >= taken.number {
                return Ok(());
            }
            let digests = [taken.digest, position.head];
            authors::put_void(&transaction, taken.number, digests, reason, false)?;
            for (record, index) in twice.into_iter().flat_map(|entry| &entry.packs).zip(0..) {
                places::name_again(&transaction, &record.id, places::place(taken.number, index))?;
            }
            go_on_to(&transaction, taken)?;
            transaction.commit()
        })())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().expect("no catalog code panics while it holds the connection")
    }

    fn wrap<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Catalog { repository: self.repository, source })
    }
}

/// Moves the position on to an entry that was taken in.
fn go_on_to(connection: &Connection, taken: &Taken<'_>) -> rusqlite::Result<()> {
    let Taken { number, digest, seen, bytes, object } = *taken;
    schema::set_meta(connection, "position", &number.to_le_bytes())?;
    schema::set_meta(connection, "head", &digest.0)?;
    schema::set_meta(connection, "seen", &seen.0)?;
    fold::count(connection, number, bytes)?;
    fold::remember(connection, number, &seen)?;
    object.map_or(Ok(()), |object| kept::keep(connection, number, object))
}

/// Makes the folder of the catalog of a repository.
fn make_folder(cache_dir: &Path, repository: RepositoryId) -> Result<PathBuf, Error> {
    // Catalogs are all that is in there, unless it is a folder for other things too.
    let is_catalog = |name: &[u8]| std::str::from_utf8(name).is_ok_and(is_repository);
    private::folder(cache_dir, private::OTHERS, is_catalog).map_err(Error::of_cache)?;
    let folder = cache_dir.join(repository.to_string());
    private::folder(&folder, private::OTHERS, |_| true).map_err(Error::of_cache)?;
    private::clear(&folder, |name| name.ends_with(b".lock")).map_err(Error::of_cache)?;
    Ok(folder)
}

fn lock_file(catalog: &Path) -> Result<File, Error> {
    private::open_lock(&catalog.with_file_name("catalog.lock")).map_err(Error::of_cache)
}

/// Returns whether a name is the id of a repository.
fn is_repository(name: &str) -> bool {
    name.parse::<RepositoryId>().is_ok()
}

/// Begins the file of a new catalog. SQLite takes an empty one for a new one, and gives what it puts beside it
/// the same mode.
fn begin_file(path: &Path) -> Result<(), Error> {
    remove(path)?;
    private::create(path).map(drop).map_err(Error::cache("create", path))
}

fn remove(path: &Path) -> Result<(), Error> {
    ["", "-wal", "-shm"].iter().try_for_each(|suffix| remove_with(path, suffix))
}

/// Removes a file whose name is a path and a suffix, if it is there.
fn remove_with(path: &Path, suffix: &str) -> Result<(), Error> {
    let mut file = path.as_os_str().to_owned();
    file.push(suffix);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::cache("remove", file)(error))
        }
        _ => Ok(()),
    }
}

/// Converts the fixed columns that every pack row has.
fn pack_kind(kind: u8) -> rusqlite::Result<PackKind> {
    PackKind::try_from(kind).map_err(|error| schema::bad(&error))
}

fn pack_id(blob: &[u8]) -> rusqlite::Result<PackId> {
    PackId::try_from(blob).map_err(|error| schema::bad(&error))
}
