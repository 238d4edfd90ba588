//! The blocking face of `object_store`.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};

use super::requests::Counter;
use super::thaw::Wire;
use super::window::Window;
use super::{Location, Requests, StoreError, StoreErrorKind, layout, remote};

/// An upload slower than this for its whole length is given up, in bytes a second.
const RATE_MIN: u64 = 20_000;

/// How often a range is asked for whose body breaks off.
const BODY_TRIES: u32 = 3;

/// Most objects of one listing: a hostile store must not fill memory.
const LISTED_MAX: usize = 8 << 20;

/// How to reach a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Options of `object_store`, by its names: `aws_access_key_id`, `aws_endpoint`, …
    pub settings: Vec<(String, String)>,
    /// How long a failing request is tried again.
    pub retry_for: Duration,
    /// How long a request may stay without an answer, beyond the time that its bytes take.
    pub answer_within: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            settings: Vec::new(),
            retry_for: Duration::from_secs(180),
            answer_within: Duration::from_secs(60),
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
}

/// The objects of one repository.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) runtime: Arc<tokio::runtime::Runtime>,
    pub(super) counter: Arc<Counter>,
    /// `None` for a store that knows no thaw.
    pub(super) wire: Option<Wire>,
    location: Location,
    pub(super) retry_for: Duration,
    pub(super) answer_within: Duration,
}

impl Store {
    /// Opens the store; a folder must exist. Makes no request.
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Store, StoreError> {
        let counter = Arc::new(Counter::default());
        let (inner, wire): (Arc<dyn ObjectStore>, _) = match location {
            Location::Folder(path) => {
                if !path.is_dir() {
                    let reason = "there is no such folder".to_owned();
                    let name = location.to_string();
                    return Err(StoreError::new(StoreErrorKind::NotFound, name, reason));
                }
                [layout::KEYS, layout::JOBS]
                    .iter()
                    .for_each(|name| super::rights::close(&path.join(name)));
                let local = LocalFileSystem::new_with_prefix(path)
                    .map_err(|error| StoreError::classify(&location.to_string(), &error))?;
                (Arc::new(local), None)
            }
            Location::Bucket { provider, bucket, prefix } => {
                remote::open(*provider, bucket, prefix, options, &counter)
                    .map_err(|error| StoreError::classify(&location.to_string(), &error))?
            }
        };
        Store::assemble(inner, wire, counter, location, options)
    }

    /// Makes a store of one that the caller has opened, for stores that no URL names. `location` is
    /// a bucket: it is shown to people, and its provider is whose classes the objects have.
    ///
    /// `inner` must refuse [`PutMode::Create`] where the name is taken, and retries are its own.
    /// It knows no thaw, and its requests are not counted: that is done on the wire.
    pub fn over(
        inner: Arc<dyn ObjectStore>,
        location: &Location,
        options: &StoreOptions,
    ) -> Result<Store, StoreError> {
        if !location.is_remote() {
            let reason = "a folder is opened by its path".to_owned();
            return Err(StoreError::new(StoreErrorKind::Location, location.to_string(), reason));
        }
        Store::assemble(inner, None, Arc::default(), location, options)
    }

