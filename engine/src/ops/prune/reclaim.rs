//! What becomes of each pack, by price. Pure: never reads the clock, the store or the catalog.
//!
//! With `f` for the dead fraction and `g` for the price of keeping the pack a month, a pack is
//! repacked if it is past its class's minimum days and
//!
//! ```text
//! f·g·H ≥ retrieval + temporary copy + thaw request + gets + transfer out + (1 − f)·put
//! ```
//!
//! `H` is how long the saving is counted: the horizon, but no longer than what is left of the pack
//! will last if it goes on dying as it has, `age / −ln(1 − f)` in the mean. What dies fast is soon
//! gone for nothing; over ten years that beats every fixed threshold (docs/prune.md).
//!
//! All figures are dollars for the one pack, priced by [`Prices::bill`] and [`Prices::storage`], as
//! restores are. The terms are those of S3 (the pricing page; the user guide, "Restoring an archived
//! object"): the thaw is paid for the whole pack, the gets and the transfer for its live chunks
//! alone. What they leave of a pack is `1 − f` of a new one. It stays in the same class.
//!
//! Deleting an object before its minimum days is billed as if it had stayed (S3 pricing page), so
//! deleting early gains nothing, and whatever is younger waits.

use std::fmt;

use crate::format::PackKind;
use crate::ops::cost::Prices;
use crate::repo::reader::ALIGN_BYTES;
use crate::store::{ClassFacts, ObjectState, Provider, Requests, ThawNeed, Tier};

const DAYS_A_MONTH: f64 = 30.0;

/// A pack to decide on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackUse {
    pub kind: PackKind,
    /// Storage class; empty for the store's default.
    pub class: String,
    /// Bytes of the whole object.
    pub bytes: u64,
    /// Whole days since it was committed. It was uploaded before, so this is never too much.
    pub age_days: u32,
    pub state: ObjectState,
    pub usage: Usage,
}

/// How much of a pack the kept snapshots need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// No snapshot names it, by the log alone.
    Dead,
    /// Its chunks were counted. Bytes are stored bytes of frames.
    Counted { live_bytes: u64, dead_bytes: u64, live_chunks: u64 },
}

/// How long what repacking saves is counted at most, in months of 30 days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Horizon {
    pub months: f64,
}

impl Default for Horizon {
    fn default() -> Horizon {
        Horizon { months: 24.0 }
    }
}

/// What decisions are made under.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Whose classes they are; `None` for a local folder, whatever the classes are called.
    pub provider: Option<Provider>,
    pub horizon: Horizon,
    /// The table of prices is that of the provider.
    pub prices_known: bool,
    /// How long temporary copies are kept, in days.
    pub days_warm: u32,
    /// How packs are thawed.
    pub tier: Tier,
    /// Transfer out costs nothing: prune runs beside the bucket, or inside a free allowance.
    pub egress_free: bool,
    /// Nothing stays only because a dropped snapshot can be undeleted with it.
    pub end_window: bool,
    /// Thaw also what was thawed before and is cold again.
    pub thaw_again: bool,
    /// From which dead fraction on packs of trees and small files are repacked, if that pays.
    pub hot_dead_fraction_min: f64,
    /// From which dead fraction on packs in a local folder are repacked: that takes only time.
    pub local_dead_fraction_min: f64,
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

/// What becomes of a pack. Its text is one line for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    Keep(Why),
    /// It is wholly dead, and deleting it ends its cost.
    Delete,
    /// It is wholly dead, and until then deleting it costs what keeping it costs.
    Wait {
        free_in_days: u32,
    },
    /// Its live chunks go to new packs, then it is deleted. What is saved, is saved within the
    /// horizon. A pack that is cold is thawed first.
    Repack {
        saves_usd: f64,
        costs_usd: f64,
    },
}

