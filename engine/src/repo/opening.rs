//! Opens repositories: proves `config`, opens or builds the catalog, and reads the log to its end.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, RwLock};

use tracing::{info, warn};

use crate::codec::Author;
use crate::error::Error;
use crate::progress::{Progress, Silent};
use crate::store::Store;

use super::catalog::{CatalogBuilder, CatalogState, LogFollower, Verdicts};
use super::memory::{Healing, News};
use super::{Catalog, Keys, Repository, StoredConfig};

/// The purpose for which a repository is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To work with it: the log must be intact from this host's position on.
    Use,
    /// To read it: if an entry is damaged or needs a newer program, the entries before it are enough. `trouble` then
    /// contains the reason.
    Read,
    /// To check it: the same is enough as for `Read`. If an entry that this host has read before is damaged now, the
    /// entries that the host knows are enough.
    Check,
    /// To rebuild the catalog: the knowledge of this host is not trusted. The old catalog stays
    /// until the log is read.
    Rebuild,
}

/// Options for opening a repository.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// Why it is opened.
    pub purpose: Purpose,
    /// The folder of the catalogs.
    pub cache_dir: &'a Path,
    /// Hears of waits and of the log that is read.
    pub progress: &'a dyn Progress,
}

/// One attempt to open a repository.
struct Attempt<'a> {
    purpose: Purpose,
    cache_dir: &'a Path,
    progress: &'a dyn Progress,
    /// The owner's verdicts that are known from an earlier attempt.
    verdicts: Verdicts,
    /// Whether the catalog is rebuilt only because the owner has ruled on entries. Then the stat cache of the old one
    /// is still valid.
    is_ruled: bool,
}

impl Repository {
    /// Opens a repository and reads the log to its end.
    pub fn open(
        store: Store,
        stored: StoredConfig,
        keys: Keys,
        cache_dir: &Path,
    ) -> Result<Repository, Error> {
        let opening = Opening { purpose: Purpose::Use, cache_dir, progress: &Silent };
        Repository::open_for(opening, store, stored, keys)
    }

    /// Opens a repository and reads the log to its end. Reads it again from the beginning if the owner has ruled that
    /// an entry which was applied does not count.
    pub fn open_for(
        opening: Opening,
        store: Store,
        stored: StoredConfig,
        keys: Keys,
    ) -> Result<Repository, Error> {
        let Opening { purpose, cache_dir, progress } = opening;
        let mut opening = Attempt {
            purpose,
            cache_dir,
            progress,
            verdicts: Verdicts::default(),
            is_ruled: false,
        };
        let mut again = false;
        loop {
            let known = opening.verdicts.clone();
            match opening.open(store.clone(), stored.clone(), keys.clone()) {
                // Each attempt knows more verdicts, or can read what was unreadable before.
                Err(Error::Reread) if opening.verdicts != known || !again => {
                    info!("the owner has ruled on earlier entries: rebuilding the catalog");
                    again = true;
                    opening.is_ruled |= opening.purpose != Purpose::Rebuild;
                    opening.purpose = Purpose::Rebuild;
                }
                opened => return opened,
            }
        }
    }
}

impl<C: LogFollower> Repository<C> {
    /// Reads the log to its end. For a new catalog, it reads checkpoints as far as the owner
    /// vouches for them.
    pub(super) fn read_log(&self) -> Result<(), Error> {
        if self.catalog.position()?.number == 0 {
            self.read_vouched()?;
        }
        self.sync()
    }

    /// Records in the catalog what `config` contains. `kept` is the object that the catalog keeps.
    fn know_config(&self, kept: &[u8]) -> Result<(), Error> {
        self.catalog.keep_config(kept, &self.store.location().place())?;
        self.catalog.know_first_writer(&self.config.authority)
    }

    /// Returns where this host used the repository before, if that was at another place.
    pub(super) fn moved_from(&self) -> Result<Option<String>, Error> {
        let here = self.store.location().place();
        Ok(self.catalog.place()?.filter(|place| *place != here))
    }
}

