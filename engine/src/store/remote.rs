//! Buckets: S3, Google Cloud Storage, Azure Blob Storage.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::HttpConnector;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use super::credentials::Renewed;
use super::link::LinkOptions;
use super::metered::MeteredConnector;
use super::pages::ListedBucket;
use super::requests::Counter;
use super::settings::{HTTP, is_yes};
use super::wire::Wire;
use super::{Provider, StoreOptions};

/// The region of a bucket unless another is set, as in `object_store`.
const REGION: &str = "us-east-1";

/// The parts that all requests to a store share.
pub(super) struct Wires<'a> {
    pub counter: &'a Arc<Counter>,
    pub link: LinkOptions,
    pub credentials: &'a Option<Arc<Renewed>>,
}

/// An open bucket.
pub(super) struct Remote {
    pub inner: Arc<dyn ObjectStore>,
    /// For requests that `object_store` does not support.
    pub wire: Option<Wire>,
    pub bucket: ListedBucket,
}

/// Opens a bucket; makes no request.
pub(super) fn open(
    provider: Provider,
    bucket: &str,
    prefix: &str,
    options: &StoreOptions,
    wires: Wires<'_>,
) -> object_store::Result<Remote> {
    super::dial::use_ring();
    let connector = MeteredConnector { counter: wires.counter.clone(), link: wires.link };
    // Only `patience` repeats requests, with new signatures. The prefix stays as it was typed,
    // because `Path::from` would escape an umlaut with percent signs.
    let prefix = &Path::parse(prefix)?;
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let client = client_options(options);
    match provider {
        Provider::S3 => {
            let builder = s3_builder(bucket, options, wires.credentials);
            let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
            let payer = builder.get_config_value(&AmazonS3ConfigKey::RequestPayer);
            let requester_pays = payer.as_deref().is_some_and(is_requester);
            let s3 = builder
                .with_client_options(client.clone())
                .with_http_connector(connector.clone())
                .with_checksum_algorithm(Checksum::CRC64NVME)
                .with_retry(retry)
                .build()?;
            let credentials = s3.credentials().clone();
            let http = connector.connect(&client)?;
            let region = region.unwrap_or_else(|| REGION.to_owned());
            let bucket_signer = Arc::new(s3.clone());
            let wire = |signer| {
                Some(Wire { signer, bucket_signer, http, credentials, region, requester_pays })
            };
            let bucket = listed(s3.clone(), prefix);
            if prefix.is_root() {
                let s3 = Arc::new(s3);
                return Ok(Remote { inner: s3.clone(), wire: wire(s3), bucket });
            }
            let s3 = Arc::new(PrefixStore::new(s3, prefix.clone()));
            Ok(Remote { inner: s3.clone(), wire: wire(s3), bucket })
        }
        Provider::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::new();
            for (key, value) in settings::<GoogleConfigKey>(options) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_bucket_name(bucket);
            let builder = builder.with_client_options(client).with_http_connector(connector);
            let store = builder.with_retry(retry).build()?;
            let inner = below(prefix, store.clone());
            Ok(Remote { inner, wire: None, bucket: listed(store, prefix) })
        }
        Provider::Azure => {
            let mut builder = MicrosoftAzureBuilder::new();
            for (key, value) in settings::<AzureConfigKey>(options) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_container_name(bucket);
            let builder = builder.with_client_options(client).with_http_connector(connector);
            let store = builder.with_retry(retry).build()?;
            let inner = below(prefix, store.clone());
            Ok(Remote { inner, wire: None, bucket: listed(store, prefix) })
        }
    }
}

fn s3_builder(
    bucket: &str,
    options: &StoreOptions,
    credentials: &Option<Arc<Renewed>>,
) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    for (key, value) in settings::<AmazonS3ConfigKey>(options) {
        builder = builder.with_config(key, value);
    }
    // Set last, so that no setting can name a bucket other than the one in the URL, or let a put
    // overwrite an object.
    builder = builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch);
    match credentials {
        Some(credentials) => builder.with_credentials(credentials.clone()),
        None => builder,
    }
}

fn listed(store: impl PaginatedListStore, prefix: &Path) -> ListedBucket {
    ListedBucket { store: Arc::new(store), prefix: prefix.clone() }
}

fn below(prefix: &Path, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    match prefix.is_root() {
        true => Arc::new(store),
        false => Arc::new(PrefixStore::new(store, prefix.clone())),
    }
}

/// Returns the settings that a builder knows.
fn settings<K: std::str::FromStr>(options: &StoreOptions) -> Vec<(K, String)> {
    let known = |(key, value): &(String, String)| Some((key.parse().ok()?, value.clone()));
    options.settings.iter().filter_map(known).collect()
}

/// Returns whether a setting says that the requester pays.
fn is_requester(setting: &str) -> bool {
    setting.eq_ignore_ascii_case("requester") || is_yes(setting)
}

fn client_options(options: &StoreOptions) -> ClientOptions {
    // `link` decides how connections are opened and when they are closed.
    let mut client = ClientOptions::new();
    for (key, value) in &options.settings {
        if HTTP.contains(&key.as_str()) {
            client = client.with_allow_http(is_yes(value));
        }
    }
    client
}
