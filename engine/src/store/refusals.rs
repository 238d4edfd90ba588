//! Explains refusals that the user can fix on this host: another region, a wrong clock, a server
//! that lacks a function, an untrusted certificate. Does no I/O.

use std::error::Error;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use rustls::CertificateError;

use super::StoreErrorKind;
use super::bucket_name::BUCKET_NAMES;
use super::error::summarize;
use super::trouble::{Retry, Trouble};

/// The hint for a store without create-only puts, which prevent two writers from overwriting each
/// other.
pub const NO_CREATE_ONLY: &str = "use a store that supports puts with If-None-Match: *, as Amazon S3, Cloudflare R2 and MinIO do (Backblaze B2 and OpenStack Swift do not); or archive to a folder, and copy that folder";

/// The meaning of status 407 from a proxy.
const PROXY_REFUSES: &str = "the proxy refuses the user and the password (407)";

/// A proxy refuses to open a connection.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy}: {PROXY_REFUSES}")]
pub(super) struct ProxyRefuses {
    pub proxy: String,
}

const PROXY_PASSWORD: &str = "write a user and a password that the proxy accepts into HTTPS_PROXY (for an endpoint with http://, HTTP_PROXY), as in HTTPS_PROXY=http://USER:PASSWORD@proxy:3128";

/// S3 refuses requests whose time differs from its own by more than this.
const SKEW_SECONDS_MAX: i64 = 15 * 60;
/// The longest name of a region.
const REGION_CHARS_MAX: usize = 40;

/// Error codes of S3 for a wrong time.
const CLOCK_CODES: [&str; 2] = ["RequestTimeTooSkewed", "RequestExpired"];
/// Error codes of S3 for a bucket in another region.
const REGION_CODES: [&str; 5] = [
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "IncorrectEndpoint",
];

/// Returns what to change so that the store accepts the request; `None` if the answer does not show
/// it.
pub(super) fn explain(
    status: StatusCode,
    headers: &HeaderMap,
    text: &str,
    now: Timestamp,
) -> Option<Trouble> {
    let is_of_proxy = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let of_proxy = || settings(PROXY_REFUSES.to_owned(), PROXY_PASSWORD.to_owned());
    (is_of_proxy.then(of_proxy))
        .or_else(|| elsewhere(status, headers, text))
        .or_else(|| at_another_time(status, headers, text, now))
        .or_else(|| of_account(text))
        .or_else(|| of_endpoint(status, text))
        .or_else(|| unsupported(status, text))
}

/// What servers answer to a request without TLS, by their kind: written in Go, nginx, Apache.
const EXPECT_TLS: [&str; 3] = [
    "HTTP request to an HTTPS server",
    "plain HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
];

/// Explains that the server is reached with `http://`, but expects TLS. Such an answer may be a web page.
pub(super) fn expects_tls(text: &str) -> Option<Trouble> {
    let is_refused = EXPECT_TLS.iter().any(|words| text.contains(words));
    let reason = "the server expects TLS at this address";
    is_refused.then(|| settings(reason.to_owned(), WITH_TLS.to_owned()))
}

const WITH_TLS: &str = "write the endpoint with https://";

/// Adds a hint to the failure of a request without TLS that the server has not answered: perhaps it expects TLS.
pub(super) fn without_tls(trouble: Trouble) -> Trouble {
    let remedy = trouble.remedy.unwrap_or_else(|| {
        format!("check the network and the endpoint; if the server expects TLS, {WITH_TLS}")
    });
    Trouble { remedy: Some(remedy), ..trouble }
}

/// Returns why a connection failed in plain words, where the HTTP client has none.
pub(super) fn reason_of_connection(error: &dyn Error) -> Option<&'static str> {
    match cause::<rustls::Error>(error)? {
        rustls::Error::InvalidMessage(_) => Some("the server does not speak TLS at this address"),
        _ => None,
    }
}

