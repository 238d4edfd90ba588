//! Copies of what the log and `config` were: those that this host keeps, and checkpoints. With them
//! an object that is damaged or missing is put back as it was, byte for byte (spec section 6.6).

use bytes::Bytes;

use super::Repository;
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::{Config, Digest};
use crate::store::{StoreErrorKind, layout};

/// How many entries in a row that are damaged or missing are looked behind: a hostile store has no end of them.
const COPIES_MAX: u64 = 32;

impl Repository {
    /// Finds a copy of an entry; its digest proves it.
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

    /// Finds a copy of an entry that is damaged or missing in a log which this host has not read so far. What is behind
    /// it proves it: the next entry, in the log or found in the same way, names it. That may be a lie of a thief's; but
    /// what is found must be signed like any entry, and nothing else stands in this slot.
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

    /// Returns what is wrong with `config` in the store; `None` if it is what it was.
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

    /// Puts `config` back. Returns whether that was done: there may be no copy, or the store refuses.
    pub fn put_back_config(&self) -> Result<bool, Error> {
        let kept = self.catalog.kept_config()?;
        let Some(kept) = kept.filter(|kept| digest(&[kept]) == self.genesis()) else {
            return Ok(false);
        };
        self.put_back(layout::CONFIG, kept.into(), |there| self.is_config(there))
    }

    /// Puts an entry back. Returns false if another is there, or the store refuses.
    pub fn put_back_entry(&self, number: u64, object: Bytes) -> Result<bool, Error> {
        self.put_back(&layout::log(number), object, |there| {
            self.secrets.read_log(number, there).is_ok()
        })
    }

    fn is_config(&self, object: &[u8]) -> bool {
        Config::decode(object)
            .is_ok_and(|(config, body, mac)| self.secrets.verify_config(&config, body, mac).is_ok())
    }

    /// Creates an object that is missing, and replaces one that no host could use. One that is valid
    /// stays, whatever it says.
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
            // A bucket may forbid to replace anything.
            Err(error) if error.kind == StoreErrorKind::Denied => Ok(false),
            put => Ok(put?),
        }
    }
}
