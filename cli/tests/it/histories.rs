//! Which snapshots belong together, which one a name means, and what happens when a source shrinks.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use icecore_testkit::photos;
use serde_json::Value;

use crate::support::{Host, Ran, word, write};

/// Makes files with different contents.
fn files(folder: &Path, seed: u64, count: u64) {
    for number in 0..count {
        write(
            &folder.join(format!("IMG_{number}.CR3")),
            photos::bytes(seed * 1000 + number, 20_000),
        );
    }
}

/// Returns a host with a repository that opens without a slow password hash.
fn host() -> Host {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    host.set("ICECORE_HOST", "nas");
    for name in ["IDENTITY", "REPOSITORY", "CONFIG_DIR", "CACHE_DIR"] {
        let file = name.trim_end_matches("_DIR").to_lowercase().replace("repository", "repo");
        let path = host.path(&file).display().to_string();
        host.set(&format!("ICECORE_{name}"), &path);
    }
    host
}

fn run_in(host: &Host, folder: &str, line: &str) -> Ran {
    let output = host.command(line).current_dir(host.path(folder)).output();
    Ran::new(line, &output.expect("the program starts"))
}

/// Returns the list of snapshots.
fn listed(host: &Host) -> Vec<Value> {
    let mut lines = host.run("--json snapshots").ok().json();
    lines.pop();
    lines
}

fn count(host: &Host) -> usize {
    listed(host).len()
}

/// Takes a snapshot as a host whose clock shows this time.
fn taken_at(host: &Host, name: &str, seconds: i64) {
    use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
    use icecore_engine::repo::{Keys, Repository, StoredConfig};
    use icecore_engine::store::{Location, Store, StoreOptions};
    let location = Location::Folder(host.path("repo"));
    let store = Store::open(&location, &StoreOptions::default()).expect("a store");
    let config = StoredConfig::read(&store).expect("an archive");
    let identity = fs::read_to_string(host.path("identity")).expect("the identity");
    let identity = icecore_engine::codec::Identity::from_text(&identity).expect("an identity");
    let repository =
        Repository::open(store, config, Keys::Reader(identity), &host.path("clock-cache"));
    let mut options = SnapshotOptions {
        paths: vec![host.path(name)],
        host: "nas".to_owned(),
        ..SnapshotOptions::default()
    };
    options.time.seconds = seconds;
    let silent = icecore_engine::progress::Silent;
    snapshot(&repository.expect("it opens"), &options, &silent).expect("a snapshot");
}

