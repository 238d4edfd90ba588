//! Tests hostile repositories, whose objects were made by an attacker who has the keys or the store. The program runs
//! on each of them under a guard that stops writes outside the target, and its output is compared with
//! `hostile/verdicts.txt`.
//!
//! `ICECORE_HOSTILE=write cargo test -p icecore hostile` rewrites the verdicts. Read the changes. Any other value runs
//! the cases with that word in their names and shows their output.

mod files;
mod forge;
mod guard;
mod log;
mod packs;
mod store;
mod trees;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_testkit::tree;

use crate::support::{Host, Ran, assert_unchanged, is_root, left_out, write};
use forge::Forge;
use guard::{BYTES_MAX, Guarded};

/// A name, and the function that makes the repository.
pub type Case = (&'static str, fn(&mut Forge));

/// Cases whose output depends on the user and on the file system. The verdicts are for root on ext4.
const LOCAL: [&str; 6] = [
    "a hole of 1 EiB",
    "a symlink with 64 KiB of target",
    "attributes with odd names",
    "capabilities and trusted attributes that are none",
    "a set-user-id program of somebody else",
    "times at the end of time",
];
const EXT4: u64 = 0xef53;

/// Number of lines of one run that are shown.
const LINES_SHOWN: usize = 4;
/// Number of bytes of one line that are shown.
const LINE_BYTES: usize = 220;
/// Maximum disk space that a restore of a few bytes may use.
const DISK_BYTES_MAX: u64 = 600 << 20;

#[test]
fn hostile_repositories_get_their_verdicts() {
    if !guard::confines() {
        left_out("the guard of hostile restores", "no Landlock here");
    }
    let groups = [
        ("Trees", trees::CASES),
        ("Files", files::CASES),
        ("Packs", packs::CASES),
        ("The log", log::CASES),
        ("The store", store::CASES),
    ];
    let wanted = std::env::var("ICECORE_HOSTILE").unwrap_or_default();
    let word = Some(&wanted[..]).filter(|word| !word.is_empty() && *word != "write");
    let mut all: Vec<&Case> = groups.iter().flat_map(|(_, cases)| *cases).collect();
    all.retain(|(name, _)| word.is_none_or(|word| name.contains(word)));
    let verdicts = judge(&all, word.is_some());
    if word.is_some() {
        return;
    }
    let mut text = String::new();
    for (title, cases) in groups {
        _ = writeln!(text, "# {title}\n");
        for (name, _) in cases {
            _ = writeln!(text, "{}", verdicts[name]);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile/verdicts.txt");
    if wanted == "write" {
        fs::write(&path, &text).expect("the verdicts");
    }
    let golden = fs::read_to_string(&path).expect("the verdicts");
    let temp = rustix::fs::statfs(std::env::temp_dir()).expect("a file system");
    let is_like_golden = is_root() && temp.f_type as u64 == EXT4;
    if !is_like_golden {
        left_out("a few verdicts on hostile repositories", "they are for root on ext4");
    }
    let counts = |name: &str| is_like_golden || !LOCAL.contains(&name);
    let differ: Vec<&str> = verdicts
        .iter()
        .filter(|(name, verdict)| counts(name) && !golden.contains(&format!("{verdict}\n")))
        .map(|(_, verdict)| verdict.as_str())
        .collect();
    assert!(differ.is_empty(), "other verdicts than those in {path:?}:\n{}", differ.join("\n"));
    let known = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(known(&golden), known(&text), "{path:?} holds verdicts on other cases");
}

/// The harness above runs a check first, whose findings stay in the catalog. This test restores without a check.
#[test]
fn a_restore_that_comes_first_believes_no_length() {
    for lies_first in [true, false] {
        let mut host = Host::new();
        let mut forge = Forge::new(host.path("repo"));
        fs::write(host.path("identity"), &*forge.identity.to_text()).expect("the identity");
        host.set("ICECORE_IDENTITY", "identity");
        packs::lengths(&mut forge, lies_first);
        let ran = host.run("restore latest --target target");
        let there = fs::read(host.path("target/hostile/x")).ok();
        match there {
            Some(content) => assert_eq!((&content[..], ran.code), (&b"firstsecond"[..], 0)),
            None => assert!(ran.stderr.contains("differ in length"), "{ran:#?}"),
        }
    }
}

/// Tries all cases, two at a time, and returns their verdicts by name.
fn judge(cases: &[&Case], show: bool) -> BTreeMap<&'static str, String> {
    let next = AtomicUsize::new(0);
    let (verdicts, peak) = (Mutex::new(BTreeMap::new()), Mutex::new((0, "")));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while let Some((name, make)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = std::time::Instant::now();
                    let (verdict, bytes) = try_case(name, *make);
                    if show {
                        println!("{verdict}  {} MiB, {:?}\n", bytes >> 20, begun.elapsed());
                    }
                    verdicts.lock().expect("no panic").insert(*name, verdict);
                    let mut peak = peak.lock().expect("no panic");
                    *peak = (*peak).max((bytes, name));
                }
            });
        }
    });
    let (bytes, name) = peak.into_inner().expect("no panic");
    println!("{} cases; peak memory {} MiB ({name})", cases.len(), bytes >> 20);
    verdicts.into_inner().expect("no panic")
}