    fn assemble(
        inner: Arc<dyn ObjectStore>,
        wire: Option<Wire>,
        counter: Arc<Counter>,
        location: &Location,
        options: &StoreOptions,
    ) -> Result<Store, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .map_err(|error| other(location, &error))?;
        Ok(Store {
            inner,
            runtime: Arc::new(runtime),
            counter,
            wire,
            location: location.clone(),
            retry_for: options.retry_for,
            answer_within: options.answer_within,
        })
    }

    /// Makes the folder of a new repository; buckets are never made.
    pub fn create_folder(location: &Location) -> Result<(), StoreError> {
        if let Location::Folder(path) = location
            && !path.is_dir()
        {
            super::folder::create_folder(path).map_err(|error| other(location, &error))?;
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
        if let Location::Folder(folder) = &self.location {
            self.counter.count(|requests| requests.add_put(class, bytes));
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

    /// Puts an object in the place of one that is damaged. Nothing else is ever put over another.
    pub fn replace(&self, name: &str, content: Bytes) -> Result<(), StoreError> {
        let bytes = content.len() as u64;
        if let Location::Folder(folder) = &self.location {
            self.counter.count(|requests| requests.add_put("", bytes));
            return super::folder::replace(&folder.join(name), &content)
                .map_err(|error| StoreError::of_file(name, &error));
        }
        let location = path(name);
        let put = self.inner.put(&location, content.into());
        self.wait(bytes, put).map(drop).map_err(|failure| failure.classify(name))
    }

    /// Makes durable that an object is there which somebody else, perhaps a killed run, has created.
    pub fn sync(&self, name: &str) -> Result<(), StoreError> {
        let Location::Folder(folder) = &self.location else { return Ok(()) };
        let path = folder.join(name);
        super::folder::sync(path.parent().unwrap_or(folder))
            .map_err(|error| StoreError::of_file(name, &error))
    }

    /// Removes what killed tries to create an object left behind; only a folder has such things.
    pub fn sweep(&self, name: &str) -> Result<(), StoreError> {
        match &self.location {
            Location::Folder(folder) => super::folder::sweep(&folder.join(name))
                .map_err(|error| StoreError::of_file(name, &error)),
            Location::Bucket { .. } => Ok(()),
        }
    }

    /// Removes what any killed creation has left in a folder before a time in seconds since 1970.
    /// Returns how many files and bytes that was.
    pub fn sweep_all(&self, before: i64) -> Result<(u64, u64), StoreError> {
        let Location::Folder(folder) = &self.location else { return Ok((0, 0)) };
        let (mut files, mut bytes) = (0, 0);
        for prefix in layout::PREFIXES {
            let found = super::folder::sweep_all(&folder.join(prefix), before)
                .map_err(|error| StoreError::of_file(prefix, &error))?;
            (files, bytes) = (files + found.0, bytes + found.1);
        }
        Ok((files, bytes))
    }

    /// Reads a whole object of at most `bytes_max` bytes.
    pub fn get(&self, name: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.expect_file(name)?;
        let read = async {
            let answer = self.inner.get(&path(name)).await?;
            // The length is known before the body is read: a hostile store must not fill memory.
            if answer.meta.size > bytes_max {
                return Ok(None);
            }
            bounded(answer, bytes_max).await
        };
        let content = self.wait(bytes_max, read).map_err(|failure| failure.classify(name));
        let content = content.map_err(|error| self.denied_or_missing(name, error))?;
        let content = content.ok_or_else(|| {
            let reason = format!("larger than {bytes_max} bytes");
            StoreError::new(StoreErrorKind::Length, name.to_owned(), reason)
        })?;
        self.count_local(|requests| requests.add_get("", content.len() as u64));
        Ok(content)
    }

    /// Reads what can be read of a range of an object in a folder: less where it ends, zeros where the
    /// disk does not give it. A bucket gives all of the range, or nothing.
    pub fn salvage(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let Location::Folder(folder) = &self.location else { return self.get_range(name, range) };
        self.expect_file(name)?;
        let content = super::folder::salvage(&folder.join(name), range)
            .map_err(|error| StoreError::of_file(name, &error).of_object())?;
        self.count_local(|requests| requests.add_get("", content.len() as u64));
        Ok(content.into())
    }

    /// Reads exactly the range, or fails. An answer that breaks off is asked for again: the retries
    /// of `object_store` end where the body begins.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let mut tries = 1;
        loop {
            match self.try_get_range(name, range.clone()) {
                Err(error) if error.kind == StoreErrorKind::Unreachable && tries < BODY_TRIES => {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Returns a range to read piece by piece, or fails as [`Store::get_range`] does.
    pub fn window(&self, name: &str, range: Range<u64>) -> Result<Window, StoreError> {
        let Location::Folder(folder) = &self.location else {
            return Ok(Window::held(name, range.start, self.get_range(name, range)?));
        };
        self.expect_file(name)?;
        let window = Window::open(name, &folder.join(name), range)?;
        self.count_local(|requests| requests.add_get("", window.bytes()));
        Ok(window)
    }

    fn try_get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.expect_file(name)?;
        let wanted = range.end - range.start;
        let content = match &self.location {
            Location::Folder(folder) => {
                let content = super::folder::read(&folder.join(name), range);
                content.map_err(|error| StoreError::of_file(name, &error).of_object())?.into()
            }
            Location::Bucket { .. } => {
                let location = path(name);
                let read = async {
                    let options = GetOptions::new().with_range(Some(range));
                    bounded(self.inner.get_opts(&location, options).await?, wanted).await
                };
                let content = self.wait(wanted, read).map_err(|failure| failure.classify(name));
                let content = content.map_err(|error| self.denied_or_missing(name, error))?;
                content.ok_or_else(|| {
                    let reason = format!("more than {wanted} bytes came");
                    StoreError::new(StoreErrorKind::Length, name.to_owned(), reason)
                })?
            }
        };
        self.count_local(|requests| requests.add_get("", content.len() as u64));
        // A file may end before the range does.
        if content.len() as u64 != wanted {
            let reason = format!("{} bytes came instead of {wanted}", content.len());
            return Err(StoreError::new(StoreErrorKind::Length, name.to_owned(), reason));
        }
        Ok(content)
    }

    /// Lists the objects under a prefix in the order of their names, those after `after` if given.
    pub fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        if let Location::Folder(folder) = &self.location {
            self.counter.count(|requests| requests.list += 1);
            let mut listed = super::folder::list(folder, prefix)
                .map_err(|error| StoreError::of_file(prefix, &error))?;
            if listed.len() > LISTED_MAX {
                let reason = format!("more than {LISTED_MAX} objects are there");
                return Err(StoreError::new(StoreErrorKind::Length, prefix.to_owned(), reason));
            }
            listed.retain(|object| after.is_none_or(|after| object.name.as_str() > after));
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(listed);
        }
        let prefix_path = path(prefix);
        let list = async {
            let stream = match after {
                Some(after) => self.inner.list_with_offset(Some(&prefix_path), &path(after)),
                None => self.inner.list(Some(&prefix_path)),
            };
            stream.take(LISTED_MAX + 1).try_collect::<Vec<_>>().await
        };
        let found = self.wait(0, list).map_err(|failure| failure.classify(prefix))?;
        if found.len() > LISTED_MAX {
            let reason = format!("more than {LISTED_MAX} objects are there");
            return Err(StoreError::new(StoreErrorKind::Length, prefix.to_owned(), reason));
        }
        let mut listed: Vec<Listed> = found
            .into_iter()
            .map(|meta| Listed {
                name: meta.location.to_string(),
                bytes: meta.size,
                modified: meta.last_modified.timestamp(),
            })
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Finds out what a refused read means. S3 hides from a role that may not list all of the bucket
    /// that an object does not exist: it refuses to read it.
    pub(super) fn denied_or_missing(&self, name: &str, error: StoreError) -> StoreError {
        if !self.location.is_remote() {
            return error.of_object();
        }
        if error.kind == StoreErrorKind::Denied && matches!(self.length(name), Ok(None)) {
            return StoreError::new(StoreErrorKind::NotFound, name.to_owned(), error.reason);
        }
        error
    }

    /// Returns the length of an object, `None` if there is none. It is looked up in a listing: a
    /// writer may list and must not need the right to read, which a HEAD asks for.
    pub fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
        if let Location::Folder(folder) = &self.location {
            self.counter.count(|requests| requests.add_head(""));
            return match std::fs::metadata(folder.join(name)) {
                Ok(found) => Ok(Some(found.len())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(StoreError::of_file(name, &error).of_object()),
            };
        }
        let (prefix, _) = name.rsplit_once('/').unwrap_or(("", name));
        // Names after this one: the object itself is the first or among the first.
        let before = &name[..name.len() - 1];
        let (prefix, before, wanted) = (path(prefix), path(before), path(name));
        let look = async {
            let mut found = self.inner.list_with_offset(Some(&prefix), &before);
            while let Some(meta) = found.try_next().await? {
                if meta.location >= wanted {
                    return Ok(Some(meta).filter(|meta| meta.location == wanted));
                }
            }
            Ok(None)
        };
        let found = self.wait(0, look).map_err(|failure| failure.classify(name))?;
        Ok(found.map(|meta| meta.size))
    }

    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.count_local(|requests| requests.delete += 1);
        let deleted = self.wait(0, self.inner.delete(&path(name)));
        deleted.map_err(|failure| {
            let of_system = !self.location.is_remote();
            StoreError { of_system, ..failure.classify(name) }
        })
    }

    /// Fails on something in a folder that is no file.
    fn expect_file(&self, name: &str) -> Result<(), StoreError> {
        let Location::Folder(folder) = &self.location else { return Ok(()) };
        super::folder::expect_file(&folder.join(name)).map_err(|error| match error.kind() {
            std::io::ErrorKind::Other => {
                StoreError::new(StoreErrorKind::Length, name.to_owned(), error.to_string())
            }
            _ => StoreError::of_file(name, &error).of_object(),
        })
    }

    /// Counts a request to a folder; those to a remote store are counted on the wire.
    pub(super) fn count_local(&self, with: impl FnOnce(&mut Requests)) {
        if !self.location.is_remote() {
            self.counter.count(with);
        }
    }

    /// Runs a request to its end; gives up on one that makes no headway.
    fn wait<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        self.runtime.block_on(self.limited(bytes, request))
    }

    /// Bounds the time of a request that moves `bytes`.
    pub(super) async fn limited<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Failure> {
        let limit = self.retry_for + self.answer_within + Duration::from_secs(bytes / RATE_MIN);
        match tokio::time::timeout(limit, request).await {
            Ok(result) => result.map_err(Failure::Store),
            Err(_) => Err(Failure::Stalled(limit)),
        }
    }
}

/// Reads a body of at most `bytes_max` bytes; `None` if there are more, whatever its head said.
async fn bounded(answer: GetResult, bytes_max: u64) -> object_store::Result<Option<Bytes>> {
    let promised = (answer.range.end - answer.range.start).min(bytes_max);
    let mut content = Vec::with_capacity(usize::try_from(promised).unwrap_or(0));
    let mut stream = answer.into_stream();
    while let Some(part) = stream.try_next().await? {
        if content.len() as u64 + part.len() as u64 > bytes_max {
            return Ok(None);
        }
        content.extend_from_slice(&part);
    }
    Ok(Some(content.into()))
}

pub(super) enum Failure {
    Store(object_store::Error),
    Stalled(Duration),
}

impl Failure {
    pub fn classify(self, name: &str) -> StoreError {
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

pub(super) fn path(name: &str) -> Path {
    Path::from(name)
}
