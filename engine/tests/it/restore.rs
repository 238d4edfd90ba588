//! Restores: what they fetch, what they do with existing files, and that they never write outside the target.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use icecore_engine::error::Error;
use icecore_engine::format::Settings;
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::restore::{Overwrite, RestoreOptions, Selection, plan};
use icecore_engine::progress::Silent;
use icecore_engine::repo::TreeReader;
use icecore_testkit::{photos, tree};

use crate::setup::{Bench, Restore, set_mtime, small_packs};

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn put(path: impl AsRef<Path>, content: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, content).expect("a file");
}

/// Archives a small library: `a/one`, `a/two`, `b/three`, `top`.
fn small() -> Bench {
    let bench = Bench::local(small_packs());
    for name in ["a/one", "a/two", "b/three", "top"] {
        bench.write(name, format!("content of {name}"));
    }
    bench.snapshot();
    bench
}

#[test]
fn one_photo_comes_from_one_pack_without_the_rest() {
    const PHOTO_BYTES: usize = 25_000_000;
    let bench = Bench::local(Settings::default());
    bench.write_photos("2024", 9, PHOTO_BYTES);
    bench.snapshot();
    let photo = bench.library.join("2024/IMG_0004.JPG");
    let repository = bench.open();
    let target = bench.path("one");

    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let selection = Selection {
        snapshot: &snapshot,
        path: crate::setup::bytes_of(&photo),
        include: icecore_engine::files::Globs::new([]).expect("no patterns"),
        exclude: icecore_engine::files::Globs::new([]).expect("no patterns"),
    };
    let planned = plan(&selection, &RestoreOptions::default(), &Silent).expect("a plan");
    assert_eq!((planned.files, planned.packs.len()), (1, 1), "{:?}", planned.packs);

    let restored = Restore::default().run(&repository, "latest", &photo, &target, &Silent);
    let restored = restored.expect("a restore");
    assert_eq!((restored.files, restored.packs_fetched), (1, 1));
    let fetched = restored.requests.bytes_fetched;
    assert!(fetched < PHOTO_BYTES as u64 * 11 / 10, "{fetched} bytes fetched for one photo");
    assert!(fetched >= planned.fetch_bytes && fetched < planned.fetch_bytes + 200_000, "{fetched}");
    assert_eq!(tree::node_of(target.join("IMG_0004.JPG")), tree::node_of(&photo));
    let all = bench.restored("latest", "all");
    tree::assert_same(&bench.library, all);
}

/// Ranges are whole blocks, headers are read separately, and batches may read the same bytes again. All of that is
/// billed, and a plan counts all of it.
#[test]
fn a_plan_counts_what_is_read_again() {
    let bench = Bench::local(Settings { pack_bytes: 24 << 20, ..small_packs() });
    bench.write_photos("2024", 12, 4_000_000);
    // The same content is in more files than fit into one batch.
    let again = photos::jpeg(7, 200_000, 2000);
    for number in 0..1100 {
        bench.write(&format!("again/{number}.JPG"), &again);
    }
    bench.snapshot();
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    for path in ["", "2024", "again", "2024/IMG_0003.JPG"] {
        let row = browse::resolve(&repository, "latest").expect("a snapshot");
        let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
        let none = || icecore_engine::files::Globs::new([]).expect("no patterns");
        let selection = Selection {
            snapshot: &snapshot,
            path: crate::setup::bytes_of(&bench.library.join(path)),
            include: none(),
            exclude: none(),
        };
        let planned = plan(&selection, &RestoreOptions::default(), &Silent).expect("a plan");
        assert!(planned.packs.len() > usize::from(path.is_empty()), "{path}");
        let of_packs: u64 = planned.packs.iter().map(|pack| pack.fetch_bytes).sum();
        assert_eq!(of_packs, planned.fetch_bytes, "{path}");
        // The same photo is in three batches of files.
        assert!(path != "again" || planned.fetch_bytes > 3 * again.len() as u64, "{path}");
        let target = bench.path(&format!("target {path}").replace('/', " "));
        let library = bench.library.join(path);
        let restored = Restore::default().run(&repository, "latest", &library, &target, &Silent);
        let fetched = restored.expect("a restore").requests.bytes_fetched;
        // The listings are read, too.
        let listings = fetched.checked_sub(planned.fetch_bytes);
        assert!(listings.is_some_and(|bytes| bytes < 300_000), "{path}: {listings:?}, {planned:?}");
    }
}