#[test]
fn the_same_name_in_two_folders_is_two_histories() {
    let host = host();
    files(&host.path("anna/Pictures"), 1, 2);
    files(&host.path("ben/Pictures"), 2, 2);
    for _ in 0..2 {
        run_in(&host, "anna", "snapshot Pictures").ok();
        run_in(&host, "ben", "snapshot Pictures").ok();
    }
    assert_eq!(
        listed(&host)[0]["paths"][0],
        host.path("anna/Pictures").canonicalize().unwrap_or_default().display().to_string()
    );
    host.run("prune --keep-last 1").ok();
    let left: Vec<Value> = listed(&host).iter().map(|line| line["history"].clone()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_ne!(left[0], left[1]);
    // The newest snapshot of all is used, and a line reports that; flags choose another.
    let ran = host.run("ls -R latest").ok();
    assert!(ran.stdout.contains("ben/Pictures/IMG_0.CR3"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    assert!(ran.stderr.contains("newest of 2 histories") && ran.stderr.contains("host nas"));
    for flag in [
        format!("--history {}", left[0].as_str().unwrap_or_default()),
        "--path anna/Pictures".to_owned(),
        "--path ./anna/../anna/Pictures/".to_owned(),
    ] {
        let ran = host.run(&format!("ls -R latest {flag}")).ok();
        assert!(
            ran.stdout.contains("anna/Pictures/IMG_0.CR3") && ran.stderr.is_empty(),
            "{ran:#?}"
        );
    }
    host.run("ls latest --host other").fails(4, &["no snapshot"]);
    host.run("ls latest~1").fails(4, &["there is no latest~1: history ", " has 1 snapshot"]);
    // Every printed command can be typed.
    let line = ran.stdout.lines().last().unwrap_or_default().to_owned();
    for path in [line.clone(), format!("/{line}"), "Pictures/IMG_1.CR3".to_owned()] {
        let dumped =
            host.command("dump -q").arg(format!("latest:{path}")).output().expect("it runs");
        assert_eq!(dumped.stdout, photos::bytes(2001, 20_000), "{path}");
    }
    let dumped = host.run("dump latest:Pictures/none.CR3").fails(4, &["is not in the snapshot"]);
    assert!(!dumped.stderr.contains("it is in"), "{dumped:#?}");
}

#[test]
fn every_spelling_of_the_same_folders_is_one_history() {
    let host = host();
    files(&host.path("a"), 1, 2);
    files(&host.path("b"), 2, 2);
    symlink(host.path("a"), host.path("link")).expect("a symlink");
    let (a, b) = (host.path("a"), host.path("b"));
    let absolute = format!("{} {}", word(&a), word(&b));
    for paths in ["a b", "b a", "a/ b/", "./a b", &absolute, "link b", "a b a", "../HERE/a b"] {
        let here = host.path("").file_name().expect("a name").to_string_lossy().into_owned();
        host.run(&format!("snapshot {}", paths.replace("HERE", &here))).ok();
    }
    let names: Vec<Value> = listed(&host).iter().map(|line| line["history"].clone()).collect();
    assert_eq!(names.len(), 8);
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    // The snapshots do not differ, however their paths were given.
    for other in 1..8 {
        let ran = host.run(&format!("--json diff latest~{other} latest")).ok().summary();
        assert_eq!(
            (&ran["added"], &ran["removed"], &ran["modified"]),
            (&0.into(), &0.into(), &0.into()),
            "{other}"
        );
    }
    // The path works through the symlink, as it was given, and as the real path.
    let real = word(&a.canonicalize().expect("it is there"));
    for path in ["link/IMG_0.CR3", &format!("{real}/IMG_0.CR3")] {
        host.run(&format!("dump latest~2:{path}")).ok();
    }
    host.run(&format!("restore latest~2:{real} --target out --include {real}/IMG_1.CR3")).ok();
    assert!(host.path("out/IMG_1.CR3").exists() && !host.path("out/IMG_0.CR3").exists());
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 1);
}

#[test]
fn a_name_outlives_an_added_source() {
    let host = host();
    files(&host.path("a"), 1, 6);
    files(&host.path("b"), 2, 2);
    host.run("snapshot --history home a").ok();
    host.run("snapshot --history home a b").ok();
    write(&host.path("config/night.toml"), "tag = [\"n\"]\n");
    host.run("-P night snapshot a").ok();
    let names: Vec<Value> = listed(&host).iter().map(|line| line["history"].clone()).collect();
    assert_eq!(names, ["home", "home", "night"]);
    host.run("snapshot --history home a b").ok();
    let ran = host.run("-P night ls -R latest").ok();
    assert!(ran.stderr.is_empty() && !ran.stdout.contains("/b/"), "{ran:#?}");
    host.run("snapshot --host laptop --history home b").ok();
    host.run("ls latest~1 --history home --host nas").ok();
    host.run("snapshot --history home a b --history").exits(2);
    host.command("snapshot a --history")
        .arg("a\nb")
        .output()
        .map(|o| assert_eq!(o.status.code(), Some(2)))
        .expect("it runs");
    // Another folder with the same history name is not a later state of the first.
    files(&host.path("c"), 3, 50);
    host.run("snapshot -q --history home c").exits(3);
    host.run("snapshot -q --history home a b").ok();
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 5);
    // End one history and keep the others.
    let shown = host.run("retire").ok();
    assert_eq!(shown.stdout.lines().count(), 1 + 3, "{shown:#?}");
    host.run("retire home").fails(2, &["2 histories", "--host"]);
    host.run("retire nowhere").fails(4, &["no history"]);
    assert!(host.run("retire home --host nas -n").ok().stdout.contains("would be dropped"));
    assert_eq!(count(&host), 5);
    let last = listed(&host)[1]["id"].as_str().unwrap_or_default().to_owned();
    host.run("retire home --host nas").ok();
    assert_eq!(count(&host), 2);
    host.run(&format!("prune --undelete {last}")).ok();
    assert_eq!(count(&host), 3);
}

#[test]
fn a_folder_that_is_empty_now_is_not_the_newest_state() {
    let host = host();
    files(&host.path("card"), 1, 3);
    files(&host.path("other"), 2, 40);
    host.run("snapshot card other").ok();
    fs::rename(host.path("card"), host.path("away")).expect("it is moved");
    fs::create_dir(host.path("card")).expect("a folder");
    for _ in 0..2 {
        let ran = host.run("-q snapshot card other").exits(3);
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains("card: it had 3 files and has none now"),
            "{ran:#?}"
        );
        assert!(ran.stderr.contains("icecore accept "), "{ran:#?}");
    }
    assert_eq!(host.run("--json snapshot card other").exits(3).summary()["marked"], "shrunk");
    assert_eq!(listed(&host)[3]["marked"], "shrunk");
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 4);
    // The card is mounted again.
    fs::remove_dir(host.path("card")).expect("empty");
    fs::rename(host.path("away"), host.path("card")).expect("it is moved");
    host.run("snapshot card other").ok();
    // The owner has emptied the card.
    fs::remove_dir_all(host.path("card")).expect("removed");
    fs::create_dir(host.path("card")).expect("a folder");
    host.run("-q snapshot card other").exits(3);
    assert_eq!(host.run("--json accept latest").ok().summary()["snapshots_accepted"], 4);
    host.run("-q snapshot card other").ok();
    assert!(listed(&host).iter().all(|line| line["marked"].is_null()));
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 1);
}

