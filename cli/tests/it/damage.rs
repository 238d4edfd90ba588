//! Objects of every kind that are truncated, have a flipped bit, or are swapped or missing: the damage is noticed and
//! named, and nothing else is lost.

use std::fs;
use std::path::{Path, PathBuf};

use icecore_testkit::{S3Server, photos};

use crate::mirror::{host_with_archive, newest_pack};
use crate::support::{BUCKET, Host, Ran, assert_unchanged, objects, shoot, write};

/// Restores the original object.
fn put_back(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("an object can be put back");
}

fn damaged(content: &[u8], how: &str) -> Option<Vec<u8>> {
    let mut content = content.to_vec();
    match how {
        "cut" => content.truncate(content.len() / 2),
        "first bit" => content[0] ^= 1,
        "middle bit" => {
            let middle = content.len() / 2;
            content[middle] ^= 0x10;
        }
        "last bit" => *content.last_mut().expect("no object is empty") ^= 0x80,
        _ => return None,
    }
    Some(content)
}

/// Asserts that damage is reported, or that the repository cannot be opened.
#[track_caller]
fn noticed(ran: Ran, what: &str) {
    assert!([22, 1, 10, 12].contains(&ran.code), "{what}: {ran:#?}");
    assert!(!ran.stdout.contains("no damage found"), "{what}: {ran:#?}");
}

#[test]
fn damage_of_every_kind_is_noticed() {
    let mut host = Host::new();
    shoot(&host.path("photos/a"), 1, 1);
    host.run("snapshot --init photos").ok();
    shoot(&host.path("photos/b"), 2, 1);
    host.run("snapshot photos").ok();
    write(&host.path("second"), "another password\n");
    host.run("key add --new-password-file second").ok();
    let photos = host.state("photos");
    host.export_identity();
    for prefix in ["config", "keys", "log", "meta", "hot", "packs"] {
        let found = objects(&host.path("repo"), prefix);
        let path = &found[0];
        let content = fs::read(path).expect("an object");
        for how in ["cut", "first bit", "middle bit", "last bit", "swapped", "gone"] {
            let what = format!("{prefix} {how}");
            match damaged(&content, how) {
                Some(content) => put_back(path, &content),
                None if how == "gone" => fs::remove_file(path).expect("an object goes"),
                None if found.len() > 1 => {
                    put_back(path, &fs::read(&found[1]).expect("a sister"));
                }
                None => continue,
            }
            noticed(host.run("check --read-data"), &what);
            put_back(path, &content);
        }
    }
    host.run("check --read-data").ok();
    host.restores("latest", &photos);
}

#[test]
fn what_is_not_damaged_is_restored() {
    let mut host = Host::new();
    write(&host.path("photos/a.xmp"), "small and well");
    shoot(&host.path("photos/big"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let pack = &objects(&host.path("repo"), "packs")[0];
    fs::write(pack, b"not a pack").expect("an object can be damaged");
    let ran = host.run("restore latest -t out").exits(22);
    assert!(ran.stderr.contains("IMG_01000.CR3"), "the file is named: {ran:#?}");
    let kept = fs::read(host.path("out/photos/a.xmp")).expect("the other file is there");
    assert_eq!(kept, b"small and well");
    assert!(!host.path("out/photos/big/IMG_01000.CR3").exists(), "no half of a file is left");
    let report = host.run("--json check").exits(22).summary();
    assert!(report["errors"][0]["files"].to_string().contains("IMG_01000.CR3"), "{report}");
}

#[test]
fn the_next_snapshot_stores_again_what_a_check_found_missing() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 4);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    for prefix in ["packs", "hot", "meta"] {
        let pack = objects(&host.path("repo"), prefix).remove(0);
        let content = fs::read(&pack).expect("a pack");
        fs::remove_file(&pack).expect("a pack goes");
        host.run("check").exits(22);
        let taken = host.run("--json snapshot photos").ok().summary();
        assert!(taken["bytes_added"].as_u64() > Some(0), "{prefix}: {taken}");
        let report = host.run("--json check").exits(22).summary();
        let errors = report["errors"].to_string();
        let id = taken["snapshot_id"].as_str().expect("an id");
        assert!(!errors.contains(id), "{prefix}: {report}");
        host.restores("latest", &host.state("photos"));
        // The object returns, as when a disk is mounted again.
        put_back(&pack, &content);
        host.run("check").ok();
        host.run("snapshot photos").ok();
    }
}

