//! Estimates the cost of an archive before it is created, from the size of the photos and the storage class. Does no
//! I/O.

use super::cold;
use super::cost::{Bill, Prices};
use crate::store::{ClassFacts, Requests, ThawNeed, Tier};

/// The estimated cost of photos in a storage class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Cost of the requests of the first upload.
    pub upload_usd: f64,
    /// Cost of keeping everything, in dollars a month.
    pub month_usd: f64,
    /// Cost of restoring everything once with the cheapest tier.
    pub back: Bill,
    /// Hours until everything is readable; 0 if it is readable immediately.
    pub back_hours: u32,
}

/// Estimates the cost of photos that are not stored yet, in packs of `pack_bytes`. Photos hardly compress, so
/// compression is ignored.
pub fn estimate(prices: &Prices, class: &ClassFacts, bytes: u64, pack_bytes: u64) -> Estimate {
    let pack_bytes = pack_bytes.max(1);
    let (full, rest) = (bytes / pack_bytes, bytes % pack_bytes);
    let packs = full + u64::from(rest > 0);
    let name = class.name;
    let mut upload = Requests::default();
    upload.class(name).put = packs;
    let storage = |bytes| if bytes > 0 { prices.storage(name, bytes) } else { 0.0 };
    let mut back = Requests { get: packs, bytes_fetched: bytes, ..Requests::default() };
    back.class(name).get = packs;
    back.class(name).bytes_fetched = bytes;
    let is_cold = class.thaw == ThawNeed::Days;
    if is_cold {
        let days = cold::days(bytes);
        for pack in 0..packs {
            let bytes = if pack < full { pack_bytes } else { rest };
            back.add_thaw(name, Tier::Bulk, bytes, days, true);
        }
    }
    Estimate {
        upload_usd: prices.bill(&upload).total_usd(),
        month_usd: full as f64 * storage(pack_bytes) + storage(rest),
        back: prices.bill(&back),
        back_hours: if is_cold { Tier::Bulk.hours(class) } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Provider;

    const PACK: u64 = 64 << 20;

    fn of(class: &str, bytes: u64) -> Estimate {
        let class = ClassFacts::find(Provider::S3, class).expect("a class");
        estimate(&Prices::built_in(None), class, bytes, PACK)
    }

    /// Checks the figures of docs/cost.md.
    #[test]
    fn a_terabyte_costs_what_the_guide_says() {
        let frozen = of("DEEP_ARCHIVE", 1 << 40);
        assert!((1.0..1.03).contains(&frozen.month_usd), "{frozen:?}");
        assert!((0.8..0.85).contains(&frozen.upload_usd), "{frozen:?}");
        assert!((98.0..100.0).contains(&frozen.back.total_usd()), "{frozen:?}");
        assert_eq!(frozen.back_hours, 48);
        let warm = of("GLACIER_IR", 1 << 40);
        assert!((4.0..4.2).contains(&warm.month_usd), "{warm:?}");
        assert!(warm.back.total_usd() > frozen.back.total_usd());
        assert_eq!(warm.back_hours, 0);
    }

    #[test]
    fn nothing_costs_nothing_and_more_costs_more() {
        let nothing = of("DEEP_ARCHIVE", 0);
        assert_eq!((nothing.upload_usd, nothing.month_usd), (0.0, 0.0));
        assert!(nothing.back.total_usd() < 1e-12);
        let (one, two) = (of("DEEP_ARCHIVE", PACK + 1), of("DEEP_ARCHIVE", 2 * PACK));
        assert!(one.month_usd < two.month_usd && one.back.total_usd() < two.back.total_usd());
        assert!((one.upload_usd - two.upload_usd).abs() < 1e-12);
    }
}
