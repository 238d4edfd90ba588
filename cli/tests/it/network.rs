//! Failures of a bucket: it does not exist, the keys are wrong, the server goes away in the middle
//! and comes back.

use std::sync::atomic::{AtomicU64, Ordering};

use icecore_testkit::{Fault, RequestHead, S3Server};

use crate::support::{BUCKET, Host, shoot};

#[test]
fn a_bucket_that_is_not_there() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.set("ICECORE_REPOSITORY", "s3://nowhere/photos");
    for line in ["init", "snapshot --init photos", "snapshots", "ls latest", "check"] {
        // A folder that does not exist has the same code.
        host.run(line).fails(10, &["bucket", "icecore never creates buckets"]);
    }
    assert!(server.objects("nowhere").is_empty());
    assert!(!host.path("config/credentials").exists());
}

#[test]
fn a_bucket_without_a_repository() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    for line in ["snapshot photos", "snapshots", "ls latest", "check"] {
        host.run(line).fails(10, &["no archive at s3://archive/photos", " init`"]);
    }
    assert!(server.objects(BUCKET).is_empty());
}

#[test]
fn credentials_that_are_wrong_or_missing() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let before = server.objects(BUCKET);
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"] {
        let mut wrong = Host::with_bucket(&server);
        wrong.set(name, "wrong");
        for line in ["snapshots", "init", "ls latest"] {
            wrong.run(line).fails(1, &["AWS_ACCESS_KEY_ID", "AWS_PROFILE"]);
        }
    }
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        host.unset(name);
    }
    host.run("snapshot photos").fails(1, &["no credentials found for s3://", "AWS_ACCESS_KEY_ID"]);
    assert_eq!(before, server.objects(BUCKET), "nothing was changed");
}

#[test]
fn credentials_of_the_aws_files() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let credentials = format!(
        "[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n\n\
         [nas]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        server.access_key(),
        server.secret_key(),
    );
    crate::support::write(&host.path("home/.aws/credentials"), credentials);
    let config =
        format!("[profile nas]\nregion = us-east-1\nendpoint_url = {}\n", server.endpoint());
    crate::support::write(&host.path("home/.aws/config"), config);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"] {
        host.unset(name);
    }
    let home = host.path("home");
    host.set("HOME", home.to_str().expect("a plain path"));
    host.set("AWS_PROFILE", "nas");
    host.run("snapshots").ok();
}

#[test]
fn a_server_that_goes_away_during_a_snapshot() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 8);
    // Smaller packs have much padding, so their sizes would show little.
    host.run("init --pack-size 5MiB").ok();
    vanish_after(&server, "PUT", 4);
    let ran = host.run("snapshot photos").fails(1, &["check the network", "not sent twice"]);
    assert!(!ran.stdout.contains("saved"), "{ran:#?}");
    let arrived: u64 = packs(&server);
    // There is no server at all.
    host.run("snapshot photos").fails(1, &["check the network"]);

    server.set_fault(None);
    server.start_again();
    server.clear_requests();
    let done = host.run("--json snapshot photos").ok().summary();
    let bytes = done["bytes_processed"].as_u64().expect("a number");
    let sent: u64 = server.requests().iter().map(|request| request.bytes_in).sum();
    let most = bytes + bytes / 5;
    let figures = format!("of {bytes} bytes {arrived} had arrived, {sent} were sent then");
    assert!(arrived > bytes / 4 && sent + arrived < most, "{figures}");
    host.run("check").ok();
}

#[test]
fn a_server_that_goes_away_during_a_restore() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 4);
    host.run("snapshot --init --pack-class STANDARD --pack-size 2MiB photos").ok();
    host.export_identity();
    vanish_after(&server, "GET", 6);
    let line = "restore latest:photos --target restored --overwrite if-changed";
    host.run(line).fails(1, &["check the network"]);
    server.set_fault(None);
    server.start_again();
    host.run(line).ok();
    icecore_testkit::tree::assert_same(host.path("photos"), host.path("restored"));
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.set("ICECORE_RETRY_SECONDS", "30");
    shoot(&host.path("photos"), 1, 2);
    let count = AtomicU64::new(0);
    server.set_fault(Some(Box::new(move |_| match count.fetch_add(1, Ordering::Relaxed) % 5 {
        1 => Fault::Status(503, "SlowDown"),
        3 => Fault::StatusAfter(500, "InternalError"),
        _ => Fault::None,
    })));
    host.run("snapshot --init --pack-class STANDARD photos").ok();
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}

