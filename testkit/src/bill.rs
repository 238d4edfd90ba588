//! Computes what Amazon would charge for the requests in a log. The oracle of the tests on costs.
//!
//! It has its own prices and does not use the engine, so that it finds a wrong price or a forgotten
//! request there. It leaves out the storage of the objects themselves, minimum sizes and ages, free
//! egress, and the bytes that a copy inside S3 reads from its source.
//!
//! Requests that were answered with 4xx cost the same as successful ones; 5xx and dropped
//! connections are free. But Amazon charges for a request whose answer was lost on the way, so a
//! test that counts cents must not drop connections.

use crate::s3::{Request, ThawRequest};

const GB: f64 = (1u64 << 30) as f64;

// Prices of us-east-1 in dollars; prices of requests are per thousand.
const STORAGE_STANDARD_GB_MONTH: f64 = 0.023;
const DAYS_A_MONTH: f64 = 30.0;
const EGRESS_GB: f64 = 0.09;
const LIST: f64 = 0.005;

/// The prices that depend on the class alone.
struct Class {
    put: f64,
    get: f64,
    /// Per GB read, if reading needs no thaw.
    retrieval_gb: f64,
}

fn class(name: Option<&str>) -> Class {
    let (put, get, retrieval_gb) = match name.unwrap_or("STANDARD") {
        "STANDARD" | "REDUCED_REDUNDANCY" | "INTELLIGENT_TIERING" => (0.005, 0.0004, 0.0),
        "STANDARD_IA" | "ONEZONE_IA" => (0.01, 0.001, 0.01),
        "GLACIER_IR" => (0.02, 0.01, 0.03),
        "GLACIER" => (0.03, 0.0004, 0.0),
        "DEEP_ARCHIVE" => (0.05, 0.0004, 0.0),
        // A PUT into a class that does not exist is refused, and charged like any POST.
        _ => (0.005, 0.0004, 0.0),
    };
    Class { put, get, retrieval_gb }
}

/// Returns the prices of a thaw, per thousand requests and per GB of the objects.
fn thaw_prices(class: Option<&str>, tier: Option<&str>) -> (f64, f64) {
    match (class.unwrap_or_default(), tier.unwrap_or_default()) {
        ("DEEP_ARCHIVE", "Standard") => (0.10, 0.02),
        ("DEEP_ARCHIVE", "Bulk") => (0.025, 0.0025),
        ("GLACIER", "Expedited") => (10.0, 0.03),
        ("GLACIER", "Standard") => (0.05, 0.01),
        ("GLACIER" | "INTELLIGENT_TIERING", "Bulk") => (0.0, 0.0),
        ("INTELLIGENT_TIERING", "Standard") => (0.0, 0.0),
        // Refused because of its class or tier, and charged like any POST.
        _ => (0.005, 0.0),
    }
}

/// The parts of a bill, in dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bill {
    /// PUT, copies, the steps of multipart uploads, new buckets.
    pub puts: f64,
    /// GET of objects.
    pub gets: f64,
    /// Pages of listings.
    pub lists: f64,
    /// HEAD, at the price of a GET.
    pub heads: f64,
    /// RestoreObject requests, without retrieval and temporary copies.
    pub thaws: f64,
    /// Retrieval of bytes that were thawed, or read from a class that charges for reading.
    pub retrieval: f64,
    /// The readable copies of thawed objects, which are stored at the STANDARD price.
    pub temporary_storage: f64,
    /// Transfer of objects out of the region.
    pub egress: f64,
}

impl Bill {
    /// Returns the bill for these requests. All transfer has the price of the first gigabyte.
    pub fn of(requests: &[Request]) -> Bill {
        let mut bill = Bill::default();
        for request in requests {
            if (200..500).contains(&request.status) {
                bill.add(request);
            }
        }
        bill
    }

    /// Returns the sum of all parts.
    pub fn total(&self) -> f64 {
        let Bill { puts, gets, lists, heads, thaws, retrieval, temporary_storage, egress } = self;
        puts + gets + lists + heads + thaws + retrieval + temporary_storage + egress
    }

    fn add(&mut self, request: &Request) {
        let prices = class(request.class.as_deref());
        let asks =
            |name: &str| request.query.split('&').any(|part| part.split('=').next() == Some(name));
        let key = request.path.trim_start_matches('/').split_once('/').map(|(_, key)| key);
        let of_object = key.is_some_and(|key| !key.is_empty());
        match request.method.as_str() {
            "HEAD" => self.heads += prices.get / 1000.0,
            // This lists the parts of an upload, and reads nothing.
            "GET" if !of_object || asks("uploadId") => self.lists += LIST / 1000.0,
            "GET" => {
                self.gets += prices.get / 1000.0;
                if request.status < 300 {
                    let read_gb = request.bytes_out as f64 / GB;
                    self.retrieval += read_gb * prices.retrieval_gb;
                    self.egress += read_gb * EGRESS_GB;
                }
            }
            "POST" if asks("restore") => self.add_thaw(request),
            "POST" if asks("delete") => {}
            // A multipart upload is charged the price of its class once, when it is completed.
            "PUT" if asks("uploadId") => self.puts += class(None).put / 1000.0,
            "POST" if asks("uploads") => self.puts += class(None).put / 1000.0,
            "PUT" | "POST" => self.puts += prices.put / 1000.0,
            // DELETE, which aborts uploads as well, is free.
            _ => {}
        }
    }

    fn add_thaw(&mut self, request: &Request) {
        let thaw = request.thaw.as_ref();
        let tier = thaw.map(|thaw| thaw.tier.as_str());
        let (per_thousand, per_gb) = thaw_prices(request.class.as_deref(), tier);
        self.thaws += per_thousand / 1000.0;
        let Some(ThawRequest { size, copy_days, .. }) = thaw else {
            return;
        };
        let size_gb = *size as f64 / GB;
        // A thaw that is made faster is charged for both tiers; one that finds a readable copy
        // retrieves nothing.
        if request.status == 202 {
            self.retrieval += size_gb * per_gb;
        }
        // A refused thaw adds no days.
        let months = *copy_days as f64 / DAYS_A_MONTH;
        self.temporary_storage += size_gb * STORAGE_STANDARD_GB_MONTH * months;
    }
}
