//! The costs that a prune of the archive causes in other copies of it.
//!
//! A mirror follows its archive: it gets the new packs, and deletes an old one when the minimum days of its class are
//! over there. Until then, the old pack is billed in the copy.

use crate::format::Time;
use crate::ops::cost::Prices;
use crate::repo::{OtherCopy, PackRow};
use crate::store::{ClassFacts, Requests, layout};

const DAY_SECONDS: i64 = 86_400;
const DAYS_A_MONTH: f64 = 30.0;

/// Another copy of the archive, with its prices.
#[derive(Debug, Clone)]
pub struct CopyCosts {
    /// The copy.
    pub copy: OtherCopy,
    /// The prices of its store.
    pub prices: Prices,
}

/// What a pack costs in all other copies together, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InCopies {
    /// Price of keeping it.
    pub usd_per_month: f64,
    /// Price of copying a pack that replaces all of it.
    pub put_usd: f64,
    /// What is still billed for it if it is removed now.
    pub early_usd: f64,
    /// Number of days for which it is billed.
    pub free_in_days: u32,
}

impl CopyCosts {
    /// Returns the number of days until the minimum days of a pack are over in this copy; `None` if it does not have the
    /// pack.
    pub fn free_in_days(&self, row: &PackRow, now: Time) -> Option<u32> {
        let (class, modified) = self.copy.stored(&layout::pack(row.kind, &row.id))?;
        let provider = self.copy.store.location().provider()?;
        let days_min = ClassFacts::find(provider, class).map_or(0, |facts| facts.days_min);
        let over = modified.saturating_add(i64::from(days_min) * DAY_SECONDS);
        let left = over.saturating_sub(now.seconds).max(0);
        Some(u32::try_from(left.saturating_add(DAY_SECONDS - 1) / DAY_SECONDS).unwrap_or(u32::MAX))
    }

    /// Adds what a pack costs in this copy.
    pub(super) fn add(&self, all: &mut InCopies, row: &PackRow, now: Time) {
        let Some(days) = self.free_in_days(row, now) else { return };
        let name = layout::pack(row.kind, &row.id);
        let class = self.copy.stored(&name).map_or("", |(class, _)| class);
        let usd_per_month = self.prices.storage(class, row.bytes);
        let mut put = Requests::default();
        put.add_put(class, 0);
        all.usd_per_month += usd_per_month;
        all.put_usd += self.prices.bill(&put).total_usd();
        all.early_usd += usd_per_month * f64::from(days) / DAYS_A_MONTH;
        all.free_in_days = all.free_in_days.max(days);
    }
}
