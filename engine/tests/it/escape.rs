//! A restore never writes outside its target, whatever is in the target or in the snapshot; and an existing entry of
//! another kind is never removed unless the user asked for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use icecore_engine::ops::restore::Overwrite;
use icecore_testkit::tree;

use crate::setup::{Bench, Restore, small_packs};

const ALL: [Overwrite; 3] = [Overwrite::Never, Overwrite::IfChanged, Overwrite::Always];

/// A folder outside the target that must not change.
struct Outside {
    path: PathBuf,
    before: std::collections::BTreeMap<Vec<u8>, tree::Node>,
}

impl Outside {
    fn new(path: PathBuf) -> Outside {
        fs::create_dir(&path).expect("a folder");
        fs::write(path.join("file"), "a victim").expect("a victim");
        let before = tree::snapshot_of(&path);
        Outside { path, before }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        tree::assert_same_as(&self.before, &self.path);
    }
}

fn library_with_a_folder() -> Bench {
    let bench = Bench::local(small_packs());
    bench.write("folder/file", "new content");
    bench.write("folder/deep/file", "new content");
    bench.snapshot();
    bench
}

#[test]
fn a_symlink_in_place_of_a_folder_is_not_followed() {
    let bench = library_with_a_folder();
    for (number, how) in ALL.into_iter().enumerate() {
        for deep in [false, true] {
            let outside = Outside::new(bench.path(&format!("outside-{number}-{deep}")));
            let target = bench.path(&format!("target-{number}-{deep}"));
            fs::create_dir_all(target.join("folder")).expect("folders");
            let link = if deep { target.join("folder/deep") } else { target.join("folder") };
            if !deep {
                fs::remove_dir(&link).expect("removed");
            }
            symlink(&outside.path, &link).expect("a symlink");
            let delete = how != Overwrite::Never;
            let how = Restore { delete, verify: true, ..Restore::over(how) };
            let (summary, problems) = bench.restore("latest", &target, &how);
            outside.assert_untouched();
            // The symlink may lead to a part of the library on a larger disk, so it is never replaced.
            assert!(summary.files_failed > 0 && summary.links_in_the_way == 1);
            assert_eq!(summary.files, u64::from(deep), "the file beside the symlink");
            assert!(problems.iter().any(|problem| problem.path == link), "{problems:?}");
            assert!(link.is_symlink(), "the symlink was not ours to remove");
        }
    }
}

#[test]
fn a_symlink_in_place_of_a_file_is_not_written_through() {
    let bench = library_with_a_folder();
    for (number, how) in ALL.into_iter().enumerate() {
        let outside = Outside::new(bench.path(&format!("outside-{number}")));
        let target = bench.path(&format!("target-{number}"));
        fs::create_dir_all(target.join("folder")).expect("folders");
        let link = target.join("folder/file");
        symlink(outside.path.join("file"), &link).expect("a symlink");
        let (_, problems) = bench.restore("latest", &target, &Restore::over(how));
        assert_eq!(problems, []);
        outside.assert_untouched();
        assert_eq!(link.is_symlink(), how == Overwrite::Never, "{how:?}");
        if how != Overwrite::Never {
            assert_eq!(fs::read_to_string(&link).expect("a file"), "new content");
        }
    }
}

#[test]
fn a_restored_symlink_leads_no_later_file_out() {
    let bench = Bench::local(small_packs());
    let outside = Outside::new(bench.path("outside"));
    symlink(&outside.path, bench.library.join("folder")).expect("a symlink");
    symlink(outside.path.join("file"), bench.library.join("file")).expect("a symlink");
    symlink("../outside/file", bench.library.join("relative")).expect("a symlink");
    bench.snapshot();
    let target = bench.restored("latest", "target");
    tree::assert_same(&bench.library, &target);
    outside.assert_untouched();
    for name in ["folder", "file", "relative"] {
        fs::remove_file(bench.library.join(name)).expect("removed");
    }
    for name in ["folder/file", "file", "relative"] {
        bench.write(name, "new content");
    }
    bench.snapshot();
    let always = Restore::over(Overwrite::Always);
    let (summary, problems) = bench.restore("latest", &target, &always);
    assert_eq!((summary.files, summary.files_failed), (2, 1), "{problems:?}");
    outside.assert_untouched();
    fs::remove_file(target.join("folder")).expect("removed");
    let (summary, problems) = bench.restore("latest", &target, &always);
    assert_eq!((summary.files, summary.files_failed), (3, 0), "{problems:?}");
    outside.assert_untouched();
    tree::assert_same(&bench.library, &target);
}

