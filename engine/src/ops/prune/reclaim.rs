//! Decides by price what to do with each pack. Does not read the clock, the store or the catalog.
//!
//! Let `f` be the dead fraction of a pack and `g` the price of keeping it for a month. The pack is
//! repacked if it is past the minimum days of its class and
//!
//! ```text
//! f·g·H ≥ retrieval + temporary copy + thaw request + gets + transfer out + (1 − f)·put
//! ```
//!
//! `H` is the time over which the saving counts. It is the horizon, but at most the average
//! remaining life of the live part if the pack keeps dying at the same rate, which is `age / −ln(1
//! − f)`. A pack that dies fast can soon be deleted for free. Over ten years, this rule costs less
//! than any fixed threshold (docs/prune.md).
//!
//! All figures are dollars for one pack, priced by [`Prices::bill`] and [`Prices::storage`] like
//! those of restores. The terms are those of S3 (the pricing page; the user guide, "Restoring an
//! archived object"): a thaw is billed for the whole pack, gets and transfer only for its live
//! chunks. The live part fills `1 − f` of a new pack in the same class.
//!
//! Other copies of the archive get the new pack, too, and are billed for the old one until its minimum days are over
//! there. So these prices count as well, and in a folder they are the only ones.
//!
//! An object that is deleted before its minimum days is billed as if it had stayed (S3 pricing
//! page). So deleting early saves nothing, and a younger pack waits.

use std::fmt;

use super::copied::{CopyCosts, InCopies};
use crate::format::{PackKind, Time};
use crate::ops::cost::Prices;
use crate::repo::reader::ALIGN_BYTES;
use crate::store::{ClassFacts, ObjectState, Provider, Requests, ThawNeed, Tier};

const DAYS_A_MONTH: f64 = 30.0;

/// A pack to decide about.
#[derive(Debug, Clone, PartialEq)]
pub struct PackUse {
    /// Kind of the pack.
    pub kind: PackKind,
    /// Storage class; empty for the store's default.
    pub class: String,
    /// Size of the whole object.
    pub bytes: u64,
    /// Number of whole days since the pack was committed. It was uploaded before that, so this is
    /// never too high.
    pub age_days: u32,
    /// Whether it can be read.
    pub state: ObjectState,
    /// How much of it is needed.
    pub usage: Usage,
    /// What the pack costs in other copies of the archive.
    pub in_copies: InCopies,
}

/// How much of a pack the kept snapshots need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// According to the log, no kept snapshot names the pack.
    Dead,
    /// The chunks were counted. Bytes are those of their frames.
    Counted {
        /// Bytes that are needed.
        live_bytes: u64,
        /// Bytes that are not.
        dead_bytes: u64,
        /// Number of the needed chunks.
        live_chunks: u64,
    },
}

/// The longest time over which savings count, in months of 30 days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Horizon {
    /// The number of months.
    pub months: f64,
}

impl Default for Horizon {
    fn default() -> Horizon {
        Horizon { months: 24.0 }
    }
}

/// The conditions for the decisions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The provider of the storage classes; `None` for a local folder, whatever its classes are
    /// called.
    pub provider: Option<Provider>,
    /// How far in the future a saving counts.
    pub horizon: Horizon,
    /// Whether the table of prices is that of the provider.
    pub prices_known: bool,
    /// Number of days for which temporary copies are kept.
    pub days_warm: u32,
    /// The tier of thaws.
    pub tier: Tier,
    /// Whether transfer out is free, because prune runs in the region of the bucket or within a
    /// free allowance.
    pub egress_free: bool,
    /// Whether to end the undelete window of all dropped snapshots now. Only the owner can do this.
    pub end_window: bool,
    /// Whether to thaw packs again that were thawed before and are cold again.
    pub thaw_again: bool,
    /// Minimum dead fraction from which packs of trees and small files are repacked, if that pays.
    pub hot_dead_fraction_min: f64,
    /// Minimum dead fraction from which packs in a local folder are repacked, which costs only
    /// time.
    pub local_dead_fraction_min: f64,
}

/// The inputs of a decision besides the pack itself.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// The terms.
    pub terms: &'a Terms,
    /// The prices of the store.
    pub prices: &'a Prices,
    /// The time, by the clock of the store if it has one.
    pub now: Time,
    /// Other copies of the archive.
    pub copies: &'a [CopyCosts],
}