/// Explains that the store does not allow the name of the bucket, or that the endpoint is not that of a store.
fn of_endpoint(status: StatusCode, text: &str) -> Option<Trouble> {
    if text.contains("<Code>InvalidBucketName</Code>") {
        let reason = "the store does not allow this name of a bucket";
        return Some(settings(reason.to_owned(), BUCKET_NAMES.to_owned()));
    }
    let is_refused = text.contains("<Code>MethodNotAllowed</Code>");
    (is_refused && status == StatusCode::METHOD_NOT_ALLOWED).then(|| {
        let reason = "the server does not allow such requests (405)";
        let remedy = "check the endpoint: that of a web page or a console cannot store anything; MinIO has the API on port 9000 and the console on port 9001";
        settings(reason.to_owned(), remedy.to_owned())
    })
}

/// Explains that Amazon has closed the account or the bucket, most often because of an unpaid bill.
fn of_account(text: &str) -> Option<Trouble> {
    let codes = ["AccountProblem", "AllAccessDisabled", "NotSignedUp"];
    let is_closed = codes.iter().any(|code| text.contains(&format!("<Code>{code}</Code>")));
    is_closed.then(|| {
        let remedy = "log in to your account at Amazon: a bill may be unpaid, or the account closed. The photos stay for a while, so do not wait";
        settings(summarize(text), remedy.to_owned())
    })
}

/// Explains that the bucket is in another region, which S3 names in a header or in the body.
fn elsewhere(status: StatusCode, headers: &HeaderMap, text: &str) -> Option<Trouble> {
    let has_code = REGION_CODES.iter().any(|code| text.contains(code));
    let header = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
    // The answer to a HEAD contains no reason.
    let is_elsewhere = has_code || (status.is_redirection() && header.is_some());
    if !is_elsewhere {
        return None;
    }
    let named = header.or_else(|| element(text, "Region")).or_else(|| region_of_endpoint(text));
    let named = named.filter(|region| is_region(region));
    let (reason, remedy) = match named {
        Some(region) => (
            format!("the bucket is in the region {region}"),
            format!("set AWS_REGION={region}, then run the command again"),
        ),
        // S3 sends this code for other reasons, too.
        None if text.contains("AuthorizationHeaderMalformed") => return None,
        None => (
            "the bucket is in another region".to_owned(),
            "set AWS_REGION to the region of the bucket, as in AWS_REGION=eu-central-1".to_owned(),
        ),
    };
    Some(settings(reason, remedy))
}

fn at_another_time(
    status: StatusCode,
    headers: &HeaderMap,
    text: &str,
    now: Timestamp,
) -> Option<Trouble> {
    let is_refused = CLOCK_CODES.iter().any(|code| text.contains(code));
    let of_header = headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let of_header = of_header
        .and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let of_text = element(text, "ServerTime").and_then(|time| time.parse::<Timestamp>().ok());
    let ahead = of_text.or(of_header).map(|theirs| now.as_second() - theirs.as_second());
    let is_wrong = ahead.is_some_and(|ahead| ahead.abs() > SKEW_SECONDS_MAX);
    // The refusal of a HEAD has no text, so the date of the answer decides.
    let is_bare = status == StatusCode::FORBIDDEN && text.is_empty();
    let is_of_clock = is_refused || (is_bare && is_wrong);
    if !is_of_clock {
        return None;
    }
    let reason = match ahead.filter(|_| is_wrong) {
        Some(ahead) => {
            let by = duration(ahead.unsigned_abs());
            let how = if ahead > 0 { "ahead of" } else { "behind" };
            format!("the clock of this computer is {by} {how} that of the store")
        }
        None => "the clock of this computer differs from that of the store".to_owned(),
    };
    let remedy =
        "set the clock of this computer (`timedatectl set-ntp true`), then run the command again";
    Some(settings(reason, remedy.to_owned()))
}

fn unsupported(status: StatusCode, text: &str) -> Option<Trouble> {
    if status != StatusCode::NOT_IMPLEMENTED && !text.contains("<Code>NotImplemented</Code>") {
        return None;
    }
    let reason = match summarize(text) {
        empty if empty.is_empty() => "the store answered 501".to_owned(),
        reason => reason,
    };
    let reason = format!("the store does not have this function: {reason}");
    let (kind, again) = (StoreErrorKind::Unsupported, Retry::Never);
    Some(Trouble { kind, again, reason, remedy: None })
}

