//! Restores damaged or missing packs byte for byte from another copy of the archive.

use bytes::Bytes;

use super::Check;
use crate::error::Error;
use crate::progress::{Progress, Unit};
use crate::repo::parity::is_of_log;
use crate::repo::{PackRow, PackRowId, PackState};
use crate::store::{Store, StoreError, StoreErrorKind, layout};

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

    /// Restores packs from the first copy that has them as the log describes them. Then reads them again. Returns the
    /// number of restored packs.
    pub fn put_back_packs(
        &mut self,
        rows: Vec<PackRow>,
        copies: &[Store],
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        progress.stage("putting objects back");
        progress.expect(Unit::Objects, rows.len() as u64, rows.iter().map(|row| row.bytes).sum());
        let mut put_back = Vec::new();
        for row in rows {
            progress.check_interrupted()?;
            if self.put_back_pack(&row, copies)? {
                put_back.push(row);
            }
        }
        let count = put_back.len() as u64;
        self.read(&put_back, progress)?;
        Ok(count)
    }

    fn put_back_pack(&mut self, row: &PackRow, copies: &[Store]) -> Result<bool, Error> {
        let name = layout::pack(row.kind, &row.id);
        let Some(object) = copies.iter().find_map(|copy| intact(copy, &name, row)) else {
            return Ok(false);
        };
        let store = &self.repository.store;
        // Leave an intact pack alone, because it may have been restored in the meantime.
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

/// Returns whether an error means that the object is damaged or frozen. If it is frozen, the check has found the damage
/// by the checksum.
fn is_damage(error: &StoreError) -> bool {
    let error = Error::from(error.clone());
    error.is_of_object() || error.is_frozen()
}

/// Returns the object of a pack from a copy, if it matches the log.
fn intact(copy: &Store, name: &str, row: &PackRow) -> Option<Bytes> {
    let object = copy.get(name, row.bytes).ok()?;
    (object.len() as u64 == row.bytes && is_of_log(&object, row)).then_some(object)
}