impl<'a> Conditions<'a> {
    /// Adds other copies of the archive.
    pub fn with(self, copies: &'a [CopyCosts]) -> Conditions<'a> {
        Conditions { copies, ..self }
    }
}

impl Terms {
    /// Returns the conditions with these terms, without other copies.
    pub fn at<'a>(&'a self, prices: &'a Prices, now: Time) -> Conditions<'a> {
        Conditions { terms: self, prices, now, copies: &[] }
    }
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            provider: Some(Provider::S3),
            horizon: Horizon::default(),
            prices_known: true,
            days_warm: 2,
            tier: Tier::Bulk,
            egress_free: false,
            end_window: false,
            thaw_again: false,
            hot_dead_fraction_min: 0.25,
            local_dead_fraction_min: 0.10,
        }
    }
}

/// The decision about a pack. `Display` shows it to the user as one line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The pack stays.
    Keep(Why),
    /// The pack is completely dead, and deleting it ends its cost.
    Delete,
    /// The pack is completely dead, but for some days deleting it costs as much as keeping it.
    Wait {
        /// Days until deleting it costs nothing.
        free_in_days: u32,
    },
    /// The live chunks are copied to new packs, then the pack is deleted. A cold pack is thawed
    /// first. The saving is the one within the horizon.
    Repack {
        /// The saving, in dollars.
        saves_usd: f64,
        /// The cost of copying, in dollars.
        costs_usd: f64,
    },
}

/// The reason why a pack is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// All of it is needed.
    AllLive,
    /// Deleting the pack now would be billed like keeping it.
    TooYoung {
        /// Days until deleting it costs nothing.
        free_in_days: u32,
    },
    /// Too little of it is dead.
    BelowThreshold {
        /// The share of its bytes that is dead, from 0 to 1.
        dead_fraction: f64,
        /// The share from which such packs are repacked.
        dead_fraction_min: f64,
    },
    /// The saving within the horizon is less than the cost.
    DoesNotPay {
        /// The saving within the horizon, in dollars.
        saves_usd: f64,
        /// The cost of copying, in dollars.
        costs_usd: f64,
    },
    /// Repacking pays as soon as the pack can be read, because its thaw is already paid for.
    Thawing,
    /// Repacking would pay, but another copy is billed for the old pack for some more days.
    BilledInCopy {
        /// Days until deleting it costs nothing.
        free_in_days: u32,
    },
    /// A dropped snapshot that can still be undeleted needs the pack.
    Undelete,
    /// A kept snapshot needs chunks in the pack, but does not name it.
    Unnamed,
    /// A restore in progress has thawed the pack.
    Restoring,
    /// The run already moves as many chunks as it may.
    Later,
    /// The pack was thawed, but became cold again before it was read.
    ThawedInVain,
    /// The pack cannot be read, and icecore cannot thaw its class.
    NotReadable,
    /// The price of its class falls over time, and a copy would start at the highest price.
    OwnTiers,
    /// The pack is in a different class from the one that it was written with, and the rule that
    /// moved it would also move a copy.
    Moved,
    /// The price of its class is not known.
    NoPrice,
    /// A chunk in it is damaged or missing. It may be read again if a disk comes back or a store
    /// answers again.
    Damaged,
}

/// The one-time cost of repacking a pack, and the saving from then on, in dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RepackPrice {
    /// The saving of each month.
    pub saves_usd_per_month: f64,
    /// The cost.
    pub costs_usd: f64,
}

impl RepackPrice {
    /// Returns the saving in this many months.
    pub fn saves_usd(&self, months: f64) -> f64 {
        self.saves_usd_per_month * months
    }
}

/// Decides what to do with a pack.
pub fn decide(pack: &PackUse, terms: &Terms, prices: &Prices) -> Decision {
    let days_min = facts(pack, terms).map_or(0, |class| class.days_min);
    let free_in_days = days_min.saturating_sub(pack.age_days);
    match pack.usage {
        Usage::Dead | Usage::Counted { live_bytes: 0, live_chunks: 0, .. } => match free_in_days {
            0 => Decision::Delete,
            free_in_days => Decision::Wait { free_in_days },
        },
        Usage::Counted { dead_bytes: 0, .. } => Decision::Keep(Why::AllLive),
        Usage::Counted { .. } if free_in_days > 0 => Decision::Keep(Why::TooYoung { free_in_days }),
        Usage::Counted { live_bytes, dead_bytes, live_chunks } => {
            let share = Share::new(live_bytes, dead_bytes, live_chunks);
            repack_or_keep(pack, share, terms, prices).unwrap_or_else(Decision::Keep)
        }
    }
}

