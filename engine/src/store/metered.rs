//! Counts all requests and bytes to and from a remote store on the wire, and reads headers that `object_store` does not
//! pass on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

use super::answer;
use super::link::{Link, LinkOptions};
use super::pages::{Classes, classes};
use super::requests::Counter;

/// The header with which S3 names the version of an object; a bucket that never kept versions has none.
const VERSION: &str = "x-amz-version-id";

/// Headers of an answer that show the state of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StateHeaders {
    /// Empty for the store's default class.
    pub class: String,
    /// `x-amz-restore`: the state of a thaw.
    pub restore: Option<String>,
    /// The archive tier of the object, if its class does not show it, or the rehydration state on
    /// Azure.
    pub archive_status: Option<String>,
    /// `x-amz-checksum-crc64nvme`, if the request asked for it.
    pub crc64: Option<u64>,
}

impl StateHeaders {
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |names: [&str; 3]| {
            let found = names.into_iter().find_map(|name| headers.get(name));
            found.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let class = text(["x-amz-storage-class", "x-goog-storage-class", "x-ms-access-tier"]);
        StateHeaders {
            class: class.unwrap_or_default(),
            restore: text(["x-amz-restore", "", ""]),
            archive_status: text(["x-amz-archive-status", "x-ms-archive-status", ""]),
            crc64: text(["x-amz-checksum-crc64nvme", "", ""]).and_then(|text| crc64_of(&text)),
        }
    }
}

/// Reads a CRC-64 as S3 writes it: base64 of its bytes, most significant first.
fn crc64_of(text: &str) -> Option<u64> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Creates HTTP clients that count their requests.
#[derive(Debug, Clone)]
pub(super) struct MeteredConnector {
    pub counter: Arc<Counter>,
    pub link: LinkOptions,
}

impl HttpConnector for MeteredConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let link = Link::new(self.link.clone(), allows_http.as_deref() == Some("true"));
        let link = link.map_err(|error| object_store::Error::Generic {
            store: "HTTP",
            source: Box::new(error),
        })?;
        let inner = HttpClient::new(link);
        Ok(HttpClient::new(Metered { inner, counter: self.counter.clone() }))
    }
}

#[derive(Debug)]
struct Metered {
    inner: HttpClient,
    counter: Arc<Counter>,
}

#[async_trait]
impl HttpService for Metered {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        encode_spaces(request.uri_mut());
        let asked = Billed::of(&request);
        let mut response = self.inner.execute(request).await?;
        let headers = StateHeaders::of(response.headers());
        if response.status().is_success() {
            self.counter.clock.hear(response.headers());
            if response.headers().contains_key(VERSION) {
                self.counter.has_versions.store(true, Ordering::Relaxed);
            }
        }
        if !response.status().is_server_error() {
            self.count(&asked, &headers.class);
        }
        if matches!(asked, Billed::Get) && response.status().is_success() {
            response = self.counted(response, &headers.class);
        }
        response.extensions_mut().insert(headers);
        if matches!(asked, Billed::List) && response.status().is_success() {
            return with_classes(response).await;
        }
        Ok(response)
    }
}

/// Encodes a space in a query as `%20`, which is what was signed. `object_store` sends `+`, and some servers read that
/// as a plus sign when they verify the signature. A real plus sign is `%2B` in a query.
fn encode_spaces(uri: &mut Uri) {
    let encoded = uri.query().filter(|query| query.contains('+')).and_then(|query| {
        let path_and_query = format!("{}?{}", uri.path(), query.replace('+', "%20"));
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path_and_query.parse().ok()?);
        Uri::from_parts(parts).ok()
    });
    if let Some(encoded) = encoded {
        *uri = encoded;
    }
}

/// Reads a page of a listing, and attaches the storage classes in it to the response.
async fn with_classes(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut head, body) = response.into_parts();
    let page = body.bytes().await?;
    head.extensions.insert(Classes(Arc::new(classes(&page))));
    Ok(HttpResponse::from_parts(head, page.into()))
}

impl Metered {
    fn count(&self, asked: &Billed, class: &str) {
        self.counter.count(|requests| match asked {
            Billed::Put { class, bytes } => requests.add_put(class, *bytes),
            // The bytes of a GET are counted as they arrive.
            Billed::Get => requests.add_get(class, 0),
            Billed::Head => requests.add_head(class),
            Billed::List => requests.list += 1,
            Billed::Delete => requests.delete += 1,
            Billed::Other => {}
        });
    }

    /// Counts the bytes of an object as they arrive, because an answer that breaks off is billed up to there.
    fn counted(&self, response: HttpResponse, class: &str) -> HttpResponse {
        let (parts, body) = response.into_parts();
        let (counter, class) = (self.counter.clone(), class.to_owned());
        HttpResponse::from_parts(parts, HttpResponseBody::new(Counted { body, counter, class }))
    }
}

/// The body of an object that is arriving.
struct Counted {
    body: HttpResponseBody,
    counter: Arc<Counter>,
    class: String,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.counter.count(|requests| requests.add_fetched(&self.class, data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The kinds of requests that a bill distinguishes.
enum Billed {
    Put {
        class: String,
        bytes: u64,
    },
    Get,
    Head,
    List,
    Delete,
    /// A thaw, which the caller of `thaw` counts, or a request that costs nothing.
    Other,
}

impl Billed {
    fn of(request: &HttpRequest) -> Billed {
        let query = request.uri().query().unwrap_or_default();
        let is_list = answer::is_listing(query);
        match *request.method() {
            Method::PUT => Billed::Put {
                class: StateHeaders::of(request.headers()).class,
                bytes: request.body().content_length() as u64,
            },
            Method::GET if is_list => Billed::List,
            Method::GET => Billed::Get,
            Method::HEAD => Billed::Head,
            Method::DELETE => Billed::Delete,
            _ => Billed::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_in_a_query_is_sent_as_it_was_signed() {
        for (sent, expected) in [
            (
                "http://s3/bucket?list-type=2&prefix=a+b%2Bc/",
                "http://s3/bucket?list-type=2&prefix=a%20b%2Bc/",
            ),
            ("http://s3/bucket/a+b?x-id=1", "http://s3/bucket/a+b?x-id=1"),
            ("http://s3/bucket/a%20b", "http://s3/bucket/a%20b"),
        ] {
            let mut uri: Uri = sent.parse().expect("an address");
            encode_spaces(&mut uri);
            assert_eq!(uri.to_string(), expected);
        }
    }
}
