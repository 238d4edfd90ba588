//! The properties of storage classes: one table for all providers. Prices are in `ops/cost/prices.toml`, because
//! they change. CONTRIBUTING.md ("How to add …") lists what else a new class needs.

use crate::format::Tier;

/// The properties of a storage class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassFacts {
    /// Its name, as the store writes it.
    pub name: &'static str,
    /// Its provider.
    pub provider: Provider,
    /// How an object of this class becomes readable.
    pub thaw: ThawNeed,
    /// Minimum days: an object that is deleted earlier is billed as if it had stayed this long.
    pub days_min: u32,
    /// Minimum size: a smaller object is billed as if it had this many bytes.
    pub object_bytes_min: u64,
    /// Additional bytes that are billed for each object, at the price of its own class, …
    pub overhead_bytes: u64,
    /// … and at the price of STANDARD.
    pub overhead_standard_bytes: u64,
    /// Hours until the first byte, by tier; 0 for milliseconds.
    pub hours_standard: u32,
    /// By the bulk tier.
    pub hours_bulk: u32,
}

/// The provider of the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, or a server that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// The storage class of photo data in a new archive on S3.
pub const PACK_CLASS: &str = "DEEP_ARCHIVE";
/// The storage class of small files in a new archive on S3.
pub const HOT_CLASS: &str = "GLACIER_IR";

impl Provider {
    /// Returns the storage classes of photo data and of small files in an archive for which no others were chosen.
    pub fn default_classes(self) -> (&'static str, &'static str) {
        match self {
            Provider::S3 => (PACK_CLASS, HOT_CLASS),
            Provider::Gcs => ("ARCHIVE", "NEARLINE"),
            Provider::Azure => ("Archive", "Cool"),
        }
    }

    /// Returns the name of a class; an empty name becomes the provider's default. On Azure the default is a setting of
    /// the account that no request can read.
    pub fn class_name(self, class: &str) -> &str {
        match self {
            Provider::S3 | Provider::Gcs if class.is_empty() => "STANDARD",
            _ => class,
        }
    }
}

/// What a reader must request before it can read an object of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThawNeed {
    /// Nothing: the object is readable at any time.
    None,
    /// A temporary copy, which the store keeps for some days (S3 Glacier).
    Days,
    /// Nothing, unless the store has moved the object to an archive tier (Intelligent-Tiering). Then a request moves it
    /// back for good.
    WhenArchived,
    /// A change of the class with the provider's own tools. icecore cannot request it.
    ByHand,
}

const fn class(name: &'static str, provider: Provider) -> ClassFacts {
    ClassFacts {
        name,
        provider,
        thaw: ThawNeed::None,
        days_min: 0,
        object_bytes_min: 0,
        overhead_bytes: 0,
        overhead_standard_bytes: 0,
        hours_standard: 0,
        hours_bulk: 0,
    }
}

const ARCHIVE: ClassFacts = ClassFacts {
    thaw: ThawNeed::Days,
    // S3 keeps an index and metadata for each archived object.
    overhead_bytes: 32 << 10,
    overhead_standard_bytes: 8 << 10,
    ..class("", Provider::S3)
};

/// The classes that icecore writes. Sources: the S3 user guide (storage classes, restoring an
/// archived object), the Cloud Storage and the Blob Storage documentation, read 2026-11.
pub const CLASSES: [ClassFacts; 14] = [
    class("STANDARD", Provider::S3),
    ClassFacts { days_min: 30, object_bytes_min: 128 << 10, ..class("STANDARD_IA", Provider::S3) },
    ClassFacts { days_min: 90, object_bytes_min: 128 << 10, ..class("GLACIER_IR", Provider::S3) },
    ClassFacts { name: "GLACIER", days_min: 90, hours_standard: 5, hours_bulk: 12, ..ARCHIVE },
    ClassFacts {
        name: "DEEP_ARCHIVE",
        days_min: 180,
        hours_standard: 12,
        hours_bulk: 48,
        ..ARCHIVE
    },
    ClassFacts {
        thaw: ThawNeed::WhenArchived,
        hours_standard: 12,
        hours_bulk: 48,
        ..class("INTELLIGENT_TIERING", Provider::S3)
    },
    class("STANDARD", Provider::Gcs),
    ClassFacts { days_min: 30, ..class("NEARLINE", Provider::Gcs) },
    ClassFacts { days_min: 90, ..class("COLDLINE", Provider::Gcs) },
    ClassFacts { days_min: 365, ..class("ARCHIVE", Provider::Gcs) },
    class("Hot", Provider::Azure),
    ClassFacts { days_min: 30, ..class("Cool", Provider::Azure) },
    ClassFacts { days_min: 90, ..class("Cold", Provider::Azure) },
    ClassFacts {
        thaw: ThawNeed::ByHand,
        days_min: 180,
        hours_standard: 15,
        hours_bulk: 15,
        ..class("Archive", Provider::Azure)
    },
];

impl ClassFacts {
    /// Finds a class of a provider by its name, in any case.
    pub fn find(provider: Provider, name: &str) -> Option<&'static ClassFacts> {
        let same = |class: &&ClassFacts| {
            class.provider == provider && class.name.eq_ignore_ascii_case(name)
        };
        CLASSES.iter().find(same)
    }

    /// Returns the bytes that are billed for an object of `bytes`, at the price of its class.
    pub fn billed_bytes(&self, bytes: u64) -> u64 {
        bytes.max(self.object_bytes_min) + self.overhead_bytes
    }
}

impl Tier {
    /// All tiers, the cheapest first.
    pub const ALL: [Tier; 2] = [Tier::Bulk, Tier::Standard];

    /// Returns the tier with this number in the catalog; bulk if the number is unknown, because the catalog may be
    /// damaged, and bulk takes the longest.
    pub(crate) fn of_number(number: u8) -> Tier {
        if number == Tier::Standard as u8 { Tier::Standard } else { Tier::Bulk }
    }

    /// Returns S3's name of the tier.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Bulk => "Bulk",
            Tier::Standard => "Standard",
        }
    }

    /// Returns the maximum hours that a thaw of a class takes.
    pub fn hours(self, class: &ClassFacts) -> u32 {
        match self {
            Tier::Bulk => class.hours_bulk,
            Tier::Standard => class.hours_standard,
        }
    }
}
