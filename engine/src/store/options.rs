//! How to reach a store, and what its listings say.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;

use super::credentials::CredentialSource;
use super::limits::Limits;
use super::watch::{Unwatched, Watch};

/// How to reach a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Options of `object_store`, by its names: `aws_access_key_id`, `aws_endpoint`, …
    pub settings: Vec<(String, String)>,
    /// How long a failing request is tried again.
    pub retry_for: Duration,
    /// How long a connection may stay without a byte.
    pub idle_max: Duration,
    /// Where the credentials of S3 come from, instead of from the settings; they are read again when
    /// the store refuses them.
    pub credentials: Option<CredentialSource>,
    /// Certificates that are trusted beside those of the system, in PEM, and the name of what has them.
    pub ca_bundle: Option<(String, Vec<u8>)>,
    /// What may move over the link. Stores that share it share its limits.
    pub limits: Limits,
    /// Hears what the store waits for.
    pub watch: Arc<dyn Watch>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            settings: Vec::new(),
            retry_for: Duration::from_secs(30 * 60),
            idle_max: Duration::from_secs(60),
            credentials: None,
            ca_bundle: None,
            limits: Limits::default(),
            watch: Arc::new(Unwatched),
        }
    }
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
    /// When it was written, by the store's clock, seconds since 1970 UTC.
    pub modified: i64,
    /// Its storage class as the store has it; empty in a folder. `None`: the listing does not say.
    pub class: Option<String>,
}

pub(super) fn path(name: &str) -> Path {
    Path::from(name)
}
