//! Sources that are hard to read: every readable part is archived, and the rest is reported.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use icecore_testkit::inject::Calls;
use icecore_testkit::photos;
use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};

use crate::denied::refused;
use crate::support::{Host, Ran, left_out, write};

const LINE: &str = "snapshot photos";

/// Returns a host with two photos in a snapshot.
fn two_photos() -> Host {
    let mut host = Host::new();
    write(&host.path("photos/a/1.CR3"), photos::bytes(1, 30_000));
    write(&host.path("photos/a/2.CR3"), photos::bytes(2, 30_000));
    host.run("init").ok();
    host.export_identity();
    host
}

/// Returns whether the newest snapshot has both photos.
fn has_both(host: &Host) -> bool {
    let listed = host.run("ls -R latest:photos").ok().stdout;
    listed.contains("1.CR3") && listed.contains("2.CR3")
}

#[test]
fn attributes_that_cannot_be_listed_cost_no_photo() {
    for error in [Errno::EACCES, Errno::EPERM, Errno::E2BIG, Errno::EIO, Errno::ERANGE] {
        let host = two_photos();
        // The second night is like the first: it must not look successful although nothing has changed.
        for (unmodified, photo) in [(0, "photos/a/1.CR3"), (2, "photos/a/1.CR3"), (2, "photos/a")] {
            let photo = host.path(photo);
            let line = format!("--json {LINE}");
            let ran = refused(&host, &line, &photo, Calls::AttributeNames, error).exits(3);
            assert!(ran.stdout.contains("cannot list its extended attributes"), "{ran:#?}");
            assert_eq!(ran.summary()["files_unmodified"], unmodified, "{ran:#?}");
            assert!(has_both(&host), "{error}: {ran:#?}");
        }
        host.run(LINE).ok();
        host.restores("latest", &host.state("photos"));
    }
}

#[test]
fn an_attribute_that_cannot_be_read_costs_no_other() {
    let host = two_photos();
    let photo = host.path("photos/a/1.CR3");
    if let Err(error) = xattr::set(&photo, "user.rating", b"5") {
        return left_out("attributes that cannot be read", &error.to_string());
    }
    for number in 0..5 {
        xattr::set(host.path("photos/a"), format!("user.{number}"), b"x").expect("an attribute");
    }
    for error in [Errno::EACCES, Errno::EPERM, Errno::E2BIG, Errno::EIO] {
        let ran = refused(&host, LINE, &photo, Calls::AttributeValues, error).exits(3);
        let named = ran.stderr.contains("cannot read an extended attribute (\"user.rating\": ");
        assert!(named && has_both(&host), "{ran:#?}");
    }
    let ran = refused(
        &host,
        "snapshot --force photos",
        &host.path("photos/a"),
        Calls::AttributeValues,
        Errno::EIO,
    );
    let told = ran.exits(3);
    assert!(told.stderr.contains("cannot read 5 extended attributes (\"user.0\""), "{told:#?}");
    // A file system that does not support attributes, or this kind of them, cannot lose any.
    for calls in [Calls::AttributeNames, Calls::AttributeValues] {
        refused(&host, "snapshot --force photos", &photo, calls, Errno::EOPNOTSUPP).ok();
    }
    write(&host.path("photos/a/3.CR3"), photos::bytes(3, 30_000));
    host.run(LINE).ok();
    host.run("restore latest:photos --target out").ok();
    let value = xattr::get(host.path("out/a/1.CR3"), "user.rating").expect("it can be read");
    assert_eq!(value.as_deref(), Some(&b"5"[..]));
}

/// Like Samba's oplocks: the first open requests the release of the lease, and a later one finds it released.
#[test]
fn a_lease_is_waited_for() {
    let host = two_photos();
    let photo = host.path("photos/a/1.CR3");
    let once = icecore_testkit::inject::Lasts::Once;
    let ran = crate::denied::refused_for(&host, LINE, &photo, Calls::Opens, Errno::EAGAIN, once);
    ran.ok();
    assert!(has_both(&host));
    // The disk that still has the photos may be a network share as well.
    let line = "audit photos";
    crate::denied::refused_for(&host, line, &photo, Calls::Opens, Errno::EAGAIN, once).ok();
}

