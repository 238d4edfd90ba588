//! Creates and opens repositories.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use tracing::{info, warn};

use crate::codec::keys::digest;
use crate::codec::{Author, AuthorKey, CodecError, Identity, Secrets};
use crate::error::{Error, MirrorError};
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::signed::OWNER;
use crate::format::{Config, Credential, DecodedConfig, Digest, Settings, WriterId};
use crate::progress::{Progress, Silent};
use crate::store::{Location, Store, StoreErrorKind, layout};

use super::Catalog;
use super::catalog::Verdicts;
use super::memory::{CopySet, Healing, News};
use super::remains::{config_is_missing, remains};

/// The keys of a repository that a process has.
#[derive(Debug, Clone)]
pub enum Keys {
    /// May write, list and plan, but cannot read names or photos.
    Writer(Box<Credential>),
    /// May do everything.
    Reader(Identity),
}

/// The object `config` as it was read, not yet verified with a key.
#[derive(Debug, Clone)]
pub struct StoredConfig {
    pub config: Config,
    body: Vec<u8>,
    mac: [u8; 32],
    digest: Digest,
    /// Whether this is the copy from this host's catalog, because the object is damaged or missing.
    pub is_copy: bool,
}

/// The purpose for which a repository is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To work with it: the log must be intact from this host's position on.
    Use,
    /// To read it: if an entry of the owner needs a newer program, the entries before it are enough. `trouble` then
    /// contains the reason.
    Read,
    /// To check it: if the log is damaged or too new, the entries that this host knows are enough.
    Check,
    /// To rebuild the catalog: the knowledge of this host is not trusted. The old catalog stays
    /// until the log is read.
    Rebuild,
}

impl StoredConfig {
    /// Reads `config`. Fails with [`Error::NoRepository`] if there is none, and with [`Error::Damaged`] if only
    /// `config` is missing from an archive.
    pub fn read(store: &Store) -> Result<StoredConfig, Error> {
        let read = |object: &Bytes| StoredConfig::decode(object);
        match store.get_as(layout::CONFIG, CONFIG_BYTES_MAX, read) {
            Ok((_, stored)) => stored,
            Err(error) if error.kind == StoreErrorKind::NotFound => match remains(store) {
                Ok(Some(name)) => Err(config_is_missing(&name)),
                // These keys may not be allowed to list.
                _ => Err(Error::NoRepository { location: store.location().to_string() }),
            },
            Err(error) => Err(error.of_place(store.location()).into()),
        }
    }

    /// Reads `config` to check the repository. If it is damaged or missing, returns the copy in the catalog of a
    /// repository that was at this place, if the log is still that of this repository.
    pub fn read_or_kept(store: &Store, cache_dir: &Path) -> Result<StoredConfig, Error> {
        let stored = StoredConfig::read(store);
        if let Err(error) = &stored
            && !error.is_damage()
            && !matches!(error, Error::NoRepository { .. })
        {
            return stored;
        }
        for kept in Catalog::kept_configs(cache_dir, &store.location().place()) {
            let found = digest(&[&kept.object]);
            if stored.as_ref().is_ok_and(|stored| stored.digest == found) {
                break;
            }
            let newest = store.get(&layout::log(kept.position.number), ENTRY_BYTES_MAX);
            if newest.is_ok_and(|newest| digest(&[&newest]) == kept.position.head) {
                let kept = StoredConfig::decode(&kept.object)?;
                return Ok(StoredConfig { is_copy: true, ..kept });
            }
        }
        stored
    }

    /// Checks that a holder of these keys has written this `config`.
    fn prove(&self, keys: &Keys) -> Result<Secrets, Error> {
        let config = &self.config;
        let (credential, wrong) = match keys {
            Keys::Writer(credential) => ((**credential).clone(), Error::WrongCredential),
            Keys::Reader(identity) => {
                (identity.credential(config.repository), Error::WrongIdentity)
            }
        };
        if credential.repository != config.repository
            || credential.public_key != config.public_key
            || credential.authority != config.authority.digest()
        {
            return Err(wrong);
        }
        let secrets = Secrets::new(credential);
        secrets.verify_config(config, &self.body, self.mac).map_err(|error| match error {
            CodecError::WrongKey => {
                Error::damaged(layout::CONFIG, "it was not written by a holder of the keys")
            }
            error => Error::object(layout::CONFIG, error),
        })?;
        Ok(secrets)
    }

