//! The blocking client of a store, over `object_store`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::credentials::Renewed;
use super::link::{LinkOptions, Pulse};
use super::options::path;
use super::pages::ListedBucket;
use super::patience::{Patience, Try};
use super::requests::Counter;
use super::trouble::{Retry, Trouble};
use super::watch::Watch;
use super::window::ObjectRange;
use super::wire::Wire;
use super::{Location, Requests, StoreError, StoreErrorKind, StoreOptions, layout, remote};

/// The objects of one repository.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) runtime: Arc<tokio::runtime::Runtime>,
    pub(super) counter: Arc<Counter>,
    /// `None` for a store that cannot thaw.
    pub(super) wire: Option<Wire>,
    /// `None` for a folder, and for a store that the caller has opened.
    pub(super) bucket: Option<ListedBucket>,
    location: Location,
    pub(super) patience: Arc<Patience>,
    pub(super) idle_max: Duration,
}

impl Store {
    /// Opens the store; a folder must exist. Makes no request.
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Store, StoreError> {
        let counter = Arc::new(Counter::default());
        let pulse = Arc::new(Pulse::default());
        let credentials = options.credentials.clone().map(|source| Arc::new(Renewed::new(source)));
        let (inner, wire, bucket): (Arc<dyn ObjectStore>, _, _) = match location {
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
                (Arc::new(local), None, None)
            }
            Location::Bucket { provider, bucket, prefix } => {
                super::settings::check(&options.settings, bucket)?;
                let link = LinkOptions {
                    idle_max: options.idle_max,
                    pulse: pulse.clone(),
                    watch: options.watch.clone(),
                    limits: options.limits.clone(),
                    ca_bundle: certificates(&options.ca_bundle)?,
                };
                let wires = remote::Wires { counter: &counter, link, credentials: &credentials };
                let opened = remote::open(*provider, bucket, prefix, options, wires);
                let remote::Remote { inner, wire, bucket } =
                    opened.map_err(|error| StoreError::classify(&location.to_string(), &error))?;
                (inner, wire, Some(bucket))
            }
        };
        let patience = Patience::new(options.watch.clone(), options.retry_for, pulse, credentials);
        let store = Store::assemble(inner, counter, patience, location, options)?;
        Ok(Store { wire, bucket, ..store })
    }

    /// Wraps an `object_store` that the caller has opened, for stores that no URL names. `location` must be a bucket;
    /// messages show it, and its provider determines the storage classes.
    ///
    /// `inner` must refuse [`PutMode::Create`] if the name is taken, and must end a request that makes no progress.
    /// Such a store cannot thaw, and its requests are not counted, because requests are counted on the wire.
    pub fn over(
        inner: Arc<dyn ObjectStore>,
        location: &Location,
        options: &StoreOptions,
    ) -> Result<Store, StoreError> {
        if !location.is_remote() {
            let reason = "a folder is opened by its path".to_owned();
            return Err(StoreError::new(StoreErrorKind::Location, location.to_string(), reason));
        }
        let (watch, pulse) = (options.watch.clone(), Arc::default());
        let patience = Patience::new(watch, options.retry_for, pulse, None);
        Store::assemble(inner, Arc::default(), patience, location, options)
    }

    fn assemble(
        inner: Arc<dyn ObjectStore>,
        counter: Arc<Counter>,
        patience: Patience,
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
            wire: None,
            bucket: None,
            location: location.clone(),
            patience: Arc::new(patience),
            idle_max: options.idle_max,
        })
    }

    /// Creates the folder of a new repository. Never creates a bucket.
    pub fn create_folder(location: &Location) -> Result<(), StoreError> {
        if let Location::Folder(path) = location
            && !path.is_dir()
        {
            super::folder::create_folder(path).map_err(|error| other(location, &error))?;
        }
        Ok(())
    }

    /// Creates the folders of a new repository in its folder. A bucket has none.
    pub fn create_prefixes(&self) -> Result<(), StoreError> {
        match &self.location {
            Location::Folder(path) => {
                super::folder::create_prefixes(path).map_err(|error| other(&self.location, &error))
            }
            Location::Bucket { .. } => Ok(()),
        }
    }

    /// Returns where the store is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> Requests {
        self.counter.get()
    }

    /// Creates an object. Returns false, and changes nothing, if the name is taken. The existing object may come from
    /// our own earlier attempt whose acknowledgement was lost; only the caller can find that out.
    pub fn create(&self, name: &str, class: &str, content: Bytes) -> Result<bool, StoreError> {
        let bytes = content.len() as u64;
        let options = put_options(PutMode::Create, class);
        if let Location::Folder(folder) = &self.location {
            self.counter.count(|requests| requests.add_put(class, bytes));
            self.expect_folder(name)?;
            return super::folder::create(&folder.join(name), &content)
                .map_err(|error| StoreError::of_file(name, &error).of_place(&self.location));
        }
        let mut is_back = false;
        self.wait(name, async |this| {
            // Do not send an object again if it has arrived. A role without the right to list repeats the put
            // instead.
            if this.maybe_done {
                match self.look_again(name, bytes).await {
                    Ok(Some(_)) => return Ok(false),
                    // Report no more than once that the store answers, because it may continue to
                    // refuse puts.
                    Ok(None) if !std::mem::replace(&mut is_back, true) => {
                        self.patience.answered(true);
                    }
                    Ok(None) => {}
                    Err(error) if error.again != Retry::Never => return Err(error),
                    Err(_) => {}
                }
            }
            match self.inner.put_opts(&path(name), content.clone().into(), options.clone()).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => {
                    self.expect_taken(name).await.map(|()| false)
                }
                Err(error) => Err(match StoreError::classify(name, &error) {
                    error if error.kind == StoreErrorKind::Unsupported => {
                        StoreError { remedy: Some(super::NO_CREATE_ONLY.to_owned()), ..error }
                    }
                    error => error,
                }),
            }
        })
    }

    /// Replaces a damaged object. This is the only put that overwrites.
    pub fn replace(&self, name: &str, content: Bytes) -> Result<(), StoreError> {
        self.replace_as(name, "", content)
    }

    /// Like [`replace`](Self::replace), but with a storage class.
    pub fn replace_as(&self, name: &str, class: &str, content: Bytes) -> Result<(), StoreError> {
        let bytes = content.len() as u64;
        if let Location::Folder(folder) = &self.location {
            self.counter.count(|requests| requests.add_put(class, bytes));
            self.expect_folder(name)?;
            return super::folder::replace(&folder.join(name), &content)
                .map_err(|error| StoreError::of_file(name, &error).of_place(&self.location));
        }
        self.wait(name, async |_| {
            let options = put_options(PutMode::Overwrite, class);
            let put = self.inner.put_opts(&path(name), content.clone().into(), options).await;
            put.map(drop).map_err(|error| StoreError::classify(name, &error))
        })
    }

    /// Makes the name of an object durable. Another run may have created it and been killed before its sync.
    pub fn sync(&self, name: &str) -> Result<(), StoreError> {
        let Location::Folder(folder) = &self.location else { return Ok(()) };
        let path = folder.join(name);
        super::folder::sync(path.parent().unwrap_or(folder))
            .map_err(|error| StoreError::of_file(name, &error).of_place(&self.location))
    }

    /// Removes the temporary files that killed runs left while they created an object; only folders
    /// have them.
    pub fn sweep(&self, name: &str) -> Result<(), StoreError> {
        match &self.location {
            Location::Folder(folder) => super::folder::sweep(&folder.join(name))
                .map_err(|error| StoreError::of_file(name, &error)),
            Location::Bucket { .. } => Ok(()),
        }
    }

    /// Removes all temporary files of killed runs in a folder that are older than a time in seconds
    /// since 1970. Returns the number of files and bytes.
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
        let content = self.read(name, None, bytes_max)?;
        let content = content.ok_or_else(|| {
            let reason = format!("larger than {bytes_max} bytes");
            StoreError::new(StoreErrorKind::Length, name.to_owned(), reason)
        })?;
        self.count_local(|requests| requests.add_get("", content.len() as u64));
        Ok(content)
    }

    /// Reads and decodes a whole object. If an object of a bucket does not decode, reads it once more, because the
    /// network may have damaged it.
    pub fn get_as<T, E>(
        &self,
        name: &str,
        bytes_max: u64,
        decode: impl Fn(&Bytes) -> Result<T, E>,
    ) -> Result<(Bytes, Result<T, E>), StoreError> {
        let object = self.get(name, bytes_max)?;
        match decode(&object) {
            Err(_) if self.location.is_remote() => {
                let object = self.get(name, bytes_max)?;
                let decoded = decode(&object);
                Ok((object, decoded))
            }
            decoded => Ok((object, decoded)),
        }
    }

    /// Reads as much of a range as possible. In a folder, the result is shorter if the object ends, and has zeros for
    /// unreadable sectors. In a bucket, returns the whole range or an error.
    pub fn salvage(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let Location::Folder(folder) = &self.location else { return self.get_range(name, range) };
        self.expect_file(name)?;
        let content = super::folder::salvage(&folder.join(name), range)
            .map_err(|error| StoreError::of_file(name, &error).of_object())?;
        self.count_local(|requests| requests.add_get("", content.len() as u64));
        Ok(content.into())
    }

    /// Returns a range to read piece by piece, or fails as [`Store::get_range`] does.
    pub fn window(&self, name: &str, range: Range<u64>) -> Result<ObjectRange, StoreError> {
        let Location::Folder(folder) = &self.location else {
            return Ok(ObjectRange::held(name, range.start, self.get_range(name, range)?));
        };
        self.expect_file(name)?;
        let window = ObjectRange::open(name, &folder.join(name), range)?;
        self.count_local(|requests| requests.add_get("", window.bytes()));
        Ok(window)
    }

    /// Reads exactly the range, or fails.
    pub fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.expect_file(name)?;
        let wanted = range.end - range.start;
        let content = match &self.location {
            Location::Folder(folder) => {
                let content = super::folder::read(&folder.join(name), range);
                content.map_err(|error| StoreError::of_file(name, &error).of_object())?.into()
            }
            Location::Bucket { .. } => self.read(name, Some(range), wanted)?.ok_or_else(|| {
                let reason = format!("the store sent more than {wanted} bytes");
                StoreError::new(StoreErrorKind::Length, name.to_owned(), reason)
            })?,
        };
        self.count_local(|requests| requests.add_get("", content.len() as u64));
        // The file may be shorter than the range.
        if content.len() as u64 != wanted {
            let reason = format!("the store sent {} bytes instead of {wanted}", content.len());
            return Err(StoreError::new(StoreErrorKind::Length, name.to_owned(), reason));
        }
        Ok(content)
    }

    /// Distinguishes a denied read from a missing object: to a role without the right to list the whole bucket, S3
    /// answers "access denied" for both.
    pub(super) fn denied_or_missing(&self, name: &str, error: StoreError) -> StoreError {
        if !self.location.is_remote() {
            return error.of_object();
        }
        if error.kind == StoreErrorKind::Denied && matches!(self.length(name), Ok(None)) {
            return StoreError::new(StoreErrorKind::NotFound, name.to_owned(), error.reason);
        }
        error
    }

    /// Deletes an object. Succeeds if it does not exist.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.count_local(|requests| requests.delete += 1);
        self.expect_folder(name)?;
        let of_system = !self.location.is_remote();
        self.wait(name, async |_| {
            let deleted = self.inner.delete(&path(name)).await;
            deleted.map_err(|error| match StoreError::classify(name, &error) {
                error if of_system => StoreError { of_system, again: Retry::Never, ..error },
                error => error,
            })
        })
    }

    /// Returns whether something in a folder has this name that is not a file.
    pub(crate) fn is_no_file(&self, name: &str) -> bool {
        let Location::Folder(folder) = &self.location else { return false };
        let path = folder.join(name);
        path.symlink_metadata().is_ok() && !path.metadata().is_ok_and(|stat| stat.is_file())
    }

    /// Fails if a name in a folder is not a file.
    fn expect_file(&self, name: &str) -> Result<(), StoreError> {
        let Location::Folder(folder) = &self.location else { return Ok(()) };
        super::folder::expect_file(&folder.join(name)).map_err(|error| match error.kind() {
            std::io::ErrorKind::Other => {
                StoreError::new(StoreErrorKind::Length, name.to_owned(), error.to_string())
            }
            _ => StoreError::of_file(name, &error).of_object(),
        })
    }

    /// Counts a request to a folder. Requests to a remote store are counted on the wire.
    pub(super) fn count_local(&self, with: impl FnOnce(&mut Requests)) {
        if !self.location.is_remote() {
            self.counter.count(with);
        }
    }

    /// Runs a request, and repeats it as long as it may still succeed.
    pub(super) fn wait<T>(
        &self,
        name: &str,
        request: impl AsyncFnMut(&Try) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.runtime.block_on(self.patience.run(name, request))
    }

    /// Reads an object or a range of it; returns `None` if that is longer than `bytes_max`. If an answer breaks off,
    /// the next request continues from there, because the bytes that arrived are billed.
    fn read(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let mut reading = Download { range, content: BytesMut::new() };
        let read =
            self.wait(name, async |this| self.read_on(name, &mut reading, bytes_max, this).await);
        match read.map_err(|error| self.denied_or_missing(name, error))? {
            true => Ok(Some(reading.content.freeze())),
            false => Ok(None),
        }
    }

    /// Continues where the previous attempt ended. Returns false if the object is too long.
    async fn read_on(
        &self,
        name: &str,
        reading: &mut Download,
        bytes_max: u64,
        this: &Try,
    ) -> Result<bool, StoreError> {
        let classify = |error: object_store::Error| StoreError::classify(name, &error);
        let known = reading.content.len() as u64;
        let wanted = reading.range.clone().map(|range| range.start + known..range.end);
        if wanted.as_ref().is_some_and(Range::is_empty) {
            return Ok(true);
        }
        let options = GetOptions::new().with_range(wanted);
        let answer = self.inner.get_opts(&path(name), options).await.map_err(classify)?;
        // Every object in a bucket has an ETag. Without one, something between us and the store sent this.
        if self.bucket.is_some() && answer.meta.e_tag.is_none() {
            return Err(StoreError::of_trouble(name, &Trouble::page()));
        }
        let promised = answer.range.end - answer.range.start;
        // Check the length before reading the body, so that a hostile store cannot fill the memory.
        if known + promised > bytes_max {
            return Ok(false);
        }
        if promised == 0 && self.location.is_remote() {
            self.expect_empty(name).await?;
        }
        let from = answer.range.start - known;
        reading.range = Some(from..answer.range.end);
        reading.content.reserve(usize::try_from(promised).unwrap_or(0));
        let mut stream = answer.into_stream();
        while let Some(part) = stream.try_next().await.map_err(classify)? {
            if (reading.content.len() + part.len()) as u64 > bytes_max {
                return Ok(false);
            }
            reading.content.extend_from_slice(&part);
            this.moved();
        }
        if (reading.content.len() as u64) < known + promised {
            let reason = "the answer broke off".to_owned();
            let error = StoreError::new(StoreErrorKind::Unreachable, name.to_owned(), reason);
            return Err(StoreError { again: Retry::Sent, ..error });
        }
        Ok(true)
    }

    /// Returns the watcher that receives this store's reports.
    pub fn watch(&self) -> &dyn Watch {
        &*self.patience.watch
    }

    /// Returns the time by the clock of a bucket, in seconds since 1970 UTC. Returns `None` for a folder, which has no
    /// clock of its own, and before the first answer.
    pub fn time(&self) -> Option<i64> {
        self.counter.clock.time()
    }
}

/// The part of an object that has arrived.
struct Download {
    /// The requested range, once it is known.
    range: Option<Range<u64>>,
    content: BytesMut,
}

fn put_options(mode: PutMode, class: &str) -> PutOptions {
    let mut options = PutOptions::from(mode);
    if !class.is_empty() {
        options.attributes = Attributes::from_iter([(Attribute::StorageClass, class.to_owned())]);
    }
    options
}

/// Parses the certificates of a bundle.
fn certificates(
    bundle: &Option<(String, Vec<u8>)>,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let Some((name, pem)) = bundle else { return Ok(Vec::new()) };
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => {
            let remedy = "name a PEM file, which has lines with BEGIN CERTIFICATE".to_owned();
            Err(StoreError::of_setting(name, "it contains no certificate that can be read", remedy))
        }
    }
}

fn other(location: &Location, error: &std::io::Error) -> StoreError {
    StoreError::of_file(&location.to_string(), error)
}
