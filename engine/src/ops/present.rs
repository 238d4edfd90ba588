//! Finds out from a listing which packs of the log are in the store. Reads no pack, and makes no
//! request to a cold one.

use std::collections::HashSet;

use crate::error::Error;
use crate::repo::stored::Inventory;
use crate::repo::{PackRowId, PackState, Repository};

/// What a listing shows about the packs in the log.
#[derive(Debug, Default)]
pub struct Present {
    /// Packs that exist and are as long as the log states.
    pub packs: HashSet<PackRowId>,
    /// Packs that are missing or truncated. Packs that a repair has given up as lost are not counted, because `check`
    /// does not report them either.
    pub absent: u64,
}

/// Lists the packs of the log.
pub fn present(repository: &Repository) -> Result<Present, Error> {
    // Read the log before the listing, because a pack of a concurrent snapshot is in the listing
    // before it is in the log.
    let rows = repository.catalog.packs(PackState::Committed)?;
    let given_up = repository.catalog.lost_whole()?;
    let listed = Inventory::list(repository)?;
    let mut present = Present::default();
    for row in rows {
        if listed.find(&row).is_some_and(|object| object.bytes == row.bytes) {
            present.packs.insert(row.key);
        } else if !given_up.contains(&row.key) {
            present.absent += 1;
        }
    }
    Ok(present)
}