#[test]
fn a_symlink_that_the_restore_has_made_is_not_followed() {
    let bench = Bench::local(small_packs());
    let outside = Outside::new(bench.path("outside"));
    fs::create_dir(bench.library.join("a")).expect("a folder");
    symlink(&outside.path, bench.library.join("a/evil")).expect("a symlink");
    bench.write("b/evil/file", "new content");
    bench.snapshot();
    // Files restored into `b` would end up in `a`.
    let target = bench.path("target");
    fs::create_dir_all(target.join("a")).expect("a folder");
    symlink("a", target.join("b")).expect("a symlink");
    let how = Restore { follow: true, ..Restore::over(Overwrite::Always) };
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!((summary.files, summary.files_failed), (0, 1), "{problems:?}");
    assert!(target.join("a/evil").is_symlink());
    outside.assert_untouched();
}

#[test]
fn the_target_itself_may_be_a_symlink() {
    let bench = library_with_a_folder();
    fs::create_dir(bench.path("real")).expect("a folder");
    symlink(bench.path("real"), bench.path("link")).expect("a symlink");
    bench.restored("latest", "link");
    tree::assert_same(&bench.library, bench.path("real"));
}

#[test]
fn a_file_in_the_way_of_a_folder() {
    let bench = library_with_a_folder();
    for how in ALL {
        let target = bench.path(&format!("{how:?}"));
        fs::create_dir(&target).expect("a folder");
        fs::write(target.join("folder"), "mine").expect("a file");
        let (summary, problems) = bench.restore("latest", &target, &Restore::over(how));
        if how == Overwrite::Always {
            assert_eq!((summary.files, summary.files_failed), (2, 0), "{problems:?}");
            tree::assert_same(&bench.library, &target);
        } else {
            assert!(summary.files_failed > 0);
            assert!(problems.iter().all(|problem| problem.path.starts_with(target.join("folder"))));
            assert_eq!(fs::read_to_string(target.join("folder")).expect("a file"), "mine");
        }
    }
}

#[test]
fn a_folder_in_the_way_of_a_file() {
    let bench = Bench::local(small_packs());
    bench.write("a/name", "content");
    bench.write("b", "content");
    symlink("b", bench.library.join("link")).expect("a symlink");
    bench.snapshot();
    for how in ALL {
        let target = bench.path(&format!("{how:?}"));
        for name in ["a/name", "link"] {
            fs::create_dir_all(target.join(name)).expect("folders");
            fs::write(target.join(name).join("precious"), "mine").expect("a file");
        }
        let how = Restore::over(how);
        let (summary, problems) = bench.restore("latest", &target, &how);
        // A folder may contain anything, so it is never removed to make room for one file.
        for name in ["a/name", "link"] {
            let precious = target.join(name).join("precious");
            assert_eq!(fs::read_to_string(precious).expect("a file"), "mine");
        }
        assert_eq!(fs::read_to_string(target.join("b")).expect("a file"), "content");
        if how.overwrite == Some(Overwrite::Never) {
            assert_eq!((summary.files_skipped, problems.len()), (1, 0), "{problems:?}");
        } else {
            let named: Vec<&Path> = problems.iter().map(|problem| problem.path.as_path()).collect();
            assert_eq!(named, [target.join("a/name"), target.join("link")]);
            assert_eq!(summary.files_failed, 2);
        }
    }
}
