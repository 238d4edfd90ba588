//! Tests what the owner hears of valid entries that a thief, or a mistake, could have made.

use icecore_engine::codec::Author;
use icecore_engine::format::{Credential, LogEntry, PackRange};

use super::attacks::new;
use super::tools::Archive;
use crate::support::{Host, write};

#[test]
fn who_empties_a_history_is_named_until_it_is_accepted() {
    for claimed in [0, 100] {
        let mut archive = Archive::in_folder();
        archive.run_elsewhere("check").ok();
        let thief = archive.thief();
        let newest = thief.snapshots().pop().expect("a snapshot");
        let (last, _, _) = thief.log();
        let mut ids = Vec::new();
        for _ in 0..2 {
            let mut entry = thief.empty(&newest, newest.time);
            entry.snapshots[0].files = claimed;
            ids.push(entry.snapshots[0].id);
            thief.says(entry);
        }
        let checked = archive.run_elsewhere("check").exits(23);
        let writer = thief.author.id.short();
        for words in [
            "history ".to_owned(),
            format!("writer first host ({writer}) has emptied it: snapshot {} of ", ids[0].short()),
            format!("{} before it has {} files", newest.id.short(), newest.files),
            format!("`icecore key revoke {writer} --from {} -n`", last + 1),
        ] {
            assert!(checked.stdout.contains(&words), "{words}: {checked:#?}");
        }
        let summary = archive.run_elsewhere("check --json").exits(23).summary();
        let found = &summary["histories_emptied"];
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{summary}");
        assert_eq!(found[0]["snapshot"], ids[0].to_string(), "{summary}");
        // A prune knows only what the log says.
        let planned = archive.run_elsewhere("-q prune -n --keep-last 5").ok();
        assert_eq!(planned.stderr.contains("has emptied it"), claimed == 0, "{planned:#?}");
        archive.run_elsewhere(&format!("accept {}", ids[1])).ok();
        archive.run_elsewhere("check").ok();
    }
}

/// A computer whose disk is not mounted marks its snapshot, and has reported it. So the nights after that stay quiet.
#[test]
fn a_computer_that_finds_no_files_is_no_thief() {
    let host = Host::new();
    for name in ["a.raw", "b.raw", "c.raw"] {
        write(&host.path(&format!("photos/{name}")), name);
    }
    host.run("snapshot --init photos").ok();
    host.remove("photos");
    std::fs::create_dir(host.path("photos")).expect("a folder");
    host.run("snapshot photos").exits(3);
    let told = "has emptied it";
    let checked = host.run("check").ok();
    assert!(checked.stderr.contains(told) && !checked.stdout.contains(told), "{checked:#?}");
    for line in ["-q check", "prune -n --keep-last 1"] {
        let ran = host.run(line).ok();
        assert!(!ran.stderr.contains(told) && !ran.stdout.contains(told), "{ran:#?}");
    }
}

#[test]
fn who_drops_the_newest_full_snapshot_is_named() {
    let mut archive = Archive::in_folder();
    archive.run("prune", "key export --prune-host --output stolen").ok();
    let stolen = std::fs::read(archive.host.path("stolen")).expect("a credential");
    let stolen = Author::of(&Credential::decode(&stolen).expect("a credential"));
    let thief = archive.thief();
    let (last, _, _) = thief.log();
    let mut snapshots = thief.snapshots();
    let newest = snapshots.pop().expect("a snapshot").id;
    // To drop an older one is what a policy does.
    thief.says_as(&stolen, LogEntry { dropped: vec![snapshots[0].id], ..new() });
    let told = "has dropped its newest full snapshot";
    let checked = archive.run("restore", "check").ok();
    assert!(!checked.stdout.contains(told), "{checked:#?}");
    thief.says_as(&stolen, LogEntry { dropped: vec![newest], ..new() });
    let checked = archive.run("restore", "check").ok();
    let words = format!("writer prune host ({}) {told}, {} of", stolen.id.short(), newest.short());
    assert!(checked.stdout.contains(&words), "{words}: {checked:#?}");
    let revoke = format!("`icecore key revoke {} --from {} -n`", stolen.id.short(), last + 2);
    assert!(checked.stdout.contains(&revoke), "{revoke}: {checked:#?}");
    let summary = archive.run("restore", "check --json").ok().summary();
    assert_eq!(summary["newest_dropped"][0]["snapshot"], newest.to_string(), "{summary}");
    let planned = archive.run("prune", "prune -n").ok();
    assert!(planned.stderr.contains(told), "{planned:#?}");
    archive.run("prune", &format!("prune --undelete {newest}")).ok();
    let checked = archive.run("restore", "check").ok();
    assert!(!checked.stdout.contains(told), "{checked:#?}");
    // The owner may drop it.
    archive.run("prune", &format!("prune --forget {newest}")).ok();
    let checked = archive.run("restore", "check").ok();
    assert!(!checked.stdout.contains(told), "{checked:#?}");
}

