//! The first hour with a bucket, on the server of the test kit and on moto, which others wrote.

use std::collections::BTreeMap;

use icecore_testkit::{MotoServer, S3Server};

use crate::support::{BUCKET, Host, left_out, odd_entries, shoot, write};

#[test]
fn kinds_of_objects_lie_in_their_classes() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 2);
    let summary = host.run("snapshot --init --json photos").ok().summary();
    assert!(summary["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{summary}");
    let mut classes = BTreeMap::new();
    for object in server.objects(BUCKET) {
        let kind = object.key.split('/').nth(1).expect("a prefix").to_owned();
        let class = classes.entry(kind).or_insert_with(|| object.storage_class.clone());
        assert_eq!(*class, object.storage_class, "{}", object.key);
    }
    let documented = [
        ("config", "STANDARD"),
        ("hot", "GLACIER_IR"),
        ("keys", "STANDARD"),
        ("log", "STANDARD"),
        ("meta", "STANDARD"),
        ("packs", "DEEP_ARCHIVE"),
    ];
    let documented = documented.map(|(kind, class)| (kind.to_owned(), class.to_owned()));
    assert_eq!(classes, BTreeMap::from(documented));

    // Cold photo data does not prevent listing, checking and further snapshots.
    host.export_identity();
    host.remove("cache");
    for line in
        ["snapshots", "ls -R latest", "find *.CR3", "check", "stats", "restore --plan latest"]
    {
        host.run(line).ok();
    }
    // Small files are not cold.
    let sidecar = host.run("dump latest:photos/IMG_01000.xmp").ok().stdout;
    assert_eq!(sidecar, icecore_testkit::photos::sidecar(1000));
    host.run("dump latest:photos/IMG_01000.CR3").fails(1, &["thawed"]);
    let ran = host.run("restore latest:photos --target out --include *.xmp").ok();
    assert!(ran.stdout.contains("restored 2 files"), "{ran:#?}");
    shoot(&host.path("photos/later"), 2, 1);
    let summary = host.run("snapshot --json photos").ok().summary();
    // Without the cache, every file was read again, but only the new ones were stored.
    assert_eq!((&summary["files_new"], &summary["files_moved"]), (&3.into(), &6.into()));
    let stored = summary["bytes_stored"].as_u64().expect("a number");
    // There is one pack of each kind, padded to a power of two.
    assert_eq!(stored, (4 << 20) + 2 * (16 << 10), "{summary}");
}

#[test]
fn bad_classes_are_refused_before_anything_is_made() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    host.run("init --pack-class FROZEN").fails(2, &["FROZEN", "DEEP_ARCHIVE"]);
    host.run("init --hot-class DEEP_ARCHIVE").fails(2, &["DEEP_ARCHIVE", "GLACIER_IR"]);
    assert!(server.objects(BUCKET).is_empty());
    host.run("init --pack-class standard_ia --hot-class standard").ok();
}

#[test]
fn many_pages_of_a_listing() {
    let server = S3Server::start();
    server.set_page_size(2);
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init --pack-class STANDARD --pack-size 1MiB photos").ok();
    for edit in 0..4 {
        write(&host.path("photos/notes.txt"), format!("edit {edit}"));
        host.run("snapshot photos").ok();
    }
    host.export_identity();
    host.remove("cache");
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}

#[test]
fn first_hour() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    first_hour_of(&mut host);
}

#[test]
fn first_hour_on_moto() {
    let Some(server) = MotoServer::start() else {
        return left_out("the first hour on moto", "ICECORE_MOTO is not set");
    };
    server.create_bucket(BUCKET);
    let mut host = Host::new();
    for (name, value) in server.env() {
        host.set(&name, &value);
    }
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    host.set("ICECORE_RETRY_SECONDS", "30");
    first_hour_of(&mut host);
}

/// Runs everything that a new user of a bucket does first, with a class that is readable at once.
fn first_hour_of(host: &mut Host) {
    shoot(&host.path("photos"), 1, 2);
    odd_entries(&host.path("photos/odd"));
    let first = host.state("photos");
    host.run("snapshot --init --pack-class STANDARD photos").ok();
    shoot(&host.path("photos/later"), 2, 1);
    write(&host.path("photos/IMG_01000.xmp"), "rated");
    let second = host.state("photos");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("files: 3 new, 1 changed"), "{ran:#?}");
    assert!(ran.stdout.contains("cost: less than 1 cent"), "{ran:#?}");
    host.export_identity();
    let ran =
        host.run("init").fails(1, &["is already an archive at s3://archive/photos", "snapshot"]);
    assert_eq!(ran.stdout, "");
    assert_eq!(host.run("snapshots").ok().stdout.lines().count(), 3);
    let ran = host.run("diff latest~1 latest").ok();
    let has = |sign: &str, path: &str| {
        ran.stdout.lines().any(|line| line.starts_with(sign) && line.ends_with(path))
    };
    assert!(has("+ ", "/photos/later/") && has("M ", "/photos/IMG_01000.xmp"), "{ran:#?}");
    assert_eq!(host.run("dump latest:photos/IMG_01000.xmp").ok().stdout, "rated");
    host.restores("latest~1", &first);
    host.restores("latest", &second);
    host.run("check --read-data").ok();
    host.remove("cache");
    host.run("rebuild-index").ok();
    host.restores("latest", &second);
}
