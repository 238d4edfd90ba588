//! The log and `config` rot: the messages of each command, and what `check --repair` restores.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Host, objects, write};

/// Returns a host with three snapshots of a small library.
fn host() -> Host {
    let mut host = Host::new();
    for text in ["one", "two", "three"] {
        write(&host.path("photos/a.txt"), text);
        let init = if text == "one" { "--init" } else { "" };
        host.run(&format!("snapshot {init} photos")).ok();
    }
    host.export_identity();
    host
}

fn entries(host: &Host) -> Vec<PathBuf> {
    objects(&host.path("repo"), "log")
}

fn spoil(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).expect("an object");
    let mut object = whole.clone();
    *object.last_mut().expect("no object is empty") ^= 1;
    fs::write(path, object).expect("damage");
    whole
}

#[test]
fn a_rotten_newest_entry_is_reported_and_put_back() {
    let host = host();
    let newest = entries(&host).pop().expect("an entry");
    let whole = spoil(&newest);
    for line in ["snapshots", "snapshot photos", "prune -n"] {
        let ran = host.run(line).fails(22, &["log/0000000000000003", "`icecore check --repair`"]);
        assert!(!ran.stderr.contains("history"), "{ran:#?}");
        assert_eq!(ran.stderr.matches("damaged").count(), 1, "{ran:#?}");
    }
    // The catalog of this host is enough for a restore.
    let ran = host.run("restore latest:photos -t out").ok();
    assert!(ran.stderr.contains("warning: the log") && ran.stderr.contains("000003"), "{ran:#?}");
    assert_eq!(fs::read(host.path("out/a.txt")).expect("a file"), b"three");
    let told = host.run("check").exits(22);
    assert!(told.stdout.contains("log/0000000000000003: its content was changed"), "{told:#?}");
    let done = host.run("--json check --repair").ok().summary();
    assert_eq!(done["repair"]["objects_put_back"], 1, "{done}");
    assert_eq!(fs::read(&newest).expect("an entry"), whole);
    host.run("snapshot photos").ok();
}

#[test]
fn a_lost_entry_is_no_rollback_to_a_repair() {
    let host = host();
    let newest = entries(&host).pop().expect("an entry");
    let whole = fs::read(&newest).expect("an entry");
    fs::remove_file(&newest).expect("it goes");
    host.run("check").fails(22, &["older than when this computer last used it", "check --repair"]);
    let told = host.run("check --repair").ok();
    assert!(told.stdout.contains("older than when"), "{told:#?}");
    assert!(told.stdout.contains("repair: 1 log entry put back\n"), "{told:#?}");
    assert_eq!(fs::read(&newest).expect("an entry"), whole);
}

#[test]
fn config_is_put_back() {
    let host = host();
    let config = host.path("repo/config");
    let whole = fs::read(&config).expect("config");
    for damage in [
        |path: &Path| drop(spoil(path)),
        |path: &Path| {
            fs::remove_file(path).expect("it goes");
        },
    ] {
        damage(&config);
        // Whatever else is at the place, and whether this host has a catalog or not, it is the same damage.
        write(&host.path("repo/notes.txt"), "mine");
        for line in ["snapshots", "snapshot photos", "stats", "prune -n", "mirror repo copy"] {
            for cache in ["cache", "fresh"] {
                let line = format!("--cache-dir {cache} {line}");
                let ran = host.run(&line).fails(22, &["config", "check --repair"]);
                assert!(!ran.stderr.contains("no longer exists"), "{ran:#?}");
            }
        }
        let code = host.run("-p password init").code;
        assert!([1, 22].contains(&code), "{code}");
        fs::remove_file(host.path("repo/notes.txt")).expect("it goes");
        let ran = host.run("restore latest:photos -t out --overwrite always").ok();
        assert!(ran.stderr.contains("warning: config"), "{ran:#?}");
        let told = host.run("check").exits(22);
        assert!(told.stdout.contains("config: "), "{told:#?}");
        let told = host.run("check --repair").ok();
        assert!(told.stdout.contains("repair: `config` put back\n"), "{told:#?}");
        assert!(told.stdout.contains("1 damaged object repaired; no damage is left"), "{told:#?}");
        assert_eq!(fs::read(&config).expect("config"), whole);
    }
    // Use a place that this host has never seen under that name.
    fs::remove_file(&config).expect("it goes");
    fs::rename(host.path("repo"), host.path("moved")).expect("it moves");
    for line in ["check --repair", "snapshots", "init"] {
        host.run(&format!("--repo moved {line}")).fails(22, &["there is an archive here"]);
    }
}

