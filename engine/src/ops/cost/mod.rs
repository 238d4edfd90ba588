//! Computes what requests and bytes cost: pure functions over a dated table of prices.
//!
//! A plan predicts [`Requests`], a run counts them, and one function prices both, so the shown
//! price can be compared with the final one.

mod monthly;

pub use monthly::{ClassCost, Monthly, SnapshotCost, monthly};

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::repo::{ClassReadPrice, ReadPrices};
use crate::store::{ClassFacts, Provider, Requests, Thaws, Tier};

const BUILT_IN: &str = include_str!("prices.toml");
/// Number of bytes in a GB on a bill.
pub const GB: f64 = (1u64 << 30) as f64;
/// Number of days in a month on a bill.
const MONTH_DAYS: f64 = 30.0;

/// Prices of one storage class, in US dollars.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassPrices {
    /// Price of keeping a GB (2
    /// 30 bytes) for a month.
    pub storage_per_gb_month: f64,
    /// Price of a thousand PUT requests.
    pub put_per_1000: f64,
    /// Price of a thousand GET or HEAD requests.
    pub get_per_1000: f64,
    /// Price per GB that is read, in addition to transfer.
    #[serde(default)]
    pub retrieval_per_gb: f64,
    /// Price of watching a thousand objects for a month, in INTELLIGENT_TIERING.
    #[serde(default)]
    pub monitoring_per_1000_objects_month: f64,
    /// `None` if it is not known, or if the class needs no thaw.
    pub thaw: Option<ThawPrices>,
}

/// Prices of thaws of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThawPrices {
    /// By the standard tier.
    pub standard: TierPrices,
    /// By the bulk tier.
    pub bulk: TierPrices,
}

/// Prices of thaws by one tier, in US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierPrices {
    /// Price of a thousand requests.
    pub per_1000: f64,
    /// Price of a GB that is retrieved.
    pub per_gb: f64,
}

/// A step in the price of transfer out.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressStep {
    /// GB per month up to which this step applies; the last step has no end.
    pub up_to_gb: Option<f64>,
    /// Price of a GB, in US dollars.
    pub per_gb: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    egress_free_gb: f64,
    egress: Vec<EgressStep>,
    class: BTreeMap<String, ClassPrices>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceTable {
    date: String,
    source: String,
    region: BTreeMap<String, Region>,
}

/// The prices of one region.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// The day on which the figures were read, as in 2026-11-24.
    pub date: String,
    /// The source of the figures.
    pub source: String,
    /// The region to which the prices apply.
    pub region: String,
    prices: Region,
}

/// A price in US dollars, split by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bill {
    /// Requests, including those for thaws.
    pub request_usd: f64,
    /// Retrieving bytes from an archive class or an infrequent-access class.
    pub retrieval_usd: f64,
    /// Temporary copies of thawed objects.
    pub temporary_storage_usd: f64,
    /// Transfer out of the store.
    pub egress_usd: f64,
}

impl Bill {
    /// Returns the sum.
    pub fn total_usd(&self) -> f64 {
        self.request_usd + self.retrieval_usd + self.temporary_storage_usd + self.egress_usd
    }

    /// Returns the sum of two bills.
    pub fn plus(self, more: Bill) -> Bill {
        Bill {
            request_usd: self.request_usd + more.request_usd,
            retrieval_usd: self.retrieval_usd + more.retrieval_usd,
            temporary_storage_usd: self.temporary_storage_usd + more.temporary_storage_usd,
            egress_usd: self.egress_usd + more.egress_usd,
        }
    }
}

impl Prices {
    /// Reads a table and selects the region, or the first region if it is not in the table.
    pub fn parse(text: &str, region: Option<&str>) -> Result<Prices, Error> {
        let fail = |reason: String| Error::Input { what: "the price table".into(), reason };
        let table: PriceTable =
            toml::from_str(text).map_err(|error| fail(error.message().to_owned()))?;
        let mut regions = table.region;
        let name = region.filter(|name| regions.contains_key(*name)).map(str::to_owned);
        let name = name.or_else(|| regions.keys().next().cloned());
        let name = name.ok_or_else(|| fail("it has no region".to_owned()))?;
        let prices = regions.remove(&name).expect("its name is from the table");
        let figures = prices.class.values().flat_map(|class| {
            let ThawPrices { standard, bulk } = class.thaw.unwrap_or_default();
            [
                class.storage_per_gb_month,
                class.put_per_1000,
                class.get_per_1000,
                class.retrieval_per_gb,
                class.monitoring_per_1000_objects_month,
                standard.per_1000,
                standard.per_gb,
                bulk.per_1000,
                bulk.per_gb,
            ]
        });
        let egress = prices.egress.iter().map(|step| step.per_gb).chain([prices.egress_free_gb]);
        if !figures.chain(egress).all(|price| price.is_finite() && price >= 0.0) {
            return Err(fail("a price is negative or not a number".to_owned()));
        }
        if !prices.class.contains_key("STANDARD") {
            return Err(fail(format!("region {name} has no class STANDARD")));
        }
        if prices.egress.last().is_none_or(|step| step.up_to_gb.is_some()) {
            return Err(fail(format!("the last step of egress of {name} must have no end")));
        }
        Ok(Prices { date: table.date, source: table.source, region: name, prices })
    }

