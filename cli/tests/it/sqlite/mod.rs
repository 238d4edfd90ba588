//! SQLite databases: Lightroom catalogs and others, while programs use them, and when programs were killed.

mod campaign;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use icecore_testkit::photos;
use rusqlite::Connection;

use crate::support::{Host, assert_unchanged, objects, write};

/// Creates a catalog with this many photos in a new folder `lr`. The connection keeps it in use.
fn catalog(host: &Host, mode: &str, photos: u32) -> (PathBuf, Connection) {
    let path = host.path("lr/Catalog.lrcat");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let catalog = Connection::open(&path).expect("a catalog");
    catalog.pragma_update(None, "journal_mode", mode).expect("a mode");
    catalog.pragma_update(None, "wal_autocheckpoint", 0).expect("no checkpoints");
    catalog.execute_batch("CREATE TABLE photo(id INTEGER PRIMARY KEY, pad BLOB)").expect("a table");
    add(&catalog, photos);
    (path, catalog)
}

fn add(catalog: &Connection, photos: u32) {
    if photos == 0 {
        return;
    }
    let sql = format!(
        "BEGIN; WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {photos})
         INSERT INTO photo(pad) SELECT randomblob(900) FROM n; COMMIT"
    );
    catalog.execute_batch(&sql).expect("photos are added");
}

fn photos_in(catalog: &Path) -> i64 {
    let catalog = Connection::open(catalog).expect("a catalog");
    catalog.query_row("SELECT count(*) FROM photo", [], |row| row.get(0)).expect("a count")
}

/// Returns the damage that SQLite finds in a database, or `ok`.
fn integrity(database: &Path) -> String {
    let database = Connection::open(database).expect("a database");
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    check.unwrap_or_else(|error| error.to_string())
}

