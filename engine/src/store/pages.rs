//! Pages of listings with the storage class of each object: `object_store` drops the class. So the classes are read
//! from the pages on the wire ([`classes`]) and attached to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use serde::Deserialize;

use super::options::path;

/// Lists a bucket page by page, below the prefix of the repository.
#[derive(Clone)]
pub(super) struct ListedBucket {
    pub store: Arc<dyn PaginatedListStore>,
    pub prefix: Path,
}

impl fmt::Debug for ListedBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The storage classes in a page, by the full key of each object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Classes(pub Arc<HashMap<String, String>>);

/// An object in a page of a listing, and its class; `None` if the page does not contain the class.
pub(super) type ListedObject = (ObjectMeta, Option<String>);

impl ListedBucket {
    /// Lists the objects under a prefix, after the name `offset` if given. Requests the next page when the last one is
    /// used up.
    pub fn list(
        &self,
        prefix: &str,
        offset: Option<&str>,
    ) -> BoxStream<'_, object_store::Result<ListedObject>> {
        let below = self.full(prefix);
        let below = (!below.as_ref().is_empty()).then(|| format!("{below}/"));
        let offset = offset.map(|offset| self.full(offset).to_string());
        let first = Some(None::<String>);
        let pages = stream::try_unfold(first, move |token| {
            let (below, offset) = (below.clone(), offset.clone());
            async move {
                let Some(page_token) = token else { return Ok(None) };
                let options =
                    PaginatedListOptions { offset, page_token, ..PaginatedListOptions::default() };
                let page = self.store.list_paginated(below.as_deref(), options).await?;
                let objects = self.objects(page.result);
                Ok::<_, object_store::Error>(Some((objects, page.page_token.map(Some))))
            }
        });
        pages.map_ok(|objects| stream::iter(objects.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn objects(&self, page: object_store::ListResult) -> Vec<ListedObject> {
        let classes = page.extensions.get::<Classes>().cloned().unwrap_or_default();
        let objects = page.objects.into_iter().map(|meta| {
            let class = classes.0.get(meta.location.as_ref()).cloned();
            (ObjectMeta { location: self.name(&meta.location), ..meta }, class)
        });
        objects.collect()
    }

    /// Returns the full key of a name within the repository.
    pub fn full(&self, name: &str) -> Path {
        self.prefix.parts().chain(path(name).parts()).collect()
    }

    /// Returns the name of an object within the repository.
    fn name(&self, location: &Path) -> Path {
        match location.prefix_match(&self.prefix) {
            Some(parts) => parts.collect(),
            None => location.clone(),
        }
    }
}

/// A page of S3 and of Cloud Storage has `Contents`, one of Azure has `Blobs`.
#[derive(Deserialize)]
struct Page {
    #[serde(default, rename = "Contents")]
    contents: Vec<ObjectRow>,
    #[serde(default, rename = "Blobs")]
    blobs: Blobs,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectRow {
    key: String,
    storage_class: Option<String>,
}

#[derive(Default, Deserialize)]
struct Blobs {
    #[serde(default, rename = "Blob")]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Properties {
    access_tier: Option<String>,
}

/// Reads the class of each object from a page of a listing; returns no classes for any other text.
pub fn classes(page: &[u8]) -> HashMap<String, String> {
    let Ok(page) = quick_xml::de::from_reader::<_, Page>(page) else { return HashMap::new() };
    let contents = page.contents.into_iter().map(|found| (found.key, found.storage_class));
    let blobs = page.blobs.blobs.into_iter().map(|blob| (blob.name, blob.properties.access_tier));
    contents.chain(blobs).filter_map(|(key, class)| Some((key, class?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_every_provider_contain_classes() {
        let found = |page: &str| {
            let mut found: Vec<_> = classes(page.as_bytes()).into_iter().collect();
            found.sort();
            found
        };
        let pair = |key: &str, class: &str| (key.to_owned(), class.to_owned());
        let s3 = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>b</Name><Prefix>a</Prefix><IsTruncated>false</IsTruncated>\
            <Contents><Key>a&amp;b</Key><Size>1</Size><StorageClass>DEEP_ARCHIVE</StorageClass>\
            <RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>\
            <CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>\
            <Contents><Key>d</Key><Size>2</Size></Contents></ListBucketResult>";
        assert_eq!(found(s3), [pair("a&b", "DEEP_ARCHIVE")]);
        let azure = "<EnumerationResults ContainerName=\"c\"><Prefix>a</Prefix><Blobs>\
            <Blob><Name>a/1</Name><Properties><Content-Length>3</Content-Length>\
            <AccessTier>Archive</AccessTier></Properties></Blob></Blobs><NextMarker/></EnumerationResults>";
        assert_eq!(found(azure), [pair("a/1", "Archive")]);
        for nonsense in ["", "no page", "<Contents>", "<a><Contents><Key>b</Key></Contents></a>"] {
            assert_eq!(found(nonsense), []);
        }
    }
}
