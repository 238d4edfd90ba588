//! Parity of the packs of a repository in a folder: an object per pack from which damage is repaired.
//!
//! Disks lose sectors; the provider of a bucket protects against that itself. Nothing depends on parity: a pack without
//! it is equally valid, and a healed pack is used only if it agrees with the log.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{PackRow, Repository, SealedPack};
use crate::codec::keys::digest;
use crate::codec::parity::{heal, protect, protected_bytes};
use crate::error::Error;
use crate::format::pack::{HEADER_BYTES, tail_bytes};
use crate::format::parity::{PARITY_BYTES_MAX, Parity};
use crate::progress::{Problem, Progress};
use crate::store::layout;

/// Number of healed packs that are kept in memory, because the chunks of a damaged pack are usually requested one after
/// the other.
const HEALED_MAX: usize = 2;

impl Repository {
    /// Computes the parity of a pack, if this repository has parity.
    pub(super) fn parity_of(&self, pack: &SealedPack) -> Result<Option<Bytes>, Error> {
        if self.store.location().is_remote() {
            return Ok(None);
        }
        let percent = self.settings()?.parity_percent;
        Ok(percent.map(|percent| protect(pack.record.id, &pack.object, percent).into()))
    }

    /// Returns the length of the parity of a pack of this length; 0 if this repository has no parity.
    pub fn parity_bytes(&self, pack_bytes: u64) -> Result<u64, Error> {
        if self.store.location().is_remote() {
            return Ok(0);
        }
        let percent = self.settings()?.parity_percent;
        Ok(percent.map_or(0, |percent| protected_bytes(pack_bytes, percent)))
    }

    /// Reads the parity object of a pack; `None` if it has none.
    pub fn read_parity(&self, row: &PackRow) -> Result<Option<Bytes>, Error> {
        let name = layout::parity(&row.id);
        if self.store.location().is_remote() || self.store.length(&name)?.is_none() {
            return Ok(None);
        }
        // Apart from its heads and padding, parity is never larger than the pack.
        let bytes_max = PARITY_BYTES_MAX.min(2 * row.bytes + (1 << 20));
        Ok(Some(self.store.salvage(&name, 0..bytes_max)?))
    }

    /// Heals a damaged pack with its parity and returns its original bytes; `None` if it has no parity or too much is
    /// lost. Keeps the last few packs in memory.
    pub fn heal(&self, row: &PackRow) -> Result<Option<Bytes>, Error> {
        // One at a time, because healing needs much memory.
        let mut healed = self.healed.lock().expect("nothing panics here");
        if let Some((_, object)) = healed.recent.iter().find(|(id, _)| *id == row.id) {
            return Ok(Some(object.clone()));
        }
        if healed.lost.contains(&row.id) {
            return Ok(None);
        }
        let Some(object) = self.try_heal(row)? else {
            healed.lost.insert(row.id);
            return Ok(None);
        };
        healed.unreported.insert(layout::pack(row.kind, &row.id));
        if healed.recent.len() >= HEALED_MAX {
            healed.recent.pop_front();
        }
        healed.recent.push_back((row.id, object.clone()));
        Ok(Some(object))
    }

    /// Writes the parity of a pack again, if the pack agrees with the log. Returns whether it did.
    pub fn renew_parity(&self, row: &PackRow) -> Result<bool, Error> {
        let Some(percent) = self.settings()?.parity_percent else { return Ok(false) };
        let object = self.store.salvage(&layout::pack(row.kind, &row.id), 0..row.bytes)?;
        if !is_of_log(&object, row) {
            return Ok(false);
        }
        let parity = protect(row.id, &object, percent);
        self.store.replace(&layout::parity(&row.id), parity.into())?;
        Ok(true)
    }

    fn try_heal(&self, row: &PackRow) -> Result<Option<Bytes>, Error> {
        let object = match self.read_parity(row) {
            Err(error) if error.is_of_object() => None,
            read => read?,
        };
        let Some(object) = object else { return Ok(None) };
        let parity = match Parity::decode(&object) {
            Ok(parity) if parity.head.pack == row.id && parity.head.pack_bytes == row.bytes => {
                parity
            }
            _ => return Ok(None),
        };
        // A pack that is missing or cannot be read cannot be healed.
        let name = layout::pack(row.kind, &row.id);
        let damaged = match self.store.salvage(&name, 0..row.bytes) {
            Err(error) if Error::from(error.clone()).is_of_object() => return Ok(None),
            read => read?,
        };
        Ok(heal(&damaged, &parity).map(Bytes::from).filter(|pack| is_of_log(pack, row)))
    }

    /// Returns the names of the packs that were healed since the last call.
    pub fn take_healed(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.healed.lock().expect("nothing panics here").unreported)
    }

    /// Reports the packs that were healed since the last call.
    pub fn report_healed(&self, progress: &dyn Progress) {
        for name in self.take_healed() {
            let message = "it is damaged, but its parity repaired the data that was read; \
             `icecore check --read-data` finds all damage";
            progress.problem(Problem { path: name.into(), message: message.to_owned() });
        }
    }
}

/// Returns whether these bytes are the pack that the log names.
pub(crate) fn is_of_log(pack: &Bytes, row: &PackRow) -> bool {
    has_ends_of_log(pack, row)
        && crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, pack) == row.crc64
}

/// Returns whether the header and the table are those of the pack that the log names.
pub(crate) fn has_ends_of_log(pack: &Bytes, row: &PackRow) -> bool {
    let tail =
        usize::try_from(tail_bytes(row.rows)).ok().and_then(|tail| pack.len().checked_sub(tail));
    let tail = tail.filter(|tail| *tail >= HEADER_BYTES);
    tail.is_some_and(|tail| digest(&[&pack[..HEADER_BYTES], &pack[tail..]]) == row.digest)
}
