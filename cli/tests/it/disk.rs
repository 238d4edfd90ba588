//! A disk that is full, under the repository and under the target: an error that says so, nothing
//! broken left behind, and the same command completes once there is room. And one that loses sectors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore_testkit::tree;

use crate::support::{Host, is_root, left_out, objects, shoot};

/// Bytes of the small disk, and of the file that first takes most of it.
const DISK: &str = "size=24m";
const FILLER: usize = 14 << 20;

/// A small file system of its own. It is unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one and nearly fills it; None, said aloud, where that is not allowed.
    fn nearly_full(path: PathBuf) -> Option<Disk> {
        fs::create_dir(&path).expect("a folder to mount on");
        if !is_root() {
            left_out("the full disk", "mounting one needs root");
            return None;
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&path);
        match mount_output(&mut mount) {
            Ok(()) => {}
            Err(why) => {
                left_out("the full disk", &why);
                return None;
            }
        }
        let disk = Disk(path);
        fs::write(disk.0.join("filler"), vec![7; FILLER]).expect("the filler fits");
        Some(disk)
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("the filler");
    }
}

fn mount_output(mount: &mut Command) -> Result<(), String> {
    let output = mount.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A failure leaves a mount in a temporary folder: seen by the next line of the test.
        let ended = Command::new("umount").arg(&self.0).status();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn full_while_taking_a_snapshot() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 5);
    let Some(disk) = Disk::nearly_full(host.path("disk")) else { return };
    host.set("ICECORE_REPOSITORY", "disk/repo");
    let line = "snapshot --init --pack-size 1MiB photos";
    host.run(line).fails(1, &["the disk is full", "the disk is full: free some space"]);
    let ran = host.run("snapshots").ok();
    assert!(ran.stderr.contains("no snapshots"), "{ran:#?}");
    // Still full: the same, and nothing worse.
    host.run(line).fails(1, &["the disk is full"]);
    disk.free();
    host.run(line).ok();
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}

#[test]
fn full_while_restoring() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 5);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let before = host.state("repo");
    let Some(disk) = Disk::nearly_full(host.path("disk")) else { return };
    let line = "restore latest:photos --target disk/photos";
    host.run(line).fails(1, &["the disk is full", "the disk is full: free some space"]);
    let target = host.path("disk/photos");
    assert_whole(&target, &host.path("photos"));
    disk.free();
    let again = format!("{line} --overwrite if-changed");
    host.run(&again).ok();
    tree::assert_same(host.path("photos"), &target);
    assert_eq!(before, host.state("repo"), "a restore changes no repository");
}

#[test]
fn full_before_a_thaw_is_paid_for() {
    let server = icecore_testkit::S3Server::start();
    let host = crate::thaw::archive(&server, &[("rome", 8)]);
    let Some(disk) = Disk::nearly_full(host.path("disk")) else { return };
    let line = "restore latest:photos --target disk/photos --detach";
    host.run(line).fails(1, &["bytes are needed", "the disk is full: free some space"]);
    assert_eq!(server.restores(), []);
    disk.free();
    host.run(line).exits(20);
}

/// Every file that has its name has its content: no half photo passes for one.
fn assert_whole(target: &Path, photos: &Path) {
    for entry in fs::read_dir(target).expect("the target") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        let source = photos.join(&name);
        assert!(source.exists(), "{name:?} was left behind");
        let content = |path: &Path| fs::read(path).expect("a file");
        assert!(content(&source) == content(&entry.path()), "{name:?} is not what it was");
    }
}

#[test]
fn a_full_standard_output() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return left_out("a full standard output", "no /dev/full") };
    let output = host.command("ls latest").stdout(full).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("failed to write the result: No space left"), "{stderr}");
}

#[test]
fn lost_sectors_heal_by_parity() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 5);
    host.run("init --parity 10").ok();
    host.run("snapshot photos").ok();
    host.export_identity();
    let packs = objects(&host.path("repo"), "packs");
    assert!(!packs.is_empty());
    for pack in packs {
        let mut content = fs::read(&pack).expect("a pack");
        content[..4096].fill(0);
        fs::write(&pack, content).expect("it loses its first sector");
    }
    let ran = host.run("restore latest:photos --target out").ok();
    assert!(ran.stderr.contains("healed by its parity"), "{ran:#?}");
    tree::assert_same(host.path("photos"), host.path("out"));
    let ran = host.run("check --read-data").exits(22);
    assert!(ran.stdout.contains("; its parity can heal it"), "{ran:#?}");
}
