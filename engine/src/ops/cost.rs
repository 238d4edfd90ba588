//! What requests and bytes cost: a pure function over a dated table of prices.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::store::Requests;

const BUILT_IN: &str = include_str!("prices.toml");
const GB: f64 = (1u64 << 30) as f64;

/// Prices of one storage class, in US dollars.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassPrices {
    pub storage_per_gb_month: f64,
    pub put_per_1000: f64,
    pub get_per_1000: f64,
}

/// A dated table of prices.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    pub date: String,
    pub egress_per_gb: f64,
    pub class: BTreeMap<String, ClassPrices>,
}

impl Prices {
    pub fn parse(text: &str) -> Result<Prices, Error> {
        let fail = |reason: String| Error::Input { what: "the price table".to_owned(), reason };
        let prices: Prices = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
        if !prices.class.contains_key("STANDARD") {
            return Err(fail("it has no class STANDARD".to_owned()));
        }
        Ok(prices)
    }

    /// Returns the table that is part of the program.
    pub fn built_in() -> Prices {
        Prices::parse(BUILT_IN).expect("the built-in table is tested")
    }

    /// Returns the prices of a class; an unknown or empty one counts as STANDARD.
    pub fn class(&self, class: &str) -> &ClassPrices {
        self.class
            .get(class)
            .or_else(|| self.class.get("STANDARD"))
            .expect("a parsed table has STANDARD")
    }

    /// Returns what requests cost, transfer out included, in dollars.
    pub fn requests(&self, requests: &Requests) -> f64 {
        let puts: f64 = requests
            .put_by_class
            .iter()
            .map(|(class, puts)| *puts as f64 * self.class(class).put_per_1000)
            .sum();
        let standard = self.class("STANDARD");
        let reads = (requests.get + requests.head) as f64 * standard.get_per_1000;
        let lists = requests.list as f64 * standard.put_per_1000;
        (puts + reads + lists) / 1000.0 + requests.bytes_fetched as f64 / GB * self.egress_per_gb
    }

    /// Returns what keeping bytes costs, in dollars a month.
    pub fn storage(&self, class: &str, bytes: u64) -> f64 {
        bytes as f64 / GB * self.class(class).storage_per_gb_month
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terabyte_in_deep_archive_is_a_dollar_a_month() {
        let prices = Prices::built_in();
        let dollars = prices.storage("DEEP_ARCHIVE", 1 << 40);
        assert!((1.0..1.02).contains(&dollars), "{dollars}");
        let requests = Requests {
            put: 1000,
            put_by_class: BTreeMap::from([("DEEP_ARCHIVE".to_owned(), 1000)]),
            ..Requests::default()
        };
        assert!((prices.requests(&requests) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_table_without_standard_is_refused() {
        assert!(Prices::parse("date = \"x\"\negress_per_gb = 0.1\n[class]\n").is_err());
        assert!(Prices::parse("nonsense").is_err());
    }
}
