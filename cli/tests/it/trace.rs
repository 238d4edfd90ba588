//! `-vv` and `ICECORE_LOG` show the decisions and waits of an unattended run.

use crate::support::{Host, shoot};
use crate::terminal::rows;

#[test]
fn decisions_are_shown_and_names_are_not() {
    let mut host = Host::new();
    shoot(&host.path("photos/miller"), 1, 1);
    shoot(&host.path("photos/jones"), 2, 2);
    host.run("snapshot --init photos").ok();
    host.export_identity();
    std::fs::remove_dir_all(host.path("photos/miller")).expect("the folder");
    host.run("snapshot photos").ok();
    let line = "prune -n --keep-last 1 --now";
    assert!(!host.run(&format!("-v {line}")).ok().stderr.contains("DEBUG"));
    let ran = host.run(&format!("-vv {line}")).ok();
    // The message is a sentence, without names of the source code.
    let words =
        "DEBUG kept snapshots need some of this pack: repacked: repacking is free here pack=";
    assert!(ran.stderr.contains(words), "{ran:#?}");
    assert!(!ran.stderr.contains("::") && !ran.stderr.contains("{ "), "{ran:#?}");
    // A lost catalog is rebuilt, and the log says so.
    host.remove("cache");
    host.set("ICECORE_LOG", "info");
    let ran = host.run("check --read-data").ok();
    assert!(ran.stderr.contains("building the catalog from the log"), "{ran:#?}");
    host.set("ICECORE_LOG", "trace");
    let ran = host.run("restore latest --target out").ok();
    for secret in ["miller", "jones", "IMG_", host.path("").to_str().expect("a path")] {
        let shown = ran.stderr.lines().find(|line| line.contains(secret));
        assert_eq!(shown, None, "{secret}");
    }
    host.set("ICECORE_LOG", "loud");
    host.run("snapshots").fails(2, &["ICECORE_LOG=loud is not a level", "debug or trace"]);
}

#[test]
fn a_terminal_gets_events_broken_between_words() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.remove("cache");
    if crate::terminal::missing().is_some() {
        return;
    }
    let rows = rows(host.command("-vv stats"), 40);
    let at = rows.iter().position(|row| row.contains("INFO")).expect("an event");
    let event = rows[at..=at + 1].join(" ");
    assert!(event.ends_with("Z  INFO building the catalog from the log"), "{rows:#?}");
}