    /// Checks it like [`prove`](Self::prove), but reads a `config` in a bucket once more if the check fails, because
    /// the network may have damaged it.
    fn proven(self, store: &Store, keys: &Keys) -> Result<(StoredConfig, Secrets), Error> {
        let error = match self.prove(keys) {
            Ok(secrets) => return Ok((self, secrets)),
            Err(error) => error,
        };
        if self.is_copy || !store.location().is_remote() {
            return Err(error);
        }
        let again = StoredConfig::read(store)?;
        if again.digest == self.digest {
            return Err(error);
        }
        let secrets = again.prove(keys)?;
        Ok((again, secrets))
    }

    fn decode(object: &[u8]) -> Result<StoredConfig, Error> {
        let DecodedConfig { config, body, mac } =
            Config::decode(object).map_err(|error| Error::object(layout::CONFIG, error))?;
        let body = body.to_vec();
        Ok(StoredConfig { config, body, mac, digest: digest(&[object]), is_copy: false })
    }
}

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    pub store: Store,
    pub config: Config,
    pub secrets: Secrets,
    pub catalog: Catalog,
    pub(super) genesis: Digest,
    pub(super) identity: Option<Identity>,
    /// The expanded keys of authors, and the number of the entry that enrolled each.
    pub(super) author_keys: Mutex<HashMap<WriterId, (AuthorKey, u64)>>,
    /// Number of signatures that this process has verified, valid or not.
    pub(super) signatures: AtomicU64,
    /// Objects of the log that were read in advance.
    pub(super) ahead: Mutex<BTreeMap<u64, Bytes>>,
    /// Numbers of objects after the end of the log that are not entries.
    pub(super) behind_gap: Mutex<Vec<u64>>,
    /// Whether the last listing of the log contained the mark of a mirror.
    pub(super) has_mark: AtomicBool,
    /// The author who signs the entries of this process.
    pub(super) author: Author,
    /// Why the log could not be read to its end, if the purpose permits that.
    pub trouble: Option<Error>,
    /// The entry up to which this process has tried to write missing checkpoints.
    pub(super) fold_tried: AtomicU64,
    pub(super) healed: Healing,
    pub(super) news: News,
    /// Other copies from which packs are read.
    pub(super) copies: RwLock<Arc<CopySet>>,
}

impl Repository {
    /// Creates a repository in an empty place. Writes `config` last, so that a crash leaves no
    /// repository.
    pub fn create(store: &Store, identity: &Identity, config: &Config) -> Result<(), Error> {
        let secrets = Secrets::new(identity.credential(config.repository));
        let object = Bytes::from(secrets.encode_config(config));
        let location = store.location().to_string();
        // If the name is taken, an earlier attempt at the same put may have taken it.
        if !store.create(layout::CONFIG, "", object.clone())?
            && store.get(layout::CONFIG, CONFIG_BYTES_MAX)? != object
        {
            return Err(Error::RepositoryExists { location });
        }
        Ok(())
    }

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

    /// Reads the log to its end. For a new catalog, it reads checkpoints as far as the owner
    /// vouches for them.
    pub(super) fn read_log(&self) -> Result<(), Error> {
        if self.catalog.position()?.number == 0 {
            self.read_vouched()?;
        }
        self.sync()
    }

    /// Returns the identity. Fails if this process does not have it.
    pub fn identity(&self) -> Result<&Identity, Error> {
        self.identity.as_ref().ok_or(Error::NeedsIdentity)
    }

    /// Returns the digest of `config`, which the first log entry names as its predecessor.
    pub fn genesis(&self) -> Digest {
        self.genesis
    }

    /// Returns the id under which this host writes.
    pub fn writer_id(&self) -> WriterId {
        self.author.id
    }

    /// Returns the number of signatures that this process has verified.
    pub fn signatures(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }

    /// Returns whether this process signs as the owner.
    pub fn is_owner(&self) -> bool {
        self.author.id == OWNER
    }

    pub fn can_read(&self) -> bool {
        self.identity.is_some()
    }

    /// Returns whether this is a mirror, according to the last listing of the log.
    pub fn is_mirror(&self) -> bool {
        self.has_mark.load(Ordering::Relaxed)
    }

    /// Fails if this is a mirror, which only `mirror` may write.
    pub fn expect_main(&self) -> Result<(), Error> {
        match self.is_mirror() {
            false => Ok(()),
            true => {
                Err(MirrorError::ReadOnly { location: self.store.location().to_string() }.into())
            }
        }
    }

