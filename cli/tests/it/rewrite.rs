//! Removes a person's photos from every snapshot, and erases them.

use std::process::Stdio;
use std::time::Duration;

use icecore_testkit::{S3Server, photos};
use serde_json::Value;

use crate::support::{Host, objects, word, write};

/// Text that is only in one file of the client.
const NOTE: &str = "Miller, 12 Harbour Street";

/// Takes four snapshots of two clients' photos. The second client's photos come with the second snapshot, and other
/// files with each.
fn clients(host: &Host) {
    let client = |name: &str, seed: u64| {
        for number in 0..4 {
            let file = format!("photos/{name}/{number}.CR3");
            write(&host.path(&file), photos::bytes(seed + number, 300_000));
        }
    };
    client("jones", 1);
    host.run("snapshot photos --tag first").ok();
    client("miller", 50);
    write(&host.path("photos/miller/note.txt"), NOTE);
    host.run("snapshot photos --tag second,best").ok();
    for number in 2..4 {
        write(&host.path(&format!("photos/jones/note{number}.txt")), format!("note {number}"));
        host.run("snapshot photos").ok();
    }
}

fn local() -> Host {
    let mut host = Host::new();
    host.run("init --pack-size 1MiB").ok();
    host.export_identity();
    clients(&host);
    host
}

/// Returns time, tags, files and paths of each snapshot, in the order of the log.
fn snapshots(host: &Host) -> Vec<Value> {
    let mut lines = host.run("--json snapshots").ok().json();
    lines.pop();
    lines
}

fn facts(snapshot: &Value) -> [Value; 5] {
    ["time", "tags", "host", "history", "paths"].map(|name| snapshot[name].clone())
}

fn files(host: &Host, snapshot: &Value) -> String {
    host.run(&format!("ls -R {}", snapshot["id"].as_str().expect("an id"))).ok().stdout
}

#[test]
fn one_mistyped_path_of_several_changes_nothing() {
    let host = local();
    let before = snapshots(&host);
    let line = "rewrite --exclude photos/miller --exclude photos/milller/note.txt";
    for options in ["-n", "", "--now --yes"] {
        host.run(&format!("{line} {options}")).fails(
            4,
            &["no snapshot contains photos/milller/note.txt; nothing was changed", "did you mean"],
        );
    }
    host.run("rewrite --now --yes --exclude photos/miller --exclude nowhere/x")
        .fails(4, &["no snapshot contains nowhere/x; nothing was changed", "leave it out"]);
    assert_eq!(snapshots(&host), before);
    host.run("rewrite --now --yes --exclude photos/miller --exclude ./photos//jones/note2.txt")
        .ok();
    host.run("find Miller* note2.txt").exits(4);
}

fn all_objects(host: &Host) -> Vec<std::path::PathBuf> {
    ["meta", "hot", "packs"].iter().flat_map(|prefix| objects(&host.path("repo"), prefix)).collect()
}

