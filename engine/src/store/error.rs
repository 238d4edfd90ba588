//! Errors of the store, sorted by what the user can do about them.

use std::error::Error;

use super::bucket_name::{BUCKET_NAMES, is_bucket_name};
use super::trouble::{Retry, StoreErrorKind, Trouble};
use super::wording::Wording;
use super::{Location, Provider, layout};

/// A failed request to the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct StoreError {
    /// What failed.
    pub kind: StoreErrorKind,
    /// The object, or the URL of the store.
    pub name: String,
    /// Why, in one line without secrets.
    pub reason: String,
    /// Whether the operating system failed, not a server.
    pub of_system: bool,
    /// What the user can do, if more is known than the kind.
    pub remedy: Option<String>,
    pub(super) again: Retry,
}

/// The reason why an object of another user in a folder cannot be read.
const CLOSED: &str = "this user may not read it";

/// Why an object in an archive class cannot be read.
const ARCHIVED: &str = "it is in an archive class and must be thawed before it can be read";

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, name: String, reason: String) -> Self {
        let again = match kind {
            StoreErrorKind::Unreachable | StoreErrorKind::Busy => Retry::Sent,
            _ => Retry::Never,
        };
        StoreError { kind, name, reason, of_system: false, remedy: None, again }
    }

    /// Replaces the name of the object by the location if the whole store fails, not this object.
    pub(crate) fn of_place(self, place: &Location) -> StoreError {
        use StoreErrorKind::{
            Busy, Credentials, Denied, NoBucket, NoCredentials, Settings, Unreachable,
        };
        let of_keys = matches!(self.kind, Denied | Credentials | NoCredentials);
        let of_all = of_keys || matches!(self.kind, NoBucket | Settings | Unreachable | Busy);
        let remedy = match place {
            Location::Bucket { provider: Provider::S3, bucket, .. }
                if self.kind == NoBucket && !is_bucket_name(bucket) =>
            {
                Some(format!("check the name: {BUCKET_NAMES}"))
            }
            _ => self.remedy.clone(),
        };
        let is_full = self.kind == StoreErrorKind::NoSpace;
        match is_full || place.is_remote() && of_all {
            true => StoreError { name: place.to_string(), remedy, ..self },
            false => self,
        }
    }

    /// Wraps the failure of a request without a usable answer.
    pub(super) fn of_trouble(name: &str, trouble: &Trouble) -> StoreError {
        let error = StoreError::new(trouble.kind, name.to_owned(), scrub(&trouble.reason));
        let remedy = trouble.remedy.clone();
        let remedy = remedy.or_else(|| of_expired(Wording::of(&trouble.reason)));
        StoreError { again: trouble.again, remedy, ..error }
    }

    /// Returns the error for a wrong setting, with a hint on how to correct it.
    pub(super) fn of_setting(setting: &str, reason: &str, remedy: String) -> StoreError {
        let kind = StoreErrorKind::Location;
        let error = StoreError::new(kind, scrub(setting), reason.to_owned());
        StoreError { remedy: Some(remedy), ..error }
    }

    /// Wraps an error of the local disk.
    pub(super) fn of_file(name: &str, io: &std::io::Error) -> StoreError {
        let error = StoreError::new(kind_of_io(io), name.to_owned(), io.to_string());
        StoreError { of_system: true, remedy: of_read_only(io), ..error }
    }

    /// Converts a permission error in a folder into an error of this one object, because others may
    /// be readable. A host that only writes need not be allowed to read key slots and checkpoints.
    pub(super) fn of_object(self) -> StoreError {
        let is_for_readers =
            [layout::KEYS, layout::CHECKPOINTS].iter().any(|prefix| self.name.starts_with(prefix));
        if self.kind != StoreErrorKind::Denied || is_for_readers {
            return self;
        }
        StoreError { kind: StoreErrorKind::Closed, reason: CLOSED.to_owned(), ..self }
    }

    /// Classifies an answer that is not a success.
    pub(super) fn answered(name: &str, status: u16, text: &str) -> StoreError {
        let wording = Wording::of(text);
        let kind = wording.kind.unwrap_or(match status {
            404 => StoreErrorKind::NotFound,
            401 | 403 => StoreErrorKind::Denied,
            408 | 429 | 500..=599 => StoreErrorKind::Busy,
            _ => StoreErrorKind::Other,
        });
        let reason = match summarize(text) {
            empty if empty.is_empty() => format!("the store answered {status}"),
            reason => reason,
        };
        let error = StoreError::new(kind, name.to_owned(), reason);
        let again = again_of(status, text.is_empty(), wording).unwrap_or(error.again);
        StoreError { again, remedy: of_expired(wording), ..error }
    }

    /// Classifies an error of `object_store`: by its type as far as this says anything, else by its [`Wording`].
    pub(super) fn classify(name: &str, error: &object_store::Error) -> StoreError {
        let text = chain(error);
        let wording = Wording::of(&text);
        if let Some(trouble) = trouble_of(error)
            && !wording.is_of_metadata
        {
            return StoreError::of_trouble(name, trouble);
        }
        if wording.lacks_authorities {
            let error =
                StoreError::new(StoreErrorKind::Other, name.to_owned(), NO_AUTHORITIES.to_owned());
            return StoreError { remedy: Some(INSTALL_AUTHORITIES.to_owned()), ..error };
        }
        if wording.is_of_no_store {
            return StoreError::of_trouble(name, &Trouble::page());
        }
        let kind = wording.kind.unwrap_or_else(|| match error {
            object_store::Error::NotFound { .. } => StoreErrorKind::NotFound,
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => StoreErrorKind::Denied,
            _ => io_kind(error).unwrap_or(match wording.is_unreachable {
                true => StoreErrorKind::Unreachable,
                false => StoreErrorKind::Other,
            }),
        });
        let reason = match kind {
            // The words of S3 mean nothing to a photographer.
            StoreErrorKind::Archived => ARCHIVED.to_owned(),
            _ => summarize(&text),
        };
        let remedy = of_expired(wording).or_else(|| io_of(error).and_then(of_read_only));
        let error = StoreError::new(kind, name.to_owned(), reason);
        let again = again_of(0, text.is_empty(), wording).unwrap_or(error.again);
        StoreError { again, remedy, ..error }
    }
}