/// Makes a repository, runs the program on it, and returns the verdict and the peak memory.
fn try_case(name: &str, make: fn(&mut Forge)) -> (String, u64) {
    let mut host = Host::new();
    let mut forge = Forge::new(host.path("repo"));
    fs::write(host.path("identity"), &*forge.identity.to_text()).expect("the identity");
    make(&mut forge);
    if !forge.by_password {
        host.set("ICECORE_IDENTITY", "identity");
        host.unset("ICECORE_PASSWORD_FILE");
    }
    outside(&host.path("outside"));
    traps(&host.path("over"));
    for folder in ["target", "cache", "config"] {
        fs::create_dir(host.path(folder)).expect("a folder");
    }
    let before = host.state("outside");
    let mut verdict = format!("## {name}\n");
    let mut most = 0;
    for (label, line) in [
        ("list", "snapshots"),
        ("check", "check --read-data"),
        ("restore", "restore latest --target target --verify"),
        ("over", "restore latest --target over --overwrite always --delete"),
    ] {
        let mut writable: Vec<PathBuf> = ["cache", "config"].map(|name| host.path(name)).into();
        if line.starts_with("restore") {
            writable.push(host.path(if label == "over" { "over" } else { "target" }));
        }
        let Guarded { output, peak } = guard::run(&mut host.command(line), &writable);
        let ran = Ran::new(line, &output);
        most = most.max(peak);
        let said = said(&ran, &host);
        let denied = said.iter().any(|line| line.contains("Permission denied"));
        assert!(!denied, "{name}: a write outside the target was tried: {ran:#?}");
        assert!(peak <= BYTES_MAX, "{name}: {peak} bytes of memory for {line}");
        // The output of a successful list and of the second restore is not part of the verdict.
        let brief = ran.code == 0 && label == "list" || label == "over";
        _ = writeln!(verdict, "{label:8}{:3}", ran.code);
        let shown = if brief { 0 } else { LINES_SHOWN };
        for line in said.iter().take(shown) {
            _ = writeln!(verdict, "    {line}");
        }
        if said.len() > shown && !brief {
            _ = writeln!(verdict, "    … {} lines", said.len());
        }
        assert_unchanged(&before, &host.state("outside"), name);
    }
    _ = writeln!(verdict, "target     {}", listing(&host.path("target")));
    (verdict, most)
}

/// Makes a folder next to the target, in which nothing may change.
fn outside(folder: &Path) {
    fs::create_dir_all(folder.join("folder")).expect("a folder");
    for name in ["file", "folder/file"] {
        fs::write(folder.join(name), "a victim").expect("a victim");
    }
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(folder.join("file"), mode).expect("a mode");
    std::os::unix::fs::symlink("file", folder.join("link")).expect("a symlink");
}

/// Makes a target full of symlinks that lead out of it.
fn traps(folder: &Path) {
    fs::create_dir_all(folder.join("hostile")).expect("a folder");
    let trap = |name: &str, to: &str| {
        std::os::unix::fs::symlink(to, folder.join(name)).expect("a trap");
    };
    trap("good", "../outside/file");
    trap("other", "../outside");
    for name in ["a", "b", "x", "folder"] {
        trap(&format!("hostile/{name}"), "../../outside/folder");
    }
    trap("hostile/file", "../../outside/file");
}

