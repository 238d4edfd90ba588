//! A network in which everything goes through an HTTP proxy: the archive and the notifications are reached through the
//! one that the environment names, and what is wrong with it is said.

use icecore_testkit::{ForwardProxy, Port, S3Server};

use crate::notified::Ears;
use crate::support::{Host, shoot, write};

/// `user:geheim` in the form of a header.
const PASSWORD: &str = "Basic dXNlcjpnZWhlaW0=";

/// Returns a host whose bucket is at a name that only a proxy knows.
fn host(server: &S3Server, endpoint: &str) -> Host {
    let mut host = Host::with_bucket(server);
    host.set("AWS_ENDPOINT_URL", endpoint);
    host
}

#[test]
fn an_archive_and_notifications_are_reached_through_a_proxy() {
    let (server, ears) = (S3Server::start(), Ears::open());
    let heard = format!("127.0.0.1:{}", ears.port);
    let servers = [("store.test", server.endpoint()), ("ntfy.test", heard)];
    let servers = servers.each_ref().map(|(name, address)| (*name, address.as_str()));
    for (variable, password) in
        [("HTTP_PROXY", None), ("http_proxy", None), ("HTTP_PROXY", Some(PASSWORD))]
    {
        let proxy = ForwardProxy::start(&servers, password);
        let mut host = host(&server, "http://store.test");
        let user = if password.is_some() { "user:geheim@" } else { "" };
        host.set(variable, &format!("http://{user}{}", proxy.address()));
        shoot(&host.path("photos"), 1, 2);
        // Each has its own archive.
        let place = format!("s3://archive/{variable}{}", password.is_some());
        host.unset("ICECORE_REPOSITORY");
        let photos = host.path("photos").display().to_string();
        let notify = "[notify]\nntfy = 'http://ntfy.test/topic'\nalways = true";
        let text = format!("repo = '{place}'\nsources = ['{photos}']\n{notify}\n");
        write(&host.path("config/home.toml"), text);
        host.run("-P home init --pack-class STANDARD").ok();
        host.run("-P home run").ok();
        host.set("ICECORE_REPOSITORY", &place);
        host.restores("latest", &host.state("photos"));
        let asked = proxy.take();
        let count = |start: &str| asked.iter().filter(|asked| asked.starts_with(start)).count();
        assert!(count("PUT http://store.test/archive/") > 3, "{asked:#?}");
        assert!(count("GET http://store.test/archive/") > 3, "{asked:#?}");
        assert_eq!(count("POST http://ntfy.test/topic"), 1, "{asked:#?}");
        assert_eq!(ears.take().len(), 1, "the notification arrived");
        // No request has tried another way first.
        assert!(asked.iter().all(|asked| asked.contains(".test/")), "{asked:#?}");
    }
}

/// Writes a profile with notifications to an address.
fn notifies(host: &Host, address: &str) {
    let place = "repo = 's3://archive/photos'\nsources = ['/photos']";
    let text = format!("{place}\n[notify]\nntfy = '{address}'\n");
    write(&host.path("config/home.toml"), text);
}

#[test]
fn what_the_environment_excepts_goes_past_the_proxy() {
    let (server, ears) = (S3Server::start(), Ears::open());
    let proxy = ForwardProxy::start(&[], None);
    let mut host = host(&server, &server.endpoint());
    host.set("HTTP_PROXY", &format!("http://{}", proxy.address()));
    host.run("--retry-for 0 init").fails(1, &["502"]);
    assert!(!proxy.take().is_empty(), "the proxy is used");
    host.set("NO_PROXY", "example.com,127.0.0.0/8");
    host.run("init").ok();
    notifies(&host, &format!("http://127.0.0.1:{}/", ears.port));
    host.run("-P home notify test").ok();
    assert_eq!((proxy.take(), ears.take().len()), (Vec::new(), 1));
}

#[test]
fn https_goes_through_a_tunnel() {
    let server = S3Server::start();
    let mut host = host(&server, "https://store.test");
    let endpoint = server.endpoint();
    let proxy = ForwardProxy::start(&[("store.test", &endpoint)], Some(PASSWORD));
    host.set("HTTPS_PROXY", &format!("http://user:geheim@{}", proxy.address()));
    // The server of the tests does not speak TLS: the tunnel has led to it.
    host.run("snapshots").fails(1, &["does not speak TLS"]);
    let asked = proxy.take();
    let tunnels = asked.iter().filter(|asked| *asked == "CONNECT store.test:443").count();
    assert!(tunnels > 0 && tunnels == asked.len(), "{asked:?}");
    notifies(&host, "https://store.test/topic");
    host.run("-P home notify test").exits(1);
    assert_eq!(proxy.take(), ["CONNECT store.test:443"]);
}

/// Waiting does not help if the proxy wants another password. The password is in no message.
#[test]
fn a_proxy_that_does_not_serve_is_named() {
    let server = S3Server::start();
    let endpoint = server.endpoint();
    let proxy = ForwardProxy::start(&[("store.test", &endpoint)], Some(PASSWORD));
    for (scheme, variable) in [("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY")] {
        let mut host = host(&server, &format!("{scheme}://store.test"));
        host.set(variable, &format!("http://user:falsch@{}", proxy.address()));
        let words = ["the proxy refuses the user and the password (407)", variable];
        let ran = host.run("--retry-for 1h snapshots").fails(1, &words);
        assert!(
            !ran.stderr.contains("falsch") && !ran.stderr.contains("network is away"),
            "{ran:#?}"
        );
        // A port at which no proxy listens.
        let closed = Port::take();
        host.set(variable, &format!("http://user:falsch@{}", closed.address()));
        let refused = format!("the proxy {}: Connection refused", closed.address());
        let ran = host.run("--retry-for 1s snapshots").fails(1, &[&refused]);
        assert!(!ran.stderr.contains("falsch"), "{ran:#?}");
    }
}