/// Returns what to change so that the connection succeeds, judged by the errors of TLS and of the proxy among its causes.
pub(super) fn of_connection(error: &dyn Error) -> Option<String> {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    if cause::<ProxyRefuses>(error).is_some() {
        return Some(PROXY_PASSWORD.to_owned());
    }
    let error = cause::<rustls::Error>(error)?;
    let is_authority = |error: &CertificateError| match error {
        CertificateError::Other(other) => {
            matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    };
    Some(match error {
        rustls::Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
        ) => {
            "the certificate of the server has expired, or the clock of this computer is wrong: check both (`date`)"
        }
        rustls::Error::InvalidCertificate(error) if is_authority(error) => {
            "the certificate of the server is marked as that of an authority: create another with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`, and set AWS_CA_BUNDLE to it"
        }
        rustls::Error::InvalidCertificate(_) => {
            "for a server with its own certificate, set AWS_CA_BUNDLE to a file with the certificate of its issuer; in a hotel, log in to its network first"
        }
        rustls::Error::InvalidMessage(_) => {
            "write the endpoint with http://, and set AWS_ALLOW_HTTP=true"
        }
        _ => return None,
    }
    .to_owned())
}

/// Finds an error of a type among the causes of an error. An I/O error has it inside, and does not name it as a cause.
fn cause<E: Error + 'static>(error: &dyn Error) -> Option<&E> {
    fn next<'e>(error: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
        let error: &'e (dyn Error + 'static) = *error;
        match error.downcast_ref::<std::io::Error>() {
            Some(outer) => outer.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    }
    std::iter::successors(error.source(), next).find_map(|error| error.downcast_ref())
}

fn settings(reason: String, remedy: String) -> Trouble {
    let (kind, again) = (StoreErrorKind::Settings, Retry::Never);
    Trouble { kind, again, reason, remedy: Some(remedy) }
}

/// Returns the text of an element of XML.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(value, _)| value.trim())
}

/// Extracts the region from `bucket.s3.eu-central-1.amazonaws.com` or `s3-eu-west-1.amazonaws.com`.
fn region_of_endpoint(text: &str) -> Option<&str> {
    let host = element(text, "Endpoint")?.split(".amazonaws.com").next()?;
    let last = host.rsplit('.').next()?;
    Some(last.strip_prefix("s3-").unwrap_or(last)).filter(|region| *region != "s3")
}

/// Returns whether a text looks like a region. The store sends it, and the hint asks the user to
/// type it.
fn is_region(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= REGION_CHARS_MAX && text.chars().all(plain)
}

