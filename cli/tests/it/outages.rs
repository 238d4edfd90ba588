//! A network that resets, stalls, cuts and refuses connections, and goes down: a snapshot and a restore complete,
//! report what they wait for, and send nothing twice. `benches` contains the same test at full size.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use icecore_testkit::{BadNetwork, Fault, Outages, S3Server};

use crate::support::{BUCKET, Host, Ran, shoot};

/// Returns a host with a bad network to the server.
fn host(server: &S3Server, network: &BadNetwork) -> Host {
    let mut host = Host::with_bucket(server);
    host.set("AWS_ENDPOINT_URL", &network.endpoint());
    host.set("ICECORE_RETRY_SECONDS", "120");
    host.set("ICECORE_IDLE_SECONDS", "0.4");
    host
}

fn outages(seed: u64) -> Outages {
    Outages {
        seed,
        faults_max: 12,
        bytes_max: 4 << 20,
        unit: Duration::from_millis(100),
        stall_max: Duration::from_secs(3),
    }
}

#[test]
fn a_snapshot_and_a_restore_get_through() {
    for seed in 1..=4 {
        let server = S3Server::start();
        let network = BadNetwork::before(&server.endpoint(), outages(seed));
        let mut host = host(&server, &network);
        shoot(&host.path("photos"), seed, 5);
        host.run("snapshot --init --pack-class STANDARD --pack-size 2MiB photos").ok();
        let up = network.happened();
        assert!(up.len() >= 4, "seed {seed}: {up:?}");
        // Nothing that arrived was sent again: no put found its name taken, and each pack arrived once.
        let puts = server.requests().into_iter().filter(|request| request.method == "PUT");
        let mut packs: Vec<_> = puts.filter(|put| put.path.contains("/packs/")).collect();
        assert!(packs.iter().all(|put| put.status != 412), "seed {seed}: {packs:#?}");
        let sent = packs.len();
        packs.sort_by(|a, b| a.path.cmp(&b.path));
        packs.dedup_by(|a, b| a.path == b.path);
        assert_eq!(sent, packs.len(), "seed {seed}: a pack was sent twice");
        assert_eq!(packs.len(), pack_count(&server));

        drop(network);
        let network = BadNetwork::before(&server.endpoint(), outages(seed + 100));
        host.set("AWS_ENDPOINT_URL", &network.endpoint());
        host.restores("latest", &host.state("photos"));
        assert!(network.happened().len() >= 4, "seed {seed}: {:?}", network.happened());
    }
}

/// Cuts the link at the first request that begins after so many, and mends it a second later.
fn cut_after(server: &S3Server, network: &Arc<BadNetwork>, requests: u64) {
    let (network, seen) = (Arc::clone(network), AtomicU64::new(0));
    server.set_fault(Some(Box::new(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) == requests {
            network.set_away(true);
            let network = Arc::clone(&network);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(1));
                network.set_away(false);
            });
        }
        Fault::None
    })));
}

/// A network without faults of its own.
fn reliable() -> Outages {
    Outages { faults_max: 0, ..outages(0) }
}

#[test]
fn mirrors_drills_and_a_promotion_get_through() {
    let server = S3Server::start();
    let network = Arc::new(BadNetwork::before(&server.endpoint(), reliable()));
    let mut host = host(&server, &network);
    host.set("ICECORE_REPOSITORY", "repo");
    shoot(&host.path("photos"), 1, 4);
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    let copy = format!("s3://{BUCKET}/copy");
    for (line, requests) in [
        (format!("mirror --yes --pack-class STANDARD repo {copy}"), 9),
        (format!("mirror {copy} back"), 5),
        (format!("--repo {copy} drill"), 4),
        (format!("--repo {copy} promote --yes"), 3),
        // The link is away before the first byte.
        (format!("--repo {copy} drill"), 0),
        (format!("mirror {copy} second"), 0),
    ] {
        cut_after(&server, &network, requests);
        let ran = host.run(&line).ok();
        server.set_fault(None);
        assert_eq!(ran.stderr.matches("network is away").count(), 1, "{ran:#?}");
        assert_eq!(ran.stderr.matches("network is back").count(), 1, "{ran:#?}");
    }
    // Each object of the copy was put once, and nothing that arrived was sent again.
    let puts = server.requests().into_iter().filter(|put| put.method == "PUT");
    let puts: Vec<_> = puts.filter(|put| put.path.contains("/packs/")).collect();
    assert!(puts.len() > 4 && puts.iter().all(|put| put.status == 200), "{puts:#?}");
    assert_eq!(puts.len(), pack_count(&server));
    for place in ["back", "second", &copy] {
        host.run(&format!("--repo {place} check --read-data")).ok();
    }
    host.set("ICECORE_REPOSITORY", &copy);
    host.restores("latest", &host.state("photos"));
}

