//! Restores into a library in use, as seen by its photographer.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::support::{Host, Ran, copy_program, is_root, left_out, word, write};

/// Archives a library `photos` with a shoot of some sidecars.
fn archived() -> Host {
    let mut host = Host::new();
    for number in 0..3 {
        write(&host.path(&format!("photos/shoot/{number}.xmp")), format!("sidecar {number}"));
    }
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host
}

/// Runs a command with a low limit of open files.
fn with_open_files(host: &Host, line: &str, limit: u32) -> Ran {
    let program = host.command(line);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
        .arg(program.get_program());
    shell
        .args(program.get_args())
        .env_clear()
        .current_dir(program.get_current_dir().expect("a folder"));
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::new(line, &shell.output().expect("a shell"))
}

#[test]
fn few_open_files_are_enough() {
    let host = Host::new();
    for number in 0..1500 {
        write(&host.path(&format!("photos/{}/{number}.xmp", number % 200)), format!("{number}"));
    }
    let deep = vec!["d"; 700].join("/");
    write(&host.path(&format!("photos/{deep}/photo")), "deep");
    host.run("snapshot --init photos").ok();
    for limit in [512, 256] {
        let target = format!("out-{limit}");
        let line = format!("restore latest:photos --target {target} --verify");
        let ran = with_open_files(&host, &line, limit).ok();
        assert!(ran.stdout.starts_with("restored 1501 files"), "{ran:#?}");
        assert!(host.path(&format!("{target}/{deep}/photo")).exists());
    }
}

#[test]
fn a_symlink_in_the_way_is_explained() {
    let host = archived();
    host.run("restore latest:photos --target out").ok();
    fs::rename(host.path("out/shoot"), host.path("disk")).expect("moved");
    symlink(host.path("disk"), host.path("out/shoot")).expect("a symlink");
    fs::remove_file(host.path("disk/1.xmp")).expect("removed");
    let line = "restore latest:photos --target out --overwrite always";
    let told = host.run(line).exits(1);
    for word in ["out/shoot", "symlink", "hint: --follow-target-links"] {
        assert!(told.stderr.contains(word), "{told:#?}");
    }
    assert!(host.path("out/shoot").is_symlink() && !host.path("disk/1.xmp").exists());
    host.run(&format!("{line} --follow-target-links")).ok();
    assert!(host.path("out/shoot").is_symlink() && host.path("disk/1.xmp").exists());
}

#[test]
fn a_failed_restore_is_not_answered_with_itself() {
    let host = archived();
    fs::create_dir_all(host.path("out/shoot/1.xmp")).expect("a folder");
    for how in ["never", "if-changed", "always"] {
        let told = host.run(&format!("restore latest:photos --target out --overwrite {how}"));
        let hint = told.stderr.lines().find(|line| line.starts_with("hint:"));
        if how == "never" {
            assert!(told.code == 0 && hint.is_none(), "{told:#?}");
            continue;
        }
        let hint = hint.unwrap_or_else(|| panic!("{told:#?}"));
        assert!(told.code == 1 && !hint.contains("again") && !hint.contains(how), "{told:#?}");
    }
    let told = host.run("ls latest:nothing").fails(4, &["nothing"]);
    assert!(!told.stderr.contains("`icecore ls"), "{told:#?}");
    let told = host.run("jobs 12345678").fails(4, &["12345678"]);
    assert!(!told.stderr.contains("`icecore jobs"), "{told:#?}");
}

