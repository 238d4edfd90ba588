//! The log of requests: what a test can see of a request before and after it is answered.

use hyper::body::Incoming;
use hyper::header::{HeaderValue, RANGE};

use super::store::Store;
use super::thaw::ThawRequest;

/// What is known about a request before it is executed.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method: `GET`, `PUT`, …
    pub method: String,
    /// `/bucket/key`, percent-decoded.
    pub path: String,
    /// The query after the `?`, as it was sent; empty if there is none.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl RequestHead {
    /// Returns the value of a header; its name must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn of(request: &hyper::Request<Incoming>) -> RequestHead {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let uri = request.uri();
        let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy();
        RequestHead {
            method: request.method().to_string(),
            path: path.into_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            range: request.headers().get(RANGE).map(text),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect(),
        }
    }
}

/// A line of the log of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method: `GET`, `PUT`, …
    pub method: String,
    /// `/bucket/key`, percent-decoded.
    pub path: String,
    /// The query after the `?`, as it was sent; empty if there is none.
    pub query: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The status that was sent, or 0 if the connection was closed without one.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
    /// The storage class of the object that is read or written. `None` if there is no such object,
    /// or if the request is about a bucket.
    pub class: Option<String>,
    /// The parameters of a RestoreObject request, if its object exists.
    pub thaw: Option<ThawRequest>,
}

impl Request {
    /// Returns the line of a request that is not answered yet.
    pub(crate) fn begin(head: RequestHead, store: &Store) -> Request {
        Request {
            class: class_of(&head, store),
            method: head.method,
            path: head.path,
            query: head.query,
            range: head.range,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            thaw: None,
        }
    }
}

fn class_of(head: &RequestHead, store: &Store) -> Option<String> {
    let (bucket, key) = head.path.strip_prefix('/')?.split_once('/')?;
    if key.is_empty() {
        return None;
    }
    let upload = head.query.split('&').find_map(|part| part.strip_prefix("uploadId="));
    if let Some(upload) = upload {
        let state = store.lock();
        return state.uploads.get(upload).map(|upload| upload.class.clone());
    }
    let begins_upload = head.query.split('&').any(|part| matches!(part, "uploads" | "uploads="));
    if head.method == "PUT" || begins_upload {
        let class = head.header("x-amz-storage-class").unwrap_or("STANDARD");
        return Some(class.to_owned());
    }
    let state = store.lock();
    let object = state.buckets.get(bucket)?.get(key)?;
    Some(object.class.clone())
}
