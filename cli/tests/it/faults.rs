//! Disks that are full or broken: each call of the program that writes, names or syncs fails in
//! turn, once or from there on. It says so and ends, what it acknowledged is durable, and when the
//! disk is well again, all is as if it had not run, or had.
//!
//! A test run takes some of the calls, `ICECORE_FAULTS=all` every one.

use std::path::{Path, PathBuf};

use icecore_testkit::inject::{self, Call, Calls, Fault, Traced, not_durable};
use icecore_testkit::{photos, tree};
use nix::errno::Errno;

use crate::support::{Host, Ran, State, write};

/// The ways in which a disk fails: an error, and whether it stays.
const FAILURES: [(Errno, bool); 4] =
    [(Errno::ENOSPC, true), (Errno::EIO, false), (Errno::EIO, true), (Errno::ENOSPC, false)];
/// Calls that fail in a test run, of each way.
const CALLS: usize = 6;

/// A command, and the host that is about to run it.
struct Scene {
    host: Host,
    line: &'static str,
    calls: Calls,
    /// The folder of the host in which calls fail.
    below: &'static str,
}

/// A run in which something failed.
struct Failed {
    ran: Ran,
    calls: Vec<Call>,
}

impl Scene {
    fn new(host: Host, line: &'static str) -> Scene {
        Scene { host, line, calls: Calls::Writes, below: "" }
    }

    fn trace(&self, host: &Host, fault: Option<Fault>) -> Failed {
        let below = host.path(self.below).canonicalize().expect("a folder");
        let traced = inject::run(&host.command(self.line), &below, self.calls, fault);
        let Traced { code, hung, stdout, stderr, calls } = traced;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(stdout), text(stderr));
        let ran = Ran { line: self.line.to_owned(), code: code.unwrap_or(-1), stdout, stderr };
        assert!(!hung, "it hangs: {ran:#?}");
        assert!(code.is_some() && !ran.stderr.contains("panicked"), "it crashes: {ran:#?}");
        assert!(!ran.stderr.contains("a bug in icecore"), "it panics: {ran:#?}");
        Failed { ran, calls }
    }

    /// Lets the command run once for each call and each way to fail, on a host like this one.
    /// `after` gets what became of the run, and of one on the same host with nothing in its way.
    fn every(&self, failures: &[(Errno, bool)], after: impl Fn(&Host, &Failed)) {
        let count = self.trace(&self.host.copy(), None).calls.len();
        assert!(count > 3, "only {count} calls are seen");
        let all = std::env::var("ICECORE_FAULTS").is_ok_and(|which| which == "all");
        let step = if all { 1 } else { count.div_ceil(CALLS) };
        let (mut done, mut hit) = (0, 0);
        for (way, (error, stays)) in failures.iter().enumerate() {
            // Other calls in each way.
            for nth in (1 + way * step / failures.len()..=count).step_by(step) {
                let host = self.host.copy();
                let fault = Fault { nth, error: *error, stays: *stays };
                let failed = self.trace(&host, Some(fault));
                let call = failed.calls.iter().find(|call| call.failed);
                println!("{}: {fault:?} of {count}: {call:?}: {}", self.line, failed.ran.code);
                // Threads do not take turns in the same way each time: there may be fewer calls.
                if call.is_some() {
                    hit += 1;
                    done += usize::from(failed.ran.code == 0);
                    after(&host, &failed);
                }
            }
        }
        println!("{}: {count} calls, {hit} faults, {done} times it ended well", self.line);
    }
}

/// Says what is wrong and what to do, or has done all of it durably.
#[track_caller]
fn says_so(host: &Host, failed: &Failed, durable: &[&str]) {
    let Failed { ran, calls } = failed;
    if ran.code != 0 {
        let told = ran.stderr.contains("error: ") && ran.stderr.contains("hint: ");
        assert!([1, 3].contains(&ran.code) && told, "{ran:#?}");
        return;
    }
    let kept: Vec<PathBuf> = durable.iter().map(|name| host.path(name)).collect();
    let lost = not_durable(calls, |path| kept.iter().any(|kept| path.starts_with(kept)));
    let lost: Vec<PathBuf> = lost.into_iter().filter(|path| path.exists()).collect();
    assert!(lost.is_empty(), "acknowledged and not durable: {lost:?}: {ran:#?} {calls:#?}");
}