#[test]
fn a_cache_that_cannot_be_used_stops_nothing_that_reads() {
    let mut host = archived();
    let temp = host.path("temp");
    fs::create_dir(&temp).expect("a folder");
    host.set("TMPDIR", &temp.to_string_lossy());
    // Even root cannot create a folder in a file.
    write(&host.path("file"), "no folder");
    host.set("ICECORE_CACHE_DIR", &host.path("file/cache").to_string_lossy());
    for line in [
        "restore latest:photos --target out",
        "ls latest:photos",
        "find 1.xmp",
        "dump latest:photos/shoot/1.xmp",
        "snapshots",
        "jobs",
        "check --read-data",
    ] {
        let ran = host.run(line).ok();
        assert!(ran.stderr.contains("--cache-dir"), "{ran:#?}");
        assert_eq!(ran.stderr.matches("temporary").count(), 1, "{ran:#?}");
        let left: Vec<_> = fs::read_dir(&temp).expect("a folder").collect();
        assert!(left.is_empty(), "{line}: {left:?}");
    }
    assert_eq!(fs::read_to_string(host.path("out/shoot/1.xmp")).expect("a file"), "sidecar 1");
    host.run("snapshot photos").fails(1, &["--cache-dir"]);
}

#[test]
fn a_temporary_cache_knows_how_far_the_log_went() {
    if is_root() {
        return left_out("a cache that is read-only", "root may write everywhere");
    }
    let mut host = archived();
    let before = host.copy();
    write(&host.path("photos/new"), "new");
    host.run("snapshot photos").ok();
    host.run("snapshots").ok();
    host.remove("repo");
    let moved = fs::rename(before.path("repo"), host.path("repo"));
    moved.expect("the older archive is put in its place");
    let cache = host.path("cache");
    let folders: Vec<_> = fs::read_dir(&cache).expect("a folder").flatten().collect();
    let set = |mode| {
        for folder in &folders {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("a mode");
        }
    };
    host.set("TMPDIR", &host.path("").to_string_lossy());
    set(0o555);
    let told = host.run("restore latest:photos --target out");
    set(0o755);
    told.fails(22, &["older than when this computer last used it"]);
}

#[test]
fn back_to_where_it_was() {
    let mut host = archived();
    let photos = host.path("photos").canonicalize().expect("a path");
    let photos = word(&photos);
    // The existing snapshot was given a relative path, and records where that was.
    let sidecar = |number: u32| host.path(&format!("photos/shoot/{number}.xmp"));
    fs::remove_file(sidecar(0)).expect("removed");
    fs::write(sidecar(1), "my edit").expect("a file");
    let before = fs::metadata(host.path("photos/shoot")).expect("a folder");
    let ran = host.run("restore latest --to-original").ok();
    assert!(ran.stderr.contains("1 existing file"), "{ran:#?}");
    assert!(sidecar(0).exists());
    assert_eq!(fs::read_to_string(sidecar(1)).expect("a file"), "my edit");
    host.run(&format!("restore latest:{photos}/shoot/1.xmp --to-original --overwrite always")).ok();
    assert_eq!(fs::read_to_string(sidecar(1)).expect("a file"), "sidecar 1");
    fs::remove_dir_all(host.path("photos")).expect("removed");
    host.run("restore latest --to-original --plan").ok();
    assert!(!host.path("photos").exists());
    host.run(&format!("restore latest:{photos}/shoot/2.xmp --to-original")).ok();
    assert!(sidecar(2).exists() && !sidecar(1).exists());
    assert_eq!(fs::metadata(host.path("photos/shoot")).expect("a folder").mode(), before.mode());
    host.run("restore latest --to-original --target out").exits(2);
    host.run(&format!("snapshot --host elsewhere {photos}")).ok();
    host.run("restore latest --to-original").fails(2, &["elsewhere", "--target /"]);
    // A refusal names this host as its snapshots do.
    host.set("ICECORE_HOST", "studio");
    host.run("restore latest --to-original").fails(2, &["elsewhere", "this host is studio"]);
}

/// Runs a copy of the program as a user who is not root; returns `None` if that is not possible
/// here.
fn as_nobody(host: &Host, line: &str) -> Option<Ran> {
    let program = host.command(line);
    let mut command = Command::new(host.path("program"));
    command.args(program.get_args()).env_clear().uid(NOBODY).gid(NOBODY);
    command.current_dir(host.path("")).stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(Ran::new(line, &command.output().ok()?))
}

