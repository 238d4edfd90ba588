//! The objects of the server: one map under one lock, so that every operation is atomic and a
//! conditional write has exactly one winner.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use s3s::config::{S3Config, S3ConfigProvider};

/// An object in the result of [`super::S3Server::objects`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key inside its bucket.
    pub key: String,
    /// Size of the content in bytes.
    pub size: u64,
    /// `STANDARD`, `DEEP_ARCHIVE`, ...
    pub storage_class: String,
}

/// A RestoreObject request that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreAsked {
    /// Bucket of the object.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// The requested days of the readable copy; 0 if there will be none, because the object itself
    /// comes back.
    pub days: i32,
    /// `Standard`, `Bulk` or `Expedited`.
    pub tier: String,
    /// When it was requested, by the clock of the server.
    pub at: SystemTime,
    /// Bytes of the object.
    pub size: u64,
}

/// How a server treats a create-only put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateOnly {
    /// If several race, exactly one wins, as on Amazon.
    #[default]
    Atomic,
    /// It checks whether the name is taken, and uses it a moment later, like servers that keep
    /// objects as files.
    Checked,
    /// It ignores the condition, like old servers.
    Ignored,
}

/// Which storage classes a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    #[default]
    All,
    /// Only `STANDARD`; any other class is refused.
    StandardOnly,
    /// Only `STANDARD`; any other class is silently replaced by it.
    Forgotten,
}

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) data: Bytes,
    pub(crate) class: String,
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
    pub(crate) headers: KeptHeaders,
    /// The last thaw that was accepted, which may be over.
    pub(crate) thaw: Option<Thaw>,
    /// Whether an `INTELLIGENT_TIERING` object is in the archive tier.
    pub(crate) in_archive_tier: bool,
}

/// The headers that a client stored with an object and gets back.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptHeaders {
    pub(crate) content_type: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) metadata: Option<HashMap<String, String>>,
}

impl Object {
    pub(crate) fn new(
        data: Bytes,
        class: &str,
        headers: KeptHeaders,
        modified: SystemTime,
    ) -> Object {
        let etag = etag_of(&data);
        Object {
            data,
            class: class.to_owned(),
            etag,
            modified,
            headers,
            thaw: None,
            in_archive_tier: false,
        }
    }

    /// Returns whether it must be thawed before it can be read.
    pub(crate) fn is_archived(&self) -> bool {
        self.in_archive_tier || matches!(self.class.as_str(), "GLACIER" | "DEEP_ARCHIVE")
    }

    pub(crate) fn is_readable(&self, now: SystemTime) -> bool {
        self.warmth(now) == Warmth::Warm
    }
}

/// The ETag is opaque to a correct client, so use a hash that is fast in an unoptimised build.
pub(crate) fn etag_of(data: &[u8]) -> String {
    blake3::hash(data).to_hex()[..32].to_owned()
}

/// A thaw that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Thaw {
    /// The duration of its tier.
    pub(super) takes: Duration,
    pub(super) days: u32,
    pub(super) ready: SystemTime,
    /// When the readable copy ends; `None` if the object itself comes back.
    pub(super) expiry: Option<SystemTime>,
}

/// Whether an object can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warmth {
    Cold,
    Thawing,
    Warm,
}

pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) class: String,
    pub(crate) headers: KeptHeaders,
    pub(crate) parts: BTreeMap<i32, (String, Bytes)>,
}

pub(crate) type Objects = BTreeMap<String, Object>;

pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Objects>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) uploads_begun: u64,
    pub(crate) page_size: usize,
    pub(crate) restores: Vec<RestoreAsked>,
    pub(crate) create_only: CreateOnly,
    pub(crate) classes: Classes,
    /// The current time, which only the test changes.
    pub(crate) clock: SystemTime,
    /// By how much the test has advanced it.
    pub(crate) advanced: Duration,
}

pub(crate) struct Store(Mutex<State>);

impl Default for Store {
    fn default() -> Store {
        Store(Mutex::new(State {
            buckets: BTreeMap::new(),
            uploads: BTreeMap::new(),
            uploads_begun: 0,
            // Amazon's maximum for one page.
            page_size: 1000,
            restores: Vec::new(),
            create_only: CreateOnly::default(),
            classes: Classes::default(),
            clock: SystemTime::now(),
            advanced: Duration::ZERO,
        }))
    }
}

/// A client may sign its requests with the time of the machine, or with one that the test has advanced like the clock.
impl S3ConfigProvider for Store {
    fn snapshot(&self) -> Arc<S3Config> {
        let mut config = S3Config::default();
        let advanced = u32::try_from(self.lock().advanced.as_secs()).unwrap_or(u32::MAX);
        let skew = &mut config.presigned_url_max_skew_time_secs;
        *skew = skew.saturating_add(advanced);
        Arc::new(config)
    }
}

impl Store {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn create_bucket(&self, bucket: &str) {
        self.lock().buckets.entry(bucket.to_owned()).or_default();
    }

    pub(crate) fn objects(&self, bucket: &str) -> Vec<ObjectInfo> {
        let state = self.lock();
        let objects = state.buckets.get(bucket).into_iter().flatten();
        objects
            .map(|(key, object)| ObjectInfo {
                key: key.clone(),
                size: object.data.len() as u64,
                storage_class: object.class.clone(),
            })
            .collect()
    }

    pub(crate) fn bytes_of(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let state = self.lock();
        let object = state.buckets.get(bucket)?.get(key)?;
        Some(object.data.clone())
    }

    pub(crate) fn put_raw(&self, bucket: &str, key: &str, data: Bytes, class: &str) {
        let mut state = self.lock();
        let object = Object::new(data, class, KeptHeaders::default(), state.clock);
        let objects = state.buckets.get_mut(bucket);
        let objects = objects.unwrap_or_else(|| panic!("no bucket {bucket:?}"));
        objects.insert(key.to_owned(), object);
    }

    pub(crate) fn remove(&self, bucket: &str, key: &str) -> bool {
        let mut state = self.lock();
        let objects = state.buckets.get_mut(bucket);
        objects.is_some_and(|objects| objects.remove(key).is_some())
    }

    /// Changes an object in place; returns `None` if there is no such object.
    pub(crate) fn change<T>(
        &self,
        bucket: &str,
        key: &str,
        change: impl FnOnce(&mut Object) -> T,
    ) -> Option<T> {
        let mut state = self.lock();
        state.buckets.get_mut(bucket)?.get_mut(key).map(change)
    }

    pub(crate) fn move_to_class(&self, bucket: &str, prefix: &str, class: &str) -> usize {
        let mut state = self.lock();
        let objects = state.buckets.get_mut(bucket).into_iter().flatten();
        let moved = objects.filter(|(key, _)| key.starts_with(prefix)).map(|(_, object)| {
            object.class = class.to_owned();
            object.thaw = None;
            object.in_archive_tier = false;
        });
        moved.count()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.lock().clock
    }

    pub(crate) fn restores(&self) -> Vec<RestoreAsked> {
        self.lock().restores.clone()
    }

    pub(crate) fn open_uploads(&self) -> Vec<String> {
        self.lock().uploads.keys().cloned().collect()
    }

    pub(crate) fn set_page_size(&self, entries: usize) {
        assert!(entries > 0, "a page without entries would never end");
        self.lock().page_size = entries;
    }
}
