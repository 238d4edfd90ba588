//! Cold objects: reads their state, and requests thaws.
//!
//! S3 calls a thaw RestoreObject. `object_store` supports neither this request nor one for the
//! checksum that S3 keeps of an object, so this module signs both requests itself. It is safe to
//! request a thaw twice: the store answers that it is in progress.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method};
use object_store::GetOptions;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequestBody, HttpResponse};

use super::client::Store;
use super::clock::seconds_of;
use super::metered::StateHeaders;
use super::options::path;
use super::patience::Try;
use super::wire::Wire;
use super::{ClassFacts, Provider, StoreError, StoreErrorKind, ThawNeed, Tier};

/// Number of concurrent requests. They make some hundreds per second, below the thousand that S3
/// allows.
const CONCURRENT: usize = 32;
/// Validity of a signed URL. The URL is never used; only the address of the object is extracted
/// from it.
const SIGNED_FOR: Duration = Duration::from_secs(60);

/// Whether an object can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// Readable at any time.
    Warm,
    /// Readable as a temporary copy.
    Thawed {
        /// When the copy expires, in seconds since 1970 UTC.
        until: i64,
    },
    /// Not readable yet: a thaw is in progress.
    Thawing,
    /// Not readable until it is thawed.
    Cold,
}

impl ObjectState {
    /// Returns whether it can be read now.
    pub fn is_readable(self) -> bool {
        matches!(self, ObjectState::Warm | ObjectState::Thawed { .. })
    }

    /// Reads the state of an object from the headers of an answer of its store.
    pub fn of_headers(provider: Provider, headers: &HeaderMap) -> ObjectState {
        state_of(Some(provider), &StateHeaders::of(headers))
    }
}

/// What a HEAD request returns about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Size of the object.
    pub bytes: u64,
    /// Empty for the store's default class.
    pub class: String,
    /// Whether it can be read.
    pub state: ObjectState,
    /// The CRC-64/NVME of the whole object, if the store keeps one.
    pub crc64: Option<u64>,
}

/// A thaw to request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThawRequest {
    /// Name of the object.
    pub name: String,
    /// Its storage class, by which the request is counted.
    pub class: String,
    /// Size of the object.
    pub bytes: u64,
    /// The tier.
    pub tier: Tier,
    /// How long the temporary copy is kept.
    pub days: u32,
}

/// The answer of the store to a thaw request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThawAnswer {
    /// The thaw begins.
    Accepted,
    /// A thaw is already in progress.
    InProgress,
    /// The object is already readable; its days start again.
    Readable,
}

impl ThawAnswer {
    /// Reads an answer to RestoreObject, from its status and at least the beginning of its body.
    pub fn read(name: &str, status: u16, body: &str) -> Result<ThawAnswer, StoreError> {
        match status {
            202 => Ok(ThawAnswer::Accepted),
            200 => Ok(ThawAnswer::Readable),
            _ if body.contains("RestoreAlreadyInProgress") => Ok(ThawAnswer::InProgress),
            // The object is not archived; most likely it is in INTELLIGENT_TIERING.
            _ if body.contains("InvalidObjectState") => Ok(ThawAnswer::Readable),
            _ => Err(StoreError::answered(name, status, body)),
        }
    }
}

impl Store {
    /// Makes HEAD requests for many objects at once. The answers are in the order of the names;
    /// `None` means that the object is missing.
    pub fn heads(&self, names: &[String]) -> Vec<Result<Option<Head>, StoreError>> {
        let looks = names.iter().map(|name| self.head_of(name));
        let found: Vec<Result<_, StoreError>> =
            self.runtime.block_on(stream::iter(looks).buffered(CONCURRENT).collect());
        let heads = found.into_iter().zip(names).map(|(found, name)| {
            match found.map_err(|error| self.denied_or_missing(name, error)) {
                Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
                other => other,
            }
        });
        heads.collect()
    }

    async fn head_of(&self, name: &str) -> Result<Option<Head>, StoreError> {
        if let Some(wire) = &self.wire {
            return self.patience.run(name, async |_| self.signed_head(wire, name).await).await;
        }
        self.count_local(|requests| requests.add_head(""));
        let look = async |_: &Try| {
            let options = GetOptions::new().with_head(true);
            let answer = self.inner.get_opts(&path(name), options).await;
            answer.map_err(|error| StoreError::classify(name, &error))
        };
        let answer = self.patience.run(name, look).await?;
        let headers = answer.extensions.get::<StateHeaders>().cloned().unwrap_or_default();
        Ok(Some(self.head(answer.meta.size, headers)))
    }

    fn head(&self, bytes: u64, headers: StateHeaders) -> Head {
        let state = state_of(self.location().provider(), &headers);
        Head { bytes, class: headers.class, state, crc64: headers.crc64 }
    }