#[test]
fn what_the_network_has_spoiled_is_read_again() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let is_read = |head: &RequestHead, name: &str| {
        head.method == "GET" && head.path.contains(&format!("/photos/{name}"))
    };
    let nonsense = Fault::Answer {
        status: 200,
        header: ("etag", "\"1\"".to_owned()),
        body: "no object of ours".to_owned(),
    };
    for name in ["config", "keys/", "log/"] {
        for fault in [Fault::Spoil, nonsense.clone()] {
            // A key slot with another last byte looks like that of another password.
            if name == "keys/" && fault == Fault::Spoil {
                continue;
            }
            host.remove("cache");
            let (count, spoiled) = (AtomicU64::new(0), fault.clone());
            server.set_fault(Some(Box::new(move |head| {
                let first = is_read(head, name) && count.fetch_add(1, Ordering::Relaxed) == 0;
                if first { spoiled.clone() } else { Fault::None }
            })));
            host.run("snapshots").ok();
            // Permanent changes count as damage.
            host.remove("cache");
            server.set_fault(Some(Box::new(move |head| match is_read(head, name) {
                true => fault.clone(),
                false => Fault::None,
            })));
            let ran = host.run("snapshots");
            // An entry that never opens is void, and the program reports that.
            let is_said = name == "log/" && ran.stderr.contains("warning: the log");
            assert!(ran.code != 0 || is_said, "{name}: {ran:#?}");
            server.set_fault(None);
            // Once the entry can be read, it counts.
            let ran = host.run("snapshots").ok();
            assert!(!ran.stderr.contains("warning"), "{name}: {ran:#?}");
        }
    }
}

/// Returns the bytes of photo data that have arrived.
fn packs(server: &S3Server) -> u64 {
    let objects = server.objects(BUCKET);
    let packs = objects.iter().filter(|object| object.key.contains("/packs/"));
    packs.map(|object| object.size).sum()
}

/// Stops the server after this many requests of this kind.
fn vanish_after(server: &S3Server, method: &'static str, requests: u64) {
    let count = AtomicU64::new(0);
    server.set_fault(Some(Box::new(move |request| {
        let counted = request.method == method;
        if counted && count.fetch_add(1, Ordering::Relaxed) >= requests {
            Fault::Vanish
        } else {
            Fault::None
        }
    })));
}

#[test]
fn a_bucket_without_its_config_is_damaged_like_a_folder() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.run("ls latest").ok();
    assert!(server.delete(BUCKET, "photos/config"));
    for line in ["snapshots", "snapshot photos", "key list", "prune -n", "init"] {
        host.run(line).fails(22, &["there is an archive here", "check --repair"]);
    }
    host.run("check").exits(22);
    let elsewhere = ["no archive", "a part of an archive at s3://archive/photos"];
    host.run("--repo s3://archive/photos/packs snapshots").fails(10, &elsewhere);
    host.run("check --repair").ok();
    host.run("snapshots").ok();
}

/// Waiting does not help if the scheme of the endpoint is wrong.
#[test]
fn a_server_that_does_not_speak_tls_is_named_at_once() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let https = server.endpoint().replace("http://", "https://");
    host.set("AWS_ENDPOINT_URL", &https);
    for line in ["snapshots", "snapshot -n photos"] {
        let words = ["does not speak TLS", "http://"];
        let ran = host.run(&format!("--retry-for 1h {line}")).fails(1, &words);
        assert!(!ran.stderr.contains("network is away"), "{ran:?}");
    }
}

/// A bare container has no root certificates.
#[test]
fn a_computer_without_root_certificates() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    std::fs::create_dir(host.path("no-certificates")).expect("a folder");
    host.set("SSL_CERT_DIR", "no-certificates");
    host.set("SSL_CERT_FILE", "no-certificates/none.pem");
    // A server without https needs none.
    host.run("init").ok();
    host.set("AWS_ENDPOINT_URL", "https://127.0.0.1:1");
    host.unset("AWS_ALLOW_HTTP");
    let ran = host.run("snapshots");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("this computer has no root certificates"), "{ran:?}");
    assert!(ran.stderr.contains("hint: install the package ca-certificates"), "{ran:?}");
}