fn host() -> Host {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    host
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

/// Restores `lr` to `out` and returns the path of the catalog.
fn restored(host: &Host) -> PathBuf {
    host.remove("out");
    host.run("restore latest:lr --target out").ok();
    host.path("out/Catalog.lrcat")
}

/// Waits until file times distinguish changes before a run from changes during it.
fn settle() {
    std::thread::sleep(Duration::from_millis(1100));
}

#[test]
fn edits_that_are_only_in_the_log_are_archived_and_nothing_beside_the_catalog_is_touched() {
    let host = host();
    let (path, catalog) = catalog(&host, "wal", 1000);
    write(&host.path("lr/Catalog.lrcat.lock"), "Lightroom\n4711\n");
    settle();
    for (more, exclude) in [(0, ""), (1, ""), (1, " --exclude *-wal"), (0, "")] {
        add(&catalog, more);
        settle();
        let before = host.state("lr");
        let ran = host.run(&format!("snapshot --json{exclude} lr")).ok();
        assert_unchanged(&before, &host.state("lr"), "a snapshot");
        let changed = u64::from(more > 0 || ran.summary()["files_new"] == 1);
        let summary = ran.summary();
        let files = summary["files_new"].as_u64().zip(summary["files_changed"].as_u64());
        assert_eq!(files.map(|(new, changed)| new + changed), Some(changed), "{summary}");
        let copy = restored(&host);
        assert_eq!(names(&host.path("out")), ["Catalog.lrcat"]);
        assert_eq!((integrity(&copy), photos_in(&copy)), ("ok".to_owned(), photos_in(&path)));
    }
    // A few edits add a few bytes.
    add(&catalog, 2);
    let added = host.run("snapshot --json lr").ok().summary()["bytes_added"].as_u64();
    assert!(added.is_some_and(|added| added < 200_000), "{added:?} of a megabyte");
}

#[test]
fn a_catalog_whatever_its_name_is_hot() {
    let host = host();
    let (path, connection) = catalog(&host, "delete", 1000);
    drop(connection);
    fs::rename(&path, host.path("lr/photos.db")).expect("another name");
    write(&host.path("lr/x.lrcat-data/masks/1"), photos::bytes(1, 900_000));
    host.run("snapshot lr").ok();
    assert_eq!(objects(&host.path("repo"), "packs"), [] as [PathBuf; 0]);
    write(&host.path("lr/IMG_1.CR3"), photos::bytes(2, 900_000));
    host.run("snapshot lr").ok();
    assert_eq!(objects(&host.path("repo"), "packs").len(), 1);
}

#[test]
fn a_journal_that_must_be_rolled_back_is_archived_with_its_catalog() {
    let host = host();
    let (path, connection) = catalog(&host, "delete", 2000);
    connection.pragma_update(None, "cache_size", 10).expect("a small cache");
    let before = photos_in(&path);
    // Leave the catalog as if its program had been killed while writing.
    connection.execute_batch("BEGIN; UPDATE photo SET pad = randomblob(800)").expect("a change");
    fs::create_dir(host.path("killed")).expect("a folder");
    for name in ["Catalog.lrcat", "Catalog.lrcat-journal"] {
        fs::copy(host.path(&format!("lr/{name}")), host.path(&format!("killed/{name}")))
            .expect("a copy");
    }
    connection.execute_batch("ROLLBACK").expect("it ends");
    drop(connection);
    host.remove("lr");
    fs::rename(host.path("killed"), host.path("lr")).expect("another name");
    let state = host.state("lr");
    host.run("snapshot lr").ok();
    assert_unchanged(&state, &host.state("lr"), "a snapshot");
    let copy = restored(&host);
    assert_eq!(names(&host.path("out")), ["Catalog.lrcat", "Catalog.lrcat-journal"]);
    assert_eq!((integrity(&copy), photos_in(&copy)), ("ok".to_owned(), before));
    // The catalog is useless without its journal, so both are restored, whichever was named.
    for line in [
        "restore latest:lr/Catalog.lrcat --target out",
        "restore latest:lr --include *.lrcat --target out",
        "restore latest:lr/Catalog.lrcat --to-original --overwrite always",
    ] {
        host.remove("out");
        let ran = host.run(line).ok();
        assert!(ran.stdout.contains("restored 2 files"), "{ran:#?}");
        let folder = if line.contains("out") { "out" } else { "lr" };
        assert_eq!(names(&host.path(folder)), ["Catalog.lrcat", "Catalog.lrcat-journal"], "{line}");
        if folder == "lr" {
            // Opening the catalog rolls the journal back.
            assert_unchanged(&state, &host.state("lr"), line);
            continue;
        }
        let copy = host.path("out/Catalog.lrcat");
        assert_eq!((integrity(&copy), photos_in(&copy)), ("ok".to_owned(), before), "{line}");
    }
    // If the journal is left out, the run reports that.
    let ran = host.run("snapshot --exclude *-journal lr").exits(3);
    assert!(ran.stderr.contains("-journal file is not in the snapshot"), "{ran:#?}");
}

#[test]
fn a_program_with_its_journal_in_memory_does_not_tear_a_catalog_unnoticed() {
    let host = host();
    let (path, connection) = catalog(&host, "memory", 3000);
    connection.execute_batch("CREATE INDEX by_pad ON photo(pad)").expect("an index");
    host.run("snapshot lr").ok();
    connection.pragma_update(None, "cache_size", 5).expect("a small cache");
    settle();
    connection
        .execute_batch("BEGIN IMMEDIATE; UPDATE photo SET pad = randomblob(700)")
        .expect("a change that reaches the file");
    assert_ne!(integrity(&copied(&host, &path)), "ok", "the file is torn");
    let ran = host.run("snapshot lr").exits(3);
    assert!(ran.stderr.contains("another program has locked it, and is changing it"), "{ran:#?}");
    let copy = restored(&host);
    assert_eq!((integrity(&copy), photos_in(&copy)), ("ok".to_owned(), 3000));
    connection.execute_batch("ROLLBACK").expect("it ends");
    // A locked catalog without changes is archived as it is.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE").expect("a mode");
    connection.execute_batch("DELETE FROM photo WHERE id <= 10").expect("a change");
    settle();
    host.run("snapshot lr").ok();
    let copy = restored(&host);
    assert_eq!((integrity(&copy), photos_in(&copy)), ("ok".to_owned(), 2990));
}

/// Copies a catalog like a program that does not use SQLite. The test itself must not open the file, because closing it
/// would drop the locks of its own connection.
fn copied(host: &Host, catalog: &Path) -> PathBuf {
    let to = host.path("raw.lrcat");
    let done = std::process::Command::new("cp").arg(catalog).arg(&to).status().expect("cp runs");
    assert!(done.success());
    to
}

#[test]
fn a_damaged_catalog_is_stored_as_it_is_and_named_each_time() {
    let host = host();
    let (path, connection) = catalog(&host, "delete", 2000);
    drop(connection);
    let file = fs::File::options().write(true).open(&path).expect("the catalog");
    file.write_all_at(&[0xaa; 20_000], 200_000).expect("damage");
    write(&host.path("lr/no.db"), [&b"SQLite format 3\0"[..], &photos::bytes(1, 5000)].concat());
    let state = host.state("lr");
    for _ in 0..2 {
        let ran = host.run("snapshot lr").exits(3);
        let named =
            ran.stderr.lines().filter(|line| line.contains("its bytes are stored as they are"));
        assert_eq!(named.count(), 2, "{ran:#?}");
        // The snapshot contains everything that exists.
        assert!(!ran.stdout.contains("incomplete"), "{ran:#?}");
        assert!(
            ran.stdout.contains("complete: it has the damaged databases as found (exit code 3)"),
            "{ran:#?}"
        );
        let advice = format!("icecore history {}", path.display());
        assert!(ran.stdout.contains(&advice), "{ran:#?}");
        let told = host.run("--json snapshot lr").exits(3).summary();
        assert_eq!(
            (&told["files_damaged"], &told["files_failed"]),
            (&2.into(), &0.into()),
            "{told}"
        );
        restored(&host);
        assert_unchanged(&state, &host.state("out"), "a restore");
        settle();
    }
}

#[test]
fn what_follows_a_database_in_its_file_is_not_lost() {
    let host = host();
    let (path, connection) = catalog(&host, "delete", 50);
    drop(connection);
    let end = fs::metadata(&path).expect("the catalog").len();
    let file = fs::File::options().write(true).open(&path).expect("the catalog");
    file.write_all_at(b"a picture", end + 5000).expect("more");
    host.run("snapshot lr").ok();
    let state = host.state("lr");
    restored(&host);
    assert_unchanged(&state, &host.state("out"), "a restore");
}

#[test]
fn names_of_two_files_that_only_look_like_a_journal_are_archived() {
    let host = host();
    for name in ["trip", "trip-journal", "trip-wal", "trip-shm", "trip.lock"] {
        write(&host.path(&format!("lr/{name}")), name);
    }
    for text in ["", "more"] {
        fs::write(host.path("lr/trip"), text).expect("a file");
        host.run("snapshot lr").ok();
        let state = host.state("lr");
        restored(&host);
        assert_unchanged(&state, &host.state("out"), "a restore");
        settle();
    }
}

/// Runs `act` while a file is written to without a pause.
fn while_written<T>(file: &fs::File, act: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        // Use several threads, because on a busy machine, one thread may sleep during the whole snapshot.
        for _ in 0..4 {
            threads.spawn(|| {
                let mut turn = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let bytes = turn.to_le_bytes().repeat(8192);
                    for at in 0..256 {
                        file.write_all_at(&bytes, at << 16).expect("it is written");
                    }
                }
            });
        }
        let stops = Stops(&stop);
        let done = act();
        drop(stops);
        done
    })
}

