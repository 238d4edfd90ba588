//! Snapshots with trouble: files that change while they are read, interrupted runs, a missing or damaged catalog,
//! several writers at once.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore_engine::error::Error;
use icecore_engine::format::Settings;
use icecore_engine::ops::snapshot::{SnapshotOptions, SnapshotSummary, snapshot};
use icecore_engine::progress::{Problem, Silent};
use icecore_engine::repo::{Catalog, Keys};
use icecore_engine::store::layout;
use icecore_testkit::{photos, tree};

use crate::setup::{Bench, Meddler, StopAfter, is_root, settle, small_packs};

/// Takes a snapshot while `step` runs on the threads that read files.
fn meddled(bench: &Bench, step: impl Fn() + Send + Sync) -> (SnapshotSummary, Vec<Problem>) {
    let meddler = Meddler::new(|| {
        step();
        false
    });
    let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &meddler);
    (taken.expect("a snapshot"), meddler.log.problems())
}

fn append(path: &Path) {
    let file = std::fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(b"more")).expect("more bytes");
}

#[track_caller]
fn assert_names(problems: &[Problem], path: &Path, part: &str) {
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].path, path);
    assert!(problems[0].message.contains(part), "{problems:?}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let bench = Bench::local(small_packs());
    let content = photos::bytes(1, 3 << 20);
    let path = bench.write("growing.mov", &content);
    bench.write("still.jpg", photos::jpeg(2, 100_000, 0));
    let (taken, problems) = meddled(&bench, || append(&path));
    assert_names(&problems, &path, "changed while it was read; it is stored as it was read");
    assert_eq!((taken.totals.files_failed, taken.totals.files()), (1, 2));
    assert_eq!((taken.totals.files_new, taken.totals.files_unmodified), (2, 0));
    let out = bench.restored("latest", "torn");
    let stored = std::fs::read(out.join("growing.mov")).expect("the torn file");
    assert!(stored.starts_with(&content));
    tree::assert_same(bench.library.join("still.jpg").parent().expect("it"), {
        std::fs::copy(&path, out.join("growing.mov")).expect("a copy");
        let time = std::fs::metadata(&path).expect("a file").modified().expect("a time");
        let copied = std::fs::File::options().write(true).open(out.join("growing.mov"));
        copied.and_then(|file| file.set_modified(time)).expect("the time is set");
        &out
    });
    assert_eq!(bench.check().errors, []);

    // When the file is stable, it is read again, although it has not changed since.
    let again = bench.snapshot();
    assert_eq!(again.totals.files_changed, 1, "{:?}", again.totals);
    tree::assert_same(&bench.library, bench.restored("latest", "still"));
}

#[test]
fn a_file_that_is_cut_short_takes_no_other_with_it() {
    // Zeros are cut where a window ends, so no uncut bytes are left when the file turns out shorter.
    for at in [1, 2, 3, 5, 8, 12] {
        let bench = Bench::local(small_packs());
        let path = bench.write("a.mov", vec![0; 24 << 20]);
        bench.write("b.CR3", photos::bytes(1, 9 << 20));
        for number in 0..20 {
            bench.write(&format!("c/{number}.xmp"), photos::sidecar(number));
        }
        let calls = AtomicU64::new(0);
        let (taken, _) = meddled(&bench, || {
            if calls.fetch_add(1, Ordering::SeqCst) == at {
                std::fs::write(&path, b"short").expect("it is cut short");
            }
        });
        assert!(calls.into_inner() > at, "it was not cut short");
        assert!(taken.totals.files() >= 21, "{at}: {:?}", taken.totals);
        let out = bench.restored("latest", "out");
        for kept in [&bench.library, &out] {
            std::fs::remove_file(kept.join("a.mov")).ok();
        }
        let differ =
            tree::differences(&tree::snapshot_of(&bench.library), &tree::snapshot_of(&out));
        let differ: Vec<_> = differ.into_iter().filter(|line| !line.contains("mtime")).collect();
        assert!(differ.is_empty(), "{at}: {differ:?}");
    }
}

