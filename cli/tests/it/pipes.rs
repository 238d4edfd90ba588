//! Standard output gets results, and standard error everything else; there are no bars or colours
//! without a terminal; and if the reader goes away, a listing ends quietly, but a snapshot
//! continues.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Host, Ran, shoot, write};

fn host_with_snapshots() -> Host {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    shoot(&host.path("photos/later"), 2, 1);
    host.run("snapshot photos").ok();
    host.export_identity();
    host
}

/// Runs a command whose reader has gone before the first byte.
fn unread(host: &Host, line: &str) -> Ran {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = host.command(line).stdout(writer).stderr(Stdio::piped()).output();
    Ran::new(line, &output.expect("the program starts"))
}

#[test]
fn a_closed_pipe_is_no_error() {
    let host = host_with_snapshots();
    let lines = [
        "snapshots",
        "ls -l -R latest",
        "ls --json latest",
        "find *.JPG",
        "diff latest~1 latest",
        "dump latest:photos/IMG_01000.JPG",
        "restore latest --plan",
        "check",
        "stats",
        "prune -n",
        "key list",
        "key export",
        "completions bash",
        "man",
        "--help",
        "restore --help",
    ];
    for line in lines {
        let ran = unread(&host, line).ok();
        assert!(!ran.stderr.contains("error"), "{ran:#?}");
    }
}

#[test]
fn a_reader_who_leaves_does_not_end_a_snapshot_or_a_restore() {
    let host = host_with_snapshots();
    shoot(&host.path("photos/more"), 3, 1);
    // A file about which a line is printed during the snapshot.
    std::os::unix::net::UnixListener::bind(host.path("photos/socket")).expect("a socket");
    unread(&host, "snapshot --json photos").ok();
    let ran = host.run("ls -R latest:photos/more").ok();
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:#?}");
    unread(&host, "restore latest:photos --special --target restored").ok();
    icecore_testkit::tree::assert_same(host.path("photos"), host.path("restored"));
    // The exit code is that of the work, not of the output.
    unread(&host, "restore nothing --target elsewhere").fails(4, &["no snapshot"]);
    let pack = &crate::support::objects(&host.path("repo"), "packs")[0];
    std::fs::remove_file(pack).expect("a pack");
    unread(&host, "check").exits(22);
}

#[test]
fn the_first_line_of_many() {
    let mut host = Host::new();
    for number in 0..3000 {
        let name = format!("photos/a rather long name of a photo, number {number:05}.xmp");
        write(&host.path(&name), "x");
    }
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let mut child = host
        .command("ls -R -l latest")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a piped stdout");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert!(line.ends_with("/\n"), "{line:?}");
    let output = child.wait_with_output().expect("an end");
    let ran = Ran::new("ls | head -1", &output).ok();
    assert_eq!(ran.stderr, "");
}

#[test]
fn results_on_stdout_and_the_rest_on_stderr() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    let ran = host.run("init").ok();
    assert_eq!(ran.stdout, "", "init has no result to print");
    assert!(ran.stderr.contains("key of this computer saved to config/credentials/"), "{ran:#?}");
    assert!(ran.stderr.contains("key export --output identity.html"), "{ran:#?}");
    let ran = host.run("snapshots").ok();
    assert!(ran.stdout.is_empty() && ran.stderr.contains("no snapshots"), "{ran:#?}");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains(" saved\n") && ran.stderr.is_empty(), "{ran:#?}");
    let ran = host.run("ls -R latest:photos").ok();
    assert!(ran.stdout.lines().all(|line| line.contains("photos/")), "{ran:#?}");
    assert_eq!(ran.stderr, "");
    let ran = host.run("find *.CR3").ok();
    assert!(ran.stdout.lines().count() == 1 && ran.stderr.is_empty(), "{ran:#?}");
    assert!(ran.stdout.contains("  in 1 snapshot, "), "{ran:#?}");
    let ran = host.run("find --quiet *.png").fails(4, &["nothing found"]);
    assert_eq!(ran.stdout, "");
    let ran = host.run("ls nothing").fails(4, &["nothing"]);
    assert_eq!(ran.stdout, "");
    let ran = host.run("ls nothing --json").exits(4);
    assert_eq!(ran.stderr, "", "a script reads the error as JSON");
    assert_eq!(ran.summary()["code"], 4);
}

#[test]
fn bars_and_colours_only_where_somebody_watches() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 2);
    let escape = |ran: &Ran| ran.stdout.contains('\x1b') || ran.stderr.contains('\x1b');
    for line in ["snapshot --init photos", "check --read-data", "restore latest --target out"] {
        let ran = host.run(line).ok();
        assert!(!escape(&ran) && !ran.stderr.contains("ETA"), "{ran:#?}");
    }
    assert!(!escape(&host.run("ls nothing").exits(4)));
    assert!(!escape(&host.run("--color never ls nothing").exits(4)));
    let ran = host.run("--color always ls nothing").exits(4);
    assert!(ran.stderr.starts_with("\x1b[1;31merror:\x1b[0m "), "{ran:#?}");
    host.set("NO_COLOR", "1");
    assert!(!escape(&host.run("ls nothing").exits(4)));
    assert!(escape(&host.run("--color always ls nothing").exits(4)), "a flag goes first");
}
