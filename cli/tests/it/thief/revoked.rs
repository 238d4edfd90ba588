//! Tests what the owner can do about a thief: revoke a writer and dismiss entries.

use std::fs::File;
use std::time::{Duration, SystemTime};

use icecore_engine::codec::Author;
use icecore_engine::format::{Credential, LogEntry, Move, PackKind, PackRange, SnapshotEntry};
use icecore_engine::store::layout;
use serde_json::json;

use super::attacks::{fake, new, of_another_history};
use super::tools::{Archive, gone};
use crate::support::{objects, write};

#[test]
fn a_revoked_writer_counts_no_more_and_its_poison_is_stored_again() {
    let mut archive = Archive::in_folder();
    let thief = archive.thief();
    let (host, genuine) = (&mut archive.host, &archive.genuine);
    // The thief stores zeros under the id of a chunk that the host does not have yet.
    write(&host.path("photos/next.txt"), "what the thief knows will come");
    let id = thief.secrets.chunk_id(PackKind::Hot, b"what the thief knows will come");
    let (from, _, _) = thief.log();
    let lie = thief.lie(PackKind::Hot, &[(id, 30)]);
    let fake = SnapshotEntry {
        packs: vec![PackRange { first: (from + 1) << 16, count: 1 }],
        ..of_another_history(thief.snapshots().remove(0))
    };
    thief.says(LogEntry { packs: vec![lie], snapshots: vec![fake], ..new() });
    let before = host.run("snapshots").exits(22);
    assert!(before.stderr.contains("it is the record of another snapshot"), "{before:#?}");
    host.run(&format!("key revoke --yes --from {} first", from + 1)).fails(4, &["no writer"]);
    host.run(&format!("key revoke --yes --from {} \"first host\"", from + 1)).fails(2, &[]);
    let writers = host.run("key writers --json").ok().json();
    let writer = writers.iter().find_map(|line| line["id"].as_str()).expect("an id").to_owned();
    // There is no terminal for a question.
    let unasked = host.state("repo");
    for line in [format!("key revoke --from {} {writer}", from + 1), format!("key revoke {writer}")]
    {
        host.run(&line).fails(2, &["cannot be undone", "nothing was changed", "--yes"]);
    }
    assert_eq!(host.state("repo"), unasked, "nothing was written");
    host.run(&format!("key revoke --yes --from {} {writer}", from + 1)).ok();
    let after = host.run("snapshots").ok();
    assert_eq!(after.stdout.lines().count() + 1, before.stdout.lines().count(), "{after:#?}");
    // The stolen credential can no longer write, even on its own host, until the host is enrolled again.
    host.unset("ICECORE_IDENTITY");
    host.run("snapshot photos").fails(12, &["revoked", "key enrol"]);
    host.set("ICECORE_IDENTITY", "identity");
    host.run("key enrol").ok();
    host.unset("ICECORE_IDENTITY");
    host.run("snapshot photos").ok();
    host.set("ICECORE_IDENTITY", "identity");
    host.restores("latest", &host.state("photos"));
    for (snapshot, photos) in genuine {
        host.restores(snapshot, photos);
    }
}

#[test]
fn a_void_entry_stops_prune_until_the_owner_dismisses_it() {
    let archive = Archive::in_folder();
    let (thief, host) = (archive.thief(), &archive.host);
    let (last, _, _) = thief.log();
    thief.create(&layout::log(last + 1), vec![0x5a; 4000]);
    let told = host.run("check").exits(23);
    let words = "no damage found, but 1 log entry does not count or is doubtful";
    assert!(told.stdout.contains(words), "{told:#?}");
    let told = host.run("--json check").exits(23).summary();
    assert_eq!(told["errors"], json!([]), "{told}");
    assert_eq!(told["doubts"][0]["object"], layout::log(last + 1), "{told}");
    host.run("key dismiss 1").fails(2, &["is valid"]);
    host.run(&format!("key dismiss {}", last + 1)).ok();
    host.run("snapshots").ok();
    host.run("check").ok();
    host.run("snapshot photos").ok();
}

