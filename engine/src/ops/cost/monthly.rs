//! Computes what an archive costs each month, by class and by snapshot, from the catalog and from
//! listings.

use std::collections::{BTreeMap, BTreeSet};

use super::Prices;
use crate::error::Error;
use crate::format::{PackKind, SnapshotEntry};
use crate::repo::stored::{Inventory, Moved};
use crate::repo::{PackState, Repository, SnapshotRow};
use crate::store::{Listed, StoreErrorKind, layout};

/// Objects of one class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassCost {
    /// Number of objects.
    pub objects: u64,
    /// Their total size.
    pub bytes: u64,
    /// What they cost, in dollars a month.
    pub usd_per_month: f64,
}

/// The packs of one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotCost {
    /// The snapshot.
    pub entry: SnapshotEntry,
    /// Bytes of all packs that it needs, …
    pub bytes: u64,
    /// What these packs cost, in dollars a month.
    pub usd_per_month: f64,
    /// … and bytes of those that no other snapshot needs, which dropping it could free.
    pub own_bytes: u64,
    /// What its own packs cost, in dollars a month.
    pub own_usd_per_month: f64,
}

/// The monthly bill of a repository.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monthly {
    /// By storage class in the store.
    pub classes: BTreeMap<String, ClassCost>,
    /// Each snapshot that is not dropped.
    pub snapshots: Vec<SnapshotCost>,
    /// Packs whose class in the store differs from the class that they were written with.
    pub moved: Vec<Moved>,
    /// Old versions of deleted objects that the bucket keeps, by class; not in `classes`. `None` if there are some but
    /// the credentials do not permit listing them.
    pub old_versions: Option<BTreeMap<String, ClassCost>>,
    /// Classes without a price. Their objects are counted, but not what they cost.
    pub unpriced: BTreeSet<String>,
    /// Prefixes that the credentials may not list, and that are not counted.
    pub unlisted: Vec<&'static str>,
}

impl Monthly {
    /// Returns the sum of all classes and old versions, in dollars a month.
    pub fn total_usd(&self) -> f64 {
        let old = self.old_versions.iter().flatten().map(|(_, cost)| cost);
        self.classes.values().chain(old).map(|cost| cost.usd_per_month).sum()
    }
}

/// Computes the monthly bill of the objects in a listing, by their classes there.
pub fn monthly(repository: &Repository, prices: &Prices) -> Result<Monthly, Error> {
    let mut monthly = Monthly::default();
    let provider = repository.store.location().provider();
    let mut count = |class: &str, bytes: u64| {
        let class = provider.map_or(class, |provider| provider.class_name(class));
        add(&mut monthly.classes, class, bytes, prices)
    };
    let committed = repository.catalog.packs(PackState::Committed)?;
    let tombstoned = repository.catalog.packs(PackState::Tombstoned)?;
    let mut inventory = Inventory::list(repository)?;
    let moved = inventory.moved(repository, &committed)?;
    let mut packs = PackCosts::new();
    // A tombstoned pack is billed until it is deleted.
    for pack in committed.iter().chain(&tombstoned) {
        let Some(object) = inventory.remove(pack) else { continue };
        let dollars = count(object.class.as_deref().unwrap_or(&pack.class), object.bytes);
        if let Some(ordinal) = pack.ordinal.filter(|_| pack.state == PackState::Committed) {
            packs.insert(ordinal, PackCost { bytes: object.bytes, usd: dollars, users: 0 });
        }
    }
    // Packs that the log does not name were uploaded by a run that was interrupted or is in progress.
    let settings = repository.settings()?;
    let class_of = |object: &Listed| {
        let mut kinds = [PackKind::Hot, PackKind::Cold].into_iter();
        let kind = kinds.find(|kind| layout::pack_id(*kind, &object.name).is_some());
        let class = kind.map_or("", |kind| settings.class_of(kind)).to_owned();
        object.class.clone().unwrap_or(class)
    };
    for object in inventory.objects() {
        count(&class_of(object), object.bytes);
    }
    for prefix in [layout::LOG, layout::CHECKPOINTS, layout::KEYS, layout::JOBS] {
        match repository.store.list(prefix, None) {
            // A backup host has no permission to list the jobs.
            Err(error) if error.kind == StoreErrorKind::Denied => monthly.unlisted.push(prefix),
            listed => listed?.iter().for_each(|object| _ = count(&class_of(object), object.bytes)),
        }
    }
    let config = layout::CONFIG.to_owned();
    for head in repository.store.heads(&[config]) {
        head?.iter().for_each(|head| _ = count(&head.class, head.bytes));
    }
    monthly.moved = moved;
    monthly.old_versions = old_versions(repository, prices)?;
    let old = monthly.old_versions.iter().flatten();
    let classes = monthly.classes.iter().chain(old).map(|(class, _)| class);
    monthly.unpriced = classes.filter(|class| !prices.has_class(class)).cloned().collect();
    monthly.snapshots = of_snapshots(repository.catalog.snapshots()?, packs);
    Ok(monthly)
}

/// Computes what old versions cost. Returns an empty map if the bucket keeps none.
fn old_versions(
    repository: &Repository,
    prices: &Prices,
) -> Result<Option<BTreeMap<String, ClassCost>>, Error> {
    let store = &repository.store;
    if !store.keeps_versions() {
        return Ok(Some(BTreeMap::new()));
    }
    let mut classes = BTreeMap::new();
    let provider = store.location().provider();
    let is_whole = store.old_versions(&mut |class, bytes| {
        let class = provider.map_or(class, |provider| provider.class_name(class));
        add(&mut classes, class, bytes, prices);
    })?;
    Ok(is_whole.then_some(classes))
}

/// Adds an object to the costs of its class, and returns its own cost.
fn add(classes: &mut BTreeMap<String, ClassCost>, class: &str, bytes: u64, prices: &Prices) -> f64 {
    let sum = classes.entry(class.to_owned()).or_default();
    let dollars = if prices.has_class(class) { prices.storage(class, bytes) } else { 0.0 };
    sum.objects += 1;
    sum.bytes += bytes;
    sum.usd_per_month += dollars;
    dollars
}

/// The monthly cost of a pack.
struct PackCost {
    bytes: u64,
    usd: f64,
    /// How many snapshots need it.
    users: u32,
}

/// The costs of packs, by their ordinals.
type PackCosts = BTreeMap<u64, PackCost>;

/// Computes what each snapshot costs, and which part of that no other snapshot needs.
fn of_snapshots(snapshots: Vec<SnapshotRow>, mut packs: PackCosts) -> Vec<SnapshotCost> {
    for range in snapshots.iter().flat_map(|row| &row.entry.packs) {
        let end = range.first.saturating_add(range.count);
        for (_, pack) in packs.range_mut(range.first..end) {
            pack.users += 1;
        }
    }
    let cost = |row: SnapshotRow| {
        let mut cost = SnapshotCost {
            bytes: 0,
            usd_per_month: 0.0,
            own_bytes: 0,
            own_usd_per_month: 0.0,
            entry: row.entry,
        };
        for range in &cost.entry.packs {
            let end = range.first.saturating_add(range.count);
            for (_, pack) in packs.range(range.first..end) {
                cost.bytes += pack.bytes;
                cost.usd_per_month += pack.usd;
                if pack.users == 1 {
                    cost.own_bytes += pack.bytes;
                    cost.own_usd_per_month += pack.usd;
                }
            }
        }
        cost
    };
    snapshots.into_iter().map(cost).collect()
}
