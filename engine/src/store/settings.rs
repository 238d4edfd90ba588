//! Checks the settings of a store before they are used, because `object_store` panics on some
//! mistyped settings and silently ignores others. Does no I/O.

use object_store::aws::AmazonS3ConfigKey;
use object_store::client::ClientConfigKey;
use reqwest::Url;

use super::bucket_name::{BUCKET_NAMES, is_bucket_name};
use super::endpoints;
use super::error::StoreError;

/// Settings that name a server.
const ENDPOINTS: [&str; 6] = [
    "aws_endpoint",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
    "google_base_url",
    "azure_storage_endpoint",
    "azure_endpoint",
];
/// Settings that name a source of credentials, which may do without TLS.
const SOURCES: [&str; 3] =
    ["aws_metadata_endpoint", "aws_container_credentials_full_uri", "aws_endpoint_url_sts"];
const REGIONS: [&str; 2] = ["aws_region", "aws_default_region"];
/// Settings that allow a store without TLS.
pub(super) const HTTP: [&str; 3] = ["aws_allow_http", "google_allow_http", "azure_allow_http"];

/// Returns whether a setting of S3, by its name in lower case, has an effect. Settings that the
/// program itself reads are not included.
pub fn has_effect(name: &str) -> bool {
    match name.parse::<AmazonS3ConfigKey>() {
        Ok(AmazonS3ConfigKey::Client(key)) => key == ClientConfigKey::AllowHttp,
        // The bucket comes from the URL, and icecore relies on the defaults of the others.
        Ok(
            AmazonS3ConfigKey::Bucket
            | AmazonS3ConfigKey::Checksum
            | AmazonS3ConfigKey::ConditionalPut
            | AmazonS3ConfigKey::CopyIfNotExists,
        ) => false,
        Ok(_) => name.starts_with("aws_"),
        Err(_) => false,
    }
}

