//! The front door of the engine: another program creates an [`Archive`], takes snapshots, and prices and runs restores.
//!
//! This is a thin layer above the verbs of `ops`. It never prints, prompts, sleeps or reads the environment; the
//! calling program does.
//!
//! Locks are those of the kernel, on files in [`Place::cache`]. A process that ends, however it ends, releases its locks,
//! so there are no stale ones to remove. [`Progress::waits`] reports a wait for another process, and can end it.

pub mod credentials;
mod jobs;
mod restore;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use crate::codec::Identity;
pub use crate::error::Error;
pub use crate::files::{ExcludeOptions, Ignore};
pub use crate::format::authority::Rights;
pub use crate::format::{
    Credential, JobId, JobRecord, KdfCost, LogHead, OverwriteRule, RepositoryId, Settings,
    SnapshotId, Time, WriterId,
};
pub use crate::ops::cold::{PackStates, Quote};
pub use crate::ops::cost::{Bill, Prices};
pub use crate::ops::init::InitOptions;
pub use crate::ops::restore::{ConsentNeed, ContinuedJob};
pub use crate::ops::restore::{Overwrite, RestoreOptions, RestorePlan, RestoreSummary};
pub use crate::ops::snapshot::{SnapshotOptions, SnapshotSummary};
pub use crate::progress::{Problem, Progress, Silent, Unit, Wait};
pub use crate::repo::{Job, JobProblem, Writer};
pub use crate::store::{Location, StoreOptions, Tier};
pub use jobs::{JobList, JobTerms};
pub use restore::RestoreRequest;

use crate::ops;
use crate::ops::writers::NewWriter;
use crate::repo::keys::PasswordTry;
use crate::repo::{Keys, Opening, Purpose, Repository, StoredConfig, keys, settings_at};
use crate::store::Store;

/// The location of an archive, and the folders in which this computer keeps its catalog and credentials.
#[derive(Debug, Clone)]
pub struct Place {
    /// A folder or a bucket.
    pub location: Location,
    /// How to reach a bucket: endpoint, region, credentials, patience.
    pub store: StoreOptions,
    /// The folder of the local catalogs. It may be deleted at any time; the next run rebuilds the catalog.
    pub cache: PathBuf,
    /// The folder of the writer credentials. It must belong to this user alone.
    pub credentials: PathBuf,
}

impl Place {
    /// Returns the place at `url` (a folder, or `s3://bucket/prefix`), with catalogs and credentials in the folder
    /// `state`.
    ///
    /// # Errors
    /// [`Error::Input`] if `url` is not a location.
    pub fn new(url: &str, state: &Path) -> Result<Place, Error> {
        let location = Location::parse(url)
            .map_err(|error| Error::Input { what: error.url.into(), reason: error.reason })?;
        let (cache, credentials) = (state.join("cache"), state.join("credentials"));
        Ok(Place { location, store: StoreOptions::default(), cache, credentials })
    }
}

/// A key that opens an archive for reading names and contents.
pub enum Key {
    /// The password of one of the archive's key slots.
    Password(Zeroizing<Vec<u8>>),
    /// The identity, from the page that `key export` prints.
    Identity(Identity),
}

impl Key {
    /// Returns the key for a password.
    pub fn password(password: &str) -> Key {
        Key::Password(Zeroizing::new(password.as_bytes().to_vec()))
    }
}

/// An open archive.
///
/// A *writer* can take snapshots and list them; it cannot read names or contents. A *reader* can do everything.
pub struct Archive {
    repository: Repository,
}

impl Archive {
    /// Creates an archive in an empty place, saves the writer credential of this computer, and opens the archive for
    /// reading. Also returns the identity. Print it: without the identity or the password, the archive cannot be read.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`] or [`Error::NotEmpty`] if the place is taken, [`Error::NoConditionalPut`] or
    /// [`Error::NoClass`] if the store cannot keep an archive, [`Error::Store`] if it cannot be reached.
    pub fn init(place: &Place, mut options: InitOptions) -> Result<(Archive, Identity), Error> {
        options.settings = settings_at(&place.location, options.settings);
        let save = |made: &Credential| credentials::save(&place.credentials, made).map(|_| ());
        let created = ops::init::init(&place.location, &place.store, options, save)?;
        let archive = Archive::open(place, Keys::Reader(created.identity.clone()), &Silent)?;
        Ok((archive, created.identity))
    }

    /// Opens an archive for taking snapshots, with the writer credential of this computer.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`] if this computer has no credential (see [`Archive::enrol`]), [`Error::Revoked`] if this
    /// computer writes after the owner has revoked it, [`Error::NoRepository`] if there is no archive.
    pub fn open_writer(place: &Place, progress: &dyn Progress) -> Result<Archive, Error> {
        let (store, config) = read_config(place)?;
        let file = credentials::path(&place.credentials, config.config.repository);
        let credential = credentials::load(&place.credentials, &file)?;
        let credential = credential.ok_or(Error::NotEnrolled)?;
        open(place, store, config, Keys::Writer(Box::new(credential)), progress)
    }

