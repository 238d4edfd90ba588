//! Recognises repository URLs in the syntax of other tools, and suggests the right form. Does no
//! I/O, except that it looks up a path that begins with two slashes.

use super::Provider;

/// The forms that icecore accepts.
pub(super) const FORMS: &str =
    "an archive is a folder path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";

const MOUNT: &str =
    "mount it first, then name the folder where it is mounted, as in /mnt/nas/archive";

/// Ends each message about a URL of another tool.
const FOLDER: &str = "; for a local folder of this name, write ./ in front of it";

/// Servers whose names people write where `s3://` expects the bucket.
const SERVERS: [&str; 9] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".backblazeb2.com",
    ".wasabisys.com",
    ".cloudflarestorage.com",
    ".digitaloceanspaces.com",
    ".scw.cloud",
    ".googleapis.com",
    ".windows.net",
];

/// A URL that icecore does not accept, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct LocationError {
    /// The URL as it was given, without its password.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub hint: String,
}

pub(super) fn refuse(url: &str, reason: &str, hint: &str) -> LocationError {
    LocationError { url: without_password(url), reason: reason.to_owned(), hint: hint.to_owned() }
}

/// Returns why a URL does not name a folder, and the right form; `None` if it is a path.
pub(super) fn form_of(url: &str) -> Option<(&'static str, String)> {
    if let Some(rest) = url.strip_prefix('~') {
        let reason = "no shell has expanded the ~";
        let hint = match rest.strip_prefix('/') {
            Some(_) => "write the whole path",
            None => {
                "write the whole path of the home folder; for a folder of this name, write ./ in front of it"
            }
        };
        return Some((reason, hint.to_owned()));
    }
    if url == "-" {
        let hint = format!("{FORMS}; a local folder of this name is ./-");
        return Some(("- does not name an archive", hint));
    }
    if url.starts_with('\\') {
        return Some(("this is a share on a Windows network", MOUNT.to_owned()));
    }
    if let Some(rest) = url.strip_prefix("//") {
        let top = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        let is_path = rest.starts_with('/') || std::path::Path::new("/").join(top).exists();
        let hint = format!("{MOUNT}; a folder on this host begins with one slash");
        return (!is_path).then_some(("this looks like a network share", hint));
    }
    let first = url.split('/').next().unwrap_or_default();
    if names_server(first) {
        let hint = of_server("https", url) + FOLDER;
        return Some(("this is the name of a server, not of a folder", hint));
    }
    let (word, _) = first.split_once(':')?;
    let rest = &url[word.len() + 1..];
    Some(of_tool(url, word, rest))
}

/// Returns the right form of a URL that begins with a word and a colon, the syntax of many tools.
fn of_tool(url: &str, word: &str, rest: &str) -> (&'static str, String) {
    let folder = FOLDER;
    let word = word.to_ascii_lowercase();
    // Do not show keys and passwords before an @.
    let plain = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let plain = plain.trim_start_matches(['/', '\\']);
    match word.as_str() {
        "s3" | "s3a" | "s3n" | "minio" | "s3+http" | "s3+https" | "boto3+s3" => {
            ("this is how other tools write a bucket", of_s3(plain) + folder)
        }
        "http" | "https" if rest.starts_with("//") => {
            ("a web address is not an archive", of_server(&word, plain))
        }
        "arn" => ("this is how policies name a bucket", of_arn(rest) + folder),
        "b2" => {
            let bucket = slashed(plain);
            let hint = format!(
                "B2 speaks S3: write s3://{bucket} and set AWS_ENDPOINT_URL=https://s3.REGION.backblazeb2.com"
            );
            ("this is how other tools write a bucket of B2", hint + folder)
        }
        "gs" | "gcs" | "gcp" | "google" => (
            "this is how other tools write a bucket",
            format!("write gs://{}{folder}", slashed(plain)),
        ),
        "az" | "azure" | "azblob" | "abfs" | "abfss" | "adl" | "wasb" | "wasbs" => (
            "this is how other tools write a container",
            format!("write az://{}{folder}", slashed(plain)),
        ),
        "rclone" => (
            "icecore does not run rclone",
            format!("`rclone serve s3` serves it for AWS_ENDPOINT_URL; or {MOUNT}{folder}"),
        ),
        "rest" | "swift" | "opendal" | "webdav" | "webdavs" | "dav" | "davs" | "ftp" | "ftps" => {
            ("icecore does not speak this protocol", format!("{MOUNT}{folder}"))
        }
        "sftp" | "ssh" | "scp" | "rsync" => {
            ("icecore does not speak SSH", format!("{MOUNT}; sshfs can mount it{folder}"))
        }
        "smb" | "cifs" | "nfs" | "afp" => ("this is a network share", format!("{MOUNT}{folder}")),
        drive if drive.len() == 1 && drive.as_bytes()[0].is_ascii_alphabetic() => {
            let hint = "write the path as this system shows it, as in /mnt/c/archive".to_owned();
            ("this is a Windows path", hint + folder)
        }
        _ if url.contains("://") => ("unknown kind of store", FORMS.to_owned()),
        _ => (
            "this looks like a place on another host, or the URL of another tool",
            format!("{MOUNT}; buckets are s3://…, gs://… and az://…{folder}"),
        ),
    }
}

