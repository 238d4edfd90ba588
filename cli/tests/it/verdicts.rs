//! The results of `check` and `audit` with obstacles: they name the obstacle, report what was not
//! proven, and never succeed because they saw nothing.

use std::fs;
use std::path::Path;

use icecore_testkit::S3Server;

use crate::support::{BUCKET, Host, Ran, objects, shoot, write};
use crate::thaw::{HOURS, archive, number};

/// Returns a host with an archived library in a folder, which is opened with the identity.
pub fn archived() -> Host {
    let mut host = Host::new();
    shoot(&host.path("photos/a"), 1, 2);
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    host.export_identity();
    host
}

pub fn overwrite(path: &Path) {
    let bytes = fs::metadata(path).expect("an object").len();
    fs::write(path, vec![7; bytes as usize]).expect("it is damaged");
}

#[test]
fn an_empty_card_is_not_archived() {
    let host = archived();
    fs::create_dir(host.path("card")).expect("a folder");
    let told = host.run("audit card").exits(3);
    assert_eq!(told.stdout, "there are no files in card: is the card mounted?\n", "{told:#?}");
    let json = host.run("--json audit card").exits(3).summary();
    assert_eq!(json["all_archived"], false, "{json}");
    host.run("audit photos --exclude *").exits(3);
    let both = host.run("audit photos card").exits(3);
    assert!(both.stdout.contains("is the card mounted?"), "{both:#?}");
}

#[test]
fn an_audit_tells_that_trees_are_damaged() {
    let host = archived();
    objects(&host.path("repo"), "meta").iter().for_each(|path| overwrite(path));
    let told = host.run("audit photos").exits(22);
    assert!(told.stderr.contains("warning: meta/"), "{told:#?}");
    let json = host.run("--json audit photos").exits(22).summary();
    assert!(json["damaged"].as_array().is_some_and(|all| !all.is_empty()), "{json}");
}

#[test]
fn an_audit_misses_a_pack_that_is_gone() {
    let host = archived();
    let pack = objects(&host.path("repo"), "packs").pop().expect("a pack");
    fs::remove_file(pack).expect("it goes");
    let told = host.run("audit photos").exits(3);
    assert!(told.stdout.contains("not archived: "), "{told:#?}");
    assert!(told.stderr.contains("missing or truncated (1 object)"), "{told:#?}");
}

#[test]
fn damage_is_told_before_a_thaw_is_asked_for() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    let packs = server.objects(BUCKET).into_iter().filter(|o| o.key.contains("/packs/"));
    let key = packs.map(|object| object.key).next().expect("a pack");
    assert!(server.delete(BUCKET, &key));
    let told = host.run("check --read-data").fails(21, &["must be thawed"]);
    assert!(told.stdout.contains(": it is missing"), "{told:#?}");
    assert!(told.stdout.contains("photo data was not read"), "{told:#?}");
    let told = host.run("--json check --read-data").exits(21).json();
    assert!(
        told.iter().any(|line| line["errors"].to_string().contains("it is missing")),
        "{told:?}"
    );
    assert_eq!(server.restores().len(), 0, "nothing was asked for");
}

#[test]
fn a_verdict_says_what_was_not_looked_at() {
    let mut host = archived();
    let told = host.run("check").ok();
    assert!(told.stdout.contains("no damage found; "), "{told:#?}");
    assert!(told.stdout.contains("photo data was not read (--read-data)"), "{told:#?}");
    let told = host.run("check --read-data-subset 99/100").ok();
    assert!(told.stdout.contains("--read-data-subset selects none of the "), "{told:#?}");
    let json = host.run("--json check --read-data-subset 99/100").ok().summary();
    assert_eq!(number(&json, "packs_selected"), 0.0);
    let told = host.run("check --read-data").ok();
    assert!(!told.stdout.contains("not read"), "{told:#?}");

    host.unset("ICECORE_IDENTITY");
    let told = host.run("check").ok();
    let verdict = told.stdout.lines().last().expect("a verdict");
    for words in [
        "no damage found in what can be read without the identity; ",
        "folder listings were not checked",
        "photo data was not read",
    ] {
        assert!(verdict.contains(words), "{told:#?}");
    }
}

#[test]
fn how_to_thaw_is_nothing_without_a_thaw() {
    let host = archived();
    for flag in ["--detach", "--wait", "--max-cost 1", "--tier standard"] {
        let told = host.run(&format!("check {flag}")).exits(2);
        assert!(told.stderr.contains("--read-data"), "{told:#?}");
        host.run(&format!("check --read-data {flag}")).ok();
        host.run(&format!("check --read-data-subset 1/2 {flag}")).ok();
    }
    host.run("check --read-data --read-data-subset 1/2").exits(2);
}