    /// Opens an archive for reading names and contents.
    ///
    /// # Errors
    /// [`Error::WrongPassword`] or [`Error::WrongIdentity`] if the key does not open this archive,
    /// [`Error::KeyRemoved`] if the owner has removed the password, [`Error::NoRepository`] if there is no archive.
    pub fn open_reader(
        place: &Place,
        key: &Key,
        progress: &dyn Progress,
    ) -> Result<Archive, Error> {
        let (identity, slot) = match key {
            Key::Identity(identity) => (identity.clone(), None),
            Key::Password(password) => {
                let (store, config) = read_config(place)?;
                let id = config.config.repository;
                let attempt = PasswordTry {
                    password,
                    memory_max: u64::from(KdfCost::MEMORY_KIB_USUAL) << 10,
                    known: &keys::known(&place.cache, id),
                };
                let opened = keys::unlock(&store, id, &attempt)?;
                (opened.identity, Some(opened.slot))
            }
        };
        let archive = Archive::open(place, Keys::Reader(identity), progress)?;
        if let Some(slot) = slot {
            keys::expect_listed(&archive.repository, slot)?;
        }
        Ok(archive)
    }

    fn open(place: &Place, keys: Keys, progress: &dyn Progress) -> Result<Archive, Error> {
        let (store, config) = read_config(place)?;
        open(place, store, config, keys, progress)
    }

    /// Returns the id of the archive, by which [`credentials`] are named.
    pub fn id(&self) -> RepositoryId {
        self.repository.config.repository
    }

    /// Returns whether this computer has a writer credential for the archive in a place, that is, whether
    /// [`Archive::open_writer`] can be tried. Needs no key.
    ///
    /// # Errors
    /// [`Error::NoRepository`] if there is no archive, [`Error::Exposed`] or [`Error::Damaged`] if there is a credential
    /// that must not or cannot be used.
    pub fn has_credential(place: &Place) -> Result<bool, Error> {
        let (_, config) = read_config(place)?;
        let file = credentials::path(&place.credentials, config.config.repository);
        Ok(credentials::load(&place.credentials, &file)?.is_some())
    }

    /// Lists the computers that may write, and those whose right was revoked, in the order in which they were enrolled.
    ///
    /// # Errors
    /// [`Error::Catalog`] if the local catalog cannot be read.
    pub fn writers(&self) -> Result<Vec<Writer>, Error> {
        self.repository.catalog.writers()
    }

    /// Enrols this computer: adds the owner's statement to the log, and saves the writer credential. The archive must
    /// be open for reading.
    ///
    /// # Errors
    /// [`Error::NeedsIdentity`] if the archive is not open for reading, [`Error::Input`] if the label is too long.
    pub fn enrol(&self, place: &Place, label: &str, time: Time) -> Result<(), Error> {
        let credential = ops::writers::new_credential(&self.repository)?;
        let file = credentials::prepare(&place.credentials, &credential)?;
        let new = NewWriter { credential: &credential, label, rights: Rights::ADD };
        ops::writers::enrol_with(&self.repository, &new, file, time).map(|_| ())
    }

    /// Takes a snapshot. It is durable and complete when this returns; files that cannot be read are counted and
    /// reported to `progress`.
    ///
    /// # Errors
    /// [`Error::Input`] if an option is not valid, [`Error::Interrupted`] if `progress` requests it, [`Error::Store`]
    /// if the store is unavailable for longer than `StoreOptions::retry_for`.
    pub fn snapshot(
        &self,
        options: &SnapshotOptions,
        progress: &dyn Progress,
    ) -> Result<SnapshotSummary, Error> {
        ops::snapshot::snapshot(&self.repository, options, progress)
    }

    /// Lists the snapshots, oldest first.
    ///
    /// # Errors
    /// [`Error::Catalog`] if the local catalog cannot be read.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>, Error> {
        let rows = self.repository.catalog.snapshots()?;
        Ok(rows.into_iter().map(|row| SnapshotInfo::of(row.entry)).collect())
    }
}

/// One snapshot in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// When it was taken, by the clock of its computer.
    pub time: Time,
    /// The computer that took it.
    pub host: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Number of files in it.
    pub files: u64,
    /// Total size of these files, in bytes.
    pub bytes: u64,
}

impl SnapshotInfo {
    fn of(entry: crate::format::SnapshotEntry) -> SnapshotInfo {
        let crate::format::SnapshotEntry { id, time, host, tags, files, bytes, .. } = entry;
        SnapshotInfo { id, time, host, tags, files, bytes }
    }
}

fn read_config(place: &Place) -> Result<(Store, StoredConfig), Error> {
    let store = Store::open(&place.location, &place.store)?;
    let config = StoredConfig::read(&store)?;
    Ok((store, config))
}

fn open(
    place: &Place,
    store: Store,
    config: StoredConfig,
    keys: Keys,
    progress: &dyn Progress,
) -> Result<Archive, Error> {
    let opening = Opening { purpose: Purpose::Use, cache_dir: &place.cache, progress };
    let repository = Repository::open_for(opening, store, config, keys)?;
    Ok(Archive { repository })
}
