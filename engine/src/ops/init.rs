//! Creates a repository.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::probe::{Probed, probe};
use crate::codec::{Identity, random};
use crate::error::Error;
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::{Chunking, Config, KdfCost, RepositoryId, Settings, Time};
use crate::repo::keys::{self, NewPassword};
use crate::repo::{self, Keys, Repository, StoredConfig};
use crate::store::{Location, Store, StoreErrorKind, StoreOptions, layout};

/// The options of a new repository.
pub struct InitOptions {
    /// Storage classes, sizes of packs and the undelete window.
    pub settings: Settings,
    /// The first password.
    pub password: Zeroizing<Vec<u8>>,
    /// Label of the first key slot.
    pub label: String,
    /// Time of creation, in seconds since 1970 UTC.
    pub time: i64,
    /// Cost of one attempt with its password.
    pub cost: KdfCost,
    /// The identity, and the id of the repository.
    pub owner: Owner,
}

/// The identity and id of a new repository. They can be generated before the repository is created, so that the
/// identity is on paper before anything depends on it.
pub struct Owner {
    /// The identity.
    pub identity: Identity,
    /// The id of the repository.
    pub repository: RepositoryId,
}

impl Owner {
    /// Generates a new identity and a new id.
    pub fn generate() -> Owner {
        Owner { identity: Identity::generate(), repository: RepositoryId(random()) }
    }
}

impl InitOptions {
    /// Returns options for a folder, with [`KdfCost::default`] for the password. For a bucket, also set the classes in
    /// `settings`; otherwise objects get the default class of the bucket.
    pub fn new(password: &str, time: Time) -> InitOptions {
        InitOptions {
            settings: Settings::default(),
            password: Zeroizing::new(password.as_bytes().to_vec()),
            label: "first password".to_owned(),
            time: time.seconds,
            cost: KdfCost::default(),
            owner: Owner::generate(),
        }
    }
}

/// A repository that was created.
pub struct Created {
    /// Its `config`.
    pub config: Config,
    /// Its identity, which the owner must keep.
    pub identity: Identity,
    /// Test objects that this role could not delete. Nothing reads them.
    pub left: Vec<String>,
    /// Whether writers of different hosts must not work at the same time, because the file system
    /// can only exclude writers of the same host.
    pub one_host: bool,
}

/// Creates a repository in an empty place: first the key slot, then the writer credential, then
/// `config`, whose presence makes the repository. If `init` is killed before that, there is no
/// repository, and `init` can run again.
///
/// Probes the store first (module `ops::probe`). If it refuses the store, it leaves nothing behind.
///
/// `keep_credential` must store the writer credential before it returns.
pub fn init(
    location: &Location,
    store_options: &StoreOptions,
    options: InitOptions,
    keep_credential: impl FnOnce(&crate::format::Credential) -> Result<(), Error>,
) -> Result<Created, Error> {
    look(location, store_options, &options.settings)?;
    let made = MadeFolders::of(location);
    let created = Store::create_folder(location)
        .and_then(|()| Store::open(location, store_options))
        .map_err(Error::from)
        .and_then(|store| make(&store, options, keep_credential));
    if created.is_err() {
        made.remove_empty();
    }
    created
}

/// Fails if no repository can be created at this location. Changes nothing.
pub fn look(
    location: &Location,
    store_options: &StoreOptions,
    settings: &Settings,
) -> Result<(), Error> {
    if location.is_remote() && settings.parity_percent.is_some() {
        let reason = "only a folder has parity: the provider of a bucket keeps several copies";
        return Err(Error::Input { what: "parity".into(), reason: reason.to_owned() });
    }
    if let Location::Folder(path) = location {
        if is_archive(path) {
            return Err(Error::RepositoryExists { location: location.to_string() });
        }
        if let Some(name) = repo::log_in(path) {
            return Err(repo::config_is_missing(&name));
        }
        refuse_inside_folder(location, path)?;
        refuse_other_content(location, path)?;
        if !path.exists() {
            return Ok(());
        }
    }
    let store = Store::open(location, store_options)?;
    // Use GET instead of HEAD, because its refusal shows whether the credentials or the policy are to blame.
    match store.get(layout::CONFIG, CONFIG_BYTES_MAX) {
        Err(error) if error.kind == StoreErrorKind::NotFound => {
            refuse_remains(&store)?;
            refuse_inside_bucket(location, store_options)
        }
        Err(error) if error.kind != StoreErrorKind::Length => Err(error.of_place(location).into()),
        _ => Err(Error::RepositoryExists { location: location.to_string() }),
    }
}

/// Creates a temporary repository in `folder`, which must be empty, to find out what a first snapshot would do.
pub fn rehearse(folder: &Path, settings: Settings) -> Result<Repository, Error> {
    let owner = Owner::generate();
    let config = new_config(&owner, settings)?;
    let identity = owner.identity;
    let location = Location::Folder(folder.join("repository"));
    Store::create_folder(&location)?;
    let store = Store::open(&location, &StoreOptions::default())?;
    Repository::create(&store, &identity, &config)?;
    let stored = StoredConfig::read(&store)?;
    Repository::open(store, stored, Keys::Reader(identity), &folder.join("cache"))
}

