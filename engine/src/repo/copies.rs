//! Finds copies of log entries and of `config` in this host's catalog and in checkpoints. They
//! restore a damaged or missing object byte for byte (spec section 6.6).

use bytes::Bytes;

use super::Repository;
use super::catalog::LogFollower;
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::{Config, DecodedConfig, Digest};
use crate::store::{StoreErrorKind, layout};

/// Maximum number of damaged or missing entries in a row to look past; bounds the work on a hostile
/// store.
const COPIES_MAX: u64 = 32;

impl<C: LogFollower> Repository<C> {
    /// Finds a copy of an entry with this digest.
    pub fn copy_of_entry(&self, number: u64, wanted: Digest) -> Result<Option<Bytes>, Error> {
        let kept = self.catalog.kept_entry(number)?;
        if let Some(kept) = kept.filter(|kept| digest(&[kept]) == wanted) {
            return Ok(Some(kept.into()));
        }
        let listed = self.checkpoints().unwrap_or_default();
        for range in listed.into_iter().filter(|range| range.contains(&number)) {
            let Ok(found) = self.read_checkpoint(&range) else { continue };
            let entry = self.entry_of(&found, number);
            if let Some(entry) = entry.filter(|entry| digest(&[entry]) == wanted) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Finds a copy of a damaged or missing entry in a part of the log that this host has not read
    /// yet. The copy is proven by the next entry, which names its digest and is in the log or found
    /// in the same way. A thief may have written that next entry. But the copy must be signed like
    /// any entry, and the slot has no other valid entry.
    pub(super) fn copy_by_next(&self, number: u64) -> Result<Option<Bytes>, Error> {
        let listed = self.checkpoints().unwrap_or_default();
        let mut last = number;
        let mut named = loop {
            if last - number > COPIES_MAX || !listed.iter().any(|range| range.contains(&last)) {
                return Ok(None);
            }
            match self.entry(last + 1) {
                Ok((_, next)) => break next.previous,
                Err(error) if error.is_of_object() => last += 1,
                Err(error) => return Err(error),
            }
        };
        loop {
            let Some(copy) = self.copy_of_entry(last, named)? else { return Ok(None) };
            if last == number {
                return Ok(Some(copy));
            }
            let Ok(entry) = self.secrets.read_log(last, &copy) else { return Ok(None) };
            (last, named) = (last - 1, entry.previous);
        }
    }
}

impl Repository {
    /// Returns the problem of `config` in the store; `None` if it is unchanged.
    pub fn problem_of_config(&self) -> Result<Option<String>, Error> {
        let is_it = |object: &Bytes| match digest(&[object]) == self.genesis() {
            true => Ok(()),
            false => Err(()),
        };
        let got = self.store.get_as(layout::CONFIG, CONFIG_BYTES_MAX, is_it);
        match got.map_err(Error::from) {
            Ok((_, Ok(()))) => Ok(None),
            Ok((object, Err(()))) => Ok(Some(match Config::decode(&object) {
                Err(error) => error.to_string(),
                Ok(_) => "it is not the one that the log begins with".to_owned(),
            })),
            Err(error) if error.is_of_object() => Ok(Some(error.reason())),
            Err(error) => Err(error),
        }
    }

    /// Puts `config` back. Returns false if there is no copy or the store refuses.
    pub fn put_back_config(&self) -> Result<bool, Error> {
        let kept = self.catalog.kept_config()?;
        let Some(kept) = kept.filter(|kept| digest(&[kept]) == self.genesis()) else {
            return Ok(false);
        };
        self.put_back(layout::CONFIG, kept.into(), |there| self.is_config(there))
    }

    /// Puts an entry back. Returns false if the slot has another entry or the store refuses.
    pub fn put_back_entry(&self, number: u64, object: Bytes) -> Result<bool, Error> {
        self.put_back(&layout::log(number), object, |there| {
            self.secrets.read_log(number, there).is_ok()
        })
    }

    fn is_config(&self, object: &[u8]) -> bool {
        Config::decode(object).is_ok_and(|DecodedConfig { config, body, mac }| {
            self.secrets.verify_config(&config, body, mac).is_ok()
        })
    }

    /// Creates a missing object, or replaces one that no host can use. A valid object stays,
    /// whatever its content.
    fn put_back(
        &self,
        name: &str,
        object: Bytes,
        is_valid: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, Error> {
        let put = match self.store.get(name, ENTRY_BYTES_MAX) {
            Ok(there) if is_valid(&there) => return Ok(false),
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                self.store.create(name, "", object)
            }
            Err(error) if !Error::from(error.clone()).is_of_object() => return Err(error.into()),
            _ => self.store.replace(name, object).map(|()| true),
        };
        match put {
            // The bucket may forbid replacing objects.
            Err(error) if error.kind == StoreErrorKind::Denied => Ok(false),
            put => Ok(put?),
        }
    }
}
