//! Checks each answer of a remote store before it is used: did the store itself send it, and may the same request
//! succeed later?

use std::error::Error;

use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use object_store::client::HttpResponse;

use super::error::summarize;
use super::refusals;
use super::trouble::{Retry, StoreErrorKind, Trouble};

/// Maximum number of bytes to read of an error answer.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// Number of bytes at the start of an answer that are searched for the marks of a web page.
const PAGE_FRONT_BYTES: usize = 1024;

/// S3 error codes that are transient, although their HTTP status does not say so.
const PASSING_CODES: [&str; 5] = [
    "<Code>RequestTimeout</Code>",
    "<Code>ConditionalRequestConflict</Code>",
    "<Code>OperationAborted</Code>",
    "<Code>SlowDown</Code>",
    "<Code>InternalError</Code>",
];
/// Error codes for a request body that the network has damaged; the store has not accepted it.
const SPOILED_CODES: [&str; 6] = [
    "<Code>IncompleteBody</Code>",
    "<Code>BadDigest</Code>",
    "<Code>XAmzContentSHA256Mismatch</Code>",
    "<Code>XAmzContentChecksumMismatch</Code>",
    // Azure's name for the same error.
    "<Code>Md5Mismatch</Code>",
    "<Code>Crc64Mismatch</Code>",
];

impl Trouble {
    /// Converts an error of the HTTP client. No byte was sent if it `is_of_connecting`.
    pub fn of_request(error: &dyn Error, is_of_connecting: bool) -> Trouble {
        let reason = refusals::reason_of_connection(error);
        let reason = reason.map_or_else(|| innermost(error), str::to_owned);
        let remedy = refusals::of_connection(error);
        let again = match (is_of_connecting, &remedy) {
            (false, _) => Retry::Sent,
            (true, None) => Retry::Unsent,
            (true, Some(_)) => Retry::OnceServed,
        };
        Trouble { remedy, ..Trouble::new(StoreErrorKind::Unreachable, again, reason) }
    }
}

/// Returns the text of the innermost source of an error.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What the answer to a request should contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The content of an object.
    Object,
    Listing,
    /// Headers.
    Head,
    Other,
}

/// The request to which an answer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub what: What,
    /// The put succeeds only if the name is not taken.
    is_conditional: bool,
    /// The request is for a range.
    is_ranged: bool,
}

impl Asked {
    pub fn of(method: &Method, query: Option<&str>, headers: &HeaderMap) -> Asked {
        let what = match *method {
            Method::HEAD => What::Head,
            Method::GET if is_listing(query.unwrap_or_default()) => What::Listing,
            Method::GET => What::Object,
            _ => What::Other,
        };
        // Google Cloud Storage uses its own header.
        let conditions = ["if-none-match", "if-match", "x-goog-if-generation-match"];
        let is_conditional = conditions.into_iter().any(|name| headers.contains_key(name));
        Asked { what, is_conditional, is_ranged: headers.contains_key(header::RANGE) }
    }

    /// Returns whether this can be a store's answer to a request that succeeded.
    fn fits(self, status: StatusCode, headers: &HeaderMap) -> bool {
        let is_empty = length(headers) == Some("0");
        match self.what {
            // Every object has an ETag, wherever it is stored.
            What::Head => status == StatusCode::OK && headers.contains_key(header::ETAG),
            // An empty answer to a range request is wrong, because a store refuses a range beyond the end of an object.
            // `client` checks whether an object is really empty.
            What::Object => {
                matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT)
                    && !(self.is_ranged && is_empty)
            }
            What::Listing => status == StatusCode::OK && !is_empty,
            What::Other => true,
        }
    }

    /// Returns whether this can be a store's refusal of the request.
    fn may_fail(self, status: StatusCode, is_of_store: bool) -> bool {
        let only_reads = self.what != What::Other;
        match status {
            StatusCode::NOT_MODIFIED => self.is_conditional,
            // Azure also sends this status because of a lease.
            StatusCode::PRECONDITION_FAILED => self.is_conditional || (is_of_store && !only_reads),
            StatusCode::NETWORK_AUTHENTICATION_REQUIRED => false,
            _ => true,
        }
    }
}

fn length(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok())
}

