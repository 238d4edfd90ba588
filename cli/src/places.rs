//! Records which repositories this host has used, and where: one file for each place, beside the writer credentials. If
//! the repository of a known place is gone, its disk is probably not mounted, and no new repository should be created
//! there.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use icecore_engine::codec::keys::digest;
use icecore_engine::error::Error;
use icecore_engine::files::private;
use icecore_engine::format::RepositoryId;
use icecore_engine::repo::{Catalog, Repository};
use icecore_engine::store::{Location, StoreError, StoreErrorKind};
use serde::{Deserialize, Serialize};

use crate::address::PlaceAddress;
use crate::code;
use crate::config;
use crate::failure::Failure;
use crate::session::Session;
use crate::shell;
use crate::units::agree;

/// The places that this host knows.
pub struct Places {
    folder: PathBuf,
}

/// The record of one place.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The name of the place, for people who read the file and for messages.
    place: String,
    /// Ids of the repositories that were there. There can be several if disks are swapped.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Whether the last of them is a mirror, to which nothing was moved.
    #[serde(default)]
    pub is_mirror: bool,
    /// When a mirror into this place last began and ended well, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<i64>,
}

impl Place {
    pub fn knows(&self, repository: RepositoryId) -> bool {
        self.repositories.contains(&repository.to_string())
    }
}

impl Places {
    pub fn new(config_dir: &Path) -> Places {
        Places { folder: config_dir.join("places") }
    }

    /// Returns the record of a place; `None` if this host has used no repository there. An unreadable record shows at
    /// least that there was one.
    pub fn find(&self, place: &str) -> Option<Place> {
        match private::read(&self.file(place), private::OTHERS_WRITE) {
            Ok(None) => None,
            Ok(Some(text)) => {
                Some(toml::from_str(&String::from_utf8_lossy(&text)).unwrap_or_default())
            }
            Err(_) => Some(Place::default()),
        }
    }

    /// Records durably that a repository is at a place.
    pub fn remember(
        &self,
        place: &str,
        repository: RepositoryId,
        is_mirror: bool,
    ) -> Result<(), Error> {
        let mut known = self.find(place).unwrap_or_default();
        if known.knows(repository) && known.is_mirror == is_mirror {
            return Ok(());
        }
        known.is_mirror = is_mirror;
        self.write(place, repository, known)
    }

    /// Records durably that a mirror brought a place up to date, and when it began.
    pub fn remember_copy(
        &self,
        place: &str,
        repository: RepositoryId,
        began: i64,
    ) -> Result<(), Error> {
        let known = self.find(place).unwrap_or_default();
        self.write(place, repository, Place { is_mirror: true, copied: Some(began), ..known })
    }

    fn write(&self, place: &str, repository: RepositoryId, known: Place) -> Result<(), Error> {
        let mut known = Place { place: place.to_owned(), ..known };
        if !known.knows(repository) {
            known.repositories.push(repository.to_string());
        }
        let text = toml::to_string(&known).map_err(|error| Error::Input {
            what: "the place".into(),
            reason: error.to_string(),
        })?;
        let config_dir = self.folder.parent().unwrap_or(Path::new("."));
        private::folder(config_dir, private::OTHERS_WRITE, config::is_ours)?;
        private::folder(&self.folder, private::OTHERS, |_| true)?;
        let file = self.file(place);
        private::replace(&file, text.as_bytes()).map_err(|source| Error::File {
            action: "write",
            path: file,
            source,
        })
    }

    /// Returns the other places where this host has used the repository that it last used at `place`, the newest
    /// first. Mirrors are included only if that is asked for.
    pub fn others(&self, place: &str, with_mirrors: bool) -> Vec<String> {
        let Some(id) = self.find(place).and_then(|known| known.repositories.last().cloned()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Ok(Some(text)) = private::read(&file.path(), private::OTHERS_WRITE) else {
                continue;
            };
            let Ok(other) = toml::from_str::<Place>(&String::from_utf8_lossy(&text)) else {
                continue;
            };
            let is_asked_for = with_mirrors || !other.is_mirror;
            if is_asked_for && other.place != place && other.repositories.contains(&id) {
                let since = file.metadata().and_then(|stat| stat.modified()).ok();
                found.push((since, other.place));
            }
        }
        found.sort();
        found.into_iter().rev().map(|(_, place)| place).collect()
    }