/// The header is fetched once, so nothing of an object that one request reads is fetched twice.
#[test]
fn no_byte_of_a_small_object_is_fetched_twice() {
    let bench = Bench::local(small_packs());
    bench.write_photos("2024", 6, 150_000);
    bench.snapshot();
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let none = || icecore_engine::files::Globs::new([]).expect("no patterns");
    let (include, exclude) = (none(), none());
    let selection = Selection { snapshot: &snapshot, path: Vec::new(), include, exclude };
    let planned = plan(&selection, &RestoreOptions::default(), &Silent).expect("a plan");
    assert!(!planned.packs.is_empty());
    for pack in &planned.packs {
        assert!(pack.fetch_bytes > 0 && pack.fetch_bytes <= pack.bytes, "{pack:?}");
    }
}

#[test]
fn a_target_with_something_in_it_needs_a_word() {
    let bench = small();
    let target = bench.path("target");
    put(target.join("mine"), "mine");
    let refused = Restore::default().run(&bench.open(), "latest", &bench.library, &target, &Silent);
    assert!(matches!(refused, Err(Error::TargetNotEmpty { path }) if path == target));
    assert_eq!(fs::read_dir(&target).expect("a folder").count(), 1);
}

#[test]
fn files_in_the_way_are_kept_or_replaced() {
    let bench = small();
    let time = |name: &str| tree::node_of(bench.library.join(name)).mtime_ns;
    for how in [Overwrite::Never, Overwrite::IfChanged, Overwrite::Always] {
        let target = bench.path(&format!("{how:?}"));
        // With the same size and time but another content, only `Always` compares the content.
        put(target.join("a/one"), "another of a/one"); // one byte less
        put(target.join("a/two"), "CONTENT OF a/two");
        let two = time("a/two");
        set_mtime(
            &target.join("a/two"),
            (two / 1_000_000_000) as i64,
            (two % 1_000_000_000) as u32,
        );
        put(target.join("b/other"), "not in the snapshot");
        let (summary, problems) = bench.restore("latest", &target, &Restore::over(how));
        assert_eq!((problems.len(), summary.files_failed), (0, 0));
        let contents = [read(target.join("a/one")), read(target.join("a/two"))];
        let (kept, expected) = match how {
            Overwrite::Never => (2, ["another of a/one", "CONTENT OF a/two"]),
            Overwrite::IfChanged => (1, ["content of a/one", "CONTENT OF a/two"]),
            Overwrite::Always => (0, ["content of a/one", "content of a/two"]),
        };
        assert_eq!((summary.files_skipped, summary.files), (kept, 4 - kept), "{how:?}");
        assert_eq!(contents, expected, "{how:?}");
        assert_eq!(read(target.join("b/three")), "content of b/three");
        assert_eq!(read(target.join("b/other")), "not in the snapshot");
    }
}

#[test]
fn what_was_left_by_a_killed_restore_is_swept() {
    let bench = small();
    let target = bench.path("target");
    put(target.join(".icecore-0123456789abcdef.part"), "half a file");
    put(target.join("a/.icecore-fedcba9876543210.part"), "half a file");
    put(target.join("a/.icecore-notes"), "mine");
    let (summary, _) = bench.restore("latest", &target, &Restore::over(Overwrite::IfChanged));
    assert_eq!(summary.files, 4);
    assert_eq!(read(target.join("a/.icecore-notes")), "mine");
    fs::remove_file(target.join("a/.icecore-notes")).expect("removed");
    set_folder_times(&bench.library, &target);
    tree::assert_same(&bench.library, &target);
}

/// Sets the times of the target's folders to those in the library.
fn set_folder_times(library: &Path, target: &Path) {
    for name in ["a", "b"] {
        let time = tree::node_of(library.join(name)).mtime_ns;
        let (seconds, nanos) = ((time / 1_000_000_000) as i64, (time % 1_000_000_000) as u32);
        set_mtime(&target.join(name), seconds, nanos);
    }
}

