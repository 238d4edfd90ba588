//! Tests a thief who has robbed a backup host. The thief has the writer credential, and an S3 role that may create
//! objects under `log/`, `checkpoints/`, `meta/`, `hot/` and `packs/`. Whatever the thief puts there, the owner's next
//! three nights delete nothing genuine, every genuine snapshot restores byte for byte, and the first command on the
//! robbed computer reports the attack.
//!
//! libfaketime fakes the clocks of the nights if it is installed; without it, the program runs all of them today.
//!
//! In a bucket, each command runs with the keys of its role, and the server enforces the policies that `icecore policy`
//! prints.

mod attacks;
mod marks;
mod records;
mod revoked;
mod signature;
mod suspects;
mod tools;

use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_engine::store::StoreErrorKind;

use self::attacks::{ATTACKS, Attack, Seen};
use self::tools::{Archive, gone};
use crate::support::write;

/// Number of attacks with void entries that are tested together.
const TOGETHER: usize = 6;

/// Tries attacks on copies of an archive, two copies at a time. Attacks with void entries are tested in groups; each
/// must be reported immediately.
fn try_all(archive: &Archive, attacks: &[&Attack]) {
    let (void, others): (Vec<&Attack>, Vec<&Attack>) =
        attacks.iter().partition(|attack| attack.seen == Seen::Void);
    let groups: Vec<&[&Attack]> = void.chunks(TOGETHER).chain(others.chunks(1)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    outlives(archive.copy(), group);
                }
            });
        }
    });
}

/// Makes some attacks, checks what the owner sees of each, and runs three nights after them.
fn outlives(mut archive: Archive, attacks: &[&Attack]) {
    let name = attacks.iter().map(|attack| attack.name).collect::<Vec<_>>().join(", ");
    let seen = attacks[0].seen;
    let (needed, settings) = (archive.objects(), archive.run("restore", "settings").ok().stdout);
    let thief = archive.thief();
    let mut said = String::new();
    for attack in attacks {
        (attack.act)(&thief);
        said = sees(&mut archive, attack, &said);
    }
    for night in 0..3 {
        archive.sleeps_a_day();
        let is_open = seen == Seen::Void && night == 0;
        write(&archive.host.path(&format!("photos/later-{night}.txt")), format!("{name} {night}"));
        let taken = archive.run("backup", "-q snapshot photos");
        match seen {
            // A host that believes the number of files in the false snapshot finds too few files. It reports this, and
            // nothing is dropped.
            Seen::Plausible(_) | Seen::Robbed => {
                assert!([3, 23].contains(&taken.code), "{name}: {taken:#?}")
            }
            Seen::Void if !is_open => assert_eq!(taken.code, 0, "{name}: {taken:#?}"),
            Seen::Checked => assert_eq!(taken.code, 0, "{name}: {taken:#?}"),
            _ => assert_eq!(taken.code, 23, "{name}: {taken:#?}"),
        }
        let checked = archive.run("restore", "check");
        match seen {
            Seen::Void => {
                assert_eq!(checked.code, if is_open { 23 } else { 0 }, "{name}: {checked:#?}");
            }
            _ => assert!([22, 23].contains(&checked.code), "{name}: {checked:#?}"),
        }
        // A policy may drop a genuine snapshot because of one that looks like it. Then its packs stay for two weeks.
        let is_plausible = seen.is_plausible();
        let policy = format!("--keep-daily 7{} --json", if is_plausible { "" } else { " --now" });
        let planned = (night == 1).then(|| archive.run("prune", &format!("prune -n {policy}")));
        let pruned = archive.run("prune", &format!("prune {policy}"));
        assert!([0, 22, 23].contains(&pruned.code), "{name}: {pruned:#?}");
        if let Some(planned) = planned {
            let (planned, pruned) = (planned.summary(), pruned.summary());
            for field in ["packs_deleted", "bytes_freed", "snapshots_dropped"] {
                assert_eq!(planned[field], pruned[field], "{name}: {field} of the dry run");
            }
        }
        assert_eq!(gone(&needed, &archive.objects()), [""; 0], "{name}: night {night}");
        if is_plausible {
            archive.undeletes();
        }
        archive.restores(night);
        if is_open {
            let numbers = thief.entries.lock().expect("no panic").clone();
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            archive.run("prune", &format!("key dismiss {}", numbers.join(" "))).ok();
        }
    }
    archive.has_slept();
    assert_eq!(archive.run("restore", "settings").ok().stdout, settings, "{name}");
    archive.run("restore", "rebuild-index").ok();
    archive.restores_all();
}