    /// Makes a HEAD request that also asks S3 for the checksum.
    async fn signed_head(&self, wire: &Wire, name: &str) -> Result<Option<Head>, StoreError> {
        let headers = [("x-amz-checksum-mode", "ENABLED")];
        let answer = self.send(wire, name, (Method::HEAD, None), headers, Vec::new()).await?;
        if !answer.status().is_success() {
            // The answer to a HEAD has no body.
            return Err(StoreError::answered(name, answer.status().as_u16(), ""));
        }
        let length = answer.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let length = length.ok_or_else(|| other(name, "it has no length".to_owned()))?;
        let headers = answer.extensions().get::<StateHeaders>().cloned().unwrap_or_default();
        Ok(Some(self.head(length, headers)))
    }

    /// Signs and sends a request that `object_store` does not support. The signature is in headers,
    /// because S3 ignores headers that are not signed, and because a URL may end up in a message.
    async fn send(
        &self,
        wire: &Wire,
        name: &str,
        (method, query): (Method, Option<&str>),
        headers: [(&str, &str); 1],
        body: Vec<u8>,
    ) -> Result<HttpResponse, StoreError> {
        let refuse = |error: object_store::Error| StoreError::classify(name, &error);
        let url = wire.signer.signed_url(method.clone(), &path(name), SIGNED_FOR).await;
        let mut url = url.map_err(refuse)?;
        url.set_query(query);
        self.send_to(wire, name, (method, url.as_str()), headers, body).await
    }

    /// Sends a request about the bucket itself.
    pub(super) async fn send_to_bucket(
        &self,
        wire: &Wire,
        (method, query): (Method, &str),
        headers: [(&str, &str); 1],
    ) -> Result<HttpResponse, StoreError> {
        let url = wire.bucket_signer.signed_url(method.clone(), &path(""), SIGNED_FOR).await;
        let mut url = url.map_err(|error| StoreError::classify("", &error))?;
        url.set_query(Some(query));
        self.send_to(wire, "", (method, url.as_str()), headers, Vec::new()).await
    }

    async fn send_to(
        &self,
        wire: &Wire,
        name: &str,
        (method, url): (Method, &str),
        headers: [(&str, &str); 1],
        body: Vec<u8>,
    ) -> Result<HttpResponse, StoreError> {
        let refuse = |error: object_store::Error| StoreError::classify(name, &error);
        let credential = wire.credentials.get_credential().await.map_err(refuse)?;
        let mut request = http::Request::builder().method(method).uri(url);
        for (header, value) in headers {
            request = request.header(header, value);
        }
        let request = request.body(HttpRequestBody::from(body));
        let mut request = request.map_err(|error| other(name, error.to_string()))?;
        AwsAuthorizer::new(&credential, "s3", &wire.region)
            .with_request_payer(wire.requester_pays)
            .try_authorize(&mut request, None)
            .map_err(refuse)?;
        let answer = wire.http.execute(request).await;
        answer.map_err(|error| {
            let source = Box::new(error);
            StoreError::classify(name, &object_store::Error::Generic { store: "S3", source })
        })
    }

    /// Tries to delete a name that no object has, or its null version. A store that permits this
    /// answers with success.
    pub fn try_delete(&self, name: &str, version: bool) -> Result<(), StoreError> {
        let Some(wire) = &self.wire else { return self.delete(name) };
        let query = version.then_some("versionId=null");
        self.wait(name, async |_| {
            let headers = [("accept", "application/xml")];
            let asked = (Method::DELETE, query);
            let answer = self.send(wire, name, asked, headers, Vec::new()).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let text = answer.into_body().bytes().await.unwrap_or_default();
            Err(StoreError::answered(name, status.as_u16(), &String::from_utf8_lossy(&text)))
        })
    }

    /// Returns whether [`Store::try_delete`] can ask for versions.
    pub fn has_versions(&self) -> bool {
        self.wire.is_some()
    }

    /// Returns whether icecore can request thaws from this store.
    pub fn can_thaw(&self) -> bool {
        self.wire.is_some()
    }

    /// Requests many thaws at once. The answers are in the order of the requests.
    pub fn thaw(&self, wanted: &[ThawRequest]) -> Vec<Result<ThawAnswer, StoreError>> {
        let asks = wanted.iter().map(|request| self.thaw_one(request));
        self.runtime.block_on(stream::iter(asks).buffered(CONCURRENT).collect())
    }

