//! Computes what an archive costs each month, by class and by snapshot, from the catalog and from
//! listings.

use std::collections::BTreeMap;

use super::Prices;
use crate::error::Error;
use crate::format::{PackKind, SnapshotEntry};
use crate::repo::stored::{Inventory, Moved};
use crate::repo::{PackState, Repository};
use crate::store::{Listed, layout};

/// Objects of one class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClassCost {
    pub objects: u64,
    pub bytes: u64,
    pub usd_per_month: f64,
}

/// The packs of one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotCost {
    pub entry: SnapshotEntry,
    /// All packs that it needs, …
    pub bytes: u64,
    pub usd_per_month: f64,
    /// … and bytes of those that no other snapshot needs, which dropping it could free.
    pub own_bytes: u64,
    pub own_usd_per_month: f64,
}

/// The monthly bill of a repository.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monthly {
    /// By storage class in the store.
    pub classes: BTreeMap<String, ClassCost>,
    pub snapshots: Vec<SnapshotCost>,
    /// Packs that are in another class than they were written with.
    pub moved: Vec<Moved>,
}

impl Monthly {
    pub fn total_usd(&self) -> f64 {
        self.classes.values().map(|class| class.usd_per_month).sum()
    }
}

/// Computes the monthly bill of the objects in a listing, by their classes there.
pub fn monthly(repository: &Repository, prices: &Prices) -> Result<Monthly, Error> {
    let mut monthly = Monthly::default();
    let provider = repository.store.location().provider();
    let mut add = |class: &str, bytes: u64| {
        let class = provider.map_or(class, |provider| provider.class_name(class));
        let sum = monthly.classes.entry(class.to_owned()).or_default();
        let dollars = prices.storage(class, bytes);
        sum.objects += 1;
        sum.bytes += bytes;
        sum.usd_per_month += dollars;
        dollars
    };
    let committed = repository.catalog.packs(PackState::Committed)?;
    let tombstoned = repository.catalog.packs(PackState::Tombstoned)?;
    let mut inventory = Inventory::list(repository)?;
    let moved = inventory.moved(repository, &committed);
    // Bytes, dollars and users of each pack, by ordinal.
    let mut packs: BTreeMap<u64, (u64, f64, u32)> = BTreeMap::new();
    // A tombstoned pack is paid for until it is deleted.
    for pack in committed.iter().chain(&tombstoned) {
        let Some(object) = inventory.remove(pack) else { continue };
        let dollars = add(object.class.as_deref().unwrap_or(&pack.class), object.bytes);
        if let Some(ordinal) = pack.ordinal.filter(|_| pack.state == PackState::Committed) {
            packs.insert(ordinal, (object.bytes, dollars, 0));
        }
    }
    // Objects that the log does not name are uploads of an interrupted run, or of one in progress.
    let settings = repository.settings()?;
    let class_of = |object: &Listed| {
        let mut kinds = [PackKind::Hot, PackKind::Cold].into_iter();
        let kind = kinds.find(|kind| layout::pack_id(*kind, &object.name).is_some());
        let class = kind.map_or("", |kind| settings.class_of(kind)).to_owned();
        object.class.clone().unwrap_or(class)
    };
    for object in inventory.objects() {
        add(&class_of(object), object.bytes);
    }
    for prefix in [layout::LOG, layout::CHECKPOINTS, layout::KEYS] {
        for object in repository.store.list(prefix, None)? {
            add(&class_of(&object), object.bytes);
        }
    }
    monthly.moved = moved;
    let snapshots = repository.catalog.snapshots()?;
    for range in snapshots.iter().flat_map(|row| &row.entry.packs) {
        let end = range.first.saturating_add(range.count);
        for (_, (_, _, users)) in packs.range_mut(range.first..end) {
            *users += 1;
        }
    }
    for row in snapshots {
        let mut cost = SnapshotCost {
            bytes: 0,
            usd_per_month: 0.0,
            own_bytes: 0,
            own_usd_per_month: 0.0,
            entry: row.entry,
        };
        for range in &cost.entry.packs {
            let end = range.first.saturating_add(range.count);
            for (_, (bytes, dollars, users)) in packs.range(range.first..end) {
                cost.bytes += bytes;
                cost.usd_per_month += dollars;
                if *users == 1 {
                    cost.own_bytes += bytes;
                    cost.own_usd_per_month += dollars;
                }
            }
        }
        monthly.snapshots.push(cost);
    }
    Ok(monthly)
}
