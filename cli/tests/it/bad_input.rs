//! Mistakes of users: each ends with its exit code, an error that names the problem, and a hint,
//! and changes nothing. Errors for which only the text matters are in `tests/cmd`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use crate::support::{
    Host, Ran, assert_unchanged, copy_program, is_root, objects, shoot, word, write,
};

/// Returns a host with a small library and two snapshots of it.
fn host_with_snapshots() -> Host {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    shoot(&host.path("photos/later"), 2, 1);
    host.run("snapshot photos").ok();
    host.export_identity();
    host
}

/// Runs a command that must fail and change nothing on the host.
#[track_caller]
fn refused(host: &Host, line: &str, code: i32, words: &[&str]) {
    // Only the cache may change.
    let state = || {
        let mut state = host.state("");
        state.retain(|path, _| !path.starts_with(b"cache"));
        state
    };
    let before = state();
    host.run(line).fails(code, words);
    assert_unchanged(&before, &state(), line);
}

#[test]
fn a_repository_that_is_not_there() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    fs::create_dir(host.path("empty")).expect("a folder");
    // If `init` would fail as well, the hint says so.
    for (repo, hint) in [
        ("repo", " init`"),
        ("empty", " init`"),
        ("photos", "needs an empty or a new folder"),
        ("password", "it is a file"),
    ] {
        for line in ["snapshots", "snapshot photos", "ls latest", "check", "key list", "stats"] {
            refused(&host, &format!("--repo {repo} {line}"), 10, &[repo, hint]);
        }
    }
}

#[test]
fn a_mistyped_source_makes_no_repository() {
    let host = Host::new();
    refused(&host, "snapshot --init fotos", 1, &["fotos", "check the path"]);
    assert!(!host.path("repo").exists());
}

#[test]
fn wrong_keys_open_nothing_and_change_nothing() {
    let mut host = host_with_snapshots();
    host.unset("ICECORE_IDENTITY");
    write(&host.path("wrong"), "incorrect horse\n");
    for line in ["ls latest", "restore latest --target out", "key export", "key passwd"] {
        refused(&host, &format!("-p wrong {line}"), 12, &["wrong password", "--identity"]);
    }
    let other = host_with_snapshots();
    fs::copy(other.path("identity"), host.path("strange")).expect("a copy");
    refused(&host, "--identity strange ls latest", 12, &["does not belong", "exported from"]);
    refused(&host, "--identity strange key export", 12, &["does not belong"]);
    let damaged = fs::read_to_string(host.path("identity")).expect("the page");
    let damaged = damaged.replacen("ICECORE-IDENTITY-1", "ICECORE-IDENTITY-1QQ", 1);
    write(&host.path("mistyped"), damaged);
    refused(&host, "--identity mistyped ls latest", 12, &["mistyped is not an identity"]);
}

#[test]
fn a_credential_of_another_repository_is_refused() {
    let host = host_with_snapshots();
    let other = host_with_snapshots();
    let credential = |host: &Host| objects(&host.path("config"), "credentials")[0].clone();
    fs::copy(credential(&other), credential(&host)).expect("a copy");
    refused(&host, "snapshot photos", 12, &["does not belong", "enrol"]);
    write(&credential(&host), "not a credential");
    refused(&host, "snapshot photos", 12, &["credential", "remove the file"]);
    fs::remove_file(credential(&host)).expect("a credential");
    // The hint is right: the identity creates a new credential.
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stderr.contains("its key was saved to"), "{ran:#?}");
}

#[test]
fn a_repository_of_a_newer_format_is_left_alone() {
    let host = host_with_snapshots();
    let config = host.path("repo/config");
    let mut bytes = fs::read(&config).expect("the config");
    bytes[8] += 1;
    write(&config, bytes);
    for line in ["snapshots", "snapshot photos", "restore latest --target out", "check", "key list"]
    {
        refused(&host, line, 1, &["config needs a newer icecore", "update icecore"]);
    }
}