fn make(
    store: &Store,
    options: InitOptions,
    keep_credential: impl FnOnce(&crate::format::Credential) -> Result<(), Error>,
) -> Result<Created, Error> {
    let InitOptions { settings, password, label, time, cost, owner } = options;
    let config = new_config(&owner, settings)?;
    let identity = owner.identity;
    let Probed { left, one_host } = probe(store, &config.settings)?;
    store.create_prefixes()?;
    let time = Time { seconds: time, nanos: 0 };
    let new = NewPassword { password: &password, label, time, cost };
    let slot = keys::add(store, config.repository, &identity, new)?;
    let made = keep_credential(&identity.credential(config.repository))
        .and_then(|()| Repository::create(store, &identity, &config));
    if let Err(error) = made {
        // A put that failed may have arrived nevertheless. If `config` exists, this slot is the
        // only way to open the repository.
        if !matches!(store.length(layout::CONFIG), Ok(None)) {
            return Err(error);
        }
        let name = layout::key_slot(&slot);
        return Err(match store.delete(&name) {
            Ok(()) => error,
            Err(_) => Error::LeftBehind { names: vec![name], source: Box::new(error) },
        });
    }
    store.keep_reserve();
    Ok(Created { config, identity, left, one_host })
}

fn new_config(owner: &Owner, settings: Settings) -> Result<Config, Error> {
    let config = owner.identity.config(owner.repository, Chunking::default(), settings);
    // Apply the limits of the reader before writing.
    Config::decode(&[config.encode_body(), vec![0; 32]].concat())
        .map_err(|error| Error::Input { what: "the settings".into(), reason: error.to_string() })?;
    Ok(config)
}

/// The folders that are created for a repository, innermost first.
struct MadeFolders {
    /// The folders to remove if creating the repository fails.
    all: Vec<PathBuf>,
}

impl MadeFolders {
    /// Finds out which folders are missing.
    fn of(location: &Location) -> MadeFolders {
        let Location::Folder(path) = location else {
            return MadeFolders { all: Vec::new() };
        };
        let inner = [layout::PROBE].into_iter().chain(layout::PREFIXES);
        let inner = inner.map(|prefix| path.join(prefix));
        let outer = path.ancestors().filter(|above| !above.as_os_str().is_empty());
        let all = inner.into_iter().chain(outer.map(Path::to_owned));
        MadeFolders { all: all.filter(|folder| !folder.exists()).collect() }
    }

    /// Removes the folders, if they are empty.
    fn remove_empty(&self) {
        for folder in &self.all {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Refuses a folder inside the folder of another archive: a check or a prune of that one would find files that do not
/// belong to it, and deleting the outer archive would delete the inner one too.
pub(super) fn refuse_inside_folder(location: &Location, path: &Path) -> Result<(), Error> {
    let whole = std::path::absolute(path).map_err(Error::file("find", path))?;
    // Symlinks are followed as far as the folder exists.
    let there = whole.ancestors().find_map(|above| above.canonicalize().ok());
    let above = [Some(&*whole), there.as_deref()].into_iter().flatten();
    let mut above = above.flat_map(|path| path.ancestors()).filter(|above| *above != whole);
    match above.find(|above| is_archive(above)) {
        None => Ok(()),
        Some(outer) => Err(Error::InsideRepository {
            location: location.to_string(),
            outer: outer.display().to_string(),
        }),
    }
}

/// Refuses a prefix inside the prefix of another archive of the bucket, for the same reasons.
pub(super) fn refuse_inside_bucket(
    location: &Location,
    options: &StoreOptions,
) -> Result<(), Error> {
    for above in location.above() {
        let store = Store::open(&above, options)?;
        // Another program's object may have this name, and a role may not read it: then no archive is known there.
        if StoredConfig::read(&store).is_ok() {
            let (location, outer) = (location.to_string(), above.to_string());
            return Err(Error::InsideRepository { location, outer });
        }
    }
    Ok(())
}

/// Returns whether a folder looks like an archive. A new one has no log yet.
fn is_archive(folder: &Path) -> bool {
    let has = |prefix: &str| folder.join(prefix).is_dir();
    folder.join(layout::CONFIG).is_file() && (has(layout::LOG) || has(layout::KEYS))
}

/// Refuses a folder with other files in it, which is more likely a mistake than a place for an
/// archive.
pub(super) fn refuse_other_content(location: &Location, path: &Path) -> Result<(), Error> {
    let ours = [layout::CONFIG, layout::PROBE, layout::RESERVE];
    let ours = ours.into_iter().chain(layout::PREFIXES).collect::<Vec<_>>();
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("list", path)(error)),
    };
    for entry in entries {
        let name = entry.map_err(Error::file("list", path))?.file_name();
        if !ours.iter().any(|ours| name == *ours) && name != "lost+found" {
            return Err(Error::NotEmpty { location: location.to_string() });
        }
    }
    Ok(())
}

/// Refuses a place that has a log or packs but no `config`, because an archive that has lost its `config` must not be
/// mixed with a new one.
fn refuse_remains(store: &Store) -> Result<(), Error> {
    let name = repo::remains(store)?;
    name.map_or(Ok(()), |name| Err(repo::config_is_missing(&name)))
}