/// Returns whether a query asks for a listing. Signed URLs of Azure have other queries.
pub(super) fn is_listing(query: &str) -> bool {
    query.split('&').any(|part| {
        part.starts_with("list-type=") || part == "comp=list" || part.starts_with("prefix=")
    })
}

/// Returns whether these bytes begin a web page. No object of icecore begins like that.
pub(super) fn is_page(front: &[u8]) -> bool {
    let front = front.strip_prefix(b"\xef\xbb\xbf").unwrap_or(front);
    let text = front[..front.len().min(PAGE_FRONT_BYTES)].trim_ascii_start();
    let begins = |with: &str| {
        text.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with.as_bytes()))
    };
    let names_html = || {
        let text = text.to_ascii_lowercase();
        text.windows(5).any(|part| part == b"<html")
    };
    // A page may begin with a comment or, in XHTML, like the answers of S3.
    ["<!doctype html", "<html", "<head", "<script", "<meta"].into_iter().any(begins)
        || (["<!--", "<?xml"].into_iter().any(begins) && names_html())
}

/// Returns whether an answer has a web page as its body. Some servers label an empty body as HTML, too.
fn has_page(asked: Asked, answer: &HttpResponse) -> bool {
    let headers = answer.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_page = kind.is_some_and(|text| {
        let text = text.trim_start().to_ascii_lowercase();
        text.starts_with("text/html") || text.starts_with("application/xhtml")
    });
    let has_body = match length(headers) {
        Some(length) => length != "0",
        None => asked.what != What::Head && answer.status() != StatusCode::NO_CONTENT,
    };
    // Web servers send ETags as well, but none of the headers that only stores send.
    let of_store = headers.keys().any(|name| {
        ["x-amz-", "x-goog-", "x-guploader", "x-ms-"]
            .iter()
            .any(|with| name.as_str().starts_with(with))
    });
    is_page && has_body && !(of_store && headers.contains_key(header::ETAG))
}

/// Returns the answer, or an error if the store did not send it or if repeating the request may help.
pub(super) async fn inspect(asked: Asked, answer: HttpResponse) -> Result<HttpResponse, Trouble> {
    let (status, headers) = (answer.status(), answer.headers());
    let has_page = has_page(asked, &answer);
    if status.is_success() {
        return match has_page {
            true => Err(Trouble::page()),
            false if asked.fits(status, headers) => Ok(answer),
            false => Err(Trouble::foreign(status)),
        };
    }
    let is_away = headers.contains_key(header::LOCATION);
    let (parts, body) = answer.into_parts();
    let mut text = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(part) = stream.next().await {
        // If the rest of the body does not arrive, the status says enough.
        let Ok(part) = part else { break };
        text.extend_from_slice(&part[..part.len().min(ERROR_BYTES_MAX - text.len())]);
        if text.len() >= ERROR_BYTES_MAX {
            break;
        }
    }
    let body = String::from_utf8_lossy(&text);
    let has = |codes: &[&str]| codes.iter().any(|code| body.contains(code));
    // Every store sends an error code with a refusal, under one name or another.
    let is_of_store = body.contains("<Code>");
    let is_page = !is_of_store && (has_page || is_page(&text));
    let now = jiff::Timestamp::now();
    if let Some(trouble) = refusals::expects_tls(&body) {
        return Err(trouble);
    }
    if !is_page && let Some(trouble) = refusals::explain(status, &parts.headers, &body, now) {
        return Err(trouble);
    }
    // S3 gives a reason with each refusal. Without one, something between us and the store refused.
    let is_bare = asked.what != What::Head && status == StatusCode::BAD_REQUEST && text.is_empty();
    if passes(status) || is_bare || has(&PASSING_CODES) || has(&SPOILED_CODES) {
        let reason = match summarize(&body) {
            reason if is_page || reason.is_empty() => {
                format!("the store answered {}", status.as_u16())
            }
            reason => reason,
        };
        // These statuses mean that the store did not execute the request; after other failures it may have.
        let is_undone = matches!(status.as_u16(), 429 | 503);
        let again = if is_undone { Retry::Unsent } else { Retry::Sent };
        let kind = match has(&SPOILED_CODES) {
            true => StoreErrorKind::Unreachable,
            false => StoreErrorKind::Busy,
        };
        return Err(Trouble::new(kind, again, reason));
    }
    if status.is_redirection() && is_away && !is_of_store {
        return Err(Trouble::page());
    }
    if is_page {
        return Err(Trouble::page_of(status));
    }
    if !asked.may_fail(status, is_of_store) {
        return Err(Trouble::foreign(status));
    }
    Ok(HttpResponse::from_parts(parts, text.into()))
}

