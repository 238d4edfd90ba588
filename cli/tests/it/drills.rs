//! Tests of drills: one photo is restored and removed again, from a folder, from a frozen bucket and in a run; the
//! identity page is correct, or its wrong parts are named.

use std::fs;

use icecore_testkit::{S3Server, photos};

use crate::runs::{host as nightly_host, outcomes, pass, records};
use crate::support::{BUCKET, Host, objects, shoot, write};
use crate::thaw::{HOURS, archive, thawed_once};

const DRILLS: &str = "home/.local/state/icecore/drills";

/// Returns the number of copies of photos that the drills have left behind.
fn copies(host: &Host) -> usize {
    let folders = fs::read_dir(host.path(DRILLS)).expect("the folder of drills");
    folders
        .filter(|folder| folder.as_ref().expect("a folder").path().join("photo").exists())
        .count()
}

#[test]
fn a_photo_comes_back_and_is_removed() {
    let host = Host::new();
    shoot(&host.path("photos/2024"), 1, 3);
    host.run("snapshot --init photos").ok();
    let ran = host.run("drill").ok();
    assert!(ran.stdout.contains("came back from snapshot"), "{ran:#?}");
    assert!(ran.stdout.contains("the file on this computer is the same"), "{ran:#?}");
    assert_eq!(copies(&host), 0);
    // A snapshot under the name that a variable gives this computer is its own too.
    let mut host = host;
    host.set("ICECORE_HOST", "studio");
    host.run("snapshot photos").ok();
    let ran = host.run("drill").ok();
    assert!(ran.stdout.contains("the file on this computer is the same"), "{ran:#?}");
    // Under another name, that snapshot is of another computer, and the older one can be chosen.
    host.set("ICECORE_HOST", "laptop");
    let ran = host.run("drill").ok();
    assert!(
        ran.stdout.contains("of the computer studio, so the file was not compared"),
        "{ran:#?}"
    );
    host.set("ICECORE_HOST", "studio");
    let named = host.run("drill --host studio").ok();
    assert!(named.stdout.contains("the file on this computer is the same"), "{named:#?}");
    host.run("drill --host nowhere").exits(4);
    // The file is random, and a photo rather than a sidecar.
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let summary = host.run("--json drill").ok().summary();
        assert_eq!(summary["local"], "same");
        drawn.insert(summary["path"].as_str().expect("a path").to_owned());
    }
    let is_photo = |path: &String| path.ends_with(".CR3") || path.ends_with(".JPG");
    assert!(drawn.len() > 1 && drawn.iter().all(is_photo), "{drawn:?}");
    host.remove("photos");
    let ran = host.run("drill").ok();
    assert!(ran.stdout.contains("is not on this computer"), "{ran:#?}");
}

#[test]
fn what_has_changed_by_itself_is_noticed() {
    let host = Host::new();
    let photo = host.path("photos/IMG_1.CR3");
    write(&photo, photos::bytes(1, 300_000));
    host.run("snapshot --init photos").ok();
    let time = fs::metadata(&photo).expect("the photo").modified().expect("its time");
    let mut content = fs::read(&photo).expect("the photo");
    content[1000] ^= 1;
    fs::write(&photo, content).expect("written");
    fs::File::options()
        .write(true)
        .open(&photo)
        .and_then(|file| file.set_modified(time))
        .expect("its time");
    let ran = host.run("drill").exits(3);
    assert!(ran.stdout.contains("OTHER CONTENT"), "{ran:#?}");
    assert_eq!(copies(&host), 0);
}

#[test]
fn a_catalog_is_not_compared_with_its_copy() {
    let host = Host::new();
    let catalog = host.path("photos/Catalog.lrcat");
    fs::create_dir_all(host.path("photos")).expect("a folder");
    let writer = rusqlite::Connection::open(&catalog).expect("a catalog");
    writer
        .execute_batch("CREATE TABLE photo (name); INSERT INTO photo VALUES ('IMG_1');")
        .expect("a photo");
    drop(writer);
    host.run("snapshot --init photos").ok();
    host.run("restore latest:photos/Catalog.lrcat --target back").ok();
    let stored = fs::read(host.path("back/Catalog.lrcat")).expect("the copy");
    assert!(stored != fs::read(&catalog).expect("the catalog"), "SQLite's copies differ");
    let ran = host.run("drill").ok();
    assert!(ran.stdout.contains("a copy of this database that SQLite made"), "{ran:#?}");
    assert_eq!(host.run("--json drill").ok().summary()["local"], "database");
}

#[test]
fn damage_fails_the_drill() {
    let host = Host::new();
    write(&host.path("photos/IMG_1.CR3"), photos::bytes(1, 300_000));
    host.run("snapshot --init photos").ok();
    // A small file is in a hot pack.
    for pack in objects(&host.path("repo"), "hot") {
        let mut content = fs::read(&pack).expect("a pack");
        let middle = content.len() / 2;
        content[middle..middle + 1000].fill(7);
        let _ = fs::remove_file(&pack);
        fs::write(&pack, content).expect("written");
    }
    let ran = host.run("drill");
    assert_eq!(ran.code, 22, "{ran:#?}");
    assert!(ran.stderr.contains("the drill has failed"), "{ran:#?}");
    assert_eq!(copies(&host), 0);
}

