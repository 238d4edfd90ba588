//! A full disk of the repository or the target: the error says so, nothing broken is left behind, and the same command
//! completes once there is space. Also a disk that loses sectors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore_testkit::tree;

use crate::support::{Host, assert_unchanged, is_root, left_out, objects, shoot, write};

/// Size of the small disk; below, of the file that first fills most of it.
const DISK: &str = "size=48m";
const FILLER: usize = 28 << 20;

/// A small separate file system, which is unmounted when dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts a small disk and nearly fills it; prints a note and returns `None` if mounting is not allowed.
    pub fn nearly_full(path: PathBuf) -> Option<Disk> {
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

    /// Fills half of the free space.
    fn fill_half(&self) {
        fs::write(self.0.join("ballast"), vec![7; 10 << 20]).expect("it fits");
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
        // If this fails, the mount stays in a temporary folder, which the next lines of the test notice.
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
    let full =
        host.run(line).fails(1, &["disk/repo: ", "the disk is full", "free some space on it"]);
    assert!(!full.stderr.contains("packs/"), "{full:#?}");
    let ran = host.run("snapshots").ok();
    assert!(ran.stderr.contains("no snapshots"), "{ran:#?}");
    // The disk is still full: the same error, and nothing worse.
    host.run(line).fails(1, &["the disk is full"]);
    disk.free();
    host.run(line).ok();
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}

/// Fills a disk to the last block.
pub fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    while file.write_all(&[7; 4096]).is_ok() {}
}

/// Makes two snapshots on the small disk, of which only the first can be dropped, and fills the disk.
fn packed(host: &Host, disk: &Disk) {
    for seed in [1, 2] {
        host.remove("photos");
        shoot(&host.path("photos"), seed, 1);
        host.run("snapshot --init --pack-size 1MiB photos").ok();
    }
    fill(&disk.0.join("rest"));
    shoot(&host.path("photos"), 3, 1);
    host.run("snapshot photos").fails(1, &["full"]);
    // The failed run has freed a little space.
    fill(&disk.0.join("more"));
}

#[test]
fn a_prune_frees_space_on_a_full_disk() {
    for cache in ["cache", "disk/cache"] {
        let mut host = Host::new();
        let Some(disk) = Disk::nearly_full(host.path("disk")) else { return };
        host.set("ICECORE_REPOSITORY", "disk/repo");
        host.set("ICECORE_CACHE_DIR", cache);
        packed(&host, &disk);
        let repo = host.state("disk/repo");
        host.run("prune -n --now --keep-last 1");
        assert_unchanged(&repo, &host.state("disk/repo"), "prune -n");
        let done = host.run("--json prune --now --keep-last 1").ok().summary();
        assert!(done["bytes_freed"].as_u64().is_some_and(|freed| freed > 3_000_000), "{done}");
        assert!(host.path("disk/repo/reserve").exists(), "it is there for the next time");
        host.run("check --read-data").ok();
        disk.free();
        host.run("snapshot photos").ok();
        host.run("check --read-data").ok();
        host.restores("latest", &host.state("photos"));
    }
}

#[test]
fn a_prune_without_a_reserve_deletes_first_what_was_given_up() {
    let mut host = Host::new();
    let Some(disk) = Disk::nearly_full(host.path("disk")) else { return };
    host.set("ICECORE_REPOSITORY", "disk/repo");
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    let given_up = objects(&host.path("disk/repo"), "packs");
    let kept: Vec<Vec<u8>> = given_up.iter().map(|pack| fs::read(pack).expect("a pack")).collect();
    host.remove("photos");
    shoot(&host.path("photos"), 2, 1);
    host.run("snapshot photos").ok();
    host.run("prune --now --keep-last 1").ok();
    write(&host.path("photos/notes.txt"), "Iceland");
    host.run("snapshot photos").ok();
    // A prune that was killed after its log entry has left these packs behind.
    for (pack, content) in given_up.iter().zip(kept) {
        fs::write(pack, content).expect("there is room");
    }
    host.remove("disk/repo/reserve");
    fill(&disk.0.join("rest"));
    host.run("prune --now --keep-last 1").ok();
    assert!(!given_up.iter().any(|pack| pack.exists()));
    host.run("check --read-data").ok();
    // Without a reserve or packs to delete first, the only advice is to remove other files.
    write(&host.path("photos/notes.txt"), "Norway");
    host.run("snapshot photos").ok();
    host.remove("disk/repo/reserve");
    fill(&disk.0.join("again"));
    host.run("prune --now --keep-last 1").fails(1, &["remove something else from this disk"]);
    host.remove("disk/rest");
    host.run("prune --now --keep-last 1").ok();
}

