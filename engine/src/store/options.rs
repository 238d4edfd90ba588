//! How to reach a store, and the entries of its listings.

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
    /// How long to repeat a failing request.
    pub retry_for: Duration,
    /// How long a connection may transfer no byte.
    pub idle_max: Duration,
    /// The source of S3 credentials, used instead of the settings. It is read again when the store refuses them.
    pub credentials: Option<CredentialSource>,
    /// Certificates in PEM that are trusted in addition to those of the system, with the name of the setting or file
    /// that they come from.
    pub ca_bundle: Option<(String, Vec<u8>)>,
    /// Rate limits of the link. Stores that share this value share the limits.
    pub limits: Limits,
    /// Receives reports about what the store waits for.
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
    /// Its name below the location of the store.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the store's clock, in seconds since 1970 UTC.
    pub modified: i64,
    /// Its storage class in the store's words; empty in a folder, `None` if the listing does not contain it.
    pub class: Option<String>,
}

pub(super) fn path(name: &str) -> Path {
    Path::from(name)
}
