//! Checks the address of an S3 server for what people paste instead of it: the address of the bucket, or that of a web
//! console. Does no I/O.

use reqwest::Url;

use super::error::StoreError;

/// Hosts of web consoles, and what to do instead.
const CONSOLES: [(&str, &str); 5] = [
    ("dash.cloudflare.com", "as in https://ACCOUNT_ID.r2.cloudflarestorage.com"),
    ("secure.backblaze.com", "as in https://s3.REGION.backblazeb2.com"),
    ("console.wasabisys.com", "as in https://s3.REGION.wasabisys.com"),
    ("cloud.digitalocean.com", "as in https://REGION.digitaloceanspaces.com"),
    ("console.scaleway.com", "as in https://s3.REGION.scw.cloud"),
];
const AMAZON: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];
/// First folders of the pages of MinIO's console.
const PAGES: [&str; 2] = ["browser", "login"];

/// Refuses what is an address, but not that of a store.
pub(super) fn of_store(key: &str, value: &str, bucket: &str) -> Result<(), StoreError> {
    let name = key.to_ascii_uppercase();
    let refuse = |reason: &str, remedy: String| {
        Err(StoreError::of_setting(&format!("{name}={value}"), reason, remedy))
    };
    let bare =
        value.trim().trim_matches(['\'', '"', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}']);
    if bare != value {
        // The address may contain a password.
        let shown = if bare.contains('@') { String::new() } else { format!(": {name}={bare}") };
        let remedy = format!("write it without the quotation marks{shown}");
        return refuse("the value begins or ends with a quotation mark", remedy);
    }
    let Some(url) = Url::parse(value).ok().filter(Url::has_host) else { return Ok(()) };
    let host = url.host_str().unwrap_or_default();
    let console = "this is the address of a web console, not of a store";
    if let Some(server) = host.strip_suffix("console.aws.amazon.com") {
        let region = server.trim_end_matches('.');
        let region = match region.contains('-') {
            true => format!("AWS_REGION={region}"),
            false => "AWS_REGION to the region of the bucket".to_owned(),
        };
        return refuse(
            console,
            format!("unset {name}, because Amazon needs none, and set {region}"),
        );
    }
    if let Some((_, instead)) = CONSOLES.iter().find(|(page, _)| host == *page) {
        return refuse(console, format!("write the address of the store, {instead}"));
    }
    let first = url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
    if PAGES.contains(&first) && first != bucket {
        let example = format!("as in {name}={}://{host}:9000", url.scheme());
        return refuse(console, format!("write the address of the store, {example}"));
    }
    let labels = AMAZON.iter().find_map(|amazon| host.strip_suffix(amazon));
    let labels: Vec<&str> = labels.map_or(Vec::new(), |labels| labels.split('.').collect());
    let region = labels.iter().rev().find(|label| label.matches('-').count() == 2);
    let set_region = || {
        let region =
            region.map_or("AWS_REGION".to_owned(), |region| format!("AWS_REGION={region}"));
        format!("unset {name}, because Amazon needs none, and set {region}")
    };
    if labels.iter().any(|label| label.starts_with("s3-website")) {
        return refuse("this is the address of a web site, not of a store", set_region());
    }
    let at = labels.iter().rposition(|label| *label == "s3");
    let is_private = labels.iter().any(|label| label.starts_with("vpce"));
    match at.filter(|at| *at > 0 && !is_private) {
        Some(at) if labels[..at].join(".") != bucket => {
            let reason = format!("the endpoint contains the bucket {}", labels[..at].join("."));
            refuse(&reason, set_region())
        }
        _ => Ok(()),
    }
}

/// Refuses an endpoint that contains the bucket, as consoles show it: the bucket would be named twice, and the answer of
/// the server would not say why.
pub(super) fn without_bucket(key: &str, value: &str, bucket: &str) -> Result<(), StoreError> {
    let Ok(url) = Url::parse(value) else { return Ok(()) };
    let Some(host) = url.host_str() else { return Ok(()) };
    let mut segments: Vec<&str> = url.path_segments().map_or(Vec::new(), Iterator::collect);
    segments.retain(|segment| !segment.is_empty());
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    // One label in front of a server's name is the bucket only if a server with a name of its own follows.
    let server = host.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('.'));
    let server = server.filter(|server| server.contains('.'));
    let at = segments.iter().position(|segment| *segment == bucket);
    let (host, above) = match (server, at) {
        (Some(server), _) => (server, &segments[..]),
        (None, Some(at)) => (host, &segments[..at]),
        _ => return Ok(()),
    };
    let path: String = above.iter().map(|segment| format!("/{segment}")).collect();
    let name = key.to_ascii_uppercase();
    let remedy = format!("write {name}={}://{host}{port}{path}", url.scheme());
    let reason = format!(
        "the endpoint contains the bucket {bucket}, which the URL of the archive names already"
    );
    Err(StoreError::of_setting(&format!("{name}={value}"), &reason, remedy))
}

