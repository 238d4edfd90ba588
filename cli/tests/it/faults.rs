//! Full or broken disks: each system call of the program that writes, renames or syncs fails in
//! turn, once or permanently. The program reports it and ends, and everything acknowledged is
//! durable. When the disk works again, the state is as if the command had not run, or had
//! completed.
//!
//! A test run tries some of the calls; `ICECORE_FAULTS=all` tries every one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use icecore_testkit::inject::{self, Call, Calls, FailingCall, Lasts, Traced, not_durable};
use icecore_testkit::{photos, tree};
use nix::errno::Errno;

use crate::support::{Host, Ran, State, word, write};

/// The ways in which a disk fails: an error, and how long it lasts.
const FAILURES: [(Errno, Lasts); 4] = [
    (Errno::ENOSPC, Lasts::Forever),
    (Errno::EIO, Lasts::Once),
    (Errno::EIO, Lasts::Forever),
    (Errno::ENOSPC, Lasts::Once),
];
/// The ways in which reading from a disk fails.
const BAD_READS: [(Errno, Lasts); 3] =
    [(Errno::EIO, Lasts::OnThatFile), (Errno::EIO, Lasts::Forever), (Errno::EIO, Lasts::Once)];
/// Number of calls that a test run tries for each way to fail.
const CALLS: usize = 6;

/// A command, and the host that runs it.
struct Scene {
    host: Host,
    line: String,
    calls: Calls,
    /// The folder in which calls fail: that of the host, one inside it, or another.
    below: PathBuf,
}

/// A run in which a call failed.
struct Failed {
    ran: Ran,
    calls: Vec<Call>,
}

impl Scene {
    fn new(host: Host, line: &str) -> Scene {
        Scene { host, line: line.to_owned(), calls: Calls::Writes, below: PathBuf::new() }
    }

    fn trace(&self, host: &Host, fault: Option<FailingCall>) -> Failed {
        let below = host.path("").join(&self.below).canonicalize().expect("a folder");
        let traced = inject::run(&host.command(&self.line), &below, self.calls, fault);
        let Traced { code, hung, stdout, stderr, calls } = traced;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(stdout), text(stderr));
        let ran = Ran { line: self.line.clone(), code: code.unwrap_or(-1), stdout, stderr };
        assert!(!hung, "it hangs: {ran:#?}");
        assert!(code.is_some() && !ran.stderr.contains("panicked"), "it crashes: {ran:#?}");
        assert!(!ran.stderr.contains("a bug in icecore"), "it panics: {ran:#?}");
        Failed { ran, calls }
    }

    /// Runs the command once for each call and each way to fail, on a copy of this host. Calls
    /// `after` with the host and the result.
    fn every(&self, failures: &[(Errno, Lasts)], after: impl Fn(&Host, &Failed)) {
        let count = self.trace(&self.host.copy(), None).calls.len();
        assert!(count > 3, "only {count} calls are seen");
        let all = std::env::var("ICECORE_FAULTS").is_ok_and(|which| which == "all");
        let step = if all { 1 } else { count.div_ceil(CALLS) };
        let (mut done, mut hit) = (0, 0);
        for (way, (error, lasts)) in failures.iter().enumerate() {
            // Try different calls for each way to fail.
            for nth in (1 + way * step / failures.len()..=count).step_by(step) {
                let host = self.host.copy();
                let fault = FailingCall { nth, error: *error, lasts: *lasts };
                let failed = self.trace(&host, Some(fault));
                let call = failed.calls.iter().find(|call| call.failed);
                println!("{}: {fault:?} of {count}: {call:?}: {}", self.line, failed.ran.code);
                // Threads are scheduled differently each time, so there may be fewer calls.
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

/// Asserts that a failed run says what is wrong and what to do, and that a successful one is
/// durable.
#[track_caller]
fn says_so(host: &Host, failed: &Failed, durable: &[&str]) {
    let Failed { ran, calls } = failed;
    if ran.code != 0 {
        let has = |words: [&str; 2]| {
            words.iter().all(|word| ran.stderr.contains(word) || ran.stdout.contains(word))
        };
        let told = has(["error: ", "hint: "])
            || has(["warning: ", "hint: "])
            || has(["\"exit_error\"", "\"hint\":\""]);
        // The code is 22 if the disk cannot read an object, because that counts as damage.
        assert!([1, 3, 22].contains(&ran.code) && told, "{ran:#?}");
        return;
    }
    let kept: Vec<PathBuf> = durable.iter().map(|name| host.path(name)).collect();
    let lost = not_durable(calls, |path| kept.iter().any(|kept| path.starts_with(kept)));
    let lost: Vec<PathBuf> = lost.into_iter().filter(|path| path.exists()).collect();
    assert!(lost.is_empty(), "acknowledged and not durable: {lost:?}: {ran:#?} {calls:#?}");
}

fn small_library(folder: &Path) {
    for number in 0..3 {
        write(&folder.join(format!("rome/{number}.CR3")), photos::bytes(number, 300_000));
        write(&folder.join(format!("oslo/{number}.CR3")), photos::bytes(50 + number, 300_000));
        write(&folder.join(format!("rome/{number}.xmp")), photos::sidecar(number));
    }
}

/// Returns a host with an archive of one snapshot, which is opened with the identity.
fn archive() -> Host {
    let mut host = Host::new();
    small_library(&host.path("photos"));
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    host.export_identity();
    host
}

fn taken(ran: &Ran) -> Option<String> {
    let lines = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut summaries = lines.filter(|line: &serde_json::Value| line["message_type"] == "summary");
    summaries.find_map(|summary| summary["snapshot_id"].as_str().map(str::to_owned))
}

/// Asserts that the archive is intact and that these snapshots can be restored.
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
        // Run it again: files that the first run left unsynced must be synced by this one.
        let mut again = scene.trace(host, None);
        assert_eq!(again.ran.code, 0, "{:#?}", again.ran);
        known.push((taken(&again.ran).expect("a snapshot"), host.state("photos")));
        again.calls.splice(0..0, failed.calls.iter().cloned());
        says_so(host, &again, &["repo"]);
        is_well(host, &known[known.len() - 1..]);
    });
}

