//! The blocking face of `object_store`.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Attribute, Attributes, ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    RetryConfig,
};

use super::requests::Counter;
use super::{Location, Requests, StoreError, StoreErrorKind};

/// An upload slower than this for its whole length is given up, in bytes a second.
const RATE_MIN: u64 = 20_000;

/// How to reach a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Options of `object_store`, by its names: `aws_access_key_id`, `aws_endpoint`, …
    pub settings: Vec<(String, String)>,
    /// How long a failing request is tried again.
    pub retry_for: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { settings: Vec::new(), retry_for: Duration::from_secs(180) }
    }
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
}

/// The objects of one repository.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    runtime: Arc<tokio::runtime::Runtime>,
    counter: Arc<Counter>,
    location: Location,
    retry_for: Duration,
}

impl Store {
    /// Opens the store; a folder must exist. Makes no request.
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Store, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| other(location, &error))?;
        let inner: Arc<dyn ObjectStore> = match location {
            Location::Folder(path) => {
                if !path.is_dir() {
                    let reason = "there is no such folder".to_owned();
                    let name = location.to_string();
                    return Err(StoreError::new(StoreErrorKind::NotFound, name, reason));
                }
                let local = LocalFileSystem::new_with_prefix(path)
                    .map_err(|error| StoreError::classify(&location.to_string(), &error))?;
                Arc::new(local)
            }
            Location::S3 { bucket, prefix } => {
                let s3 = open_s3(bucket, options)
                    .map_err(|error| StoreError::classify(&location.to_string(), &error))?;
                if prefix.is_empty() {
                    Arc::new(s3)
                } else {
                    Arc::new(PrefixStore::new(s3, prefix.as_str()))
                }
            }
        };
        Ok(Store {
            inner,
            runtime: Arc::new(runtime),
            counter: Arc::default(),
            location: location.clone(),
            retry_for: options.retry_for,
        })
    }

    /// Makes the folder of a new repository; buckets are never made.
    pub fn create_folder(location: &Location) -> Result<(), StoreError> {
        if let Location::Folder(path) = location {
            std::fs::create_dir_all(path).map_err(|error| other(location, &error))?;
        }
        Ok(())
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns what was requested so far.
    pub fn requests(&self) -> Requests {
        self.counter.get()
    }

    /// Creates an object. Returns false, and changes nothing, if the name is taken: that may be by
    /// an earlier try of our own whose acknowledgement was lost, which only the caller can tell.
    pub fn create(&self, name: &str, class: &str, content: Bytes) -> Result<bool, StoreError> {
        let bytes = content.len() as u64;
        let mut options = PutOptions::from(PutMode::Create);
        if !class.is_empty() {
            options.attributes =
                Attributes::from_iter([(Attribute::StorageClass, class.to_owned())]);
        }
        self.counter.count(|requests| {
            requests.put += 1;
            requests.bytes_uploaded += bytes;
            *requests.put_by_class.entry(class.to_owned()).or_default() += 1;
        });
        if let Location::Folder(folder) = &self.location {
            return super::folder::create(&folder.join(name), &content)
                .map_err(|error| StoreError::of_file(name, &error));
        }
        let location = path(name);
        let put = self.inner.put_opts(&location, content.into(), options);
        match self.wait(bytes, put) {
            Ok(_) => Ok(true),
            Err(Failure::Store(object_store::Error::AlreadyExists { .. })) => Ok(false),
            Err(failure) => Err(failure.classify(name)),
        }
    }

    /// Reads a whole object of at most `bytes_max` bytes.
    pub fn get(&self, name: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.counter.count(|requests| requests.get += 1);
        let read = async {
            let answer = self.inner.get(&path(name)).await?;
            // The length is known before the body is read: a hostile store must not fill memory.
            if answer.meta.size > bytes_max {
                return Ok(None);
            }
            answer.bytes().await.map(Some)
        };
        let content = self.wait(bytes_max, read).map_err(|failure| failure.classify(name))?;
        let content =
            content.filter(|content| content.len() as u64 <= bytes_max).ok_or_else(|| {
                let reason = format!("larger than {bytes_max} bytes");
                StoreError::new(StoreErrorKind::Length, name.to_owned(), reason)
            })?;
        self.counter.count(|requests| requests.bytes_fetched += content.len() as u64);
        Ok(content)
    }

    /// Reads exactly the range, or fails.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.counter.count(|requests| requests.get += 1);
        let wanted = range.end - range.start;
        let location = path(name);
        let read = self.inner.get_range(&location, range);
        let content = self.wait(wanted, read).map_err(|failure| failure.classify(name))?;
        self.counter.count(|requests| requests.bytes_fetched += content.len() as u64);
        // The local store answers short past the end without an error.
        if content.len() as u64 != wanted {
            let reason = format!("{} bytes came instead of {wanted}", content.len());
            return Err(StoreError::new(StoreErrorKind::Length, name.to_owned(), reason));
        }
        Ok(content)
    }

    /// Lists the objects under a prefix in the order of their names, those after `after` if given.
    pub fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let prefix_path = path(prefix);
        let list = async {
            let stream = match after {
                Some(after) => self.inner.list_with_offset(Some(&prefix_path), &path(after)),
                None => self.inner.list(Some(&prefix_path)),
            };
            stream.try_collect::<Vec<_>>().await
        };
        let found = self.wait(0, list).map_err(|failure| failure.classify(prefix))?;
        // S3 answers a thousand names a page; each page is a request.
        self.counter.count(|requests| requests.list += 1 + found.len() as u64 / 1000);
        let mut listed: Vec<Listed> = found
            .into_iter()
            .map(|meta| Listed { name: meta.location.to_string(), bytes: meta.size })
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Returns the length of an object, `None` if there is none.
    pub fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.counter.count(|requests| requests.head += 1);
        match self.wait(0, self.inner.head(&path(name))) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Failure::Store(error)) => match StoreError::classify(name, &error) {
                error if error.kind == StoreErrorKind::NotFound => Ok(None),
                error => Err(error),
            },
            Err(failure) => Err(failure.classify(name)),
        }
    }

    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.counter.count(|requests| requests.delete += 1);
        self.wait(0, self.inner.delete(&path(name))).map_err(|failure| failure.classify(name))
    }

    /// Runs a request to its end; gives up on one that makes no headway.
    fn wait<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        let limit = self.retry_for + Duration::from_secs(60 + bytes / RATE_MIN);
        self.runtime.block_on(async {
            match tokio::time::timeout(limit, request).await {
                Ok(result) => result.map_err(Failure::Store),
                Err(_) => Err(Failure::Stalled(limit)),
            }
        })
    }
}

