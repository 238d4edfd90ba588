//! What an answer of a remote store means before anybody reads it: whether the store gave it at all, and
//! whether the same request may succeed later.

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Method, StatusCode, header};
use object_store::client::HttpResponse;

use super::error::{Again, summarize};
use super::{StoreErrorKind, refusals};

/// Most bytes of an answer that is an error.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// So far into an answer it is looked for the marks of a web page.
const PAGE_FRONT_BYTES: usize = 1024;
/// Why an answer that looks like a web page is none of the store.
pub(super) const PAGE: &str = "a web page answers instead of the store, perhaps a login page";

/// Codes of S3 with a status that promises nothing, although the next try may succeed.
const PASSING_CODES: [&str; 6] = [
    "<Code>RequestTimeout</Code>",
    "<Code>IncompleteBody</Code>",
    "<Code>ConditionalRequestConflict</Code>",
    "<Code>OperationAborted</Code>",
    "<Code>SlowDown</Code>",
    "<Code>InternalError</Code>",
];

/// A request without a usable answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Trouble {
    pub kind: StoreErrorKind,
    pub again: Again,
    pub reason: String,
    /// What to do about it, where that is known better than from the kind.
    pub remedy: Option<String>,
}

impl Trouble {
    fn new(kind: StoreErrorKind, again: Again, reason: impl Into<String>) -> Trouble {
        Trouble { kind, again, reason: reason.into(), remedy: None }
    }

    pub fn never(reason: String) -> Trouble {
        Trouble::new(StoreErrorKind::Other, Again::Never, reason)
    }

    pub fn idle(after: Duration) -> Trouble {
        let reason = format!("no byte came or went for {:.0?}", after);
        Trouble::new(StoreErrorKind::Unreachable, Again::Sent, reason)
    }

    pub fn page() -> Trouble {
        let remedy = "open a web page in a browser: the network may want you to log in first; the endpoint may also be that of a web server";
        let trouble = Trouble::new(StoreErrorKind::Unreachable, Again::Sent, PAGE);
        Trouble { remedy: Some(remedy.to_owned()), ..trouble }
    }

    /// Reads an error of the HTTP client, which must not be shown as it is: it contains the URL.
    pub fn of_request(error: reqwest::Error) -> Trouble {
        let error = error.without_url();
        if error.is_builder() {
            return Trouble::never(innermost(&error));
        }
        let again = if error.is_connect() { Again::Unsent } else { Again::Sent };
        let reason = innermost(&error);
        let remedy = refusals::of_connection(&reason);
        Trouble { remedy, ..Trouble::new(StoreErrorKind::Unreachable, again, reason) }
    }
}

/// Returns what the last of the sources of an error says.
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What an answer is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The content of an object.
    Object,
    /// Headers.
    Head,
    Other,
}

impl Asked {
    pub fn of(method: &Method, query: Option<&str>) -> Asked {
        match *method {
            Method::HEAD => Asked::Head,
            Method::GET if !is_listing(query.unwrap_or_default()) => Asked::Object,
            _ => Asked::Other,
        }
    }
}

/// Returns whether a query asks for a listing; a signed URL of Azure has a query too.
pub(super) fn is_listing(query: &str) -> bool {
    query.split('&').any(|part| {
        part.starts_with("list-type=") || part == "comp=list" || part.starts_with("prefix=")
    })
}

/// Returns whether some bytes are the front of a web page; no object of ours begins like that.
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
    // A page may begin with a comment or, in XHTML, as the answers of S3 do.
    ["<!doctype html", "<html", "<head", "<script", "<meta"].into_iter().any(begins)
        || (["<!--", "<?xml"].into_iter().any(begins) && names_html())
}

/// Returns whether an answer has a web page as its body. Some servers call an empty body a page too.
fn has_page(asked: Asked, answer: &HttpResponse) -> bool {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let is_page = header(header::CONTENT_TYPE).is_some_and(|text| {
        let text = text.trim_start().to_ascii_lowercase();
        text.starts_with("text/html") || text.starts_with("application/xhtml")
    });
    let has_body = match header(header::CONTENT_LENGTH) {
        Some(length) => length != "0",
        None => asked != Asked::Head && answer.status() != StatusCode::NO_CONTENT,
    };
    // A web server gives its pages ETags too, but none of the headers that only stores have.
    let of_store = answer.headers().keys().any(|name| {
        ["x-amz-", "x-goog-", "x-guploader", "x-ms-"]
            .iter()
            .any(|with| name.as_str().starts_with(with))
    });
    is_page && has_body && !(of_store && answer.headers().contains_key(header::ETAG))
}

