//! Copies of what the log and `config` were: those that this host keeps, and checkpoints. With them
//! an object that is damaged or missing is put back as it was, byte for byte (spec section 6.6).

use bytes::Bytes;

use super::Repository;
use crate::codec::keys::digest;
use crate::error::Error;
use crate::format::checkpoint::CHECKPOINT_BYTES_MAX;
use crate::format::config::CONFIG_BYTES_MAX;
use crate::format::log::ENTRY_BYTES_MAX;
use crate::format::{Checkpoint, Config, Digest};
use crate::store::{StoreErrorKind, layout};

impl Repository {
    /// Finds a copy of an entry; its digest proves it.
    pub fn copy_of_entry(&self, number: u64, wanted: Digest) -> Result<Option<Bytes>, Error> {
        let kept = self.catalog.kept_entry(number)?;
        if let Some(kept) = kept.filter(|kept| digest(&[kept]) == wanted) {
            return Ok(Some(kept.into()));
        }
        let listed = self.checkpoints().unwrap_or_default();
        for range in listed.into_iter().filter(|range| range.contains(&number)) {
            let name = layout::checkpoint(&range);
            let Ok(object) = self.store.get(&name, CHECKPOINT_BYTES_MAX) else { continue };
            let at = (number - range.start()) as usize;
            let entries = Checkpoint::decode(&object).map(|found| found.entries);
            let entry = entries.ok().and_then(|entries| entries.get(at).copied());
            if let Some(entry) = entry.filter(|entry| digest(&[entry]) == wanted) {
                return Ok(Some(object.slice_ref(entry)));
            }
        }
        Ok(None)
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

    /// Puts `config` back. Returns whether that was done: nobody keeps it, or the store refuses.
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

    /// Creates an object that is missing, and replaces one that nobody could use. One that is valid
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