#[test]
fn mirrors_get_through_a_network_that_fails_in_every_way() {
    for seed in 1..=2 {
        let server = S3Server::start();
        let network = BadNetwork::before(&server.endpoint(), outages(seed));
        let mut host = host(&server, &network);
        host.set("ICECORE_REPOSITORY", "repo");
        shoot(&host.path("photos"), seed, 5);
        host.run("snapshot --init --pack-size 2MiB photos").ok();
        let copy = format!("s3://{BUCKET}/copy");
        host.run(&format!("mirror --yes --pack-class STANDARD repo {copy}")).ok();
        assert!(network.happened().len() >= 4, "seed {seed}: {:?}", network.happened());
        drop(network);
        let network = BadNetwork::before(&server.endpoint(), outages(seed + 100));
        host.set("AWS_ENDPOINT_URL", &network.endpoint());
        host.run(&format!("mirror {copy} back")).ok();
        host.run(&format!("--repo {copy} drill")).ok();
        assert!(network.happened().len() >= 4, "seed {seed}: {:?}", network.happened());
        host.run("--repo back check --read-data").ok();
    }
}

fn pack_count(server: &S3Server) -> usize {
    let objects = server.objects(BUCKET);
    objects.iter().filter(|object| object.key.contains("/packs/")).count()
}

#[test]
fn what_is_waited_for_is_said_once() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.run("init --pack-class STANDARD").ok();
    host.set("ICECORE_RETRY_SECONDS", "2");
    server.stop();
    let said = |ran: &Ran, text: &str| ran.stderr.matches(text).count();
    let ran = host.run("snapshots").fails(1, &["check the network", "--retry-for", "retried"]);
    assert_eq!(said(&ran, "network is away, trying again since "), 1, "{ran:#?}");
    assert!(!ran.stderr.contains('?'), "a part of a URL: {ran:#?}");
    let quiet = host.run("-q snapshots").fails(1, &["retried for 2 s", "--retry-for"]);
    assert_eq!(said(&quiet, "network is away"), 0, "{quiet:#?}");
    let json = host.run("--json snapshots").exits(1).summary();
    assert!(json["hint"].as_str().is_some_and(|hint| hint.contains("--retry-for")), "{json}");
    // A flag has priority over the environment.
    let once = host.run("--retry-for 0 snapshots").fails(1, &["check the network"]);
    assert_eq!(said(&once, "network is away"), 0, "{once:#?}");
    host.run("--retry-for soon snapshots").exits(2);

    let mut child = host
        .command("--retry-for 10m snapshots")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A slow machine needs some time until it notices.
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut text = String::new();
    while !text.contains("network is away") {
        assert_ne!(stderr.read_line(&mut text).expect("a text"), 0, "{text}");
    }
    server.start_again();
    stderr.read_to_string(&mut text).expect("a text");
    assert!(child.wait().expect("it ends").success(), "{text}");
    assert_eq!(text.matches("network is away, trying again since ").count(), 1, "{text}");
    assert_eq!(text.matches("network is back").count(), 1, "{text}");
}

#[test]
fn a_signal_ends_the_wait() {
    use rustix::process::{Pid, Signal, kill_process};
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.run("init --pack-class STANDARD").ok();
    shoot(&host.path("photos"), 1, 1);
    host.set("ICECORE_RETRY_SECONDS", "600");
    server.stop();
    for (line, signal) in [("snapshot photos", Signal::INT), ("snapshots", Signal::TERM)] {
        let child = host
            .command(line)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_millis(800));
        let pid = Pid::from_raw(child.id() as i32).expect("a process id");
        kill_process(pid, signal).expect("it is told");
        let ran = Ran::new(line, &child.wait_with_output().expect("it ends"));
        assert!([130, 143].contains(&ran.code), "{ran:#?}");
        assert!(ran.stderr.contains("interrupted"), "{ran:#?}");
    }
}

