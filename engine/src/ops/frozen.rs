//! Detects objects that must stay readable but have been moved to an archive class: the log, checkpoints, trees, key
//! slots and small files. A backup host does not read them, so it would never notice, and the owner could not restore
//! anything right away. So a snapshot checks them, and a restore first thaws the listings that it needs.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::format::{Ordinals, PackKind};
use crate::ops::restore::RestorePlan;
use crate::progress::Progress;
use crate::repo::stored::is_archive;
use crate::repo::{PackState, Repository, SnapshotRow};
use crate::store::{ObjectName, StoreErrorKind, layout};

/// The small files, which are never put into an archive class.
pub const HOT: &str = "hot";
/// Prefixes of objects that must stay readable at any time: those that every command reads first, which are stored as
/// STANDARD, and the small files.
const PREFIXES: [&str; 5] = ["meta", layout::LOG, layout::CHECKPOINTS, layout::KEYS, HOT];

/// Objects under one prefix of the repository that are in an archive class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The prefix: `meta`, `log`, …
    pub prefix: &'static str,
    /// Their storage class.
    pub class: String,
    /// Number of objects in this class.
    pub objects: u64,
    /// Number of objects that were checked; there may be more.
    pub looked_at: u64,
}

/// Checks the first thousand objects of each prefix, with one request each. Names in `meta/` and `hot/` are random, so
/// these are a random sample; in `log/` they are the oldest entries.
pub fn frozen(repository: &Repository) -> Result<Vec<Frozen>, Error> {
    let store = &repository.store;
    let Some(provider) = store.location().provider() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for prefix in PREFIXES {
        let listed = match store.list_some(prefix) {
            // A role without the right to list this prefix is not responsible for it.
            Err(error) if error.kind == StoreErrorKind::Denied => continue,
            other => other?,
        };
        let looked_at = listed.len() as u64;
        let mut classes: BTreeMap<String, u64> = BTreeMap::new();
        for class in listed.into_iter().filter_map(|object| object.class) {
            if is_archive(provider, &class) {
                *classes.entry(class).or_default() += 1;
            }
        }
        found.extend(classes.into_iter().map(|(class, objects)| Frozen {
            prefix,
            class,
            objects,
            looked_at,
        }));
    }
    Ok(found)
}

/// Plans the thaw of the listings that a snapshot needs, and of one more that turned out to be frozen. The log shows
/// which packs these are.
pub fn plan_listings(
    repository: &Repository,
    row: &SnapshotRow,
    also: &ObjectName,
    progress: &dyn Progress,
) -> Result<RestorePlan, Error> {
    let needed = Ordinals::from_ranges(row.entry.packs.iter().copied());
    let rows = repository.catalog.packs(PackState::Committed)?.into_iter().filter(|pack| {
        let is_needed = pack.ordinal.is_some_and(|ordinal| needed.contains(ordinal));
        pack.kind == PackKind::Meta
            && (is_needed || *also == ObjectName::Pack(PackKind::Meta, pack.id))
    });
    let mut plan = RestorePlan::of_whole_packs(rows);
    plan.look(repository, progress)?;
    Ok(plan)
}