#[test]
fn from_a_frozen_bucket_it_asks_waits_and_goes_on() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    // Nothing is paid without a limit or an answer.
    host.run("drill").fails(21, &["nothing was requested"]);
    assert_eq!(server.restores(), []);
    let ran = host.run("drill --max-cost 1").exits(20);
    assert!(ran.stdout.contains("Then run: icecore drill"), "{ran:#?}");
    assert_eq!(thawed_once(&server), 1);
    // The photo stays the same, and nothing is thawed or ordered twice.
    let ran = host.run(&format!("--repo s3://{BUCKET}/photos drill")).exits(20);
    assert!(
        ran.stdout.contains(&format!("Then run: icecore --repo s3://{BUCKET}/photos drill")),
        "{ran:#?}"
    );
    let jobs = host.run("--json jobs").ok().json();
    assert_eq!(jobs.iter().filter(|job| job["job_id"].is_string()).count(), 1, "{jobs:?}");
    server.advance(48 * HOURS);
    let ran = host.run("drill").ok();
    assert!(ran.stdout.contains("is the same"), "{ran:#?}");
    assert_eq!(thawed_once(&server), 1);
    assert_eq!(copies(&host), 0);
    let jobs = host.run("jobs").ok();
    assert!(jobs.stderr.contains("no restore is waiting"), "{jobs:#?} {ran:#?}");
    // What was thawed is frozen again.
    server.advance(240 * HOURS);
    // If the job was fetched by `jobs resume`, the drill compares the result nevertheless.
    host.run("drill --max-cost 1").exits(20);
    server.advance(48 * HOURS);
    let job = host.run("--json jobs").ok().json()[0]["job_id"].as_str().expect("a job").to_owned();
    host.run(&format!("jobs resume {job}")).ok();
    assert_eq!(copies(&host), 1);
    host.run("drill --max-cost 1").ok();
    assert_eq!(copies(&host), 0);
}

#[test]
fn a_run_drills_once_a_year() {
    let host = nightly_host("[drill]");
    let status = |host: &Host| host.run("-P home --json status").json()[0].clone();
    host.run("run").ok();
    let steps = records(&host)[0]["steps"].as_array().expect("steps").len();
    assert_eq!(steps, 2, "{:?}", records(&host));
    pass(&host, 24);
    host.run("run --if-due").ok();
    assert_eq!(outcomes(&host), ["done"; 2]);
    assert_eq!(records(&host)[1]["steps"].as_array().expect("steps").len(), 1);
    let now = status(&host);
    assert!(now["drill_photo"].is_string() && now["drill_page"].is_null(), "{now}");
    assert_eq!(now["drill_due"], false);
}

#[test]
fn status_says_what_to_type_where_there_is_no_key() {
    let mut host = nightly_host("[drill]\nevery = '30d'");
    host.run("-P home snapshot").ok();
    host.unset("ICECORE_PASSWORD_FILE");
    host.run("run").ok();
    let text = host.run("status").ok().stdout;
    assert!(text.contains("it is due: `icecore -P home drill`"), "{text}");
    host.set("ICECORE_PASSWORD_FILE", "password");
    host.run("-P home drill").ok();
    let text = host.run("status").ok().stdout;
    assert!(text.contains("photo restored: 2") && !text.contains("due: `"), "{text}");
}

#[test]
fn the_page_is_checked() {
    let host = Host::new();
    write(&host.path("photos/IMG_1.CR3"), photos::bytes(1, 300_000));
    host.run("snapshot --init photos").ok();
    for page in ["page.txt", "page.html"] {
        host.run(&format!("key export --output {page}")).ok();
        host.run("snapshot photos").ok();
        let ran = host.run(&format!("drill --identity-page {page}")).ok();
        assert!(ran.stdout.contains("the log head on it are those of the archive"), "{ran:#?}");
    }
    host.run("key export --output page.svg").ok();
    let ran = host.run("drill --identity-page page.svg").ok();
    assert!(ran.stdout.contains("compare by eye"), "{ran:#?}");
    // Test a page with another location.
    let page = fs::read_to_string(host.path("page.txt")).expect("the page");
    let place = host.path("repo").canonicalize().expect("the archive");
    let place = place.to_str().expect("text");
    write(&host.path("old.txt"), page.replace(place, "/media/old"));
    let ran = host.run("drill --identity-page old.txt").exits(3);
    assert!(ran.stderr.contains("archive: the page says"), "{ran:#?}");
    assert!(!ran.stderr.contains("log head"), "{ran:#?}");
    // Test the page of another archive.
    let other = Host::new();
    write(&other.path("photos/a"), "a");
    other.run("snapshot --init photos").ok();
    other.run("key export --output page.txt").ok();
    fs::copy(other.path("page.txt"), host.path("other.txt")).expect("a copy");
    host.run("drill --identity-page other.txt").fails(12, &["does not open this archive"]);
    host.run("drill --identity-page photos/IMG_1.CR3").exits(12);
}
