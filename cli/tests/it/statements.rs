//! Statements of the program about an archive are true: counts, plans, and what is left after an erasure, a repair or a
//! revocation.

use std::fs;
use std::path::Path;

use icecore_testkit::photos;
use serde_json::Value;

use crate::support::{Host, objects, word, write};

fn host() -> Host {
    let mut host = Host::new();
    host.run("init --pack-size 1MiB").ok();
    host.export_identity();
    host
}

/// Writes some raw files of 60 kB in a folder.
fn files(host: &Host, folder: &str, seed: u64, number: u64) {
    for at in 0..number {
        let path = host.path(&format!("{folder}/IMG_{at}.CR3"));
        write(&path, photos::bytes(seed * 100 + at, 60_000));
    }
}

fn rename(host: &Host, from: &str, to: &str) {
    let to = host.path(to);
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::rename(host.path(from), to).expect("renamed");
}

fn ids(host: &Host) -> Vec<String> {
    let mut lines = host.run("--json snapshots").ok().json();
    lines.pop();
    lines.iter().map(|line| line["id"].as_str().expect("an id")[..8].to_owned()).collect()
}

#[test]
fn a_renamed_or_moved_photo_is_not_new() {
    let host = host();
    files(&host, "photos", 1, 3);
    host.run("snapshot photos").ok();
    rename(&host, "photos/IMG_1.CR3", "photos/best.CR3");
    let ran = host.run("snapshot photos").ok();
    let counts = "files: 0 new, 1 renamed, moved or copied, 0 changed, 2 unmodified";
    assert!(ran.stdout.contains(counts), "{ran:#?}");
    rename(&host, "photos/best.CR3", "photos/2026/best.CR3");
    fs::copy(host.path("photos/IMG_0.CR3"), host.path("photos/2026/copy.CR3")).expect("a copy");
    write(&host.path("photos/empty.txt"), "");
    let done = host.run("--json snapshot photos").ok().summary();
    let counts = ["files_new", "files_moved", "files_unmodified"].map(|n| done[n].as_u64());
    assert_eq!(counts, [1, 2, 2].map(Some), "{done}");
    // A host that lost its cache cannot know whether files have changed.
    host.remove("cache");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.starts_with("files: 5 read again\n"), "{ran:#?}");
}

#[test]
fn the_last_full_snapshot_is_one_before_the_marked_one() {
    let host = host();
    files(&host, "photos", 1, 10);
    host.run("snapshot photos").ok();
    files(&host, "photos", 2, 8);
    host.run("snapshot photos").exits(3);
    host.run("snapshot photos").exits(3);
    files(&host, "photos", 1, 10);
    host.run("snapshot photos").ok();
    let ids = ids(&host);
    for name in ["latest~1", "latest~2"] {
        let note = host.run(&format!("ls {name}")).ok().stderr;
        assert!(
            note.contains(&format!("it lacks many files of the last full one, {} of", ids[0])),
            "{note}"
        );
    }
    // A printed command works when it is copied: it names the archive if this command line did.
    let plan = host.run("--repo repo prune -n --keep-last 1").ok().stderr;
    assert!(plan.contains(&format!("`icecore --repo repo accept {}`", ids[1])), "{plan}");
    let plan = host.run("prune -n --keep-last 1").ok().stderr;
    assert!(plan.contains(&format!("`icecore accept {}`", ids[1])), "{plan}");
    let accepted = host.run("--json accept latest~1 latest~2").ok().summary();
    assert_eq!(accepted["snapshots_accepted"], 2, "{accepted}");
    let again = host.run(&format!("accept {} {}", ids[1], ids[2])).ok().stderr;
    assert_eq!(again.matches("was already accepted").count(), 2, "{again}");
}

#[test]
fn a_snapshot_is_not_suspected_of_what_its_owner_has_taken_out() {
    let host = host();
    files(&host, "photos/sub", 1, 6);
    write(&host.path("photos/note.txt"), "stays");
    host.run("snapshot photos").ok();
    for (from, to) in [("sub", "new"), ("new", "old/new"), ("old/new", "kept")] {
        rename(&host, &format!("photos/{from}"), &format!("photos/{to}"));
        host.run("snapshot photos").ok();
    }
    let path = word(&host.path("photos/old/new"));
    let ran = host.run(&format!("rewrite --exclude {path}")).ok();
    // The same content remains in the other snapshots under other names.
    assert!(
        ran.stdout.contains("no snapshot that is listed contains these paths any more"),
        "{ran:#?}"
    );
    assert!(ran.stderr.contains("6 different contents of these files stay"), "{ran:#?}");
    assert!(ran.stderr.contains("photos/kept/IMG_0.CR3"), "{ran:#?}");
    let pruned = host.run("prune -n --keep-last 2").ok();
    assert!(!pruned.stderr.contains("less than half"), "{pruned:#?}");
    let listed = host.run("snapshots").ok();
    assert!(!listed.stdout.contains("shrunk"), "{listed:#?}");
}