/// Rewrites the text after `arn:` as a URL. In `aws:s3:::bucket/prefix`, only the parts from the bucket on matter.
fn of_arn(rest: &str) -> String {
    let bucket = rest.splitn(5, ':').nth(4).unwrap_or_default();
    match bucket.starts_with("accesspoint") {
        true => "icecore uses no access points: write the bucket itself, as s3://bucket/prefix"
            .to_owned(),
        false => bucket_url(bucket.trim_end_matches(['*', '/'])),
    }
}

/// Rewrites the text after another tool's `s3:` as a URL, with the settings that it implies.
fn of_s3(rest: &str) -> String {
    if let Some((scheme, rest)) = rest.split_once("://") {
        return of_server(scheme, rest);
    }
    let rest = rest.replace('\\', "/");
    let first = rest.split('/').next().unwrap_or_default();
    let is_server = is_server(first) || first.contains(':') || first.split('.').count() > 2;
    if is_server && (rest.len() > first.len() || first.contains(".amazonaws.com")) {
        of_server("https", &rest)
    } else {
        bucket_url(&rest)
    }
}

/// Rewrites a server name followed by a bucket.
fn of_server(scheme: &str, rest: &str) -> String {
    let (server, bucket) = rest.split_once('/').unwrap_or((rest, ""));
    let server = server.rsplit('@').next().unwrap_or_default();
    let server = server.to_ascii_lowercase();
    if let Some(console) = server.strip_suffix("console.aws.amazon.com") {
        return of_console(console.trim_end_matches('.'), bucket);
    }
    let amazon = server.strip_suffix(".amazonaws.com.cn").or(server.strip_suffix(".amazonaws.com"));
    if let Some(amazon) = amazon {
        return of_amazon(amazon, bucket);
    }
    let insecure = if scheme == "http" { " and AWS_ALLOW_HTTP=true" } else { "" };
    if let Some(account) = server.strip_suffix(".blob.core.windows.net") {
        return match slashed(bucket).as_str() {
            "" => "write az://container/prefix".to_owned(),
            path => format!("write az://{path}"),
        } + &format!(", and set AZURE_STORAGE_ACCOUNT_NAME={account}");
    }
    if server == "storage.googleapis.com" {
        return match slashed(bucket).as_str() {
            "" => "write gs://bucket/prefix".to_owned(),
            path => format!("write gs://{path}"),
        };
    }
    // As at Amazon, the name of the server may contain the bucket before `s3`.
    if let Some((name, server)) = server.split_once(".s3.") {
        let url = bucket_url(&format!("{name}/{bucket}"));
        return format!("{url}, and set AWS_ENDPOINT_URL={scheme}://s3.{server}{insecure}");
    }
    let url = bucket_url(bucket);
    format!("{url}, and set AWS_ENDPOINT_URL={scheme}://{server}{insecure}")
}

/// Rewrites a URL of Amazon, in which the bucket is before `s3` in the server name, or after the
/// server name.
fn of_amazon(server: &str, path: &str) -> String {
    let labels: Vec<&str> = server.split('.').collect();
    let is_s3 = |label: &&str| *label == "s3" || label.starts_with("s3-");
    // A bucket may be called s3-photos, so the last match is the service.
    let Some(at) = labels.iter().rposition(is_s3) else {
        return bucket_url(path);
    };
    let bucket = labels[..at].join(".");
    let flag = |label: &&&str| !["dualstack", "fips", "website", "accelerate"].contains(*label);
    let behind = labels[at + 1..].iter().find(flag).copied();
    let within = labels[at].strip_prefix("s3-").map(|rest| rest.trim_start_matches("website-"));
    let region = behind.or(within.filter(|rest| !["accelerate", "fips", "website"].contains(rest)));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let url = match bucket.is_empty() {
        true => bucket_url(path),
        false => bucket_url(&format!("{bucket}/{path}")),
    };
    format!("{url}, and set AWS_REGION={}", region.unwrap_or("us-east-1"))
}

