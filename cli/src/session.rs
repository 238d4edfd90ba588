//! The beginning of every command: chooses the repository, the keys and the catalog.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use icecore_engine::codec::Identity;
use icecore_engine::error::Error;
use icecore_engine::format::authority::Rights;
use icecore_engine::format::{LogHead, RepositoryId, Settings, SlotId};
use icecore_engine::ops::writers::{self, NewWriter};
use icecore_engine::repo::{
    Catalog, Keys, Opening, Purpose, Repository, StoredConfig, settings_at,
};
use icecore_engine::store::{
    Limits, Location, ObjectName, Provider, Store, StoreErrorKind, StoreOptions,
};

use crate::args::Global;
use crate::cache;
use crate::config;
use crate::failure::Failure;
use crate::fit::whole;
use crate::limits::limits;
use crate::network::Network;
use crate::password::{self, GivenBy, Sources};
use crate::profile::Profile;
use crate::progress::{Bar, How};
use crate::report::Report;
use crate::screen;
use crate::units::show;

mod copies;
mod credential;
mod findings;
mod log_reader;
mod names;
mod night;
mod prices;
mod reading;
mod unlock;

pub use copies::OpenedCopy;
pub use night::Seen;

/// How long to wait for a store if the answer is useful but not necessary.
const ASKING_MAX: Duration = Duration::from_secs(5);

/// The options of one run, from flags, environment and profile.
pub struct Session {
    pub report: Report,
    pub profile: Profile,
    /// The name of the profile in use.
    pub profile_name: Option<String>,
    /// The profile as the user typed it: a name or a path.
    pub profile_typed: Option<String>,
    pub config_dir: PathBuf,
    cache_dir: PathBuf,
    repo: Option<String>,
    identity: Option<PathBuf>,
    /// Whether an option named the identity.
    pub identity_by_flag: bool,
    passwords: Sources,
    /// Memory for passwords, if it was given.
    password_memory: Option<u64>,
    prices: Option<PathBuf>,
    /// A head of the log that was seen before. The repository must contain it.
    expect_head: Option<LogHead>,
    /// How long to wait for another run on this host.
    lock_wait: Duration,
    /// How long to repeat failing requests; `None` to use the environment.
    retry_for: Option<Duration>,
    /// Rate limits to and from buckets.
    limits: Limits,
    progress: How,
    /// The temporary cache, if the usual one cannot be used.
    temporary: Mutex<Option<PathBuf>>,
    /// The name of this host, if the command line or the environment gives one.
    pub host: Option<String>,
    /// Whether the command only shows what it would do, so that nothing is recorded or enrolled.
    pub makes_nothing: bool,
    /// What this run has found in the log.
    pub log: findings::LogFindings,
    /// The identity that this run has unlocked, so that it asks for a password only once. Whether the password's key
    /// slot is still valid is known only after the log is read.
    unlocked: Mutex<Option<(RepositoryId, Identity, Option<SlotId>)>>,
    /// All stores that this run has opened, to count their requests.
    stores: Mutex<Vec<Store>>,
    /// Other copies of the archive that this run reads from.
    copies: Mutex<Vec<OpenedCopy>>,
    /// The places where it has looked for such copies by itself.
    tried: Mutex<Vec<String>>,
}

impl Session {
    pub fn new(global: Global, report: Report) -> Result<Session, Failure> {
        let name = global.profile.clone();
        Session::with(global, report, |config_dir| match &name {
            Some(name) => config::profile(config_dir, name),
            None => Ok(Profile::default()),
        })
    }

