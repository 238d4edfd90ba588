//! Snapshots: which files are read, which chunks are stored, and in which packs.

use std::collections::BTreeMap;
use std::path::Path;

use icecore_engine::error::Error;
use icecore_engine::files::{Exclude, ExcludeOptions, scan};
use icecore_engine::format::{PackKind, Settings};
use icecore_engine::ops::browse::{self, Snapshot};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{PackState, Repository, TreeReader};
use icecore_testkit::{photos, tree};
use rustix::fs::inotify;

use crate::setup::{Bench, Log, StopAfter, in_snapshot, settle, small_packs};

/// Counts how often files in some folders are opened while `work` runs.
pub fn opened_during<T>(folders: &[&Path], work: impl FnOnce() -> T) -> (T, usize) {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).expect("inotify");
    for folder in folders {
        let added = inotify::add_watch(&watch, *folder, inotify::WatchFlags::OPEN);
        added.expect("a watch");
    }
    let result = work();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 64 << 10];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut opened = 0;
    while let Ok(event) = reader.next() {
        // Opening a folder to list it does not count.
        opened += usize::from(!event.events().contains(inotify::ReadFlags::ISDIR));
    }
    (result, opened)
}

#[test]
fn an_unchanged_library_is_not_read_again() {
    let bench = Bench::local(small_packs());
    bench.write_photos("2024/rome", 12, 100_000);
    bench.write_photos("2024/paris", 12, 30_000);
    bench.write("2024/notes.txt", "taken in spring");
    settle();
    let folders = ["2024", "2024/rome", "2024/paris"].map(|name| bench.library.join(name));
    let folders = folders.each_ref().map(|path| path.as_path());
    let (first, opened) = opened_during(&folders, || bench.snapshot());
    assert_eq!((first.totals.files_new, opened), (25, 25));

    let (again, opened) = opened_during(&folders, || bench.snapshot());
    assert_eq!(opened, 0, "a file that has not changed was opened");
    let totals = &again.totals;
    assert_eq!((totals.files_unmodified, totals.files_new, totals.files_changed), (25, 0, 0));
    // The snapshot record is new, and perhaps the trees of the folders above the library, if another program used the
    // folder for temporary files.
    let above = bench.library.ancestors().count() as u64;
    let bytes_max = 1000 + 300 * above;
    assert!((1..=1 + above).contains(&totals.chunks_new), "{totals:?}");
    assert!(totals.packs_written == 1 && totals.bytes_added < bytes_max, "{totals:?}");
    assert_eq!(again.requests.put, 2, "{:?}", again.requests);
    let asked = again.requests.get + again.requests.head + again.requests.list;
    assert!(asked < 8, "{:?}", again.requests);

    // `force` reads everything, but stores nothing twice.
    let options = SnapshotOptions { force: true, ..bench.snapshot_options() };
    let take = || snapshot(&bench.open_writer(), &options, &Log::default()).expect("a snapshot");
    let (forced, opened) = opened_during(&folders, take);
    assert_eq!((forced.totals.files_unmodified, opened), (25, 25));
    assert!(forced.totals.bytes_added < bytes_max, "{:?}", forced.totals);
}

