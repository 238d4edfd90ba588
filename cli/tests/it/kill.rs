//! Killed at any moment: the next run goes on, and what was acknowledged is there.

use std::process::Stdio;
use std::time::Duration;

use icecore_testkit::S3Server;

use crate::support::{Host, shoot};

/// Kills a snapshot after a while. Returns whether it had ended by itself.
fn kill_after(host: &Host, millis: u64) -> bool {
    let mut child = host
        .command("snapshot photos")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    std::thread::sleep(Duration::from_millis(millis));
    let ended = child.try_wait().expect("a child can be asked").is_some();
    child.kill().ok();
    child.wait().expect("a child ends");
    ended
}

fn rounds(host: &mut Host, moments: &[u64]) {
    let mut known = Vec::new();
    for (round, millis) in moments.iter().enumerate() {
        shoot(&host.path(&format!("photos/{round}")), round as u64 + 1, 3);
        kill_after(host, *millis);
        let acknowledged = host.run("--json snapshot photos").ok().summary();
        let id = acknowledged["snapshot_id"].as_str().expect("an id").to_owned();
        known.push((id, host.state("photos")));
    }
    host.export_identity();
    host.run("check --read-data").ok();
    for (id, photos) in &known {
        host.restores(id, photos);
    }
}

#[test]
fn killed_into_a_folder() {
    let mut host = Host::new();
    host.run("init").ok();
    rounds(&mut host, &[3, 9, 15, 22, 30, 41, 55, 70, 95, 130]);
}

#[test]
fn killed_into_a_bucket() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.run("init --pack-class STANDARD").ok();
    rounds(&mut host, &[12, 35, 60, 110]);
}

#[test]
fn interrupted_by_the_user() {
    let mut host = Host::new();
    // Photos that do not fit into one pack, so that some are stored before the rest is read.
    shoot(&host.path("photos"), 1, 60);
    host.run("init --pack-size 4MiB").ok();
    host.export_identity();
    let child = host
        .command("snapshot photos")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a process id");
    // As soon as a pack has arrived.
    let arrived = || crate::support::objects(&host.path("repo"), "packs").len();
    for _ in 0..2000 {
        if arrived() > 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is told");
    let ended = child.wait_with_output().expect("it ends").status.code();
    let kept = arrived();
    if ended == Some(130) {
        assert!(host.run("snapshots").ok().stdout.is_empty(), "nothing was acknowledged");
    }
    assert!([Some(130), Some(0)].contains(&ended), "{ended:?}");
    let rest = host.run("--json snapshot photos").ok().summary();
    let stored = rest["bytes_stored"].as_u64().expect("a number");
    // A photo is 3.9 MB, and its pack is padded to 4 MiB.
    let all = 60 * (4 << 20);
    assert!(stored < all - (kept as u64 - 1) * 2_000_000, "{kept} packs were there: {rest}");
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}