/// A thief who has robbed one host knows a photo that another host does not have yet, and stores false content under
/// the id of its chunk. The other host relies on the chunk until the owner revokes the writer.
#[test]
fn what_counted_on_a_revoked_writer_is_named_and_stored_again() {
    let mut archive = Archive::in_folder();
    let thief = archive.thief();
    archive.host.set("ICECORE_CONFIG_DIR", "config-2");
    archive.run("prune", "key enrol --label laptop").ok();
    let content = b"what the thief knows will come";
    let id = thief.secrets.chunk_id(PackKind::Hot, content);
    let lie = thief.lie(PackKind::Hot, &[(id, content.len() as u32)]);
    let object = layout::pack(PackKind::Hot, &lie.id);
    let (from, _, _) = thief.log();
    let from = from + 1;
    thief.says(LogEntry { packs: vec![lie], ..new() });
    write(&archive.host.path("photos/next.txt"), content);
    archive.run("backup", "snapshot photos").ok();
    let poisoned = thief.snapshots().pop().expect("a snapshot");
    let place = from << 16;
    let has = |range: &PackRange| range.first <= place && place < range.first + range.count;
    assert!(poisoned.packs.iter().any(has), "it counts on the pack of the thief");
    archive.run("restore", "check").ok();

    let revoke = format!("key revoke --yes --from {from} first\u{e000}host");
    archive.run("prune", &revoke).ok();
    let checked = archive.run("restore", "--json check").exits(22).summary();
    let errors = checked["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["object"], object.as_str());
    assert!(
        errors[0]["problem"].as_str().is_some_and(|why| why.contains("revoked")),
        "{errors:#?}"
    );
    assert_eq!(errors[0]["snapshots"], serde_json::json!([poisoned.id.to_string()]));
    let files = errors[0]["files"].as_array().expect("a list");
    assert_eq!(files.len(), 1, "{files:#?}");
    assert!(files[0].as_str().is_some_and(|file| file.ends_with("next.txt")), "{files:#?}");

    // Nothing in the folder has changed since then.
    let taken = archive.run("backup", "--json snapshot photos").ok().summary();
    assert!(taken["bytes_added"].as_u64() >= Some(content.len() as u64), "{taken}");
    archive.restores_all();
    // The earlier snapshot is read from the new copy, so nothing is damaged any more.
    let healed = archive.run("restore", "--json check").ok().summary();
    assert_eq!((&healed["errors"], &healed["chunks_stored_again"]), (&json!([]), &json!(1)));
    let said = archive.run("restore", "check").ok();
    assert!(said.stderr.contains("was stored again and can be read"), "{said:#?}");
    archive.run("prune", "check --repair").ok();
    let healed = archive.run("restore", "--json check").ok().summary();
    assert_eq!((&healed["errors"], &healed["chunks_stored_again"]), (&json!([]), &json!(0)));
}

/// A prune host is stolen, and its credential drops and tombstones everything. Nothing is deleted before the owner has
/// had two weeks to revoke it.
#[test]
fn a_stolen_prune_host_does_not_end_the_undelete_window() {
    let mut archive = Archive::in_folder();
    archive.run("prune", "key export --prune-host --output stolen").ok();
    let stolen = std::fs::read(archive.host.path("stolen")).expect("a credential");
    let stolen = Author::of(&Credential::decode(&stolen).expect("a credential"));
    let (thief, needed) = (archive.thief(), archive.objects());
    // The thief first drops and tombstones everything in one entry. A second entry tombstones the packs again when no
    // snapshot needs them any more.
    let (last, _, _) = thief.log();
    let dropped = thief.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    let all = vec![PackRange { first: 0, count: 1 << 50 }];
    thief.says_as(&stolen, LogEntry { dropped, tombstones: all.clone(), ..new() });
    thief.says_as(&stolen, LogEntry { tombstones: all, ..new() });
    for line in ["prune --keep-daily 7", "prune --keep-last 1", "prune"] {
        let pruned = archive.run("prune", line);
        assert_eq!(gone(&needed, &archive.objects()), [""; 0], "{pruned:#?}");
    }
    // The plan names what the run refuses to delete, and ends like it.
    let planned = archive.run("prune", "prune -n --keep-daily 7").exits(22);
    let pruned = archive.run("prune", "prune --keep-daily 7").exits(22);
    assert!(pruned.stderr.contains("`icecore check` names the writer"), "{pruned:#?}");
    assert_eq!(planned.stderr, pruned.stderr);
    let planned = archive.run("prune", "prune -n --json").exits(22).summary();
    assert_eq!(planned["packs_deleted"], 0, "{planned}");
    says_what_brings_it_back(&mut archive, last + 1, &stolen);
    says_what_is_taken_back(&mut archive, last + 1);
    let revoke = format!("key revoke --yes --from {} prune\u{e000}host", last + 1);
    let revoked = archive.run("prune", &revoke).ok();
    let back = format!("{} dropped snapshots are back", archive.genuine.len());
    for words in [&*back, "no longer marked for deletion"] {
        assert!(revoked.stderr.contains(words), "{words}: {revoked:#?}");
    }
    archive.restores_all();
    archive.run("restore", "check").ok();
}

/// Checks that what the thief has dropped and marked, in entries from `first` on, is not called erased.
fn says_what_brings_it_back(archive: &mut Archive, first: u64, stolen: &Author) {
    let revoke = format!("`icecore key revoke {} --from {first}`", stolen.id.short());
    let words = ["this data is still there", &*revoke];
    let id = archive.genuine[0].0.clone();
    archive.run("prune", &format!("prune --undelete {id}")).fails(1, &words);
    archive.run("restore", &format!("ls {id}")).fails(4, &words);
    // The first command that somebody types says what has happened, and proposes no first snapshot.
    let shown = archive.run("restore", "snapshots").ok();
    for words in ["all were dropped", "has dropped its newest full snapshot", "key revoke"] {
        assert!(shown.stderr.contains(words), "{words}: {shown:#?}");
    }
    assert!(!shown.stderr.contains("prune --undelete"), "{shown:#?}");
    archive
        .run("restore", "restore latest --target out")
        .fails(4, &["all were dropped", "snapshots --dropped"]);
    let listed = archive.run("restore", "snapshots --dropped").ok();
    let all = format!("{} more dropped snapshots (", archive.genuine.len());
    for words in [&*all, "cannot be undeleted now", &*revoke] {
        assert!(listed.stderr.contains(words), "{words}: {listed:#?}");
    }
}

/// A prune host is stolen, and its credential moves every snapshot to one pack. No snapshot names the others any more,
/// so without a special rule for moves, the undelete window would not protect them.
#[test]
fn a_stolen_prune_host_moves_nothing() {
    let mut archive = Archive::in_folder();
    archive.run("prune", "key export --prune-host --output stolen").ok();
    let stolen = std::fs::read(archive.host.path("stolen")).expect("a credential");
    let stolen = Author::of(&Credential::decode(&stolen).expect("a credential"));
    let (thief, needed) = (archive.thief(), archive.objects());
    let (last, _, _) = thief.log();
    let packs: Vec<u64> = thief.packs().into_iter().map(|(place, _)| place).collect();
    let one = |first: u64| PackRange { first, count: 1 };
    let others = || packs[1..].iter().copied();
    let moved = others().map(|from| Move { from, to: vec![one(packs[0])] }).collect();
    thief.says_as(&stolen, LogEntry { moved, tombstones: others().map(one).collect(), ..new() });
    for line in ["prune --keep-daily 7", "prune"] {
        let pruned = archive.run("prune", line);
        assert_eq!(gone(&needed, &archive.objects()), [""; 0], "{pruned:#?}");
    }
    archive.restores_all();
    let revoke = format!("key revoke --yes --from {} prune\u{e000}host", last + 1);
    archive.run("prune", &revoke).ok();
    archive.run("restore", &format!("key dismiss {}", last + 1));
    archive.restores_all();
    archive.run("restore", "check").ok();
}

#[test]
fn only_the_owner_prunes_without_a_window() {
    let mut archive = Archive::in_folder();
    archive.run("prune", "key export --prune-host --output pruner").ok();
    archive.run("prune", "prune --keep-last 1").ok();
    let before = archive.objects();
    let credential = objects(&archive.host.path("config"), "credentials").remove(0);
    std::fs::copy(archive.host.path("pruner"), &credential).expect("it moves in");
    for line in ["prune --now", "prune --now -n"] {
        let refused = archive.run("backup", line);
        assert_eq!(refused.code, 12, "{refused:#?}");
        assert!(refused.stderr.contains("only the owner may do this"), "{refused:#?}");
    }
    archive.run("backup", "prune").ok();
    assert_eq!(archive.objects(), before);
    archive.run("prune", "prune --now").ok();
    let packs =
        |objects: &[String]| objects.iter().filter(|name| !name.starts_with("log/")).count();
    assert!(packs(&archive.objects()) < packs(&before), "the owner does");
}

/// The clock of the store counts, whatever time an entry contains.
#[test]
fn a_writer_is_revoked_since_a_time() {
    let mut archive = Archive::in_folder();
    let thief = archive.thief();
    let before = SystemTime::now() - Duration::from_secs(2 * 86_400);
    for entry in objects(&archive.host.path("repo"), "log") {
        let entry = File::options().write(true).open(entry).expect("an entry");
        entry.set_modified(before).expect("a time");
    }
    let (last, _, _) = thief.log();
    fake(&thief, of_another_history(thief.snapshots().remove(0)));
    let log = archive.objects();
    let revoke = "key revoke --yes --since 1d first\u{e000}host";
    let shown = archive.run("prune", &format!("{revoke} -n --json")).ok().json();
    let entries: Vec<_> = shown.iter().filter(|line| line["message_type"] == "entry").collect();
    assert_eq!(entries.len(), 1, "{shown:#?}");
    assert_eq!((&entries[0]["entry"], &entries[0]["snapshots"]), (&(last + 1).into(), &1.into()));
    assert_eq!(archive.objects(), log, "it was only shown");
    let ran = archive.run("prune", revoke).ok();
    assert!(
        ran.stdout.contains("entry") && ran.stderr.contains("sets apart 1 snapshot"),
        "{ran:#?}"
    );
    // Anyone who writes to a folder can set these times.
    assert!(ran.stderr.contains("--since goes by the times of the files"), "{ran:#?}");
    let listed = archive.run("restore", "--json snapshots").ok().summary();
    assert_eq!(listed["snapshots"], 3);
    archive.run("prune", "key revoke --yes --since 1d --from 2 first\u{e000}host").exits(2);
    archive.restores_all_of_the_past();
}

/// Checks that the owner sees what a prune host has dropped and marked in two entries from `first` on.
fn says_what_is_taken_back(archive: &mut Archive, first: u64) {
    let writers = archive.run("prune", "key writers --json").ok().json();
    let pruner = writers.iter().find(|writer| writer["label"] == "prune host").expect("a line");
    let entries = (&pruner["first_entry"], &pruner["last_entry"]);
    assert_eq!(entries, (&json!(first), &json!(first + 1)), "{pruner}");
    let owner = writers.iter().find(|writer| writer["label"] == "owner").expect("a line");
    assert!(owner["first_entry"].as_u64() > Some(0), "the owner has enrolled: {owner}");

    let dry = format!("key revoke -n --from {first} prune\u{e000}host");
    let shown = archive.run("prune", &dry).ok();
    let all = archive.genuine.len() as u64;
    let back = format!("{all} dropped snapshots are back");
    for words in [&*back, "no longer marked for deletion"] {
        assert!(shown.stderr.contains(words), "{words}: {shown:#?}");
    }
    assert!(shown.stdout.contains("drops") && shown.stdout.contains("marks for deletion"));
    let lines = archive.run("prune", &format!("{dry} --json")).ok().json();
    let (entries, summary) = (&lines[..2], lines.last().expect("a summary"));
    let field = |at: usize, name: &str| entries[at][name].as_u64().expect("a number");
    assert_eq!((field(0, "entry"), field(0, "snapshots_dropped")), (first, all), "{lines:#?}");
    assert_eq!((field(1, "entry"), field(1, "snapshots_dropped")), (first + 1, 0), "{lines:#?}");
    assert!(field(0, "packs_given_up") > 0 && field(1, "packs_given_up") == 0, "{lines:#?}");
    assert_eq!(summary["snapshots_back"], all, "{summary}");
    assert_eq!(summary["packs_back"].as_u64(), Some(field(0, "packs_given_up")), "{summary}");
    // An entry number of the thief that came after the drops takes back nothing of them.
    let later = format!("key revoke -n --json --from {} prune\u{e000}host", first + 1);
    let later = archive.run("prune", &later).ok().summary();
    assert_eq!((&later["snapshots_back"], &later["packs_back"]), (&json!(0), &json!(0)), "{later}");
}
