//! Permissions of the files that the program creates on its host: only the owner can read and write them, whatever the
//! umask; in a shared repository, its group can as well. Others can neither read nor replace them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use icecore_testkit::S3Server;

use crate::support::{Host, PASSWORD, Ran, copy_program, is_root, left_out, write};

const NOBODY: u32 = 65_534;
/// A group id that no system uses.
const GROUP: u32 = 54_321;

/// Runs a command under a umask.
fn under(host: &Host, umask: &str, line: &str) -> Ran {
    let command = host.command(line);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    shell.current_dir(host.path("")).stdin(Stdio::null());
    Ran::new(line, &shell.output().expect("the shell starts"))
}

/// Returns everything at and below a path, with its mode.
fn modes(path: &Path) -> Vec<(PathBuf, u32)> {
    let stat = fs::symlink_metadata(path).expect("it is there");
    let mut found = vec![(path.to_owned(), stat.mode() & 0o7777)];
    if stat.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            found.extend(modes(&entry.expect("an entry").path()));
        }
    }
    found
}

/// Fails if other users have a permission on one of these.
#[track_caller]
fn assert_private(host: &Host, names: &[&str]) {
    for (path, mode) in names.iter().flat_map(|name| modes(&host.path(name))) {
        assert_eq!(mode & 0o077, 0, "{path:?} has mode {mode:o}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own file");
}

fn only(folder: &Path) -> PathBuf {
    let mut entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries.next().expect("one entry")
}

fn archived() -> Host {
    let host = Host::new();
    write(&host.path("photos/IMG_1.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    host
}

#[test]
fn nothing_is_open_to_others_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let host = Host::new();
        write(&host.path("photos/IMG_1.jpg"), "a photo");
        let life = [
            "init --parity 10",
            "snapshot photos",
            "key add --new-password-file password2",
            "key export --output identity",
            "restore latest --target out",
            "check --read-data --repair",
            "rebuild-index",
            "prune --now --keep-last 1",
        ];
        write(&host.path("password2"), "another password\n");
        for line in life {
            under(&host, umask, line).ok();
            write(&host.path("photos/IMG_2.jpg"), line);
        }
        under(&host, umask, "snapshot photos").ok();
        assert_private(&host, &["config", "cache", "repo", "identity"]);
    }
}

#[test]
fn nothing_of_a_job_is_open_to_others() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    write(&host.path("photos/IMG_1.CR3"), icecore_testkit::photos::bytes(1, 3_000_000));
    under(&host, "000", "snapshot --init photos").ok();
    host.export_identity();
    under(&host, "000", "restore latest --target out --detach --max-cost 100").exits(20);
    assert_private(&host, &["config", "cache", "identity"]);
}

#[test]
fn a_repository_that_a_group_shares_is_open_to_that_group() {
    for (mode, umask) in [(0o2770, "077"), (0o770, "022"), (0o2775, "000"), (0o750, "077")] {
        let host = Host::new();
        let repo = host.path("repo");
        fs::create_dir(&repo).expect("a folder");
        let group = if is_root() { GROUP } else { fs::metadata(&repo).expect("it").gid() };
        chown(&repo, None, Some(group)).expect("our own folder");
        set_mode(&repo, mode);
        write(&host.path("photos/IMG_1.jpg"), "a photo");
        under(&host, umask, "snapshot --init photos").ok();
        assert_private(&host, &["config", "cache"]);
        for (path, found) in modes(&repo).into_iter().skip(1) {
            let stat = fs::metadata(&path).expect("it is there");
            let wanted = if stat.is_dir() { mode & 0o070 } else { 0o040 };
            assert_eq!(found & 0o077, wanted, "{path:?} has mode {found:o} in {mode:o}");
            assert_eq!(
                (stat.gid(), stat.is_dir() && mode & 0o2000 != 0),
                (group, found & 0o2000 != 0)
            );
        }
        if mode & 0o020 != 0 {
            member_works_with_it(&host, mode & 0o7777);
        }
    }
}

