//! A dropped snapshot can be undeleted for some time, on every store, by the clock of the store.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use icecore_testkit::{S3Server, photos};
use serde_json::Value;

use crate::support::{BUCKET, Host, objects, write};

const DAY: Duration = Duration::from_secs(86_400);

/// Takes two snapshots, of which only the first contains a shoot.
fn two(host: &Host, init: &str) -> String {
    for number in 0..3 {
        write(&host.path(&format!("photos/rome/{number}.CR3")), photos::bytes(number, 700_000));
        write(
            &host.path(&format!("photos/oslo/{number}.CR3")),
            photos::bytes(50 + number, 700_000),
        );
    }
    let first = host.run(&format!("--json snapshot --init {init} photos")).ok().summary();
    fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.run("-q snapshot photos").ok();
    first["snapshot_id"].as_str().expect("an id").to_owned()
}

/// Returns the dropped snapshots that can be undeleted.
fn dropped(host: &Host) -> Vec<Value> {
    let mut all = host.run("--json snapshots --dropped").ok().json();
    assert_eq!(all.pop().expect("a summary")["snapshots"], all.len());
    // Other dropped snapshots may be listed until the next prune.
    all.retain(|line| line["until"].is_string());
    all
}

fn visible(host: &Host) -> usize {
    host.run("--json snapshots").ok().json().len() - 1
}

fn freed(host: &Host, line: &str) -> u64 {
    let done = host.run(&format!("--json {line}")).ok().summary();
    done["bytes_freed"].as_u64().expect("a number")
}

/// Makes every object in a folder this many days older.
fn age(repo: &Path, days: u32) {
    let aged = Command::new("find")
        .arg(repo)
        .args(["-type", "f", "-exec", "touch", "-d", &format!("{days} days ago"), "{}", "+"])
        .status();
    assert!(aged.is_ok_and(|status| status.success()), "files can be aged");
}

#[test]
fn what_is_dropped_stays_for_two_weeks_in_a_folder() {
    let host = Host::new();
    let first = two(&host, "--pack-size 4MiB");
    let packs = objects(&host.path("repo"), "packs");
    let dry = host.run("prune -n --keep-last 1").ok();
    assert!(dry.stdout.contains("could then be undeleted until"), "{dry:#?}");
    let ran = host.run("prune --keep-last 1").ok();
    let short = &first[..8];
    for words in [
        "so that 1 dropped snapshot can be undeleted; --now deletes at once",
        &format!("snapshot {short} can be undeleted until "),
        &format!("icecore prune --undelete {short}"),
    ] {
        assert!(ran.stdout.contains(words), "{words}: {ran:#?}");
    }
    // The size is shown once.
    assert!(
        ran.stdout.contains("\nunused: ") && ran.stdout.contains("\nall unused data stays until ")
    );
    assert_eq!(ran.stdout.matches("iB").count(), 1, "{ran:#?}");
    assert_eq!((visible(&host), objects(&host.path("repo"), "packs")), (1, packs.clone()));
    let listed = dropped(&host);
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &first.clone().into()));
    let shown = host.run("snapshots --dropped").ok();
    assert!(shown.stdout.contains(short) && shown.stdout.contains("until"), "{shown:#?}");

    // Thirteen days later, it still exists with all its content.
    age(&host.path("repo"), 13);
    assert_eq!(freed(&host, "prune --keep-last 1"), 0);
    host.run(&format!("prune --undelete {short}")).ok();
    assert_eq!((visible(&host), dropped(&host).len()), (2, 0));
    host.run("check --read-data").ok();

    // The undelete window starts again.
    assert_eq!(freed(&host, "prune --keep-last 1"), 0);
    age(&host.path("repo"), 15);
    assert!(dropped(&host).is_empty());
    // The output says once that the window is over, and nothing else.
    let shown = host.run("snapshots --dropped").ok();
    let over = "the time to undelete 1 dropped snapshot is over: it can be undeleted only until the next prune";
    assert_eq!((&*shown.stdout, shown.stderr), ("", format!("{over}; -v lists it\n")));
    let shown = host.run("snapshots --dropped -v").ok();
    assert!(shown.stdout.contains("the next prune"), "{shown:#?}");
    assert!(shown.stderr.contains(&format!("{over}\n")), "{shown:#?}");
    let told = host.run("--json prune -n --keep-last 1").ok().summary()["bytes_freed"].clone();
    let freed = freed(&host, "prune --keep-last 1");
    assert!(freed > 2_000_000 && told == freed, "{told} and {freed}");
    assert!(objects(&host.path("repo"), "packs").len() < packs.len());
    host.run(&format!("prune --undelete {short}")).exits(1);
    host.run("check --read-data").ok();
    host.restores("latest", &host.state("photos"));
}

