//! The price of reading a pack, by which the cheapest of several copies is chosen.

use std::collections::BTreeMap;

/// The price of reading from one storage class, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClassReadPrice {
    /// Price of a GET request.
    pub per_get: f64,
    /// Price of a byte that is read.
    pub per_byte: f64,
}

/// What reading from a store costs.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ReadPrices {
    /// A folder.
    #[default]
    Free,
    /// A bucket whose prices are not known. It counts as dearer than any other.
    Unknown,
    /// A bucket whose prices are known.
    Known {
        /// The price of each storage class.
        by_class: BTreeMap<String, ClassReadPrice>,
        /// The price of any other class.
        default: ClassReadPrice,
    },
}

impl ReadPrices {
    /// Returns the price of reading from a class.
    pub fn of(&self, class: &str, gets: u64, bytes: u64) -> f64 {
        match self {
            ReadPrices::Free => 0.0,
            ReadPrices::Unknown => f64::INFINITY,
            ReadPrices::Known { by_class, default } => {
                let price = by_class.get(class).unwrap_or(default);
                gets as f64 * price.per_get + bytes as f64 * price.per_byte
            }
        }
    }
}