#[test]
fn without_a_key_slot_no_password_is_wrong() {
    let mut host = archived();
    objects(&host.path("repo"), "keys")
        .iter()
        .for_each(|path| fs::remove_file(path).expect("gone"));
    host.run("ls latest").ok();
    host.unset("ICECORE_IDENTITY");
    host.set("ICECORE_PASSWORD_FILE", "password");
    host.run("ls latest").fails(12, &["no key slot", "--identity"]);
}

#[test]
fn settings_that_a_repository_cannot_get_any_more_are_refused() {
    let mut host = archived();
    host.set("ICECORE_PASSWORD_FILE", "password");
    for (options, has) in [
        ("--parity 10", "was created without parity"),
        ("--pack-size 4MiB", "objects of 1.00 MiB"),
        ("--pack-class STANDARD", "which has no storage classes"),
        ("--hot-class STANDARD", "which has no storage classes"),
    ] {
        let option = options.split(' ').next().expect("a word");
        host.run(&format!("snapshot --init {options} photos"))
            .fails(2, &[option, has, &format!("omit {option}")]);
        host.run(&format!("snapshot {options} photos")).fails(2, &[option, "add --init"]);
    }
    // Repeating an existing setting is allowed.
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    for _ in 0..2 {
        host.run("--repo other snapshot --init --parity 10 photos").ok();
    }
    host.run("--repo other snapshot --init --parity 20 photos").fails(2, &["with parity 10"]);
}

#[test]
fn options_without_effect_are_refused() {
    let mut host = archived();
    host.set("ICECORE_PASSWORD_FILE", "password");
    for line in [
        "prune --undelete 4f1c02ab --keep-last 1",
        "prune --undelete 4f1c02ab --host studio",
        "prune --undelete 4f1c02ab --max-cost 1",
        "retire -n",
        "restore latest --plan --detach",
        "restore latest --plan --wait",
        "restore latest --plan --verify",
        "prune -n --group-by host",
        "cost --host studio",
        "--repo new --identity identity init",
    ] {
        host.run(line).exits(2);
    }
    // A policy in the profile counts.
    write(&host.path("config/studio.toml"), "[keep]\nkeep-last = 3\n");
    host.run("-P studio prune -n --group-by host").ok();
    assert!(!host.path("new").exists());
}

#[test]
fn an_expected_head_is_called_so() {
    let mut host = archived();
    // An empty variable counts as not set, but this one and that of the archive promise something.
    host.set("ICECORE_EXPECT_HEAD", "");
    host.run("snapshots").fails(2, &["ICECORE_EXPECT_HEAD is empty"]);
    host.unset("ICECORE_EXPECT_HEAD");
    host.set("ICECORE_RETRY_FOR", "");
    host.set("ICECORE_IDENTITY", "");
    host.run("snapshots").ok();
    host.run("--expect-head= snapshots").exits(2);
    host.set("ICECORE_EXPECT_HEAD", "nonsense");
    host.run("snapshots").exits(2);
    host.unset("ICECORE_EXPECT_HEAD");
    let head =
        host.run("--json check").ok().summary()["log_head"].as_str().expect("a head").to_owned();
    let (entry, digest) = head.split_once(':').expect("a number and a digest");
    host.set("ICECORE_CACHE_DIR", "fresh");
    let later = format!("--expect-head 9{entry}:{digest} snapshots");
    let other: String = digest.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    for line in [later, format!("--expect-head {entry}:{other} snapshots")] {
        let told = host.run(&line).fails(22, &["--expect-head"]);
        assert!(!told.stderr.contains("seen before"), "{told:#?}");
    }
}

#[test]
fn a_copy_that_ends_early_ends_no_wait_for_the_others() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6), ("oslo", 6)]);
    let mut command = host.command("--json check --read-data --wait --max-cost 1");
    let command = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut pause = |what: &str| {
        assert!(child.try_wait().expect("a state").is_none(), "it ended before {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    while server.restores().len() < 3 {
        pause("it asked");
    }
    let asked: Vec<String> = server.restores().into_iter().map(|asked| asked.key).collect();
    assert!(server.freeze(BUCKET, &asked[0]));
    // Wait until the check has asked for the state of the object several times.
    server.clear_requests();
    let looks = || {
        let heads = server.requests().into_iter().filter(|r| r.method == "HEAD");
        heads.filter(|request| request.path.ends_with(&asked[0])).count()
    };
    while looks() < 3 {
        pause("it looked again");
    }
    server.advance(49 * HOURS);
    let output = child.wait_with_output().expect("it ends");
    let ran = Ran::new("check", &output).exits(20);
    let summary = ran.summary();
    assert_eq!(number(&summary, "packs_waiting"), 1.0, "{summary}");
    assert!(ran.stderr.contains("the thawed copy of 1 object expired"), "{ran:#?}");
    assert!(!ran.stderr.contains("run the same command again in"), "{ran:#?}");
    assert!(number(&summary, "bytes_read") > 3e6, "{summary}");
}
