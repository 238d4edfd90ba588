//! Opens an archive only for its log, and decides whether a store is a copy of an archive.

use std::path::{Path, PathBuf};

use icecore_engine::codec::keys::digest;
use icecore_engine::error::Error;
use icecore_engine::files::private;
use icecore_engine::format::{LogKey, RepositoryId};
use icecore_engine::repo::{Catalog, FoundMark, Keys, Purpose, Repository, SnapshotRow};
use icecore_engine::store::{Location, Store};
use zeroize::Zeroizing;

use super::Session;
use crate::code;
use crate::failure::Failure;
use crate::units::show;

/// Name of the folder in the cache with the catalogs of mirrors.
const COPIES: &str = "mirrors";

/// The number of snapshots of an archive that this computer knows and a mirror does not list.
pub struct Unlisted {
    /// The mirror is older than they are.
    pub absent: u64,
    /// They are dropped there, and were undeleted in the archive later.
    pub dropped: u64,
}

impl Session {
    /// Opens the repository with the key of a log reader, a given key, or the credential of this host; `None` if there
    /// is none of these.
    pub fn open_log(&self, key: Option<&Path>) -> Result<Option<Repository>, Failure> {
        let store = self.store()?;
        let config = self.config(Purpose::Use, &store)?;
        let id = config.config.repository;
        let keys = match key {
            Some(path) => Keys::Writer(Box::new(read_log_key(path)?.credential())),
            None if self.has_keys() => Keys::Reader(self.unlock(&store, id)?),
            None => match self.load_credential(id)? {
                Some(credential) => Keys::Writer(Box::new(credential)),
                None => return Ok(None),
            },
        };
        match self.open_with(store, config, keys) {
            Err(Error::WrongCredential) if key.is_some() => Err(Failure::new(
                code::WRONG_KEY,
                "the key of the log reader does not belong to this archive",
                Some(
                    "`icecore key export --log-reader --output FILE`, where the archive is used, writes another",
                ),
            )),
            opened => Ok(Some(opened?)),
        }
    }

    /// Fails if the profile names a second copy whose address is incomplete or invalid.
    pub fn mirror_address(&self) -> Result<(), Failure> {
        let Some(mirror) = &self.profile.mirror else { return Ok(()) };
        let to = mirror.to.as_ref().ok_or_else(|| {
            Failure::usage("the table [mirror] has no `to`", "name the place of the second copy")
        })?;
        let location = Location::parse(&crate::home::url_at_home(to)?)?;
        if self.location().is_ok_and(|archive| archive.place() == location.place()) {
            return Err(Failure::usage(
                format!("{location} is the archive itself"),
                "name another place for the copy, or remove the table [mirror]",
            ));
        }
        self.options_at(&location, &self.profile.at_mirror(mirror)).map(drop)
    }

    /// Returns the cache folder for the catalog of a mirror at this location.
    pub(super) fn cache_of_copy(&self, store: &Store) -> PathBuf {
        let place = digest(&[store.location().place().as_bytes()]).to_string();
        self.cache().join(COPIES).join(&place[..16])
    }

    /// Counts the snapshots of the archive that this computer knows and its mirror does not list.
    pub fn unlisted_in(&self, mirror: &Repository) -> Result<Unlisted, Failure> {
        let there = mirror.catalog.snapshots()?;
        let dropped = mirror.catalog.dropped_snapshots()?;
        let known = Catalog::known_snapshots(&self.cache(), mirror.config.repository);
        let mut unlisted = Unlisted { absent: 0, dropped: 0 };
        for row in known {
            let has =
                |rows: &[SnapshotRow]| rows.iter().any(|other| other.entry.id == row.entry.id);
            match (has(&there), has(&dropped)) {
                (true, _) => {}
                (false, true) => unlisted.dropped += 1,
                (false, false) => unlisted.absent += 1,
            }
        }
        Ok(unlisted)
    }

    /// Returns whether the error occurred because a mirror is behind its archive, which this computer has used as well.
    /// Prints a note in this case.
    pub(super) fn is_behind(&self, store: &Store, id: RepositoryId, error: &Error) -> bool {
        let is_behind = matches!(error, Error::RolledBack { .. })
            && FoundMark::read(store, id).is_ok_and(|mark| mark.is_of_mirror());
        if is_behind {
            self.report.note(&format!(
                "{} is a mirror, and this computer has seen newer entries in the archive: what is newer is not here",
                store.location()
            ));
        }
        is_behind
    }
}

fn read_log_key(path: &Path) -> Result<LogKey, Failure> {
    let missing = || Failure::file("read the key", path, &std::io::ErrorKind::NotFound.into());
    let bytes = private::read(path, private::OTHERS)?.map(Zeroizing::new).ok_or_else(missing)?;
    LogKey::decode(&bytes).map_err(|error| Failure {
        code: code::WRONG_KEY,
        message: format!("{} is not the key of a log reader: {error}", show(path)),
        hint: Some("`icecore key export --log-reader --output FILE` writes one".to_owned()),
        ..Failure::default()
    })
}
