//! Tests that photos go to the right location: a URL of another tool is not taken for a folder, an unmounted disk does
//! not get a second repository, and a dry run creates nothing.

use std::fs::{self, File};

use icecore_testkit::{Classes, CreateOnly, S3Server};

use crate::support::{BUCKET, Host, assert_unchanged, objects, shoot, write};

fn host_with_photos() -> Host {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host
}

#[test]
fn a_variable_that_no_shell_has_replaced_makes_no_folder() {
    let host = host_with_photos();
    let before = host.state("");
    for url in ["$HOME/archive", "./backup-${DISK}/archive", "archive/$USER"] {
        for line in ["init", "snapshot --init photos", "snapshot -n --init photos"] {
            let ran = host.run(&format!("--repo {url} {line}"));
            ran.fails(2, &["the shell did not expand the variable", "without quotes"]);
        }
    }
    assert_unchanged(&before, &host.state(""), "a variable");
    fs::create_dir(host.path("$HOME")).expect("a folder");
    host.run("--repo $HOME/archive init").ok();
    host.run("--repo costs-$5 init").ok();
}

#[test]
fn what_an_interrupted_first_command_left_is_no_other_folder() {
    let host = host_with_photos();
    write(&host.path("repo/probe/1234"), "icecore");
    host.run("snapshots").fails(10, &["a first command was interrupted here: run it again"]);
    host.run("snapshot --init photos").ok();
    std::fs::rename(host.path("repo"), host.path("new disk")).expect("moved");
    host.run("--repo new\u{e000}disk/log check").fails(10, &["name the whole one, 'new disk'"]);
}

#[test]
fn an_old_copy_of_an_archive_that_was_moved_names_the_new_place() {
    let mut host = host_with_photos();
    host.run("snapshot --init photos").ok();
    let copied = std::process::Command::new("cp")
        .args(["-a", "repo", "new nas"])
        .current_dir(host.path(""))
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    host.set("ICECORE_REPOSITORY", "new nas");
    shoot(&host.path("photos/later"), 3, 1);
    host.run("snapshot photos").ok();
    // The old disk is plugged in again, and an old script runs.
    let new = host.path("new nas").canonicalize().expect("a folder");
    let before = host.state("repo");
    for line in ["snapshot photos", "snapshots", "restore latest --target out", "check"] {
        host.run(&format!("--repo repo {line}")).fails(
            22,
            &[
                "older than when this computer last used it",
                &format!("use --repo '{}'", new.display()),
                "this is the old copy",
            ],
        );
    }
    assert_unchanged(&before, &host.state("repo"), "an old copy");
    host.run("snapshots").ok();
    host.run("--repo repo rebuild-index").ok();
}

