//! The `ObjectStore` through which a host reaches the bucket.

use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::store::{Answer, Bucket, Operation};

/// One host's connection to the current bucket. Without a host, every operation is done at once.
#[derive(Clone)]
pub struct Line {
    bucket: Arc<Mutex<Option<Arc<Bucket>>>>,
    host: Option<usize>,
}

impl Line {
    pub fn new(host: Option<usize>) -> Line {
        Line { bucket: Arc::default(), host }
    }

    pub fn turn_to(&self, bucket: &Arc<Bucket>) {
        *self.bucket.lock().expect("nothing panics here") = Some(bucket.clone());
    }

    fn operate(&self, operation: Operation) -> Result<Answer> {
        let bucket = self.bucket.lock().expect("nothing panics here").clone();
        let bucket = bucket.expect("a bucket was turned to");
        match self.host {
            Some(host) => bucket.operate(host, operation),
            None => bucket.perform(&operation),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?})", self.host)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Line {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        assert_eq!(options.mode, PutMode::Create, "{path}: nothing is ever overwritten");
        match self.operate(Operation::Put(path.clone(), payload, options.attributes))? {
            Answer::Put(answer) => Ok(answer),
            _ => unreachable!("a put is answered like one"),
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.operate(Operation::Get(path.clone(), options))? {
            Answer::Get(answer) => Ok(*answer),
            _ => unreachable!("a get is answered like one"),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.operate(Operation::List(prefix.cloned())) {
            Ok(Answer::List(found)) => stream::iter(found.into_iter().map(Ok)).boxed(),
            Ok(_) => unreachable!("a listing is answered like one"),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let line = self.clone();
        let delete = move |path: Result<Path>| {
            let path = path?;
            line.operate(Operation::Delete(path.clone()))?;
            Ok(path)
        };
        paths.map(delete).boxed()
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