/// Rewrites a URL of Amazon's web console: `s3/buckets/NAME?region=…&prefix=…`.
fn of_console(server: &str, path: &str) -> String {
    let (path, query) = path.split_once(['?', '#']).unwrap_or((path, ""));
    let value = |name: &str| {
        let found = query.split(['&', '?', '#']).find_map(|part| part.strip_prefix(name));
        found.map(|value| value.trim_matches('/').replace("%2F", "/").replace("%2f", "/"))
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let bucket = match parts[..] {
        ["s3", "buckets" | "object" | "upload", bucket, ..] => bucket,
        _ => return bucket_url(""),
    };
    let prefix = value("prefix=").unwrap_or_default();
    let of_server = Some(server.to_owned()).filter(|server| !["", "s3"].contains(&&**server));
    match value("region=").or(of_server) {
        Some(region) => {
            format!("{}, and set AWS_REGION={region}", bucket_url(&format!("{bucket}/{prefix}")))
        }
        None => bucket_url(&format!("{bucket}/{prefix}")),
    }
}

fn bucket_url(rest: &str) -> String {
    match slashed(rest).as_str() {
        "" => "write s3://bucket/prefix".to_owned(),
        rest => format!("write s3://{rest}"),
    }
}

/// Rewrites `bucket:path` and `bucket:/path` as `bucket/path`.
fn slashed(rest: &str) -> String {
    let rest = rest.replace([':', '\\'], "/");
    rest.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn is_server(name: &str) -> bool {
    let name = name.split(':').next().unwrap_or_default().to_ascii_lowercase();
    name == "localhost" || SERVERS.iter().any(|server| name.ends_with(server))
}

/// Returns whether the first part of a path looks like a server and hardly like a folder.
fn names_server(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_s3 = name.starts_with("s3.") && name.split('.').count() > 2;
    // A colon with anything but a port behind it belongs to the syntax of another tool, such as rclone's `remote:path`.
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    match name.split_once(':') {
        None => is_s3 || SERVERS.iter().any(|server| name.ends_with(server)),
        Some((host, port)) => is_port(port) && (host == "localhost" || host.contains('.')),
    }
}

/// Returns why a bucket and a prefix are implausible, and what to write instead.
pub(super) fn bucket_form(
    provider: Provider,
    bucket: &str,
    prefix: &str,
) -> (Option<&'static str>, String) {
    let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let hint = match provider {
        Provider::S3 if is_server(bucket) => of_server("https", &format!("{bucket}/{prefix}")),
        Provider::S3 if bucket.starts_with("arn:") => of_arn(&format!("{bucket}/{prefix}")[4..]),
        Provider::S3 if bucket.contains(['@', ':']) => {
            "write s3://bucket/prefix; set the server with AWS_ENDPOINT_URL, and the keys with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()
        }
        _ => FORMS.to_owned(),
    };
    let reason = if bucket.is_empty() {
        Some("the URL names no bucket")
    } else if is_server(bucket) {
        Some("this is the name of a server, not of a bucket")
    } else if !bucket.chars().all(named) {
        Some("this is not a valid bucket name")
    } else if prefix.contains(['?', '\\']) || prefix.chars().any(char::is_control) {
        Some("a prefix may not contain ?, \\ or control characters")
    } else if prefix.split('/').any(|part| part.trim() != part) {
        Some("a part of the prefix begins or ends with white space")
    } else if prefix.split('/').any(|part| part == "." || part == "..") {
        Some("a prefix may not have . or .. as a part")
    } else {
        None
    };
    (reason, hint)
}

/// Removes the password from `user:password@host`.
fn without_password(url: &str) -> String {
    let Some(at) = url.rfind('@') else { return url.to_owned() };
    let start = url[..at].rfind("://").map(|found| found + 3);
    let start = start.or_else(|| url[..at].find(':').map(|found| found + 1)).unwrap_or(0);
    match url[start..at].find(':') {
        Some(colon) => format!("{}:…{}", &url[..start + colon], &url[at..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Location;

    /// Asserts that a URL is refused, with this text in the hint.
    #[track_caller]
    fn refuses(url: &str, hint: &str) {
        let error = Location::parse(url).expect_err(url);
        assert!(error.hint.contains(hint), "{url}: {error:?}");
    }

    #[test]
    fn buckets_as_other_tools_write_them() {
        refuses(
            "s3:s3.amazonaws.com/bucket/a/b",
            "write s3://bucket/a/b, and set AWS_REGION=us-east-1",
        );
        refuses(
            "s3:s3.eu-central-1.amazonaws.com/bucket",
            "s3://bucket, and set AWS_REGION=eu-central-1",
        );
        refuses("s3:/bucket", "write s3://bucket");
        refuses("s3:bucket/x", "write s3://bucket/x");
        refuses("S3:bucket", "write s3://bucket");
        refuses("s3:\\\\bucket\\x", "write s3://bucket/x");
        refuses(
            "s3:nas.local:9000/bucket",
            "s3://bucket, and set AWS_ENDPOINT_URL=https://nas.local:9000",
        );
        refuses(
            "s3:http://nas:9000/bucket/x",
            "s3://bucket/x, and set AWS_ENDPOINT_URL=http://nas:9000 and AWS_ALLOW_HTTP=true",
        );
        refuses(
            "https://s3.example.org/bucket",
            "s3://bucket, and set AWS_ENDPOINT_URL=https://s3.example.org",
        );
        refuses("s3://s3.amazonaws.com/bucket/x", "write s3://bucket/x");
        for (url, hint) in [
            (
                "https://photos-bucket.s3.eu-central-1.amazonaws.com/photos",
                "write s3://photos-bucket/photos, and set AWS_REGION=eu-central-1",
            ),
            (
                "https://photos-bucket.s3.eu-central-1.amazonaws.com",
                "write s3://photos-bucket, and set AWS_REGION=eu-central-1",
            ),
            ("https://b.s3.amazonaws.com/a/", "write s3://b/a, and set AWS_REGION=us-east-1"),
            ("https://b.s3-eu-west-1.amazonaws.com/", "s3://b, and set AWS_REGION=eu-west-1"),
            ("s3://b.s3.eu-west-1.amazonaws.com/a", "s3://b/a, and set AWS_REGION=eu-west-1"),
            ("s3:my.old.bucket.s3.eu-west-1.amazonaws.com/a", "s3://my.old.bucket/a, and set"),
            ("s3:b.s3.eu-west-1.amazonaws.com", "s3://b, and set AWS_REGION=eu-west-1"),
            ("https://b.s3.dualstack.eu-west-1.amazonaws.com/a", "AWS_REGION=eu-west-1"),
            (
                "https://b.s3.cn-north-1.amazonaws.com.cn/a",
                "s3://b/a, and set AWS_REGION=cn-north-1",
            ),
            (
                "https://eu-central-1.console.aws.amazon.com/s3/buckets/b?region=eu-west-1&prefix=photos/",
                "write s3://b/photos, and set AWS_REGION=eu-west-1",
            ),
            (
                "https://eu-central-1.console.aws.amazon.com/s3/buckets/b?tab=objects",
                "write s3://b, and set AWS_REGION=eu-central-1",
            ),
            ("https://console.aws.amazon.com/s3/buckets/b", "write s3://b"),
            (
                "https://s3.console.aws.amazon.com/s3/buckets/b?region=eu-west-1",
                "AWS_REGION=eu-west-1",
            ),
        ] {
            refuses(url, hint);
        }
        for (url, hint) in [
            (
                "s3.eu-central-1.wasabisys.com/bucket/a",
                "write s3://bucket/a, and set AWS_ENDPOINT_URL=https://s3.eu-central-1.wasabisys.com;",
            ),
            ("s3.eu-central-1.wasabisys.com", "write s3://bucket/prefix, and set AWS_ENDPOINT_URL"),
            (
                "b.s3.us-west-004.backblazeb2.com/a",
                "write s3://b/a, and set AWS_ENDPOINT_URL=https://s3.us-west-004.backblazeb2.com",
            ),
            ("b.s3.eu-west-1.amazonaws.com/a", "write s3://b/a, and set AWS_REGION=eu-west-1"),
            ("s3.example.org/bucket", "AWS_ENDPOINT_URL=https://s3.example.org"),
            (
                "nas.local:9000/bucket",
                "s3://bucket, and set AWS_ENDPOINT_URL=https://nas.local:9000",
            ),
            ("localhost:9000/bucket", "s3://bucket, and set AWS_ENDPOINT_URL"),
            ("storage.googleapis.com/bucket/a", "write gs://bucket/a"),
            ("https://storage.googleapis.com/bucket/a", "write gs://bucket/a"),
            (
                "maria.blob.core.windows.net/photos",
                "write az://photos, and set AZURE_STORAGE_ACCOUNT_NAME=maria",
            ),
            ("arn:aws:s3:::bucket", "write s3://bucket;"),
            ("arn:aws:s3:::bucket/a/b", "write s3://bucket/a/b;"),
            ("arn:aws-cn:s3:::bucket/*", "write s3://bucket;"),
            ("arn:aws:s3:::", "write s3://bucket/prefix"),
            ("s3://arn:aws:s3:::bucket/a/b", "write s3://bucket/a/b"),
            ("s3://arn:aws:s3:eu-west-1:1234:accesspoint/a", "write the bucket itself"),
        ] {
            refuses(url, hint);
        }
        for folder in ["./s3.eu-central-1.wasabisys.com/bucket", "s3.old", "photos.example.org/a"] {
            assert!(Location::parse(folder).is_ok(), "{folder}");
        }
        refuses("s3://nas:9000/bucket", "AWS_ENDPOINT_URL");
        refuses("s3://key:secret@bucket/x", "AWS_ACCESS_KEY_ID");
        refuses("s3://region@amazon.com/bucket", "AWS_ENDPOINT_URL");
        refuses("s3+http://bucket/x", "write s3://bucket/x");
        refuses(
            "b2:bucket:a/b",
            "s3://bucket/a/b and set AWS_ENDPOINT_URL=https://s3.REGION.backblazeb2.com",
        );
        refuses("b2://bucket/a", "s3://bucket/a");
        refuses("gs:bucket:/a", "write gs://bucket/a");
        refuses("azure:container:/a", "write az://container/a");
        refuses("azure://container", "write az://container");
        for bad in [
            "s3://",
            "s3:///x",
            "gs://",
            "az:///",
            "s3://a b",
            "s3://b/../x",
            "s3://b/x /",
            "s3://b/x?region=y",
            "s3://b\\x",
            "s3://b/a\\x",
        ] {
            refuses(bad, "s3://bucket/prefix");
        }
        refuses("s3:", "s3://bucket/prefix");
        refuses("s3:///", "s3://bucket/prefix");
    }

    #[test]
    fn places_on_other_hosts() {
        for url in [
            "sftp:me@nas:/photos",
            "sftp://me@nas/photos",
            "ssh://nas/photos",
            "nas:/volume1/photos",
            "maria@nas:/volume1",
            "nas:photos",
            "[::1]:/photos",
            ":sftp,host=nas:photos",
            "rest:http://nas:8000/",
            "rclone:remote:photos",
            "smb://nas/photos",
            "nfs://nas/photos",
            "webdavs://nas/photos",
            "\\\\nas\\photos",
            "\\nas\\photos",
            "//no-such-host-here/photos",
        ] {
            refuses(url, "mount");
        }
        assert!(Location::parse("//tmp/x").is_ok(), "a path with one slash too many");
        assert!(Location::parse("///x").is_ok());
        refuses("C:\\photos", "as this system shows it");
        refuses("c:/photos", "as this system shows it");
        refuses("~/photos", "whole path");
        refuses("~", "whole path");
        refuses("~maria/photos", "whole path");
        refuses("ipfs://x", "s3://bucket/prefix");
        refuses("photos:2024", "./");
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (url, shown) in [
            ("rest:http://maria:secret@nas:8000/", "rest:http://maria:…@nas:8000/"),
            ("sftp:maria:secret@nas:/x", "sftp:maria:…@nas:/x"),
            ("sftp:maria@nas:/x", "sftp:maria@nas:/x"),
            ("s3://key:secret@bucket", "s3://key:…@bucket"),
            ("https://maria:p@ss@nas/x", "https://maria:…@nas/x"),
            ("nas:/x", "nas:/x"),
        ] {
            assert_eq!(Location::parse(url).unwrap_err().url, shown);
        }
    }
}