#[test]
fn delete_makes_the_target_the_snapshot() {
    let bench = small();
    let target = bench.path("target");
    put(target.join("a/extra"), "x");
    put(target.join("old/deep/file"), "x");
    put(target.join("b/keep.me"), "excluded, so not touched");
    // The target of the link is not part of the restore.
    put(bench.path("elsewhere/file"), "x");
    symlink(bench.path("elsewhere"), target.join("a/link")).expect("a symlink");
    let how = Restore { delete: true, exclude: &["*.me"], ..Restore::over(Overwrite::IfChanged) };
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!((problems.len(), summary.deleted, summary.files), (0, 5, 4));
    assert_eq!(read(target.join("b/keep.me")), "excluded, so not touched");
    assert_eq!(read(bench.path("elsewhere/file")), "x");
    fs::remove_file(target.join("b/keep.me")).expect("removed");
    set_folder_times(&bench.library, &target);
    // With --delete, folders become equal to those of the snapshot, too.
    tree::assert_same(&bench.library, &target);
}

#[test]
fn verify_reads_what_is_there() {
    let bench = Bench::local(small_packs());
    bench.write_photos("a", 3, 300_000);
    let sparse = fs::File::create(bench.library.join("sparse")).expect("a file");
    sparse.set_len(3 << 20).expect("a hole");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 1 << 20).expect("data");
    bench.snapshot();
    let target = bench.path("target");
    let how = Restore { verify: true, ..Restore::default() };
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!((summary.files_verified, summary.files_failed), (4, 0), "{problems:?}");

    let how = Restore { verify: true, ..Restore::over(Overwrite::Never) };
    let mut wrong = fs::read(target.join("a/IMG_0001.JPG")).expect("a photo");
    wrong[200_000] ^= 1;
    fs::write(target.join("a/IMG_0001.JPG"), wrong).expect("damage");
    let file = fs::File::options().write(true).open(target.join("sparse")).expect("a file");
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", 2 << 20).expect("data in a hole");
    fs::remove_file(target.join("a/IMG_0002.JPG")).expect("removed");
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!((summary.files, summary.files_verified, summary.files_failed), (1, 2, 2));
    // A file that failed does not also count as "already there".
    assert_eq!((summary.files_skipped, summary.files_kept_wrong), (1, 2));
    let paths: Vec<PathBuf> = problems.iter().map(|problem| problem.path.clone()).collect();
    assert_eq!(paths, [target.join("a/IMG_0001.JPG"), target.join("sparse")]);
}

#[test]
fn patterns_pick_and_leave_out() {
    let bench = Bench::local(small_packs());
    for name in ["a/x.jpg", "a/x.xmp", "a/deep/y.jpg", "b/z.jpg", "b/raw/w.cr3", "c/nothing.txt"] {
        bench.write(name, name);
    }
    bench.snapshot();
    let files = |target: &Path| {
        let mut found = tree::snapshot_of(target);
        found.retain(|_, node| node.kind == tree::Kind::File);
        let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
        found.keys().map(text).collect::<Vec<_>>()
    };
    let pick = |name: &str, include: &[&str], exclude: &[&str]| {
        let target = bench.path(name);
        let how = Restore { include, exclude, ..Restore::default() };
        let (summary, problems) = bench.restore("latest", &target, &how);
        assert_eq!(problems, []);
        assert_eq!(summary.files, files(&target).len() as u64);
        target
    };
    let jpegs = pick("1", &["*.jpg"], &[]);
    assert_eq!(files(&jpegs), ["a/deep/y.jpg", "a/x.jpg", "b/z.jpg"]);
    assert!(!jpegs.join("c").exists() && !jpegs.join("b/raw").exists());
    // Folders that were created only for a file below them have their times, too.
    let time = |path: PathBuf| tree::node_of(path).mtime_ns;
    assert_eq!(time(jpegs.join("a/deep")), time(bench.library.join("a/deep")));
    assert_eq!(files(&pick("2", &["a/"], &["*.xmp"])), ["a/deep/y.jpg", "a/x.jpg"]);
    let rest = pick("3", &[], &["a/", "raw/"]);
    assert_eq!(files(&rest), ["b/z.jpg", "c/nothing.txt"]);
    assert!(!rest.join("a").exists());
    assert_eq!(files(&pick("4", &["*.tif"], &[])), Vec::<String>::new());
}

