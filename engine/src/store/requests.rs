//! What was asked of the store, so that it can be priced and shown.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Requests that were made, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    pub put: u64,
    pub get: u64,
    pub list: u64,
    pub head: u64,
    pub delete: u64,
    pub bytes_uploaded: u64,
    pub bytes_fetched: u64,
    /// Puts by storage class; the key is empty where the store has none.
    pub put_by_class: BTreeMap<String, u64>,
}

/// Counts requests from many threads.
#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Requests>);

impl Counter {
    pub fn count(&self, with: impl FnOnce(&mut Requests)) {
        with(&mut self.0.lock().expect("counting does not panic"));
    }

    pub fn get(&self) -> Requests {
        self.0.lock().expect("counting does not panic").clone()
    }
}

impl Requests {
    /// Returns what was requested after `before`.
    pub fn since(&self, before: &Requests) -> Requests {
        let mut put_by_class = self.put_by_class.clone();
        for (class, puts) in &mut put_by_class {
            *puts -= before.put_by_class.get(class).copied().unwrap_or(0).min(*puts);
        }
        Requests {
            put: self.put - before.put,
            get: self.get - before.get,
            list: self.list - before.list,
            head: self.head - before.head,
            delete: self.delete - before.delete,
            bytes_uploaded: self.bytes_uploaded - before.bytes_uploaded,
            bytes_fetched: self.bytes_fetched - before.bytes_fetched,
            put_by_class,
        }
    }
}