    /// Like [`Session::new`], but gets the profile from a function, because it may not be in a file yet.
    pub fn with(
        mut global: Global,
        report: Report,
        profile: impl FnOnce(&Path) -> Result<Profile, Failure>,
    ) -> Result<Session, Failure> {
        let Global { password_file, identity, cache_dir, config_dir, prices, .. } = &mut global;
        for path in [password_file, identity, cache_dir, config_dir, prices].into_iter().flatten() {
            *path = crate::home::at_home(path)?;
        }
        let (config_dir, cache_dir) = match (&global.config_dir, &global.cache_dir) {
            (Some(config), Some(cache)) => (config.clone(), cache.clone()),
            (config, cache) => {
                let (default_config, default_cache) = config::directories()?;
                (config.clone().unwrap_or(default_config), cache.clone().unwrap_or(default_cache))
            }
        };
        let profile = Profile { of_setup: global.of_setup, ..profile(&config_dir)? };
        // Flags have priority over the environment, and the environment over the profile, even if they name different
        // sources of keys.
        let variable = !global.keys_by_flag && password::variable().is_some();
        let given = global.keys_by_flag
            || variable
            || global.identity.is_some()
            || global.password_file.is_some()
            || global.password_command.is_some();
        let (identity, passwords) = if given {
            let Global { identity, password_file, password_command, .. } = &global;
            let (file, command) = (password_file.clone(), password_command.clone());
            let by = if global.keys_by_flag { GivenBy::Flag } else { GivenBy::Variable };
            (identity.clone(), Sources { file, command, variable, by })
        } else {
            let Profile { identity, password_file, password_command, .. } = profile.clone();
            let (file, command) = (password_file, password_command);
            (identity, Sources { file, command, variable, by: GivenBy::Profile })
        };
        let limits = limits(&global, &profile);
        // A profile means its archive: a variable must not send its photos into another one.
        let of_profile = profile.repo.clone().filter(|_| !global.repo_by_flag);
        let repo = of_profile.or(global.repo);
        Ok(Session {
            report,
            repo,
            identity_by_flag: global.keys_by_flag && global.identity.is_some(),
            identity,
            cache_dir: match (&global.cache_dir, &profile.cache_dir) {
                (None, Some(cache)) => cache.clone(),
                _ => cache_dir,
            },
            config_dir,
            profile_name: global.profile.as_deref().map(config::profile_name),
            profile_typed: global.profile,
            passwords,
            password_memory: global.password_memory,
            limits,
            prices: global.prices.or_else(|| profile.prices.clone()),
            profile,
            expect_head: global.expect_head.and_then(|head| head.0),
            lock_wait: global.lock_wait,
            retry_for: global.retry_for,
            progress: How::of(&report, global.no_progress, global.json_progress),
            temporary: Mutex::default(),
            host: None,
            makes_nothing: false,
            log: findings::LogFindings::default(),
            unlocked: Mutex::default(),
            stores: Mutex::default(),
            copies: Mutex::default(),
            tried: Mutex::default(),
        })
    }

    pub fn location(&self) -> Result<Location, Failure> {
        let url = self.repo.as_deref().ok_or_else(|| match &self.profile_typed {
            Some(name) => config::no_repo(&self.config_dir, name),
            None => config::no_archive(&self.config_dir),
        })?;
        // Text that is not UTF-8 was already refused when the command line was parsed.
        Ok(Location::parse(&crate::home::url_at_home(url)?)?)
    }

    pub fn store_options(&self, location: &Location) -> Result<StoreOptions, Failure> {
        self.options_at(location, &self.profile)
    }