    /// Returns the settings in force at this place: those in the log, or else those in `config`.
    pub fn settings(&self) -> Result<Settings, Error> {
        let settings = self.catalog.settings()?.unwrap_or_else(|| self.config.settings.clone());
        Ok(settings_at(self.store.location(), settings))
    }
}

/// Returns the settings of an archive at a place. An archive that was created in a folder has no storage classes. If it
/// is copied into a bucket, it gets those of a new archive there.
pub fn settings_at(location: &Location, mut settings: Settings) -> Settings {
    let Some(provider) = location.provider() else { return settings };
    let (pack, hot) = provider.default_classes();
    for (class, default) in [(&mut settings.pack_class, pack), (&mut settings.hot_class, hot)] {
        if class.is_empty() {
            *class = default.to_owned();
        }
    }
    settings
}

/// Options for opening a repository.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    pub purpose: Purpose,
    /// The folder of the catalogs.
    pub cache_dir: &'a Path,
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
            Purpose::Rebuild => Catalog::begin_rebuild(cache_dir, id, digest, progress)?,
            Purpose::Use | Purpose::Read | Purpose::Check => {
                Catalog::open_or_begin(cache_dir, id, digest, progress)?
            }
        };
        let kept = [&body[..], &mac].concat();
        catalog.keep_config(&kept, &store.location().place())?;
        catalog.know_first_writer(&config.authority)?;
        if purpose == Purpose::Rebuild {
            catalog.set_verdicts(&self.verdicts)?;
        } else if catalog.is_stale()? {
            self.verdicts = catalog.verdicts()?;
            return Err(Error::Reread);
        }
        let repository = Repository {
            store,
            config,
            secrets,
            catalog,
            genesis: digest,
            identity,
            author,
            author_keys: Mutex::default(),
            signatures: AtomicU64::new(0),
            ahead: Mutex::default(),
            behind_gap: Mutex::default(),
            has_mark: AtomicBool::new(false),
            trouble: None,
            fold_tried: AtomicU64::new(0),
            healed: Healing::default(),
            news: News::default(),
            copies: RwLock::default(),
        };
        self.read(repository, &kept)
    }

    /// Reads the log of a repository whose catalog is open. `kept` is the copy of `config` that the catalog keeps.
    fn read(&mut self, mut repository: Repository, kept: &[u8]) -> Result<Repository, Error> {
        let Attempt { purpose, cache_dir, progress, .. } = *self;
        let (id, digest) = (repository.config.repository, repository.genesis);
        let known = repository.catalog.position()?.number > 0;
        if repository.catalog.is_begun() {
            info!("building the catalog from the log");
        }
        let mut read = repository.read_log().and_then(|()| repository.expect_own());
        if let Err(Error::PromiseBroken { number }) = read {
            warn!(number, "the store has replaced a log entry: reading the whole log again");
            repository = repository.read_again(number, cache_dir, progress)?;
            read = Ok(());
        }
        self.verdicts = repository.catalog.verdicts()?;
        if repository.catalog.is_begun() {
            let Repository { catalog, .. } = repository;
            let by_entry = match &read {
                Ok(()) => {
                    catalog.take_place(digest, self.is_ruled)?;
                    false
                }
                Err(error) => {
                    catalog.give_up();
                    purpose != Purpose::Rebuild && (error.is_rot() || error.is_newer())
                }
            };
            let catalog = Catalog::open_waiting(cache_dir, id, digest, progress)?;
            repository = Repository { catalog, ..repository };
            if by_entry {
                // Read entry by entry, so that the entries before the damage are known.
                repository.catalog.know_first_writer(&repository.config.authority)?;
                repository.catalog.keep_config(kept, &repository.store.location().place())?;
                read = repository.read_log();
            }
        }
        match read {
            Ok(()) => {
                if purpose != Purpose::Rebuild {
                    repository.expect_still_void()?;
                }
                // A mirror need not have the entries that this host wrote to the archive.
                if !repository.is_mirror() {
                    repository.say_again()?;
                }
                Ok(repository)
            }
            Err(error) => {
                let serves = match purpose {
                    Purpose::Use | Purpose::Rebuild => false,
                    Purpose::Read => error.is_newer(),
                    Purpose::Check => known && error.is_rot() || error.is_newer(),
                };
                if !serves || repository.catalog.position()?.number == 0 {
                    return Err(error);
                }
                repository.trouble = Some(error);
                Ok(repository)
            }
        }
    }
}