/// Another user of the group takes a snapshot and restores.
fn member_works_with_it(host: &Host, mode: u32) {
    if !is_root() {
        return left_out("another member of the group", "only root can run as another user");
    }
    let other = tempfile::tempdir().expect("a folder");
    let program = other.path().join("icecore");
    copy_program(&program);
    write(&other.path().join("photos/IMG_2.jpg"), format!("a photo under {mode:o}"));
    fs::write(other.path().join("password"), PASSWORD).expect("a file");
    for path in modes(other.path()).into_iter().map(|(path, _)| path) {
        chown(&path, Some(NOBODY), Some(GROUP)).expect("root can");
    }
    set_mode(&host.path(""), 0o711);
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).env_clear().current_dir(other.path()).uid(NOBODY).gid(GROUP);
        command
            .env("ICECORE_REPOSITORY", host.path("repo"))
            .env("ICECORE_PASSWORD_FILE", "password");
        command.env("HOME", other.path()).env("ICECORE_CONFIG_DIR", "config");
        command.env("ICECORE_CACHE_DIR", "cache").stdin(Stdio::null());
        Ran::new(&args.join(" "), &command.output().expect("it starts")).ok()
    };
    run(&["snapshot", "photos"]);
    run(&["restore", "latest", "--target", "out"]);
    run(&["check", "--read-data"]);
    run(&["prune", "--keep-last", "1"]);
    // The first user continues with the files that the other has written.
    host.run("snapshot photos").ok();
    host.run("check --read-data").ok();
}

#[test]
fn what_root_creates_in_the_folder_of_a_user_belongs_to_that_user() {
    if !is_root() {
        return left_out("the folder of another user", "only root can give files away");
    }
    let host = Host::new();
    fs::create_dir(host.path("repo")).expect("a folder");
    set_mode(&host.path("repo"), 0o700);
    chown(host.path("repo"), Some(NOBODY), None).expect("root can");
    write(&host.path("photos/IMG_1.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    for (path, mode) in modes(&host.path("repo")).into_iter().skip(1) {
        let owner = fs::metadata(&path).expect("it is there").uid();
        assert_eq!((owner, mode & 0o077), (NOBODY, 0), "{path:?}");
    }
}

#[test]
fn what_an_older_version_left_open_is_closed() {
    let host = archived();
    let wide = ["config", "cache"].iter().flat_map(|name| modes(&host.path(name)));
    for (path, _) in wide.collect::<Vec<_>>() {
        set_mode(&path, if path.is_dir() { 0o777 } else { 0o666 });
    }
    for (path, mode) in modes(&host.path("repo")) {
        set_mode(&path, mode | 0o055);
    }
    // Anyone could have forged this catalog.
    let catalog = only(&host.path("cache")).join("catalog.sqlite");
    fs::write(&catalog, "forged").expect("a file");
    host.run("snapshot photos").ok();
    assert_private(&host, &["cache", "config/credentials"]);
    host.run("rebuild-index").ok();
    let config = fs::metadata(host.path("config")).expect("it is there").mode();
    assert_eq!(config & 0o022, 0, "a profile there may be read, not written");
    let keys = fs::metadata(host.path("repo/keys")).expect("it is there").mode();
    assert_eq!(keys & 0o077, 0, "{keys:o}: who can read a key slot can guess passwords");
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    let host = archived();
    // The folder contains other files, so icecore must not change its permissions.
    write(&host.path("cache/thesis.txt"), "something else");
    write(&host.path("config/thesis.txt"), "something else");
    set_mode(&host.path("cache"), 0o777);
    host.run("snapshots").fails(1, &["other users can write to it", "--cache-dir"]);
    set_mode(&host.path("cache"), 0o1777);
    host.run("snapshots").ok();
    set_mode(&host.path("config"), 0o775);
    host.run("snapshot photos").fails(1, &["other users can write to it", "--config-dir"]);
    assert_eq!(modes(&host.path("config"))[0].1, 0o775);
    host.remove("config/thesis.txt");
    host.run("snapshot photos").ok();
    // A profile names commands to run.
    write(&host.path("config/night.toml"), "password-command = 'echo wrong'\n");
    set_mode(&host.path("config/night.toml"), 0o666);
    host.run("-P night snapshots").ok();
    assert_eq!(modes(&host.path("config/night.toml"))[0].1, 0o644);
    if !is_root() {
        return left_out("files of another user", "only root can give files away");
    }
    for (name, line) in [
        ("cache", "snapshot photos"),
        ("config", "snapshot photos"),
        ("config/credentials", "snapshot photos"),
        ("config/night.toml", "-P night snapshots"),
    ] {
        chown(host.path(name), Some(NOBODY), None).expect("root can");
        host.run(line).fails(1, &["belongs to another user", "chown"]);
        chown(host.path(name), Some(0), None).expect("root can");
    }
    let credential = only(&host.path("config/credentials"));
    chown(&credential, Some(NOBODY), None).expect("root can");
    host.run("snapshot photos").fails(1, &["belongs to another user", "chown"]);
    chown(&credential, Some(0), None).expect("root can");
    host.remove("cache/thesis.txt");
    chown(only(&host.path("cache")), Some(NOBODY), None).expect("root can");
    host.run("snapshot photos").exits(1);
}

#[test]
fn nothing_is_written_through_a_link() {
    let host = archived();
    let victim = host.path("victim");
    fs::write(&victim, "precious").expect("a file");
    let catalog = only(&host.path("cache"));
    let credential = only(&host.path("config/credentials"));
    let id = catalog.file_name().and_then(|name| name.to_str()).expect("an id").to_owned();
    let part = credential.with_file_name(format!("{id}.part"));
    let names =
        ["writer.lock", "catalog.lock", "catalog.sqlite", "catalog.sqlite-wal", "catalog.new"];
    for content in ["precious", ""] {
        fs::write(&victim, content).expect("a file");
        for name in names.iter().chain(&["catalog.sqlite-shm", "catalog.new.chunks"]) {
            let path = catalog.join(name);
            let _ = fs::remove_file(&path);
            symlink(&victim, &path).expect("a link");
        }
        write(&host.path("photos/IMG_2.jpg"), format!("{content} more"));
        host.run("snapshot photos").ok();
        host.run("rebuild-index").ok();
        assert_eq!(fs::read_to_string(&victim).expect("a file"), content);
    }
    fs::remove_file(&credential).expect("our own");
    symlink(&victim, &part).expect("a link");
    host.run("snapshot photos").ok();
    assert!(fs::symlink_metadata(&part).is_err(), "what is left of a killed run is removed");
    fs::remove_file(&credential).expect("our own");
    fs::write(&part, "").expect("a file");
    set_mode(&part, 0o666);
    host.run("snapshot photos").ok();
    symlink(&victim, host.path("identity")).expect("a link");
    host.run("key export --output identity").fails(1, &["already exists"]);
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "");
    assert_private(&host, &["config", "cache"]);
}

