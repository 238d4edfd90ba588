//! A store that stops at one of its operations, like a killed program.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use icecore_engine::store::{Location, Store, StoreOptions};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Objects in memory that allow only a number of further operations.
#[derive(Clone)]
pub struct Dying {
    objects: Arc<InMemory>,
    left: Arc<AtomicI64>,
    /// Whether the last operation is executed, although its answer is lost.
    does_last: bool,
}

impl Dying {
    pub fn new() -> Dying {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        Dying { objects: Arc::new(InMemory::new()), left, does_last: false }
    }

    /// Returns a store with the same objects that allows this many operations.
    pub fn for_operations(&self, left: i64, does_last: bool) -> Dying {
        Dying { objects: self.objects.clone(), left: Arc::new(AtomicI64::new(left)), does_last }
    }

    /// Returns the number of executed operations, if it started with `i64::MAX`.
    pub fn operations(&self) -> i64 {
        i64::MAX - self.left.load(Ordering::SeqCst)
    }

    pub fn store(&self) -> Store {
        let location = Location::parse("s3://mirror").expect("a URL");
        let options = StoreOptions { retry_for: Duration::ZERO, ..StoreOptions::default() };
        Store::over(Arc::new(self.clone()), &location, &options).expect("a store")
    }

    /// Returns whether an operation is executed, and whether it is answered.
    fn goes_on(&self) -> (bool, bool) {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            2.. => (true, true),
            1 => (self.does_last, false),
            _ => (false, false),
        }
    }
}

fn lost() -> Error {
    Error::Generic { store: "dying", source: "the host has ended".into() }
}

impl fmt::Debug for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dying")
    }
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dying")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Dying {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (is_done, is_answered) = self.goes_on();
        if !is_done {
            return Err(lost());
        }
        let put = self.objects.put_opts(path, payload, options).await;
        if is_answered { put } else { Err(lost()) }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.goes_on() {
            (true, true) => self.objects.get_opts(path, options).await,
            _ => Err(lost()),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.goes_on() {
            (true, true) => self.objects.list(prefix),
            _ => stream::iter([Err(lost())]).boxed(),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.goes_on() {
            (true, true) => self.objects.delete_stream(paths),
            _ => stream::iter([Err(lost())]).boxed(),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        panic!("{path}: objects are put whole")
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        panic!("listings are flat")
    }

    async fn copy_opts(&self, from: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        panic!("{from}: nothing is ever copied")
    }
}
