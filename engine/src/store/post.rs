//! Posts a short text to a web address, for programs that report their results. Not used for objects.

use std::time::Duration;

use super::error::{INSTALL_AUTHORITIES, NO_AUTHORITIES};
use super::wording::Wording;

/// A text to post, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Begins with `http://` or `https://`. It may contain a secret, so errors never contain it.
    pub url: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// The text.
    pub body: String,
    /// Time limit of the whole request.
    pub time_max: Duration,
}

/// Posts a text, without retries. Returns a readable error if the answer is not a success or does not arrive in time.
pub fn post(post: &Post) -> Result<(), String> {
    super::dial::use_ring();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(post.time_max)
    };
    let client = built(builder, post.url.starts_with("http://"));
    let mut request = client.map_err(plain)?.post(&post.url).body(post.body.clone());
    for (name, value) in &post.headers {
        request = request.header(name, value);
    }
    let answer = runtime.block_on(async { request.send().await }).map_err(plain)?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the server answered {status}")),
    }
}

/// Builds a client that needs root certificates only if it must speak https. A bare container or an old NAS has none.
fn built(
    builder: impl Fn() -> reqwest::ClientBuilder,
    allows_http: bool,
) -> Result<reqwest::Client, reqwest::Error> {
    match builder().build() {
        Err(_) if allows_http => builder().tls_certs_only([]).build(),
        built => built,
    }
}

/// Returns the text of an error and its sources, without the address.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    if Wording::of(&text).lacks_authorities {
        return format!("{NO_AUTHORITIES}: {INSTALL_AUTHORITIES}");
    }
    text
}