/// Returns whether the value of a setting means "yes".
pub(super) fn is_yes(value: &str) -> bool {
    ["true", "1", "yes", "y", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Fails if the value of a setting cannot be right for this bucket.
pub(super) fn check(settings: &[(String, String)], bucket: &str) -> Result<(), StoreError> {
    let allows_http = settings
        .iter()
        .rev()
        .find(|(key, _)| HTTP.contains(&&**key))
        .is_some_and(|(_, yes)| is_yes(yes));
    let has_endpoint = settings.iter().any(|(key, _)| ENDPOINTS.contains(&&**key));
    for (key, value) in settings {
        if ENDPOINTS.contains(&&**key) {
            endpoints::of_store(key, value, bucket)?;
            endpoint(key, value, allows_http)?;
            endpoints::without_bucket(key, value, bucket)?;
        } else if SOURCES.contains(&&**key) {
            endpoint(key, value, true)?;
        } else if REGIONS.contains(&&**key) {
            region(key, value, has_endpoint)?;
        }
    }
    let region = settings.iter().rev().find(|(key, _)| REGIONS.contains(&&**key));
    match region.filter(|(_, region)| !has_endpoint && region != OLD_REGION) {
        Some(_) => bucket_name(bucket),
        None => Ok(()),
    }
}

/// The region with buckets from before 2018, whose names may have capital letters and underscores.
const OLD_REGION: &str = "us-east-1";

/// Fails if Amazon allows no bucket of this name in any other region.
fn bucket_name(bucket: &str) -> Result<(), StoreError> {
    if is_bucket_name(bucket) {
        return Ok(());
    }
    let reason = "Amazon allows no bucket of this name";
    let remedy = format!("check the name: {BUCKET_NAMES}");
    Err(StoreError::of_setting(&format!("s3://{bucket}"), reason, remedy))
}

fn endpoint(key: &str, value: &str, allows_http: bool) -> Result<(), StoreError> {
    let name = key.to_ascii_uppercase();
    let refuse = |reason: &str, remedy: String| {
        Err(StoreError::of_setting(&format!("{name}={value}"), reason, remedy))
    };
    let url = Url::parse(value);
    let scheme = value.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let bare =
        value.split_once("://").map_or_else(|| endpoints::without_scheme(value), |(_, rest)| rest);
    let without_user = bare.rsplit('@').next().unwrap_or_default().trim_matches('/');
    let secure = format!("write {name}=https://{without_user}");
    let (allow, in_profile) = match key.split('_').next() {
        Some("google") => ("GOOGLE_ALLOW_HTTP", ""),
        Some("azure") => ("AZURE_ALLOW_HTTP", ""),
        _ => ("AWS_ALLOW_HTTP", ", or allow-http = true in the profile,"),
    };
    match (scheme.as_deref(), url) {
        (Some("http" | "https"), Ok(url)) => {
            if !url.username().is_empty() || url.password().is_some() {
                let reason = "an endpoint may not contain a user or a password";
                return refuse(
                    reason,
                    format!(
                        "{secure}, and set the keys with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    ),
                );
            }
            if url.query().is_some()
                || url.fragment().is_some()
                || value.contains(char::is_whitespace)
            {
                return refuse("an endpoint is only the address of a server", secure);
            }
            if url.scheme() == "http" && !allows_http {
                let remedy = format!(
                    "set {allow}=true{in_profile} if you trust the network to it: contents and names stay encrypted, but anyone on the way can cut off access to the archive; or use https://"
                );
                return refuse("this endpoint is reached without TLS", remedy);
            }
            Ok(())
        }
        (Some("http" | "https"), Err(_)) => refuse(
            "this is not the address of a server",
            format!("as in {name}=https://nas.local:9000"),
        ),
        (Some("s3" | "gs" | "az"), _) => refuse(
            "this is the place of an archive, not the address of a server",
            format!("as in {name}=https://nas.local:9000; --repo names the archive"),
        ),
        (Some(_), _) => refuse("an endpoint is reached with https:// or http://", secure),
        (None, _) => refuse(
            "an endpoint begins with https:// or http://",
            format!("{secure}, or http://{without_user} and {allow}=true for a server without TLS"),
        ),
    }
}

fn region(key: &str, value: &str, has_endpoint: bool) -> Result<(), StoreError> {
    let setting = format!("{}={value}", key.to_ascii_uppercase());
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !value.chars().all(plain) {
        let remedy = "write its code, as in AWS_REGION=eu-central-1".to_owned();
        return Err(StoreError::of_setting(&setting, "this is not a valid region", remedy));
    }
    // An availability zone such as `eu-central-1a`. Other servers may have regions of any name.
    let zone = value.strip_suffix(|c: char| c.is_ascii_lowercase());
    let zone = zone.filter(|region| region.ends_with(|c: char| c.is_ascii_digit()));
    if let Some(region) = zone.filter(|region| !has_endpoint && region.matches('-').count() == 2) {
        let remedy = format!("write AWS_REGION={region}");
        return Err(StoreError::of_setting(&setting, "this is an availability zone", remedy));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(settings: &[(&str, &str)]) -> Result<(), String> {
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        check(&settings, "photos")
            .map_err(|error| format!("{error} | {}", error.remedy.clone().unwrap_or_default()))
    }

    #[test]
    fn endpoints_are_addresses_with_a_scheme() {
        for (value, words) in [
            (
                "nas.local:9000",
                "write AWS_ENDPOINT_URL=https://nas.local:9000, or http://nas.local:9000",
            ),
            ("localhost", "https://localhost"),
            ("127.0.0.1:9000/", "https://127.0.0.1:9000,"),
            ("//nas", "https://nas"),
            ("http:/nas:9000", "write AWS_ENDPOINT_URL=https://nas:9000, or"),
            ("'http://nas:9000'", "without the quotation marks: AWS_ENDPOINT_URL=http://nas:9000"),
            ("s3://bucket", "the place of an archive, not the address of a server"),
            ("ftp://nas", "https://nas"),
            ("https://", "not the address of a server"),
            ("https://nas:port", "not the address"),
            ("https://n as", "not the address"),
            ("https://key:secret@nas", "write AWS_ENDPOINT_URL=https://nas, and set the keys"),
            ("https://nas?x=1", "only the address of a server"),
            ("http://nas:9000", "AWS_ALLOW_HTTP=true"),
        ] {
            let error = checked(&[("aws_endpoint_url", value)]).expect_err(value);
            assert!(error.contains(words) && !error.contains("secret@"), "{value}: {error}");
        }
        for value in ["https://nas:9000", "https://s3.example.org/path", "HTTPS://[::1]:9000/"] {
            assert_eq!(checked(&[("aws_endpoint_url", value)]), Ok(()), "{value}");
        }
        for yes in ["true", "1", "YES", "on"] {
            let settings = [("aws_endpoint", "http://nas"), ("aws_allow_http", yes)];
            assert_eq!(checked(&settings), Ok(()), "{yes}");
        }
        assert!(
            checked(&[("google_base_url", "http://nas")])
                .is_err_and(|e| e.contains("GOOGLE_ALLOW_HTTP"))
        );
        assert_eq!(checked(&[("aws_metadata_endpoint", "http://169.254.169.254")]), Ok(()));
    }

    #[test]
    fn a_bucket_of_amazon_has_a_plain_name() {
        let check = |bucket: &str, settings: &[(&str, &str)]| {
            let settings: Vec<_> =
                settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            super::check(&settings, bucket).map_err(|error| error.remedy.unwrap_or_default())
        };
        let new = [("aws_region", "eu-central-1")];
        let old = [("aws_region", "us-east-1")];
        let own = [("aws_region", "eu-central-1"), ("aws_endpoint_url", "https://nas:9000")];
        for bucket in ["Photos", "my_photos", "ab", "-photos", "photos-", "a..b"] {
            let remedy = check(bucket, &new).expect_err(bucket);
            assert!(remedy.contains("3 to 63 lower-case letters"), "{remedy}");
            assert_eq!(check(bucket, &old), Ok(()), "{bucket}");
            assert_eq!(check(bucket, &own), Ok(()), "{bucket}");
        }
        for bucket in ["photos-2024", "my.photos", "abc"] {
            assert_eq!(check(bucket, &new), Ok(()), "{bucket}");
        }
    }

    #[test]
    fn regions_are_codes() {
        for (value, words) in [
            ("EU (Frankfurt)", "as in AWS_REGION=eu-central-1"),
            ("eu-central-1a", "AWS_REGION=eu-central-1"),
        ] {
            let error = checked(&[("aws_region", value)]).expect_err(value);
            assert!(error.contains(words), "{error}");
        }
        for value in ["us-east-1", "us-gov-west-1", "auto", "garage", ""] {
            assert_eq!(checked(&[("aws_region", value)]), Ok(()), "{value}");
        }
        let zone_of_another_server = [("aws_region", "my-own-1a"), ("aws_endpoint", "https://nas")];
        assert_eq!(checked(&zone_of_another_server), Ok(()));
    }

    #[test]
    fn settings_that_do_something() {
        for name in ["aws_region", "aws_allow_http", "aws_request_payer", "aws_endpoint_url"] {
            assert!(has_effect(name), "{name}");
        }
        for name in [
            "aws_regoin",
            "aws_bucket",
            "aws_timeout",
            "aws_max_attempts",
            "region",
            "aws_use_fips_endpoint",
        ] {
            assert!(!has_effect(name), "{name}");
        }
    }
}