enum Failure {
    Store(object_store::Error),
    Stalled(Duration),
}

impl Failure {
    fn classify(self, name: &str) -> StoreError {
        match self {
            Failure::Store(error) => StoreError::classify(name, &error),
            Failure::Stalled(limit) => {
                let reason = format!("no answer within {} seconds", limit.as_secs());
                StoreError::new(StoreErrorKind::Unreachable, name.to_owned(), reason)
            }
        }
    }
}

fn other(location: &Location, error: &std::io::Error) -> StoreError {
    StoreError::of_file(&location.to_string(), error)
}

fn path(name: &str) -> Path {
    Path::from(name)
}

fn open_s3(
    bucket: &str,
    options: &StoreOptions,
) -> object_store::Result<object_store::aws::AmazonS3> {
    // Fails only if a provider is already there, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    let mut client = ClientOptions::new()
        // A pack over a home uplink takes longer than any fixed limit: see `Store::wait`.
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(15));
    for (key, value) in &options.settings {
        if key == "aws_allow_http" {
            client = client.with_allow_http(value.eq_ignore_ascii_case("true") || value == "1");
        } else if let Ok(key) = key.parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder
        .with_client_options(client)
        .with_checksum_algorithm(Checksum::CRC64NVME)
        .with_retry(RetryConfig { retry_timeout: options.retry_for, ..RetryConfig::default() })
        .build()
}
