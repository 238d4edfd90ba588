//! Buckets: S3, Google Cloud Storage, Azure Blob Storage.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::HttpConnector;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use super::metered::MeteredConnector;
use super::requests::Counter;
use super::thaw::Wire;
use super::{Provider, StoreOptions};

/// The region of a bucket where nobody tells another, as `object_store` has it.
const REGION: &str = "us-east-1";

/// Opens a bucket; makes no request.
pub(super) fn open(
    provider: Provider,
    bucket: &str,
    prefix: &str,
    options: &StoreOptions,
    counter: &Arc<Counter>,
) -> object_store::Result<(Arc<dyn ObjectStore>, Option<Wire>)> {
    // Fails only if a provider is already there, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let connector = MeteredConnector { counter: counter.clone() };
    let retry = RetryConfig { retry_timeout: options.retry_for, ..RetryConfig::default() };
    let client = client_options(options);
    match provider {
        Provider::S3 => {
            let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
            for (key, value) in settings::<AmazonS3ConfigKey>(options) {
                builder = builder.with_config(key, value);
            }
            let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
            let s3 = builder
                .with_client_options(client.clone())
                .with_http_connector(connector.clone())
                .with_checksum_algorithm(Checksum::CRC64NVME)
                .with_retry(retry)
                .build()?;
            let credentials = s3.credentials().clone();
            let http = connector.connect(&client)?;
            let region = region.unwrap_or_else(|| REGION.to_owned());
            let wire = |signer| Some(Wire { signer, http, credentials, region });
            if prefix.is_empty() {
                let s3 = Arc::new(s3);
                return Ok((s3.clone(), wire(s3)));
            }
            let s3 = Arc::new(PrefixStore::new(s3, prefix));
            Ok((s3.clone(), wire(s3)))
        }
        Provider::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket);
            for (key, value) in settings::<GoogleConfigKey>(options) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_client_options(client).with_http_connector(connector);
            Ok((below(prefix, builder.with_retry(retry).build()?), None))
        }
        Provider::Azure => {
            let mut builder = MicrosoftAzureBuilder::new().with_container_name(bucket);
            for (key, value) in settings::<AzureConfigKey>(options) {
                builder = builder.with_config(key, value);
            }
            let builder = builder.with_client_options(client).with_http_connector(connector);
            Ok((below(prefix, builder.with_retry(retry).build()?), None))
        }
    }
}

fn below(prefix: &str, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) }
}

/// Returns the settings that a builder knows.
fn settings<K: std::str::FromStr>(options: &StoreOptions) -> Vec<(K, String)> {
    let known = |(key, value): &(String, String)| Some((key.parse().ok()?, value.clone()));
    options.settings.iter().filter_map(known).collect()
}

fn client_options(options: &StoreOptions) -> ClientOptions {
    let mut client = ClientOptions::new()
        // A pack over a home uplink takes longer than any fixed limit: see `Store::wait`.
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(15));
    for (key, value) in &options.settings {
        if ["aws_allow_http", "google_allow_http", "azure_allow_http"].contains(&key.as_str()) {
            client = client.with_allow_http(value.eq_ignore_ascii_case("true") || value == "1");
        }
    }
    client
}