/// Prices the repacking of a partially live pack. A pack that is readable or being thawed has no
/// retrieval costs. In a local folder everything is free.
///
/// Returns `None` if the chunks were not counted or if there are none.
pub fn price(pack: &PackUse, terms: &Terms, prices: &Prices) -> Option<RepackPrice> {
    match pack.usage {
        Usage::Counted { live_bytes, dead_bytes, live_chunks }
            if live_bytes > 0 || dead_bytes > 0 =>
        {
            Some(Share::new(live_bytes, dead_bytes, live_chunks).price(pack, terms, prices))
        }
        _ => None,
    }
}

fn facts(pack: &PackUse, terms: &Terms) -> Option<&'static ClassFacts> {
    ClassFacts::find(terms.provider?, &pack.class)
}

/// Decides about a partially live pack that is past its minimum days.
fn repack_or_keep(
    pack: &PackUse,
    share: Share,
    terms: &Terms,
    prices: &Prices,
) -> Result<Decision, Why> {
    let need = facts(pack, terms).map_or(ThawNeed::None, |class| class.thaw);
    if need == ThawNeed::WhenArchived {
        return Err(Why::OwnTiers);
    }
    if !pack.state.is_readable() && need != ThawNeed::Days {
        return Err(Why::NotReadable);
    }
    let price = share.price(pack, terms, prices);
    // `max` comes first, so that a horizon of NaN becomes 0.
    let months = share.months_left(pack.age_days).min(terms.horizon.months.max(0.0));
    let (saves_usd, costs_usd) = (price.saves_usd(months), price.costs_usd);
    let dead_fraction_min = match terms.provider {
        None => terms.local_dead_fraction_min,
        Some(_) if pack.kind != PackKind::Cold && need == ThawNeed::None => {
            terms.hot_dead_fraction_min
        }
        Some(_) => 0.0,
    };
    let dead_fraction = share.dead_fraction;
    if dead_fraction < dead_fraction_min {
        return Err(Why::BelowThreshold { dead_fraction, dead_fraction_min });
    }
    let pays = saves_usd >= costs_usd;
    // Another copy may cost something although the archive is in a folder.
    let is_early = !pays && pack.in_copies.free_in_days > 0;
    let without = PackUse { in_copies: InCopies::default(), ..pack.clone() };
    let alone = share.price(&without, terms, prices);
    if is_early && alone.saves_usd(months) >= alone.costs_usd {
        return Err(Why::BilledInCopy { free_in_days: pack.in_copies.free_in_days });
    }
    if terms.provider.is_none() && !pays {
        return Err(Why::DoesNotPay { saves_usd, costs_usd });
    }
    if terms.provider.is_none() {
        return Ok(Decision::Repack { saves_usd, costs_usd });
    }
    if !terms.prices_known || !prices.has_class(&pack.class) {
        return Err(Why::NoPrice);
    }
    match pack.state {
        ObjectState::Thawing if pays => Err(Why::Thawing),
        _ if pays => Ok(Decision::Repack { saves_usd, costs_usd }),
        _ => Err(Why::DoesNotPay { saves_usd, costs_usd }),
    }
}

/// The live share of a pack.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Share of the bytes of all frames, from 0 to 1.
    fraction: f64,
    /// The dead share, computed by a separate division instead of `1 − fraction`, so that a tenth
    /// is exactly a tenth.
    dead_fraction: f64,
    chunks: u64,
}

impl Share {
    fn new(live_bytes: u64, dead_bytes: u64, chunks: u64) -> Share {
        let (live, dead) = (live_bytes as f64, dead_bytes as f64);
        let all = live + dead;
        Share { fraction: live / all, dead_fraction: dead / all, chunks }
    }

    /// Returns how long a live byte will live on average, if bytes keep dying at the same rate as
    /// since the pack was written. In an exponential decay, a share of `f` is dead after `−ln(1 −
    /// f)` mean lives.
    fn months_left(self, age_days: u32) -> f64 {
        f64::from(age_days) / DAYS_A_MONTH / -self.fraction.ln()
    }