#[test]
fn the_older_version_of_a_changing_file_is_kept() {
    let bench = Bench::local(small_packs());
    let path = bench.write("catalog.db", photos::bytes(1, 2 << 20));
    bench.snapshot();
    let older = tree::snapshot_of(&bench.library);
    std::fs::write(&path, photos::bytes(2, 3 << 20)).expect("another version");
    let (taken, problems) = meddled(&bench, || append(&path));
    assert_names(&problems, &path, "changed while it was read; the last version");
    assert_eq!((taken.totals.files_failed, taken.totals.files()), (1, 1));
    assert_eq!(taken.totals.files_unmodified, 1, "it is the version of before");
    assert_eq!(taken.totals.bytes_processed, 2 << 20);
    tree::assert_same_as(&older, bench.restored("latest", "older"));
    assert_eq!(bench.check().errors, []);
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "newer"));
}

#[test]
fn a_file_that_vanishes_is_named_and_left_out() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 4, 100_000);
    bench.snapshot();
    for number in 0..4 {
        append(&bench.library.join(format!("shoot/IMG_{number:04}.JPG")));
    }
    let path = bench.library.join("shoot/IMG_0002.JPG");
    // The file is listed by then, because files are read after their folder is listed.
    let (taken, problems) = meddled(&bench, || drop(std::fs::remove_file(&path)));
    assert_names(&problems, &path, "cannot read: No such file");
    assert_eq!((taken.totals.files_failed, taken.totals.files()), (1, 3));
    let out = bench.restored("latest", "out");
    assert!(!out.join("shoot/IMG_0002.JPG").exists());
    let content = |path: PathBuf| std::fs::read(path).expect("a file");
    for number in [0, 1, 3] {
        let name = format!("shoot/IMG_{number:04}.JPG");
        assert_eq!(content(out.join(&name)), content(bench.library.join(&name)));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_its_older_version_kept() {
    let bench = Bench::local(small_packs());
    bench.write("new.jpg", "not there before");
    let path = bench.write("secret.jpg", photos::jpeg(1, 90_000, 0));
    std::fs::remove_file(bench.library.join("new.jpg")).expect("removed");
    bench.snapshot();
    append(&path);
    bench.write("new.jpg", "not there before");
    // Permissions do not stop root, but no one reads a pipe.
    let unreadable = |name: &str| {
        let path = bench.library.join(name);
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            // Do this in one step, because a moment without the name would be a different case.
            let beside = bench.library.with_file_name(name);
            make_fifo(&beside);
            std::fs::rename(&beside, &path).expect("put in its place");
        }
    };
    // Two workers read a small and a large file, so let only one of them change files at a time.
    let meddling = Mutex::new(());
    let (taken, mut problems) = meddled(&bench, || {
        let _one = meddling.lock().expect("no meddler panicked");
        unreadable("new.jpg");
        unreadable("secret.jpg");
    });
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_names(&problems[..1], &bench.library.join("new.jpg"), "no longer a regular file");
    assert_names(&problems[1..], &path, "the last version that was read is kept");
    assert_eq!(taken.totals.files_failed, 2);
    let out = bench.restored("latest", "out");
    let kept = std::fs::read(out.join("secret.jpg")).expect("the older version");
    assert_eq!(kept, photos::jpeg(1, 90_000, 0));
    assert!(!out.join("new.jpg").exists());
}

#[test]
fn a_file_that_is_cut_to_almost_nothing_while_it_is_read() {
    let bench = Bench::local(small_packs());
    let path = bench.write("clip.mov", photos::bytes(1, 4 << 20));
    bench.snapshot();
    let older = tree::snapshot_of(&bench.library);
    std::fs::write(&path, photos::bytes(2, 5 << 20)).expect("another version");
    // Do nothing before the file is opened, and truncate it in the middle of both reads.
    let steps = AtomicU64::new(0);
    let (taken, problems) = meddled(&bench, || {
        let step = steps.fetch_add(1, Ordering::SeqCst);
        if step > 0 {
            let file = std::fs::File::options().write(true).open(&path).expect("a file");
            // Use another length each time, because two changes may have the same time. Do it in one step, because a
            // worker that ends may call this as well.
            file.set_len(step).expect("it is cut");
        }
    });
    assert_names(&problems, &path, "changed while it was read; the last version");
    assert_eq!(taken.totals.files_failed, 1);
    tree::assert_same_as(&older, bench.restored("latest", "older"));
    assert_eq!(bench.check().errors, []);
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "newer"));
}

