//! Finds the packs that still exist and that a dropped snapshot may rely on.

use crate::error::Error;
use crate::format::Ordinals;
use crate::repo::stored::Inventory;
use crate::repo::{PackRow, PackState, Repository};

/// The packs that a dropped snapshot may rely on. If it needs any other pack, it cannot be
/// undeleted.
pub(super) struct StillThere {
    /// Packs of the log that are not tombstoned.
    pub committed: Ordinals,
    /// Packs that only writers have tombstoned and whose objects still exist.
    pub given_up: Ordinals,
}

impl StillThere {
    pub fn of(
        repository: &Repository,
        committed: &[PackRow],
        inventory: &Inventory,
    ) -> Result<StillThere, Error> {
        let given_up = repository.catalog.packs(PackState::Tombstoned)?.into_iter();
        let given_up = given_up.filter(|row| row.by_writer && inventory.find(row).is_some());
        Ok(StillThere {
            committed: committed.iter().filter_map(|row| row.ordinal).collect(),
            given_up: given_up.filter_map(|row| row.ordinal).collect(),
        })
    }
}