/// A failed sync of the repository must be reported, and repeating it must not count as success,
/// because the next sync does not report data that the first one lost.
#[test]
fn a_failed_sync_is_no_success() {
    let host = archive();
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 900_000));
    let line = "--json snapshot photos";
    let scene = Scene { below: "repo".into(), calls: Calls::Syncs, ..Scene::new(host, line) };
    let count = scene.trace(&scene.host.copy(), None).calls.len();
    let mut met = Vec::new();
    for nth in 1..=count {
        let host = scene.host.copy();
        let fault = FailingCall { nth, error: Errno::EIO, lasts: Lasts::Once };
        let failed = scene.trace(&host, Some(fault));
        let call = failed.calls.iter().find(|call| call.failed).expect("as many as before");
        let repo = host.path("repo").canonicalize().expect("a folder");
        met.extend(call.path.strip_prefix(repo).map(Path::to_owned));
        assert_eq!(failed.ran.code, 1, "{call:?} failed: {:#?}", failed.ran);
        assert_eq!(taken(&failed.ran), None, "{call:?} failed: {:#?}", failed.ran);
    }
    assert!(met.contains(&PathBuf::from("log")), "the log is synced: {met:?}");
}

#[test]
fn while_pruning() {
    let host = archive();
    std::fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.remove("photos/rome/1.CR3");
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 500_000));
    host.run("snapshot photos").ok();
    let known = [("latest".to_owned(), host.state("photos"))];
    let scene = Scene::new(host, "--json prune --now --keep-last 1");
    let whole = scene.host.copy();
    let done = whole.run(&scene.line).ok().summary();
    assert!(done["packs_repacked"].as_u64() > Some(0), "no pack is emptied: {done}");
    scene.every(&FAILURES, |host, failed| {
        says_so(host, failed, &["repo"]);
        is_well(host, &known);
        host.run(&scene.line).ok();
        is_well(host, &known);
        let listed = host.run("--json snapshots").ok().json();
        assert_eq!(listed.len(), 2, "one snapshot and a summary: {listed:?}");
    });
}

#[test]
fn while_restoring() {
    let mut host = Host::new();
    small_library(&host.path("photos"));
    // Some files are large enough to bypass the page cache.
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 3_000_000));
    host.run("snapshot --init --pack-size 8MiB photos").ok();
    host.export_identity();
    let photos = host.state("photos");
    let scene = Scene::new(host, "restore latest:photos --target out --overwrite if-changed");
    let repo = scene.host.state("repo");
    scene.every(&FAILURES, |host, failed| {
        says_so(host, failed, &["out"]);
        if failed.ran.code == 0 {
            tree::assert_same_as(&photos, host.path("out"));
        }
        whole_files(&host.path("out"), &host.path("photos"));
        host.run(&scene.line).ok();
        tree::assert_same_as(&photos, host.path("out"));
        assert_eq!(repo, host.state("repo"), "a restore changes no archive");
    });
}