#[test]
fn a_folder_or_a_file_of_a_snapshot() {
    let bench = small();
    let repository = bench.open();
    let fetch = |path: &Path, target: &str| {
        let target = bench.path(target);
        let restored = Restore::default().run(&repository, "latest", path, &target, &Silent);
        restored.map(|summary| (summary.files, target))
    };
    let (files, target) = fetch(&bench.library.join("a"), "folder").expect("a restore");
    assert_eq!(files, 2);
    tree::assert_same(bench.library.join("a"), &target);
    let (files, target) = fetch(&bench.library.join("a/two"), "file").expect("a restore");
    assert_eq!((files, fs::read_dir(&target).expect("a folder").count()), (1, 1));
    assert_eq!(tree::node_of(target.join("two")), tree::node_of(bench.library.join("a/two")));
    for missing in ["a/three", "nothing", "a/one/below"] {
        let path = bench.library.join(missing);
        let refused = fetch(&path, "missing");
        assert!(matches!(refused, Err(Error::NotInSnapshot { .. })), "{missing}");
    }
    // The parent folders of the library are in the snapshot as well.
    let (files, target) = fetch(Path::new("/"), "everything").expect("a restore");
    assert_eq!(files, 4);
    let below = target.join(crate::setup::in_snapshot(&bench.library));
    tree::assert_same(&bench.library, below);
}

#[test]
fn holes_come_back_as_holes() {
    let bench = Bench::local(small_packs());
    let sparse = |name: &str, size: u64, data: &[(u64, &[u8])]| {
        let file = fs::File::create(bench.library.join(name)).expect("a file");
        file.set_len(size).expect("a hole");
        for (offset, bytes) in data {
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, *offset).expect("data");
        }
    };
    let noise = photos::bytes(1, 700_000);
    let long = photos::bytes(2, 3_000_000);
    sparse("all hole", 200 << 20, &[]);
    sparse("head", 64 << 20, &[(0, &noise)]);
    sparse("tail", 64 << 20, &[((64 << 20) - 5, b"tail!")]);
    sparse(
        "middle",
        64 << 20,
        &[(1 << 20, &noise), (40 << 20, &noise), ((40 << 20) + 900_000, b"x")],
    );
    sparse("long", 64 << 20, &[(5 << 20, &long), (20 << 20, &long[4096..])]);
    bench.write("zeros", vec![0; 1 << 20]);
    let taken = bench.snapshot();
    assert!(taken.totals.bytes_added < 12_000_000, "holes were read: {:?}", taken.totals);
    let how = Restore { verify: true, ..Restore::default() };
    let target = bench.path("target");
    let (summary, problems) = bench.restore("latest", &target, &how);
    assert_eq!((summary.files_verified, problems.len()), (6, 0), "{problems:?}");
    tree::assert_same(&bench.library, &target);
    for name in ["all hole", "head", "tail", "middle", "long"] {
        let blocks = |folder: &Path| fs::metadata(folder.join(name)).expect("a file").blocks();
        let (there, here) = (blocks(&target), blocks(&bench.library));
        assert!(there <= here + 64, "{name}: {there} blocks instead of {here}");
    }
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    let bench = Bench::local(small_packs());
    let first = bench.write("a/first", photos::bytes(1, 400_000));
    fs::create_dir(bench.library.join("b")).expect("a folder");
    fs::hard_link(&first, bench.library.join("b/second")).expect("a link");
    fs::hard_link(&first, bench.library.join("third")).expect("a link");
    bench.snapshot();
    let target = bench.restored("latest", "all");
    tree::assert_same(&bench.library, &target);
    assert_eq!(fs::metadata(target.join("third")).expect("a file").nlink(), 3);
    // Without the first name, the second becomes the first.
    let how = Restore { exclude: &["first"], ..Restore::default() };
    let (summary, problems) = bench.restore("latest", &bench.path("two"), &how);
    assert_eq!((summary.files, problems.len()), (2, 0), "{problems:?}");
    let second = fs::metadata(bench.path("two/b/second")).expect("a file");
    assert_eq!((second.nlink(), second.len()), (2, 400_000));
    // Restore over existing separate files.
    let target = bench.path("over");
    put(target.join("a/first"), "1");
    put(target.join("b/second"), "2");
    put(target.join("third"), "3");
    let (summary, problems) = bench.restore("latest", &target, &Restore::over(Overwrite::Always));
    assert_eq!((summary.files, problems.len()), (3, 0), "{problems:?}");
    set_folder_times(&bench.library, &target);
    tree::assert_same(&bench.library, &target);
}