#[test]
fn an_id_that_names_two_snapshots() {
    let host = host_with_snapshots();
    let mut seen = std::collections::BTreeSet::new();
    // Of seventeen ids, at least two begin with the same digit.
    let digit = loop {
        let ran = host.run("snapshots --json").ok();
        let lines = ran.json();
        let ids = lines.iter().filter_map(|line| line["id"].as_str());
        seen.clear();
        let twice = ids.map(|id| id[..1].to_owned()).find(|digit| !seen.insert(digit.clone()));
        match twice {
            Some(digit) => break digit,
            None => host.run("snapshot photos").ok(),
        };
    };
    let line = format!("ls {digit}");
    refused(&host, &line, 2, &[&format!("{digit:?} matches several"), "more digits"]);
}

#[test]
fn a_target_with_something_in_it() {
    let host = host_with_snapshots();
    refused(&host, "restore latest --target photos", 1, &["photos is not empty", "--overwrite"]);
    let planned = host.run("restore latest --target photos --plan").ok().stderr;
    assert!(planned.contains("would be refused: the target photos is not empty"), "{planned}");
    refused(&host, "restore latest --target password", 1, &["password"]);
}

#[test]
fn a_page_is_not_written_over_something() {
    let host = host_with_snapshots();
    refused(&host, "key export --output password", 1, &["password", "name another file"]);
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_is_taken() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    let closed = host.path("photos/IMG_01000.JPG");
    write(&closed, "changed, and nobody may read it");
    shoot(&host.path("photos/later"), 3, 1);
    let run = as_nobody(&host);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).expect("a mode");

    let ran = run("snapshot photos").exits(3);
    assert!(ran.stderr.contains("photos/IMG_01000.JPG: "), "{ran:#?}");
    assert!(ran.stdout.contains("; 1 file or folder with problems (see"), "{ran:#?}");
    let ran = run("snapshot --json photos").exits(3);
    let lines = ran.json();
    let problem = lines.iter().find(|line| line["message_type"] == "problem");
    let path = problem.expect("a problem")["path"].as_str().expect("a path");
    assert!(path.ends_with("/photos/IMG_01000.JPG"), "{path}");
    assert_eq!(lines.last().expect("a summary")["files_failed"], 1);

    // The older version is kept, and everything else is complete.
    let ran = run("dump latest:photos/IMG_01000.JPG").ok();
    assert!(ran.stdout.len() > 500_000, "the version before: {} bytes", ran.stdout.len());
    let ran = run("ls -R latest:photos/later").ok();
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:#?}");

    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).expect("a mode");
    run("snapshot photos").ok();
    let ran = run("dump latest:photos/IMG_01000.JPG").ok();
    assert_eq!(ran.stdout, "changed, and nobody may read it");
}

/// Returns a function that runs the program as a user who is not root, because root may read
/// everything.
fn as_nobody(host: &Host) -> impl Fn(&str) -> Ran {
    const NOBODY: u32 = 65534;
    if is_root() {
        fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
        // Other users may not have access to the build folder, so copy the program.
        copy_program(&host.path("icecore"));
        give(&host.path(""), NOBODY);
    }
    move |line| {
        let mut command = host.command(line);
        if is_root() {
            let mut copy = std::process::Command::new(host.path("icecore"));
            copy.args(command.get_args()).env_clear().current_dir(host.path(""));
            let env = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
            copy.envs(env).stdin(std::process::Stdio::null()).uid(NOBODY).gid(NOBODY);
            command = copy;
        }
        Ran::new(line, &command.output().expect("the program starts"))
    }
}