    /// Returns the prices of a region from the table that is part of the program.
    pub fn built_in(region: Option<&str>) -> Prices {
        Prices::parse(BUILT_IN, region).expect("the built-in table is tested")
    }

    /// Returns the prices of a class, whose name may be in any case, as in [`ClassFacts::find`].
    fn find(&self, class: &str) -> Option<&ClassPrices> {
        let classes = &self.prices.class;
        let same = |name: &&String| name.eq_ignore_ascii_case(class);
        classes.get(class).or_else(|| Some(&classes[classes.keys().find(same)?]))
    }

    /// Returns the prices of a class; an unknown or empty one counts as STANDARD. Callers that show a price must say so
    /// if the class is unknown: see [`has_class`](Self::has_class) and [`gap`](Self::gap).
    pub fn class(&self, class: &str) -> &ClassPrices {
        self.find(class).unwrap_or_else(|| &self.prices.class["STANDARD"])
    }

    /// Returns whether a class is in the table. The store's default always is, as STANDARD.
    pub fn has_class(&self, class: &str) -> bool {
        class.is_empty() || self.find(class).is_some()
    }

    /// Returns a class that the requests use and whose price is not in the table.
    pub fn gap<'a>(&self, requests: &'a Requests) -> Option<&'a str> {
        let classes = requests.by_class.keys().find(|class| !self.has_class(class));
        let thaws = requests.thaws.keys().map(|(class, _)| class);
        let thaws = thaws.filter(|class| !class.is_empty());
        let mut thaws =
            thaws.filter(|class| self.find(class).is_none_or(|prices| prices.thaw.is_none()));
        classes.or_else(|| thaws.next()).map(|class| class.as_str())
    }

    /// Returns the number of GB that can be transferred out free of charge each month.
    pub fn egress_free_gb(&self) -> f64 {
        self.prices.egress_free_gb
    }

    /// Prices requests. Counts transfer out from the first byte, because it is not known here
    /// whether this month's free allowance is used up.
    pub fn bill(&self, requests: &Requests) -> Bill {
        let standard = self.class("STANDARD");
        let mut bill = Bill {
            request_usd: requests.list as f64 * standard.put_per_1000 / 1000.0,
            egress_usd: self.egress(requests.bytes_fetched as f64 / GB),
            ..Bill::default()
        };
        for (class, requests) in &requests.by_class {
            let prices = self.class(class);
            let puts = requests.put as f64 * prices.put_per_1000;
            let gets = requests.get as f64 * prices.get_per_1000;
            bill.request_usd += (puts + gets) / 1000.0;
            bill.retrieval_usd += requests.bytes_fetched as f64 / GB * prices.retrieval_per_gb;
        }
        for ((class, tier), thaws) in &requests.thaws {
            let Thaws { requests, bytes, byte_days } = *thaws;
            let thaw = self.class(class).thaw.unwrap_or_default();
            let prices = match tier {
                Tier::Bulk => thaw.bulk,
                Tier::Standard => thaw.standard,
            };
            bill.request_usd += requests as f64 * prices.per_1000 / 1000.0;
            bill.retrieval_usd += bytes as f64 / GB * prices.per_gb;
            let months = byte_days as f64 / GB / MONTH_DAYS;
            bill.temporary_storage_usd += months * standard.storage_per_gb_month;
        }
        bill
    }

    /// Prices requests like [`bill`](Self::bill), if `free_bytes` bytes of transfer out are still free in their
    /// month.
    pub fn bill_beyond(&self, requests: &Requests, free_bytes: u64) -> Bill {
        let billed = requests.bytes_fetched.saturating_sub(free_bytes);
        Bill { egress_usd: self.egress(billed as f64 / GB), ..self.bill(requests) }
    }

    /// Returns the price of reading, by class. Transfer out counts at the price of its first step.
    pub fn reading(&self) -> ReadPrices {
        let per_gb = self.prices.egress.first().map_or(0.0, |step| step.per_gb);
        let of = |class: &ClassPrices| ClassReadPrice {
            per_get: class.get_per_1000 / 1000.0,
            per_byte: (class.retrieval_per_gb + per_gb) / GB,
        };
        let by_class = self.prices.class.iter().map(|(name, class)| (name.clone(), of(class)));
        ReadPrices::Known { by_class: by_class.collect(), default: of(self.class("STANDARD")) }
    }

    /// Prices transfer out within one month.
    fn egress(&self, gb: f64) -> f64 {
        let mut dollars = 0.0;
        let mut from = 0.0;
        for step in &self.prices.egress {
            let until = step.up_to_gb.unwrap_or(f64::INFINITY).min(gb);
            dollars += (until - from).max(0.0) * step.per_gb;
            from = until.max(from);
        }
        dollars
    }

    /// Returns the price of storing an object, in dollars a month.
    pub fn storage(&self, class: &str, bytes: u64) -> f64 {
        let facts = ClassFacts::find(Provider::S3, class);
        let billed = facts.map_or(bytes, |facts| facts.billed_bytes(bytes));
        let beside = facts.map_or(0, |facts| facts.overhead_standard_bytes);
        let prices = self.class(class);
        billed as f64 / GB * prices.storage_per_gb_month
            + beside as f64 / GB * self.class("STANDARD").storage_per_gb_month
            + prices.monitoring_per_1000_objects_month / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CLASSES, ThawNeed};

    #[test]
    fn a_terabyte_in_deep_archive_is_a_dollar_a_month() {
        let prices = Prices::built_in(None);
        let dollars = prices.storage("DEEP_ARCHIVE", 64 << 20) * 16_384.0;
        assert!((1.0..1.03).contains(&dollars), "{dollars}");
        let mut requests = Requests::default();
        for _ in 0..1000 {
            requests.add_put("DEEP_ARCHIVE", 0);
        }
        assert!((prices.bill(&requests).total_usd() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_thaw_is_paid_for_by_request_by_gb_and_by_day() {
        let prices = Prices::built_in(Some("us-east-1"));
        let mut requests = Requests::default();
        requests.add_thaw("DEEP_ARCHIVE", Tier::Bulk, 1 << 30, 3, true);
        let bill = prices.bill(&requests);
        assert!((bill.request_usd - 0.000_025).abs() < 1e-12);
        assert!((bill.retrieval_usd - 0.0025).abs() < 1e-12);
        assert!((bill.temporary_storage_usd - 0.0023).abs() < 1e-12);
        requests.add_thaw("DEEP_ARCHIVE", Tier::Bulk, 1 << 30, 3, false);
        let again = prices.bill(&requests);
        assert_eq!(again.retrieval_usd, bill.retrieval_usd, "a warm object is not retrieved again");
    }

    #[test]
    fn transfer_out_has_steps() {
        let prices = Prices::built_in(None);
        let dollars = |gb: u64| {
            let requests = Requests { bytes_fetched: gb << 30, ..Requests::default() };
            prices.bill(&requests).egress_usd
        };
        assert!((dollars(1) - 0.09).abs() < 1e-9);
        assert!((dollars(10_240) - 921.6).abs() < 1e-6);
        assert!((dollars(10_241) - 921.685).abs() < 1e-6);
    }

    #[test]
    fn every_class_of_s3_has_a_price() {
        let table: PriceTable = toml::from_str(BUILT_IN).unwrap();
        for region in table.region.keys() {
            let prices = Prices::built_in(Some(region));
            for facts in CLASSES.iter().filter(|facts| facts.provider == Provider::S3) {
                let name = facts.name;
                assert!(prices.has_class(name), "{name} in {region}");
                let needs_thaw = facts.thaw != ThawNeed::None;
                assert_eq!(prices.class(name).thaw.is_some(), needs_thaw, "{name} in {region}");
                // Both tables find a name in any case.
                let lower = name.to_lowercase();
                assert_eq!(ClassFacts::find(Provider::S3, &lower), Some(facts));
                assert_eq!(prices.class(&lower), prices.class(name));
            }
            assert!(!prices.has_class("NO_SUCH_CLASS"));
        }
    }

    #[test]
    fn tables_that_cannot_price_are_refused() {
        for bad in ["nonsense", "date = \"x\"\nsource = \"y\"\n[region]\n"] {
            assert!(Prices::parse(bad, None).is_err());
        }
        let negative = BUILT_IN.replace("per_gb = 0.0025", "per_gb = -1.0");
        assert!(Prices::parse(&negative, None).is_err());
        let odd = BUILT_IN.replacen("egress_free_gb = 100", "egress_free_gb = nan", 1);
        assert!(Prices::parse(&odd, None).is_err());
        let endless = BUILT_IN.replace("    { per_gb = 0.05 },\n", "");
        assert!(Prices::parse(&endless, None).is_err());
    }
}