    /// Returns whether a place was first used, or promoted, after another one.
    fn is_newer(&self, place: &str, other: &str) -> bool {
        let since = |place: &str| self.file(place).metadata().and_then(|stat| stat.modified()).ok();
        since(place) > since(other)
    }

    /// Makes a place the newest one of its repository.
    pub fn renew(&self, place: &str) {
        // The order of places only improves hints.
        if let Ok(file) = std::fs::File::options().append(true).open(self.file(place)) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
    }

    /// Returns the file in which this host remembers a place.
    pub fn file(&self, place: &str) -> PathBuf {
        let name = digest(&[place.as_bytes()]).to_string();
        self.folder.join(format!("{}.toml", &name[..32]))
    }
}

/// Lists places for a message.
fn listed(places: &[String]) -> String {
    let shown =
        |place: &String| crate::escape::line(&PlaceAddress::of(place).to_string()).into_owned();
    places.iter().map(shown).collect::<Vec<_>>().join(" and ")
}

/// Moves the places that can be reached, as far as a look at the disks shows, before the others.
fn reachable_first(mut places: Vec<String>) -> Vec<String> {
    places.sort_by_key(|place| !is_there(place));
    places
}

fn is_there(place: &str) -> bool {
    place.contains("://") || Path::new(place).exists()
}

/// Says what a copy, the first of some, is good for when its archive is lost.
fn of_copy(known: &str, icecore: &str, copies: usize) -> String {
    let it = agree(copies, "it", "the first");
    format!(
        "If the archive is lost, {known}: `{icecore} restore latest --target DIR` restores from {it}, and `{icecore} promote` makes it the main archive. "
    )
}

impl Session {
    /// Returns the failure that there is no repository or, if this host has used one there, that it is
    /// gone.
    pub fn missing(&self, error: Error) -> Failure {
        let known = match error {
            Error::NoRepository { .. } => Some(self.gone()),
            Error::Store(StoreError { kind: StoreErrorKind::NoBucket, .. }) => {
                Some(self.lost(true))
            }
            _ => None,
        };
        match known {
            Some(Ok(Some(gone))) => gone,
            _ => error.into(),
        }
    }

    /// Returns the failure for a place without a repository if this host has used one there.
    pub fn gone(&self) -> Result<Option<Failure>, Failure> {
        self.lost(false)
    }

    /// Returns the failure as [`Session::gone`] does. `with_bucket` says that even the bucket does not exist.
    fn lost(&self, with_bucket: bool) -> Result<Option<Failure>, Failure> {
        let location = self.location()?;
        let place = config::place(&location, &self.store_options(&location)?);
        let places = Places::new(&self.config_dir);
        let is_known = match places.find(&place) {
            Some(_) => true,
            // Older versions of this program did not record places. The catalog shows whether one used this place.
            None => {
                !location.is_remote() && !Catalog::kept_configs(&self.cache(), &place).is_empty()
            }
        };
        Ok(is_known.then(|| {
            let mut hint = match location.is_remote() {
                true => "check the bucket and the endpoint. ",
                false => "is the disk mounted? ",
            }
            .to_owned();
            let others = places.others(&place, false);
            let copies = reachable_first(places.others(&place, true));
            // A copy that was promoted is the archive now.
            let newer = others.first().filter(|other| places.is_newer(other, &place));
            let at_copy = self.at_copy(&location).filter(|_| newer.is_none() && self.has_copy());
            if let Some(icecore) = at_copy {
                hint.push_str(&of_copy("the profile names a copy", &icecore, 1));
            } else if let Some(newest) = others.first().filter(|newest| {
                is_there(newest) || !copies.first().is_some_and(|copy| is_there(copy))
            }) {
                hint.push_str(&format!(
                    "This computer has used this archive at {} too: {}. ",
                    listed(&others),
                    PlaceAddress::of(newest).used_after(&PlaceAddress::of(&place))
                ));
            } else if let Some(copy) = copies.first() {
                let a_copy = agree(copies.len(), "a copy", "copies");
                let known = format!("this computer knows {a_copy} at {}", listed(&copies));
                hint.push_str(&of_copy(&known, &PlaceAddress::of(copy).command(), copies.len()));
            }
            let init = format!("{} init --new", crate::pasted::at_place(&location.to_string()));
            let (bucket, then) = match with_bucket {
                true => (
                    ": the bucket does not exist",
                    format!("create the bucket first, because icecore never creates buckets; then `{init}` creates a new archive there"),
                ),
                false => ("", format!("`{init}` creates a new one there")),
            };
            hint.push_str(&format!("If it was deleted for good, {then}"));
            Failure {
                code: code::NO_REPOSITORY,
                message: format!(
                    "the archive that this host has used at {location} no longer exists there{bucket}"
                ),
                hint: Some(hint),
                ..Failure::default()
            }
        }))
    }