fn small_library(host: &Host) {
    for number in 0..3 {
        write(&host.path(&format!("photos/rome/{number}.CR3")), photos::bytes(number, 300_000));
        write(&host.path(&format!("photos/oslo/{number}.CR3")), photos::bytes(50 + number, 300_000));
        write(&host.path(&format!("photos/rome/{number}.xmp")), photos::sidecar(number));
    }
}

/// An archive with one snapshot, which the identity opens.
fn archive() -> Host {
    let mut host = Host::new();
    small_library(&host);
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    host.export_identity();
    host
}

fn taken(ran: &Ran) -> Option<String> {
    let lines = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut summaries =
        lines.filter(|line: &serde_json::Value| line["message_type"] == "summary");
    summaries.find_map(|summary| summary["snapshot_id"].as_str().map(str::to_owned))
}

/// The archive is what it was or what it was to be, and takes another snapshot.
fn is_well(host: &Host, known: &[(String, State)]) {
    host.run("check --read-data").ok();
    for (id, photos) in known {
        host.restores(id, photos);
    }
}

#[test]
fn while_taking_a_snapshot() {
    let host = archive();
    let first = ("latest".to_owned(), host.state("photos"));
    let listed = host.run("--json snapshots").ok().json();
    let first = (listed[0]["id"].as_str().expect("an id").to_owned(), first.1);
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 900_000));
    write(&host.path("photos/rome/1.xmp"), "five stars");
    let scene = Scene::new(host, "--json snapshot photos");
    scene.every(&FAILURES, |host, failed| {
        says_so(host, failed, &["repo"]);
        let mut known = vec![first.clone()];
        known.extend(taken(&failed.ran).map(|id| (id, host.state("photos"))));
        is_well(host, &known);
        // The same again: what this run leaves to others to sync must have been synced by it.
        let mut again = scene.trace(host, None);
        assert_eq!(again.ran.code, 0, "{:#?}", again.ran);
        known.push((taken(&again.ran).expect("a snapshot"), host.state("photos")));
        again.calls.splice(0..0, failed.calls.iter().cloned());
        says_so(host, &again, &["repo"]);
        is_well(host, &known[known.len() - 1..]);
    });
}

#[test]
fn while_pruning() {
    let host = archive();
    std::fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.remove("photos/rome/1.CR3");
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 500_000));
    host.run("snapshot photos").ok();
    let known = [("latest".to_owned(), host.state("photos"))];
    let scene = Scene::new(host, "--json prune --keep-last 1");
    let whole = scene.host.copy();
    let done = whole.run(scene.line).ok().summary();
    assert!(done["packs_repacked"].as_u64() > Some(0), "no pack is emptied: {done}");
    scene.every(&FAILURES, |host, failed| {
        says_so(host, failed, &["repo"]);
        is_well(host, &known);
        host.run(scene.line).ok();
        is_well(host, &known);
        let listed = host.run("--json snapshots").ok().json();
        assert_eq!(listed.len(), 2, "one snapshot and a summary: {listed:?}");
    });
}

#[test]
fn while_restoring() {
    let host = archive();
    let photos = host.state("photos");
    let scene = Scene::new(host, "restore latest:photos --target out --overwrite if-changed");
    let repo = scene.host.state("repo");
    scene.every(&FAILURES, |host, failed| {
        says_so(host, failed, &["out"]);
        if failed.ran.code == 0 {
            tree::assert_same_as(&photos, host.path("out"));
        }
        whole_files(&host.path("out"), &host.path("photos"));
        host.run(scene.line).ok();
        tree::assert_same_as(&photos, host.path("out"));
        assert_eq!(repo, host.state("repo"), "a restore changes no repository");
    });
}

/// What has its name has its content.
fn whole_files(out: &Path, photos: &Path) {
    let Ok(entries) = std::fs::read_dir(out) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if path.is_dir() {
            whole_files(&path, &photos.join(name));
        } else if !name.to_string_lossy().ends_with(".part") {
            let content = |path: &Path| std::fs::read(path).expect("a file");
            assert!(content(&path) == content(&photos.join(name)), "{path:?} is not whole");
        }
    }
}