#[test]
fn urls_of_other_tools_make_no_folder() {
    let mut host = host_with_photos();
    let before = host.state("");
    for (url, words) in [
        ("s3:s3.amazonaws.com/my-bucket/photos", "s3://my-bucket/photos"),
        ("s3:https://nas:9000/my-bucket", "AWS_ENDPOINT_URL=https://nas:9000"),
        ("s3:/my-bucket", "s3://my-bucket"),
        ("s3:my-bucket", "s3://my-bucket"),
        ("s3:\\\\my-bucket", "s3://my-bucket"),
        ("s3:///my-bucket", "s3://bucket/prefix"),
        ("s3://", "s3://bucket/prefix"),
        ("s3://s3.amazonaws.com/my-bucket", "s3://my-bucket"),
        ("b2:my-bucket:photos", "s3://my-bucket/photos"),
        ("gs:my-bucket:/photos", "gs://my-bucket/photos"),
        ("azure:my-container:/", "az://my-container"),
        ("https://nas:9000/my-bucket", "s3://my-bucket"),
        ("rclone:remote:photos", "rclone serve s3"),
        ("sftp:me@nas:/photos", "mount it first"),
        ("sftp://me@nas/photos", "mount it first"),
        ("ssh://nas/photos", "mount it first"),
        ("rest:http://nas:8000/", "mount it first"),
        ("nas:/volume1/photos", "mount it first"),
        ("me@nas:photos", "mount it first"),
        ("smb://nas/photos", "mount it first"),
        ("nfs://nas/photos", "mount it first"),
        ("\\\\nas\\photos", "mount it first"),
        ("//no-such-nas/photos", "mount it first"),
        ("C:\\photos", "as this system shows it"),
        ("file://nas/photos", "the folder itself"),
        ("~maria/archive", "whole path"),
        ("photos:2024", "./"),
        ("archive ", "white space"),
        ("s3://my-bucket/photos\r", "white space"),
        ("", "ICECORE_REPOSITORY is empty"),
    ] {
        host.set("ICECORE_REPOSITORY", url);
        for line in ["snapshot --init photos", "init", "snapshots"] {
            // Some of these are recognised earlier, but all are usage errors.
            host.run(line).fails(2, &[words]);
        }
    }
    assert_unchanged(&before, &host.state(""), "a mistyped URL");
    host.set("ICECORE_REPOSITORY", "./s3:archive");
    host.run("snapshot --init photos").ok();
    assert!(host.path("s3:archive/config").exists());
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    let mut host = host_with_photos();
    for url in
        ["rest:http://me:geheim@nas/", "s3:key:geheim@https://nas/bucket", "b2:key:geheim@bucket"]
    {
        host.set("ICECORE_REPOSITORY", url);
        let ran = host
            .run("snapshots")
            .fails(2, &["nas"].map(|w| if url.contains(w) { w } else { "bucket" }));
        assert!(!ran.stderr.contains("geheim"), "{ran:#?}");
    }
}

#[test]
fn the_home_folder_is_where_a_shell_would_look() {
    let mut host = host_with_photos();
    host.run("--repo=~/one snapshot --init photos").ok();
    assert!(host.path("home/one/config").exists());
    host.set("ICECORE_REPOSITORY", "~/two");
    host.run("init").ok();
    assert!(host.path("home/two/config").exists());
    host.unset("ICECORE_REPOSITORY");
    fs::rename(host.path("password"), host.path("home/password")).expect("it moves");
    host.unset("ICECORE_PASSWORD_FILE");
    let profile = "repo = '~/one'\npassword-file = '~/password'\ncache-dir = '~/cache'\n";
    write(&host.path("config/home.toml"), profile);
    host.run("-P home ls latest").ok();
    host.run("-P home restore latest --target=~/out").ok();
    assert!(host.path("home/out").exists() && !host.path("~").exists());
    write(&host.path("config/home.toml"), "repo = '~/one'\npassword-file = '~maria/password'\n");
    host.run("-P home ls latest").fails(2, &["~maria"]);
}

