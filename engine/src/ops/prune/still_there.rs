//! The packs by which a dropped snapshot is whole.

use crate::error::Error;
use crate::format::Ordinals;
use crate::repo::stored::Inventory;
use crate::repo::{PackRow, PackState, Repository};

/// Packs that a dropped snapshot may need.
pub(super) struct StillThere {
    /// Packs of the log that are not tombstoned.
    pub committed: Ordinals,
    /// Those that only writers have given up, and whose objects are still there.
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
