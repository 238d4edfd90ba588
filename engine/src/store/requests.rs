//! Counts the requests to a store, so that they can be priced and shown.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::clock::StoreClock;
use super::{ClassFacts, Provider, ThawNeed, Tier};

/// Numbers of requests, by kind. Requests that the store could not answer (5xx, a lost connection)
/// are not billed and not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// PUT requests.
    pub put: u64,
    /// GET requests for objects.
    pub get: u64,
    /// Requests for a page of a listing.
    pub list: u64,
    /// HEAD requests.
    pub head: u64,
    /// DELETE requests.
    pub delete: u64,
    /// Bytes of the objects that were put.
    pub bytes_uploaded: u64,
    /// Bytes that arrived.
    pub bytes_fetched: u64,
    /// By storage class of the object; the key is empty for the store's default.
    pub by_class: BTreeMap<String, ClassRequests>,
    /// By storage class and tier.
    pub thaws: BTreeMap<(String, Tier), Thaws>,
}

/// Requests for objects of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassRequests {
    /// PUT requests.
    pub put: u64,
    /// GET and HEAD requests, which have the same price.
    pub get: u64,
    /// Bytes that arrived.
    pub bytes_fetched: u64,
}

/// Requests to thaw objects of one class by one tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thaws {
    /// Number of requests.
    pub requests: u64,
    /// Bytes that were retrieved from the archive.
    pub bytes: u64,
    /// Bytes of temporary copies, multiplied by the days for which they are kept.
    pub byte_days: u64,
}

impl Requests {
    /// Returns the requests for objects of a class.
    pub fn class(&mut self, class: &str) -> &mut ClassRequests {
        self.by_class.entry(class.to_owned()).or_default()
    }

    /// Adds a PUT of an object.
    pub fn add_put(&mut self, class: &str, bytes: u64) {
        self.put += 1;
        self.bytes_uploaded += bytes;
        self.class(class).put += 1;
    }

    /// Adds a GET, and the bytes that arrived for it.
    pub fn add_get(&mut self, class: &str, bytes: u64) {
        self.get += 1;
        self.class(class).get += 1;
        self.add_fetched(class, bytes);
    }

    /// Adds bytes that arrived for a GET that is already counted.
    pub fn add_fetched(&mut self, class: &str, bytes: u64) {
        self.bytes_fetched += bytes;
        self.class(class).bytes_fetched += bytes;
    }

    /// Adds a HEAD of an object.
    pub fn add_head(&mut self, class: &str) {
        self.head += 1;
        self.class(class).get += 1;
    }

    /// Adds a thaw. `retrieved` is false if the object was thawed already.
    pub fn add_thaw(&mut self, class: &str, tier: Tier, bytes: u64, days: u32, retrieved: bool) {
        // An object that is moved back for good has no temporary copy.
        let facts = ClassFacts::find(Provider::S3, class);
        let for_good = facts.is_some_and(|class| class.thaw == ThawNeed::WhenArchived);
        let days = if for_good { 0 } else { days };
        let thaws = self.thaws.entry((class.to_owned(), tier)).or_default();
        thaws.requests += 1;
        thaws.bytes += if retrieved { bytes } else { 0 };
        thaws.byte_days += bytes * u64::from(days);
    }

    /// Counts the requests for thaws.
    pub fn thaw(&self) -> u64 {
        self.thaws.values().map(|thaws| thaws.requests).sum()
    }

    /// Returns the sum of `self` and `more`.
    pub fn plus(&self, more: &Requests) -> Requests {
        let mut sum = self.clone();
        sum.put += more.put;
        sum.get += more.get;
        sum.list += more.list;
        sum.head += more.head;
        sum.delete += more.delete;
        sum.bytes_uploaded += more.bytes_uploaded;
        sum.bytes_fetched += more.bytes_fetched;
        for (class, requests) in &more.by_class {
            let class = sum.class(class);
            class.put += requests.put;
            class.get += requests.get;
            class.bytes_fetched += requests.bytes_fetched;
        }
        for (kind, more) in &more.thaws {
            let thaws = sum.thaws.entry(kind.clone()).or_default();
            thaws.requests += more.requests;
            thaws.bytes += more.bytes;
            thaws.byte_days += more.byte_days;
        }
        sum
    }

    /// Returns the requests that were made after `before`.
    pub fn since(&self, before: &Requests) -> Requests {
        let mut by_class = self.by_class.clone();
        for (class, requests) in &mut by_class {
            let Some(before) = before.by_class.get(class) else { continue };
            requests.put -= before.put;
            requests.get -= before.get;
            requests.bytes_fetched -= before.bytes_fetched;
        }
        by_class.retain(|_, requests| *requests != ClassRequests::default());
        let mut thaws = self.thaws.clone();
        for (kind, thaws) in &mut thaws {
            let Some(before) = before.thaws.get(kind) else { continue };
            thaws.requests -= before.requests;
            thaws.bytes -= before.bytes;
            thaws.byte_days -= before.byte_days;
        }
        thaws.retain(|_, thaws| *thaws != Thaws::default());
        Requests {
            put: self.put - before.put,
            get: self.get - before.get,
            list: self.list - before.list,
            head: self.head - before.head,
            delete: self.delete - before.delete,
            bytes_uploaded: self.bytes_uploaded - before.bytes_uploaded,
            bytes_fetched: self.bytes_fetched - before.bytes_fetched,
            by_class,
            thaws,
        }
    }
}

/// Counts requests from many threads, and reads the time from the answers.
#[derive(Debug, Default)]
pub(super) struct Counter {
    requests: Mutex<Requests>,
    pub clock: StoreClock,
    /// Whether an answer has shown that the bucket keeps old versions.
    pub has_versions: AtomicBool,
}

impl Counter {
    pub fn count(&self, with: impl FnOnce(&mut Requests)) {
        with(&mut self.requests.lock().expect("counting does not panic"));
    }

    pub fn get(&self) -> Requests {
        self.requests.lock().expect("counting does not panic").clone()
    }
}