/// Why a pack is kept as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    AllLive,
    /// Deleting what is left of it would be billed as keeping it.
    TooYoung {
        free_in_days: u32,
    },
    BelowThreshold {
        dead_fraction: f64,
        dead_fraction_min: f64,
    },
    /// Within the horizon.
    DoesNotPay {
        saves_usd: f64,
        costs_usd: f64,
    },
    /// It pays once it can be read, and somebody has paid for the thaw already.
    Thawing,
    /// A dropped snapshot that can be undeleted needs it.
    Undelete,
    /// A kept snapshot needs some of it, and does not name it among its packs.
    Unnamed,
    /// A restore that is under way has thawed it.
    Restoring,
    /// One run moves no more.
    Later,
    /// It was thawed, and cold again before anybody came for it.
    ThawedInVain,
    /// It cannot be read, and it is in no class that icecore thaws.
    NotReadable,
    /// Its price falls by itself, and a copy would begin at the highest one.
    OwnTiers,
    /// It lies in another class than it was written with: a rule of the bucket would move the copy too.
    Moved,
    /// The price of its class is not known.
    NoPrice,
}

/// What repacking one pack costs once, and saves from then on; in dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RepackPrice {
    pub saves_usd_per_month: f64,
    pub costs_usd: f64,
}

impl RepackPrice {
    /// Returns what is saved in so many months.
    pub fn saves_usd(&self, months: f64) -> f64 {
        self.saves_usd_per_month * months
    }
}

/// Decides what becomes of a pack.
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

/// Prices repacking, of a pack that is partly dead. A pack that can be read, or is being thawed,
/// has no retrieval to pay for. In a local folder nothing costs anything.
///
/// Returns nothing if the chunks were not counted, or there are none.
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

/// Decides on a pack that is partly dead and may be deleted at no loss.
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
    // Written so that a horizon that is no number saves nothing.
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
    if terms.provider.is_none() {
        return Ok(Decision::Repack { saves_usd, costs_usd });
    }
    if !terms.prices_known || !prices.has_class(&pack.class) {
        return Err(Why::NoPrice);
    }
    let pays = saves_usd >= costs_usd;
    match pack.state {
        ObjectState::Thawing if pays => Err(Why::Thawing),
        _ if pays => Ok(Decision::Repack { saves_usd, costs_usd }),
        _ => Err(Why::DoesNotPay { saves_usd, costs_usd }),
    }
}

/// What is live of a pack.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Of the stored bytes of all frames, from 0 to 1.
    fraction: f64,
    /// The rest of them; divided by itself, so that a tenth is a tenth.
    dead_fraction: f64,
    chunks: u64,
}

impl Share {
    fn new(live_bytes: u64, dead_bytes: u64, chunks: u64) -> Share {
        let (live, dead) = (live_bytes as f64, dead_bytes as f64);
        let all = live + dead;
        Share { fraction: live / all, dead_fraction: dead / all, chunks }
    }

    /// Returns how long a byte that lives will live on in the mean, if bytes go on dying as they have
    /// since the pack was written: in an exponential decay a share of `f` is dead after
    /// `−ln(1 − f)` mean lives.
    fn months_left(self, age_days: u32) -> f64 {
        f64::from(age_days) / DAYS_A_MONTH / -self.fraction.ln()
    }

    fn price(self, pack: &PackUse, terms: &Terms, prices: &Prices) -> RepackPrice {
        if terms.provider.is_none() {
            return RepackPrice { saves_usd_per_month: 0.0, costs_usd: 0.0 };
        }
        let class = &pack.class;
        let mut read = Requests::default();
        if pack.state == ObjectState::Cold {
            read.add_thaw(class, terms.tier, pack.bytes, terms.days_warm, true);
        }
        // At most one for each live chunk, as neighbours are read together; ranges begin and end at
        // multiples of their alignment.
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
            saves_usd_per_month: self.dead_fraction * prices.storage(class, pack.bytes),
            costs_usd: read.total_usd() - egress_saved + self.fraction * put,
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
        }
    }
}

fn days(days: u32) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// Shows dollars of one pack, which are often far less than a cent.
fn dollars(usd: f64) -> String {
    format!("${usd:.6}")
}

#[cfg(test)]
mod tests;