/// Ends a writer, even after a failure.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_version_that_was_torn_is_not_kept_as_the_last_good_one() {
    let host = host();
    let path = host.path("lr/Catalog.lrcat");
    write(&path, vec![0; 16 << 20]);
    let file = fs::File::options().write(true).open(&path).expect("a file");
    let largest = while_written(&file, || {
        [(); 2].map(|()| {
            let ran = host.run("snapshot lr").exits(3);
            assert!(ran.stderr.contains("; it is stored as it was read"), "{ran:#?}");
            let copy = fs::read(restored(&host)).expect("a copy");
            copy.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).max()
        })
    });
    assert!(largest[0] < largest[1], "the second snapshot has what it read: {largest:?}");
    // Once there is a good version, it is kept.
    host.run("snapshot lr").ok();
    let good = fs::read(&path).expect("a file");
    while_written(&file, || {
        let ran = host.run("snapshot lr").exits(3);
        assert!(ran.stderr.contains("; the last version that was read is kept"), "{ran:#?}");
    });
    assert!(fs::read(restored(&host)).expect("a copy") == good);
}

#[test]
fn stale_journals_in_the_target_are_set_aside() {
    let host = host();
    let (path, connection) = catalog(&host, "delete", 100);
    drop(connection);
    host.run("snapshot lr").ok();
    // The target has another version, which is in use and has edits only in its write-ahead log.
    let target = host.path("out/Catalog.lrcat");
    fs::create_dir(host.path("out")).expect("a folder");
    fs::copy(&path, &target).expect("a copy");
    let other = Connection::open(&target).expect("a catalog");
    other.pragma_update(None, "journal_mode", "wal").expect("a mode");
    add(&other, 5000);
    let names_before = names(&host.path("out"));
    let log = fs::read(host.path("out/Catalog.lrcat-wal")).expect("a log");
    for ending in ["", "-2"] {
        let ran = host.run("restore latest:lr --target out --overwrite always").ok();
        let aside = format!("Catalog.lrcat-wal.set-aside{ending}");
        assert!(ran.stderr.contains(&aside), "{ran:#?}");
        assert_eq!((integrity(&target), photos_in(&target)), ("ok".to_owned(), 100));
        assert!(fs::read(host.path("out").join(aside)).expect("the log") == log);
        fs::write(host.path("out/Catalog.lrcat-wal"), &log).expect("a log");
    }
    drop(other);
    assert_eq!(names_before.len(), 3);
    // A journal that does not belong to a database is kept.
    host.remove("out");
    write(&host.path("other/trip"), photos::bytes(1, 5000));
    host.run("snapshot other").ok();
    write(&host.path("out/trip-wal"), "notes");
    host.run("restore latest:other --target out --overwrite always").ok();
    assert_eq!(names(&host.path("out")), ["trip", "trip-wal"]);
}