#[test]
fn a_second_name_keeps_what_a_rewrite_takes_out() {
    let host = host();
    files(&host, "photos", 1, 2);
    fs::create_dir(host.path("photos/best")).expect("a folder");
    fs::copy(host.path("photos/IMG_1.CR3"), host.path("photos/best/copy.CR3")).expect("a copy");
    host.run("snapshot photos").ok();
    let path = word(&host.path("photos/best"));
    let ran = host.run(&format!("rewrite --now --yes --exclude {path}")).ok();
    let said = "1 content of these files stays in the archive, because other files have it";
    assert!(ran.stderr.contains(said) && ran.stderr.contains("IMG_1.CR3"), "{ran:#?}");
    assert!(!ran.stdout.contains("these files any more"), "{ran:#?}");
    let paths = ["best/copy.CR3", "IMG_1.CR3"].map(|name| word(&host.path("photos").join(name)));
    host.run("snapshot photos").ok();
    let line = format!("rewrite --now --yes --exclude {} --exclude {}", paths[0], paths[1]);
    let ran = host.run(&line).ok();
    assert!(ran.stdout.contains("no snapshot contains these files any more"), "{ran:#?}");
    assert!(!ran.stderr.contains("stays in the archive"), "{ran:#?}");
    host.run("find IMG_1.CR3 copy.CR3").fails(4, &["nothing found"]);
}

#[test]
fn a_plan_names_what_a_restore_will_remove_and_what_differs() {
    let host = host();
    files(&host, "photos", 1, 3);
    write(&host.path("photos/keep/a.txt"), "a");
    host.run("snapshot photos").ok();
    write(&host.path("photos/new.txt"), "new");
    write(&host.path("photos/more/b.txt"), "b");
    write(&host.path("photos/keep/mine.txt"), "mine");
    write(&host.path("photos/.DS_Store"), "litter");
    let state = host.state("photos");
    let line = "restore latest:photos --target photos --overwrite if-changed --delete -e mine.txt";
    let plan = host.run(&format!("{line} --plan")).ok();
    let said = "will be removed, because the snapshot does not have them: 3 files and folders";
    assert!(plan.stdout.contains(said), "{plan:#?}");
    assert!(plan.stdout.contains("already there, kept as they are: 4 files"), "{plan:#?}");
    let plan = host.run(&format!("--json {line} --plan")).ok().summary();
    assert_eq!((&plan["files_to_remove"], &plan["files_differing"]), (&3.into(), &0.into()));
    assert!(host.state("photos") == state, "a plan changes nothing");
    let ran = host.run(line).ok();
    assert!(ran.stdout.contains("3 removed"), "{ran:#?}");
    write(&host.path("photos/IMG_2.CR3"), "edited since");
    let plan = host.run("restore latest --to-original --plan").ok();
    assert!(plan.stdout.contains("1 of these differs from the snapshot; --overwrite"), "{plan:#?}");
    let ran = host.run("restore latest --to-original").ok();
    assert!(ran.stderr.contains("1 existing file differs from the snapshot"), "{ran:#?}");
}

#[test]
fn a_dry_run_of_prune_speaks_of_what_could_be() {
    let host = host();
    for seed in 1..5 {
        files(&host, "photos", seed, 2);
        host.run("snapshot photos").ok();
    }
    let dry = host.run("prune -n --keep-last 1").ok();
    let said = "the 3 snapshots that would be dropped could then be undeleted until ";
    assert_eq!(dry.stdout.matches("could then be undeleted").count(), 1, "{dry:#?}");
    assert!(dry.stdout.contains(said), "{dry:#?}");
    let ran = host.run("prune --keep-last 3").ok();
    assert!(ran.stdout.contains(" can be undeleted until "), "{ran:#?}");
    let dry = host.run("prune -n --keep-last 2").ok();
    let first = &host.run("--json snapshots").ok().json()[0]["id"];
    let short = &first.as_str().expect("an id")[..8];
    assert!(dry.stdout.contains(&format!("snapshot {short} could then be undeleted")), "{dry:#?}");
    assert_eq!(dry.stdout.matches(": icecore prune --undelete ").count(), 2, "{dry:#?}");
}