fn give(path: &std::path::Path, to: u32) {
    chown(path, Some(to), Some(to)).expect("root may give files away");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            give(&entry.expect("an entry").path(), to);
        }
    }
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_profile() {
    let mut host = host_with_snapshots();
    write(&host.path("wrong"), "incorrect horse\n");
    write(&host.path("config/home.toml"), "repo = 'repo'\npassword-file = 'wrong'\n");
    host.unset("ICECORE_IDENTITY");
    host.unset("ICECORE_REPOSITORY");
    host.run("-P home ls latest").fails(12, &["wrong password"]);
    host.run("-P home --identity identity ls latest").ok();
    host.set("ICECORE_IDENTITY", "identity");
    host.run("-P home ls latest").ok();
    host.run("-P home -p wrong ls latest").fails(12, &["wrong password"]);
    host.set("ICECORE_PASSWORD_FILE", "wrong");
    host.unset("ICECORE_IDENTITY");
    host.run("-P home -p password ls latest").ok();
    let output = host.command("-P home ls latest --password-command").arg("cat password").output();
    Ran::new("--password-command", &output.expect("the program starts")).ok();
    host.set("ICECORE_REPOSITORY", "elsewhere");
    host.run("snapshots").fails(10, &["elsewhere"]);
    // A profile that is typed means its archive: a variable sends nothing into another one.
    host.run("-P home snapshots -p password").ok();
    host.run("-P home -r elsewhere snapshots -p password").fails(10, &["elsewhere"]);
    host.run("-P home -r repo snapshots -p password").ok();
}

#[test]
fn a_second_snapshot_path_that_is_not_there_is_no_snapshot() {
    let host = host_with_snapshots();
    refused(&host, "snapshot photos fotos", 1, &["fotos", "check the path"]);
}

#[test]
fn a_catalog_with_damaged_pages_is_made_anew() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    let caches = fs::read_dir(host.path("cache")).expect("the cache");
    let cache = caches.map(|entry| entry.expect("an entry").path()).next().expect("a catalog");
    let path = cache.join("catalog.sqlite");
    let sound = fs::read(&path).expect("a catalog");
    // If the first pages are intact, the damage shows only when a table is read.
    for first in [1, 2, 5, 9] {
        let mut catalog = sound.clone();
        for (at, byte) in catalog.iter_mut().enumerate().skip(first * 4096) {
            *byte = at as u8 ^ 0x5a;
        }
        fs::write(&path, catalog).expect("damage");
        for suffix in ["-wal", "-shm"] {
            host.remove(&format!("cache/{}/catalog.sqlite{suffix}", file_name(&cache)));
        }
        let summary = host.run("--json snapshot photos").ok().summary();
        // Only the snapshot record and the folders above the photos are new.
        let added = summary["bytes_added"].as_u64().expect("a number");
        assert!(added < 50_000, "{summary}");
    }
    host.run("check --read-data").ok();
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn a_restore_never_deletes_the_archive() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    for line in [
        "restore latest -t . --overwrite if-changed --delete",
        "restore latest -t repo --overwrite always",
        "restore latest -t repo/packs/new",
        "restore latest -t cache/x",
    ] {
        let ran = host.run(line).exits(1);
        assert!(ran.stderr.contains("belongs to icecore"), "{ran:#?}");
    }
    host.run("check --read-data").ok();
    host.run("restore latest -t . --overwrite if-changed").ok();
}

#[test]
fn paths_stand_where_they_are() {
    let host = Host::new();
    write(&host.path("a/in.txt"), "in a");
    write(&host.path("other/out.txt"), "beside a");
    host.run("init").ok();
    // Another path, which is not inside it, is named as well.
    let elsewhere = Host::new();
    write(&elsewhere.path("file.txt"), "elsewhere");
    host.run(&format!("snapshot . {}", word(&elsewhere.path("file.txt")))).ok();
    let inside = host.path("").canonicalize().expect("a path");
    let inside = inside.strip_prefix("/").expect("an absolute path").display().to_string();
    host.run("snapshot a/../other").ok();
    let listed = host.run("ls -R latest").ok().stdout;
    assert!(listed.contains(&format!("{inside}/other/out.txt")), "{listed}");
    assert!(!listed.contains("in.txt"), "{listed}");
    host.run("snapshot a/..").ok();
    let listed = host.run("ls -R latest").ok().stdout;
    assert!(listed.contains("a/in.txt") && listed.contains("other/out.txt"), "{listed}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_place_without_folders_is_no_damage() {
    let host = Host::new();
    write(&host.path("photos/a.jpg"), "a");
    let line = "--repo /proc/photos snapshot --init photos";
    host.run(line).fails(1, &["/proc/photos: no folder can be created here"]);
}
