//! Reads from the text of a failure what its type does not say. Only [`Wording::of`] does this.
//!
//! `object_store` wraps the answer of the server and the failure of its HTTP client in types that are private, so their
//! text is all that remains. The codes in it are those of S3, which are stable, because they are its protocol; of the
//! words of other crates, the lists below have as few as possible. A text that is not recognized is classified by the
//! status of the answer, or as an error of no known kind.

use super::StoreErrorKind;

/// What the text of a failure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wording {
    /// The kind, if the text contains a code of S3.
    pub kind: Option<StoreErrorKind>,
    /// The store has refused the credentials, so others may help.
    pub is_refused: bool,
    /// Temporary credentials have expired.
    pub is_expired: bool,
    /// No HTTP client can be made because the system has no root certificates, as in a bare container.
    pub lacks_authorities: bool,
    /// The answer does not come from a store: a malformed listing, or a header is missing that every store sends.
    pub is_of_no_store: bool,
    /// Credentials were requested from the metadata service of a cloud, which this computer is not in.
    pub is_of_metadata: bool,
    /// The request did not arrive.
    pub is_unreachable: bool,
    /// A proxy has opened no tunnel to the store.
    pub is_of_tunnel: bool,
    /// The proxy demands another password, or one at all.
    pub is_of_proxy_password: bool,
}

/// The address of the metadata service.
const METADATA: &str = "169.254.169.254";

/// The kinds, in the order in which they are searched for.
const KINDS: [(StoreErrorKind, &[&str]); 6] = [
    (StoreErrorKind::NoBucket, &["NoSuchBucket"]),
    (StoreErrorKind::Archived, &["InvalidObjectState", "BlobArchived"]),
    (
        StoreErrorKind::Credentials,
        &[
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "ExpiredToken",
            "InvalidToken",
            "RequestTimeTooSkewed",
            "AuthorizationHeaderMalformed",
            "401 Unauthorized",
            "Failed to get credentials",
            METADATA,
        ],
    ),
    (StoreErrorKind::Length, &["InvalidRange", "Requested range was invalid"]),
    (StoreErrorKind::Busy, &["SlowDown"]),
    // There is no error type for a refused listing.
    (StoreErrorKind::Denied, &["AccessDenied"]),
];

const REFUSED: [&str; 5] = [
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
];

/// S3 reports this by a code or in words.
const EXPIRED: [&str; 4] =
    ["ExpiredToken", "TokenRefreshRequired", "token has expired", "token is expired"];

const OF_NO_STORE: [&str; 5] = [
    "Got invalid list response",
    "ETag Header missing",
    "Last-Modified Header missing",
    "Content-Length Header missing",
    "Got invalid DeleteObjects",
];

const UNREACHABLE: [&str; 4] = ["error sending request", "onnection", "timed out", "dns error"];

impl Wording {
    /// Reads a text: the body of an answer, or the messages of an error and its sources.
    pub fn of(text: &str) -> Wording {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        Wording {
            kind: KINDS.iter().find(|(_, words)| has(words)).map(|(kind, _)| *kind),
            is_refused: has(&REFUSED),
            is_expired: has(&EXPIRED),
            lacks_authorities: has(&["No CA certificates were loaded"]),
            is_of_no_store: has(&OF_NO_STORE),
            is_of_metadata: has(&[METADATA]),
            is_unreachable: has(&UNREACHABLE),
            is_of_tunnel: has(&["tunnel error: "]),
            is_of_proxy_password: has(&["proxy authorization required"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_kind_counts_and_the_rest_is_read_beside_it() {
        let text =
            "<Code>ExpiredToken</Code><Message>AccessDenied: the token has expired</Message>";
        let wording = Wording::of(text);
        assert_eq!(wording.kind, Some(StoreErrorKind::Credentials));
        assert!(wording.is_refused && wording.is_expired && !wording.is_unreachable);
        let nothing = Wording::of("a text of an unknown server");
        assert_eq!(
            (nothing.kind, nothing.is_refused, nothing.is_of_no_store),
            (None, false, false)
        );
        assert!(Wording::of("client error (Connect): Connection refused").is_unreachable);
    }
}