#[test]
fn folders_above_the_sources_are_no_part_of_the_archive() {
    let host = host();
    write(&host.path("home/anna/Pictures/a.jpg"), "a");
    write(&host.path("home/anna/Raw/b.CR3"), "b");
    let line = ["Pictures", "Raw"].map(|name| word(&host.path("home/anna").join(name)));
    let line = format!("snapshot {} {}", line[0], line[1]);
    host.run(&line).ok();
    write(&host.path("home/anna/other.txt"), "beside them");
    host.run(&line).ok();
    let diff = host.run("diff latest~1 latest").ok();
    assert_eq!(diff.stdout, "", "{diff:#?}");
    assert!(diff.stderr.contains("0 added, 0 removed, 0 modified, 0 with changed"), "{diff:#?}");
    let root = host.path("home/anna").canonicalize().expect("a path");
    let root = root.strip_prefix("/").expect("absolute").to_str().expect("text");
    let lines = |names: &[&str]| {
        let lines = names.iter().map(|name| format!("{root}/{name}\n"));
        lines.collect::<String>()
    };
    assert_eq!(host.run("ls latest").ok().stdout, lines(&["Pictures/", "Raw/"]));
    let all = ["Pictures/", "Pictures/a.jpg", "Raw/", "Raw/b.CR3"];
    assert_eq!(host.run("ls -R latest").ok().stdout, lines(&all));
    assert_eq!(host.run(&format!("ls latest:{root}")).ok().stdout, lines(&["Pictures/", "Raw/"]));
    let mut found: Vec<Value> = host.run("--json find *").ok().json();
    found.pop();
    assert_eq!(found.len(), 4, "{found:#?}");
    host.run("find anna").fails(4, &["nothing found"]);
}

#[test]
fn after_a_repair_nothing_is_counted_that_is_not_there() {
    let host = host();
    for number in 0..4 {
        let folder = if number % 2 == 0 { "photos" } else { "more" };
        let photo = photos::bytes(number, 700_000);
        write(&host.path(&format!("{folder}/IMG_{number}.CR3")), photo);
    }
    host.run("snapshot photos more").ok();
    let packs = objects(&host.path("repo"), "packs");
    assert!(packs.len() > 1, "{packs:?}");
    fs::remove_file(&packs[0]).expect("it is lost");
    let absent = host.run("audit photos more").exits(3);
    assert!(absent.stderr.contains("missing or truncated (1 object)"), "{absent:#?}");
    host.run("check").exits(22);
    host.run("check --repair --seed photos --seed more").ok();
    host.run("snapshot photos more").ok();
    let checked = host.run("check --read-data").ok();
    assert!(checked.stdout.contains("(100 %)"), "{checked:#?}");
    assert!(!checked.stdout.contains("not read back"), "{checked:#?}");
    let audited = host.run("audit photos more").ok();
    assert!(!audited.stderr.contains("missing or truncated"), "{audited:#?}");
    let stored = host.run("--json stats").ok().summary()["bytes_stored"].as_u64();
    let bytes = |path: &Path| fs::metadata(path).expect("an object").len();
    let there = ["meta", "hot", "packs"].map(|prefix| objects(&host.path("repo"), prefix));
    let there: u64 = there.iter().flatten().map(|path| bytes(path)).sum();
    assert_eq!(stored, Some(there));
}

#[test]
fn no_photo_is_read_again_because_a_writer_was_revoked() {
    let mut host = host();
    files(&host, "photos", 1, 3);
    host.run("snapshot photos").ok();
    for (name, value) in [("CONFIG_DIR", "config-2"), ("CACHE_DIR", "cache-2")] {
        host.set(&format!("ICECORE_{name}"), value);
    }
    host.run("key enrol --label laptop").ok();
    host.run("snapshot photos").ok();
    for (name, value) in [("CONFIG_DIR", "config"), ("CACHE_DIR", "cache")] {
        host.set(&format!("ICECORE_{name}"), value);
    }
    host.run("snapshot photos").ok();
    let revoked = host.run("key revoke --yes --since 1d laptop").ok();
    assert!(revoked.stderr.contains("sets apart 1 snapshot"), "{revoked:#?}");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.starts_with("files: 0 new, 0 changed, 3 unmodified\n"), "{ran:#?}");
}

/// docs/cost.md names these sizes.
#[test]
fn one_photo_takes_the_next_power_of_two_up_to_4_mib() {
    for (content, stored) in
        [(900_000, 1 << 20), (1_499_000, 2 << 20), (2_999_000, 4 << 20), (5_001_000, 5_013_504)]
    {
        let mut host = Host::new();
        host.run("init").ok();
        host.export_identity();
        write(&host.path("photos/a.jpg"), photos::bytes(7, content));
        host.run("snapshot photos").ok();
        let packs = objects(&host.path("repo"), "packs");
        let sizes = packs.iter().map(|pack| fs::metadata(pack).expect("a pack").len());
        assert_eq!(sizes.collect::<Vec<_>>(), [stored], "a photo of {content} bytes");
    }
}
