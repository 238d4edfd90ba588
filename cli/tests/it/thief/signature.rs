//! Tests that a computer notices when somebody else signs with its key.

use super::tools::Archive;
use crate::support::{Host, objects, write};

/// Returns a computer that has the writer credential of the backup host, and works on the same archive.
fn thief_of(archive: &Archive) -> Host {
    let mut thief = archive.host.copy();
    let repo = archive.host.path("repo").to_string_lossy().into_owned();
    thief.set("ICECORE_REPOSITORY", &repo);
    thief.unset("ICECORE_IDENTITY");
    thief.remove("cache");
    write(&thief.path("photos/0.raw"), "it was encrypted, and costs a ransom");
    thief
}

#[test]
fn a_computer_notices_that_somebody_else_has_its_key() {
    let mut archive = Archive::in_folder();
    archive.run("backup", "snapshot photos").ok();
    let thief = thief_of(&archive);
    let number = objects(&archive.host.path("repo"), "log").len() + 1;
    thief.run("snapshot photos").ok();
    // Each command reports it, and each unattended one has an exit code of its own.
    for (role, line, code) in [
        ("restore", "snapshots", 0),
        ("backup", "snapshots", 0),
        ("backup", "snapshot photos", 23),
        ("restore", "check", 23),
        ("prune", "prune -n --keep-last 9", 23),
    ] {
        let ran = archive.run(role, line).exits(code);
        for words in ["warning: the log: ", "the signature of this computer", "key revoke"] {
            assert!(ran.stderr.contains(words), "{ran:#?}");
        }
        assert!(ran.stderr.contains(&format!("entry {number} has")), "{ran:#?}");
    }
    let writers = archive.run("restore", "key writers --json").ok().json();
    let writer = writers.iter().find_map(|line| line["id"].as_str()).expect("an id").to_owned();
    let revoke = format!("key revoke --yes --from {number} {writer}");
    archive.run("prune", &revoke).ok();
    archive.run("prune", "key enrol").ok();
    for (role, line) in [("restore", "snapshots"), ("backup", "snapshot photos")] {
        let ran = archive.run(role, line).ok();
        assert!(!ran.stderr.contains("the signature of this computer"), "{ran:#?}");
    }
    archive.restores_all();
}

/// A computer that was restored from a copy of itself does not know the entries that it has sent since.
#[test]
fn a_computer_that_was_restored_from_a_copy_can_end_the_warning() {
    let mut archive = Archive::in_folder();
    let mut old = archive.host.copy();
    archive.run("backup", "snapshot photos").ok();
    let repo = archive.host.path("repo").to_string_lossy().into_owned();
    old.set("ICECORE_REPOSITORY", &repo);
    old.unset("ICECORE_IDENTITY");
    let ran = old.run("snapshot photos").exits(23);
    assert!(ran.stderr.contains("restored from a copy"), "{ran:#?}");
    old.run("rebuild-index").ok();
    let ran = old.run("snapshot photos").ok();
    assert!(!ran.stderr.contains("the signature of this computer"), "{ran:#?}");
    // After that, it notices again what it has not sent.
    archive.run("backup", "snapshot photos").exits(23);
    old.run("snapshot photos").exits(23);
}

/// Processes that share a catalog read the entries of each other.
#[test]
fn another_process_of_the_same_computer_is_no_thief() {
    let archive = Archive::in_folder();
    for _ in 0..3 {
        let runs = (0..4).map(|number| {
            let line = format!("snapshot --history {number} photos");
            archive.host.command(&line).spawn().expect("the program starts")
        });
        for mut run in runs.collect::<Vec<_>>() {
            assert!(run.wait().expect("it ends").success());
        }
    }
    let ran = archive.host.run("check").ok();
    assert!(!ran.stderr.contains("the signature of this computer"), "{ran:#?}");
}