/// Returns a hint if a disk cannot be written. Linux makes a disk read-only when it finds errors on it.
fn of_read_only(error: &std::io::Error) -> Option<String> {
    let remedy = "the disk of the archive is read-only: mount it writable, then run the command again. If it was writable before, it may have errors: check the system log";
    (error.kind() == std::io::ErrorKind::ReadOnlyFilesystem).then(|| remedy.to_owned())
}

/// The reason and the hint if this computer has no root certificates.
pub(super) const NO_AUTHORITIES: &str =
    "this computer has no root certificates, so it can trust no server over https";
pub(super) const INSTALL_AUTHORITIES: &str = "install the package ca-certificates (`apt install ca-certificates`), then run the command again";

/// Returns a hint if temporary credentials have expired.
fn of_expired(wording: Wording) -> Option<String> {
    let remedy = "get new temporary credentials (`aws sso login` for a profile), or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, all three of the same session";
    wording.is_expired.then(|| remedy.to_owned())
}

/// Finds the trouble that the link reported among the sources of an error.
fn trouble_of(error: &object_store::Error) -> Option<&Trouble> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        source = error.source();
    }
    None
}

/// Returns how to retry if other credentials may help. `is_empty` is whether the answer has no text.
fn again_of(status: u16, is_empty: bool, wording: Wording) -> Option<Retry> {
    let refused = wording.is_refused;
    // The answer to a HEAD contains no reason. S3 answers a HEAD with 400 only because of an
    // expired token.
    let bare = is_empty && matches!(status, 400 | 403);
    (refused || bare).then_some(Retry::Credentials { awaited: refused || status == 400 })
}

fn io_kind(error: &object_store::Error) -> Option<StoreErrorKind> {
    let io = io_of(error)?;
    if io.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        return Some(StoreErrorKind::Unreadable);
    }
    Some(kind_of_io(io)).filter(|kind| *kind != StoreErrorKind::Other)
}

/// Returns the error of the system that has caused an error.
fn io_of(error: &object_store::Error) -> Option<&std::io::Error> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        source = error.source();
    }
    None
}

fn kind_of_io(error: &std::io::Error) -> StoreErrorKind {
    match error.kind() {
        std::io::ErrorKind::NotFound => StoreErrorKind::NotFound,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            StoreErrorKind::NoSpace
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreErrorKind::Denied
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            StoreErrorKind::Disk
        }
        _ => StoreErrorKind::Other,
    }
}