/// A stolen prune host marks everything for deletion and drops nothing. Nothing is lost, and the first command of the owner
/// says what undoes it.
#[test]
fn who_marks_data_of_listed_snapshots_for_deletion_is_named() {
    let mut archive = Archive::in_folder();
    archive.run("prune", "key export --prune-host --output stolen").ok();
    let stolen = std::fs::read(archive.host.path("stolen")).expect("a credential");
    let stolen = Author::of(&Credential::decode(&stolen).expect("a credential"));
    let thief = archive.thief();
    let number = thief.log().0 + 1;
    let all = vec![PackRange { first: 0, count: 1 << 50 }];
    thief.says_as(&stolen, LogEntry { tombstones: all, ..new() });
    let revoke = format!("`icecore key revoke {} --from {number}` brings", stolen.id.short());
    for line in ["snapshots", "check", "prune -n --keep-last 9", "prune --keep-last 9"] {
        let ran = archive.run("prune", line);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        for words in ["writer prune host has marked data", &revoke] {
            assert!(told.contains(words), "{words}: {ran:#?}");
        }
        for never in ["--forget", "icecore accept"] {
            assert!(!told.contains(never), "{never}: {ran:#?}");
        }
    }
    archive.run("prune", &format!("key revoke --yes --from {number} prune\u{e000}host")).ok();
    archive.restores_all();
    archive.run("restore", "check").ok();
}

/// The entry of a false snapshot names no pack, so a repair has nothing to begin with.
#[test]
fn a_snapshot_that_no_repair_helps_is_to_be_dropped() {
    let mut archive = Archive::in_folder();
    let thief = archive.thief();
    let newest = thief.snapshots().pop().expect("a snapshot");
    let mut entry = thief.with_stolen_tree(&newest);
    entry.snapshots[0].packs.clear();
    let id = entry.snapshots[0].id.short();
    let number = thief.log().0 + 1;
    thief.says(entry);
    let revoke = format!("--from {number} -n` shows what locking it out sets apart");
    let forget = format!("`icecore prune --forget {id}`");
    for line in ["check", "check --repair", "check --repair", "check"] {
        let checked = archive.run_elsewhere(line).exits(22);
        assert!(checked.stdout.contains("does not name all the data"), "{checked:#?}");
        let told = format!("{}{}", checked.stdout, checked.stderr);
        assert_eq!(told.matches(&forget).count(), 1, "{checked:#?}");
        for words in ["no repair makes it whole", "has added 1 snapshot like that", &revoke] {
            assert!(told.contains(words), "{words}: {checked:#?}");
        }
        for never in ["--seed", "piece", "the next snapshot of a host"] {
            assert!(!told.contains(never), "{never}: {checked:#?}");
        }
    }
    archive.run_elsewhere(&format!("prune --forget {id}")).ok();
    archive.run_elsewhere("check").ok();
    archive.restores_all();
}

/// Otherwise the command that drops the false one could drop the genuine one.
#[test]
fn a_false_snapshot_with_the_short_id_of_a_genuine_one_is_named_in_full() {
    let mut archive = Archive::in_folder();
    let thief = archive.thief();
    let newest = thief.snapshots().pop().expect("a snapshot");
    let mut entry = thief.with_stolen_tree(&newest);
    entry.snapshots[0].packs.clear();
    entry.snapshots[0].id.0[..4].copy_from_slice(&newest.id.0[..4]);
    let id = entry.snapshots[0].id;
    thief.says(entry);
    let checked = archive.run_elsewhere("check").exits(22);
    let forget = format!("`icecore prune --forget {id}`");
    assert!(checked.stderr.contains(&forget), "{forget}: {checked:#?}");
    let short = newest.id.short();
    let ran = archive.run_elsewhere(&format!("ls {short}")).exits(2);
    let digits = newest.id.to_string()[..9].to_owned();
    assert!(ran.stderr.contains(&digits), "{digits}: {ran:#?}");
    archive.run_elsewhere(&format!("prune --forget {id}")).ok();
    archive.restores_all();
}