#[test]
fn a_source_that_is_empty_now_is_missed_in_a_new_set_of_sources() {
    let host = host();
    for (seed, name, count) in [(1, "card", 2), (2, "other", 10), (3, "third", 1)] {
        files(&host.path(name), seed, count);
    }
    host.run("snapshot card other").ok();
    fs::rename(host.path("card"), host.path("away")).expect("it is moved");
    fs::create_dir(host.path("card")).expect("a folder");
    let lines = ["card other third", "--history all card third", "card"];
    for line in lines.iter().chain(&lines) {
        let ran = host.run(&format!("-q snapshot {line}")).exits(3);
        assert!(ran.stderr.contains("card: it had 2 files and has none now"), "{ran:#?}");
        let of =
            if line.contains("other") { "only 10 of the 12 files" } else { "none of the 2 files" };
        assert!(
            ran.stderr.contains(of) && ran.stderr.contains("icecore accept"),
            "{line} {ran:#?}"
        );
    }
    // Another host has its own folders.
    host.run("-q snapshot --host laptop card other").ok();
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 8);
    host.run("accept latest --history all").ok();
    for line in lines {
        host.run(&format!("-q snapshot {line}")).ok();
    }
    host.run("-q snapshot card other").exits(3);
}

#[test]
fn what_is_there_under_another_path_is_not_lost() {
    let host = host();
    files(&host.path("d1"), 1, 6);
    host.run("snapshot --history lib d1").ok();
    fs::rename(host.path("d1"), host.path("d2")).expect("renamed");
    assert!(host.run("-q snapshot --history lib d2").ok().stderr.is_empty());
    // The library is copied to another disk, where this host does not know its files.
    files(&host.path("d3"), 1, 6);
    assert!(host.run("-q snapshot --history lib d3").ok().stderr.is_empty());
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 1);
    files(&host.path("d4"), 4, 50);
    host.run("-q snapshot --history lib d4").exits(3);
}

#[test]
fn catalogs_change_each_night() {
    let host = host();
    files(&host.path("photos"), 1, 2);
    let name = |number: u32| host.path(&format!("photos/{number}.lrcat"));
    let catalogs: Vec<_> =
        (0..3).map(|number| rusqlite::Connection::open(name(number)).expect("a catalog")).collect();
    for catalog in &catalogs {
        catalog.execute_batch("CREATE TABLE photo(pad BLOB)").expect("a table");
    }
    host.run("snapshot photos").ok();
    for _ in 0..2 {
        for catalog in &catalogs {
            let sql = "INSERT INTO photo VALUES(randomblob(5000))";
            catalog.execute_batch(sql).expect("a row");
        }
        assert!(host.run("-q snapshot photos").ok().stderr.is_empty());
    }
    let ran = host.run("prune --keep-last 1").ok();
    assert!(count(&host) == 1 && !ran.stderr.contains("less than half"), "{ran:#?}");
    // After encryption, the catalogs are no longer databases.
    drop(catalogs);
    (0..3).for_each(|number| write(&name(number), photos::bytes(7 + u64::from(number), 9000)));
    host.run("-q snapshot photos").exits(3);
}

