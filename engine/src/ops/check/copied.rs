//! Restores damaged or missing packs byte for byte from another copy of the archive.

use std::ops::Range;

use bytes::Bytes;

use super::{Check, name, parity};
use crate::error::Error;
use crate::format::pack::HEADER_BYTES;
use crate::progress::{Progress, Unit};
use crate::repo::parity::is_of_log;
use crate::repo::{ChunkReader, PackRow, PackRowId, PackState};
use crate::store::{Store, StoreError, StoreErrorKind};

/// What was restored from other copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Number of packs that were restored.
    pub packs: u64,
    /// Number of those that are frozen in the archive, so that they were not read back.
    pub packs_frozen: u64,
    /// Number of bytes of the archive that were read for it.
    pub bytes_read: u64,
}

impl Check<'_> {
    /// Returns the packs that are missing or were found damaged.
    pub fn packs_to_put_back(&self) -> Result<Vec<PackRow>, Error> {
        let catalog = &self.repository.catalog;
        let lost = catalog.found_lost()?.into_iter().map(|(key, _)| key);
        let wanted: std::collections::BTreeSet<PackRowId> = self
            .bad_packs
            .keys()
            .copied()
            .chain(self.truncated.keys().copied())
            .chain(lost)
            .collect();
        let mut rows = Vec::new();
        for key in wanted {
            rows.extend(catalog.pack(key)?.filter(|row| row.state == PackState::Committed));
        }
        Ok(rows)
    }

    /// Restores packs from the first copy that has them as the log describes them. Then reads them again. A pack that is
    /// frozen in the archive cannot be read, so what was stored there is verified instead.
    pub fn put_back_packs(
        &mut self,
        rows: Vec<PackRow>,
        copies: &[Store],
        progress: &dyn Progress,
    ) -> Result<PutBack, Error> {
        progress.stage("putting objects back");
        progress.expect(Unit::Objects, rows.len() as u64, rows.iter().map(|row| row.bytes).sum());
        let reader = ChunkReader::new(self.repository)?;
        let before = self.repository.store.requests();
        let (mut put_back, mut packs_frozen) = (Vec::new(), 0);
        for row in rows {
            progress.check_interrupted()?;
            let Some(object) = copies.iter().find_map(|copy| intact(copy, &row)) else { continue };
            if !self.put_back_pack(&row, object.clone())? {
                continue;
            }
            if !self.read_pack(&reader, &row)? {
                packs_frozen += 1;
                let pack = reader.open_header(row.clone(), &slice(&object, 0..HEADER_BYTES as u64));
                let read = |range| Ok(slice(&object, range));
                let found = pack.and_then(|pack| reader.verify_pack(&pack, &read));
                self.was_verified(&row, found)?;
                self.repository.catalog.was_not_read(row.key)?;
            }
            progress.advance(1, row.bytes);
            put_back.push(row);
        }
        parity::check(self, &put_back.iter().collect::<Vec<_>>(), progress)?;
        let bytes_read = self.repository.store.requests().since(&before).bytes_fetched;
        Ok(PutBack { packs: put_back.len() as u64, packs_frozen, bytes_read })
    }

    /// Stores a pack again, unless it is intact. Returns false if another process has stored it in the meantime.
    fn put_back_pack(&mut self, row: &PackRow, object: Bytes) -> Result<bool, Error> {
        let store = &self.repository.store;
        let name = name(row);
        match store.get(&name, row.bytes) {
            Ok(there) if is_of_log(&there, row) => {}
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                if !store.create(&name, &row.class, object)? {
                    return Ok(false);
                }
            }
            Err(error) if !is_damage(&error) => return Err(error.into()),
            _ => store.replace_as(&name, &row.class, object)?,
        }
        self.bad_packs.remove(&row.key);
        self.truncated.remove(&row.key);
        self.errors.retain(|(damaged, _), _| *damaged != name);
        self.remember_missing()?;
        Ok(true)
    }
}

/// Returns a range of an object, or less of it beyond its end.
fn slice(object: &Bytes, range: Range<u64>) -> Bytes {
    let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(object.len());
    object.slice(usize::try_from(range.start).unwrap_or(end).min(end)..end)
}

/// Returns whether an error means that the object is damaged or frozen. If it is frozen, the check has found the damage
/// by the checksum.
fn is_damage(error: &StoreError) -> bool {
    let error = Error::from(error.clone());
    error.is_of_object() || error.is_frozen()
}

/// Returns the object of a pack from a copy, if it matches the log.
fn intact(copy: &Store, row: &PackRow) -> Option<Bytes> {
    let object = copy.get(&name(row), row.bytes).ok()?;
    (object.len() as u64 == row.bytes && is_of_log(&object, row)).then_some(object)
}