/// Returns an address without a scheme that lacks a slash or its colon, as in `http:/nas`.
pub(super) fn without_scheme(value: &str) -> &str {
    let rest = ["https:/", "http:/"].iter().find_map(|scheme| value.strip_prefix(scheme));
    rest.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(value: &str) -> Option<String> {
        let checked = of_store("aws_endpoint_url", value, "photos")
            .and_then(|()| without_bucket("aws_endpoint_url", value, "photos"));
        checked.err().map(|error| format!("{error} | {}", error.remedy.clone().unwrap_or_default()))
    }

    #[test]
    fn an_endpoint_contains_no_bucket() {
        for (value, remedy) in [
            ("https://nas:9000/photos", "write AWS_ENDPOINT_URL=https://nas:9000"),
            ("https://nas:9000/photos/archive", "write AWS_ENDPOINT_URL=https://nas:9000"),
            ("https://nas/s3/photos/", "write AWS_ENDPOINT_URL=https://nas/s3"),
            (
                "https://photos.s3.eu-central-1.amazonaws.com",
                "write AWS_ENDPOINT_URL=https://s3.eu-central-1.amazonaws.com",
            ),
        ] {
            let said = refused(value).expect(value);
            assert!(said.contains("contains the bucket photos"), "{value}: {said}");
            assert!(said.ends_with(&format!("| {remedy}")), "{value}: {said}");
        }
        let said = refused("https://other.s3.eu-central-1.amazonaws.com").expect("it is refused");
        assert!(said.contains("contains the bucket other | unset AWS_ENDPOINT_URL"), "{said}");
        assert!(said.ends_with("and set AWS_REGION=eu-central-1"), "{said}");
        for value in [
            "https://photos.local:9000",
            "https://photos:9000",
            "https://nas/photos2",
            "https://s3.dualstack.eu-central-1.amazonaws.com",
            "https://bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com",
        ] {
            assert_eq!(refused(value), None, "{value}");
        }
    }

    #[test]
    fn a_console_is_no_store() {
        for (value, remedy) in [
            (
                "https://s3.console.aws.amazon.com/s3/buckets/photos",
                "and set AWS_REGION to the region of the bucket",
            ),
            ("https://eu-central-1.console.aws.amazon.com/s3", "and set AWS_REGION=eu-central-1"),
            ("https://dash.cloudflare.com/1/r2/default", "r2.cloudflarestorage.com"),
            ("http://nas:9001/browser/photos", "as in AWS_ENDPOINT_URL=http://nas:9000"),
            ("http://nas:9001/login", "as in AWS_ENDPOINT_URL=http://nas:9000"),
            (
                "http://photos.s3-website.eu-central-1.amazonaws.com",
                "and set AWS_REGION=eu-central-1",
            ),
            ("'https://nas'", "without the quotation marks: AWS_ENDPOINT_URL=https://nas"),
        ] {
            let said = refused(value).expect(value);
            assert!(said.contains(remedy), "{value}: {said}");
        }
    }
}