#[test]
fn while_making_a_repository() {
    let host = Host::new();
    small_library(&host);
    let scene = Scene::new(host, "init --pack-size 1MiB");
    let failures = if std::env::var_os("ICECORE_FAULTS").is_some() { 4 } else { 2 };
    scene.every(&FAILURES[..failures], |host, failed| {
        says_so(host, failed, &["repo"]);
        let again = host.run(scene.line);
        let is_there = again.code == 1 && again.stderr.contains("a repository at");
        assert!(again.code == 0 || is_there, "{again:#?}");
        assert!(failed.ran.code != 0 || is_there, "a second repository: {again:#?}");
        let mut host = host.copy();
        host.export_identity();
        host.run("snapshot photos").ok();
        is_well(&host, &[("latest".to_owned(), host.state("photos"))]);
    });
}

#[test]
fn a_repository_that_cannot_be_read() {
    let host = archive();
    let photos = host.state("photos");
    let line = "restore latest:photos --target out --overwrite if-changed";
    let scene = Scene { below: "repo", calls: Calls::Reads, ..Scene::new(host, line) };
    scene.every(&FAILURES[1..3], |host, failed| {
        says_so(host, failed, &["out"]);
        if failed.ran.code == 0 {
            tree::assert_same_as(&photos, host.path("out"));
        }
        whole_files(&host.path("out"), &host.path("photos"));
        host.run(scene.line).ok();
        tree::assert_same_as(&photos, host.path("out"));
    });
}

#[test]
fn a_source_that_cannot_be_read() {
    let host = archive();
    let before = host.path("photos").canonicalize().expect("a folder");
    let older = host.state("photos");
    let changed = ["rome/0.CR3", "rome/1.xmp", "oslo/2.CR3", "bern/new.CR3", "bern/new.xmp"];
    for (number, name) in changed.iter().enumerate() {
        let bytes = if name.ends_with("xmp") { 900 } else { 1_500_000 };
        write(&before.join(name), photos::bytes(200 + number as u64, bytes));
    }
    let line = "--json snapshot photos";
    let scene = Scene { below: "photos", calls: Calls::Reads, ..Scene::new(host, line) };
    let newer = scene.host.state("photos");
    scene.every(&FAILURES[1..3], |host, failed| {
        let library = host.path("photos").canonicalize().expect("a folder");
        let relative = |call: &Call| {
            call.path.strip_prefix(&library).expect("below the library").to_owned()
        };
        let unread: Vec<PathBuf> =
            failed.calls.iter().filter(|call| call.failed).map(relative).collect();
        let ran = &failed.ran;
        assert_eq!(ran.code, 3, "{ran:#?}");
        for path in &unread {
            let named = ran.stderr.contains(&*path.to_string_lossy());
            assert!(named, "{path:?} is not named: {ran:#?}");
        }
        // Of what could not be read the older version is kept, if there is one.
        let is_unread = |path: &[u8]| {
            let path = String::from_utf8_lossy(path).into_owned();
            unread.iter().any(|unread| Path::new(&path).starts_with(unread))
        };
        let mut wanted: State =
            newer.iter().filter(|(path, _)| !is_unread(path)).map(clone).collect();
        wanted.extend(older.iter().filter(|(path, _)| is_unread(path)).map(clone));
        let id = taken(ran).expect("a snapshot");
        host.run(&format!("restore {id}:photos --target restored")).ok();
        let mut found = host.state("restored");
        // Folders are as they were listed, whatever became of their files.
        for state in [&mut wanted, &mut found] {
            state.retain(|path, _| path.contains(&b'.'));
        }
        let lines = tree::differences(&wanted, &found);
        assert!(lines.is_empty(), "{unread:?}: {lines:?} {ran:#?}");
        host.remove("restored");
        host.run("check").ok();
        let again = host.run(line).ok();
        host.restores(&taken(&again).expect("a snapshot"), &newer);
    });
}

fn clone((path, node): (&Vec<u8>, &tree::Node)) -> (Vec<u8>, tree::Node) {
    (path.clone(), node.clone())
}
