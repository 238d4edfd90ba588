//! Changes the tags of existing snapshots.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::format::{LogEntry, SnapshotId, Tagged, Time};
use crate::repo::Repository;

/// Adds tags to snapshots, then removes others. Returns the snapshots that changed.
pub fn retag(
    repository: &Repository,
    ids: &BTreeSet<SnapshotId>,
    add: &[String],
    remove: &[String],
    time: Time,
) -> Result<Vec<Tagged>, Error> {
    let mut changed = Vec::new();
    repository.commit(|| {
        changed.clear();
        for row in repository.catalog.snapshots()? {
            let before = row.entry.tags;
            let mut tags = before.clone();
            for tag in add {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            tags.retain(|tag| !remove.contains(tag));
            if ids.contains(&row.entry.id) && tags != before {
                changed.push(Tagged { snapshot: row.entry.id, tags });
            }
        }
        let tagged = (!changed.is_empty()).then(|| changed.clone());
        let entry = LogEntry { tagged, ..LogEntry::new(time) };
        Ok((!entry.is_empty()).then_some(entry))
    })?;
    Ok(changed)
}