fn duration(seconds: u64) -> String {
    match seconds {
        ..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(
        status: u16,
        header: (&'static str, &str),
        text: &str,
    ) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header.0, header.1.parse().expect("a header"));
        let now = "2026-11-29T00:00:00Z".parse().expect("a time");
        let status = StatusCode::from_u16(status).expect("a status");
        let trouble = explain(status, &headers, text, now)?;
        Some((trouble.reason, trouble.remedy.unwrap_or_default()))
    }

    const NONE: (&str, &str) = ("server", "AmazonS3");

    #[test]
    fn an_account_with_an_unpaid_bill_is_named() {
        let text = "<Error><Code>AllAccessDisabled</Code><Message>All access is disabled</Message>";
        let (reason, remedy) = explained(403, NONE, text).expect("an explanation");
        assert_eq!(reason, "All access is disabled");
        assert!(remedy.contains("a bill may be unpaid"), "{remedy}");
        assert_eq!(explained(403, NONE, "<Code>AccessDenied</Code>"), None);
    }

    #[test]
    fn the_region_is_the_one_that_the_answer_names() {
        let remedy = "set AWS_REGION=eu-central-1, then run the command again";
        let header = ("x-amz-bucket-region", "eu-central-1");
        for (status, header, text) in [
            (301, header, "<Code>PermanentRedirect</Code>"),
            (301, header, ""),
            (400, NONE, "<Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region>"),
            (
                301,
                NONE,
                "<Code>PermanentRedirect</Code><Endpoint>b.s3.eu-central-1.amazonaws.com</Endpoint>",
            ),
            (
                301,
                NONE,
                "<Code>PermanentRedirect</Code><Endpoint>s3-eu-central-1.amazonaws.com</Endpoint>",
            ),
        ] {
            assert_eq!(explained(status, header, text).expect("a remedy").1, remedy, "{text}");
        }
        for text in [
            "<Code>PermanentRedirect</Code>",
            "<Code>PermanentRedirect</Code><Region>\u{1b}[31m; rm -rf</Region>",
            "<Code>PermanentRedirect</Code><Endpoint>b.s3.amazonaws.com</Endpoint>",
        ] {
            assert!(
                explained(301, NONE, text)
                    .expect("a remedy")
                    .1
                    .contains("the region of the bucket")
            );
        }
        // A malformed key has nothing to do with the region.
        assert_eq!(explained(400, NONE, "<Code>AuthorizationHeaderMalformed</Code>"), None);
        assert_eq!(explained(403, header, "<Code>AccessDenied</Code>"), None);
        assert_eq!(explained(404, header, ""), None);
    }

    #[test]
    fn the_clock_is_compared_with_the_answer() {
        let skewed =
            "<Code>RequestTimeTooSkewed</Code><ServerTime>2026-11-29T02:00:00Z</ServerTime>";
        let (reason, remedy) = explained(403, NONE, skewed).expect("a remedy");
        assert_eq!(reason, "the clock of this computer is 2 hours behind that of the store");
        assert!(remedy.contains("set the clock"), "{remedy}");
        let date = ("date", "Thu, 26 Nov 2026 00:00:00 GMT");
        let (reason, _) = explained(403, date, "").expect("a remedy");
        assert_eq!(reason, "the clock of this computer is 3 days ahead of that of the store");
        let near = ("date", "Sun, 29 Nov 2026 00:10:00 GMT");
        assert_eq!(explained(403, near, ""), None);
        assert_eq!(explained(403, date, "<Code>AccessDenied</Code>"), None);
        assert_eq!(explained(404, date, ""), None);
    }

    #[test]
    fn connections_that_fail_for_a_reason() {
        use rustls::Error::{InvalidCertificate, InvalidMessage};
        use rustls::{InvalidMessage as Message, OtherError};
        // As the HTTP client wraps it: an I/O error in an I/O error.
        let remedy = |inner: rustls::Error| {
            let error = std::io::Error::other(std::io::Error::other(inner));
            of_connection(&crate::error::Error::File {
                action: "read",
                path: "".into(),
                source: error,
            })
        };
        let authority = OtherError(std::sync::Arc::new(webpki::Error::CaUsedAsEndEntity));
        for (error, words) in [
            (InvalidCertificate(CertificateError::UnknownIssuer), "AWS_CA_BUNDLE"),
            (InvalidCertificate(CertificateError::Expired), "clock"),
            (InvalidCertificate(CertificateError::Other(authority)), "CA:FALSE"),
            (InvalidMessage(Message::InvalidContentType), "http://"),
        ] {
            let text = error.to_string();
            assert!(remedy(error).is_some_and(|remedy| remedy.contains(words)), "{text}");
        }
        assert_eq!(remedy(rustls::Error::EncryptError), None);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(of_connection(&refused), None);
    }

    #[test]
    fn a_wrong_endpoint_or_bucket_is_named() {
        for (status, code, words) in [
            (400, "InvalidBucketName", "3 to 63 lower-case letters"),
            (405, "MethodNotAllowed", "check the endpoint"),
        ] {
            let text = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            let (_, remedy) = explained(status, NONE, &text).expect("an explanation");
            assert!(remedy.contains(words), "{remedy}");
        }
        for page in EXPECT_TLS {
            let page = format!("<html><title>400 The {page}</title>");
            assert_eq!(expects_tls(&page).and_then(|t| t.remedy).as_deref(), Some(WITH_TLS));
        }
        assert!(expects_tls("<html>Log in").is_none());
    }

    #[test]
    fn what_a_server_does_not_have() {
        let text = "<Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message>";
        for (status, text) in [(501, text), (400, text), (501, "")] {
            let (reason, _) = explained(status, NONE, text).expect("it is explained");
            assert!(reason.contains("does not have this function"), "{reason}");
        }
    }
}