    async fn thaw_one(&self, request: &ThawRequest) -> Result<ThawAnswer, StoreError> {
        let Some(wire) = &self.wire else {
            let reason = "icecore cannot thaw objects of this store: use the provider's own tools";
            return Err(StoreError::new(
                StoreErrorKind::Archived,
                request.name.clone(),
                reason.to_owned(),
            ));
        };
        let ask = async |_: &Try| self.ask(wire, request).await;
        let answer = self.patience.run(&request.name, ask).await?;
        let (tier, days) = (request.tier, request.days);
        self.counter.count(|requests| match answer {
            ThawAnswer::Accepted => {
                requests.add_thaw(&request.class, tier, request.bytes, days, true);
            }
            ThawAnswer::Readable => {
                requests.add_thaw(&request.class, tier, request.bytes, days, false);
            }
            ThawAnswer::InProgress => requests.add_thaw(&request.class, tier, 0, 0, false),
        });
        Ok(answer)
    }

    async fn ask(&self, wire: &Wire, request: &ThawRequest) -> Result<ThawAnswer, StoreError> {
        let name = &request.name;
        let headers = [("content-type", "application/xml")];
        let body = body(request).into_bytes();
        let answer = self.send(wire, name, (Method::POST, Some("restore")), headers, body).await?;
        let status = answer.status();
        // The link has already read the text of a refusal, with a size limit.
        let text = match status.is_success() {
            true => Bytes::new(),
            false => answer.into_body().bytes().await.unwrap_or_default(),
        };
        ThawAnswer::read(name, status.as_u16(), &String::from_utf8_lossy(&text))
    }
}

fn other(name: &str, reason: String) -> StoreError {
    StoreError::new(StoreErrorKind::Other, name.to_owned(), reason)
}

/// Returns the body of a RestoreObject request (S3 API reference).
fn body(request: &ThawRequest) -> String {
    let known = ClassFacts::find(Provider::S3, &request.class);
    let days = match known.map(|class| class.thaw) {
        Some(ThawNeed::WhenArchived) => String::new(),
        _ => format!("<Days>{}</Days>", request.days),
    };
    format!(
        "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{days}\
         <GlacierJobParameters><Tier>{}</Tier></GlacierJobParameters></RestoreRequest>",
        request.tier.name()
    )
}

fn state_of(provider: Option<Provider>, headers: &StateHeaders) -> ObjectState {
    let class = provider.and_then(|provider| ClassFacts::find(provider, &headers.class));
    let archived = headers.archive_status.is_some()
        || matches!(class.map(|class| class.thaw), Some(ThawNeed::Days | ThawNeed::ByHand));
    match headers.restore.as_deref() {
        Some(restore) if restore.contains("ongoing-request=\"true\"") => ObjectState::Thawing,
        Some(restore) => match restore.split_once("expiry-date=\"") {
            Some((_, date)) => {
                let date = date.split('"').next().unwrap_or_default();
                ObjectState::Thawed { until: seconds_of(date).unwrap_or(0) }
            }
            None => ObjectState::Warm,
        },
        // Azure says `rehydrate-pending-to-hot`.
        None if headers.archive_status.as_ref().is_some_and(|s| s.contains("pending")) => {
            ObjectState::Thawing
        }
        None if archived => ObjectState::Cold,
        None => ObjectState::Warm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_contain_the_state() {
        let state = |class: &str, restore: Option<&str>, archive: Option<&str>| {
            let headers = StateHeaders {
                class: class.to_owned(),
                restore: restore.map(str::to_owned),
                archive_status: archive.map(str::to_owned),
                crc64: None,
            };
            state_of(Some(Provider::S3), &headers)
        };
        assert_eq!(state("", None, None), ObjectState::Warm);
        assert_eq!(state("GLACIER_IR", None, None), ObjectState::Warm);
        assert_eq!(state("DEEP_ARCHIVE", None, None), ObjectState::Cold);
        let asked = Some("ongoing-request=\"true\"");
        assert_eq!(state("DEEP_ARCHIVE", asked, None), ObjectState::Thawing);
        let done = "ongoing-request=\"false\", expiry-date=\"Fri, 31 Dec 2027 00:00:00 GMT\"";
        let until = 1_830_211_200;
        assert_eq!(state("GLACIER", Some(done), None), ObjectState::Thawed { until });
        assert_eq!(state("INTELLIGENT_TIERING", None, None), ObjectState::Warm);
        let archive = Some("DEEP_ARCHIVE_ACCESS");
        assert_eq!(state("INTELLIGENT_TIERING", None, archive), ObjectState::Cold);
        assert_eq!(state("INTELLIGENT_TIERING", asked, archive), ObjectState::Thawing);
    }

    #[test]
    fn intelligent_tiering_is_thawed_without_days() {
        let request = |class: &str| {
            let (class, tier) = (class.to_owned(), Tier::Bulk);
            body(&ThawRequest { name: "a".to_owned(), class, bytes: 1, tier, days: 3 })
        };
        assert!(request("DEEP_ARCHIVE").contains("<Days>3</Days>"));
        assert!(!request("INTELLIGENT_TIERING").contains("Days"));
        assert!(request("INTELLIGENT_TIERING").contains("<Tier>Bulk</Tier>"));
    }
}
