//! Which packs of the log are in the store, by a listing: nothing is read, and nothing that is cold is asked for.

use std::collections::HashSet;

use crate::error::Error;
use crate::repo::stored::Inventory;
use crate::repo::{PackRowId, PackState, Repository};

/// What a listing shows of the packs that the log has.
#[derive(Debug, Default)]
pub struct Present {
    /// Packs that are there, and as long as the log says.
    pub packs: HashSet<PackRowId>,
    /// Packs that are not.
    pub absent: u64,
}

/// Looks for the packs that the log has.
pub fn present(repository: &Repository) -> Result<Present, Error> {
    // Before the listing: a pack that a snapshot adds at the same time is listed first and in the log later.
    let rows = repository.catalog.packs(PackState::Committed)?;
    let listed = Inventory::list(repository)?;
    let mut present = Present::default();
    for row in rows {
        if listed.find(&row).is_some_and(|object| object.bytes == row.bytes) {
            present.packs.insert(row.key);
        } else {
            present.absent += 1;
        }
    }
    Ok(present)
}
