//! Files are recognised as unchanged without reading them, whatever their times and inodes are.

use std::path::Path;

use icecore_engine::files::Ignore;
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_testkit::{photos, tree};

use crate::setup::{Bench, Log, settle, small_packs};
use crate::snapshot::opened_during;

/// The clock of a camera was years ahead, or that of the computer.
#[test]
fn a_photo_dated_in_the_future_is_not_read_every_night() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 4, 50_000);
    let dated = |number: u64, ahead: u64| {
        let path = bench.library.join(format!("shoot/IMG_{number:04}.JPG"));
        let time = std::time::SystemTime::now() + std::time::Duration::from_secs(ahead);
        let file = std::fs::File::options().write(true).open(&path).expect("opened");
        file.set_modified(time).expect("set");
        path
    };
    dated(0, 5 * 365 * 24 * 3600);
    let path = dated(1, 3600);
    settle();
    let shoot = bench.library.join("shoot");
    assert_eq!(opened_during(&[&shoot], || bench.snapshot()).1, 4);
    assert_eq!(opened_during(&[&shoot], || bench.snapshot()).1, 0);
    // Change the file but keep its date and size; the ctime shows the change.
    let modified = std::fs::metadata(&path).and_then(|stat| stat.modified()).expect("a time");
    std::fs::write(&path, photos::bytes(9, 50_000)).expect("written");
    let file = std::fs::File::options().write(true).open(&path).expect("opened");
    file.set_modified(modified).expect("set");
    assert_eq!(opened_during(&[&shoot], || bench.snapshot()).1, 1);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}

/// Replaces files by copies with the same times, like `rsync -a` to a new disk.
fn copy_all(folder: &Path) {
    let files: Vec<_> = std::fs::read_dir(folder).expect("a folder").collect();
    for file in files {
        let path = file.expect("a file").path();
        let copy = folder.with_extension("copy");
        std::fs::copy(&path, &copy).expect("a copy");
        let modified = std::fs::metadata(&path).and_then(|stat| stat.modified()).expect("a time");
        let file = std::fs::File::options().write(true).open(&copy).expect("opened");
        file.set_modified(modified).expect("set");
        std::fs::rename(&copy, &path).expect("it takes its place");
    }
}

#[test]
fn a_copied_disk_is_not_read_again_if_inodes_and_ctimes_are_ignored() {
    let bench = Bench::local(small_packs());
    bench.write_photos("shoot", 8, 50_000);
    settle();
    bench.snapshot();
    let shoot = bench.library.join("shoot");
    let ignoring = |inode, ctime| {
        let ignore = Ignore { inode, ctime };
        let options = SnapshotOptions { ignore, ..bench.snapshot_options() };
        let take = || snapshot(&bench.open_writer(), &options, &Log::default());
        let (taken, opened) = opened_during(&[&shoot], take);
        (taken.expect("a snapshot").totals.files_unmodified, opened)
    };
    copy_all(&shoot);
    settle();
    assert_eq!(ignoring(true, true), (8, 0));
    // Now the catalog has the new inodes, and the flags are no longer needed.
    assert_eq!(ignoring(false, false), (8, 0));
    // One of the flags alone is not enough, and a file with another time is always read.
    copy_all(&shoot);
    bench.write("shoot/IMG_0003.JPG", photos::jpeg(77, 50_000, 1000));
    settle();
    assert_eq!(ignoring(true, true), (7, 1));
    copy_all(&shoot);
    settle();
    assert_eq!(ignoring(true, false).1, 8);
    copy_all(&shoot);
    settle();
    assert_eq!(ignoring(false, true).1, 8);
    // In a moved folder, a file is recognised by its own inode, even if inodes are ignored.
    std::fs::rename(&shoot, bench.library.join("moved")).expect("a move");
    let moved = bench.library.join("moved");
    copy_all(&moved);
    let options =
        SnapshotOptions { ignore: Ignore { inode: true, ctime: true }, ..bench.snapshot_options() };
    let take = || snapshot(&bench.open_writer(), &options, &Log::default());
    assert_eq!(opened_during(&[&moved], take).1, 8);
    tree::assert_same(&bench.library, bench.restored("latest", "out"));
}
