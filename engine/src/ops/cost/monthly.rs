//! What an archive costs each month, by class and by snapshot. Reads the catalog and listings.

use std::collections::BTreeMap;

use super::Prices;
use crate::error::Error;
use crate::format::{PackKind, SnapshotEntry};
use crate::repo::{PackState, Repository};
use crate::store::layout;

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
    /// … and those that no other snapshot needs: what dropping it could save.
    pub own_bytes: u64,
    pub own_usd_per_month: f64,
}

/// The monthly bill of a repository.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monthly {
    /// By storage class; the key is empty for the store's default.
    pub classes: BTreeMap<String, ClassCost>,
    pub snapshots: Vec<SnapshotCost>,
}

impl Monthly {
    pub fn total_usd(&self) -> f64 {
        self.classes.values().map(|class| class.usd_per_month).sum()
    }
}

/// Computes the monthly bill.
pub fn monthly(repository: &Repository, prices: &Prices) -> Result<Monthly, Error> {
    let mut monthly = Monthly::default();
    let mut add = |class: &str, bytes: u64| {
        let sum = monthly.classes.entry(class.to_owned()).or_default();
        let dollars = prices.storage(class, bytes);
        sum.objects += 1;
        sum.bytes += bytes;
        sum.usd_per_month += dollars;
        dollars
    };
    // Bytes, dollars and users of each pack, by ordinal.
    let mut packs: BTreeMap<u64, (u64, f64, u32)> = BTreeMap::new();
    let mut known = std::collections::HashSet::new();
    // A tombstoned pack is paid for until it is deleted.
    for state in [PackState::Committed, PackState::Tombstoned] {
        for pack in repository.catalog.packs(state)?.into_iter().filter(|pack| pack.bytes > 0) {
            let dollars = add(&pack.class, pack.bytes);
            known.insert(layout::pack(pack.kind, &pack.id));
            if let Some(ordinal) = pack.ordinal.filter(|_| state == PackState::Committed) {
                packs.insert(ordinal, (pack.bytes, dollars, 0));
            }
        }
    }
    let settings = repository.settings()?;
    let [meta, hot, cold] = [PackKind::Meta, PackKind::Hot, PackKind::Cold].map(layout::prefix);
    let (hot_class, pack_class) = (&settings.hot_class[..], &settings.pack_class[..]);
    for (prefix, class) in [
        (layout::LOG, ""),
        (layout::CHECKPOINTS, ""),
        (layout::KEYS, ""),
        (meta, ""),
        (hot, hot_class),
        (cold, pack_class),
    ] {
        // What the log does not know are uploads of a run that was interrupted, or goes on.
        for object in repository.store.list(prefix, None)? {
            if !known.contains(&object.name) {
                add(class, object.bytes);
            }
        }
    }
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
