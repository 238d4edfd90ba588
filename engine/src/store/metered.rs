//! What goes over the wire to a remote store: counted, and read for headers that `object_store`
//! does not pass on.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, Method, StatusCode, header};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use super::requests::Counter;

/// Headers of an answer that say in what state an object is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StateHeaders {
    /// Empty for the store's default class.
    pub class: String,
    /// `x-amz-restore`: how far a thaw has come.
    pub restore: Option<String>,
    /// The archive that holds the object although its class does not say so, or an answer of
    /// Azure to a rehydration.
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

/// Reads a CRC-64 as S3 writes it: base64 of its bytes, the highest first.
fn crc64_of(text: &str) -> Option<u64> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Makes clients that count.
#[derive(Debug, Clone)]
pub(super) struct MeteredConnector {
    pub counter: Arc<Counter>,
}

impl HttpConnector for MeteredConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
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
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = Asked::of(&request);
        let mut response = self.inner.execute(request).await?;
        let headers = StateHeaders::of(response.headers());
        if !response.status().is_server_error() {
            self.count(&asked, response.status(), response.headers(), &headers.class);
        }
        response.extensions_mut().insert(headers);
        Ok(response)
    }
}

impl Metered {
    fn count(&self, asked: &Asked, status: StatusCode, headers: &HeaderMap, class: &str) {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let fetched = if status.is_success() { length } else { 0 };
        self.counter.count(|requests| match asked {
            Asked::Put { class, bytes } => requests.add_put(class, *bytes),
            Asked::Get => requests.add_get(class, fetched),
            Asked::Head => requests.add_head(class),
            Asked::List => requests.list += 1,
            Asked::Delete => requests.delete += 1,
            Asked::Other => {}
        });
    }
}

/// What a request is, for a bill.
enum Asked {
    Put {
        class: String,
        bytes: u64,
    },
    Get,
    Head,
    List,
    Delete,
    /// A thaw, which is counted by who asks for it, or something that costs nothing.
    Other,
}

impl Asked {
    fn of(request: &HttpRequest) -> Asked {
        let query = request.uri().query().unwrap_or_default();
        let is_list = query.split('&').any(|part| {
            part.starts_with("list-type=") || part == "comp=list" || part.starts_with("prefix=")
        });
        match *request.method() {
            Method::PUT => Asked::Put {
                class: StateHeaders::of(request.headers()).class,
                bytes: request.body().content_length() as u64,
            },
            Method::GET if is_list => Asked::List,
            Method::GET => Asked::Get,
            Method::HEAD => Asked::Head,
            Method::DELETE => Asked::Delete,
            _ => Asked::Other,
        }
    }
}