#[test]
fn a_disk_that_is_not_mounted_gets_no_second_repository() {
    let mut host = host_with_photos();
    fs::create_dir(host.path("disk")).expect("a mount point");
    host.set("ICECORE_REPOSITORY", "disk/archive");
    host.run("snapshot --init photos").ok();
    std::os::unix::fs::symlink("disk/archive", host.path("link")).expect("a link");
    let all = |host: &Host| host.state("disk");
    // First the disk is gone with everything on it, then the mount point itself; then the mount point is the
    // repository.
    for gone in ["disk/archive", "disk"] {
        fs::rename(host.path(gone), host.path("parked")).expect("it moves");
        for cache in ["cache", "no-cache"] {
            host.set("ICECORE_CACHE_DIR", cache);
            let absolute = host.path("disk/archive");
            let absolute = absolute.to_str().expect("a plain path");
            for repo in
                ["disk/archive", "./disk//archive/", "disk/../disk/archive", "link", absolute]
            {
                host.set("ICECORE_REPOSITORY", repo);
                for line in [
                    "snapshot --init photos",
                    "snapshot photos",
                    "init",
                    "snapshots",
                    "snapshot --init -n photos",
                ] {
                    host.run(line).fails(10, &["no longer exists", "mounted"]);
                }
            }
            assert!(!host.path("no-cache").exists());
            host.set("ICECORE_CACHE_DIR", "cache");
        }
        assert!(!host.path("disk/archive").exists());
        fs::rename(host.path("parked"), host.path(gone)).expect("it moves back");
        host.run("snapshot --init photos").ok();
    }
    fs::rename(host.path("disk/archive"), host.path("parked")).expect("it moves");
    fs::create_dir(host.path("disk/archive")).expect("the mount point is the archive");
    host.run("snapshot --init photos").fails(10, &["no longer exists"]);
    assert!(all(&host).len() <= 2, "nothing is in it");
    // A host that used an earlier version knows the place only from its catalog.
    host.remove("config/places");
    host.run("snapshot --init photos").fails(10, &["no longer exists"]);
    // At another place, a new archive may be created.
    host.run("--repo elsewhere snapshot --init photos").ok();
    host.run("init --new").ok();
    host.run("snapshot photos").ok();
    // If disks are swapped, this is reported once.
    fs::rename(host.path("disk/archive"), host.path("other")).expect("it moves");
    fs::rename(host.path("parked"), host.path("disk/archive")).expect("it moves back");
    let first = host.run("snapshot photos").ok();
    fs::rename(host.path("disk/archive"), host.path("parked")).expect("it moves");
    fs::rename(host.path("other"), host.path("disk/archive")).expect("it moves back");
    let second = host.run("snapshot photos").ok();
    assert!(
        [first, second].iter().filter(|ran| ran.stderr.contains("used there before")).count() <= 1
    );
}

#[test]
fn another_repository_at_a_known_place_is_said() {
    let host = host_with_photos();
    host.run("snapshot --init photos").ok();
    host.run("--repo other snapshot --init photos").ok();
    fs::rename(host.path("repo"), host.path("parked")).expect("it moves");
    fs::rename(host.path("other"), host.path("repo")).expect("it moves");
    let ran = host.run("-q snapshot photos").ok();
    assert!(ran.stderr.contains("used there before"), "{ran:#?}");
    let ran = host.run("snapshot photos").ok();
    assert!(!ran.stderr.contains("used there before"), "{ran:#?}");
}

#[test]
fn a_lost_archive_names_the_copy_that_this_computer_knows() {
    let host = host_with_photos();
    host.run("snapshot --init photos").ok();
    host.run("mirror repo copy").ok();
    fs::rename(host.path("repo"), host.path("parked")).expect("it moves");
    let copy = format!("knows a copy at {}: `icecore --repo ", host.path("copy").display());
    host.run("snapshots").fails(10, &["no longer exists", &copy]);
    write(&host.path("config/home.toml"), profile_with_copy(&host));
    let promote = "promote` makes it the main archive";
    host.run("-P home snapshots").fails(10, &["the profile names a copy", promote]);
    // No new archive helps if the place of the archive is mistyped for a mirror.
    let ran = host
        .run("mirror repp copy")
        .fails(10, &["no archive at repp", "name the archive first, then its copy"]);
    assert!(!ran.stderr.contains("init"), "{ran:#?}");
    // A copy that was promoted cannot be promoted again: the profile must name it.
    host.run("--repo copy promote --yes").ok();
    let ran = host.run("-P home snapshots").fails(10, &["(in a profile: repo)"]);
    assert!(!ran.stderr.contains("promote"), "{ran:#?}");
}