#[test]
fn credentials_of_a_process_are_read_again() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    let home = host.path("home");
    host.set("HOME", home.to_str().expect("a plain path"));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        host.unset(name);
    }
    // Each run of the process appends a line, and prints another token.
    let script = format!(
        "echo >> '{home}/runs'; printf '{{\"Version\": 1, \"AccessKeyId\": \"{key}\", \
         \"SecretAccessKey\": \"{secret}\", \"SessionToken\": \"%s\"}}' $(wc -l < '{home}/runs')\n",
        home = home.display(),
        key = server.access_key(),
        secret = server.secret_key(),
    );
    crate::support::write(&home.join("process"), script);
    let config = format!("[default]\ncredential_process = sh '{}/process'\n", home.display());
    crate::support::write(&home.join(".aws/config"), config);
    let runs = || std::fs::read_to_string(home.join("runs")).map_or(0, |text| text.lines().count());
    host.run("init --pack-class STANDARD").ok();
    let before = runs();
    assert!(before >= 1);
    host.set("ICECORE_RETRY_SECONDS", "60");
    let failed = std::sync::atomic::AtomicU64::new(0);
    server.set_fault(Some(Box::new(move |head| {
        let expired = head.path.contains("/packs/")
            && failed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        match expired {
            true => icecore_testkit::Fault::Status(400, "ExpiredToken"),
            false => icecore_testkit::Fault::None,
        }
    })));
    host.run("snapshot photos").ok();
    assert!(runs() >= before + 2, "{} runs, {before} before", runs());
    crate::support::write(&home.join("process"), "exit 7\n");
    let words = ["credential_process failed", "credential_process in the AWS profile default"];
    let ran = host.run("snapshots").fails(2, &words);
    assert!(!ran.stderr.contains(server.secret_key()), "{ran:#?}");
}

#[test]
fn a_login_page_refuses_what_never_arrived() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.run("init --pack-class STANDARD").ok();
    shoot(&host.path("photos"), 1, 1);
    host.set("ICECORE_RETRY_SECONDS", "60");
    let refuse = |status: u16, times: u64| {
        let count = AtomicU64::new(0);
        server.set_fault(Some(Box::new(move |head| {
            let is_pack = head.method == "PUT" && !head.path.contains("/log/");
            if !is_pack || count.fetch_add(1, Ordering::SeqCst) >= times {
                return Fault::None;
            }
            let header = ("content-type", "text/html".to_owned());
            Fault::Answer { status, header, body: "<html>Please log in".to_owned() }
        })));
    };
    refuse(412, 3);
    host.run("snapshot photos").ok();
    host.run("check --read-data").ok();
    shoot(&host.path("photos"), 2, 1);
    refuse(413, u64::MAX);
    let line = "--retry-for 1s snapshot photos";
    let ran = host.run(line).fails(1, &["login page (413)", "open a web page in a browser"]);
    assert!(!ran.stderr.contains("truncated"), "{ran:#?}");
    refuse(413, 0);
    host.run("snapshot photos").ok();
    host.restores("latest", &host.state("photos"));
}

#[test]
fn a_signal_ends_a_process_that_hangs() {
    use rustix::process::{Pid, Signal, kill_process};
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.run("init --pack-class STANDARD").ok();
    let home = host.path("home");
    host.set("HOME", home.to_str().expect("a plain path"));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        host.unset(name);
    }
    let script = format!("sleep 300 &\necho $! > '{}/pid'\nwait\n", home.display());
    crate::support::write(&home.join("process"), script);
    let config = format!("[default]\ncredential_process = sh '{}/process'\n", home.display());
    crate::support::write(&home.join(".aws/config"), config);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        host.remove("home/pid");
        let mut command = host.command("snapshots");
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = child.expect("the program starts");
        let begun = Instant::now();
        let pid = loop {
            let text = std::fs::read_to_string(home.join("pid")).unwrap_or_default();
            if text.ends_with('\n') {
                break text;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "the process begins");
            std::thread::sleep(Duration::from_millis(10));
        };
        let began = Instant::now();
        kill_process(Pid::from_child(&child), signal).expect("it is there");
        let ran = Ran::new("snapshots", &child.wait_with_output().expect("it ends")).exits(code);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(ran.stderr.contains("interrupted"), "{ran:#?}");
        // If no process reaps it, an orphaned process remains as a zombie.
        let status = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        while status().is_ok_and(|text| !text.contains(") Z ")) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