#[test]
fn patterns_that_take_everything_are_said() {
    let host = host();
    files(&host.path("photos"), 1, 3);
    let ran = host.run("-q snapshot photos -e *.CR3").exits(3);
    assert!(ran.stderr.contains("leave out everything"), "{ran:#?}");
    write(&host.path("photos/.nobackup"), "");
    let ran = host.run("-q snapshot photos --exclude-if-present .nobackup").exits(3);
    assert!(ran.stderr.contains("leave out everything"), "{ran:#?}");
    host.run("snapshot photos -e *.xmp").ok();
    fs::create_dir(host.path("empty")).expect("a folder");
    host.run("snapshot empty").ok();
}

#[test]
fn a_mass_change_is_marked_until_it_is_accepted() {
    let host = host();
    files(&host.path("photos"), 1, 10);
    host.run("snapshot photos").ok();
    // On an ordinary day, a shoot is renamed, some photos are edited, and more are added.
    fs::rename(host.path("photos"), host.path("moved")).expect("it is moved");
    fs::rename(host.path("moved"), host.path("photos")).expect("it is moved");
    fs::create_dir(host.path("photos/2024")).expect("a folder");
    for number in 0..10 {
        let name = format!("IMG_{number}.CR3");
        fs::rename(host.path("photos").join(&name), host.path("photos/2024").join(&name))
            .expect("renamed");
    }
    files(&host.path("photos/2024"), 7, 3);
    host.run("snapshot photos").ok();
    // On another day, most photos have different content under the old names.
    files(&host.path("photos/2024"), 9, 8);
    for _ in 0..2 {
        let ran = host.run("-q snapshot photos").exits(3);
        assert!(
            ran.stderr.contains("only 2 of the 10 files") && ran.stderr.contains("same content"),
            "{ran:#?}"
        );
    }
    let note = host.run("ls latest").ok().stderr;
    assert!(note.contains("is marked") && note.contains("last full one"), "{note}");
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 3);
    // The original content is put back.
    files(&host.path("photos/2024"), 1, 10);
    files(&host.path("photos/2024"), 7, 3);
    host.run("-q snapshot photos").ok();
    files(&host.path("photos/2024"), 9, 8);
    host.run("-q snapshot photos").exits(3);
    host.run("accept latest").ok();
    host.run("-q snapshot photos").ok();
    // A host without the identity cannot accept it.
    files(&host.path("photos/2024"), 11, 9);
    host.run("-q snapshot photos").exits(3);
    let mut blind = host.copy();
    blind.unset("ICECORE_IDENTITY");
    blind.run("accept latest").exits(12);
}

#[test]
fn what_the_log_does_not_say_the_trees_do() {
    let host = host();
    files(&host.path("photos"), 1, 10);
    host.run("snapshot photos").ok();
    let first = listed(&host)[0].clone();
    let [id, history] = ["id", "history"].map(|name| first[name].as_str().unwrap_or_default());
    // The second snapshot's writer does not know the first one, and so does not mark it.
    host.run(&format!("retire {history}")).ok();
    files(&host.path("photos"), 9, 10);
    host.run("-q snapshot photos").ok();
    host.run(&format!("prune --undelete {id}")).ok();
    for _ in 0..2 {
        let ran = host.run("-q prune --keep-last 1").ok();
        assert!(ran.stderr.contains("less than half") && ran.stderr.contains("accept"), "{ran:#?}");
        assert_eq!(count(&host), 2);
        // From now on, this host knows it.
        assert!(host.run("snapshots").ok().stdout.contains("shrunk"));
    }
    host.run("accept latest").ok();
    assert!(!host.run("snapshots").ok().stdout.contains("shrunk"));
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 1);
}