#[test]
fn an_audit_and_a_seed_compare_a_copy() {
    let host = host();
    let (path, catalog) = catalog(&host, "wal", 1000);
    host.run("snapshot lr").ok();
    let ran = host.run("audit lr").ok();
    assert!(ran.stdout.contains("The file ("), "{ran:#?}");
    let plan = host.run("restore latest:lr --plan --json --seed lr").ok().summary();
    let bytes = restored(&host).metadata().expect("a copy").len();
    assert_eq!(plan["seed_bytes"].as_u64(), Some(bytes), "{plan}");
    add(&catalog, 1);
    host.run("audit lr").exits(3);
    // A write-ahead log without its shared memory, as a copy of the folder may have.
    fs::create_dir(host.path("cut")).expect("a folder");
    for ending in ["", "-wal"] {
        let name = format!("Catalog.lrcat{ending}");
        fs::copy(host.path(&format!("lr/{name}")), host.path(&format!("cut/{name}")))
            .expect("a copy");
    }
    let ran = host.run("audit cut").exits(3);
    assert!(ran.stderr.contains("SQLite cannot copy it to compare it"), "{ran:#?}");
    let ran = host.run("restore latest:lr --plan --seed cut").ok();
    assert!(ran.stderr.contains("SQLite cannot copy it"), "{ran:#?}");
    // After it is archived together with its log, the audit finds both.
    host.run("snapshot cut").ok();
    host.run("audit cut").ok();
    host.run("restore latest:cut --target whole").ok();
    assert_eq!(photos_in(&host.path("whole/Catalog.lrcat")), photos_in(&path));
}

#[test]
fn an_audit_says_that_it_cannot_compare_what_was_archived_with_its_journal() {
    let host = host();
    let (path, connection) = catalog(&host, "delete", 2000);
    // A program was killed while it wrote: its changes are in the file, and the old content is in the journal.
    connection.pragma_update(None, "cache_size", 10).expect("a small cache");
    connection
        .execute_batch("BEGIN; UPDATE photo SET pad = randomblob(800)")
        .expect("changes on the way");
    fs::create_dir(host.path("left")).expect("a folder");
    for name in ["Catalog.lrcat", "Catalog.lrcat-journal"] {
        fs::copy(host.path("lr").join(name), host.path("left").join(name)).expect("a copy");
    }
    drop(connection);
    settle();
    host.run("snapshot left").ok();
    host.run("audit left").ok();
    // Lightroom opens it, and rolls the journal back.
    assert_eq!(photos_in(&host.path("left/Catalog.lrcat")), 2000);
    assert!(!host.path("left/Catalog.lrcat-journal").exists());
    let ran = host.run("audit left").exits(3);
    assert!(ran.stderr.contains("it cannot be compared"), "{ran:#?}");
    assert!(!ran.stdout.contains("not archived"), "{ran:#?}");
    assert!(ran.stdout.contains("1 file or folder could not be read or compared"), "{ran:#?}");
    // A catalog with another name is not archived.
    fs::rename(host.path("left/Catalog.lrcat"), host.path("left/Other.lrcat")).expect("a name");
    assert!(host.run("audit left").exits(3).stdout.contains("not archived: "));
    assert!(path.exists());
}