    /// Returns the options for a store at a location, with the settings of a profile.
    pub fn options_at(
        &self,
        location: &Location,
        profile: &Profile,
    ) -> Result<StoreOptions, Failure> {
        let mut options = config::store_options(location, profile)?;
        let by_variable = std::env::var_os("ICECORE_RETRY_SECONDS").is_some();
        let of_profile = self.profile.retry_for.filter(|_| !by_variable);
        options.retry_for = self.retry_for.or(of_profile).unwrap_or(options.retry_for);
        options.limits = self.limits.clone();
        options.watch = Arc::new(Network { report: self.report, place: location.to_string() });
        if location.provider() == Some(Provider::S3) {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| crate::aws::warn_of_idle(&self.report));
        }
        Ok(options)
    }

    /// Opens the store of a repository.
    pub fn store(&self) -> Result<Store, Failure> {
        let location = self.location()?;
        let store = self.open_store(&location, &self.store_options(&location)?)?;
        self.stores.lock().expect("nothing panics here").push(store.clone());
        Ok(store)
    }

    /// Opens a store. A folder that does not exist is reported as no repository.
    pub fn open_store(
        &self,
        location: &Location,
        options: &StoreOptions,
    ) -> Result<Store, Failure> {
        Store::open(location, options).map_err(|error| match error.kind {
            StoreErrorKind::NotFound => {
                self.missing(Error::NoRepository { location: location.to_string() })
            }
            _ => error.into(),
        })
    }

    /// Returns the folder of the catalog.
    pub fn cache(&self) -> PathBuf {
        let temporary = self.temporary.lock().expect("nothing panics here").clone();
        temporary.unwrap_or_else(|| self.cache_dir.clone())
    }

    /// Replaces the cache, which cannot be used because of `error`, by a temporary one, and prints a note. Fails with
    /// `error` if no place is left to try.
    pub fn leave_cache(
        &self,
        error: Error,
        repository: RepositoryId,
        is_damaged: bool,
    ) -> Result<(), Error> {
        let mut temporary = self.temporary.lock().expect("nothing panics here");
        let mut places = cache::places();
        if let Some(last) = temporary.as_ref().and_then(|last| last.parent()) {
            let tried = places.iter().position(|place| place == last).map_or(0, |at| at + 1);
            places.drain(..tried);
        }
        // Do not copy a damaged catalog, or one that another user may have written.
        let from =
            (!is_damaged && !matches!(error, Error::Exposed { .. })).then_some(&*self.cache_dir);
        let id = repository.to_string();
        let Some(made) = places.iter().find_map(|place| cache::make(place, from, &id).ok()) else {
            return Err(error);
        };
        let why =
            std::error::Error::source(&error).map_or_else(|| error.to_string(), |e| e.to_string());
        self.report.note(&format!(
            "the cache {} cannot be used ({why}): continuing with a temporary cache in {}; --cache-dir chooses another",
            show(&temporary.clone().unwrap_or_else(|| self.cache_dir.clone())),
            show(&made),
        ));
        *temporary = Some(made);
        Ok(())
    }

    /// Returns how the user wants to see progress.
    pub fn progress(&self) -> How {
        self.progress
    }

    pub fn bar(&self, stage: &str) -> Bar<'_> {
        Bar::new(&self.report, stage, self.progress, self.lock_wait)
    }

    /// Returns a bar that shows nothing, except that it waits for another run.
    pub fn waiting(&self) -> Bar<'_> {
        Bar::new(&self.report, "", How::Nothing, self.lock_wait)
    }

    /// Opens the repository for writing, with the writer credential. A host without one is enrolled with a password or
    /// the identity.
    pub fn open_writer(&self) -> Result<Repository, Failure> {
        let store = self.store()?;
        let config = self.config(Purpose::Use, &store)?;
        let repository = config.config.repository;
        let keys = match self.load_credential(repository)? {
            Some(credential) => Keys::Writer(Box::new(credential)),
            None => {
                if !self.can_unlock() {
                    return Err(self.not_enrolled());
                }
                let by = if self.identity.is_some() { "identity" } else { "password" };
                self.report.note(&format!(
                    "this computer has no key of its own for this archive yet: the {by} creates one"
                ));
                let keys = Keys::Reader(self.unlock(&store, repository)?);
                if self.makes_nothing {
                    return Ok(self.open(store, config, keys)?);
                }
                let owner = self.open(store, config, keys)?;
                let label = self.writer_label();
                let credential = writers::new_credential(&owner)?;
                let file = self.prepare_credential(&credential)?;
                let new = NewWriter { credential: &credential, label: &label, rights: Rights::ADD };
                let path = writers::enrol_with(&owner, &new, file, crate::units::now())?;
                drop(owner);
                let id = credential.writer.short();
                self.report.note(&format!(
                    "this computer can add to the archive now, as writer {id} ({label}); its key was saved to {}",
                    whole(&show(&path))
                ));
                return self.open_writer();
            }
        };
        self.used(self.open(store, config, keys)?)
    }

    /// Opens the repository for reading.
    pub fn open_reader(&self) -> Result<Repository, Failure> {
        self.open_reader_for(Purpose::Use)
    }

    fn open_reader_for(&self, purpose: Purpose) -> Result<Repository, Failure> {
        let store = self.store()?;
        let config = self.config(purpose, &store)?;
        let (identity, slot) = self.unlock_slot(&store, config.config.repository)?;
        let repository = self.open_for_reading(purpose, store, config, Keys::Reader(identity));
        self.used(repository.map_err(|error| match error {
            // The password opened a slot of this repository, so `config` must be damaged.
            Error::WrongIdentity if slot.is_some() => Error::Damaged {
                object: ObjectName::Config,
                reason: "its public key is not that of the identity".to_owned(),
            },
            error => error,
        })?)
    }

    /// Opens the repository with the key that was given, or else with the credential.
    pub fn open_any(&self) -> Result<Repository, Failure> {
        self.open_any_for(Purpose::Use)
    }

    pub fn open_any_for(&self, purpose: Purpose) -> Result<Repository, Failure> {
        self.open_with_any(purpose, false)
    }

    /// Opens the repository for a prune. Without a key, uses the prune credential first, if this host has one.
    pub fn open_to_prune(&self) -> Result<Repository, Failure> {
        self.open_with_any(Purpose::Use, true)
    }

    fn open_with_any(&self, purpose: Purpose, to_prune: bool) -> Result<Repository, Failure> {
        if self.identity.is_some() || self.passwords.any() {
            return self.open_reader_for(purpose);
        }
        let store = self.store()?;
        let config = self.config(purpose, &store)?;
        let repository = config.config.repository;
        let special = match to_prune {
            true => self.load_prune_credential(repository)?,
            false => None,
        };
        let credential = match special {
            Some(credential) => Some(credential),
            None => self.load_credential(repository)?,
        };
        match credential {
            Some(credential) => {
                let keys = Keys::Writer(Box::new(credential));
                self.used(self.open_for_reading(purpose, store, config, keys)?)
            }
            None => self.open_reader_for(purpose),
        }
    }

    pub fn config(&self, purpose: Purpose, store: &Store) -> Result<StoredConfig, Failure> {
        if purpose != Purpose::Check {
            return StoredConfig::read(store).map_err(|error| self.missing(error));
        }
        let config = StoredConfig::read_or_kept(store, &self.cache());
        let config = config.map_err(|error| self.missing(error))?;
        if config.is_copy {
            let how =
                "continuing with the copy on this host; `icecore check --repair` puts it back";
            self.report.problem("config", &format!("it is damaged or missing: {how}"));
        }
        Ok(config)
    }

    /// Returns the current settings: those in the log if this host can open it without asking for a key, else the
    /// initial ones of the repository. Gives up soon if the store does not answer.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let location = self.location()?;
        let mut options = self.store_options(&location)?;
        options.retry_for = options.retry_for.min(ASKING_MAX);
        let store = Store::open(&location, &options)?;
        let config = StoredConfig::read(&store)?;
        let settings = settings_at(&location, config.config.settings.clone());
        let Ok(Some(credential)) = self.load_credential(config.config.repository) else {
            return Ok(settings);
        };
        match self.open(store, config, Keys::Writer(Box::new(credential))) {
            Ok(repository) => Ok(repository.settings()?),
            // The store's credentials may allow reading `config` but not the log.
            Err(_) => Ok(settings),
        }
    }

    /// Returns the head of the log that the repository must contain.
    pub fn expected_head(&self) -> Option<&LogHead> {
        self.expect_head.as_ref()
    }

    fn open(&self, store: Store, config: StoredConfig, keys: Keys) -> Result<Repository, Error> {
        self.open_for(Purpose::Use, store, config, keys)
    }

    /// Opens the repository for reading with the given keys.
    pub fn open_with(
        &self,
        store: Store,
        config: StoredConfig,
        keys: Keys,
    ) -> Result<Repository, Error> {
        self.open_for_reading(Purpose::Use, store, config, keys)
    }

    /// Opens the repository for a command that only reads. If the cache cannot be used, continues with a temporary one.
    fn open_for_reading(
        &self,
        purpose: Purpose,
        store: Store,
        config: StoredConfig,
        keys: Keys,
    ) -> Result<Repository, Error> {
        loop {
            let (again, stored, keys) = (store.clone(), config.clone(), keys.clone());
            match self.open_for(purpose, again, stored, keys) {
                Err(error) if error.is_of_cache() && purpose != Purpose::Rebuild => {
                    self.leave_cache(error, config.config.repository, false)?;
                }
                opened => return opened,
            }
        }
    }

    fn open_for(
        &self,
        purpose: Purpose,
        store: Store,
        config: StoredConfig,
        keys: Keys,
    ) -> Result<Repository, Error> {
        let waiting = self.waiting();
        let (cache, of_copy) = (self.cache(), self.cache_of_copy(&store));
        let id = config.config.repository;
        let is_known = Catalog::is_there(&of_copy, id);
        let is_lost = purpose != Purpose::Rebuild && !is_known && !Catalog::is_there(&cache, id);
        let open = |cache_dir: &Path| {
            let opening = Opening { purpose, cache_dir, progress: &waiting };
            Repository::open_for(opening, store.clone(), config.clone(), keys.clone())
        };
        let opened = open(if is_known { &of_copy } else { &cache });
        let is_copy = match &opened {
            Ok(repository) => repository.is_mirror(),
            Err(error) => is_known || self.is_behind(&store, id, error),
        };
        // The findings of a check of a mirror concern only the mirror, so a mirror has its own catalog. A promoted
        // mirror is no longer a mirror.
        let repository = match (is_copy, is_known) {
            (true, false) | (false, true) => {
                drop(opened);
                open(if is_copy { &of_copy } else { &cache })?
            }
            _ => opened?,
        };
        if is_lost
            && (self.report.verbose || screen::can_draw())
            && self.has_used(id)
            && repository.catalog.position()?.number > 0
        {
            self.report.note("the local catalog was missing; it was rebuilt from the archive");
        }
        self.expect_valid_slot(&repository)?;
        if let Some(head) = &self.expect_head {
            repository.expect_head(head).map_err(|error| match error {
                Error::RolledBack { seen, found } => Error::BehindHead { expected: seen, found },
                Error::Forked { number } => Error::NotHead { number },
                error => error,
            })?;
        }
        Ok(repository)
    }
}