#[test]
fn one_changed_file_is_the_only_one_that_is_read() {
    let bench = Bench::local(small_packs());
    bench.write_photos("a", 10, 50_000);
    bench.write_photos("b", 10, 50_000);
    settle();
    bench.snapshot();
    bench.write("b/IMG_0004.JPG", photos::jpeg(99, 60_000, 500));
    bench.write("b/new.xmp", photos::sidecar(1));
    let folders = ["a", "b"].map(|name| bench.library.join(name));
    let folders = folders.each_ref().map(|path| path.as_path());
    let (second, opened) = opened_during(&folders, || bench.snapshot());
    let totals = &second.totals;
    assert_eq!((totals.files_new, totals.files_changed, totals.files_unmodified), (1, 1, 19));
    assert_eq!(opened, 2);
    assert!(totals.bytes_added < 100_000, "{totals:?}");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn a_file_that_an_interrupted_run_has_read_counts_as_changed() {
    let bench = Bench::local(small_packs());
    for folder in ["a", "b", "c"] {
        bench.write_photos(folder, 6, 2_000_000);
    }
    settle();
    bench.snapshot();
    for folder in ["a", "b", "c"] {
        bench.write(&format!("{folder}/IMG_0004.JPG"), photos::jpeg(98, 60_000, 500));
        bench.write(&format!("{folder}/new.CR3"), photos::bytes(7, 3_000_000));
    }
    settle();
    // Stopped twice, at another place each time, as by Ctrl-C.
    for bytes in [6_000_000, 26_000_000] {
        let stop = StopAfter::bytes(bytes);
        let stopped = snapshot(&bench.open_writer(), &bench.snapshot_options(), &stop);
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    }
    let totals = bench.snapshot().totals;
    let counted = (totals.files_new, totals.files_changed, totals.files_moved);
    assert_eq!((counted, totals.files_unmodified), ((3, 3, 0), 15), "{totals:?}");
    // Then it is in a snapshot like any other.
    assert_eq!(bench.snapshot().totals.files_unmodified, 21);
}

#[test]
fn a_moved_folder_is_not_stored_again() {
    let bench = Bench::local(small_packs());
    let bytes = bench.write_photos("inbox/shoot", 8, 600_000);
    bench.write("inbox/shoot/notes.txt", photos::bytes(5, 10_000));
    let first = bench.snapshot();
    assert!(first.totals.bytes_stored > bytes);
    std::fs::create_dir(bench.library.join("2024")).expect("a folder");
    std::fs::rename(bench.library.join("inbox/shoot"), bench.library.join("2024/rome"))
        .expect("a move");
    let cold = bench.under("packs/");
    let second = bench.snapshot();
    // All of them are read again if they were just written, and none on a slow machine.
    let totals = &second.totals;
    assert_eq!(totals.files_moved + totals.files_unmodified, 9, "{totals:?}");
    assert!(second.totals.bytes_stored < 20_000, "{:?}", second.totals);
    assert_eq!(bench.under("packs/"), cold);
    assert_eq!(second.totals.bytes_processed, first.totals.bytes_processed);
    tree::assert_same(&bench.library, bench.restored("latest", "after"));
}

/// A moved folder is recognised by its inode: unchanged files in it are not read.
#[test]
fn what_moved_with_its_folder_is_not_read_again() {
    let bench = Bench::local(small_packs());
    bench.write_photos("inbox/shoot", 8, 50_000);
    settle();
    bench.snapshot();
    let moved = bench.library.join("rome");
    std::fs::rename(bench.library.join("inbox/shoot"), &moved).expect("a move");
    // Write other content of the same length with the same times, and swap the names of two files.
    let path = |number: u64| moved.join(format!("IMG_{number:04}.JPG"));
    let times = std::fs::metadata(path(3)).expect("it is there");
    let length = times.len() as usize;
    std::fs::write(path(3), photos::bytes(7, length)).expect("written");
    let file = std::fs::File::options().write(true).open(path(3)).expect("opened");
    file.set_modified(times.modified().expect("a time")).expect("set");
    std::fs::rename(path(4), moved.join("aside")).expect("renamed");
    std::fs::rename(path(5), path(4)).expect("renamed");
    std::fs::rename(moved.join("aside"), path(5)).expect("renamed");
    settle();
    let (second, opened) = opened_during(&[&moved], || bench.snapshot());
    let totals = &second.totals;
    assert_eq!(
        (opened, totals.files_new, totals.files_moved, totals.files_unmodified),
        (3, 1, 2, 5)
    );
    tree::assert_same(&bench.library, bench.restored("latest", "second"));

    for name in ["2024", "inbox/back", "2024-rome"] {
        let here = bench.library.join(name);
        let before = bench.library.join("rome");
        let before = if before.exists() { before } else { bench.library.join("moved") };
        std::fs::rename(&before, &here).expect("a move");
        let (again, opened) = opened_during(&[&here], || bench.snapshot());
        assert_eq!((opened, again.totals.files_unmodified), (0, 8), "{name}");
        std::fs::rename(&here, bench.library.join("moved")).expect("a move");
    }
    // A new folder that reuses an inode has its own files.
    std::fs::remove_dir_all(bench.library.join("moved")).expect("removed");
    bench.write_photos("new", 8, 50_001);
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "third"));
}

