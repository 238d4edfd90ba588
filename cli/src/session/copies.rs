//! Opens other copies of an archive: those in the command line, and those that the profile names. Prices reading from
//! them.

use icecore_engine::error::Error;
use icecore_engine::ops::cost::{Bill, Prices};
use icecore_engine::ops::prune::CopyCosts;
use icecore_engine::repo::{OtherCopy, ReadPrices, Repository, StoredConfig};
use icecore_engine::store::{Location, Requests, Store, StoreErrorKind, StoreOptions};

use super::{ASKING_MAX, Session};
use crate::failure::Failure;
use crate::profile::Profile;

/// Another copy of the archive that this run reads from.
#[derive(Clone)]
pub struct OpenedCopy {
    pub copy: OtherCopy,
    /// Its prices; `None` if they are not known, or for a folder.
    prices: Option<Prices>,
    /// The requests that were made to list it.
    listed: Requests,
}

impl OpenedCopy {
    pub fn location(&self) -> &Location {
        self.copy.store.location()
    }

    /// Prices requests to this copy, in addition to those made so far; `None` if its prices are not known.
    pub fn bill(&self, more: &Requests) -> Option<Bill> {
        if !self.location().is_remote() {
            return Some(Bill::default());
        }
        let requests = self.requests().plus(more);
        let prices = self.prices.as_ref().filter(|prices| prices.gap(&requests).is_none())?;
        Some(prices.bill(&requests))
    }

    /// Prices requests to this copy alone.
    pub fn price(&self, requests: &Requests) -> Option<f64> {
        match &self.prices {
            _ if !self.location().is_remote() => Some(0.0),
            Some(prices) if prices.gap(requests).is_none() => {
                Some(prices.bill(requests).total_usd())
            }
            _ => None,
        }
    }

    /// Returns the prices, unless reading is free.
    pub fn prices(&self) -> Option<&Prices> {
        self.prices.as_ref()
    }

    fn requests(&self) -> Requests {
        self.listed.plus(&self.copy.store.requests())
    }
}

impl Session {
    /// Lets the repository read from the given copies. If the repository is in a bucket, also lets it read from
    /// those that the profile names, because they may be cheaper, or readable where the archive is frozen.
    pub fn read_copies(&self, urls: &[String], repository: &Repository) -> Result<(), Failure> {
        let opened = self.open_copies(urls, repository)?;
        if !opened.is_empty() {
            self.add_copies(opened, repository)?;
        }
        if repository.store.location().is_remote() {
            self.read_named_copies(repository)?;
        }
        Ok(())
    }

    /// Lets the repository read from the copies that the profile names, too. Returns the locations of those that it has
    /// not read from before.
    pub fn read_named_copies(&self, repository: &Repository) -> Result<Vec<String>, Failure> {
        let opened = self.open_named_copies(repository, |_| true);
        let new = opened.iter().map(|copy| copy.location().to_string()).collect();
        if !opened.is_empty() {
            self.add_copies(opened, repository)?;
        }
        Ok(new)
    }

    /// Opens the copies that the profile names and that this run has not opened before. One that cannot be used now is
    /// skipped with a note.
    fn open_named_copies(
        &self,
        repository: &Repository,
        is_wanted: impl Fn(&Location) -> bool,
    ) -> Vec<OpenedCopy> {
        let mut opened = Vec::new();
        for (url, profile) in self.named_copies() {
            let Ok(location) = self.copy_location(&url) else { continue };
            let place = location.place();
            let known = self.copies();
            let is_known = known.iter().any(|copy| copy.location().place() == place);
            let is_own = repository.store.location().place() == place;
            if is_known || is_own || !is_wanted(&location) || self.was_tried(&place) {
                continue;
            }
            match self.open_copy(&location, &profile, repository, true) {
                Ok(copy) => opened.push(copy),
                // The archive may be lost, or the command line names another one.
                Err(_) if self.profile.repo.as_ref() == Some(&url) => {}
                Err(failure) => self.report.note(&format!(
                    "the copy at {location} cannot be used now, so it is left out: {}",
                    failure.message
                )),
            }
        }
        opened
    }

    /// Opens the copies of a repository that the command line names, and those that the profile names.
    pub fn all_copies(
        &self,
        urls: &[String],
        repository: &Repository,
    ) -> Result<Vec<OpenedCopy>, Failure> {
        let opened = self.open_copies(urls, repository)?;
        self.add_copies(opened, repository)?;
        self.read_named_copies(repository)?;
        Ok(self.copies())
    }

    /// Lists the copies in buckets that the profile names and whose prices are known.
    pub fn priced_copies(&self, repository: &Repository) -> Result<Vec<CopyCosts>, Failure> {
        let mut priced = Vec::new();
        for opened in self.open_named_copies(repository, |location| location.is_remote()) {
            let OpenedCopy { copy, prices, .. } = opened;
            priced.extend(prices.map(|prices| CopyCosts { copy, prices }));
        }
        Ok(priced)
    }