/// An exFAT image, mounted by FUSE. It has neither hard links nor a rename that never replaces.
struct Fuse(PathBuf, String);

impl Fuse {
    fn mount(host: &Host) -> Result<Fuse, String> {
        if !is_root() {
            return Err("mounting it needs root".to_owned());
        }
        let image = host.path("image");
        fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("an image");
        let device = run(Command::new("losetup").args(["-f", "--show"]).arg(&image))?;
        let fuse = Fuse(host.path("disk"), device);
        fs::create_dir(&fuse.0).expect("a folder to mount on");
        run(Command::new("mkfs.exfat").arg(&fuse.1))?;
        run(Command::new("mount.exfat-fuse").arg(&fuse.1).arg(&fuse.0))?;
        Ok(fuse)
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = Command::new("losetup").arg("-d").arg(&self.1).status();
    }
}

#[test]
fn a_file_system_without_hard_links() {
    let mut host = Host::new();
    let _fuse = match Fuse::mount(&host) {
        Ok(fuse) => fuse,
        Err(why) => return left_out("a folder on exFAT by FUSE", &why),
    };
    host.set("ICECORE_REPOSITORY", "disk/repo");
    shoot(&host.path("photos"), 1, 2);
    let ran = host.run("snapshot --init photos").ok();
    assert!(ran.stderr.contains("let only one host write here"), "{ran:#?}");
    write(&host.path("photos/notes.txt"), "Iceland");
    host.run("snapshot photos").ok();
    host.run("prune --now --keep-last 1").ok();
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
    disk.fill_half();
    let line = "restore latest:photos --target disk/photos";
    host.run(line).fails(1, &["the disk is full", "the disk is full: free some space"]);
    let target = host.path("disk/photos");
    assert_whole(&target, &host.path("photos"));
    disk.free();
    let again = format!("{line} --overwrite if-changed");
    host.run(&again).ok();
    tree::assert_same(host.path("photos"), &target);
    assert_eq!(before, host.state("repo"), "a restore changes no archive");
}

#[test]
fn full_before_a_thaw_is_paid_for() {
    let server = icecore_testkit::S3Server::start();
    let host = crate::thaw::archive(&server, &[("rome", 8)]);
    let Some(disk) = Disk::nearly_full(host.path("disk")) else { return };
    disk.fill_half();
    let line = "restore latest:photos --target disk/photos --detach --max-cost 1";
    host.run(line).fails(1, &["bytes are needed", "the disk is full: free some space"]);
    assert_eq!(server.restores(), []);
    disk.free();
    host.run(line).exits(20);
}

/// Asserts that every file with its final name has its full content.
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
    for line in ["ls latest", "--json ls latest", "help restore", "ls --help", "--version", "man"] {
        let full = full.try_clone().expect("a second handle");
        let output = host.command(line).stdout(full).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
        let said = "error: failed to write the result: No space left";
        assert!(stderr.contains(said), "{line}: {stderr}");
        assert!(stderr.contains("hint: the disk is full"), "{line}: {stderr}");
    }
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
    // The size of parity is part of the sizes that a person looks at.
    let stored = |names: &[&str]| -> u64 {
        let all = names.iter().flat_map(|name| objects(&host.path("repo"), name));
        all.map(|path| path.metadata().expect("an object").len()).sum()
    };
    let stats = host.run("--json stats").ok().summary();
    let all = stored(&["packs", "hot", "meta", "parity"]);
    assert_eq!(stats["bytes_stored"].as_u64(), Some(all), "{stats}");
    assert_eq!(stats["bytes_of_parity"].as_u64(), Some(stored(&["parity"])), "{stats}");
    assert!(host.run("stats").ok().stdout.contains("\nparity "));
    for pack in packs {
        let mut content = fs::read(&pack).expect("a pack");
        content[..4096].fill(0);
        fs::write(&pack, content).expect("it loses its first sector");
    }
    let ran = host.run("restore latest:photos --target out").ok();
    assert!(ran.stderr.contains("its parity repaired the data"), "{ran:#?}");
    tree::assert_same(host.path("photos"), host.path("out"));
    let ran = host.run("check --read-data").exits(22);
    assert!(ran.stdout.contains("; its parity can repair it"), "{ran:#?}");
    let hint = "hint: `icecore check --read-data --repair` repairs";
    assert!(ran.stderr.contains(hint), "{ran:#?}");
    let ran = host.run("check --read-data --repair").ok();
    assert!(ran.stdout.contains("repaired; no damage is left"), "{ran:#?}");
}
