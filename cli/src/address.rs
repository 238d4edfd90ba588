//! Splits the name of a place into what a user types to get there: the URL, and the server or account of the bucket.
//! Does no I/O.

use std::fmt;

use crate::shell;

/// How a user reaches a place.
#[derive(Debug, PartialEq, Eq)]
pub struct PlaceAddress {
    /// The folder, or the URL of the bucket.
    url: String,
    /// The servers and the account of a bucket, unless they are those of the provider.
    servers: Vec<String>,
}

impl PlaceAddress {
    /// Returns the address of a place whose name `config::place` has made: "URL at SERVER" for a bucket on another
    /// server.
    pub fn of(place: &str) -> PlaceAddress {
        let is_azure = place.starts_with("az://");
        let is_bucket =
            is_azure || ["s3://", "gs://"].iter().any(|scheme| place.starts_with(scheme));
        let (mut url, mut servers) = (place, Vec::new());
        // A folder in a bucket may be called "dinner at home", but no server is.
        while let Some((before, server)) = url.rsplit_once(" at ").filter(|(_, server)| {
            is_bucket && !server.contains(' ') && (is_azure || server.contains("://"))
        }) {
            servers.insert(0, server.to_owned());
            url = before;
        }
        PlaceAddress { url: url.to_owned(), servers }
    }

    /// Returns the options to use this place after another one: its URL, and its server if that is another one.
    pub fn used_after(&self, before: &PlaceAddress) -> String {
        let url = shell::word(&self.url);
        let is_s3 = self.url.starts_with("s3://");
        match self.servers.last() {
            _ if self.servers == before.servers => format!("--repo {url} (in a profile: repo)"),
            Some(server) if is_s3 => format!(
                "--repo {url} with AWS_ENDPOINT_URL={} (in a profile: repo and endpoint)",
                shell::word(server)
            ),
            None if is_s3 && before.url.starts_with("s3://") => {
                format!(
                    "--repo {url} without AWS_ENDPOINT_URL (in a profile: repo, without endpoint)"
                )
            }
            Some(_) => format!(
                "--repo {url} with the account or server {} (in a profile: repo)",
                self.servers.join(" and ")
            ),
            None => format!("--repo {url} (in a profile: repo)"),
        }
    }

    /// Returns the place as a word of a command line.
    pub fn typed(&self) -> String {
        shell::word(&self.url)
    }

    /// Returns how a command begins that uses this place.
    pub fn command(&self) -> String {
        let server = self.servers.last().filter(|_| self.url.starts_with("s3://"));
        let server = server.map(|server| format!("AWS_ENDPOINT_URL={} ", shell::word(server)));
        format!("{}icecore --repo {}", server.unwrap_or_default(), shell::word(&self.url))
    }
}

impl fmt::Display for PlaceAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self.servers.is_empty() {
            true => formatter.write_str(&self.url),
            false => write!(formatter, "{} ({})", self.url, self.servers.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_no_url() {
        let on_nas = "s3://photos/copy at http://127.0.0.1:5771";
        let texts = [
            ("/mnt/nas/look at http://me", "/mnt/nas/look at http://me"),
            ("s3://photos/dinner at home", "s3://photos/dinner at home"),
            (on_nas, "s3://photos/copy (http://127.0.0.1:5771)"),
            ("s3://photos/at at home at https://nas", "s3://photos/at at home (https://nas)"),
            ("az://photos/copy at maria at https://nas", "az://photos/copy (maria, https://nas)"),
        ];
        for (place, text) in texts {
            assert_eq!(PlaceAddress::of(place).to_string(), text);
        }
    }

    #[test]
    fn a_server_is_named_apart_if_it_is_another_one() {
        let [nas, aws, folder] =
            ["s3://photos/copy at http://nas:9000", "s3://photos/archive", "/mnt/my disk"]
                .map(PlaceAddress::of);
        let named = "--repo s3://photos/copy with AWS_ENDPOINT_URL=http://nas:9000 (in a profile: repo and endpoint)";
        assert_eq!(nas.used_after(&aws), named);
        assert_eq!(nas.used_after(&folder), named);
        let other = PlaceAddress::of("s3://photos/archive at http://nas:9000");
        assert_eq!(nas.used_after(&other), "--repo s3://photos/copy (in a profile: repo)");
        assert_eq!(
            aws.used_after(&nas),
            "--repo s3://photos/archive without AWS_ENDPOINT_URL (in a profile: repo, without endpoint)"
        );
        assert_eq!(folder.used_after(&nas), "--repo '/mnt/my disk' (in a profile: repo)");
        assert_eq!(folder.command(), "icecore --repo '/mnt/my disk'");
        let on_nas = "AWS_ENDPOINT_URL=http://nas:9000 icecore --repo s3://photos/copy";
        assert_eq!(nas.command(), on_nas);
    }
}