#[test]
fn each_snapshot_keeps_its_place_and_its_time() {
    let host = local();
    let before = snapshots(&host);
    let objects_before = all_objects(&host);
    let path = word(&host.path("photos/miller"));
    let ran = host.run(&format!("rewrite -n --exclude {path}")).ok();
    assert!(ran.stdout.contains("stays until") && ran.stdout.contains("--now"), "{ran:#?}");
    assert!(ran.stdout.contains("photos/miller: up to 5 files"), "{ran:#?}");
    assert_eq!(snapshots(&host), before, "a dry run changes nothing");
    assert_eq!(all_objects(&host), objects_before);

    let done = host.run("--json rewrite --exclude ./photos/miller").ok().summary();
    assert_eq!(
        (done["snapshots_rewritten"].as_u64(), done["snapshots_dropped"].as_u64()),
        (Some(3), Some(0))
    );
    let after = snapshots(&host);
    assert_eq!(after.len(), 4);
    for (number, (old, new)) in before.iter().zip(&after).enumerate() {
        assert_eq!(facts(old), facts(new), "snapshot {number}");
        assert_eq!(old["id"] == new["id"], number == 0);
        assert!(!files(&host, new).contains("miller"), "snapshot {number}");
        let count = |value: &Value| value["files"].as_u64().expect("a number");
        let gone = if number == 0 { 0 } else { 5 };
        assert_eq!(count(new) + gone, count(old));
        let listed = files(&host, new).lines().filter(|line| !line.ends_with('/')).count();
        assert_eq!(count(new), listed as u64);
    }
    // The same is true on a computer that reads the log for the first time.
    host.remove("cache");
    assert_eq!(snapshots(&host), after);
    // The rest is intact, and the old snapshots can be undeleted.
    host.run("check --read-data").ok();
    host.run("find note.txt").fails(4, &["nothing found"]);
    let old = before[1]["id"].as_str().expect("an id");
    host.run(&format!("prune --undelete {old}")).ok();
    let note = host.run(&format!("dump {old}:photos/miller/note.txt")).ok();
    assert_eq!(note.stdout, NOTE);
    let order: Vec<Value> = snapshots(&host).iter().map(|line| line["time"].clone()).collect();
    let mut sorted = order.clone();
    sorted.sort_by_key(ToString::to_string);
    assert_eq!(order, sorted, "it is where it was");
    // The next run rewrites the undeleted snapshot, too.
    let done = host.run("--json rewrite --exclude photos/miller").ok().summary();
    assert_eq!(done["snapshots_rewritten"], 1, "{done}");
    // Only dropped snapshots contain the photos now, so there is nothing to do.
    for line in ["rewrite --exclude photos/miller", "rewrite -n --exclude photos/miller"] {
        let ran = host.run(line).fails(
            4,
            &["no snapshot contains photos/miller, except 3 dropped snapshots; nothing was changed"],
        );
        assert!(ran.stdout.contains("stays until an `icecore prune`"), "{ran:#?}");
    }
    let shown = host.run("rewrite -n --now --exclude photos/miller").ok();
    assert!(shown.stdout.contains("to be erased at once"), "{shown:#?}");
    host.run("rewrite --exclude photos/nothing").fails(4, &["no snapshot contains photos/nothing"]);
    host.run("rewrite --exclude=").exits(2);
}

/// A computer that has lost its cache does not know what was renamed, and says that it has lost it, also after the owner has
/// rewritten its last snapshot. In a new history it does not know whether it has lost anything.
#[test]
fn after_a_lost_cache_nothing_was_renamed() {
    let host = local();
    host.run("rewrite --exclude photos/miller/note.txt").ok();
    std::fs::remove_file(host.path("photos/miller/note.txt")).expect("it is removed");
    for (line, said) in [
        ("snapshot photos", "files: 10 read again\n"),
        (
            "snapshot photos --history other",
            "files: 0 new, 10 archived already, 0 changed, 0 unmodified",
        ),
    ] {
        host.remove("cache");
        let ran = host.run(line).ok();
        assert!(ran.stdout.contains(said), "{line}: {ran:#?}");
    }
    // A file that this computer knows under another name counts as renamed.
    std::fs::rename(host.path("photos/jones/0.CR3"), host.path("photos/jones/9.CR3")).expect("it");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("1 renamed, moved or copied"), "{ran:#?}");
}

