//! Which packs of the log are in the store, by a listing: nothing is read, and nothing that is cold is asked for.

use std::collections::{HashMap, HashSet};

use crate::error::Error;
use crate::format::PackKind;
use crate::repo::{PackKey, PackState, Repository};
use crate::store::layout;

/// What a listing tells of the packs that the log has.
#[derive(Debug, Default)]
pub struct Present {
    /// Packs that are there, and as long as the log says.
    pub packs: HashSet<PackKey>,
    /// Packs that are not.
    pub absent: u64,
}

/// Looks for the packs that the log has.
pub fn present(repository: &Repository) -> Result<Present, Error> {
    // Before the listing: a pack that a snapshot adds meanwhile is listed first and in the log later.
    let rows = repository.catalog.packs(PackState::Committed)?;
    let mut listed = HashMap::new();
    for kind in [PackKind::Meta, PackKind::Hot, PackKind::Cold] {
        for object in repository.store.list(layout::prefix(kind), None)? {
            listed.insert(object.name, object.bytes);
        }
    }
    let mut present = Present::default();
    for row in rows {
        if listed.get(&layout::pack(row.kind, &row.id)) == Some(&row.bytes) {
            present.packs.insert(row.key);
        } else {
            present.absent += 1;
        }
    }
    Ok(present)
}