    fn price(self, pack: &PackUse, terms: &Terms, prices: &Prices) -> RepackPrice {
        let InCopies { usd_per_month, put_usd, early_usd, .. } = pack.in_copies;
        let at_copies = RepackPrice {
            saves_usd_per_month: self.dead_fraction * usd_per_month,
            costs_usd: early_usd + self.fraction * put_usd,
        };
        if terms.provider.is_none() {
            return at_copies;
        }
        let class = &pack.class;
        let mut read = Requests::default();
        if pack.state == ObjectState::Cold {
            read.add_thaw(class, terms.tier, pack.bytes, terms.days_warm, true);
        }
        // At most one GET per live chunk, because neighbours are read together. Ranges are aligned.
        let live_bytes = (pack.bytes as f64 * self.fraction) as u64;
        read.add_get(class, pack.bytes.min(live_bytes + self.chunks * ALIGN_BYTES));
        let more = self.chunks.saturating_sub(1);
        read.get += more;
        read.class(class).get += more;
        let mut put = Requests::default();
        put.add_put(class, 0);
        let read = prices.bill(&read);
        let put = prices.bill(&put).total_usd();
        let egress_saved = if terms.egress_free { read.egress_usd } else { 0.0 };
        RepackPrice {
            saves_usd_per_month: self.dead_fraction * prices.storage(class, pack.bytes)
                + at_copies.saves_usd_per_month,
            costs_usd: read.total_usd() - egress_saved + self.fraction * put + at_copies.costs_usd,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Decision::Keep(why) => write!(f, "kept: {why}"),
            Decision::Delete => f.write_str("deleted: nothing needs it"),
            Decision::Wait { free_in_days } => {
                write!(f, "waits: unused; deleting is free in {}", days(free_in_days))
            }
            Decision::Repack { costs_usd: 0.0, .. } => {
                f.write_str("repacked: repacking is free here")
            }
            Decision::Repack { saves_usd, costs_usd } => {
                let (saves, costs) = (dollars(saves_usd), dollars(costs_usd));
                write!(f, "repacked: costs {costs}, saves {saves} within the horizon")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Why::AllLive => f.write_str("all of it is needed"),
            Why::TooYoung { free_in_days } => {
                let days = days(free_in_days);
                write!(f, "partly unused, but deleting it is free only in {days}")
            }
            Why::BelowThreshold { dead_fraction, dead_fraction_min } => {
                let (dead, min) = (dead_fraction * 100.0, dead_fraction_min * 100.0);
                write!(f, "{dead:.1} % of it is unused; objects are repacked from {min:.0} % on")
            }
            Why::DoesNotPay { saves_usd, costs_usd } => {
                let (saves, costs) = (dollars(saves_usd), dollars(costs_usd));
                write!(f, "repacking costs {costs} and saves {saves} within the horizon")
            }
            Why::BilledInCopy { free_in_days } => {
                let days = days(free_in_days);
                write!(f, "partly unused, but another copy would be billed for it for {days}")
            }
            Why::Thawing => f.write_str("being thawed; repacking pays once it can be read"),
            Why::Undelete => f.write_str("needed to undelete a dropped snapshot"),
            Why::Unnamed => f.write_str("a snapshot needs some of it, but does not name it"),
            Why::Restoring => f.write_str("thawed by a restore that is still in progress"),
            Why::Later => f.write_str("left for the next run: one run repacks only so much"),
            Why::ThawedInVain => {
                f.write_str("thawed before, but not repacked in time: --wait does both in one run")
            }
            Why::NotReadable => f.write_str("partly unused, but it cannot be read or thawed"),
            Why::OwnTiers => f.write_str("partly unused, but its class lowers the price by itself"),
            Why::Moved => {
                f.write_str("partly unused, but a rule of the bucket has moved it to another class")
            }
            Why::NoPrice => f.write_str("partly unused, but the price of its class is not known"),
            Why::Damaged => f.write_str(
                "partly unused, but it is damaged, and stays in case its data can be read again",
            ),
        }
    }
}

fn days(days: u32) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// Formats an amount for one pack, which is often far less than a cent.
fn dollars(usd: f64) -> String {
    format!("${usd:.6}")
}

pub(super) const DAY_SECONDS: i64 = 86_400;

/// Returns the number of whole days in a time span.
pub(super) fn whole_days(seconds: i64) -> u32 {
    u32::try_from((seconds / DAY_SECONDS).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