/// An object that is lost is not counted among what a rewrite erases, and does not keep the rewrite from ending.
#[test]
fn what_is_lost_already_is_not_erased() {
    let mut host = Host::new();
    host.run("init --pack-size 1MiB").ok();
    host.export_identity();
    write(&host.path("photos/jones.CR3"), photos::bytes(1, 300_000));
    host.run("snapshot photos").ok();
    let before = objects(&host.path("repo"), "packs");
    for number in 0..4 {
        write(
            &host.path(&format!("photos/miller/{number}.CR3")),
            photos::bytes(number + 9, 600_000),
        );
    }
    host.run("snapshot photos").ok();
    let plan = |host: &Host| {
        let plan = host.run("--json rewrite -n --now --exclude photos/miller").ok().summary();
        ["packs_whole", "bytes_whole"].map(|name| plan[name].as_u64().expect("a number"))
    };
    let [packs, bytes] = plan(&host);
    let new = objects(&host.path("repo"), "packs").into_iter().find(|pack| !before.contains(pack));
    let lost = new.expect("a pack of the client");
    let size = std::fs::metadata(&lost).expect("a size").len();
    std::fs::remove_file(&lost).expect("it is lost");
    assert_eq!(plan(&host), [packs - 1, bytes - size]);
    let erased = host.run("rewrite --now --yes --exclude photos/miller").ok();
    assert!(erased.stdout.contains("no snapshot contains these files any more"), "{erased:#?}");
    assert!(host.run("check").ok().stdout.contains("no damage found"), "it is struck from the log");
}

/// The plan counts what the result counts: packs and their parity.
#[test]
fn a_plan_to_erase_at_once_counts_parity() {
    let mut host = Host::new();
    host.run("init --pack-size 1MiB --parity 10").ok();
    host.export_identity();
    clients(&host);
    let shown = host.run("rewrite -n --now --exclude photos/miller").ok();
    assert!(shown.stdout.contains("objects and their parity ("), "{shown:#?}");
    let done = host.run("--json rewrite --now --yes --exclude photos/miller").ok().summary();
    let bytes = |name: &str| done[name].as_u64().expect("a number");
    assert_eq!(bytes("bytes_whole") + bytes("bytes_shared"), bytes("bytes_freed"), "{done}");
}

#[test]
fn what_it_had_is_erased_at_once() {
    let host = local();
    let ids: Vec<String> = snapshots(&host)
        .iter()
        .map(|line| line["id"].as_str().expect("an id").to_owned())
        .collect();
    let ran = host.run("rewrite --now --yes --exclude photos/miller").ok();
    assert!(ran.stdout.contains("deleted, for good; "), "{ran:#?}");
    assert!(ran.stdout.contains(" of it written again, for other files"), "{ran:#?}");
    assert!(ran.stderr.contains("is still on this computer"), "{ran:#?}");
    host.run("check --read-data").ok();
    for id in &ids[1..] {
        host.run(&format!("prune --undelete {id}")).exits(1);
    }
    // No remaining pack has a chunk of it, so its photos are stored again as new.
    let added = |name: &str, bytes: Vec<u8>| {
        write(&host.path(&format!("more/{name}")), bytes);
        let done =
            host.run(&format!("--json snapshot --history {name} more/{name}")).ok().summary();
        done["bytes_added"].as_u64().expect("a number")
    };
    assert!(added("again.CR3", photos::bytes(50, 300_000)) >= 300_000);
    assert_eq!(added("known.CR3", photos::bytes(1, 300_000)) / 100_000, 0);
    // A second run has nothing to do.
    host.run("rewrite --now --yes --exclude photos/miller").fails(4, &["no snapshot contains"]);
    host.run("restore latest:photos --target out --history none").exits(4);
}

#[test]
fn all_names_of_a_content_that_stays_are_listed() {
    let host = Host::new();
    write(&host.path("photos/miller/0.CR3"), photos::bytes(1, 300_000));
    for number in 1..6 {
        write(&host.path(&format!("photos/best of/{number}.CR3")), photos::bytes(1, 300_000));
    }
    host.run("snapshot --init photos").ok();
    let line = "rewrite -n --exclude photos/miller";
    let shown = host.run(line).ok();
    assert!(shown.stderr.contains("/photos/best of/3.CR3 and 2 more (-v lists them); name these"));
    assert!(!shown.stderr.contains("4.CR3"), "{shown:#?}");
    let shown = host.run(&format!("-v {line}")).ok();
    let listed = host.run(&format!("--json {line}")).ok().json();
    let paths: Vec<&Value> =
        listed.iter().filter(|o| o["message_type"] == "kept_elsewhere").collect();
    assert_eq!(paths.len(), 5, "{listed:?}");
    for (number, path) in (1..6).zip(paths) {
        let name = format!("/photos/best of/{number}.CR3");
        assert!(shown.stderr.contains(&name), "{shown:#?}");
        assert!(path["path"].as_str().is_some_and(|path| path.ends_with(&name)), "{path}");
    }
    // A folder has other names in older snapshots if it was renamed.
    std::fs::rename(host.path("photos/best of"), host.path("photos/the best")).expect("renamed");
    host.run("snapshot photos").ok();
    let shown = host.run(&format!("-v {line}")).ok();
    for folder in ["best of", "the best"] {
        assert!(shown.stderr.contains(&format!("/photos/{folder}/5.CR3")), "{shown:#?}");
    }
}