/// Joins the texts of an error and its sources, and skips a text that the previous one contains.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// Shortens a reason to one line, because S3 answers with a page of XML.
pub(super) fn summarize(text: &str) -> String {
    let message = text
        .split_once("<Message>")
        .and_then(|(_, rest)| rest.split_once("</Message>"))
        .map_or(text, |(message, _)| message);
    let line = scrub(message.lines().next().unwrap_or_default().trim());
    let mut end = line.len().min(300);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}

/// Removes possible secrets from a text: the query and the user of a URL, and values of parameters
/// that are called signature, token or key. Also removes control characters, because a server must
/// not control the terminal.
fn scrub(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let word: String = word.chars().filter(|c| !c.is_control()).collect();
        if let Some((scheme, rest)) = word.split_once("://") {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            return format!("{scheme}://{host}{path}");
        }
        let lower = word.to_ascii_lowercase();
        let secret = ["signature=", "sig=", "credential=", "token=", "accesskey", "secret="];
        if secret.into_iter().any(|name| lower.contains(name)) { "…".to_owned() } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_another_user_is_no_damage_of_the_others() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let kind = |name| StoreError::of_file(name, &denied).of_object().kind;
        assert_eq!(kind("hot/1"), StoreErrorKind::Closed);
        assert_eq!(kind("log/1"), StoreErrorKind::Closed);
        assert_eq!(kind("keys/1"), StoreErrorKind::Denied);
        assert_eq!(kind("checkpoints/1"), StoreErrorKind::Denied);
    }

    #[test]
    fn what_is_wrong_with_the_whole_place_names_the_place() {
        let place = Location::parse("s3://photos-bucket/photos").unwrap();
        let of = |text: &str| StoreError::answered("config", 403, text).of_place(&place);
        let gone =
            of("<Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message>");
        assert_eq!(gone.name, "s3://photos-bucket/photos");
        assert_eq!(of("<Code>AccessDenied</Code>").name, "s3://photos-bucket/photos");
        assert_eq!(of("<Code>InvalidObjectState</Code>").name, "config");
        let folder = Location::parse("./nas").unwrap();
        let denied = StoreError::answered("config", 403, "").of_place(&folder);
        assert_eq!(denied.name, "config");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(
            StoreError::of_file("packs/1", &full).of_place(&folder).name,
            folder.to_string()
        );
    }

    #[test]
    fn a_session_that_has_ended_names_its_token() {
        let remedy = |text: &str| StoreError::answered("config", 400, text).remedy;
        let text = "<Code>ExpiredToken</Code><Message>The provided token has expired.</Message>";
        assert!(remedy(text).is_some_and(|remedy| remedy.contains("AWS_SESSION_TOKEN")));
        assert_eq!(remedy("<Code>InvalidAccessKeyId</Code>"), None);
    }

    #[test]
    fn a_message_has_no_secret() {
        let url =
            "Error performing GET https://user:pass@host/bucket/a?X-Amz-Signature=53c7e7 in 2s";
        let shown = summarize(url);
        assert_eq!(shown, "Error performing GET https://host/bucket/a in 2s");
        let header =
            "bad AWS4-HMAC-SHA256 Credential=AKIA123/20261129, Signature=53c7e7 \x1b[31mred";
        assert_eq!(summarize(header), "bad AWS4-HMAC-SHA256 … … [31mred");
    }

    #[test]
    fn a_bad_sector_is_damage_of_one_object() {
        let kind = |code| {
            let source = Box::new(std::io::Error::from_raw_os_error(code));
            let error = object_store::Error::Generic { store: "local", source };
            StoreError::classify("packs/1", &error).kind
        };
        assert_eq!(kind(rustix::io::Errno::IO.raw_os_error()), StoreErrorKind::Unreadable);
        assert_eq!(kind(rustix::io::Errno::NOSPC.raw_os_error()), StoreErrorKind::NoSpace);
        assert_eq!(kind(rustix::io::Errno::MFILE.raw_os_error()), StoreErrorKind::Other);
    }

    #[test]
    fn a_read_only_disk_is_no_matter_of_permissions() {
        let remedy = |code: rustix::io::Errno| {
            let source = Box::new(std::io::Error::from_raw_os_error(code.raw_os_error()));
            let error = object_store::Error::Generic { store: "local", source };
            StoreError::classify("packs/1", &error).remedy
        };
        let said = remedy(rustix::io::Errno::ROFS).expect("a hint");
        assert!(said.contains("mount it writable"), "{said}");
        assert_eq!(remedy(rustix::io::Errno::ACCESS), None);
    }
}