#[test]
fn the_next_snapshot_stores_again_what_a_check_found_truncated() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 4);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let pack = objects(&host.path("repo"), "packs").remove(0);
    let content = fs::read(&pack).expect("a pack");
    put_back(&pack, &content[..1000]);
    host.run("check").exits(22);
    let taken = host.run("--json snapshot photos").ok().summary();
    assert!(taken["bytes_added"].as_u64() > Some(0), "{taken}");
    host.restores("latest", &host.state("photos"));
    // After it is put back from a copy, it is intact.
    put_back(&pack, &content);
    host.run("check --read-data").ok();
    host.run("snapshot photos").ok();
}

#[test]
fn a_damaged_key_slot_is_no_wrong_password() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    write(&host.path("second"), "another password\n");
    let slot = objects(&host.path("repo"), "keys").remove(0);
    let content = fs::read(&slot).expect("a slot");
    // Offsets in every field: magic, version, flags, ids, time, costs, salt, commitment, label, identity, digest.
    let fields = [0, 8, 10, 12, 30, 45, 53, 57, 61, 70, 100, 128, 131, 170, content.len() - 1];
    for at in fields {
        for bit in [1, 0x80] {
            let mut damaged = content.clone();
            damaged[at] ^= bit;
            put_back(&slot, &damaged);
            host.run("ls latest").fails(
                22,
                &[
                    "keys/",
                    "is damaged: its contents do not match what was written",
                    "--identity FILE",
                ],
            );
        }
    }
    put_back(&slot, &content[..content.len() - 1]);
    host.run("ls latest").fails(22, &["is damaged", "--identity FILE"]);
    put_back(&slot, &content);
    host.run("-p second ls latest").fails(12, &["wrong password"]);
    // The other slot still opens the archive.
    host.run("key add --new-password-file second").ok();
    put_back(&slot, &content[..40]);
    host.run("-p second ls latest").ok();
    host.run("ls latest").fails(22, &["is damaged"]);
}

#[test]
fn what_is_stored_again_although_nothing_changed_is_said() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 2);
    host.run("snapshot --init photos").ok();
    fs::remove_file(&objects(&host.path("repo"), "packs")[0]).expect("an object goes");
    host.run("check").exits(22);
    let line = "stored again: 4 files, because the archive had lost their data or had it from a revoked computer\n";
    let ran = host.run("snapshot -n photos").ok();
    assert!(ran.stdout.contains(line), "{ran:#?}");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains(line), "{ran:#?}");
    let ran = host.run("snapshot photos").ok();
    assert!(!ran.stdout.contains("stored again"), "{ran:#?}");
    // The object stays damaged until a repair, but no file is lost.
    for snapshot in ["latest", "latest~1", "latest~2"] {
        host.run(&format!("restore {snapshot} --target whole-{snapshot}")).ok();
    }
    let ran = host.run("--json check").exits(22);
    let errors = ran.summary()["errors"].as_array().expect("a list").clone();
    assert!(errors.len() == 1 && errors[0]["files"] == serde_json::json!([]), "{errors:#?}");
    let said = host.run("check").exits(22).stderr;
    assert!(said.contains("stored again and can be read: `icecore check --repair`"), "{said}");
    host.run("check --repair").ok();
    host.run("check").ok();
}

