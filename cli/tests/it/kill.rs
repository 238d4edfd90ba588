//! Kills the program at any moment: the next run continues, and acknowledged data is complete.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use icecore_testkit::{Fault, RequestHead, S3Server, photos};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Host, shoot, write};

/// Kills a snapshot after some time. Returns whether it had already ended.
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
    // Use more photos than fit into one pack, so that some are stored before the rest is read.
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
    // Kill it as soon as a pack has arrived.
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

const PHOTOS: u64 = 20;
const PHOTO_BYTES: usize = 1_500_000;
/// Number of answered requests before a restore is interrupted. There are two for each of ten packs.
const ANSWERED: usize = 14;

fn is_photo(head: &RequestHead) -> bool {
    head.method == "GET" && head.path.contains("/packs/")
}

/// Returns the photos that exist under their final names.
fn named(host: &Host) -> BTreeSet<String> {
    let found = std::fs::read_dir(host.path("out")).into_iter().flatten();
    let names = found.map(|entry| entry.expect("an entry").file_name().into_string());
    names.map(|name| name.expect("ASCII")).filter(|name| name.ends_with(".CR3")).collect()
}

/// Waits until another process has done something.
fn until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Begins a restore, and interrupts it when some photos have arrived and others are being fetched. Returns its exit
/// code.
fn interrupted(
    server: &S3Server,
    host: &Host,
    fault: fn() -> Fault,
    interrupt: impl FnOnce(&Child),
) -> Option<i32> {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    server.set_fault(Some(Box::new(move |head| {
        let is_late = is_photo(head) && counted.fetch_add(1, Ordering::SeqCst) >= ANSWERED;
        if is_late { fault() } else { Fault::None }
    })));
    let mut command = host.command("restore latest:photos --target out");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("the program starts");
    until(|| asked.load(Ordering::SeqCst) > ANSWERED);
    interrupt(&child);
    let ended = child.wait().expect("it ends").code();
    server.set_fault(None);
    ended
}

#[test]
fn what_an_interrupted_restore_has_read_is_not_read_again() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    for number in 0..PHOTOS {
        let path = host.path(&format!("photos/IMG_{number:02}.CR3"));
        write(&path, photos::bytes(number, PHOTO_BYTES));
    }
    host.run("snapshot --init --pack-class STANDARD --pack-size 4MiB photos").ok();
    host.export_identity();
    host.set("ICECORE_RETRY_SECONDS", "0.2");
    let state = host.state("photos");
    let late = || Fault::Delay(Duration::from_secs(3600));
    let signal = |child: &Child, signal| {
        let pid = Pid::from_raw(child.id() as i32).expect("a process id");
        kill_process(pid, signal).expect("it runs");
    };
    for how in ["Ctrl-C", "kill -9", "a lost link"] {
        let ended = match how {
            "Ctrl-C" => interrupted(&server, &host, late, |child| signal(child, Signal::INT)),
            "kill -9" => interrupted(&server, &host, late, |child| {
                // Photos that have arrived get their names without further requests.
                until(|| !named(&host).is_empty());
                signal(child, Signal::KILL);
            }),
            _ => interrupted(&server, &host, || Fault::DropConnectionBefore, |_| ()),
        };
        match how {
            "Ctrl-C" => assert_eq!(ended, Some(130)),
            "kill -9" => assert_eq!(ended, None),
            _ => assert!(ended.is_some_and(|code| code != 0), "{ended:?}"),
        }
        let done = named(&host);
        assert!(done.len() >= 2, "{how}: {done:?}");
        // These are the first photos, not some of all folders.
        let last = done.last().expect("a photo").clone();
        let before = (0..PHOTOS).filter(|number| format!("IMG_{number:02}.CR3") <= last).count();
        assert!(before <= done.len() + 8, "{how}: {done:?}");
        server.clear_requests();
        host.run("restore latest:photos --target out --overwrite if-changed").ok();
        let read = server.requests().into_iter().filter(|request| request.path.contains("/packs/"));
        let read: u64 = read.map(|request| request.bytes_out).sum();
        let left = (PHOTOS - done.len() as u64) * PHOTO_BYTES as u64;
        assert!(read < left + left / 10 + 200_000, "{how}: {read} bytes for {left}: {done:?}");
        icecore_testkit::tree::assert_same_as(&state, host.path("out"));
        host.remove("out");
    }
}