/// Passes an answer on if the store gave it and no later one would be better.
pub(super) async fn inspect(asked: Asked, answer: HttpResponse) -> Result<HttpResponse, Trouble> {
    let (status, headers) = (answer.status(), answer.headers());
    let is_refusal = matches!(status.as_u16(), 401 | 403 | 404 | 407 | 511);
    if (status.is_success() || is_refusal) && has_page(asked, &answer) {
        return Err(Trouble::page());
    }
    if status.is_success() {
        // Every object has an ETag, whoever stores it.
        let is_whole = asked != Asked::Head || headers.contains_key(header::ETAG);
        return if is_whole { Ok(answer) } else { Err(Trouble::page()) };
    }
    let is_away = headers.contains_key(header::LOCATION);
    let (parts, body) = answer.into_parts();
    let mut text = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(part) = stream.next().await {
        // A status without its reason still says enough.
        let Ok(part) = part else { break };
        text.extend_from_slice(&part[..part.len().min(ERROR_BYTES_MAX - text.len())]);
        if text.len() >= ERROR_BYTES_MAX {
            break;
        }
    }
    let message = String::from_utf8_lossy(&text);
    let now = jiff::Timestamp::now();
    if let Some(trouble) = refusals::explain(parts.status, &parts.headers, &message, now) {
        return Err(trouble);
    }
    if parts.status.is_redirection() && is_away && !message.contains("<Code>") {
        return Err(Trouble::page());
    }
    // S3 gives a reason with each refusal: without one, it was something on the way.
    let is_bare =
        asked != Asked::Head && parts.status == StatusCode::BAD_REQUEST && text.is_empty();
    if passes(parts.status) || is_bare || PASSING_CODES.iter().any(|code| message.contains(code)) {
        let reason = match summarize(&message) {
            empty if empty.is_empty() => format!("the store answered {}", parts.status.as_u16()),
            reason => reason,
        };
        // It says itself that it has not done it; other failures may come after the work.
        let is_undone = matches!(parts.status.as_u16(), 429 | 503);
        let again = if is_undone { Again::Unsent } else { Again::Sent };
        return Err(Trouble::new(StoreErrorKind::Busy, again, reason));
    }
    Ok(HttpResponse::from_parts(parts, text.into()))
}

/// Returns whether a status says that a later request may succeed.
fn passes(status: StatusCode) -> bool {
    // Not implemented, another version of HTTP, no space left: that stays.
    let stays = matches!(status.as_u16(), 501 | 505 | 507);
    (status.is_server_error() && !stays) || matches!(status.as_u16(), 408 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpResponseBody;

    fn inspected(asked: Asked, status: u16, header: (&str, &str), body: &str) -> Option<Trouble> {
        let answer = http::Response::builder()
            .status(status)
            .header(header.0, header.1)
            .body(HttpResponseBody::from(body.to_owned()))
            .expect("an answer");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(inspect(asked, answer)).err()
    }

    #[test]
    fn answers_that_are_not_of_the_store() {
        let html = ("content-type", "text/html; charset=utf-8");
        let xml = ("content-type", "application/xml");
        for (asked, status) in [(Asked::Object, 200), (Asked::Other, 200), (Asked::Other, 404)] {
            let trouble = inspected(asked, status, html, "<html>Log in").expect("no answer");
            assert_eq!((trouble.kind, &trouble.reason[..]), (StoreErrorKind::Unreachable, PAGE));
        }
        let login = ("location", "http://login.hotel.example/?from=s3");
        assert_eq!(inspected(Asked::Other, 302, login, "").expect("no answer").reason, PAGE);
        assert!(inspected(Asked::Head, 200, xml, "").is_some(), "an object without ETag");
        assert!(inspected(Asked::Head, 200, ("etag", "\"1\""), "").is_none());
        assert!(inspected(Asked::Head, 404, html, "").is_none(), "so do servers in Python");
        assert!(
            inspected(Asked::Object, 404, xml, "<Error><Code>NoSuchKey</Code></Error>").is_none()
        );
        // S3 itself sends elsewhere who asks in the wrong region.
        let moved = "<Error><Code>PermanentRedirect</Code></Error>";
        let trouble = inspected(Asked::Object, 301, ("location", "https://x"), moved);
        assert_eq!(trouble.expect("it is explained").kind, StoreErrorKind::Settings);
        // A page of a web server, with the ETag that such a server gives it.
        let answer = http::Response::builder()
            .header("content-type", "text/html")
            .header("etag", "\"5f3\"")
            .body(HttpResponseBody::from("<p>Welcome".to_owned()))
            .expect("an answer");
        assert!(has_page(Asked::Head, &answer));
        let (mut parts, body) = answer.into_parts();
        parts.headers.insert("x-amz-request-id", "1".parse().expect("a header"));
        assert!(!has_page(Asked::Object, &HttpResponse::from_parts(parts, body)));
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
    fn what_may_succeed_later() {
        let xml = ("content-type", "application/xml");
        let again = |status, code: &str| {
            let body = format!("<Error><Code>{code}</Code><Message>why</Message></Error>");
            inspected(Asked::Other, status, xml, &body).map(|trouble| trouble.again)
        };
        assert_eq!(again(503, "SlowDown"), Some(Again::Unsent));
        assert_eq!(again(500, "InternalError"), Some(Again::Sent));
        assert_eq!(again(400, "RequestTimeout"), Some(Again::Sent));
        assert_eq!(again(409, "ConditionalRequestConflict"), Some(Again::Sent));
        assert!(inspected(Asked::Other, 400, xml, "").is_some(), "a gateway");
        assert!(inspected(Asked::Head, 400, xml, "").is_none());
        assert_eq!(again(409, "RestoreAlreadyInProgress"), None);
        assert_eq!(again(412, "PreconditionFailed"), None);
        assert_eq!(again(501, "NotImplemented"), Some(Again::Never));
        assert_eq!(again(403, "AccessDenied"), None);
    }
}