#[test]
fn every_kind_goes_to_its_prefix() {
    let bench = Bench::local(Settings::default());
    bench.write("small/a.xmp", photos::sidecar(1));
    bench.write("small/b.jpg", photos::jpeg(2, 100_000, 100));
    bench.snapshot();
    assert_eq!(bench.under("packs/").len(), 0, "small files went to packs/");
    assert_eq!((bench.under("hot/").len(), bench.under("meta/").len()), (1, 1));

    // These files are large, but change often, so their names decide.
    bench.write("Catalog.lrcat", photos::bytes(3, 700_000));
    bench.write("Catalog.lrcat-wal", photos::bytes(4, 700_000));
    bench.write("huge.XMP", photos::bytes(5, 700_000));
    bench.snapshot();
    assert_eq!(bench.under("packs/").len(), 0);

    let hot: u64 = bench.under("hot/").values().sum();
    bench.write("raw.cr3", photos::bytes(6, 700_000));
    bench.snapshot();
    assert_eq!(bench.under("hot/").values().sum::<u64>(), hot);
    let cold: Vec<u64> = bench.under("packs/").into_values().collect();
    assert_eq!(cold, [1 << 20], "one pack, padded");
    assert_eq!((bench.under("meta/").len(), bench.under("log/").len()), (3, 3));

    let repository = bench.open();
    for pack in repository.catalog.packs(PackState::Committed).expect("packs") {
        let name = icecore_engine::store::layout::pack(pack.kind, &pack.id);
        assert_eq!(bench.objects().get(&name), Some(&pack.bytes), "{name}");
    }
}

/// Returns the cold packs that each file of a snapshot needs.
fn packs_of_files(repository: &Repository) -> BTreeMap<String, Vec<i64>> {
    let trees = TreeReader::new(repository).expect("trees");
    let row = browse::resolve(repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let mut packs = BTreeMap::new();
    browse::ls(&snapshot, b"", true, &mut |path, entry| {
        let mut of_file = Vec::new();
        for id in browse::ids(entry)? {
            let place = repository.catalog.chunk(&id)?.expect("a chunk that is known");
            let pack = repository.catalog.pack(place.pack)?.expect("a pack that is known");
            if pack.kind == PackKind::Cold && !of_file.contains(&place.pack.0) {
                of_file.push(place.pack.0);
            }
        }
        if !of_file.is_empty() {
            packs.insert(path.to_string_lossy().into_owned(), of_file);
        }
        Ok(())
    })
    .expect("a listing");
    packs
}

#[test]
fn files_do_not_straddle_packs_and_a_shoot_shares_them() {
    let bench = Bench::local(Settings { pack_bytes: 8 << 20, ..Settings::default() });
    let bytes = bench.write_photos("raws", 14, 3_100_000) + bench.write_photos("jpegs", 9, 800_000);
    bench.snapshot();
    let packs = packs_of_files(&bench.open());
    assert_eq!(packs.len(), 23);
    for (file, packs) in &packs {
        assert_eq!(packs.len(), 1, "{file} is in {packs:?}");
    }
    let of_folder = |name: &str| {
        let found = packs.iter().filter(|(path, _)| path.contains(name));
        found.flat_map(|(_, packs)| packs).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert!(of_folder("/jpegs/") <= 2, "7 MB are in {} packs", of_folder("/jpegs/"));
    // Two files of 3.1 MB fit into a pack of 8 MiB, and each worker may leave a remainder.
    assert!(of_folder("/raws/") <= 9, "43 MB are in {} packs", of_folder("/raws/"));
    let stored: u64 = bench.under("packs/").values().sum();
    assert!(stored < bytes + bytes / 50, "{stored} bytes for {bytes}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let bench = Bench::local(small_packs());
    bench.write_photos("a", 5, 200_000);
    bench.snapshot();
    bench.write_photos("b", 5, 200_000);
    let before = bench.objects();
    let position = bench.open_writer().catalog.position().expect("a position");
    let options = SnapshotOptions { dry_run: true, ..bench.snapshot_options() };
    let repository = bench.open_writer();
    let dry = snapshot(&repository, &options, &Log::default()).expect("a dry run");
    assert!(dry.id.is_none() && dry.head.is_none());
    assert_eq!(dry.totals.files_new, 5);
    assert!(dry.totals.bytes_added > 1_000_000 && dry.requests.put == 0);
    assert_eq!(bench.objects(), before);
    assert_eq!(repository.catalog.position().expect("a position"), position);
    // The dry run left nothing behind that the next run would rely on.
    let real = bench.snapshot();
    assert_eq!(real.totals.bytes_added, dry.totals.bytes_added);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// The packs of a snapshot depend on the library alone, so a dry run predicts them on any machine.
#[test]
fn packs_do_not_depend_on_the_number_of_threads() {
    let bench = Bench::local(small_packs());
    for (number, folder) in ["rome", "oslo", "bern"].iter().enumerate() {
        bench.write_photos(folder, 9, 300_000);
        bench.write(&format!("{folder}/film.mov"), photos::bytes(number as u64, 7 << 20));
        bench.write(&format!("{folder}/notes.txt"), vec![b'n'; 2 << 20]);
        for sidecar in 0..40 {
            bench.write(&format!("{folder}/{sidecar}.xmp"), photos::sidecar(sidecar));
        }
    }
    let options = SnapshotOptions { dry_run: true, ..bench.snapshot_options() };
    let told = [1, 2, 7].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let dry = pool.install(|| snapshot(&bench.open_writer(), &options, &Log::default()));
        let mut totals = dry.expect("a dry run").totals;
        totals.stored.sort();
        totals
    });
    let mut real = bench.snapshot().totals;
    real.stored.sort();
    assert!(real.packs_written > 6, "{real:?}");
    assert_eq!(told.each_ref().map(|told| told == &real), [true; 3], "{told:#?} {real:#?}");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// A catalog with many chunks moves them to another table, behind a filter. None is forgotten: known chunks are not
/// stored again, and new ones are.
#[test]
fn chunks_that_are_settled_are_known_like_others() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 12, 300_000);
    bench.snapshot();
    let path = bench.cache.join(bench.id.to_string()).join("catalog.sqlite");
    let catalog = rusqlite::Connection::open(path).expect("a catalog");
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        catalog.query_row(&sql, [], |row| row.get(0)).expect("a count")
    };
    assert_eq!(rows("settled"), 0);
    let many = "UPDATE meta SET value = x'0000000000000001' WHERE key = 'write_buffer'";
    for round in 0..3 {
        let buffered = rows("write_buffer");
        assert_eq!(catalog.execute(many, []).expect("another count"), 1);
        bench.write(&format!("new/{round}.jpg"), photos::bytes(100 + round, 200_000));
        let options = SnapshotOptions { force: true, ..bench.snapshot_options() };
        let taken = snapshot(&bench.open_writer(), &options, &Log::default()).expect("a snapshot");
        assert_eq!(taken.totals.files(), 13 + round);
        assert!((200_000..220_000).contains(&taken.totals.bytes_added), "{:?}", taken.totals);
        assert!(rows("settled") >= buffered && rows("write_buffer") > 0, "round {round}");
    }
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    assert_eq!(bench.check().errors, []);
}