    /// Returns the beginning of a command that uses a copy of the archive.
    pub fn command_at(&self, copy: &Location) -> String {
        let of_profile = self.profile.mirror.as_ref().and_then(|mirror| mirror.to.as_ref());
        let of_profile = of_profile.and_then(|url| crate::home::url_at_home(url).ok());
        let is_of_profile = of_profile
            .and_then(|url| Location::parse(&url).ok())
            .is_some_and(|location| location.place() == copy.place());
        let archive = self.location().ok().filter(|_| is_of_profile);
        archive
            .and_then(|archive| self.at_copy(&archive))
            .unwrap_or_else(|| format!("icecore --repo {}", shell::word(&copy.to_string())))
    }

    /// Returns the newest copy of the archive in use that this computer has made or used: one that can be reached, if
    /// there is one.
    pub fn known_copy(&self) -> Option<PlaceAddress> {
        let location = self.location().ok()?;
        let place = config::place(&location, &self.store_options(&location).ok()?);
        let places = Places::new(&self.config_dir);
        let is_copy = |other: &String| places.find(other).is_some_and(|known| known.is_mirror);
        let copies = places.others(&place, true).into_iter().filter(is_copy);
        reachable_first(copies.collect()).first().map(|copy| PlaceAddress::of(copy))
    }

    /// Returns whether the copy that the profile names was ever made, as far as this computer knows.
    fn has_copy(&self) -> bool {
        let url = self.profile.mirror.as_ref().and_then(|mirror| mirror.to.as_ref());
        let url = url.and_then(|url| crate::home::url_at_home(url).ok());
        let Some(location) = url.and_then(|url| Location::parse(&url).ok()) else { return false };
        let place = location.place();
        let is_known = || Places::new(&self.config_dir).find(&place).is_some();
        location.is_remote() || is_there(&place) || is_known()
    }

    /// Returns how a command begins that uses the second copy of the profile; `None` if it names none for the archive
    /// at this location.
    fn at_copy(&self, location: &Location) -> Option<String> {
        let mirror = self.profile.mirror.as_ref()?;
        let parsed = |url: &str| Location::parse(&crate::home::url_at_home(url).ok()?).ok();
        let archive = parsed(self.profile.repo.as_deref()?)?;
        let url = mirror.to.as_deref()?;
        let copy = parsed(url)?;
        if archive.place() != location.place() {
            return None;
        }
        let mut command = String::new();
        // The profile has the settings of the archive. Variables override them with those of the copy.
        for (name, of_copy, of_archive) in [
            ("AWS_REGION", &mirror.region, &self.profile.region),
            ("AWS_ENDPOINT_URL", &mirror.endpoint, &self.profile.endpoint),
            ("AWS_PROFILE", &mirror.aws_profile, &self.profile.aws_profile),
        ] {
            let differs = of_copy.as_ref().filter(|_| copy.is_remote() && of_copy != of_archive);
            if let Some(value) = differs {
                command.push_str(&format!("{name}={} ", shell::word(value)));
            }
        }
        command.push_str("icecore ");
        if let Some(profile) = &self.profile_typed {
            command.push_str(&format!("-P {} ", shell::word(profile)));
        }
        Some(format!("{command}--repo {}", shell::word(url)))
    }

    /// If the archive is older than it was, adds a hint with its other places: after a move, the user may be using the
    /// old copy.
    pub fn moved(&self, failure: Failure) -> Failure {
        if !failure.gone_back {
            return failure;
        }
        let place = self
            .location()
            .and_then(|location| Ok(config::place(&location, &self.store_options(&location)?)));
        let Ok(place) = place else { return failure };
        let others = Places::new(&self.config_dir).others(&place, false);
        let Some(newest) = others.first() else { return failure };
        // Nothing was moved to a place that was used before this one.
        if !Places::new(&self.config_dir).is_newer(newest, &place) {
            return failure;
        }
        let hint = format!(
            "do not write to it: this computer has used this archive at {} too. If the archive was moved there, this is the old copy: use {}. Only if you want to continue with this copy, and never with the other again, `icecore rebuild-index` accepts it",
            listed(&others),
            PlaceAddress::of(newest).used_after(&PlaceAddress::of(&place)),
        );
        failure.hinted(hint)
    }