#[test]
fn a_snapshot_with_nothing_else_is_dropped() {
    let host = local();
    host.run("snapshot --history alone photos/miller").ok();
    let done = host.run("--json rewrite --now --yes --exclude photos/miller").ok().summary();
    assert_eq!(
        (done["snapshots_rewritten"].as_u64(), done["snapshots_dropped"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(snapshots(&host).len(), 4);
    host.run("check --read-data").ok();
}

/// Returns a host with two clients' photos in one pack, and that pack, in which one of Jones's photos is damaged.
fn damaged() -> (Host, std::path::PathBuf) {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    for (name, seed) in [("jones", 1), ("miller", 50)] {
        for number in 0..3 {
            let file = format!("photos/{name}/{number}.CR3");
            write(&host.path(&file), photos::bytes(seed + number, 1_500_000));
        }
    }
    host.run("snapshot photos").ok();
    let packs = objects(&host.path("repo"), "packs");
    assert_eq!(packs.len(), 1, "{packs:?}");
    // Jones's photos come first in the pack.
    let mut bytes = std::fs::read(&packs[0]).expect("the pack");
    bytes[100_000..100_016].fill(0x58);
    std::fs::write(&packs[0], bytes).expect("the pack");
    (host, packs[0].clone())
}

#[test]
fn a_damaged_pack_that_was_repaired_is_erased_too() {
    let (host, pack) = damaged();
    host.run("check --read-data --repair --seed photos").ok();
    // Chunks that are known to be lost do not delay the erasure.
    let checked = host.run("check --read-data").ok();
    assert!(checked.stdout.contains("(100 %)"), "{checked:#?}");
    let ran = host.run("rewrite --now --yes --exclude photos/miller").ok();
    assert!(ran.stdout.contains("deleted, for good; "), "{ran:#?}");
    assert!(!pack.exists());
    host.run("check --read-data").ok();
    host.run("restore latest --target out").ok();
    host.run("rewrite --now --yes --exclude photos/miller").fails(4, &["no snapshot contains"]);
}

#[test]
fn a_pack_that_cannot_be_copied_is_named_and_the_others_go() {
    let (host, pack) = damaged();
    write(&host.path("photos/miller/later.CR3"), photos::bytes(60, 1_500_000));
    host.run("snapshot photos").ok();
    let packs = objects(&host.path("repo"), "packs");
    let later = packs.into_iter().find(|name| *name != pack).expect("a second pack");
    let line = "rewrite --now --yes --exclude photos/miller";
    let name = pack.file_name().expect("a name").to_string_lossy().into_owned();
    // However often it is run, it never says that nothing is left.
    for _ in 0..2 {
        let ran =
            host.run(line).fails(22, &["1 object still contains data", "exclude them as well"]);
        assert!(ran.stderr.contains(&format!("packs/{name}: it could not be erased")), "{ran:#?}");
        assert!(pack.exists() && !later.exists());
    }
    // The owner follows the hint.
    host.run("check --read-data --repair --seed photos").ok();
    host.run(line).ok();
    assert!(!pack.exists());
    host.run("check --read-data").ok();
}

#[test]
fn killed_at_any_moment_no_snapshot_is_lost_and_the_next_run_finishes() {
    let start = local();
    let before = snapshots(&start);
    // The snapshots contain this path, although the copies are in other folders.
    let line = format!("rewrite --now --yes --exclude {}", word(&start.path("photos/miller")));
    for millis in [2, 8, 15, 25, 40, 60, 90, 130, 200] {
        let host = start.copy();
        let mut child = host
            .command(&line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().ok();
        child.wait().expect("a child ends");
        let now = snapshots(&host);
        assert_eq!(now.len(), 4, "killed after {millis} ms");
        for (old, new) in before.iter().zip(&now) {
            assert_eq!(facts(old), facts(new), "killed after {millis} ms");
        }
        host.run("check --read-data").ok();
        let again = host.run(&line);
        assert!([0, 4].contains(&again.code), "killed after {millis} ms: {again:#?}");
        assert!(snapshots(&host).iter().all(|line| !files(&host, line).contains("miller")));
        host.run(&line).exits(4);
        host.run("check --read-data").ok();
        // Nothing of it is left, so it is stored again as new.
        let done = host.run("--json snapshot --history again photos/miller/1.CR3").ok().summary();
        let added = done["bytes_added"].as_u64().expect("a number");
        assert!(added >= 300_000, "killed after {millis} ms: {done}");
        host.run("prune").ok();
    }
}

#[test]
fn in_a_bucket_it_costs_and_waits_for_a_thaw() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    host.run("init --pack-size 64MiB").ok();
    host.export_identity();
    for name in ["jones", "miller"] {
        for number in 0..3 {
            let seed = name.len() as u64 * 100 + number;
            let file = format!("photos/{name}/{number}.CR3");
            write(&host.path(&file), photos::bytes(seed, 700_000));
        }
    }
    host.run("snapshot photos").ok();
    let line = "rewrite --now --yes --exclude photos/miller";
    let shown = host.run("rewrite -n --exclude photos/miller").ok();
    assert!(shown.stdout.contains("--now erases what stays until then at once"), "{shown:#?}");
    // The user has not agreed to the price.
    host.run(line).fails(21, &["nothing was changed", "--max-cost"]);
    assert!(files(&host, &snapshots(&host)[0]).contains("miller"));
    host.run(&format!("{line} --max-cost 0.0000001")).fails(21, &["nothing was changed"]);
    let ran = host.run(&format!("{line} --max-cost 5")).exits(20);
    assert!(ran.stdout.contains("not erased yet: 1 object must be thawed first"), "{ran:#?}");
    assert!(ran.stdout.contains("until then snapshot ") && ran.stdout.contains("undeleted"));
    assert!(!ran.stdout.contains("any more"), "{ran:#?}");
    assert!(!files(&host, &snapshots(&host)[0]).contains("miller"));
    let by = |text: &str| {
        let (_, after) = text.split_once("the thaw is over, by ").expect("a time");
        after.split_once(" at the latest").expect("a time").0.to_owned()
    };
    // Its thaw was requested in bulk, so another tier of a later run does not matter.
    let again = host.run(&format!("{line} --tier standard --max-cost 5")).exits(20);
    assert!(again.stdout.contains("1 object is still thawing"), "{again:#?}");
    assert_eq!(by(&again.stdout), by(&ran.stdout));
    let shown = host.run("rewrite -n --now --exclude photos/miller").ok();
    for text in [&again.stdout, &shown.stdout] {
        assert!(text.contains("to erase: ") && !text.contains("be erased at once"), "{text}");
        assert!(text.contains("; 1 object is still thawing"), "{text}");
    }
    assert!(!again.stdout.contains("any more"), "{again:#?}");
    assert!(!again.stdout.contains("must be thawed first"), "{again:#?}");
    server.advance(Duration::from_secs(49 * 3600));
    let ran = host.run(&format!("{line} --max-cost 5")).ok();
    assert!(ran.stdout.contains("deleted, for good"), "{ran:#?}");
    assert!(ran.stdout.contains("no snapshot contains these files any more"), "{ran:#?}");
    host.run("check").ok();
    host.run(line).fails(4, &["no snapshot contains"]);
}

#[test]
fn tags_change_after_the_fact() {
    let host = local();
    let before = snapshots(&host);
    assert_eq!(before[1]["tags"], serde_json::json!(["second", "best"]));
    let ids: Vec<&str> = before.iter().map(|line| line["id"].as_str().expect("an id")).collect();
    let (first, second) = (&ids[0][..8], &ids[1][..8]);
    host.run(&format!("tag add {first} {second} rome,keep raw")).ok();
    host.run(&format!("tag remove {second} best,raw")).ok();
    let tags: Vec<Value> = snapshots(&host).iter().map(|line| line["tags"].clone()).collect();
    let expected =
        serde_json::json!([["first", "rome", "keep", "raw"], ["second", "rome", "keep"], [], []]);
    assert_eq!(Value::from(tags), expected);
    let after = snapshots(&host);
    assert!(before.iter().zip(&after).all(|(old, new)| old["id"] == new["id"]), "ids stay");
    // Policies and selections use these tags, even on a computer that reads the log for the first time.
    host.remove("cache");
    let found = host.run("--json snapshots --tag rome,raw").ok().json();
    assert_eq!(found.len(), 1 + 1, "{found:?}");
    let shown = host.run("--json prune -n --keep-tag keep --keep-last 1").ok().json();
    let kept = shown.iter().filter(|line| line["dropped"] == false).count();
    assert_eq!(kept, 3, "{shown:?}");
    // A command that changes nothing writes no entry.
    let entries = objects(&host.path("repo"), "log").len();
    host.run("tag add latest~3 first").ok();
    assert_eq!(objects(&host.path("repo"), "log").len(), entries);
    for line in [
        "tag add latest a,,b",
        "tag remove latest ,",
        "snapshot photos --tag a,",
        "snapshot photos --tag=",
    ] {
        let ran = host.run(line).exits(2);
        assert!(ran.stderr.contains("a tag is empty"), "{line}: {ran:#?}");
    }
    host.run("tag add nonsense best").fails(4, &["no snapshot matches"]);
    host.run("tag add latest").exits(2);
    // Options may stand between the snapshot and its tags.
    let name = host.run("--json snapshots").ok().json()[0]["host"].clone();
    let name = name.as_str().expect("a host").to_owned();
    host.run(&format!("tag add latest --host {name} between")).ok();
}

#[test]
fn dropped_snapshots_that_share_an_object_with_the_files_are_counted_too() {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    for (name, seed) in [("a", 1), ("wedding", 20), ("miller", 50)] {
        write(&host.path(&format!("photos/{name}/1.CR3")), photos::bytes(seed, 300_000));
    }
    host.run("snapshot photos").ok();
    std::fs::rename(host.path("photos/miller"), host.path("away")).expect("moved");
    host.run("snapshot photos").ok();
    std::fs::rename(host.path("away"), host.path("photos/miller")).expect("moved");
    std::fs::remove_dir_all(host.path("photos/wedding")).expect("removed");
    host.run("snapshot photos").ok();
    let second = snapshots(&host)[1]["id"].as_str().expect("an id").to_owned();
    host.run("prune --forget latest~1").ok();
    host.run("prune --forget latest~1").ok();
    let line = "rewrite --now --exclude photos/miller";
    let told = host.run(&format!("{line} -n")).ok().stdout;
    let named = "1 dropped snapshot still has these files, and cannot be undeleted after this: ";
    assert!(told.contains(named), "{told}");
    assert!(told.contains("1 dropped snapshot without these files cannot be undeleted"), "{told}");
    assert!(told.contains(&format!("icecore prune --undelete {}", &second[..8])), "{told}");
    // The dropped snapshot stays if it is undeleted first.
    host.run(&format!("prune --undelete {second}")).ok();
    let told = host.run(&format!("{line} --yes")).ok().stdout;
    assert!(!told.contains("without these files"), "{told}");
    let list = host.run(&format!("ls -R {second}")).ok().stdout;
    assert!(list.contains("wedding/1.CR3"), "{list}");
    host.run("check --read-data").ok();
}