/// Returns the files and folders of the newest snapshot, as paths in the library.
fn listed(bench: &Bench) -> Vec<String> {
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let library = in_snapshot(&bench.library);
    let mut names = Vec::new();
    browse::ls(&snapshot, &crate::setup::bytes_of(&bench.library), true, &mut |path, _| {
        let path = path.strip_prefix(&library).expect("a path in the library");
        names.push(path.to_string_lossy().into_owned());
        Ok(())
    })
    .expect("a listing");
    names
}

#[test]
fn what_is_excluded_is_left_out() {
    let bench = Bench::local(small_packs());
    for name in [
        "keep.jpg",
        "a.tmp",
        "a/b.tmp",
        "a/keep.tmp",
        "a/c.jpg",
        "previews/x.jpg",
        "a/previews/y.jpg",
        "b/.nobackup",
        "b/secret.jpg",
        "b/deep/file",
        "cache/CACHEDIR.TAG",
        "cache/thumb",
        "raw/c.jpg",
        "fake/CACHEDIR.TAG",
        "fake/file",
        ".DS_Store",
        "@eaDir/keep.jpg/thumb.jpg",
    ] {
        bench.write(name, name);
    }
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache";
    bench.write("cache/CACHEDIR.TAG", tag);
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let summary = bench.snapshot_without(ExcludeOptions {
        patterns: text(&["*.tmp", "!keep.tmp", "previews/", "a/c.jpg"]),
        if_present: text(&[".nobackup"]),
        caches: true,
        one_file_system: true,
        litter: true,
    });
    let expected = [
        "a",
        "a/keep.tmp",
        "b",
        "b/.nobackup",
        "cache",
        "cache/CACHEDIR.TAG",
        "fake",
        "fake/CACHEDIR.TAG",
        "fake/file",
        "keep.jpg",
        "raw",
        "raw/c.jpg",
    ];
    assert_eq!(listed(&bench), expected);
    assert_eq!((summary.unmatched, summary.totals.litter_left_out), (vec![], 2));
    // A pattern with a leading slash begins at the top of the snapshot, not of the library.
    let anchored = format!("/{}/a/c.jpg", in_snapshot(&bench.library).display());
    let patterns = vec![anchored, "/a/keep.tmp".to_owned()];
    let summary = bench.snapshot_without(ExcludeOptions { patterns, ..ExcludeOptions::default() });
    assert_eq!((summary.unmatched, summary.totals.litter_left_out), (vec![1], 0));
    assert!(!listed(&bench).contains(&"a/c.jpg".to_owned()));
    assert_eq!(listed(&bench).len(), 26);

    let bad = ExcludeOptions { patterns: text(&["a{"]), ..ExcludeOptions::default() };
    let options = SnapshotOptions { exclude: bad, ..bench.snapshot_options() };
    let refused = snapshot(&bench.open_writer(), &options, &Silent).expect_err("a bad pattern");
    assert!(matches!(&refused, Error::Pattern { pattern, .. } if pattern == "a{"), "{refused}");
}

