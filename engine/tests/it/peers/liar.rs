//! A store in memory that can return wrong listings or refuse reads.

use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// How a listing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    Nothing,
    /// The listing is empty, without an error.
    Empty,
    /// The newest object is missing, without an error.
    Short,
    /// It breaks off with an error after the first object.
    BreaksOff,
    /// Objects are listed, but cannot be read.
    Unreadable,
}

/// A store with wrong listings under one prefix.
#[derive(Clone)]
pub struct Liar {
    pub inner: Arc<InMemory>,
    lie: Arc<Mutex<(Lie, &'static str)>>,
}

impl Liar {
    pub fn new() -> Liar {
        let lie = Arc::new(Mutex::new((Lie::Nothing, "")));
        Liar { inner: Arc::new(InMemory::new()), lie }
    }

    pub fn tell(&self, lie: Lie, prefix: &'static str) {
        *self.lie.lock().expect("nothing panics here") = (lie, prefix);
    }
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Liar")
    }
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Liar")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Liar {
    async fn put_opts(&self, path: &Path, put: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(path, put, how).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let (lie, about) = *self.lie.lock().expect("nothing panics here");
        if lie == Lie::Unreadable && path.as_ref().starts_with(about) {
            let source = std::io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
            return Err(Error::Generic { store: "liar", source: Box::new(source) });
        }
        self.inner.get_opts(path, options).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (lie, about) = *self.lie.lock().expect("nothing panics here");
        let listed = self.inner.list(prefix);
        if !prefix.is_some_and(|prefix| prefix.as_ref().starts_with(about)) {
            return listed;
        }
        // The listing of a store in memory never waits.
        let mut listed: Vec<_> = futures_util::FutureExt::now_or_never(listed.collect::<Vec<_>>())
            .expect("a listing of memory waits for nobody");
        match lie {
            Lie::Nothing | Lie::Unreadable => {}
            Lie::Empty => listed.clear(),
            Lie::Short => _ = listed.pop(),
            Lie::BreaksOff => {
                listed.truncate(1);
                let source = "the connection was closed".into();
                listed.push(Err(Error::Generic { store: "liar", source }));
            }
        }
        stream::iter(listed).boxed()
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
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