/// Asserts that every file with its final name has its content.
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
    small_library(&host.path("photos"));
    let scene = Scene::new(host, "init --pack-size 1MiB");
    let failures = if std::env::var_os("ICECORE_FAULTS").is_some() { 4 } else { 2 };
    scene.every(&FAILURES[..failures], |host, failed| {
        says_so(host, failed, &["repo"]);
        let again = host.run(&scene.line);
        let is_there = again.code == 1 && again.stderr.contains("an archive at");
        assert!(again.code == 0 || is_there, "{again:#?}");
        assert!(failed.ran.code != 0 || is_there, "a second archive: {again:#?}");
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
    let scene = Scene { below: "repo".into(), calls: Calls::Reads, ..Scene::new(host, line) };
    scene.every(&BAD_READS, |host, failed| {
        says_so(host, failed, &["out"]);
        if failed.ran.code == 0 {
            tree::assert_same_as(&photos, host.path("out"));
        }
        whole_files(&host.path("out"), &host.path("photos"));
        host.run(&scene.line).ok();
        tree::assert_same_as(&photos, host.path("out"));
    });
}

#[test]
fn a_source_that_cannot_be_read() {
    // Put it outside the hosts, which share it, because a library at another place counts as
    // another one.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().canonicalize().expect("a folder");
    let mut host = Host::new();
    small_library(&library);
    let older = tree::snapshot_of(&library);
    host.run(&format!("snapshot --init --pack-size 1MiB {}", word(&library))).ok();
    host.export_identity();
    let changed = ["rome/0.CR3", "rome/1.xmp", "oslo/2.CR3", "bern/new.CR3", "bern/new.xmp"];
    for (number, name) in changed.iter().enumerate() {
        // The first file needs more than one read.
        let bytes = match number {
            0 => 7_000_000,
            _ if name.ends_with("xmp") => 900,
            _ => 1_500_000,
        };
        write(&library.join(name), photos::bytes(200 + number as u64, bytes));
    }
    let newer = tree::snapshot_of(&library);
    let line = format!("--json snapshot {}", word(&library));
    let below = library.clone();
    let scene = Scene { below, calls: Calls::Reads, ..Scene::new(host, &line) };
    let inside = word(library.strip_prefix("/").expect("an absolute path"));
    scene.every(&BAD_READS, |host, failed| {
        let relative =
            |call: &Call| call.path.strip_prefix(&library).expect("below the library").to_owned();
        let mut unread: Vec<PathBuf> =
            failed.calls.iter().filter(|call| call.failed).map(relative).collect();
        let ran = &failed.ran;
        if unread.iter().any(|path| path.as_os_str().is_empty()) {
            // Without the given folder, there is no snapshot.
            assert_eq!((ran.code, taken(ran)), (1, None), "{ran:#?}");
            host.run(&line).ok();
            return;
        }
        if ran.code == 0 {
            // The file was read a second time, successfully.
            assert_eq!(unread.len(), 1, "{unread:?}: {ran:#?}");
            unread.clear();
        } else {
            assert_eq!(ran.code, 3, "{ran:#?}");
        }
        for path in &unread {
            // `join` with an empty path would add a slash.
            let path: PathBuf = library.iter().chain(path.iter()).collect();
            let named = ran.stdout.contains(&format!("\"path\":\"{}\"", path.display()));
            assert!(named, "{path:?} is not named: {ran:#?}");
        }
        // If a file could not be read, its older version is kept, if there is one. The content of a
        // folder that could not be listed is left out.
        let under = |path: &[u8]| {
            let path = Path::new(OsStr::from_bytes(path));
            unread.iter().find(|unread| path.starts_with(unread))
        };
        let is_kept =
            |path: &[u8]| under(path).is_some_and(|unread| !library.join(unread).is_dir());
        let mut wanted: State =
            newer.iter().filter(|(path, _)| under(path).is_none()).map(clone).collect();
        wanted.extend(older.iter().filter(|(path, _)| is_kept(path)).map(clone));
        let restored = |ran: &Ran| {
            let id = taken(ran).expect("a snapshot");
            host.remove("restored");
            host.run(&format!("restore {id}:{inside} --target restored")).ok();
            host.state("restored")
        };
        let mut found = restored(ran);
        // Compare files only, because folders are stored as they were listed.
        for state in [&mut wanted, &mut found] {
            state.retain(|path, _| path.contains(&b'.'));
        }
        let lines = tree::differences(&wanted, &found);
        assert!(lines.is_empty(), "{unread:?}: {lines:?} {ran:#?}");
        host.run("check").ok();
        let again = host.run(&line).ok();
        let lines = tree::differences(&newer, &restored(&again));
        assert!(lines.is_empty(), "{lines:?}");
    });
}

fn clone((path, node): (&Vec<u8>, &tree::Node)) -> (Vec<u8>, tree::Node) {
    (path.clone(), node.clone())
}