    /// Returns the copies that this run reads from, in the order of the repository.
    pub fn copies(&self) -> Vec<OpenedCopy> {
        self.copies.lock().expect("nothing panics here").clone()
    }

    /// Returns the requests to other copies so far.
    pub fn requests_to_copies(&self) -> Requests {
        let sum = |sum: Requests, copy: &OpenedCopy| sum.plus(&copy.requests());
        self.copies().iter().fold(Requests::default(), sum)
    }

    /// Returns what the requests to other copies have cost so far; `None` if a price is not known.
    pub fn spent_at_copies(&self) -> Option<f64> {
        let bill = |copy: &OpenedCopy| Some(copy.bill(&Requests::default())?.total_usd());
        self.copies().iter().map(bill).sum()
    }

    fn add_copies(&self, opened: Vec<OpenedCopy>, repository: &Repository) -> Result<(), Failure> {
        let own = match self.prices()? {
            _ if !repository.store.location().is_remote() => ReadPrices::Free,
            Some(prices) => prices.reading(),
            None => ReadPrices::Unknown,
        };
        let mut copies = self.copies.lock().expect("nothing panics here");
        copies.extend(opened);
        repository.read_also(copies.iter().map(|opened| opened.copy.clone()).collect(), own);
        Ok(())
    }

    /// Returns the places that the profile names, with the settings for each.
    fn named_copies(&self) -> Vec<(String, Profile)> {
        let mirror = self.profile.mirror.as_ref();
        let mirror =
            mirror.and_then(|mirror| Some((mirror.to.clone()?, self.profile.at_mirror(mirror))));
        // If the command line names the second copy, the archive itself is the other copy.
        let archive = self.profile.repo.clone().map(|url| (url, self.profile.clone()));
        mirror.into_iter().chain(archive).collect()
    }

    /// Returns the place of the second copy that the profile names, if the archive in use is the one of the profile.
    pub fn second_copy(&self) -> Option<String> {
        let copy = self.copy_location(self.profile.mirror.as_ref()?.to.as_ref()?).ok()?;
        let used = self.location().ok()?.place();
        let own = self.profile.repo.as_ref().map(|url| self.copy_location(url));
        let is_own = own.is_none_or(|own| own.is_ok_and(|own| own.place() == used));
        (is_own && copy.place() != used).then(|| copy.to_string())
    }

    /// Returns whether this run has tried to open a copy before, and records that it has tried now.
    fn was_tried(&self, place: &str) -> bool {
        let mut tried = self.tried.lock().expect("nothing panics here");
        let was_tried = tried.iter().any(|other| other == place);
        if !was_tried {
            tried.push(place.to_owned());
        }
        was_tried
    }

    fn open_copies(
        &self,
        urls: &[String],
        repository: &Repository,
    ) -> Result<Vec<OpenedCopy>, Failure> {
        let open = |url: &String| {
            let location = self.copy_location(url)?;
            let mirror = self.profile.mirror.as_ref();
            let mirror = mirror.filter(|mirror| mirror.to.as_ref() == Some(url));
            let profile = mirror
                .map_or_else(|| self.profile.clone(), |mirror| self.profile.at_mirror(mirror));
            self.open_copy(&location, &profile, repository, false)
        };
        urls.iter().map(open).collect()
    }

    fn copy_location(&self, url: &str) -> Result<Location, Failure> {
        Ok(Location::parse(&crate::home::url_at_home(url)?)?)
    }

    /// Opens and lists a copy. `soon` gives up soon if its store does not answer.
    fn open_copy(
        &self,
        location: &Location,
        profile: &Profile,
        repository: &Repository,
        soon: bool,
    ) -> Result<OpenedCopy, Failure> {
        let options = self.options_at(location, profile)?;
        let retry_for = if soon { options.retry_for.min(ASKING_MAX) } else { options.retry_for };
        let asking = StoreOptions { retry_for, ..options.clone() };
        let store = Store::open(location, &asking).map_err(|error| match error.kind {
            StoreErrorKind::NotFound => no_copy(location),
            _ => error.into(),
        })?;
        let config = StoredConfig::read(&store).map_err(|error| match error {
            Error::NoRepository { .. } => no_copy(location),
            error => error.into(),
        })?;
        if config.config.repository != repository.config.repository {
            let message = format!("{location} is another archive, and not a copy of this one");
            let hint = "name a copy that `icecore mirror` or `rsync` has made";
            return Err(Failure::usage(message, hint));
        }
        let prices = self.prices_at(location, &options)?;
        let reading = match &prices {
            _ if !location.is_remote() => ReadPrices::Free,
            Some(prices) => prices.reading(),
            None => ReadPrices::Unknown,
        };
        let mut copy = OtherCopy::list(store, reading)?;
        let listed = copy.store.requests();
        copy.store = Store::open(location, &options)?;
        Ok(OpenedCopy { copy, prices, listed })
    }
}

fn no_copy(location: &Location) -> Failure {
    let hint = "name a copy that `icecore mirror` or `rsync` has made";
    Failure::usage(format!("there is no copy of the archive at {location}"), hint)
}
