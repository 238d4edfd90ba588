//! Tests of `audit`: which files count as archived, and which do not.

use std::fs;
use std::path::{Path, PathBuf};

use icecore_engine::files::Globs;
use icecore_engine::format::{PackId, PackKind, PackRecord, Settings};
use icecore_engine::ops::audit::{AuditReport, audit};
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::store::layout;
use icecore_testkit::photos;

use crate::setup::{Bench, Log};

fn audited(bench: &Bench, paths: &[&Path], exclude: &[&str]) -> (AuditReport, Log) {
    let log = Log::default();
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let exclude = Globs::new(exclude.iter().copied()).expect("patterns");
    (audit(&bench.open(), &paths, &exclude, &log).expect("an audit"), log)
}

/// Returns an archive of three photos, and its library.
fn archived() -> Bench {
    let bench = Bench::local(Settings::default());
    bench.write_photos("card", 3, 2_000_000);
    bench.snapshot();
    let (report, log) = audited(&bench, &[&bench.library], &[]);
    assert!(report.is_proven() && report.files == 3, "{report:#?}");
    assert_eq!(log.problems(), []);
    bench
}

#[test]
fn no_files_prove_nothing() {
    let bench = archived();
    let empty = bench.path("card");
    fs::create_dir(&empty).expect("a folder");
    let (report, _) = audited(&bench, &[&empty], &[]);
    assert!(!report.is_proven() && report.empty == [empty.clone()], "{report:#?}");
    let (report, _) = audited(&bench, &[&bench.library], &["*.JPG"]);
    assert!(!report.is_proven() && report.empty == [bench.library.clone()], "{report:#?}");
    // One of two cards is not mounted.
    let (report, _) = audited(&bench, &[&bench.library, &empty], &[]);
    assert!(!report.is_proven() && report.files == 3, "{report:#?}");
    assert_eq!(report.empty, [empty]);
}

#[test]
fn a_link_that_is_given_is_followed() {
    let bench = archived();
    let link = bench.path("link");
    std::os::unix::fs::symlink(bench.library.join("card/IMG_0001.JPG"), &link).expect("a link");
    let (report, log) = audited(&bench, &[&link], &[]);
    assert_eq!(log.problems(), []);
    assert!(report.is_proven() && report.files == 1, "{report:#?}");
}

#[test]
fn what_is_in_a_pack_that_is_gone_or_cut_short_is_not_archived() {
    for cut in [false, true] {
        let bench = archived();
        let (pack, bytes) = bench.under("packs").pop_first().expect("a pack");
        let path = bench.folder().join(&pack);
        if cut {
            let file = fs::File::options().write(true).open(&path).expect("a pack");
            file.set_len(bytes - 1).expect("it is cut");
        } else {
            fs::remove_file(&path).expect("it goes");
        }
        let (report, _) = audited(&bench, &[&bench.library], &[]);
        assert_eq!((report.missing.len(), report.packs_absent), (3, 1), "{report:#?}");
        assert!(!report.is_proven());
    }
}

/// Any prune may delete a pack that a killed run has uploaded and that is in no log entry.
#[test]
fn what_is_in_no_log_entry_is_not_archived() {
    let bench = archived();
    let name = layout::log(bench.under("log").len() as u64);
    let entry = bench.store().get(&name, 1 << 20).expect("the entry of the snapshot");
    let repository = bench.open();
    let number = repository.catalog.position().expect("a position").number;
    let entry = repository.secrets.read_log(number, &entry).expect("it opens");
    let record = entry.packs.iter().find(|pack| pack.kind == PackKind::Cold).expect("a pack");
    let other = PackRecord { id: PackId([7; 16]), ..record.clone() };
    let path = |id| bench.folder().join(layout::pack(PackKind::Cold, id));
    fs::rename(path(&record.id), path(&other.id)).expect("a pack of another name");
    repository.catalog.upload_begins(&other).expect("it begins");
    repository.catalog.upload_done(&other).expect("it is done");
    drop(repository);
    let (report, _) = audited(&bench, &[&bench.library], &[]);
    assert_eq!(report.missing.len(), 3, "{report:#?}");
}

#[test]
fn trees_that_cannot_be_read_are_named() {
    let bench = archived();
    bench.write("other/new.JPG", photos::bytes(7, 300_000));
    for name in bench.under(layout::prefix(PackKind::Meta)).keys() {
        let path = bench.folder().join(name);
        let bytes = fs::metadata(&path).expect("a pack").len();
        fs::write(&path, vec![0; bytes as usize]).expect("it is damaged");
    }
    let (report, log) = audited(&bench, &[&bench.library], &[]);
    assert_eq!(report.missing.len(), 4, "{report:#?}");
    assert!(!report.damaged.is_empty(), "{report:#?}");
    let named: Vec<String> =
        log.problems().iter().map(|problem| problem.path.display().to_string()).collect();
    assert!(report.damaged.iter().all(|object| named.contains(object)), "{named:?}");
}

#[test]
fn trees_are_read_until_everything_was_found() {
    let bench = Bench::local(Settings::default());
    for number in 0..20 {
        bench.write(&format!("{number}/a.JPG"), photos::bytes(number, 300_000));
        bench.write("every/one", format!("{number}"));
        bench.snapshot();
    }
    let card = bench.path("card");
    fs::create_dir(&card).expect("a folder");
    fs::write(card.join("x"), "0").expect("what only the oldest snapshot has");
    let fetched = |path: &Path| {
        let repository = bench.open();
        let before = repository.store.requests();
        let none = Globs::new([]).expect("no patterns");
        let report = audit(&repository, &[path.to_owned()], &none, &Log::default());
        assert!(report.expect("an audit").is_proven());
        repository.store.requests().since(&before).bytes_fetched
    };
    let (newest, oldest) = (fetched(&bench.library.join("every")), fetched(&card));
    assert!(newest * 4 < oldest, "{newest} bytes and {oldest} were read");
}

/// Some file systems report no size for files that they generate while these are read.
#[test]
fn a_file_that_has_more_than_its_size_is_no_file_of_no_bytes() {
    let version = Path::new("/proc/version");
    assert_eq!(fs::metadata(version).expect("a file").len(), 0, "the kernel tells its size");
    let bench = archived();
    let (report, log) = audited(&bench, &[version], &[]);
    assert_eq!((report.files, report.failed), (0, 1), "{report:#?}");
    assert!(
        log.problems()[0].message.contains("longer than its recorded size"),
        "{:?}",
        log.problems()
    );

    let log = Log::default();
    let options = SnapshotOptions {
        paths: vec![version.to_owned(), bench.library.clone()],
        ..bench.snapshot_options()
    };
    let taken = snapshot(&bench.open_writer(), &options, &log);
    assert_eq!(taken.expect("a snapshot").totals.files_failed, 1);
    assert!(
        log.problems()[0].message.contains("longer than its recorded size"),
        "{:?}",
        log.problems()
    );
}