#[test]
fn a_catalog_is_not_given_up_for_a_log_that_cannot_be_read() {
    let host = host();
    let first = entries(&host).remove(0);
    let whole = spoil(&first);
    let ran = host.run("rebuild-index").fails(22, &["log/0000000000000001"]);
    assert!(ran.stderr.contains("check --repair"), "{ran:#?}");
    let told = host.run("snapshots").ok();
    assert!(told.stdout.contains("3 snapshots") || told.stdout.lines().count() >= 3, "{told:#?}");
    host.run("check --repair").ok();
    assert_eq!(fs::read(&first).expect("an entry"), whole);
    assert!(host.run("rebuild-index").ok().stdout.contains("3 log entries"));
    // A host that has never read the log cannot repair it, and is referred to one that has.
    spoil(&first);
    let ran = host.run("--cache-dir fresh check").exits(23);
    let words = "log/0000000000000001: does not count: its content was changed";
    assert!(ran.stdout.contains(words), "{ran:#?}");
    assert!(ran.stderr.contains("on a computer that has read it before"), "{ran:#?}");
    host.run("--cache-dir fresh prune --keep-last 1").exits(23);
    // After the repair, the entry is valid for every host again.
    host.run("check --repair").ok();
    let ran = host.run("--cache-dir fresh check").ok();
    assert!(!ran.stderr.contains("doubtful"), "{ran:#?}");
}

#[test]
fn no_repository_is_made_where_one_was_seen() {
    let host = host();
    let told = host.run("--json check").ok().summary();
    let head = told["log_head"].as_str().expect("a head").to_owned();
    let write_again = format!("--expect-head {head} snapshot --init photos");
    fs::remove_file(host.path("repo/config")).expect("it goes");
    host.run("-p password snapshot --init photos")
        .fails(22, &["config", "there is an archive here"]);
    for prefix in ["log", "checkpoints"] {
        host.remove(&format!("repo/{prefix}"));
    }
    let before = host.state("repo");
    host.run("-p password init").fails(22, &["config", "there is an archive here"]);
    assert_eq!(host.state("repo"), before);
    host.remove("repo");
    host.run(&write_again).fails(22, &["older than"]);
    host.run(&format!("--expect-head {head} init")).fails(22, &["older than"]);
    assert!(!host.path("repo").exists(), "nothing was made");
}

#[test]
fn damage_that_a_restore_has_found_is_named_once() {
    let host = Host::new();
    crate::support::shoot(&host.path("photos"), 1, 2);
    let mut host = host;
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let pack = objects(&host.path("repo"), "packs").pop().expect("a pack");
    let mut object = fs::read(&pack).expect("a pack");
    let middle = object.len() / 2;
    object[middle] ^= 1;
    fs::write(&pack, object).expect("damage");
    let name = format!("packs/{}", pack.file_name().expect("a name").to_string_lossy());
    host.run("restore latest -t out").exits(22);
    for line in ["check", "check --read-data"] {
        let told = host.run(line).exits(22);
        let of_pack: Vec<&str> = told.stdout.lines().filter(|line| line.contains(&name)).collect();
        assert_eq!(of_pack, [format!("{name}: its content was changed")], "{told:#?}");
        assert!(told.stdout.contains("1 damaged object;"), "{told:#?}");
    }
}

/// A host that has never read the archive stops at damage that the owner's next entry proves. It shows what lies before,
/// and writes nothing.
#[test]
fn what_lies_before_proven_damage_can_be_read() {
    let host = host();
    host.run("tag add latest later").ok();
    let listed = host.run("--json snapshots").ok().json();
    let ids: Vec<&str> = listed.iter().filter_map(|line| line["id"].as_str()).collect();
    let all = entries(&host);
    spoil(&all[2]);
    let before = host.state("repo");
    let fresh = |line: &str| host.run(&format!("--cache-dir fresh {line}"));
    let told = fresh("snapshots").exits(22);
    assert!(told.stdout.contains(&ids[1][..8]) && !told.stdout.contains(&ids[2][..8]), "{told:#?}");
    assert_eq!(
        told.stderr.matches("warning: the log: log/0000000000000003").count(),
        1,
        "{told:#?}"
    );
    let told = fresh(&format!("restore {}:photos -t out", ids[1])).exits(22);
    assert!(told.stderr.contains("continuing with the entries before it"), "{told:#?}");
    assert_eq!(fs::read(host.path("out/a.txt")).expect("a file"), b"two");
    let photo = format!("{}:photos/a.txt", ids[0]);
    assert_eq!(fresh(&format!("dump {photo}")).exits(22).stdout, "one");
    // A newer snapshot may be behind the damage.
    for line in ["restore latest:photos -t newest", "dump latest:photos/a.txt", "ls latest~1"] {
        fresh(line)
            .fails(22, &["log/0000000000000003", "does not know which snapshot", "by its id"]);
    }
    assert!(!host.path("newest").exists());
    let told = fresh("check").exits(22);
    assert!(told.stdout.contains("log/0000000000000003"), "{told:#?}");
    for line in ["snapshot photos", "prune --keep-last 1", "tag add latest more"] {
        fresh(line).fails(22, &["log/0000000000000003"]);
    }
    assert_eq!(host.state("repo"), before, "nothing was written");
    // The computer that has read the entry puts it back.
    host.run("check --repair").ok();
    fresh("restore latest:photos -t newest").ok();
    assert_eq!(fs::read(host.path("newest/a.txt")).expect("a file"), b"three");
}