/// Returns the output of a run without the parts that differ from run to run.
fn said(ran: &Ran, host: &Host) -> Vec<String> {
    let here = host.path("").canonicalize().expect("a folder");
    let here = format!("{}/", here.display());
    let lines = ran.stdout.lines().chain(ran.stderr.lines());
    let plain = |line: &str| {
        let line = line.replace(&here, "");
        let line = match line.split_once("; read ") {
            Some((front, back)) => {
                let front = front.rsplit_once(" in ").map_or(front, |(front, _)| front);
                let rest =
                    back.split_once("; ").map_or(String::new(), |(_, rest)| format!("; {rest}"));
                format!("{front}{rest}")
            }
            None => line
                .split_once("; ")
                .filter(|(_, rest)| rest.contains(" objects checked"))
                .map_or(line.clone(), |(front, _)| front.to_owned()),
        };
        without_ids(&line)
    };
    let mut said: Vec<String> = lines
        .filter(|line| {
            let dull = [
                "hint: ",
                "  snapshots: ",
                "1 damaged",
                "2 damaged",
                "read back",
                "nothing was",
                "this host has not read",
            ];
            !line.trim().is_empty() && !dull.iter().any(|dull| line.starts_with(dull))
        })
        .map(plain)
        .collect();
    // Workers report problems in any order.
    said.sort_by_key(|line| line.starts_with("warning: "));
    let warnings = said.partition_point(|line| !line.starts_with("warning: "));
    said[warnings..].sort();
    said
}

/// Replaces each id by an ellipsis, and shortens a long line.
fn without_ids(line: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for letter in line.chars().chain(['\n']) {
        if letter.is_ascii_digit() || ('a'..='f').contains(&letter) {
            run.push(letter);
            continue;
        }
        let is_id = run.len() == 32 || run.len() == 64;
        out.push_str(if is_id { "…" } else { &run });
        run.clear();
        out.push(letter);
    }
    let out = out.trim_end();
    match out.char_indices().nth(LINE_BYTES) {
        Some((at, _)) => format!("{} … {} letters", &out[..at], out.chars().count()),
        None => out.to_owned(),
    }
}

/// Lists the folder that a restore has made.
fn listing(folder: &Path) -> String {
    let mut found = Vec::new();
    let disk = list(folder, Path::new(""), 0, &mut found);
    assert!(disk <= DISK_BYTES_MAX, "a restore took {disk} bytes of the disk");
    let more = found.len().saturating_sub(12);
    found.truncate(12);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    if found.is_empty() { "empty".to_owned() } else { found.join("  ") }
}

fn list(folder: &Path, below: &Path, depth: usize, found: &mut Vec<String>) -> u64 {
    let entries = fs::read_dir(folder.join(below)).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    let mut disk = 0;
    for name in names {
        let path = below.join(&name);
        let full = folder.join(&path);
        let metadata = full.symlink_metadata().expect("an entry");
        let mode = metadata.mode() & 0o7777;
        let kind = metadata.file_type();
        let mark = if kind.is_dir() {
            "/".to_owned()
        } else if kind.is_symlink() {
            let to = fs::read_link(&full).expect("a symlink");
            format!(
                " -> {}",
                without_ids(&to.to_string_lossy().chars().take(40).collect::<String>())
            )
        } else {
            assert!(kind.is_file(), "{path:?} is a special file that nobody asked for");
            let special = if mode & 0o7000 == 0 { String::new() } else { format!(" {mode:o}") };
            format!(" ({}{special})", metadata.len())
        };
        let shown: String = path.to_string_lossy().chars().take(60).collect();
        found.push(format!("{shown}{mark}"));
        disk += metadata.blocks() * 512;
        if kind.is_dir() && depth < 3 {
            disk += list(folder, &path, depth + 1, found);
        }
    }
    disk
}

#[test]
fn special_files_are_made_when_asked() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mut host = Host::new();
    write(&host.path("photos/good"), "good");
    let pipe = host.path("photos/pipe");
    mknodat(CWD, pipe, FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("a pipe");
    host.run("snapshot photos --init").ok();
    host.export_identity();
    let ran = host.run("--json restore latest:photos --target plain").ok();
    assert_eq!(
        (ran.summary()["files"].as_u64(), ran.summary()["files_special_left"].as_u64()),
        (Some(1), Some(1))
    );
    assert!(ran.stderr.contains("1 pipe, socket or device was left out"), "{ran:#?}");
    assert_eq!(host.state("plain").into_keys().collect::<Vec<_>>(), [b"good"]);
    let ran = host.run("--json restore latest:photos --target all --special").ok();
    assert_eq!(ran.summary()["files_special_left"], 0);
    tree::assert_same(host.path("photos"), host.path("all"));
}

/// The traps must work: a write through them changes the folder that the other tests compare.
#[test]
fn the_traps_are_traps() {
    let host = Host::new();
    outside(&host.path("outside"));
    traps(&host.path("over"));
    let before = host.state("outside");
    for name in ["good", "hostile/file"] {
        fs::write(host.path("over").join(name), "through").expect("a write");
    }
    for name in ["other", "hostile/folder"] {
        fs::write(host.path("over").join(name).join("new"), "through").expect("a write");
    }
    let differences = tree::differences(&before, &host.state("outside"));
    assert!(differences.len() >= 3, "{differences:?}");
}
