//! Where a repository is: a folder, or a bucket and a prefix.

use std::fmt;
use std::path::PathBuf;

use super::{StoreError, StoreErrorKind};

/// A parsed repository URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
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
        match scheme {
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return fail("an S3 URL names a bucket: s3://bucket/prefix");
                }
                let prefix = prefix.trim_matches('/').to_owned();
                Ok(Location::S3 { bucket: bucket.to_owned(), prefix })
            }
            "gs" | "az" => fail("this kind of store is not supported yet"),
            "file" => Ok(Location::Folder(rest.into())),
            _ => fail("unknown kind of store: use a folder path or s3://bucket/prefix"),
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
            Location::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Location::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let s3 = |bucket: &str, prefix: &str| Location::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        assert_eq!(Location::parse("s3://photos/a/b/").unwrap(), s3("photos", "a/b"));
        assert_eq!(Location::parse("s3://photos").unwrap(), s3("photos", ""));
        assert_eq!(Location::parse("./x").unwrap(), Location::Folder("./x".into()));
        for bad in ["", "s3://", "s3:///x", "http://x", "gs://bucket"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }
}