#[test]
fn what_is_dropped_already_is_said_and_the_rest_is_dropped() {
    let host = Host::new();
    let first = two(&host, "");
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 100_000));
    let second = host.run("--json snapshots").ok().json()[1]["id"].clone();
    let second = second.as_str().expect("an id");
    host.run("-q snapshot photos").ok();
    let (first, second) = (&first[..8], &second[..8]);
    host.run(&format!("prune --forget {first}")).ok();
    // Nothing is dropped if one of the names is unknown.
    host.run(&format!("prune --forget {first} {second} nonsense"))
        .fails(4, &["no snapshot matches \"nonsense\""]);
    assert_eq!((visible(&host), dropped(&host).len()), (2, 1));
    let ran = host.run(&format!("prune --forget {first} {second}")).ok();
    assert!(ran.stderr.contains(&format!("snapshot {first} was dropped already")), "{ran:#?}");
    assert_eq!((visible(&host), dropped(&host).len()), (1, 2));
    let ran = host.run(&format!("prune --forget {first} {second}")).ok();
    let both = ran.stderr.lines().find(|line| line.ends_with("were dropped already"));
    assert!(both.is_some_and(|line| line.contains(first) && line.contains(second)), "{ran:#?}");
    assert_eq!((visible(&host), dropped(&host).len()), (1, 2));
}

#[test]
fn a_catalog_that_is_made_anew_knows_when_it_was_dropped() {
    let host = Host::new();
    two(&host, "--pack-size 4MiB");
    host.run("prune --keep-last 1").ok();
    let until = dropped(&host)[0]["until"].clone();
    assert!(until.is_string());
    // Later entries do not change this, even if they drop the same snapshot again.
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 100_000));
    host.run("snapshot photos").ok();
    host.remove("cache");
    assert_eq!(dropped(&host)[0]["until"], until);
}

#[test]
fn the_window_is_a_setting() {
    let host = Host::new();
    two(&host, "--pack-size 4MiB --undelete-days 30");
    let days = |host: &Host| host.run("--json settings").ok().summary()["undelete_days"].clone();
    assert_eq!(days(&host), 30);
    assert!(host.run("settings").ok().stdout.contains("30 days"));
    host.run("prune --keep-last 1").ok();
    age(&host.path("repo"), 20);
    assert_eq!((freed(&host, "prune"), dropped(&host).len()), (0, 1));
    // The same is true on a host that reads the log for the first time.
    host.run("settings --undelete-days 10").ok();
    host.remove("cache");
    assert_eq!(days(&host), 10);
    assert!(
        host.run("settings --undelete-days 10")
            .ok()
            .stderr
            .contains("the setting already had this value")
    );
    assert!(freed(&host, "prune") > 2_000_000);
    host.run("settings --undelete-days 3651").exits(2);
    host.run("settings --undelete-days many").exits(2);
    let ran = host.run("snapshot --init --undelete-days 5 photos").exits(2);
    assert!(ran.stderr.contains("icecore settings --undelete-days"), "{ran:#?}");
    // Without an undelete window, dropped data is deleted at once.
    host.run("settings --undelete-days 0").ok();
    assert!(host.run("settings").ok().stdout.contains("no time"));
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 900_000));
    host.run("snapshot photos").ok();
    fs::remove_dir_all(host.path("photos/bern")).expect("culled");
    host.run("snapshot photos").ok();
    assert!(freed(&host, "prune --keep-last 1") > 900_000);
}

#[test]
fn a_writer_cannot_change_the_window() {
    let mut host = Host::new();
    two(&host, "");
    host.unset("ICECORE_PASSWORD_FILE");
    host.run("settings").ok();
    assert_ne!(host.run("settings --undelete-days 0").code, 0);
    assert_eq!(host.run("--json settings").ok().summary()["undelete_days"], 14);
}

#[test]
fn now_ends_it_for_what_is_dropped() {
    let host = Host::new();
    two(&host, "--pack-size 4MiB");
    assert_eq!(freed(&host, "prune --keep-last 1"), 0);
    let told = host.run("--json prune -n --now").ok().summary();
    assert_eq!(told["recoverable"], serde_json::json!([]));
    let freed = freed(&host, "prune --now");
    assert!(freed > 2_000_000 && told["bytes_freed"] == freed, "{told} and {freed}");
    assert!(dropped(&host).is_empty());
    host.run("check --read-data").ok();
}

