//! Making a repository.

use zeroize::Zeroizing;

use crate::codec::{Identity, random};
use crate::error::Error;
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::{Chunking, Config, RepositoryId, Settings};
use crate::repo::{Repository, keys};
use crate::store::{Location, Store, StoreErrorKind, StoreOptions, layout};

/// What a new repository is made with.
pub struct InitOptions {
    pub settings: Settings,
    pub password: Zeroizing<Vec<u8>>,
    /// Label of the first key slot.
    pub label: String,
    /// Seconds since 1970 UTC.
    pub time: i64,
}

/// A repository that was made.
pub struct Created {
    pub config: Config,
    pub identity: Identity,
}

/// Makes a repository in an empty place: key slot, then writer credential, then `config`, whose
/// presence makes the repository. Killed before that, there is none, and `init` can run again.
///
/// `keep_credential` must store the writer credential before it returns.
pub fn init(
    location: &Location,
    store_options: &StoreOptions,
    options: InitOptions,
    keep_credential: impl FnOnce(&crate::format::Credential) -> Result<(), Error>,
) -> Result<Created, Error> {
    if let Location::Folder(path) = location {
        refuse_other_content(location, path)?;
    }
    if location.is_remote() && options.settings.parity_percent.is_some() {
        let reason = "only a folder has parity: the provider of a bucket keeps several copies";
        return Err(Error::Input { what: "parity".to_owned(), reason: reason.to_owned() });
    }
    Store::create_folder(location)?;
    let store = Store::open(location, store_options)?;
    // A get, not a head: its refusal says whether the credentials or the policy are to blame.
    match store.get(layout::CONFIG, CONFIG_BYTES_MAX) {
        Err(error) if error.kind == StoreErrorKind::NotFound => refuse_remains(&store)?,
        Err(error) if error.kind != StoreErrorKind::Length => return Err(error.into()),
        _ => return Err(Error::RepositoryExists { location: location.to_string() }),
    }
    let identity = Identity::generate();
    let config = Config {
        repository: RepositoryId(random()),
        public_key: identity.public_key(),
        chunking: Chunking::default(),
        settings: options.settings,
    };
    // The limits of the reader hold for the writer too.
    Config::decode(&[config.encode_body(), vec![0; 32]].concat()).map_err(|error| {
        Error::Input { what: "the settings".to_owned(), reason: error.to_string() }
    })?;
    let InitOptions { password, label, time, .. } = options;
    keys::add(&store, config.repository, &identity, &password, label, time)?;
    keep_credential(&identity.credential(config.repository))?;
    Repository::create(&store, &identity, &config)?;
    Ok(Created { config, identity })
}

/// A folder with other things in it is more likely a mistake than a place for an archive.
fn refuse_other_content(location: &Location, path: &std::path::Path) -> Result<(), Error> {
    let ours = [layout::CONFIG].into_iter().chain(layout::PREFIXES).collect::<Vec<_>>();
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

/// A log or packs without a `config` are an archive that lost it: a new one must not grow into it.
fn refuse_remains(store: &Store) -> Result<(), Error> {
    for prefix in [layout::LOG, "meta", "hot", "packs"] {
        let found = match store.list(prefix, None) {
            Err(error) if error.kind == StoreErrorKind::NotFound => continue,
            found => found?,
        };
        if let Some(object) = found.first() {
            return Err(Error::Damaged {
                object: layout::CONFIG.to_owned(),
                reason: format!(
                    "it is missing, and {} is there: here is a repository",
                    object.name
                ),
            });
        }
    }
    Ok(())
}
