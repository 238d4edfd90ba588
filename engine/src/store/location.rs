//! Where a repository is: a folder, or a bucket and a prefix.

use std::fmt;
use std::path::PathBuf;

use super::{Provider, StoreError, StoreErrorKind};

/// A parsed repository URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    Bucket { provider: Provider, bucket: String, prefix: String },
}

impl Location {
    pub fn parse(url: &str) -> Result<Location, StoreError> {
        let fail = |reason: &str| {
            Err(StoreError::new(StoreErrorKind::Location, url.to_owned(), reason.to_owned()))
        };
        if url.is_empty() {
            return fail("the repository URL is empty");
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Ok(Location::Folder(url.into()));
        };
        let provider = match scheme {
            "file" => return Ok(Location::Folder(rest.into())),
            "s3" => Provider::S3,
            "gs" => Provider::Gcs,
            "az" => Provider::Azure,
            _ => return fail("unknown kind of store: use a folder path or s3://bucket/prefix"),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return fail(&format!("the URL names no bucket: {scheme}://bucket/prefix"));
        }
        let prefix = prefix.trim_matches('/').to_owned();
        Ok(Location::Bucket { provider, bucket: bucket.to_owned(), prefix })
    }

    /// Returns whose store it is; `None` for a folder.
    pub fn provider(&self) -> Option<Provider> {
        match self {
            Location::Folder(_) => None,
            Location::Bucket { provider, .. } => Some(*provider),
        }
    }

    /// Returns whether the store has storage classes and bills requests.
    pub fn is_remote(&self) -> bool {
        !matches!(self, Location::Folder(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(path) => write!(f, "{}", path.display()),
            Location::Bucket { provider, bucket, prefix } => {
                let scheme = match provider {
                    Provider::S3 => "s3",
                    Provider::Gcs => "gs",
                    Provider::Azure => "az",
                };
                let slash = if prefix.is_empty() { "" } else { "/" };
                write!(f, "{scheme}://{bucket}{slash}{prefix}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let bucket = |provider, bucket: &str, prefix: &str| Location::Bucket {
            provider,
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        for (url, expected, text) in [
            ("s3://photos/a/b/", bucket(Provider::S3, "photos", "a/b"), "s3://photos/a/b"),
            ("s3://photos", bucket(Provider::S3, "photos", ""), "s3://photos"),
            ("gs://photos/a", bucket(Provider::Gcs, "photos", "a"), "gs://photos/a"),
            ("az://photos/", bucket(Provider::Azure, "photos", ""), "az://photos"),
        ] {
            let location = Location::parse(url).unwrap();
            assert_eq!((&location, location.to_string()), (&expected, text.to_owned()));
        }
        assert_eq!(Location::parse("./x").unwrap(), Location::Folder("./x".into()));
        for bad in ["", "s3://", "s3:///x", "http://x", "gs://"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }
}
