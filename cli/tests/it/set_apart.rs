//! Snapshots of a computer that was locked out: they may have its last photos, and nothing else relies on them.

use crate::support::{Host, assert_unchanged, objects, shoot, word};

/// Returns a host with an archive of two computers, and the id of the last snapshot of the locked-out one.
fn locked_out() -> (Host, String) {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.set("ICECORE_CONFIG_DIR", "config-2");
    host.set("ICECORE_HOST", "laptop");
    host.run("key enrol --label laptop").ok();
    shoot(&host.path("bilder"), 7, 2);
    let last = host.run("--json snapshot bilder").ok().summary();
    host.set("ICECORE_CONFIG_DIR", "config");
    host.unset("ICECORE_HOST");
    let head = last["log_head"].as_str().expect("a head").to_owned();
    let entry = head.split(':').next().expect("a number");
    host.run(&format!("key revoke --yes laptop --from {entry}")).ok();
    (host, last["snapshot_id"].as_str().expect("an id").to_owned())
}

fn all_objects(host: &Host) -> usize {
    ["meta", "hot", "packs"].iter().map(|name| objects(&host.path("repo"), name).len()).sum()
}

#[test]
fn the_last_photos_of_a_computer_that_is_locked_out_come_back() {
    let (host, id) = locked_out();
    let photos = host.state("bilder");
    let comes_back = |target: &str| {
        host.run(&format!("restore {id}:bilder --target {target}")).ok();
        assert_unchanged(&photos, &host.state(target), "what was set apart");
    };
    let listed = host.run("snapshots").ok();
    assert!(!listed.stdout.contains(&id[..8]), "{listed:#?}");
    assert!(listed.stderr.contains("1 more snapshot is set apart"), "{listed:#?}");
    let listed = host.run("snapshots --set-apart").ok();
    assert!(listed.stdout.contains(&id[..8]), "{listed:#?}");
    host.run(&format!("ls -R {}", &id[..8])).ok();
    let latest = host.run("ls -R latest").ok();
    assert!(!latest.stdout.contains("bilder"), "{latest:#?}");
    comes_back("back-1");

    // That nothing relies on them is not damage, and a repair does not change it.
    let checked = host.run("check --read-data").ok();
    assert!(!checked.stdout.contains("lost"), "{checked:#?}");
    let repaired = host.run("check --read-data --repair").ok();
    assert!(!repaired.stdout.contains("found again"), "{repaired:#?}");
    shoot(&host.path("photos"), 7, 2);
    let done = host.run("--json snapshot photos").ok().summary();
    assert!(done["bytes_added"].as_u64() > Some(1_000_000), "{done}");
    // Their data stays unchanged.
    let before = all_objects(&host);
    let pruned = host.run("prune --keep-last 1 --now").ok();
    assert!(!pruned.stderr.contains("marked for deletion"), "{pruned:#?}");
    assert!(all_objects(&host) + 2 >= before, "{pruned:#?}");
    comes_back("back-2");
    host.run("check --read-data").ok();
}

#[test]
fn what_is_set_apart_is_not_called_erased() {
    let (host, id) = locked_out();
    let path = word(&host.path("bilder"));
    let line = format!("rewrite --now --yes --exclude {path}");
    for _ in 0..2 {
        host.run(&line).fails(22, &["is set apart", &format!("prune --forget {}", &id[..8])]);
    }
    assert!(!objects(&host.path("repo"), "packs").is_empty());
    let pruned = host.run(&format!("prune --forget {}", &id[..8])).ok();
    assert!(pruned.stderr.contains("which is set apart, is dropped"), "{pruned:#?}");
    // It can be undeleted for two weeks, so its data still exists.
    host.run(&format!("rewrite --exclude {path}")).fails(4, &["except 1 dropped snapshot"]);
    let before = all_objects(&host);
    let ran = host.run(&line).ok();
    assert!(ran.stdout.contains("deleted, for good"), "{ran:#?}");
    assert!(all_objects(&host) < before);
    host.run(&line).fails(4, &["no snapshot contains"]);
    host.run("check --read-data").ok();
}

#[test]
fn dropped_by_mistake_it_can_be_undeleted_like_any_other() {
    let (host, id) = locked_out();
    let photos = host.state("bilder");
    let short = &id[..8];
    let before = all_objects(&host);
    let dropped = host.run(&format!("prune --forget {short}")).ok();
    let promised = format!("icecore prune --undelete {short}");
    assert!(dropped.stdout.contains(&promised), "{dropped:#?}");
    for line in ["prune", "prune --keep-last 1"] {
        let later = host.run(line).ok();
        assert!(later.stdout.contains(&promised), "{later:#?}");
        assert!(all_objects(&host) + 1 >= before, "{later:#?}");
    }
    let listed = host.run("--json snapshots --dropped").ok().json();
    assert_eq!((&listed[0]["id"], &listed[0]["set_apart"]), (&id.clone().into(), &true.into()));
    assert!(listed[0]["until"].is_string(), "{listed:?}");
    let listed = host.run("snapshots --dropped").ok();
    assert!(listed.stderr.contains("1 of them was set apart"), "{listed:#?}");
    // The same is true on a computer that reads the log for the first time.
    host.remove("cache");
    host.run(&format!("ls {short}")).fails(4, &["was dropped", "--undelete"]);
    host.run(&format!("prune --undelete {short}")).ok();
    let apart = host.run("snapshots --set-apart").ok();
    assert!(apart.stdout.contains(short), "{apart:#?}");
    assert!(!host.run("snapshots").ok().stdout.contains(short));
    host.run(&format!("restore {id}:bilder --target back")).ok();
    assert_unchanged(&photos, &host.state("back"), "what was set apart, dropped and undeleted");
    // --now deletes it at once, like any other snapshot.
    host.run(&format!("prune --now --yes --forget {short}")).ok();
    assert!(all_objects(&host) < before);
    host.run(&format!("prune --undelete {short}")).fails(1, &["was erased"]);
    host.run("check --read-data").ok();
}

#[test]
fn a_computer_that_is_locked_out_uploads_nothing() {
    let (mut host, _) = locked_out();
    host.set("ICECORE_CONFIG_DIR", "config-2");
    shoot(&host.path("bilder"), 9, 2);
    let before = all_objects(&host);
    for line in ["snapshot bilder", "snapshot -n bilder"] {
        host.run(line).fails(12, &["was revoked"]);
    }
    assert_eq!(all_objects(&host), before);
}

#[test]
fn what_is_set_apart_is_neither_read_nor_lost() {
    let (host, _) = locked_out();
    for cache in ["cache", "new"] {
        let options = format!("--cache-dir {cache}");
        let ran = host.run(&format!("{options} check")).ok();
        let row = ran.stdout.lines().find(|line| line.ends_with("  laptop"));
        let row = row.unwrap_or_else(|| panic!("{ran:#?}"));
        assert!(row.contains("nothing to read"), "{row}");
        let packs = host.run(&format!("{options} --json check")).ok().json();
        let mut apart = packs.iter().filter(|pack| pack["writer_label"] == "laptop").peekable();
        assert!(apart.peek().is_some(), "{packs:?}");
        assert!(apart.all(|pack| pack["read"] == false && pack["bytes_read"] == 0), "{packs:?}");
    }
    // The same photos on another computer are stored again.
    shoot(&host.path("photos"), 7, 2);
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("had it from a revoked computer\n"), "{ran:#?}");
}
