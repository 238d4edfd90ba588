//! Objects that every command needs: the log and the listings (trees, key slots), if something has moved them to
//! an archive class, and the small files. A backup host does not read them, so it would never notice; the owner
//! could restore nothing at once. So a snapshot looks, and a restore thaws the listings that it needs first.

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
/// What everybody reads first, put as STANDARD, and the small files. All of it must stay readable at once.
const PREFIXES: [&str; 5] = ["meta", layout::LOG, layout::CHECKPOINTS, layout::KEYS, HOT];

/// Objects under one prefix of the repository that are in an archive class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// `meta`, `log`, …
    pub prefix: &'static str,
    pub class: String,
    pub objects: u64,
    /// Objects that were looked at; there may be more.
    pub looked_at: u64,
}

/// Looks for frozen listings: at the first thousand objects of each prefix, for one request each. Names in
/// `meta/` and `hot/` are random, so these are a sample of all; in `log/` they are the oldest.
pub fn frozen(repository: &Repository) -> Result<Vec<Frozen>, Error> {
    let store = &repository.store;
    let Some(provider) = store.location().provider() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for prefix in PREFIXES {
        let listed = match store.list_some(prefix) {
            // Who may not list it is not the one to look after it.
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

/// Plans the thaw of the listings that a snapshot needs, and of one more that turned out to be frozen.
/// The log says which they are.
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