/// Creates nested folders below `top`, with a photo and a link in the last one.
fn nest(top: &Path, name: &str, levels: usize) {
    let mut folder = rustix::fs::open(top, OFlags::PATH, Mode::empty()).expect("a folder");
    for _ in 0..levels {
        rustix::fs::mkdirat(&folder, name, Mode::RWXU).expect("a folder");
        folder = rustix::fs::openat(&folder, name, OFlags::PATH, Mode::empty()).expect("a folder");
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let photo = rustix::fs::openat(&folder, "photo", flags, Mode::RUSR).expect("a file");
    File::from(photo).write_all_at(b"deep", 0).expect("written");
    rustix::fs::symlinkat("photo", &folder, "link").expect("a link");
}

/// Reads the photo that `nest` created.
fn nested(top: &Path, name: &str, levels: usize) -> Vec<u8> {
    let mut folder = rustix::fs::open(top, OFlags::PATH, Mode::empty()).expect("a folder");
    for _ in 0..levels {
        folder = rustix::fs::openat(&folder, name, OFlags::PATH, Mode::empty()).expect("a folder");
    }
    assert_eq!(
        rustix::fs::readlinkat(&folder, "link", Vec::new()).expect("a link").to_bytes(),
        b"photo"
    );
    let photo =
        rustix::fs::openat(&folder, "photo", OFlags::RDONLY, Mode::empty()).expect("a file");
    let mut bytes = vec![0; 4];
    File::from(photo).read_exact_at(&mut bytes, 0).expect("read");
    bytes
}

#[test]
fn a_path_may_be_longer_than_the_system_takes() {
    for (name, levels) in [("b".repeat(200), 25), ("c".repeat(30), 300)] {
        let host = two_photos();
        fs::create_dir(host.path("photos/deep")).expect("a folder");
        nest(&host.path("photos/deep"), &name, levels);
        let taken = host.run("--json snapshot photos").ok().summary();
        assert_eq!((&taken["files_new"], &taken["files_failed"]), (&3.into(), &0.into()));
        let again = host.run("--json snapshot photos").ok().summary();
        assert_eq!(again["files_unmodified"], 3, "{again}");
        host.run("restore latest:photos --target out").ok();
        assert_eq!(nested(&host.path("out/deep"), &name, levels), b"deep");
        // Run all commands that read local folders or show archived paths.
        host.run("audit photos").ok();
        let seeded = host.run("--json restore latest:photos --target again --seed photos").ok();
        assert_eq!(seeded.summary()["files"], 3, "{seeded:#?}");
        let found = host.run("find photo").ok().stdout;
        assert!(found.contains(&format!("{name}/photo")), "{} bytes", found.len());
        host.run("check").ok();
    }
}

/// A reader accepts 2,048 nested folders. Deeper ones would make the archive look damaged.
#[test]
fn what_no_reader_reaches_is_named_and_not_archived() {
    let host = two_photos();
    fs::create_dir(host.path("photos/deep")).expect("a folder");
    nest(&host.path("photos/deep"), "d", 2100);
    for _ in 0..2 {
        let ran = host.run(LINE).exits(3);
        assert!(ran.stderr.contains("more than 2048 folders deep"), "{ran:#?}");
        assert!(has_both(&host));
    }
    host.run("check --read-data").ok();
    host.run("restore latest:photos/a --target out").ok();
    // The standard library cannot remove such deep folders with few descriptors.
    let removed = Command::new("rm").arg("-rf").arg(host.path("photos")).status();
    assert!(removed.is_ok_and(|status| status.success()));
}

/// Runs the program in a namespace with some mounts; returns `None` if that is not permitted.
fn with_mounts(host: &Host, mounts: &str, line: &str) -> Option<Ran> {
    let command = host.command(line);
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--map-root-user", "sh", "-c"]);
    inside.arg(format!("{mounts} && exec \"$0\" \"$@\" || exit 99"));
    inside.arg(command.get_program()).args(command.get_args()).env_clear();
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside.current_dir(host.path(""));
    let output = inside.output().ok()?;
    let refused = output.status.code() == Some(99) || output.stderr.starts_with(b"unshare");
    (!refused).then(|| Ran::new(line, &output))
}

#[test]
fn what_one_file_system_leaves_out_is_listed() {
    let host = two_photos();
    fs::create_dir_all(host.path("photos/vol/share")).expect("a folder");
    write(&host.path("photos/vol/shared.CR3"), "the file below");
    let mounts = "mount -t tmpfs none photos/vol/share && echo x > photos/vol/share/of-another-disk \
        && mkdir photos/vol/share/below";
    let Some(ran) = with_mounts(&host, mounts, "snapshot -x photos") else {
        return left_out("mounts below a source", "this user may not mount here");
    };
    let real = host.path("photos/vol").canonicalize().expect("a path").display().to_string();
    let line = format!("left out, on another file system: {real}/share\n");
    assert!(ran.ok().stdout.contains(&line));
    let listed = host.run("ls -R latest:photos/vol").ok().stdout;
    assert!(
        listed.contains("share") && !listed.contains("of-another") && !listed.contains("below")
    );
    host.run("restore latest:photos --target out").ok();
    assert_eq!(fs::read_dir(host.path("out/vol/share")).expect("a folder").count(), 0);
    // A file can be a mount point as well; then it is not the file of the library.
    let onto_file =
        format!("{mounts} && mount --bind photos/vol/share/of-another-disk photos/vol/shared.CR3");
    let ran =
        with_mounts(&host, &onto_file, "--json snapshot -x photos").expect("it can be mounted");
    let left_out = &ran.ok().summary()["mounts_left_out"];
    assert_eq!(
        left_out,
        &serde_json::json!([format!("{real}/share"), format!("{real}/shared.CR3")])
    );
    // Without -x, or if a pattern leaves the mount out anyway, nothing is reported.
    for line in ["snapshot photos", "snapshot -x -e share* photos"] {
        let ran = with_mounts(&host, mounts, line).expect("it can be mounted").ok();
        assert!(!ran.stdout.contains("left out"), "{ran:#?}");
    }
    // When nothing is mounted any more, the folder is archived with its own content.
    write(&host.path("photos/vol/share/own.CR3"), "under the mount");
    host.run("snapshot -x photos").ok();
    host.restores("latest", &host.state("photos"));
}

#[test]
fn a_profile_says_what_a_share_is_not_asked() {
    let host = two_photos();
    fs::create_dir_all(host.path("config")).expect("a folder");
    fs::write(host.path("config/share.toml"), "ignore-inode = true\nignore-ctime = true\n")
        .expect("a profile");
    host.run("-P share snapshot photos").ok();
    for name in ["1.CR3", "2.CR3"] {
        let (path, copy) = (host.path("photos/a").join(name), host.path("copy"));
        fs::copy(&path, &copy).expect("a copy");
        let modified = fs::metadata(&path).and_then(|stat| stat.modified()).expect("a time");
        File::options()
            .write(true)
            .open(&copy)
            .and_then(|file| file.set_modified(modified))
            .expect("a time");
        fs::rename(&copy, &path).expect("it takes its place");
    }
    let photo = host.path("photos/a/1.CR3");
    let ran = crate::denied::traced(&host, "-P share snapshot photos", &photo, Calls::Opens);
    assert_eq!(ran.1, 0, "{ran:#?}");
    let ran = crate::denied::traced(
        &host,
        "snapshot --force --ignore-inode photos",
        &photo,
        Calls::Opens,
    );
    assert_eq!(ran.1, 1, "{ran:#?}");
}

/// An unmounted disk is reported every night; a folder that its owner emptied is not.
#[test]
fn a_disk_below_a_source_that_is_away_is_missed_until_that_is_accepted() {
    let host = two_photos();
    write(&host.path("photos/a/3.CR3"), photos::bytes(3, 30_000));
    fs::create_dir_all(host.path("photos/vol/disk")).expect("a folder");
    let mounts = "mount -t tmpfs none photos/vol/disk && mkdir photos/vol/disk/new \
        && echo 1 > photos/vol/disk/new/1.CR3 && echo 2 > photos/vol/disk/new/2.CR3 \
        && echo 3 > photos/vol/disk/new/3.CR3";
    let Some(ran) = with_mounts(&host, mounts, LINE) else {
        return left_out("a disk that is away", "this user may not mount here");
    };
    ran.ok();
    let missed = |line: &str| {
        let ran = host.run(line).exits(3);
        let words = "vol/disk: it had 3 files and has none now: is its disk mounted?";
        assert!(ran.stderr.contains(words), "{ran:#?}");
        assert!(ran.stderr.contains("only 3 of the 6 files"), "{ran:#?}");
    };
    missed("-q snapshot photos");
    missed("-q snapshot photos photos/vol/disk");
    missed("-q snapshot --force photos");
    // The disk counts as missing in other sets of sources as well.
    missed("-q snapshot photos identity");
    let ran = host.run("-q snapshot photos/vol").exits(3);
    assert!(ran.stderr.contains("vol/disk: it had 3 files and has none now"), "{ran:#?}");
    host.run("prune --keep-last 1").ok();
    let found = host.run("find 2.CR3").ok().stdout;
    assert!(found.contains("photos/vol/disk/new/2.CR3"), "{found}");
    // A disk that -x leaves out anyway does not count as missing.
    let ran = host.run("snapshot -x photos").ok();
    assert!(ran.stderr.is_empty(), "{ran:#?}");
    missed("-q snapshot photos");
    // A file under the mount point does not hide that the disk is missing.
    write(&host.path("photos/vol/disk/.nomedia"), "");
    let ran = host.run("-q snapshot photos").exits(3);
    assert!(ran.stderr.contains("it had 3 files and has only 1 now"), "{ran:#?}");
    fs::remove_file(host.path("photos/vol/disk/.nomedia")).expect("removed");

    let again = |mounts: &str| with_mounts(&host, mounts, "-q snapshot photos").expect("mounted");
    assert!(again(mounts).ok().stderr.is_empty());
    missed("-q snapshot photos");
    host.run("accept latest").ok();
    assert!(host.run("-q snapshot photos").ok().stderr.is_empty());
    // The owner empties the disk, and then a folder.
    again(mounts).ok();
    again("mount -t tmpfs none photos/vol/disk").ok();
    host.run("-q snapshot photos").ok();
    write(&host.path("photos/vol/own/4.CR3"), photos::bytes(4, 30_000));
    host.run("-q snapshot photos").ok();
    fs::remove_file(host.path("photos/vol/own/4.CR3")).expect("removed");
    host.run("-q snapshot photos").ok();
}

/// If most files of a folder were missing for a night, they are not read again when they are back.
#[test]
fn files_that_were_away_for_a_night_are_not_read_again() {
    let host = Host::new();
    for number in 1..=6 {
        dated(&host.path(&format!("disk/{number}.CR3")), number);
    }
    host.run("-q snapshot --ignore-ctime --init disk").ok();
    let counts = |summary: &serde_json::Value| {
        ["files_new", "files_moved", "files_changed", "files_unmodified"]
            .map(|name| summary[name].as_u64().expect("a number"))
    };
    let back = || counts(&host.run("--json snapshot --ignore-ctime disk").ok().summary());
    // The disk is not mounted, for two nights.
    fs::rename(host.path("disk"), host.path("away")).expect("unmounted");
    fs::create_dir(host.path("disk")).expect("a folder to mount it");
    host.run("-q snapshot --ignore-ctime disk").exits(3);
    host.run("-q snapshot --ignore-ctime disk").exits(3);
    fs::remove_dir(host.path("disk")).expect("removed");
    fs::rename(host.path("away"), host.path("disk")).expect("mounted");
    assert_eq!(back(), [0, 0, 0, 6]);
    // First most of its files are missing, then the others; meanwhile one of them is edited.
    fs::create_dir(host.path("away")).expect("a folder");
    let carry = |numbers: std::ops::RangeInclusive<u64>, from: &str, to: &str| {
        for number in numbers {
            let place = |folder: &str| host.path(&format!("{folder}/{number}.CR3"));
            fs::hard_link(place(from), place(to)).expect("linked");
            fs::remove_file(place(from)).expect("removed");
        }
    };
    carry(1..=4, "disk", "away");
    host.run("-q snapshot --ignore-ctime disk").exits(3);
    carry(5..=6, "disk", "away");
    host.run("-q snapshot --ignore-ctime disk").exits(3);
    dated(&host.path("away/3.CR3"), 30);
    carry(1..=6, "away", "disk");
    assert_eq!(back(), [0, 0, 1, 5]);
}

/// Writes a photo that was changed long before any run.
fn dated(path: &Path, seed: u64) {
    write(path, photos::bytes(seed, 20_000));
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000 + seed);
    File::options().write(true).open(path).and_then(|file| file.set_modified(then)).expect("dated");
}
