//! Tests with a disk that corrupts a photo: `snapshot --reread` finds and names it, and the good version is kept until
//! `accept-file`.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, params};

use crate::runs;
use crate::support::{Host, write};

const GOOD: &[u8] = b"a photo as the camera wrote it";
/// The photo that most tests corrupt or edit.
const PHOTO: &str = "photos/2024/b.cr3";

/// Creates a host with photos that are more than a second old at the first snapshot, so that later runs trust their
/// times.
fn host() -> Host {
    let host = Host::new();
    for photo in 0..20 {
        write(&host.path(&format!("photos/2024/{photo}.cr3")), format!("photo {photo}"));
    }
    write(&host.path(PHOTO), GOOD);
    std::thread::sleep(Duration::from_millis(1100));
    host.run("snapshot --init photos").ok();
    host
}

/// Changes a byte of a file as a failing disk would. A test cannot reset a ctime, so the ctime in the catalog is set to
/// the new one instead.
fn rot(host: &Host, path: &str) {
    let path = host.path(path);
    let before = fs::metadata(&path).expect("a file");
    let mut bytes = fs::read(&path).expect("a file");
    bytes[3] ^= 0x40;
    fs::write(&path, bytes).expect("a change");
    let file = File::options().write(true).open(&path).expect("a file");
    file.set_modified(before.modified().expect("a time")).expect("the old time");
    let after = fs::metadata(&path).expect("a file");
    assert_ne!((before.ctime(), before.ctime_nsec()), (after.ctime(), after.ctime_nsec()));
    let (from, to) = (ctime(&before), ctime(&after));
    let catalog = Connection::open(catalog(&host.path("cache"))).expect("a catalog");
    let mut rows: Vec<(i64, Vec<u8>)> = Vec::new();
    {
        let mut query = catalog.prepare("SELECT key, detail FROM folders").expect("a table");
        let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        rows.extend(found.map(|row| row.expect("a row")));
    }
    let mut changed = 0;
    for (key, detail) in rows {
        let Some(at) = detail.windows(from.len()).position(|part| part == from) else { continue };
        let detail = [&detail[..at], &to, &detail[at + from.len()..]].concat();
        let sql = "UPDATE folders SET detail = ? WHERE key = ?";
        changed += catalog.execute(sql, params![detail, key]).expect("an update");
    }
    assert_eq!(changed, 1, "the catalog remembers the file");
    // A disk corrupts a file long after it was written.
    std::thread::sleep(Duration::from_millis(1100));
}

/// Encodes the ctime of a file and its inode as the catalog does, one after the other. Files that were written within one
/// tick of the clock have the same ctime; the inode distinguishes them.
fn ctime(stat: &fs::Metadata) -> Vec<u8> {
    let time = [stat.ctime(), stat.ctime_nsec()].map(|part| u64::try_from(part).expect("a time"));
    [number(time[0]), number(time[1]), number(stat.ino())].concat()
}

/// Encodes a number in CBOR.
fn number(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let (kind, length) = match value {
        0..24 => return vec![bytes[7]],
        24..0x100 => (0x18, 1),
        0x100..0x1_0000 => (0x19, 2),
        0x1_0000..0x1_0000_0000 => (0x1a, 4),
        _ => (0x1b, 8),
    };
    [&[kind], &bytes[8 - length..]].concat()
}