#[test]
fn no_clock_changes_what_is_newest() {
    let host = host();
    files(&host.path("photos"), 1, 3);
    taken_at(&host, "photos", 4_070_908_800);
    write(&host.path("photos/tonight.CR3"), "tonight");
    let ran = host.run("-q snapshot photos").ok();
    assert!(ran.stderr.contains("one of the two times is wrong"), "{ran:#?}");
    assert!(host.run("ls -R latest").ok().stdout.contains("tonight.CR3"));
    taken_at(&host, "photos", 5);
    let ran = host.run("snapshots").ok();
    assert!(ran.stderr.contains("said 1970-01-01 00:00:05 and 2099-01-01 00:00:00"), "{ran:#?}");
    let ran = host.run("prune --keep-last 1").ok();
    assert!(ran.stderr.contains("2099-01-01"), "{ran:#?}");
    let left = listed(&host);
    assert_eq!((left.len(), &left[0]["time"]), (1, &"1970-01-01T00:00:05Z".into()));
    // A snapshot from the future is neither counted nor dropped, although nothing in the log
    // contradicts its time.
    host.run("-q snapshot photos").ok();
    taken_at(&host, "photos", 4_070_908_800);
    assert_eq!(listed(&host)[2]["marked"], "future");
    host.run("prune --keep-last 1").ok();
    assert_eq!(count(&host), 2);
}

#[test]
fn the_newest_before_a_day() {
    let host = host();
    files(&host.path("photos"), 1, 3);
    for day in [20_000, 20_001, 20_003] {
        write(&host.path("photos/day"), day.to_string());
        taken_at(&host, "photos", day * 86_400 + 3600);
    }
    // The snapshots are of 2024-10-04, 2024-10-05 and 2024-10-07.
    for (date, day) in [
        ("2024-10-05", "20000"),
        ("2024-10-06", "20001"),
        ("2024-10-07", "20001"),
        ("2030-01-01", "20003"),
    ] {
        let ran = host.run(&format!("dump latest@{date}:photos/day"));
        let at = host.run(&format!("dump latest@{date}:{}/day", word(&host.path("photos")))).ok();
        assert_eq!(at.stdout, day, "{date} {ran:#?}");
    }
    host.run("ls latest@2024-10-04").fails(4, &["no snapshot"]);
    assert!(host.run("ls latest@soon").exits(2).stderr.contains("latest@2026-10-31"));
    fs::remove_file(host.path("photos/day")).expect("removed");
    host.run("snapshot photos").ok();
    let path = word(&host.path("photos/day"));
    for line in [
        format!("dump latest:{path}"),
        format!("restore latest:{path} --target out"),
        format!("ls latest:{path}"),
    ] {
        let ran = host.run(&line).fails(4, &["is not in the snapshot", "it is in snapshots"]);
        assert!(ran.stderr.contains("2024-10-07"), "{ran:#?}");
    }
}

#[test]
fn containers_are_told_of_their_host_names() {
    let mut host = host();
    files(&host.path("photos"), 1, 3);
    for name in ["3f2a1b9c8d7e", "9c8b7a6f5e4d", "0a1b2c3d4e5f"] {
        host.run(&format!("-q snapshot --host {name} photos")).ok();
    }
    let ran = host.run("prune --keep-last 1").ok();
    assert!(
        ran.stderr.contains("one snapshot each") && ran.stderr.contains("ICECORE_HOST"),
        "{ran:#?}"
    );
    host.set("ICECORE_HOST", "photos-container");
    host.run("snapshot photos").ok();
    assert_eq!(listed(&host)[3]["host"], "photos-container");
    host.set("ICECORE_HOST", "");
    host.run("snapshot photos").ok();
    assert_ne!(listed(&host)[4]["host"], "");
}

#[test]
fn a_path_through_a_symlink_is_found_where_it_led() {
    let host = host();
    files(&host.path("mnt/pics"), 1, 3);
    symlink("mnt/pics", host.path("Pics")).expect("a symlink");
    host.run("snapshot Pics").ok();
    host.run("snapshot mnt/pics").ok();
    let real = host.path("mnt/pics").canonicalize().expect("it is there").display().to_string();
    for below in ["", "/IMG_0.CR3"] {
        let path = word(&host.path("Pics"));
        let ran = host.run(&format!("ls latest:{path}{below}")).ok();
        let listed = real.strip_prefix('/').unwrap_or_default();
        assert!(ran.stdout.contains(&format!("{listed}/IMG_0.CR3")), "{ran:#?}");
    }
}
