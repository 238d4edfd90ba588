//! Old versions of objects: a bucket that keeps versions bills deleted and replaced objects until a lifecycle rule
//! removes them. icecore never deletes an old version.

use std::sync::atomic::Ordering;

use http::Method;
use serde::Deserialize;

use super::client::Store;
use super::wire::Wire;
use super::{StoreError, StoreErrorKind};

/// Maximum number of pages of a listing of versions, with a thousand versions each.
const PAGES_MAX: usize = 16 << 10;

impl Store {
    /// Returns whether an answer of this store has shown that the bucket keeps old versions. Makes no request.
    pub fn keeps_versions(&self) -> bool {
        self.counter.has_versions.load(Ordering::Relaxed)
    }

    /// Calls `add` with the class and the bytes of each old version of an object of this repository; the class is empty
    /// if the listing names none. Returns false if the credentials may not list versions, or if the store has no such
    /// listing.
    pub fn old_versions(&self, add: &mut dyn FnMut(&str, u64)) -> Result<bool, StoreError> {
        let (Some(wire), Some(bucket)) = (&self.wire, &self.bucket) else { return Ok(false) };
        let below = bucket.full("").to_string();
        let below = if below.is_empty() { below } else { below + "/" };
        let mut after: Option<(String, String)> = None;
        for _ in 0..PAGES_MAX {
            let mut query = format!("versions&prefix={}", encoded(&below));
            if let Some((key, version)) = &after {
                query.push_str(&format!("&key-marker={}", encoded(key)));
                query.push_str(&format!("&version-id-marker={}", encoded(version)));
            }
            let page = match self.wait("", async |_| self.versions_page(wire, &query).await) {
                Err(error) if is_refused(error.kind) => return Ok(false),
                page => page?,
            };
            for OldVersion { is_latest, size, storage_class } in page.versions {
                if !is_latest {
                    add(&storage_class.unwrap_or_default(), size);
                }
            }
            let next = page.next_key.map(|key| (key, page.next_version.unwrap_or_default()));
            // A listing that repeats itself would never end.
            if !page.is_truncated || next.is_none() || next == after {
                break;
            }
            after = next;
        }
        Ok(true)
    }

    async fn versions_page(&self, wire: &Wire, query: &str) -> Result<VersionsPage, StoreError> {
        let headers = [("accept", "application/xml")];
        let answer = self.send_to_bucket(wire, (Method::GET, query), headers).await?;
        let status = answer.status();
        let text = answer.into_body().bytes().await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            return Err(StoreError::answered("", status.as_u16(), &text));
        }
        page(&text).map_err(|reason| StoreError::new(StoreErrorKind::Other, String::new(), reason))
    }
}

fn is_refused(kind: StoreErrorKind) -> bool {
    use StoreErrorKind::{Closed, Denied, Other};
    matches!(kind, Closed | Denied | Other)
}

/// Encodes a query value in the way that its signature requires.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[derive(Debug, Deserialize)]
struct VersionsPage {
    #[serde(default, rename = "IsTruncated")]
    is_truncated: bool,
    #[serde(default, rename = "NextKeyMarker")]
    next_key: Option<String>,
    #[serde(default, rename = "NextVersionIdMarker")]
    next_version: Option<String>,
    #[serde(default, rename = "Version")]
    versions: Vec<OldVersion>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OldVersion {
    is_latest: bool,
    size: u64,
    storage_class: Option<String>,
}

fn page(text: &str) -> Result<VersionsPage, String> {
    quick_xml::de::from_str(text).map_err(|error| format!("not a listing of versions: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_versions_and_where_the_next_one_begins() {
        let text = "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><Prefix>a/</Prefix><IsTruncated>true</IsTruncated>\
            <NextKeyMarker>a/c&amp;d</NextKeyMarker><NextVersionIdMarker>x</NextVersionIdMarker>\
            <Version><Key>a/b</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Size>3</Size></Version>\
            <DeleteMarker><Key>a/c</Key><VersionId>3</VersionId><IsLatest>true</IsLatest></DeleteMarker>\
            <Version><Key>a/c</Key><VersionId>2</VersionId><IsLatest>false</IsLatest><Size>5</Size>\
            <StorageClass>DEEP_ARCHIVE</StorageClass></Version></ListVersionsResult>";
        let page = page(text).expect("a page");
        assert_eq!(
            (page.is_truncated, page.next_key.as_deref(), page.next_version.as_deref()),
            (true, Some("a/c&d"), Some("x"))
        );
        let versions: Vec<_> = page
            .versions
            .iter()
            .map(|found| (found.is_latest, found.size, found.storage_class.as_deref()))
            .collect();
        assert_eq!(versions, [(true, 3, None), (false, 5, Some("DEEP_ARCHIVE"))]);
        for nonsense in ["", "no page", "<ListVersionsResult><Version/></ListVersionsResult>"] {
            assert!(super::page(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!(encoded("ö a/b~"), "%C3%B6%20a%2Fb~");
    }
}