pub fn catalog(folder: &Path) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "db" || end == "sqlite") {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn it_is_found_named_and_the_good_version_stays_until_it_is_accepted() {
    let mut host = host();
    let good =
        host.run("--json snapshots").ok().json()[0]["id"].as_str().expect("an id")[..8].to_owned();
    rot(&host, PHOTO);
    // Without `--reread`, nothing is found.
    let quiet = host.run("--json snapshot photos").ok().summary();
    assert_eq!(
        (&quiet["files_rotted"], &quiet["files_changed"]),
        (&0.into(), &0.into()),
        "{quiet}"
    );
    let ran = host.run("snapshot photos --reread 100%").exits(3);
    for part in [
        "b.cr3: its content has changed, but its size and its times have not",
        "1 file has changed without a new time",
        "icecore accept-file",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {ran:#?}");
    }
    assert!(ran.stdout.contains("1 changed, 20 unmodified"), "{ran:#?}");
    // The snapshot contains the new content.
    let bad = fs::read(host.path(PHOTO)).expect("a file");
    host.export_identity();
    host.run("restore latest:photos -t new").ok();
    assert_eq!(fs::read(host.path("new/2024/b.cr3")).expect("a file"), bad);
    // Each later run warns again until the change is accepted.
    let again = host.run("snapshot photos --reread 100%").exits(3);
    assert!(again.stderr.contains("you have not accepted them yet"), "{again:#?}");
    let shown = host.run("snapshots").ok();
    assert_eq!(shown.stdout.matches("rotted").count(), 1, "{shown:#?}");
    // This policy keeps one snapshot, but must not drop the one with the good version.
    host.run("prune --now --keep-last 1").ok();
    let listed = host.run("accept-file").ok();
    assert!(listed.stdout.contains("photos/2024/b.cr3"), "{listed:#?}");
    let json = host.run("--json accept-file").ok().json();
    let fields: Vec<&String> = json[0].as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["before", "message_type", "path", "snapshot_id"], "{json:?}");
    let kept = host.run("snapshots").ok();
    let last_good = kept.stdout.lines().filter(|line| !line.contains("rotted")).count();
    assert!(last_good >= 2, "{kept:#?}");
    let ids: Vec<String> = host
        .run("--json snapshots")
        .ok()
        .json()
        .iter()
        .filter_map(|row| Some(row["id"].as_str()?.to_owned()))
        .collect();
    let has_good = ids.iter().any(|id| {
        let out = format!("out-{}", &id[..8]);
        host.run(&format!("restore {}:photos/2024/b.cr3 -t {out}", &id[..8])).ok();
        fs::read(host.path(&format!("{out}/b.cr3"))).is_ok_and(|bytes| bytes == GOOD)
    });
    assert!(has_good, "{good}: {kept:#?}");
    // Only a file that was corrupted on disk can be accepted.
    host.run("accept-file photos/2024/1.cr3")
        .fails(4, &["1.cr3 has not changed by itself", "lists the files"]);
    host.run("accept-file nosuch.jpg").fails(4, &["there is no file nosuch.jpg", "lists these"]);
    let empty = host.command("find").arg("").output().expect("the program");
    let said = String::from_utf8_lossy(&empty.stderr);
    assert!(said.contains("a pattern is empty") && said.contains("'*' finds everything"), "{said}");
    host.run("accept-file photos/2024/b.cr3").ok();
    assert!(host.run("accept-file").ok().stdout.contains("no file has changed by itself"));
    host.run("snapshot photos --reread 100%").ok();
    host.run("prune --now --keep-last 1").ok();
    assert_eq!(host.run("--json snapshots").ok().json().len(), 2, "one, and the summary");
}

#[test]
fn a_file_is_accepted_without_what_was_missing_before() {
    let mut host = host();
    fs::rename(host.path("photos/2024"), host.path("aside")).expect("photos are away");
    host.run("snapshot photos").exits(3);
    fs::remove_dir_all(host.path("photos/2024")).ok();
    fs::rename(host.path("aside"), host.path("photos/2024")).expect("photos are back");
    host.run("snapshot photos").ok();
    rot(&host, PHOTO);
    host.run("snapshot photos --reread 100%").exits(3);
    host.export_identity();
    host.run(&format!("accept-file {PHOTO}")).ok();
    let shown = host.run("snapshots").ok().stdout;
    assert_eq!(
        (shown.matches("shrunk").count(), shown.matches("rotted").count()),
        (1, 0),
        "{shown}"
    );
}

#[test]
fn a_snapshot_is_accepted_as_a_whole() {
    let mut host = host();
    rot(&host, PHOTO);
    rot(&host, "photos/2024/7.cr3");
    host.run("snapshot photos --reread 100%").exits(3);
    host.export_identity();
    host.run(&format!("accept-file {PHOTO}"))
        .fails(2, &["other files that changed", "7.cr3", "name all of them"]);
    // Accepting a later snapshot in which files are missing does not accept the corrupted files.
    fs::remove_dir_all(host.path("photos/2024")).expect("photos are lost");
    write(&host.path("photos/2024/1.cr3"), "photo 1");
    host.run("snapshot photos").exits(3);
    host.run("accept latest").ok();
    let listed = host.run("accept-file").ok();
    assert!(listed.stdout.contains("b.cr3") && listed.stdout.contains("7.cr3"), "{listed:#?}");
}

#[test]
fn an_edit_is_no_bit_rot() {
    let host = host();
    // The file is edited in place and gets its old modification time back. Its ctime shows that a program did this.
    let path = host.path(PHOTO);
    let time = fs::metadata(&path).and_then(|stat| stat.modified()).expect("a time");
    let mut bytes = GOOD.to_vec();
    bytes[0] ^= 1;
    fs::write(&path, bytes).expect("an edit");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
    let done = host.run("--json snapshot photos --reread 100% --ignore-ctime").ok().summary();
    assert_eq!(done["files_rotted"], 0, "{done}");
    // A run with `--force` reads everything and therefore finds it as well.
    rot(&host, "photos/2024/3.cr3");
    let done = host.run("--json snapshot photos --force").exits(3).summary();
    assert_eq!(done["files_rotted"], 1, "{done}");
}

#[test]
fn each_night_reads_its_share_and_finds_it_within_the_round() {
    let host = runs::host("[run]\nreread = '25%'");
    for photo in 0..40 {
        write(&host.path(&format!("photos/2023/{photo}.cr3")), format!("photo {photo}"));
    }
    std::thread::sleep(Duration::from_millis(1100));
    host.run("run").ok();
    rot(&host, "photos/2023/17.cr3");
    let mut found = Vec::new();
    for night in 1..=4 {
        runs::pass(&host, 24);
        host.run("run");
        let last = runs::records(&host).pop().expect("a run");
        let step = &last["steps"][0]["summary"];
        found.extend((step["files_rotted"] == 1).then_some(night));
        assert_eq!(last["outcome"] == "warned", !found.is_empty(), "{last}");
    }
    assert_eq!(found.len(), 1, "once in a round: {found:?}");
    let status = host.run("status").ok().stdout;
    assert!(status.starts_with("home: warned\n"), "{status}");
    assert!(!status.contains("lacks most files"), "{status}");
    let names = "1 snapshot has files that changed without a new time: `icecore -P home accept-file` names them";
    assert!(status.contains(names), "{status}");
    // Accepting the snapshot would drop the good version before its owner has seen which file has changed.
    let shown = host.run("-P home --json snapshots").ok().json();
    let marked = shown.iter().find(|row| row["marked"] == "rotted").expect("a snapshot");
    let id = &marked["id"].as_str().expect("an id")[..8];
    host.run(&format!("-P home accept {id}"))
        .fails(2, &["changed without a new time", "`icecore -P home accept-file`"]);
    assert!(host.run("status").ok().stdout.contains(names));
    host.run("-P home accept-file photos/2023/17.cr3").ok();
    let status = host.run("status").ok().stdout;
    assert!(!status.contains(names), "{status}");
}

#[test]
fn a_damaged_file_with_the_same_size_and_time_is_found_by_verify_and_replaced_by_always() {
    let mut host = host();
    host.export_identity();
    host.run("restore latest:photos -t out").ok();
    let path = host.path("out/2024/b.cr3");
    let time = fs::metadata(&path).expect("a file").modified().expect("a time");
    let mut bytes = GOOD.to_vec();
    bytes[3] ^= 0x40;
    fs::write(&path, bytes).expect("a change");
    let file = File::options().write(true).open(&path).expect("a file");
    file.set_modified(time).expect("the old time");
    let line = "restore latest:photos -t out --verify --overwrite";
    let ran = host.run(&format!("{line} if-changed")).exits(1);
    assert!(ran.stdout.contains("; 20 verified; 20 already there; 1 FAILED"), "{ran:#?}");
    assert!(ran.stderr.contains("hint: --overwrite always replaces existing files"), "{ran:#?}");
    host.run(&format!("{line} always")).ok();
    assert_eq!(fs::read(&path).expect("a file"), GOOD);
}

/// With a write-ahead log, two snapshots have copies of a catalog with the same size and time.
#[test]
fn a_catalog_of_another_night_differs_although_its_size_and_time_do_not() {
    let mut host = host();
    let photos = host.path("photos/c.lrcat");
    let open = Connection::open(&photos).expect("a catalog");
    open.execute_batch(
        "PRAGMA journal_mode = wal; CREATE TABLE edits (text); INSERT INTO edits VALUES ('one');
         PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = 0;",
    )
    .expect("a table");
    let mut nights = Vec::new();
    for edit in ["mon", "tue"] {
        open.execute("UPDATE edits SET text = ?", params![edit]).expect("an edit");
        let taken = host.run("--json snapshot photos").ok().summary();
        nights.push((edit, taken["snapshot_id"].as_str().expect("an id").to_owned()));
    }
    host.export_identity();
    let stat = |path: &Path| {
        let stat = fs::metadata(path).expect("a file");
        (stat.len(), stat.modified().expect("a time"))
    };
    let mut stats = Vec::new();
    let restored = host.path("out/c.lrcat");
    for (edit, id) in &nights {
        host.run(&format!("restore {id}:photos/c.lrcat -t out --overwrite if-changed")).ok();
        stats.push(stat(&restored));
        let copy = Connection::open(&restored).expect("a catalog");
        let text: String =
            copy.query_row("SELECT text FROM edits", [], |row| row.get(0)).expect("a row");
        assert_eq!(text, *edit);
        drop(copy);
        let file = File::options().write(true).open(&restored).expect("a file");
        file.set_modified(stats[0].1).expect("the old time");
    }
    assert_eq!(stats[0], stats[1], "both nights look the same");
    let again = format!("restore {}:photos/c.lrcat -t out --overwrite if-changed", nights[1].1);
    let ran = host.run(&again).ok();
    assert!(ran.stdout.contains("1 already there"), "{ran:#?}");
}

/// The copy that a snapshot has of a catalog differs in its header from the catalog, although nothing was changed.
#[test]
fn a_catalog_that_did_not_change_does_not_differ() {
    let mut host = host();
    for (name, mode) in [("wal.lrcat", "wal"), ("delete.lrcat", "delete")] {
        let catalog = Connection::open(host.path(&format!("photos/{name}"))).expect("a catalog");
        let made = format!("PRAGMA journal_mode = {mode}; CREATE TABLE edits (text);");
        catalog.execute_batch(&made).expect("a table");
        for edit in ["one", "two"] {
            catalog.execute("INSERT INTO edits VALUES (?)", params![edit]).expect("an edit");
        }
    }
    host.run("snapshot photos").ok();
    host.export_identity();
    let ran = host.run("restore latest --to-original").ok();
    assert!(ran.stdout.contains("already there"), "{ran:#?}");
    assert!(!ran.stderr.contains("differ"), "{ran:#?}");
    let before = fs::read(host.path("photos/wal.lrcat")).expect("a catalog");
    host.run("restore latest --to-original --overwrite if-changed").ok();
    assert!(fs::read(host.path("photos/wal.lrcat")).expect("a catalog") == before);
    for when in ["never", "if-changed"] {
        let ran = host.run(&format!("restore latest --to-original --verify --overwrite {when}"));
        assert!(ran.ok().stdout.contains(" verified; "), "{when}");
    }
    // It is compared while another program has it open, too, and an edit in its journal is found.
    let open = Connection::open(host.path("photos/wal.lrcat")).expect("a catalog");
    let _: u32 = open.query_row("SELECT COUNT(*) FROM edits", [], |row| row.get(0)).expect("rows");
    let ran = host.run("restore latest --to-original").ok();
    assert!(!ran.stderr.contains("differ"), "{ran:#?}");
    open.execute("INSERT INTO edits VALUES ('three')", []).expect("an edit");
    let ran = host.run("restore latest --to-original").ok();
    assert!(ran.stderr.contains("1 existing file differs"), "{ran:#?}");
}

#[test]
fn a_mark_says_what_it_is_for() {
    let host = host();
    rot(&host, PHOTO);
    host.run("snapshot photos --reread 100%").exits(3);
    let plan = host.run("prune -n --keep-last 1").ok();
    for words in ["because files changed without a new time", "`icecore accept-file PATH`"] {
        assert!(plan.stderr.contains(words), "{words}: {plan:#?}");
    }
    assert!(!plan.stderr.contains("`icecore accept "), "it would be refused: {plan:#?}");
    let refused = host.run("accept latest").fails(2, &["`icecore accept-file PATH`"]);
    for ran in [refused, host.run("ls latest").ok()] {
        assert!(ran.stderr.contains("files in it changed without a new time"), "{ran:#?}");
        assert!(!ran.stderr.contains("lacks many files"), "{ran:#?}");
    }
}
