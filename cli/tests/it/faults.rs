//! Disks that are full or broken: each call of the program that writes, names or syncs fails in
//! turn, once or from there on. It says so and ends, what it acknowledged is durable, and when the
//! disk is well again, all is as if it had not run, or had.
//!
//! A test run takes some of the calls, `ICECORE_FAULTS=all` every one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use icecore_testkit::inject::{self, Call, Calls, Fault, Lasts, Traced, not_durable};
use icecore_testkit::{photos, tree};
use nix::errno::Errno;

use crate::support::{Host, Ran, State, word, write};

/// The ways in which a disk fails: an error, and whether it stays.
const FAILURES: [(Errno, Lasts); 4] = [
    (Errno::ENOSPC, Lasts::Forever),
    (Errno::EIO, Lasts::Once),
    (Errno::EIO, Lasts::Forever),
    (Errno::ENOSPC, Lasts::Once),
];
/// The same for reads.
const BAD_READS: [(Errno, Lasts); 3] =
    [(Errno::EIO, Lasts::OnThatFile), (Errno::EIO, Lasts::Forever), (Errno::EIO, Lasts::Once)];
/// Calls that fail in a test run, of each way.
const CALLS: usize = 6;

/// A command, and the host that is about to run it.
struct Scene {
    host: Host,
    line: String,
    calls: Calls,
    /// The folder in which calls fail: all of the host's, or one in it, or another.
    below: PathBuf,
}

/// A run in which something failed.
struct Failed {
    ran: Ran,
    calls: Vec<Call>,
}

impl Scene {
    fn new(host: Host, line: &str) -> Scene {
        Scene { host, line: line.to_owned(), calls: Calls::Writes, below: PathBuf::new() }
    }

    fn trace(&self, host: &Host, fault: Option<Fault>) -> Failed {
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

    /// Lets the command run once for each call and each way to fail, on a host like this one.
    /// `after` gets what became of the run, and of one on the same host with nothing in its way.
    fn every(&self, failures: &[(Errno, Lasts)], after: impl Fn(&Host, &Failed)) {
        let count = self.trace(&self.host.copy(), None).calls.len();
        assert!(count > 3, "only {count} calls are seen");
        let all = std::env::var("ICECORE_FAULTS").is_ok_and(|which| which == "all");
        let step = if all { 1 } else { count.div_ceil(CALLS) };
        let (mut done, mut hit) = (0, 0);
        for (way, (error, lasts)) in failures.iter().enumerate() {
            // Other calls in each way.
            for nth in (1 + way * step / failures.len()..=count).step_by(step) {
                let host = self.host.copy();
                let fault = Fault { nth, error: *error, lasts: *lasts };
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
        let has = |words: [&str; 2]| {
            words.iter().all(|word| ran.stderr.contains(word) || ran.stdout.contains(word))
        };
        let told = has(["error: ", "hint: "])
            || has(["warning: ", "hint: "])
            || has(["\"exit_error\"", "\"hint\":\""]);
        // 22: a disk that cannot read an object is damage of that object.
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

/// An archive with one snapshot, which the identity opens.
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

/// No sync of the repository may fail unheard, nor be made good by asking again: the next answer
/// says nothing about what the one before has lost.
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
        let fault = Fault { nth, error: Errno::EIO, lasts: Lasts::Once };
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
    // Some of it is written past the page cache.
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
    // Beside the hosts, which share it: a library at another place is another library.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = folder.path().canonicalize().expect("a folder");
    let mut host = Host::new();
    small_library(&library);
    let older = tree::snapshot_of(&library);
    host.run(&format!("snapshot --init --pack-size 1MiB {}", word(&library))).ok();
    host.export_identity();
    let changed = ["rome/0.CR3", "rome/1.xmp", "oslo/2.CR3", "bern/new.CR3", "bern/new.xmp"];
    for (number, name) in changed.iter().enumerate() {
        // The first is read in more than one turn.
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
            // Without the folder that was asked for there is no snapshot.
            assert_eq!((ran.code, taken(ran)), (1, None), "{ran:#?}");
            host.run(&line).ok();
            return;
        }
        if ran.code == 0 {
            // A file is read a second time, and it was well.
            assert_eq!(unread.len(), 1, "{unread:?}: {ran:#?}");
            unread.clear();
        } else {
            assert_eq!(ran.code, 3, "{ran:#?}");
        }
        for path in &unread {
            // Joined with nothing, it would end in a slash.
            let path: PathBuf = library.iter().chain(path.iter()).collect();
            let named = ran.stdout.contains(&format!("\"path\":\"{}\"", path.display()));
            assert!(named, "{path:?} is not named: {ran:#?}");
        }
        // Of a file that could not be read the older version is kept, if there is one. What is in a
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
        // Folders are as they were listed, whatever became of their files.
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