/// Checks what the owner sees first of an attack, on another computer and on the robbed one. Returns the warnings, which
/// must differ from those `before`.
fn sees(archive: &mut Archive, attack: &Attack, before: &str) -> String {
    let Attack { name, seen, .. } = attack;
    let first = archive.run("restore", "snapshots");
    let is_theft = first.stderr.contains("the signature of this computer");
    assert_eq!(is_theft, !matches!(seen, Seen::Void | Seen::Checked), "{name}: {first:#?}");
    let elsewhere = archive.run_elsewhere("snapshots");
    assert!(!elsewhere.stderr.contains("signature of this computer"), "{name}: {elsewhere:#?}");
    match seen {
        Seen::Void => {
            for ran in [&first, &elsewhere] {
                assert!(ran.stderr.contains("warning: the log: entry "), "{name}: {ran:#?}");
            }
            assert_ne!(first.stderr, before, "{name}");
        }
        Seen::Listed(word) | Seen::Plausible(word) => {
            for ran in [&first, &elsewhere] {
                let said = ran.stdout.contains(word) || ran.stderr.contains(word);
                assert!(said, "{name}: {ran:#?}");
            }
        }
        Seen::Robbed => {}
        Seen::Read => _ = archive.run_elsewhere("check --read-data").exits(22),
        Seen::Checked => _ = archive.run_elsewhere("check").exits(22),
    }
    first.stderr
}

#[test]
fn what_a_thief_puts_into_a_folder_destroys_nothing() {
    try_all(&Archive::in_folder(), &ATTACKS.iter().collect::<Vec<_>>());
}

#[test]
fn what_a_thief_puts_into_a_bucket_destroys_nothing() {
    try_all(&Archive::in_bucket(), &ATTACKS.iter().collect::<Vec<_>>());
}

/// The printed policies refuse everything that the thief must not be able to do.
#[test]
fn the_keys_of_a_backup_host_only_add() {
    let mut archive = Archive::in_bucket();
    let thief = archive.thief();
    let before = archive.objects();
    for name in &before {
        let refused = thief.store.delete(name).expect_err("a deletion");
        assert_eq!(refused.kind, StoreErrorKind::Denied, "{name}");
        let may_read = ["log/", "checkpoints/", "config"];
        if !may_read.iter().any(|prefix| name.starts_with(prefix)) {
            let refused = thief.store.get(name, 64 << 20).expect_err("a read");
            assert_eq!(refused.kind, StoreErrorKind::Denied, "{name}");
        }
        // Either the name is taken, or the role may not put such an object.
        let put = thief.store.create(name, "", vec![0].into());
        let is_denied = put.as_ref().is_err_and(|error| error.kind == StoreErrorKind::Denied);
        assert!(is_denied || put.as_ref().is_ok_and(|is_new| !is_new), "{name}: {put:?}");
    }
    // One of these is a key slot whose password the owner has removed.
    for name in [
        "keys/00112233445566778899aabbccddeeff",
        "log/mirror",
        "jobs/0/record",
        "parity/0",
        "other",
    ] {
        let refused = thief.store.create(name, "", vec![0].into()).expect_err("a put");
        assert_eq!(refused.kind, StoreErrorKind::Denied, "{name}");
    }
    let posture = archive.run("backup", "check --posture").ok();
    assert!(posture.stdout.contains("cannot destroy the archive"), "{posture:#?}");
    assert_eq!(archive.objects(), before);
    archive.restores_all();
}