#[test]
fn a_file_that_becomes_a_folder_or_a_symlink_is_named_and_its_older_version_kept() {
    for becomes in ["folder", "symlink"] {
        let bench = Bench::local(small_packs());
        let path = bench.write("IMG_1.jpg", photos::jpeg(1, 90_000, 0));
        bench.write("secret", "of somebody else");
        bench.snapshot();
        let older = std::fs::read(&path).expect("a photo");
        append(&path);
        // The walk and the workers may call this at the same time.
        let turn = std::sync::Mutex::new(());
        let (taken, problems) = meddled(&bench, || {
            let _turn = turn.lock().expect("one at a time");
            if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
                let beside = bench.path("beside");
                match becomes {
                    "folder" => std::fs::create_dir(&beside).expect("a folder"),
                    _ => std::os::unix::fs::symlink("secret", &beside).expect("a symlink"),
                }
                std::fs::remove_file(&path).expect("the photo");
                std::fs::rename(&beside, &path).expect("put in its place");
            }
        });
        assert_names(&problems, &path, "the last version that was read is kept");
        assert_eq!(taken.totals.files_failed, 1, "{becomes}");
        let out = bench.restored("latest", "out");
        assert_eq!(std::fs::read(out.join("IMG_1.jpg")).expect("the photo"), older, "{becomes}");
        assert_eq!(bench.check().errors, []);
        bench.snapshot();
        tree::assert_same(&bench.library, bench.restored("latest", "newer"));
    }
}

fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).expect("a pipe");
}

#[test]
fn a_worker_that_panics_ends_the_run() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 8, 1_300_000);
    let meddler = Meddler::new(|| -> bool { panic!("on purpose, in a worker") });
    let run = || snapshot(&bench.open_writer(), &bench.snapshot_options(), &meddler);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(ended.is_err(), "a panic is no success: {ended:?}");
    bench.snapshot();
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn a_file_without_permission_is_named() {
    if is_root() {
        eprintln!("not tested as root, whom no permission stops");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::local(small_packs());
    let path = bench.write("locked.jpg", "locked");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o0)).expect("no permission");
    let (taken, problems) = meddled(&bench, || {});
    assert_names(&problems, &path, "Permission denied");
    assert_eq!((taken.totals.files_failed, taken.totals.files()), (1, 0));
}

#[test]
fn without_its_catalog_a_host_stores_nothing_twice() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 6, 300_000);
    bench.write("notes.txt", photos::bytes(1, 5_000));
    bench.snapshot();
    let packs = bench.objects();
    let spoil = spoilers(&bench);
    for (what, spoil) in spoil {
        let catalog = bench.cache.join(bench.id.to_string()).join("catalog.sqlite");
        spoil(&catalog);
        let taken = bench.snapshot();
        assert_eq!(taken.totals.files_moved, 7, "{what}: it was not made anew");
        assert!(taken.totals.bytes_stored < 20_000, "{what}: {:?}", taken.totals);
    }
    let mut after = bench.objects();
    after.retain(|name, _| !name.starts_with("meta/") && !name.starts_with("log/"));
    assert!(after.keys().all(|name| packs.contains_key(name)), "photo data was stored twice");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    assert_eq!(bench.check().errors, []);
}

type Spoiler = Box<dyn Fn(&Path)>;

