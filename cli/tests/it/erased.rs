//! `rewrite` reports which contents stay and which it has erased. What `prune` reports and does agrees with that.

use std::time::Duration;

use icecore_testkit::{S3Server, photos};

use crate::support::{Host, write};
use crate::thaw::number;

const DAY: Duration = Duration::from_secs(86_400);

/// Takes two snapshots of two clients' photos and notes; returns the ids. The snapshots share no entry of a folder:
/// listings are cut by a secret of the archive, and a part with the same entries would be stored once for both.
fn clients(host: &Host) -> [String; 2] {
    [1, 2].map(|round| {
        for (name, seed) in [("jones", 1), ("miller", 50)] {
            for entry in
                std::fs::read_dir(host.path(&format!("photos/{name}"))).into_iter().flatten()
            {
                let earlier =
                    std::fs::File::options().write(true).open(entry.expect("a file").path());
                earlier.and_then(|file| file.set_modified(std::time::UNIX_EPOCH)).expect("a time");
            }
            let file = format!("photos/{name}/{round}.CR3");
            write(&host.path(&file), photos::bytes(seed + round, 700_000));
            let note = format!("photos/{name}/{round}.txt");
            write(&host.path(&note), format!("note {round} of {name}"));
        }
        let done = host.run("--json snapshot photos").ok().summary();
        done["snapshot_id"].as_str().expect("an id")[..8].to_owned()
    })
}

fn in_bucket(server: &S3Server) -> Host {
    let mut host = Host::with_bucket(server);
    host.run("init --pack-size 64MiB").ok();
    host.export_identity();
    host
}

/// Returns the text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?}: {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?}: {text}")).0
}

#[test]
fn what_stays_goes_with_the_prune_that_rewrite_names() {
    let server = S3Server::start();
    let host = in_bucket(&server);
    let [first, _] = clients(&host);
    host.run(&format!("prune --forget {first}")).ok();
    server.advance(20 * DAY);
    let line = "rewrite --exclude photos/miller/1.txt";
    let told = host.run(&format!("--json {line} -n")).ok().summary();
    let shown = host.run(&format!("{line} -n")).ok().stdout;
    let ran = host.run(line).ok().stdout;
    let pruned = host.run("prune -n").ok().stdout;
    // The notes are in GLACIER_IR, and the listings in STANDARD, which has no minimum days.
    let day = between(&pruned, " stay until ", ", ");
    let stays = format!("stays until an `icecore prune` on {day} or later: ");
    assert!(shown.contains(&stays) && ran.contains(&stays), "{shown}\n{ran}\n{pruned}");
    let can = format!("the replaced snapshot can be undeleted until {day}: ");
    assert!(ran.contains(&can), "{ran}");
    let json = host.run("--json prune -n").ok().summary();
    let until = |json: &serde_json::Value| json["until"].as_str().map(|time| time[..10].to_owned());
    let held = json["recoverable"].as_array().expect("a list").iter().filter_map(until).max();
    assert_eq!(told["stays_until"].as_str().map(|time| time[..10].to_owned()), held, "{told}");
    // Ninety days after the snapshots, and no earlier.
    server.advance(69 * DAY);
    assert_eq!(number(&host.run("--json prune").ok().summary(), "packs_deleted"), 0.0);
    server.advance(2 * DAY);
    let done = host.run("--json prune").ok().summary();
    assert!(number(&done, "packs_deleted") >= number(&told, "packs_whole"), "{done} {told}");
    assert!(number(&told, "packs_whole") >= 1.0, "{told}");
}

#[test]
fn what_leaves_on_two_days_is_named_with_both() {
    let server = S3Server::start();
    let host = in_bucket(&server);
    write(&host.path("photos/jones/1.CR3"), photos::bytes(1, 700_000));
    host.run("snapshot photos").ok();
    write(&host.path("photos/miller/1.CR3"), photos::bytes(2, 700_000));
    write(&host.path("photos/miller/1.txt"), "note 1 of miller");
    host.run("snapshot photos").ok();
    let days = |json: &serde_json::Value| {
        let waiting = json["packs_waiting"].as_array().expect("a list").iter();
        let days = waiting.map(|pack| pack["free_on"].as_str().expect("a time")[..10].to_owned());
        days.collect::<std::collections::BTreeSet<String>>()
    };
    let drop = "prune -n --forget latest --forget latest~1 --allow-empty --now";
    let found = days(&host.run(&format!("--json {drop}")).ok().summary());
    assert_eq!(found.len(), 2, "{found:?}");
    let shown = host.run(drop).ok().stdout;
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("deleting sooner")).collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(!shown.contains("or later"), "{shown}");
    assert!(lines[0].contains(" in 1 object will be deleted on "), "{shown}");
    assert!(lines[1].contains(" in 2 objects will be deleted on "), "{shown}");
    // What a rewrite leaves waits too, although the new snapshot still names it.
    let told = host.run("--json rewrite --exclude photos/miller").ok().summary();
    let found = days(&host.run("--json prune -n").ok().summary());
    // The last day is the one that `rewrite` has named.
    let day = told["stays_until"].as_str().map(|time| time[..10].to_owned());
    assert_eq!((day.is_some(), found.last()), (true, day.as_ref()), "{told}");
}

