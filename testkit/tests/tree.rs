//! The oracle must notice every kind of damage: each test damages one thing and reads the report.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use filetime::FileTime;
use icecore_testkit::tree::{Kind, assert_same, assert_same_as, differences, node_of, snapshot_of};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Builds a tree with one entry of each kind, the same on every call.
fn build(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deep")).expect("folders");
    fs::write(dir.join("plain"), "content").expect("a file");
    fs::write(dir.join("sub/linked"), "two names").expect("a file");
    fs::hard_link(dir.join("sub/linked"), dir.join("again")).expect("a link");
    symlink("sub/../plain", dir.join("pointer")).expect("a link");
    symlink("nowhere", dir.join("dangling")).expect("a link");
    mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).expect("a pipe");
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not\xffutf8\n");
    fs::write(dir.join(odd), "").expect("a file with an odd name");
    settle(dir);
}

/// Gives every entry the same times, folders last, since their content changes them.
fn settle(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.symlink_metadata().expect("metadata").is_dir() {
            settle(&path);
        }
        let time = FileTime::from_unix_time(1_600_000_000, 123_456_789);
        filetime::set_symlink_file_times(&path, time, time).expect("times");
    }
}

fn pair() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    build(&a);
    build(&b);
    (dir, a, b)
}

/// Damages the second of two equal trees, and returns the report. Resets the times first if
/// `keep_times` is true.
fn report(damage: impl FnOnce(&Path), keep_times: bool) -> Vec<String> {
    let (_dir, a, b) = pair();
    assert_same(&a, &b);
    damage(&b);
    if keep_times {
        settle(&b);
    }
    let lines = differences(&snapshot_of(&a), &snapshot_of(&b));
    let panics = std::panic::catch_unwind(|| assert_same(&a, &b)).is_err();
    assert_eq!(panics, !lines.is_empty());
    lines
}

#[test]
fn one_of_everything_is_described() {
    let (_dir, a, _) = pair();
    let all = snapshot_of(&a);
    let kind = |path: &str| all[path.as_bytes()].kind;
    assert_eq!(all.len(), 9);
    assert_eq!(kind("sub/deep"), Kind::Dir);
    assert_eq!(kind("pipe"), Kind::Fifo);
    assert_eq!(kind("dangling"), Kind::Symlink);
    let plain = &all[&b"plain"[..]];
    assert_eq!((plain.size, plain.mtime_ns), (7, 1_600_000_000_123_456_789));
    assert_eq!(plain.content, Some(blake3::hash(b"content")));
    assert!(plain.hardlinks.is_empty() && plain.allocated > 0);
    let group = [b"again".to_vec(), b"sub/linked".to_vec()];
    assert_eq!(all[&b"again"[..]].hardlinks, group);
    assert_eq!(all[&b"pointer"[..]].target.as_deref(), Some(&b"sub/../plain"[..]));
    assert!(all.contains_key(&b"not\xffutf8\n"[..]));
    assert_eq!(node_of(a.join("plain")), *plain);
}

#[test]
fn every_kind_of_damage_is_seen() {
    let old = FileTime::from_unix_time(-5, 999_999_999);
    let same = report(|_| {}, false);
    assert_eq!(same, [""; 0]);
    let lines = report(|b| fs::write(b.join("plain"), "CONTENT").expect("write"), true);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("\"plain\": content "), "{lines:?}");
    let lines = report(|b| fs::remove_file(b.join("plain")).expect("remove"), true);
    assert_eq!(lines, ["\"plain\": missing (File)"]);
    let lines = report(|b| fs::write(b.join("new"), "").expect("write"), true);
    assert_eq!(lines, ["\"new\": not expected (File)"]);
    let mode = |b: &Path| fs::set_permissions(b.join("sub"), fs::Permissions::from_mode(0o2750));
    let lines = report(|b| mode(b).expect("mode"), false);
    assert!(lines[0].ends_with(" became 2750"), "{lines:?}");
    let lines = report(
        |b| filetime::set_symlink_file_times(b.join("pointer"), old, old).expect("times"),
        false,
    );
    assert_eq!(lines, ["\"pointer\": mtime 1600000000.123456789 became -5.999999999"]);
    let lines =
        report(|b| filetime::set_file_mtime(b.join("sub/deep"), old).expect("times"), false);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let relink = |b: &Path| {
        fs::remove_file(b.join("pointer")).expect("remove");
        symlink("plain", b.join("pointer")).expect("a link");
    };
    let lines = report(relink, true);
    assert_eq!(lines, ["\"pointer\": link target \"sub/../plain\" became \"plain\""]);
    let unlink = |b: &Path| {
        fs::remove_file(b.join("again")).expect("remove");
        fs::copy(b.join("sub/linked"), b.join("again")).expect("copy");
    };
    let lines = report(unlink, true);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("hard links [\"again\", \"sub/linked\"] became []"));
    let retype = |b: &Path| {
        fs::remove_file(b.join("pipe")).expect("remove");
        drop(UnixListener::bind(b.join("pipe")).expect("a socket"));
    };
    assert_eq!(report(retype, true), ["\"pipe\": kind Fifo became Socket"]);
}

#[test]
fn attributes_are_compared_where_there_are_any() {
    let (_dir, a, b) = pair();
    let name = "user.icecore.test";
    if let Err(error) = xattr::set(a.join("plain"), name, b"one") {
        println!("left out: no extended attributes here: {error}");
        return;
    }
    let lines = differences(&snapshot_of(&a), &snapshot_of(&b));
    assert_eq!(lines, ["\"plain\": xattr \"user.icecore.test\" \"one\" became nothing"]);
    xattr::set(b.join("plain"), name, b"\xff").expect("set");
    let lines = differences(&snapshot_of(&a), &snapshot_of(&b));
    assert_eq!(lines, ["\"plain\": xattr \"user.icecore.test\" \"one\" became b\"\\xff\""]);
    xattr::set(b.join("plain"), name, b"one").expect("set");
    assert_same(&a, &b);
}

#[test]
fn a_tree_can_be_compared_with_its_past() {
    let (_dir, a, b) = pair();
    let before = snapshot_of(&a);
    fs::remove_dir_all(&a).expect("remove");
    assert_same_as(&before, &b);
}