const NOBODY: u32 = 65_534;

#[test]
fn read_only_folders_of_ones_own_are_written_into_and_stay_read_only() {
    let what = "read-only folders of a plain user";
    if !is_root() {
        return left_out(what, "only root can become a user that is not root");
    }
    let host = Host::new();
    copy_program(&host.path("program"));
    let set = |name: &str, mode| {
        fs::set_permissions(host.path(name), Permissions::from_mode(mode)).expect("a mode");
    };
    set("", 0o777);
    set("password", 0o644);
    for name in ["2024/deep/1.xmp", "2024/2.xmp", "closed/3.xmp"] {
        write(&host.path(&format!("photos/{name}")), name);
    }
    let names =
        ["", "2024", "2024/deep", "2024/deep/1.xmp", "2024/2.xmp", "closed", "closed/3.xmp"];
    for name in names {
        let path = host.path(&format!("photos/{name}"));
        std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("an owner");
    }
    set("photos/2024", 0o555);
    set("photos/2024/deep", 0o555);
    let run = |line: &str| as_nobody(&host, line);
    let Some(taken) = run("snapshot --init photos") else {
        return left_out(what, "the temporary folder is closed to others");
    };
    taken.ok();
    let run = |line: &str| run(line).expect("it has run before");
    run("restore latest:photos --target out").ok();
    fs::remove_file(host.path("out/2024/deep/1.xmp")).expect("removed");
    fs::remove_file(host.path("out/closed/3.xmp")).expect("removed");
    set("out/closed", 0o000);
    let look = |name: &str| {
        let found = fs::metadata(host.path(name)).expect("a folder");
        (found.mode() & 0o7777, found.mtime(), found.mtime_nsec())
    };
    let folders = ["out", "out/2024", "out/2024/deep", "out/closed"];
    let before = folders.map(look);
    run("restore latest:photos --target out --overwrite if-changed").ok();
    assert_eq!(folders.map(look), before);
    for name in ["2024/deep/1.xmp", "2024/2.xmp", "closed/3.xmp"] {
        let found = fs::read_to_string(host.path(&format!("out/{name}"))).expect("a file");
        assert_eq!(found, name);
    }
    write(&host.path("out/2024/deep/extra/file"), "extra");
    std::os::unix::fs::chown(host.path("out/2024/deep/extra"), Some(NOBODY), Some(NOBODY))
        .expect("an owner");
    set("out/2024/deep/extra", 0o555);
    run("restore latest:photos --target out --overwrite always --delete").ok();
    assert!(!host.path("out/2024/deep/extra").exists());
    assert_eq!(look("out/2024/deep").0, 0o555);
}

#[test]
fn a_pattern_from_the_restored_folder_on_protects_what_is_there() {
    let mut host = Host::new();
    for year in [2023, 2024] {
        write(&host.path(&format!("photos/{year}/IMG_1.xmp")), year.to_string());
    }
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.run("restore latest:photos --target out").ok();
    let there = word(&host.path("out/own").canonicalize().unwrap_or(host.path("out/own")));
    let own = host.path("out/own/deep/a.jpg");
    for pattern in ["/own", "/own/", "own/**", "/own/deep/a.jpg", &there, "./out/own"] {
        write(&own, "mine");
        write(&host.path("out/more/b.jpg"), "not mine");
        let line = "restore latest:photos --target out --overwrite if-changed --delete --exclude";
        host.run(&format!("{line} {pattern}")).ok();
        assert!(own.exists(), "{pattern}");
        assert!(!host.path("out/more").exists(), "{pattern}");
    }
    // The pattern also leaves out files of the snapshot.
    host.run("restore latest:photos --target without --exclude /2024").ok();
    assert!(host.path("without/2023").exists() && !host.path("without/2024").exists());
    host.run("restore latest:photos --target one --include /2024").ok();
    assert!(!host.path("one/2023").exists() && host.path("one/2024").exists());
}
