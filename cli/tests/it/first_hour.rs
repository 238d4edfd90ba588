//! The first hour with a folder as the repository, as described in the README, and the JSON that
//! scripts rely on.

use std::fs;

use crate::support::{Host, odd_entries, shoot, write};

/// Fails unless the object has all these fields.
#[track_caller]
fn has(value: &serde_json::Value, fields: &str) {
    for field in fields.split_whitespace() {
        assert!(value.get(field).is_some(), "no {field} in {value}");
    }
}

#[test]
fn archive_look_and_get_back() {
    let mut host = Host::new();
    shoot(&host.path("photos/2024"), 1, 2);
    odd_entries(&host.path("photos/odd"));
    let first = host.state("photos");
    host.run("snapshot --init --tag raw photos").ok();
    shoot(&host.path("photos/2025"), 2, 1);
    let second = host.state("photos");
    host.run("snapshot photos").ok();
    host.export_identity();

    let listed = host.run("snapshots").ok();
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:#?}");
    assert!(host.run("ls latest:photos").ok().stdout.contains("photos/2025/"));
    assert!(host.run("ls -l -R latest").ok().stdout.contains("IMG_01000.CR3"));
    let found = host.run("find *.CR3").ok().stdout;
    assert_eq!(found.matches("in 2 snapshots, ").count(), 2, "{found}");
    assert_eq!(found.matches("in 1 snapshot, ").count(), 1, "{found}");
    let changed = host.run("diff latest~1 latest").ok();
    let line = |line: &str| line.starts_with("+ ") && line.ends_with("photos/2025/IMG_02000.CR3");
    assert!(changed.stdout.lines().any(line), "{changed:#?}");
    let dumped = host.command("dump latest:photos/2024/IMG_01000.CR3").output().expect("it runs");
    assert_eq!(dumped.stdout, fs::read(host.path("photos/2024/IMG_01000.CR3")).expect("a photo"));

    host.run("restore latest:photos/2024/IMG_01000.CR3 -t one --verify").ok();
    let one = fs::read(host.path("one/IMG_01000.CR3")).expect("the photo is back");
    assert_eq!(one, dumped.stdout);
    host.run("restore latest -t sidecars --include *.xmp").ok();
    assert_eq!(fs::read_dir(host.path("sidecars/photos/2024")).expect("a folder").count(), 2);
    host.restores("latest", &second);
    host.restores("latest~1", &first);
    assert!(host.run("check --read-data").ok().stdout.contains("no damage found"));
    assert!(host.run("stats").ok().stdout.contains("photo data"));
    host.remove("cache");
    assert!(host.run("rebuild-index").ok().stdout.contains("2 snapshots"));
    // The stat cache was lost with the catalog, so everything is read, but only a record is stored.
    let again = host.run("--json snapshot photos").ok().summary();
    assert!(again["bytes_stored"].as_u64().expect("a number") < 20_000, "{again}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(host.run(&format!("completions {shell}")).ok().stdout.contains("ICECORE_COMPLETE"));
    }
    assert!(host.run("man").ok().stdout.contains("icecore"));
}

#[test]
fn json_has_the_fields_of_the_contract() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    let made = host.run("--json snapshot --init photos").ok().summary();
    has(
        &made,
        "snapshot_id files_new files_changed files_unmodified files_failed bytes_processed \
         bytes_added bytes_stored chunks_new packs_written requests cost_usd duration_s",
    );
    has(&made["requests"], "put get list head delete");
    assert_eq!(made["files_new"], 3);
    host.export_identity();
    let listed = host.run("--json snapshots").ok().json();
    has(&listed[0], "id time host history tags paths files bytes");
    let real = host.path("photos").canonicalize().expect("it is there");
    assert_eq!(listed[0]["paths"][0], real.display().to_string());
    has(&host.run("--json ls -R latest").ok().json()[0], "path type size mtime mode");
    has(&host.run("--json find *.xmp").ok().json()[0], "path type size mtime mode snapshot_id");
    let plan = host.run("--json restore latest --plan").ok();
    let plan: serde_json::Value = serde_json::from_str(plan.stdout.trim()).expect("one object");
    has(&plan, "files bytes packs pack_bytes fetch_bytes pack_list");
    has(&plan["pack_list"][0], "id bytes class files");
    let restored = host.run("--json restore latest -t out").ok().summary();
    has(&restored, "files bytes bytes_fetched packs_fetched job_id requests cost_usd duration_s");
    assert!(
        restored["bytes_fetched"].as_u64() <= plan["fetch_bytes"].as_u64().map(|n| n + 200_000)
    );
    has(&host.run("--json check").ok().summary(), "errors objects_checked bytes_read");
    has(&host.run("--json prune -n").ok().summary(), "snapshots_kept snapshots_dropped bytes_dead");
    let failed = host.run("--json ls nonsense").exits(4).json().pop().expect("an object");
    has(&failed, "code message hint");
}

#[test]
fn a_backup_host_needs_no_password_and_a_second_host_is_enrolled_once() {
    let mut host = Host::new();
    write(&host.path("photos/a.xmp"), "three stars");
    host.run("snapshot --init photos").ok();
    host.run("key export --output identity").ok();
    host.unset("ICECORE_PASSWORD_FILE");
    // With the credential alone, snapshots, lists and plans work; names stay sealed.
    write(&host.path("photos/b.xmp"), "four stars");
    host.run("snapshot photos").ok();
    let listed = host.run("snapshots").ok();
    assert!(!listed.stdout.contains("paths") && listed.stderr.contains("shown with the password"));
    host.run("prune -n").ok();
    host.run("ls latest").fails(12, &["password"]);
    host.run("restore latest -t out").fails(12, &["password"]);
    // Another host has neither a credential nor a cache.
    host.set("ICECORE_CONFIG_DIR", "other-config");
    host.set("ICECORE_CACHE_DIR", "other-cache");
    host.run("snapshot photos").fails(12, &["password"]);
    host.run("--identity identity snapshot photos").ok();
    host.run("snapshot photos").ok();
    host.run("--identity identity check --read-data").ok();
}