/// Returns whether a status means that a later request may succeed.
fn passes(status: StatusCode) -> bool {
    // Not implemented, another HTTP version, no space left: repeating does not help. No store sends
    // 511.
    let stays = matches!(status.as_u16(), 501 | 505 | 507 | 511);
    (status.is_server_error() && !stays) || matches!(status.as_u16(), 408 | 429)
}

#[cfg(test)]
mod tests {
    use super::super::trouble::PAGE;
    use super::*;
    use object_store::client::HttpResponseBody;

    fn plain(what: What) -> Asked {
        Asked { what, is_conditional: false, is_ranged: false }
    }

    fn inspected(what: What, status: u16, header: (&str, &str), body: &str) -> Option<Trouble> {
        inspected_as(plain(what), status, header, body)
    }

    fn inspected_as(
        asked: Asked,
        status: u16,
        header: (&str, &str),
        body: &str,
    ) -> Option<Trouble> {
        let answer = http::Response::builder()
            .status(status)
            .header(header.0, header.1)
            .header("content-length", body.len())
            .body(HttpResponseBody::from(body.to_owned()))
            .expect("an answer");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(inspect(asked, answer)).err()
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    const XML: (&str, &str) = ("content-type", "application/xml");
    const ETAG: (&str, &str) = ("etag", "\"1\"");

    #[test]
    fn answers_that_are_not_of_the_store() {
        for status in [200, 400, 403, 404, 405, 407, 410, 412, 413, 501, 511] {
            for what in [What::Object, What::Listing, What::Other] {
                for header in [HTML, XML] {
                    // The body of a success is checked when it arrives.
                    if status == 200 && header == XML {
                        continue;
                    }
                    let trouble = inspected(what, status, header, "<html>Log in");
                    let trouble = trouble.unwrap_or_else(|| panic!("{what:?} {status}"));
                    assert_eq!(trouble.kind, StoreErrorKind::Unreachable);
                    assert!(trouble.reason.starts_with(PAGE), "{trouble}");
                    assert!(status == 200 || trouble.reason.contains(&status.to_string()));
                }
            }
        }
        let login = ("location", "http://login.hotel.example/?from=s3");
        assert_eq!(inspected(What::Other, 302, login, "").expect("no answer").reason, PAGE);
        assert!(inspected(What::Head, 200, XML, "").is_some(), "an object without ETag");
        assert!(inspected(What::Head, 200, ETAG, "").is_none());
        assert!(inspected(What::Head, 404, HTML, "").is_none(), "so do servers in Python");
        let missing = "<Error><Code>NoSuchKey</Code></Error>";
        for header in [XML, HTML] {
            assert!(inspected(What::Object, 404, header, missing).is_none());
        }
        // S3 itself redirects a request in the wrong region.
        let moved = "<Error><Code>PermanentRedirect</Code></Error>";
        let trouble = inspected(What::Object, 301, ("location", "https://x"), moved);
        assert_eq!(trouble.expect("it is explained").kind, StoreErrorKind::Settings);
        let gateway = inspected(What::Other, 502, HTML, "<html>Bad gateway").expect("busy");
        assert_eq!(
            (gateway.kind, &gateway.reason[..]),
            (StoreErrorKind::Busy, "the store answered 502")
        );
        // A web page with an ETag, as web servers send it.
        let answer = http::Response::builder()
            .header("content-type", "text/html")
            .header("etag", "\"5f3\"")
            .header("content-length", "10")
            .body(HttpResponseBody::from("<p>Welcome".to_owned()))
            .expect("an answer");
        assert!(has_page(plain(What::Head), &answer));
        let (mut parts, body) = answer.into_parts();
        parts.headers.insert("x-amz-request-id", "1".parse().expect("a header"));
        assert!(!has_page(plain(What::Object), &HttpResponse::from_parts(parts, body)));
        for page in [
            &b"\n <!DOCTYPE HTML><title>"[..],
            b"\xef\xbb\xbf<HTML>",
            b"<!-- hotel --><!doctype html><html>",
            b"<?xml version=\"1.0\"?><!DOCTYPE html PUBLIC \"x\"><html xmlns=\"x\">",
            b"<script>location='http://login'</script>",
        ] {
            assert!(is_page(page));
        }
        assert!(!is_page(b"<?xml version=\"1.0\"?><ListBucketResult>"));
        assert!(!is_page(b"<ht"));
    }

    #[test]
    fn answers_that_no_store_makes() {
        let failed = "<Error><Code>PreconditionFailed</Code></Error>";
        for what in [What::Object, What::Listing, What::Head] {
            for (status, body) in [(304, ""), (412, ""), (412, failed), (204, ""), (202, "x")] {
                let trouble = inspected(what, status, ETAG, body).expect("no answer");
                assert_eq!(trouble.kind, StoreErrorKind::Unreachable, "{what:?} {status}");
            }
        }
        let ranged = Asked { what: What::Object, is_conditional: false, is_ranged: true };
        assert!(inspected_as(ranged, 200, ETAG, "").is_some());
        assert!(inspected_as(ranged, 206, ETAG, "").is_some());
        assert!(inspected_as(ranged, 206, ETAG, "x").is_none());
        assert!(inspected(What::Object, 200, ETAG, "").is_none(), "an object may be empty");
        assert!(inspected(What::Listing, 200, XML, "").is_some());
        // The caller decides what the refusal of a create-only put means.
        let create = Asked { what: What::Other, is_conditional: true, is_ranged: false };
        for (status, body) in [(304, ""), (412, ""), (412, failed)] {
            assert!(inspected_as(create, status, XML, body).is_none(), "{status}");
        }
        assert!(inspected_as(create, 412, HTML, "<html>").is_some());
        assert!(inspected(What::Other, 412, XML, "").is_some());
        assert!(inspected(What::Other, 204, XML, "").is_none(), "an answer to a delete");
    }

    #[test]
    fn what_was_asked_for() {
        let asked = |method, query, header: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header, header::HeaderValue::from_static("*"));
            let asked = Asked::of(&method, query, &headers);
            (asked.what, asked.is_conditional, asked.is_ranged)
        };
        assert_eq!(asked(Method::PUT, None, "if-none-match"), (What::Other, true, false));
        let google = "x-goog-if-generation-match";
        assert_eq!(asked(Method::PUT, None, google), (What::Other, true, false));
        assert_eq!(asked(Method::GET, None, "range"), (What::Object, false, true));
        assert_eq!(asked(Method::GET, Some("list-type=2"), "a"), (What::Listing, false, false));
        assert_eq!(asked(Method::HEAD, None, "a"), (What::Head, false, false));
    }

    #[test]
    fn what_may_succeed_later() {
        let again = |status, code: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>why</Message></Error>");
            let create = Asked { what: What::Other, is_conditional: true, is_ranged: false };
            inspected_as(create, status, XML, &body).map(|trouble| trouble.again)
        };
        assert_eq!(again(503, "SlowDown"), Some(Retry::Unsent));
        assert_eq!(again(500, "InternalError"), Some(Retry::Sent));
        assert_eq!(again(400, "InternalError"), Some(Retry::Sent));
        assert_eq!(again(400, "RequestTimeout"), Some(Retry::Sent));
        assert_eq!(again(409, "ConditionalRequestConflict"), Some(Retry::Sent));
        for code in ["BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "Md5Mismatch"] {
            assert_eq!(again(400, code), Some(Retry::Sent), "{code}");
        }
        assert!(inspected(What::Other, 400, XML, "").is_some(), "a gateway");
        assert!(inspected(What::Head, 400, XML, "").is_none());
        assert_eq!(again(409, "RestoreAlreadyInProgress"), None);
        assert_eq!(again(412, "PreconditionFailed"), None);
        assert_eq!(again(413, "EntityTooLarge"), None);
        assert_eq!(again(501, "NotImplemented"), Some(Retry::Never));
        assert_eq!(again(403, "AccessDenied"), None);
    }
}
