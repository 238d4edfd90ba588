//! Restores into a library in use: everything that is not restored stays unchanged.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::restore::{Original, Overwrite};
use icecore_engine::progress::Silent;
use icecore_engine::repo::TreeReader;
use icecore_testkit::tree;

use crate::setup::{Bench, Restore, StopAfter, bytes_of, set_mtime, small_packs};

const ALL: [Overwrite; 3] = [Overwrite::Never, Overwrite::IfChanged, Overwrite::Always];

/// Returns mode, owner and time of a folder.
fn look(path: impl AsRef<Path>) -> (u32, u32, u32, i128) {
    let node = tree::node_of(path);
    (node.mode, node.uid, node.gid, node.mtime_ns)
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

/// Archives `shoot/one`, `shoot/two`, `shoot/deep/three` and `private/four` with mode 755.
fn library() -> Bench {
    let bench = Bench::local(small_packs());
    for name in ["shoot/one", "shoot/two", "shoot/deep/three", "private/four"] {
        bench.write(name, format!("content of {name}"));
    }
    for folder in ["shoot", "shoot/deep", "private"] {
        set_mode(bench.library.join(folder), 0o755);
    }
    bench.snapshot();
    bench
}

#[test]
fn folders_that_were_there_keep_mode_and_time() {
    let picks: [(&[&str], &[&str]); 3] =
        [(&["**/shoot/one"], &[]), (&[], &["private"]), (&[], &[])];
    for (number, (how, (include, exclude))) in
        ALL.into_iter().flat_map(|how| picks.map(|pick| (how, pick))).enumerate()
    {
        let bench = library();
        let target = bench.restored("latest", &format!("target-{number}"));
        fs::remove_file(target.join("shoot/one")).expect("removed");
        fs::remove_dir_all(target.join("shoot/deep")).expect("removed");
        set_mode(target.join("private"), 0o700);
        set_mode(target.join("shoot"), 0o2770);
        let folders = ["", "shoot", "private"].map(|name| target.join(name));
        folders.iter().for_each(|folder| set_mtime(folder, 1_500_000_000, 5));
        let before = folders.each_ref().map(look);
        let how = Restore { include, exclude, ..Restore::over(how) };
        let (summary, problems) = bench.restore("latest", &target, &how);
        assert!(problems.is_empty() && summary.files > 0, "{problems:?}");
        assert!(target.join("shoot/one").exists());
        assert_eq!(folders.each_ref().map(look), before, "{:?} {include:?}", how.overwrite);
        // A folder that was created is equal to that of the snapshot.
        let made = target.join("shoot/deep");
        assert_eq!(made.exists(), include.is_empty());
        if made.exists() {
            assert_eq!(
                tree::node_of(&made).mtime_ns,
                tree::node_of(bench.library.join("shoot/deep")).mtime_ns
            );
        }
    }
}

#[test]
fn a_restore_that_was_interrupted_finishes_its_folders() {
    let bench = Bench::local(small_packs());
    bench.write_photos("a/b", 6, 3_000_000);
    bench.write_photos("c", 6, 3_000_000);
    for folder in ["a", "a/b", "c"] {
        set_mode(bench.library.join(folder), 0o750);
        set_mtime(&bench.library.join(folder), 1_400_000_000, 0);
    }
    bench.snapshot();
    let target = bench.path("target");
    let stop = StopAfter::bytes(9_000_000);
    let stopped = Restore::default().run(&bench.open(), "latest", &bench.library, &target, &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    // A killed restore leaves a folder with this mode.
    fs::create_dir_all(target.join("c")).expect("a folder");
    set_mode(target.join("c"), 0o1700);
    let again = Restore::over(Overwrite::IfChanged);
    let (summary, problems) = bench.restore("latest", &target, &again);
    assert_eq!((summary.files_failed, problems.len()), (0, 0), "{problems:?}");
    tree::assert_same(&bench.library, &target);
}

#[test]
fn a_symlink_to_a_larger_disk_is_followed_if_asked_for() {
    let bench = library();
    let target = bench.restored("latest", "target");
    let disk = bench.path("disk");
    fs::rename(target.join("shoot"), &disk).expect("moved");
    symlink(&disk, target.join("shoot")).expect("a symlink");
    fs::remove_file(disk.join("one")).expect("removed");
    fs::write(disk.join("extra"), "mine").expect("a file");
    let before = look(&disk);
    let how =
        Restore { follow: true, delete: true, verify: true, ..Restore::over(Overwrite::Always) };
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!(
        (summary.files, summary.files_failed, summary.files_verified),
        (4, 0, 4),
        "{problems:?}"
    );
    assert!(target.join("shoot").is_symlink() && disk.join("one").exists());
    assert!(disk.join("extra").exists(), "--delete goes through no symlink");
    assert_eq!(look(&disk), before);
    // The mount point of a missing disk is not replaced by a folder.
    fs::rename(&disk, bench.path("away")).expect("moved");
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!((summary.links_in_the_way, summary.files), (1, 1), "{problems:?}");
    assert!(target.join("shoot").is_symlink() && !disk.exists());
    assert!(problems.iter().any(|problem| problem.message.contains("mounted")), "{problems:?}");
    // A restore never writes into the archive either.
    fs::remove_file(target.join("shoot")).expect("removed");
    symlink(bench.folder(), target.join("shoot")).expect("a symlink");
    let objects = bench.objects();
    let (summary, _) = bench.restore("latest", &target, &how);
    assert_eq!(summary.links_in_the_way, 1);
    assert_eq!(bench.objects(), objects);
}

#[test]
fn delete_keeps_what_is_excluded_and_what_was_not_archived() {
    let bench = library();
    let target = bench.path("target");
    let put = |name: &str| {
        let path = target.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, "mine").expect("a file");
    };
    let names =
        ["new/a.cr3", "new/b.txt", "new/deep/c.cr3", "gone/d.txt", "shoot/e.cr3", "shoot/f.txt"];
    names.iter().for_each(|name| put(name));
    let how = Restore { delete: true, exclude: &["*.cr3"], ..Restore::over(Overwrite::Always) };
    let (_, problems) = bench.restore("latest", &target, &how);
    assert_eq!(problems, []);
    let left: Vec<&str> = names.into_iter().filter(|name| target.join(name).exists()).collect();
    assert_eq!(left, ["new/a.cr3", "new/deep/c.cr3", "shoot/e.cr3"]);
    assert!(!target.join("gone").exists());
    // Nothing beside the archived folders is removed, because the snapshot does not know what was there.
    let above = bench.path("above");
    fs::create_dir_all(above.join("other")).expect("a folder");
    let restored = how.run(&bench.open(), "latest", Path::new("/"), &above, &Silent);
    assert_eq!(restored.expect("a restore").deleted, 0);
    assert!(above.join("other").exists());
}

#[test]
fn restores_into_one_target_side_by_side() {
    let bench = Bench::local(small_packs());
    for number in 0..300 {
        bench.write(&format!("{}/{number}", number % 7), format!("content {number}"));
    }
    fs::hard_link(bench.library.join("0/0"), bench.library.join("6/link")).expect("a link");
    symlink("0", bench.library.join("6/symlink")).expect("a symlink");
    bench.snapshot();
    for how in [Overwrite::IfChanged, Overwrite::Always] {
        let target = bench.path(&format!("{how:?}"));
        std::thread::scope(|threads| {
            let restores: Vec<_> = (0..3)
                .map(|_| threads.spawn(|| bench.restore("latest", &target, &Restore::over(how))))
                .collect();
            for restore in restores {
                let (summary, problems) = restore.join().expect("no panic");
                assert_eq!((summary.files_failed, problems), (0, Vec::new()));
            }
        });
        let names = tree::snapshot_of(&target);
        assert!(names.keys().all(|name| !name.windows(8).any(|part| part == b".icecore")));
        for (name, node) in tree::snapshot_of(&bench.library) {
            assert_eq!(names.get(&name).map(|there| there.content), Some(node.content));
        }
    }
}

#[test]
fn what_was_lost_goes_back_to_where_it_was() {
    let bench = library();
    set_mtime(&bench.library.join("shoot"), 1_400_000_000, 7);
    set_mode(bench.library.join("shoot"), 0o711);
    bench.snapshot();
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let find = |path: &Path| Original::find(&snapshot, &bytes_of(path)).expect("its place");
    let real = bench.library.canonicalize().expect("a path");
    for (path, target) in [("shoot/deep/three", "shoot/deep"), ("shoot", "shoot"), ("", "")] {
        let found = find(&bench.library.join(path));
        assert_eq!(
            found.target.canonicalize().expect("it is there"),
            real.join(target).canonicalize().expect("a path")
        );
    }
    // The path of a folder above the source selects the source.
    assert_eq!(find(Path::new("/")).target.canonicalize().expect("it is there"), real);
    fs::remove_dir_all(bench.library.join("shoot")).expect("removed");
    let before = look(&bench.library);
    let found = find(&bench.library.join("shoot/deep/three"));
    found.make_folders(&snapshot).expect("folders");
    assert_eq!(look(&bench.library), before);
    let how = Restore::over(Overwrite::Never);
    let restored = how.run(
        &repository,
        "latest",
        &bench.library.join("shoot/deep/three"),
        &found.target,
        &Silent,
    );
    assert_eq!(restored.expect("a restore").files, 1);
    let (mode, _, _, mtime) = look(bench.library.join("shoot"));
    assert_eq!((mode, mtime), (0o711, 1_400_000_000_000_000_007));
    assert!(bench.library.join("shoot/deep/three").exists());
    assert!(!bench.library.join("shoot/one").exists());
    assert!(Original::find(&snapshot, b"nothing/there").is_err());
    assert_eq!(fs::metadata(bench.library.join("shoot/deep")).expect("a folder").nlink(), 2);
}