impl Attempt<'_> {
    fn open(
        &mut self,
        store: Store,
        stored: StoredConfig,
        keys: Keys,
    ) -> Result<Repository, Error> {
        let Attempt { purpose, cache_dir, progress, .. } = *self;
        let (stored, secrets) = stored.proven(&store, &keys)?;
        let StoredConfig { config, body, mac, digest, .. } = stored;
        let id = config.repository;
        let (identity, author) = match keys {
            Keys::Writer(credential) => (None, Author::of(&credential)),
            Keys::Reader(identity) => {
                let owner = identity.owner(id);
                (Some(identity), owner)
            }
        };
        let catalog = match purpose {
            Purpose::Rebuild => {
                let builder = CatalogBuilder::begin(cache_dir, id, digest, progress)?;
                CatalogState::Unbuilt(builder)
            }
            Purpose::Use | Purpose::Read | Purpose::Check => {
                CatalogState::open(cache_dir, id, digest, progress)?
            }
        };
        let repository = Repository {
            store,
            config,
            secrets,
            catalog: (),
            genesis: digest,
            identity,
            author,
            author_keys: Mutex::default(),
            signatures: AtomicU64::new(0),
            ahead: Mutex::default(),
            behind_gap: Mutex::default(),
            mark: Mutex::default(),
            trouble: None,
            checkpoint_tried: AtomicU64::new(0),
            healed: Healing::default(),
            news: News::default(),
            copies: RwLock::default(),
        };
        let kept = [&body[..], &mac].concat();
        match catalog {
            CatalogState::Built(catalog) => {
                self.read(repository.map_catalog(|()| Ok(catalog))?, &kept)
            }
            CatalogState::Unbuilt(builder) => {
                self.build(repository.map_catalog(|()| Ok(builder))?, &kept)
            }
        }
    }

    /// Reads the log after the position of the catalog. `kept` is the copy of `config` that the catalog keeps.
    fn read(&mut self, mut repository: Repository, kept: &[u8]) -> Result<Repository, Error> {
        repository.know_config(kept)?;
        if repository.catalog.is_stale()? {
            self.verdicts = repository.catalog.verdicts()?;
            return Err(Error::Reread);
        }
        let known = repository.catalog.position()?.number > 0;
        let mut read = repository.read_log().and_then(|()| repository.expect_own());
        if let Err(Error::PromiseBroken { number }) = read {
            warn!(number, "the store has replaced a log entry: reading the whole log again");
            repository = repository.read_again(number, self.cache_dir, self.progress)?;
            read = Ok(());
        }
        self.verdicts = repository.catalog.verdicts()?;
        self.accept(repository, read, known)
    }

    /// Reads the whole log into a new catalog. If the log is damaged, reads it into the old one entry by entry, so that
    /// the entries before the damage are known.
    fn build(
        &mut self,
        repository: Repository<CatalogBuilder>,
        kept: &[u8],
    ) -> Result<Repository, Error> {
        let Attempt { purpose, cache_dir, progress, .. } = *self;
        info!("building the catalog from the log");
        repository.know_config(kept)?;
        repository.catalog.set_verdicts(&self.verdicts)?;
        let read = repository.read_log();
        self.verdicts = repository.catalog.verdicts()?;
        let Err(error) = read else {
            let trusted = self.is_ruled;
            let built = repository.map_catalog(|builder| builder.finish(trusted, progress))?;
            return self.accept(built, Ok(()), false);
        };
        let (id, genesis) = (repository.config.repository, repository.genesis);
        let repository = repository.map_catalog(|builder| {
            builder.give_up();
            Catalog::open_waiting(cache_dir, id, genesis, progress)
        })?;
        if purpose == Purpose::Rebuild || !error.is_rot() && !error.is_newer() {
            return self.accept(repository, Err(error), false);
        }
        repository.know_config(kept)?;
        let read = repository.read_log();
        self.accept(repository, read, false)
    }

    /// Returns a repository if its log was read as far as the purpose requires. `known` is whether this host knew some
    /// of the log before.
    fn accept(
        &self,
        mut repository: Repository,
        read: Result<(), Error>,
        known: bool,
    ) -> Result<Repository, Error> {
        match read {
            Ok(()) => {
                if self.purpose != Purpose::Rebuild {
                    repository.expect_still_void()?;
                }
                // A mirror need not have the entries that this host wrote to the archive, and its first opening uses
                // the catalog of the archive.
                if !repository.is_mirror() {
                    if repository.moved_from()?.is_some() {
                        // The findings are about the objects at the other place.
                        repository.catalog.forget_readings()?;
                        repository.catalog.keep_place(&repository.store.location().place())?;
                    }
                    repository.say_again()?;
                }
                Ok(repository)
            }
            Err(error) => {
                let read = repository.catalog.position()?.number;
                let has_end = error.is_newer() || error.cuts_log_after(read);
                let serves = match self.purpose {
                    Purpose::Use | Purpose::Rebuild => false,
                    Purpose::Read => has_end,
                    Purpose::Check => has_end || known && error.is_rot(),
                };
                if !serves || read == 0 {
                    return Err(error);
                }
                repository.trouble = Some(error);
                Ok(repository)
            }
        }
    }
}
