//! Another copy of a repository: which packs it has, and what reading them costs.

use std::collections::HashMap;

use super::prices::ReadPrices;
use crate::error::Error;
use crate::store::{ClassFacts, Head, Store, ThawNeed, layout};

/// A pack in another copy.
#[derive(Debug, Clone)]
pub(super) struct CopiedPack {
    pub class: String,
    pub bytes: u64,
    /// When it was put, in seconds since 1970 UTC.
    pub modified: i64,
    /// Whether it may have to be thawed.
    pub may_be_cold: bool,
}

/// Another copy of a repository.
#[derive(Debug, Clone)]
pub struct OtherCopy {
    /// Its store.
    pub store: Store,
    /// What reading from it costs.
    pub(super) prices: ReadPrices,
    pub(super) packs: HashMap<String, CopiedPack>,
}

impl OtherCopy {
    /// Lists the packs of a copy.
    pub fn list(store: Store, prices: ReadPrices) -> Result<OtherCopy, Error> {
        let provider = store.location().provider();
        let mut packs = HashMap::new();
        for prefix in layout::PACK_PREFIXES {
            for object in store.list(prefix, None)? {
                let class = object.class.unwrap_or_default();
                let facts = provider.and_then(|provider| ClassFacts::find(provider, &class));
                let may_be_cold = facts.is_some_and(|facts| facts.thaw != ThawNeed::None);
                let (bytes, modified) = (object.bytes, object.modified);
                packs.insert(object.name, CopiedPack { class, bytes, modified, may_be_cold });
            }
        }
        Ok(OtherCopy { store, prices, packs })
    }

    /// Returns the storage class of a pack, and when it was put; `None` if the copy does not have it.
    pub fn stored(&self, name: &str) -> Option<(&str, i64)> {
        self.packs.get(name).map(|pack| (pack.class.as_str(), pack.modified))
    }

    /// Returns the price of reading a pack by one request; `None` if the copy does not have it.
    pub fn price(&self, name: &str, bytes: u64) -> Option<f64> {
        self.packs.get(name).map(|pack| self.prices.of(&pack.class, 1, bytes))
    }

    /// Returns whether a pack can be read at once. Asks the store if it may have to be thawed.
    pub fn is_readable(&self, name: &str) -> bool {
        self.packs.get(name).is_some_and(|pack| {
            let names = [name.to_owned()];
            let is_warm = |head: Result<Option<Head>, _>| {
                head.is_ok_and(|head| head.is_some_and(|head| head.state.is_readable()))
            };
            !pack.may_be_cold || self.store.heads(&names).into_iter().all(is_warm)
        })
    }
}