/// Another user who opened a lock while it was readable cannot block a run.
#[test]
fn a_lock_of_another_user_stops_no_run() {
    if !is_root() {
        return left_out("a lock of another user", "only root can run as another user");
    }
    let host = archived();
    let lock = only(&host.path("cache")).join("writer.lock");
    for folder in [host.path(""), host.path("cache"), only(&host.path("cache"))] {
        set_mode(&folder, 0o755);
    }
    set_mode(&lock, 0o644);
    let holder = Command::new("flock")
        .arg(&lock)
        .args(["sh", "-c", "echo locked; exec cat"])
        .uid(NOBODY)
        .gid(NOBODY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut holder) = holder else {
        return left_out("a lock of another user", "there is no `flock` here");
    };
    let mut said = [0; 7];
    let stdout = holder.stdout.as_mut().expect("a pipe");
    std::io::Read::read_exact(stdout, &mut said).expect("it has the lock");
    let inode = format!(":{} ", fs::metadata(&lock).expect("it is there").ino());
    let listed = fs::read_to_string("/proc/locks").is_ok_and(|locks| locks.contains(&inode));
    if listed {
        host.run("snapshot --lock-wait 2m photos").ok();
        assert_private(&host, &["cache"]);
    } else {
        left_out("a lock of another user", "the system does not say who has a lock");
    }
    holder.kill().expect("our own child");
    holder.wait().expect("it ends");
}

/// A core dump would contain the password.
#[test]
fn no_core_is_dumped() {
    let host = archived();
    let ask = "cat /proc/$PPID/limits /proc/$PPID/coredump_filter >facts; cat password";
    let mut add = host.command("key add --new-password-file photos/IMG_1.jpg");
    add.env_remove("ICECORE_PASSWORD_FILE").env("ICECORE_PASSWORD_COMMAND", ask);
    Ran::new("key add", &add.output().expect("it starts")).ok();
    let facts = fs::read_to_string(host.path("facts")).expect("the command has run");
    if facts.is_empty() {
        return left_out("no core dump", "there is no /proc here");
    }
    let core = facts.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.expect("a limit").split_ascii_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"]);
    assert_eq!(facts.lines().last(), Some("00000000"));
}