    /// Returns whether this host has used a repository at its present place.
    pub fn has_used(&self, repository: RepositoryId) -> bool {
        let known = self.location().and_then(|location| {
            let place = config::place(&location, &self.store_options(&location)?);
            Ok(Places::new(&self.config_dir).find(&place))
        });
        known.is_ok_and(|place| place.is_some_and(|place| place.knows(repository)))
    }

    /// Records the place of the repository in use; warns if another one was there before.
    pub fn used(&self, repository: Repository) -> Result<Repository, Failure> {
        self.remember(repository.config.repository, repository.is_mirror())?;
        self.warn_of_doubts(&repository)?;
        self.warn_of_theft(&repository)?;
        self.warn_of_mark(&repository);
        Ok(repository)
    }

    /// Warns once, in one line, about entries of the log that do not count.
    fn warn_of_doubts(&self, repository: &Repository) -> Result<(), Failure> {
        let void = repository.catalog.void_entries()?;
        let mut open: Vec<String> = void
            .iter()
            .filter(|entry| !entry.dismissed)
            .map(|entry| {
                let counts = if entry.counts { ", but counts" } else { "" };
                format!("entry {}: {}{counts}", entry.number, entry.reason)
            })
            .collect();
        let behind = repository.behind_gap()?;
        open.extend(
            behind.iter().map(|number| format!("entry {number}: an entry before it is missing")),
        );
        let Some(first) = open.first() else { return Ok(()) };
        if self.log.is_doubtful.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let more = match open.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let doubtful = void.iter().filter(|entry| !entry.dismissed && entry.counts).count();
        let what = match doubtful {
            0 => agree(open.len(), "It does not count", "They do not count"),
            some if some == open.len() => agree(some, "It is doubtful", "They are doubtful"),
            1 => "One of them is doubtful, the rest do not count",
            _ => "Some of them are doubtful, the rest do not count",
        };
        let (it, entry) =
            (agree(open.len(), "it", "them"), agree(open.len(), "it", "each of them"));
        let message = format!(
            "{first}{more}. {what}, and prune deletes nothing until you have looked at {it}: `icecore check` names {entry}, `icecore key writers` shows who has written"
        );
        self.report.problem("the log", &message);
        Ok(())
    }

    /// Records the place of a repository, unless the command must not change anything.
    pub fn remember(&self, repository: RepositoryId, is_mirror: bool) -> Result<(), Failure> {
        if self.makes_nothing {
            return Ok(());
        }
        let location = self.location()?;
        let place = config::place(&location, &self.store_options(&location)?);
        let places = Places::new(&self.config_dir);
        let known = places.find(&place).unwrap_or_default();
        if known.knows(repository) && known.is_mirror == is_mirror {
            return Ok(());
        }
        if let Some(before) = known.repositories.last().filter(|_| !known.knows(repository)) {
            let message = format!(
                "this is archive {}; the one that this host used there before was {}",
                repository.short(),
                before.chars().take(8).collect::<String>(),
            );
            self.report.problem(&location.to_string(), &message);
        }
        // A read-only config directory must not make a nightly run fail.
        if let Err(error) = places.remember(&place, repository, is_mirror) {
            let Failure { message, .. } = error.into();
            self.report.note(&format!("failed to record where the archive is: {message}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(folder.path());
        assert_eq!(places.find("/mnt/nas"), None);
        let (one, other) = (RepositoryId([1; 16]), RepositoryId([2; 16]));
        places.remember("/mnt/nas", one, false).unwrap();
        places.remember("/mnt/nas", other, false).unwrap();
        places.remember("/mnt/nas", other, false).unwrap();
        let found = places.find("/mnt/nas").unwrap();
        assert_eq!(found.repositories, [one.to_string(), other.to_string()]);
        assert!(found.knows(one) && !found.knows(RepositoryId([3; 16])));
        assert_eq!(places.find("/mnt/other"), None);
        // Even a truncated file shows that there was a repository.
        std::fs::write(places.file("/mnt/nas"), "place = \"/mn").unwrap();
        assert_eq!(places.find("/mnt/nas"), Some(Place::default()));
    }
}