/// Ways to make a catalog invalid for this repository.
fn spoilers(bench: &Bench) -> Vec<(&'static str, Spoiler)> {
    let (cache, id) = (bench.cache.clone(), bench.id);
    let foreign = bench.sibling(small_packs());
    foreign.write_photos("other", 2, 20_000);
    foreign.snapshot();
    let foreign_file = foreign.cache.join(foreign.id.to_string()).join("catalog.sqlite");
    let foreign_bytes = std::fs::read(foreign_file).expect("a catalog");
    vec![
        ("deleted", Box::new(move |_| Catalog::delete(&cache, id, &Silent).expect("deleted"))),
        ("random bytes", Box::new(|path| replace(path, &photos::bytes(7, 100_000)))),
        ("empty", Box::new(|path| replace(path, b""))),
        ("head of random bytes", Box::new(|path| damage(path, 0, &photos::bytes(8, 200)))),
        ("schema of random bytes", Box::new(|path| damage(path, 100, &photos::bytes(9, 3_000)))),
        (
            "truncated",
            Box::new(|path| {
                let content = std::fs::read(path).expect("a catalog");
                replace(path, &content[..5_000]);
            }),
        ),
        ("another repository's", Box::new(move |path| replace(path, &foreign_bytes))),
        ("a text", Box::new(|path| replace(path, b"this is no database"))),
        (
            "another version",
            Box::new(|path| {
                let connection = rusqlite::Connection::open(path).expect("a database");
                connection.pragma_update(None, "user_version", 99).expect("another version");
            }),
        ),
        (
            "a table is gone",
            Box::new(|path| {
                let connection = rusqlite::Connection::open(path).expect("a database");
                connection.execute_batch("DROP TABLE meta").expect("a table less");
            }),
        ),
    ]
}

fn replace(path: &Path, content: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let _ = std::fs::remove_file(beside);
    }
    std::fs::write(path, content).expect("another catalog");
}

fn damage(path: &Path, at: usize, with: &[u8]) {
    let mut content = std::fs::read(path).expect("a catalog");
    content[at..at + with.len()].copy_from_slice(with);
    replace(path, &content);
}

#[test]
fn an_interrupted_run_loses_only_the_packs_that_were_open() {
    let bench = Bench::local(small_packs());
    let bytes = bench.write_photos("shoot", 30, 1_300_000);
    let stop = StopAfter::bytes(bytes / 2);
    let stopped = snapshot(&bench.open_writer(), &bench.snapshot_options(), &stop);
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let arrived = bench.under("packs/");
    let arrived_bytes: u64 = arrived.values().sum();
    assert!(arrived_bytes > bytes / 4, "{arrived_bytes} of {bytes} bytes had arrived");
    assert_eq!(bench.under("log/").len(), 0, "a part of a snapshot was published");

    let taken = bench.snapshot();
    let packs = bench.under("packs/");
    assert!(arrived.keys().all(|name| packs.contains_key(name)));
    let stored: u64 = packs.values().sum();
    // A pack contains three photos, and is padded to 4 MiB.
    assert!(stored < bytes + bytes / 12, "{stored} bytes are stored for {bytes}");
    // The content that arrived is somewhat less than its padded packs.
    assert!(taken.totals.bytes_added < bytes - arrived_bytes * 9 / 10 + (1 << 20));
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    let report = bench.check();
    assert_eq!((report.errors, report.unreferenced), (vec![], 0));
}