#[test]
fn a_missing_object_has_the_hint_that_helps() {
    let host = Host::new();
    write(&host.path("photos/a.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    host.remove("cache");
    fs::remove_file(&objects(&host.path("repo"), "meta")[0]).expect("an object goes");
    for line in ["ls latest", "find a.jpg", "restore latest --target out", "history photos/a.jpg"] {
        host.run(line).fails(22, &["meta/", "`icecore check` names the files that need it"]);
    }
    // `check` does not recommend itself.
    let found = host.run("check").exits(22);
    assert!(found.stdout.contains("it is missing"), "{found:#?}");
    assert!(!found.stderr.contains("`icecore check`"), "{found:#?}");
}

#[test]
fn a_missing_object_does_not_count_as_read_back() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    let read = host.run("check --read-data").ok();
    assert!(read.stdout.contains("(100 %)"), "{read:#?}");
    let pack = objects(&host.path("repo"), "packs").remove(0);
    let content = fs::read(&pack).expect("a pack");
    fs::remove_file(&pack).expect("gone");
    let gone = host.run("check").exits(22);
    assert!(gone.stdout.contains("it is missing"), "{gone:#?}");
    assert!(!gone.stdout.contains("(100 %)"), "{gone:#?}");
    put_back(&pack, &content);
    let back = host.run("check").ok();
    assert!(back.stdout.contains("(100 %)"), "{back:#?}");
}

#[test]
fn a_folder_whose_listing_is_lost_does_not_count_as_one_file() {
    let mut host = Host::new();
    write(&host.path("photos/2024/a.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    let before = objects(&host.path("repo"), "meta");
    for number in 0..3 {
        write(&host.path(&format!("photos/2025/{number}.jpg")), format!("photo {number}"));
    }
    host.run("snapshot photos").ok();
    let mut new = objects(&host.path("repo"), "meta");
    new.retain(|object| !before.contains(object));
    assert_eq!(new.len(), 1, "the listing of 2025, and those above it");
    // Those above it are stored again.
    write(&host.path("photos/2024/b.jpg"), "another photo");
    host.run("snapshot photos").ok();
    host.export_identity();
    fs::remove_file(&new[0]).expect("an object goes");
    let plan = host.run("restore latest:photos -t out --plan");
    let words = "damaged, and cannot be restored: 1 folder, with all in it\n";
    assert!(plan.stdout.contains(words), "{plan:#?}");
    let ran = host.run("restore latest:photos -t out").exits(22);
    assert!(ran.stdout.contains("restored 2 files"), "{ran:#?}");
    assert!(ran.stdout.contains("; 1 folder FAILED, with all in it\n"), "{ran:#?}");
    assert!(host.path("out/2024/b.jpg").exists());
    let done = host.run("--json restore latest:photos -t json").exits(22).summary();
    let failed = (&done["files_failed"], &done["folders_failed"]);
    assert_eq!(failed, (&1.into(), &1.into()), "{done}");
}

#[test]
fn an_object_with_two_problems_is_one_damaged_object() {
    let host = Host::new();
    write(&host.path("photos/2024/a.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    let before = objects(&host.path("repo"), "meta");
    write(&host.path("photos/2025/b.jpg"), "another photo");
    host.run("snapshot photos").ok();
    let mut new = objects(&host.path("repo"), "meta");
    new.retain(|object| !before.contains(object));
    write(&host.path("photos/2024/c.jpg"), "a third photo");
    host.run("snapshot photos").ok();
    put_back(&new[0], b"");
    // Its size is wrong, and so is the part that has the listing of 2025.
    let ran = host.run("check").exits(22);
    let named = new[0].file_name().and_then(|name| name.to_str()).expect("a name");
    assert_eq!(ran.stdout.matches(&format!("meta/{named}: ")).count(), 2, "{ran:#?}");
    assert!(ran.stdout.contains("\n1 damaged object; "), "{ran:#?}");
}

#[test]
fn a_repair_of_what_nothing_needs_says_only_that() {
    let mut host = Host::new();
    write(&host.path("photos/a.jpg"), "a photo");
    host.run("snapshot --init photos").ok();
    let first = objects(&host.path("repo"), "meta").remove(0);
    write(&host.path("photos/b.jpg"), "another photo");
    host.run("snapshot photos").ok();
    host.export_identity();
    host.run("prune --keep-last 1").ok();
    put_back(&first, b"");
    host.run("check").exits(22);
    let ran = host.run("check --repair").ok();
    // Until its window ends, the dropped snapshot can be undeleted.
    let words = "no damage is left: only a dropped snapshot can need what was damaged";
    assert!(ran.stdout.contains(words), "{ran:#?}");
    assert!(!ran.stdout.contains("repaired"), "{ran:#?}");
    host.run("check").ok();
}

#[test]
fn a_copy_needs_nothing_that_a_repair_has_replaced() {
    let mut host = Host::new();
    for number in 0..6 {
        write(&host.path(&format!("photos/{number}.CR3")), photos::bytes(number, 700_000));
    }
    host.run("snapshot --init --pack-size 1MiB photos").ok();
    host.export_identity();
    let photos = host.state("photos");
    let packs = objects(&host.path("repo"), "packs");
    let garbage = fs::metadata(&packs[0]).expect("a pack").len();
    put_back(&packs[0], &vec![7; garbage as usize]);
    fs::remove_file(&packs[1]).expect("a lost pack");
    let ran = host.run("mirror repo copy").exits(22);
    let hint = "2 objects are damaged or missing in the archive and not in the copy: `icecore --repo repo check --read-data --repair`";
    assert!(ran.stderr.contains(hint), "{ran:#?}");
    host.run("check --read-data --repair --seed photos").ok();
    let ran = host.run("mirror repo copy").ok();
    assert!(!ran.stderr.contains("not copied"), "{ran:#?}");
    assert_eq!(host.run("--json mirror repo copy").ok().summary()["objects_copied"], 0);
    host.run("--repo copy check --read-data").ok();
    host.set("ICECORE_REPOSITORY", "copy");
    host.restores("latest", &photos);
}

#[test]
fn a_copy_says_that_it_lacks_what_is_damaged_in_part() {
    let mut host = Host::new();
    for number in 0..6 {
        write(&host.path(&format!("photos/{number}.jpg")), photos::bytes(number, 150_000));
    }
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let pack = objects(&host.path("repo"), "packs").into_iter();
    let pack = pack.chain(objects(&host.path("repo"), "hot")).next().expect("a pack");
    let mut content = fs::read(&pack).expect("a pack");
    content.truncate(400_000);
    put_back(&pack, &content);
    host.run("check --read-data --repair --seed photos").ok();
    let ran = host.run("mirror repo copy").exits(3);
    assert!(ran.stdout.contains("the copy lacks 1 object"), "{ran:#?}");
    let words = "1 object is damaged in the archive and not in the copy, although a repair";
    assert!(ran.stderr.contains(words), "{ran:#?}");
    assert!(!ran.stderr.contains("--repair`"), "{ran:#?}");
}

/// A repair stores only the damaged data of an object again. The copy needs the rest of it too.
#[test]
fn what_is_intact_in_a_damaged_object_is_copied() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 6);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let photos = host.state("photos");
    let packs = objects(&host.path("repo"), "packs");
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    let pack = packs.iter().max_by_key(|path| length(path)).expect("a pack");
    let mut content = fs::read(pack).expect("a pack");
    content[200_000..200_007].fill(7);
    fs::write(pack, content).expect("it is written");
    host.run("check --read-data --repair --seed photos").ok();
    let copied = host.run("mirror repo copy").ok();
    assert!(copied.stderr.contains("copied with the damage that a repair has"), "{copied:#?}");
    assert!(copied.stdout.contains("the copy is complete"), "{copied:#?}");
    assert!(!host.run("mirror repo copy").ok().stderr.contains("damage"));
    host.run("--repo copy check --read-data").ok();
    host.run("--repo copy restore latest:photos --target out").ok();
    assert_unchanged(&photos, &host.state("out"), "a restore from the copy");
}

/// A repair by parity stores the data again and marks the damaged place in its old object as lost. The copy has that
/// object as it was before the damage, and only `mirror` writes to the copy.
#[test]
fn a_copy_of_a_repaired_archive_has_nothing_to_repair() {
    let host = host_with_archive();
    host.run("mirror repo copy").ok();
    let damaged = newest_pack(&host, "repo");
    let mut content = fs::read(&damaged).expect("a pack");
    content[3000..3100].fill(7);
    fs::write(&damaged, content).expect("it is written");
    host.run("check --read-data --repair").ok();
    host.run("mirror repo copy").ok();
    let checked = host.run("--json --repo copy check --read-data").ok().summary();
    assert!(checked["chunks_found_again"].as_u64() > Some(0), "the copy has the mark: {checked}");
    for repository in ["repo", "copy"] {
        let checked = host.run(&format!("--repo {repository} check --read-data")).ok();
        let said = format!("{}{}", checked.stdout, checked.stderr);
        assert!(!said.contains("as lost") && !said.contains("the mark"), "{checked:#?}");
    }
}

#[test]
fn what_a_restore_has_found_is_repaired_without_reading_everything() {
    let server = S3Server::start();
    let mut host = Host::with_bucket(&server);
    shoot(&host.path("photos"), 1, 6);
    host.run("init --pack-class STANDARD --pack-size 4MiB").ok();
    host.run("snapshot photos").ok();
    host.export_identity();
    host.run("mirror copy").ok();
    let objects = server.objects(BUCKET);
    let pack = objects.iter().find(|object| object.key.contains("/packs/")).expect("a pack");
    server.delete(BUCKET, &pack.key);
    let plan = host.run("restore latest --target back --plan").ok();
    assert!(plan.stdout.contains("damaged, and cannot be restored"), "{plan:#?}");
    let copy = host.path("copy").display().to_string();
    let hint = format!("hint: --also {copy} restores what the copy at {copy} has");
    assert!(plan.stderr.contains(&hint), "{plan:#?}");
    let ran = host.run("restore latest --target back").exits(22);
    let repair = format!("check --repair --also {copy}");
    let hint = format!("`icecore {repair}` puts it back into the archive");
    assert!(ran.stderr.contains(&hint), "{ran:#?}");
    host.run(&repair).ok();
    assert!(server.get(BUCKET, &pack.key).is_some(), "it is back");
    host.run("restore latest --target whole").ok();
}