#[test]
fn proof_is_given_only_when_nothing_can_be_undeleted() {
    let mut host = Host::new();
    host.run("init --pack-size 1MiB").ok();
    host.export_identity();
    let [first, second] = clients(&host);
    host.run(&format!("prune --forget {first}")).ok();
    let proof = "no snapshot contains these files any more";
    let ran = host.run("rewrite --exclude photos/miller").ok();
    assert!(!ran.stdout.contains(proof), "{ran:#?}");
    let listed = "1 snapshot replaced: no snapshot that is listed contains these files any more; their contents and names stay until ";
    assert!(ran.stdout.contains(listed), "{ran:#?}");
    // It says the truth.
    host.run(&format!("prune --undelete {second}")).ok();
    host.run(&format!("dump {second}:photos/miller/1.txt")).ok();
    let ran = host.run("rewrite --now --yes --exclude photos/miller").ok();
    assert!(ran.stdout.contains(&format!("1 snapshot replaced: {proof}")), "{ran:#?}");
    for id in [first, second] {
        host.run(&format!("prune --undelete {id}")).exits(1);
    }
    // After a rewrite without --now, nothing is replaced any more.
    write(&host.path("photos/miller/3.txt"), "note 3");
    host.run("snapshot photos").ok();
    host.run("rewrite --exclude photos/miller").ok();
    let ran = host.run("rewrite --now --yes --exclude photos/miller").ok();
    assert!(ran.stdout.lines().any(|line| line == proof), "{ran:#?}");
}

#[test]
fn what_is_erased_before_a_thaw_is_named() {
    let server = S3Server::start();
    let host = in_bucket(&server);
    let [first, second] = clients(&host);
    let line = "rewrite --now --yes --max-cost 5 --exclude photos/miller";
    let ran = host.run(line).exits(20).stdout;
    assert!(ran.contains("2 snapshots replaced\n"), "{ran}");
    assert!(ran.contains("erased already: ") && ran.contains(" deleted, for good; "), "{ran}");
    assert!(ran.contains("not erased yet: "), "{ran}");
    // Their notes are gone, so they cannot be undeleted, and the output says so.
    let lost = between(&ran, "; snapshots ", " can no longer be undeleted");
    assert!(lost.contains(&first) && lost.contains(&second), "{ran}");
    assert!(!ran.contains("can still be undeleted"), "{ran}");
    for id in [&first, &second] {
        host.run(&format!("prune --undelete {id}")).exits(1);
    }
    server.advance(49 * DAY / 24);
    let ran = host.run(line).ok().stdout;
    assert!(ran.contains("no snapshot contains these files any more"), "{ran}");
}

/// A snapshot that contains nothing else is dropped and not replaced.
#[test]
fn a_plan_says_which_snapshots_are_dropped() {
    let host = Host::new();
    for (name, line) in [("jones", "snapshot --init photos"), ("miller", "snapshot photos")] {
        write(&host.path(&format!("photos/{name}/note.txt")), format!("note of {name}"));
        host.run(line).ok();
    }
    for (exclude, those) in [
        ("photos/miller", "the replaced snapshot"),
        ("photos/jones", "the replaced and dropped snapshots"),
        ("photos", "the dropped snapshots"),
    ] {
        let shown = host.run(&format!("rewrite -n --exclude {exclude}")).ok().stdout;
        assert!(shown.contains(&format!("\n{those} can be undeleted until ")), "{shown}");
    }
    let can = "without --now, the replaced and dropped snapshots can be undeleted for a while";
    host.run("rewrite --now --exclude photos/jones").fails(2, &[can]);
}