#[test]
fn writers_with_caches_of_their_own_do_not_disturb_each_other() {
    const WRITERS: u64 = 4;
    let bench = Bench::local(small_packs());
    bench.write_photos("shared", 4, 200_000);
    for writer in 0..WRITERS {
        bench.write_photos(&format!("own-{writer}"), 4, 150_000);
    }
    let take = |writer: u64| {
        let cache = bench.path(&format!("cache-{writer}"));
        for round in 0..3 {
            let keys = Keys::Writer(Box::new(bench.identity.credential(bench.id)));
            let repository = bench.try_open(keys, &cache).expect("it opens");
            let own = format!("own-{writer}");
            bench.write(&format!("{own}/round-{round}.xmp"), photos::sidecar(writer * 10 + round));
            let options = SnapshotOptions {
                paths: vec![bench.library.join("shared"), bench.library.join(own)],
                tags: vec![format!("writer {writer}")],
                ..bench.snapshot_options()
            };
            snapshot(&repository, &options, &Silent).expect("a snapshot");
        }
    };
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            threads.spawn(move || take(writer));
        }
    });
    let snapshots = bench.open().catalog.snapshots().expect("snapshots");
    assert_eq!(snapshots.len(), 12);
    for writer in 0..WRITERS {
        let tag = format!("writer {writer}");
        let own = snapshots.iter().filter(|row| row.entry.tags[0] == tag);
        let newest = own.max_by_key(|row| row.number).expect("a snapshot of this writer");
        let out = bench.restored(&newest.entry.id.to_string(), &tag);
        for folder in ["shared".to_owned(), format!("own-{writer}")] {
            tree::assert_same(bench.library.join(&folder), out.join(&folder));
        }
    }
    assert_eq!(bench.check().errors, []);
}

#[test]
fn writers_with_one_cache_wait_for_each_other() {
    let bench = Bench::local(small_packs());
    let bytes = bench.write_photos("shoot", 6, 200_000);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| bench.snapshot());
        }
    });
    assert_eq!(bench.open().catalog.snapshots().expect("snapshots").len(), 3);
    let stored: u64 = bench.under("packs/").values().sum();
    assert_eq!(stored, 2 << 20, "{bytes} bytes in one padded pack: not stored more than once");
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

#[test]
fn the_log_grows_by_parts_in_a_long_run() {
    // With packs of 1 MiB, a log entry is written after 64 of them, before the snapshot is done.
    let settings = Settings { pack_bytes: 1 << 20, ..small_packs() };
    let bench = Bench::local(settings);
    for folder in 0..5 {
        bench.write_photos(&format!("shoot-{folder}"), 18, 900_000);
    }
    let done = AtomicBool::new(false);
    let meddler = Meddler::new(|| {
        done.store(bench.folder().join("log").exists(), Ordering::SeqCst);
        false
    });
    let taken = snapshot(&bench.open_writer(), &bench.snapshot_options(), &meddler);
    assert_eq!(taken.expect("a snapshot").totals.files_new, 90);
    assert!(bench.under("log/").len() >= 2, "{:?}", bench.under("log/"));
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
    assert_eq!(bench.open().catalog.snapshots().expect("snapshots").len(), 1);
    settle();
    let again = bench.snapshot();
    assert_eq!((again.totals.files_unmodified, again.totals.packs_written), (90, 1));
}

/// Anybody who can add to a folder can add something that is no file under the next name of the log.
#[test]
fn what_is_no_file_in_the_log_stops_no_command() {
    type Make = fn(&Path);
    let kinds: [Make; 4] = [
        |path| std::fs::create_dir(path).expect("a folder"),
        make_fifo,
        |path| std::os::unix::fs::symlink("/dev/zero", path).expect("a link"),
        |path| std::os::unix::fs::symlink("nowhere", path).expect("a link"),
    ];
    for make in kinds {
        let bench = Bench::local(small_packs());
        bench.write("first", "first");
        bench.snapshot();
        let number = bench.open().catalog.position().expect("a position").number + 1;
        make(&bench.folder().join(layout::log(number)));
        // The same host, and one without a catalog, take it for a void entry and continue behind it.
        bench.write("second", "second");
        bench.snapshot();
        let fresh = bench.try_open(Keys::Reader(bench.identity.clone()), &bench.path("fresh"));
        let fresh = fresh.expect("it opens");
        let void = fresh.catalog.void_entries().expect("entries");
        assert_eq!(void.iter().map(|entry| entry.number).collect::<Vec<_>>(), [number]);
        assert_eq!(fresh.catalog.snapshots().expect("snapshots").len(), 2);
        tree::assert_same(&bench.library, bench.restored("latest", "out"));
    }
}