#[test]
fn a_bucket_goes_by_its_own_clock() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    let first = two(&host, "--pack-class STANDARD --hot-class STANDARD --pack-size 4MiB");
    let packs = || {
        let all = server.objects(BUCKET);
        all.iter().filter(|object| object.key.contains("/packs/")).count()
    };
    let before = packs();
    assert_eq!(freed(&host, "prune --keep-last 1"), 0);
    // Meanwhile, the clock of this machine does not advance.
    server.advance(13 * DAY);
    assert_eq!((freed(&host, "prune --keep-last 1"), packs()), (0, before));
    assert_eq!(dropped(&host)[0]["id"], first.as_str());
    server.advance(2 * DAY);
    assert!(dropped(&host).is_empty());
    assert!(freed(&host, "prune --keep-last 1") > 2_000_000);
    assert!(packs() < before);
    host.run("check --read-data --max-cost 1").ok();
    // With the clock of a store, a year without a snapshot is not suspicious.
    server.advance(365 * DAY);
    host.run("prune --keep-last 1").ok();
}

#[test]
fn minimum_days_make_it_longer() {
    let server = S3Server::start();
    let host = Host::with_bucket(&server);
    let first = two(&host, "--pack-class GLACIER_IR --hot-class STANDARD --pack-size 4MiB");
    host.run("prune --keep-last 1").ok();
    server.advance(60 * DAY);
    let listed = dropped(&host);
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &first.clone().into()));
    // Packs that wait until deleting them is free still wait after --now.
    assert_eq!(freed(&host, "prune --now"), 0);
    host.run(&format!("prune --undelete {}", &first[..8])).ok();
    assert_eq!(freed(&host, "prune --keep-last 1"), 0);
    // After that day, the undelete window counts, which has just begun.
    server.advance(31 * DAY);
    assert!(freed(&host, "prune --keep-last 1") > 2_000_000);
    host.run("check").ok();
}

#[test]
fn a_clock_that_runs_ahead_deletes_nothing() {
    let host = Host::new();
    two(&host, "--pack-size 4MiB");
    let repo = host.path("repo");
    host.run("prune --keep-last 1").ok();
    age(&repo, 59);
    assert!(host.run("--json prune -n").ok().summary()["bytes_freed"].as_u64() > Some(2_000_000));
    age(&repo, 61);
    let before = host.state("repo");
    for line in ["prune", "prune --keep-last 1", "prune --now", "prune -n"] {
        host.run(line).fails(
            1,
            &["the clock of this computer says", "--trust-clock", "nothing was dropped or deleted"],
        );
    }
    crate::support::assert_unchanged(&before, &host.state("repo"), "a prune by a wrong clock");
    assert!(freed(&host, "prune --trust-clock") > 2_000_000);
    // That prune has put new objects there, so the clock is no longer in doubt.
    write(&host.path("photos/bern/1.CR3"), photos::bytes(99, 100_000));
    host.run("snapshot photos").ok();
    host.run("prune --keep-last 1").ok();
}

/// The thief of a prune host may set the time of its own entry.
#[test]
fn a_false_time_of_an_entry_in_a_folder_does_not_end_the_window() {
    let host = Host::new();
    two(&host, "--pack-size 4MiB");
    host.run("prune --keep-last 1").ok();
    let dropping = objects(&host.path("repo"), "log").pop().expect("an entry");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(20 * 86_400);
    let entry = std::fs::File::options().append(true).open(&dropping).expect("it opens");
    entry.set_modified(old).expect("a time");
    assert_eq!(freed(&host, "prune"), 0);
    assert_eq!(dropped(&host).len(), 1);
    // If all entries are as old, they are.
    age(&host.path("repo"), 20);
    assert!(freed(&host, "prune") > 2_000_000);
}

#[test]
fn what_is_still_dropped_in_a_copy_is_named_when_it_is_promoted() {
    let host = Host::new();
    let first = two(&host, "");
    host.run(&format!("prune --forget {first}")).ok();
    host.run("mirror repo copy").ok();
    host.run(&format!("prune --undelete {first}")).ok();
    fs::rename(host.path("repo"), host.path("lost")).expect("the archive is lost");
    let ran = host.run("--repo copy promote --yes").ok();
    let still = "1 snapshot that was undeleted in the archive is still dropped in this copy";
    assert!(ran.stderr.contains(still), "{ran:#?}");
    assert!(!ran.stderr.contains("is not in it"), "{ran:#?}");
    host.run(&format!("--repo copy prune --undelete {first}")).ok();
}