/// Through a link in the place of a folder, a prune would delete objects of another archive.
#[test]
fn a_link_in_the_place_of_a_folder_is_not_followed() {
    let host = host_with_photos();
    host.run("snapshot --init photos").ok();
    host.run("--repo other snapshot --init photos").ok();
    let has_all = |repo: &str| {
        let prefixes = ["keys", "log", "checkpoints", "meta", "hot", "packs", "parity"];
        prefixes.iter().all(|prefix| host.path(repo).join(prefix).is_dir())
    };
    host.run("mirror repo copy").ok();
    assert!(has_all("repo") && has_all("copy"), "no link fits in the place of a folder");
    let parity = host.path("repo/parity");
    fs::remove_dir(&parity).expect("it is empty");
    std::os::unix::fs::symlink("../other/hot", &parity).expect("a link");
    // A thief waits until the objects look left behind.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(20 * 86_400);
    let others = objects(&host.path("other"), "hot");
    for object in &others {
        File::options()
            .append(true)
            .open(object)
            .and_then(|file| file.set_modified(old))
            .expect("a time");
    }
    host.run("snapshots").ok();
    for line in ["prune -n", "prune"] {
        host.run(line).fails(
            1,
            &["parity: it is a link or a file", "hint: icecore writes and deletes nothing"],
        );
    }
    fs::remove_file(&parity).expect("it is removed");
    fs::write(&parity, "file").expect("a file");
    host.run("prune").fails(1, &["parity: it is a link or a file"]);
    fs::remove_file(&parity).expect("it is removed");
    host.run("snapshot photos").ok();
    assert_eq!(objects(&host.path("other"), "hot"), others, "nothing was deleted there");
    host.run("--repo other check").ok();
}

fn profile_with_copy(host: &Host) -> String {
    let path = |name: &str| host.path(name).display().to_string();
    format!("repo = '{}'\n[mirror]\nto = '{}'\n", path("repo"), path("copy"))
}

#[test]
fn a_bucket_that_is_empty_gets_no_second_repository() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    for object in server.objects(BUCKET) {
        server.delete(BUCKET, &object.key);
    }
    host.remove("cache");
    host.run("snapshot --init photos").fails(10, &["no longer exists", "check the bucket"]);
    host.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}//photos/"));
    host.run("snapshot --init photos").fails(10, &["no longer exists"]);
    assert!(server.objects(BUCKET).is_empty());
    // The same bucket name on another server is another place.
    let other = S3Server::start();
    other.create_bucket(BUCKET);
    host.set("AWS_ENDPOINT_URL", &other.endpoint());
    host.run("snapshot --init photos").ok();
}

#[test]
fn a_dry_run_makes_nothing() {
    let mut host = host_with_photos();
    let before = host.state("");
    let ran = host.run("snapshot --init -n photos").ok();
    assert!(ran.stderr.contains("would be created at repo"), "{ran:#?}");
    assert!(ran.stdout.contains("files: 3 new"), "{ran:#?}");
    let summary = host.run("--json snapshot --init -n photos").ok().summary();
    assert_eq!((&summary["files_new"], summary["snapshot_id"].is_null()), (&3.into(), true));
    assert!(summary["bytes_added"].as_u64().is_some_and(|bytes| bytes > 3_000_000), "{summary}");
    host.run("snapshot --init -n --parity 99 photos").fails(2, &["parity"]);
    host.run("--repo photos snapshot --init -n photos").fails(1, &["not empty"]);
    assert_unchanged(&before, &host.state(""), "a dry run");

    // A host that is not enrolled stays not enrolled.
    host.run("snapshot --init photos").ok();
    host.set("ICECORE_CONFIG_DIR", "other");
    let repo = host.state("repo");
    host.run("snapshot -n photos").ok();
    host.run("prune -n --keep-last 1").ok();
    assert!(!host.path("other").exists());
    assert_unchanged(&repo, &host.state("repo"), "a dry run");

    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    let before = host.state("");
    let ran = host.run("snapshot --init -n photos").ok();
    assert!(ran.stdout.contains("it would cost: less than 1 cent"), "{ran:#?}");
    assert!(server.objects(BUCKET).is_empty());
    assert_unchanged(&before, &host.state(""), "a dry run");
}