#[test]
fn another_file_system_is_recognised() {
    let (root, proc) = (scan::stat(Path::new("/"), true), scan::stat(Path::new("/proc"), true));
    let (root, proc) = (root.expect("a root"), proc.expect("/proc is mounted"));
    assert_ne!(root.device, proc.device);
    for one_file_system in [true, false] {
        let options = ExcludeOptions { one_file_system, ..ExcludeOptions::default() };
        let exclude = Exclude::new(options).expect("valid options");
        assert_eq!(exclude.is_elsewhere(&proc, root.device), one_file_system);
        assert!(!exclude.is_elsewhere(&proc, proc.device));
    }
}

#[test]
fn a_repository_inside_the_library_does_not_archive_itself() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 3, 100_000);
    // Archive the folder that contains library, repository and cache.
    let options = SnapshotOptions {
        paths: vec![bench.temp.path().to_owned()],
        skip: vec![bench.cache.clone()],
        ..bench.snapshot_options()
    };
    for _ in 0..2 {
        let taken = snapshot(&bench.open_writer(), &options, &Silent).expect("a snapshot");
        assert_eq!((taken.totals.files(), taken.totals.files_failed), (3, 0));
    }
    let repository = bench.open();
    let trees = TreeReader::new(&repository).expect("trees");
    let row = browse::resolve(&repository, "latest").expect("a snapshot");
    let snapshot = Snapshot::open(&trees, row).expect("a snapshot");
    let mut names = Vec::new();
    let folder = crate::setup::bytes_of(bench.temp.path());
    browse::ls(&snapshot, &folder, false, &mut |path, _| {
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        Ok(())
    })
    .expect("a listing");
    assert_eq!(names, ["library"]);
}

#[test]
fn a_single_file_and_several_paths() {
    let bench = Bench::local(small_packs());
    bench.write_photos("a", 2, 40_000);
    bench.write_photos("b", 2, 40_000);
    let single = bench.write("c/one.jpg", photos::jpeg(1, 50_000, 100));
    let options = SnapshotOptions {
        paths: vec![bench.library.join("a"), single, bench.library.join("a/IMG_0001.JPG")],
        ..bench.snapshot_options()
    };
    let taken = snapshot(&bench.open_writer(), &options, &Silent).expect("a snapshot");
    assert_eq!(taken.totals.files_new, 3);
    assert_eq!(listed(&bench), ["a", "a/IMG_0000.JPG", "a/IMG_0001.JPG", "c", "c/one.jpg"]);
    std::fs::remove_dir_all(bench.library.join("b")).expect("removed");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));

    let none = SnapshotOptions { paths: vec![], ..bench.snapshot_options() };
    let refused = snapshot(&bench.open_writer(), &none, &Silent);
    assert!(matches!(refused, Err(Error::Input { .. })));
    let missing =
        SnapshotOptions { paths: vec![bench.path("nothing")], ..bench.snapshot_options() };
    let refused = snapshot(&bench.open_writer(), &missing, &Silent);
    assert!(matches!(refused, Err(Error::File { .. })));
}
