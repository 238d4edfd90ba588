//! The location of a repository: a folder, or a bucket and a prefix.
//!
//! A URL counts as a folder only if it can mean nothing else: if a mistyped bucket became a local
//! folder, the backup would never leave the house.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::Provider;
use super::foreign::{self, LocationError};

/// Maximum number of symlinks to follow in a path.
const SYMLINKS_MAX: u32 = 40;

/// A parsed repository URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder, by its path.
    Folder(PathBuf),
    /// A prefix of a bucket.
    Bucket {
        /// The kind of store.
        provider: Provider,
        /// Name of the bucket; on Azure, of the container.
        bucket: String,
        /// Prefix of all names, without a slash at the end; empty for the whole bucket.
        prefix: String,
    },
}

impl Location {
    /// Parses a URL or a path.
    ///
    /// # Errors
    /// If it names no kind of store that icecore supports, with a hint on how to write it.
    pub fn parse(url: &str) -> Result<Location, LocationError> {
        if url.trim().is_empty() {
            return Err(LocationError {
                url: "''".to_owned(),
                reason: "the URL of an archive cannot be empty".to_owned(),
                hint: foreign::FORMS.to_owned(),
            });
        }
        if url.trim() != url {
            let hint = "remove the white space; for a folder of such a name, write ./ in front of it and / after it";
            return Err(foreign::refuse(url, "it begins or ends with white space", hint));
        }
        if let Some((scheme, rest)) = url.split_once("://") {
            match scheme.to_ascii_lowercase().as_str() {
                "s3" => return bucket(url, Provider::S3, rest),
                "gs" => return bucket(url, Provider::Gcs, rest),
                "az" => return bucket(url, Provider::Azure, rest),
                _ => {}
            }
        }
        if let Some((scheme, rest)) = url.split_once(':')
            && scheme.eq_ignore_ascii_case("file")
        {
            return file(url, rest);
        }
        match foreign::form_of(url) {
            Some((reason, hint)) => Err(foreign::refuse(url, reason, &hint)),
            None => Ok(Location::Folder(url.into())),
        }
    }

    /// Returns the provider of the store; `None` for a folder.
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

    /// Returns the prefixes of the bucket that contain this one, innermost first; of a folder none.
    pub(crate) fn above(&self) -> Vec<Location> {
        let Location::Bucket { provider, bucket, prefix } = self else { return Vec::new() };
        let mut above = Vec::new();
        let mut rest = prefix.as_str();
        while !rest.is_empty() {
            rest = rest.rsplit_once('/').map_or("", |(outer, _)| outer);
            let (provider, bucket, prefix) = (*provider, bucket.clone(), rest.to_owned());
            above.push(Location::Bucket { provider, bucket, prefix });
        }
        above
    }

    /// Returns the canonical name of the location. It does not depend on how the location was
    /// written, nor on whether the disk is mounted.
    pub fn place(&self) -> String {
        match self {
            Location::Folder(path) => resolve(path).to_string_lossy().into_owned(),
            Location::Bucket { .. } => self.to_string(),
        }
    }
}

/// Parses the part after `s3://`, `gs://` or `az://`.
fn bucket(url: &str, provider: Provider, rest: &str) -> Result<Location, LocationError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (reason, hint) = foreign::bucket_form(provider, bucket, prefix);
    if let Some(reason) = reason {
        return Err(foreign::refuse(url, reason, &hint));
    }
    let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
    Ok(Location::Bucket { provider, bucket: bucket.to_owned(), prefix: parts.join("/") })
}

/// Parses the part after `file:`, a path on this host.
fn file(url: &str, rest: &str) -> Result<Location, LocationError> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(rest)
        }
        None => rest,
    };
    if path.starts_with('/') && !path.starts_with("//") && !path.contains('%') {
        return Ok(Location::Folder(path.into()));
    }
    let reason = "a file URL must name an absolute path on this host";
    Err(foreign::refuse(url, reason, "name the folder itself, as in /mnt/nas/archive"))
}

/// Resolves symlinks as far as the path exists, and keeps the rest as written.
fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut left: Vec<PathBuf> = parts(&absolute);
    let mut found = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            found.pop();
            continue;
        }
        let next = found.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < SYMLINKS_MAX => {
                links += 1;
                if target.is_absolute() {
                    found = PathBuf::from("/");
                }
                left.extend(parts(&target));
            }
            _ => found = next,
        }
    }
    found
}

/// Splits a path into its parts, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let named = path.components().rev().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(PathBuf::from(part.as_os_str())),
        _ => None,
    });
    named.collect()
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
            ("S3://photos//a///b", bucket(Provider::S3, "photos", "a/b"), "s3://photos/a/b"),
            ("gs://photos/a", bucket(Provider::Gcs, "photos", "a"), "gs://photos/a"),
            ("az://photos/", bucket(Provider::Azure, "photos", ""), "az://photos"),
        ] {
            let location = Location::parse(url).unwrap();
            assert_eq!((&location, location.to_string()), (&expected, text.to_owned()));
        }
    }

    #[test]
    fn folders() {
        for path in ["./x", "x", "../x", "/x", ".", "./s3:x", "/mnt/a:b", "x/s3:y", "Köln am Rhein"]
        {
            assert_eq!(Location::parse(path), Ok(Location::Folder(path.into())), "{path}");
        }
        for url in ["file:///mnt/a", "file:/mnt/a", "FILE://localhost/mnt/a"] {
            assert_eq!(Location::parse(url), Ok(Location::Folder("/mnt/a".into())), "{url}");
        }
        for bad in [
            "",
            " ",
            "\t",
            "x ",
            " s3://b",
            "s3://b/x\r",
            "file://nas/x",
            "file:x",
            "file:///a%20b",
        ] {
            let error = Location::parse(bad).unwrap_err();
            assert!(!error.hint.is_empty() && !error.reason.is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn a_place_has_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let place = |path: PathBuf| Location::Folder(path).place();
        std::os::unix::fs::symlink("disk/archive", base.join("link")).unwrap();
        let expected = base.join("disk/archive").to_string_lossy().into_owned();
        let written =
            ["disk/archive", "disk//archive/", "disk/./archive", "x/../disk/archive", "link"];
        // The first time the disk is not mounted, the second time it is.
        for _ in 0..2 {
            for path in written {
                assert_eq!(place(base.join(path)), expected, "{path}");
            }
            std::fs::create_dir_all(base.join("disk/archive")).unwrap();
        }
        std::os::unix::fs::symlink("circle", base.join("circle")).unwrap();
        assert!(place(base.join("circle")).ends_with("circle"));
    }
}