#[test]
fn a_refused_init_leaves_nothing_behind() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 1);
    let before = host.state("");
    let all = |host: &Host| {
        let mut state = host.state("");
        // The empty folder of credentials may stay.
        state.retain(|path, _| !path.starts_with(b"config"));
        state
    };
    server.set_classes(Classes::StandardOnly);
    for line in ["init", "snapshot --init photos"] {
        host.run(line).fails(1, &["DEEP_ARCHIVE", "--pack-class STANDARD"]);
    }
    server.set_classes(Classes::All);
    server.set_create_only(CreateOnly::Checked);
    host.run("snapshot --init photos").fails(1, &["create-only"]);
    assert!(server.objects(BUCKET).is_empty());
    assert_unchanged(&before, &all(&host), "a refused init");
    assert!(objects(&host.path("config"), "credentials").is_empty());
    server.set_create_only(CreateOnly::Atomic);
    host.run("snapshot --init photos").ok();
}

#[test]
fn a_lost_catalog_is_read_again_and_that_is_said() {
    const SAID: &str = "the local catalog was missing; it was rebuilt from the archive";
    let mut host = Host::new();
    write(&host.path("photos/a.xmp"), "three stars");
    let made = host.run("-v snapshot --init photos").ok();
    assert!(!made.stderr.contains(SAID) && made.stdout.contains("files: 1 new"), "{made:#?}");
    host.export_identity();
    assert!(!host.run("-v snapshots").ok().stderr.contains(SAID), "there is one");
    for (line, is_said) in [
        ("-v snapshots", true),
        ("snapshots", false),
        ("-v -q snapshots", false),
        ("-v ls latest", true),
    ] {
        host.remove("cache");
        let ran = host.run(line).ok();
        assert_eq!(ran.stderr.contains(SAID), is_said, "{ran:#?}");
        assert!(!host.run(line).ok().stderr.contains(SAID), "once: {line}");
    }
    host.remove("cache");
    let rows = crate::terminal::rows(host.command("snapshots"), 100);
    assert!(rows.iter().any(|row| row == SAID), "the terminal shows it: {rows:#?}");
    host.remove("cache");
    assert!(!host.run("-v rebuild-index").ok().stderr.contains(SAID), "that was asked for");
    // Without a cache, no file counts as new.
    host.remove("cache");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("files: 1 read again\n"), "{ran:#?}");
    assert!(ran.stdout.contains("so every file was read again"), "{ran:#?}");
}

#[test]
fn no_archive_is_made_inside_another_one() {
    let host = host_with_photos();
    host.run("init").ok();
    std::os::unix::fs::symlink(host.path("repo"), host.path("link")).expect("a link");
    for place in ["repo/second", "repo/packs/2024/second", "link/second"] {
        for line in ["init", "snapshot --init photos"] {
            let ran = host.run(&format!("--repo {place} {line}"));
            ran.fails(1, &["is inside another archive", "choose a place beside it"]);
        }
        assert!(!host.path("repo/second").exists() && !host.path("repo/packs/2024").exists());
    }
    host.run("--repo repo/hot check")
        .fails(10, &["a part of an archive", "name the whole one, repo"]);
    host.run("mirror repo repo/copy").fails(1, &["is inside another archive"]);
    host.run("--repo beside init").ok();
    let server = S3Server::start();
    let mut bucket = Host::with_bucket(&server);
    bucket.set("ICECORE_REPOSITORY", &format!("s3://{BUCKET}/photos"));
    bucket.run("init").ok();
    let there = server.objects(BUCKET).len();
    for place in ["photos/second", "photos/packs/second"] {
        let ran = bucket.run(&format!("--repo s3://{BUCKET}/{place} init"));
        ran.fails(1, &["is inside another archive", "choose a place beside it"]);
    }
    bucket
        .run(&format!("mirror s3://{BUCKET}/photos s3://{BUCKET}/photos/copy"))
        .fails(1, &["is inside another archive"]);
    assert_eq!(server.objects(BUCKET).len(), there);
    bucket.run(&format!("--repo s3://{BUCKET}/photos2 init")).ok();
    // A file of somebody else does not hide the archive.
    write(&host.path("repo/notes.txt"), "mine");
    host.run("init").fails(1, &["there is already an archive at repo"]);
}
