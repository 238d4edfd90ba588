//! A repository, and the object `config` with which it begins.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;

use crate::codec::keys::digest;
use crate::codec::{Author, AuthorKey, CodecError, Identity, Secrets};
use crate::error::{Error, MirrorError};
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::signed::OWNER;
use crate::format::{Config, Credential, DecodedConfig, Digest, Settings, WriterId};
use crate::store::{Location, Store, StoreErrorKind, layout};

use super::Catalog;
use super::mark::FoundMark;
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
    /// What it says.
    pub config: Config,
    pub(super) body: Vec<u8>,
    pub(super) mac: [u8; 32],
    pub(super) digest: Digest,
    /// Whether this is the copy from this host's catalog, because the object is damaged or missing.
    pub is_copy: bool,
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
    pub(super) fn proven(
        self,
        store: &Store,
        keys: &Keys,
    ) -> Result<(StoredConfig, Secrets), Error> {
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

/// An open repository. While its catalog is being built, `C` is a [`CatalogBuilder`](super::catalog::CatalogBuilder):
/// then the log can be read, and nothing else can be done.
#[derive(Debug)]
pub struct Repository<C = Catalog> {
    /// Its objects.
    pub store: Store,
    /// Its `config`, verified.
    pub config: Config,
    /// The keys that every writer has.
    pub secrets: Secrets,
    /// The local copy of the log.
    pub catalog: C,
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
    /// The mark of a mirror, according to the last listing of the log.
    pub(super) mark: Mutex<FoundMark>,
    /// The author who signs the entries of this process.
    pub(super) author: Author,
    /// Why the log could not be read to its end, if the purpose permits that.
    pub trouble: Option<Error>,
    /// The entry up to which this process has tried to write missing checkpoints.
    pub(super) checkpoint_tried: AtomicU64,
    pub(super) healed: Healing,
    pub(super) news: News,
    /// Other copies from which packs are read.
    pub(super) copies: RwLock<Arc<CopySet>>,
}

impl<C> Repository<C> {
    /// Returns the digest of `config`, which the first log entry names as its predecessor.
    pub fn genesis(&self) -> Digest {
        self.genesis
    }

    /// Returns whether this is a mirror, according to the last listing of the log.
    pub fn is_mirror(&self) -> bool {
        self.found_mark().is_of_mirror()
    }

    /// Returns the mark of a mirror, according to the last listing of the log.
    pub fn found_mark(&self) -> FoundMark {
        self.mark.lock().expect("nothing panics here").clone()
    }

    /// Records whether a listing of the log has the object, and reads it if it is new there.
    pub(super) fn see_mark(&self, is_listed: bool) -> Result<(), Error> {
        let mut known = self.mark.lock().expect("nothing panics here");
        if !is_listed {
            *known = FoundMark::None;
        } else if *known == FoundMark::None {
            *known = FoundMark::read(&self.store, self.config.repository)?;
        }
        Ok(())
    }

    /// Returns the same repository with another catalog, which is made from its own.
    pub(super) fn map_catalog<D>(
        self,
        map: impl FnOnce(C) -> Result<D, Error>,
    ) -> Result<Repository<D>, Error> {
        Ok(Repository {
            store: self.store,
            config: self.config,
            secrets: self.secrets,
            catalog: map(self.catalog)?,
            genesis: self.genesis,
            identity: self.identity,
            author_keys: self.author_keys,
            signatures: self.signatures,
            ahead: self.ahead,
            behind_gap: self.behind_gap,
            mark: self.mark,
            author: self.author,
            trouble: self.trouble,
            checkpoint_tried: self.checkpoint_tried,
            healed: self.healed,
            news: self.news,
            copies: self.copies,
        })
    }
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

    /// Returns the identity. Fails if this process does not have it.
    pub fn identity(&self) -> Result<&Identity, Error> {
        self.identity.as_ref().ok_or(Error::NeedsIdentity)
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

    /// Returns whether it is open with the identity, so that names and contents can be read.
    pub fn can_read(&self) -> bool {
        self.identity.is_some()
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
