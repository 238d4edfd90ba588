//! Names, tags, hosts and all typed text are escaped on the terminal: nothing moves the cursor, sets a title, or
//! reverses the direction of a line.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::support::{Host, Ran, objects, write};
use crate::verdicts::overwrite;

/// Text that must never reach a terminal: escapes, a title, a bell, an overwritten line, a single-byte escape, and a
/// direction override.
const EVIL: &str =
    "e\x1b[31m\x1b]0;title\x07\r\u{7f}\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\nx";

fn acts(c: char) -> bool {
    c.is_control() && c != '\n'
        || ('\u{2028}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
        || ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&c)
}

/// Runs a command with arguments separated by `|`; `EVIL` is replaced by the text.
fn run(host: &Host, line: &str) -> Ran {
    let line = line.replace("EVIL", EVIL);
    let mut command: Command = host.command("");
    command.args(line.split('|'));
    let output = command.output().expect("the program starts");
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(text.clone()).expect("what is printed is UTF-8");
        assert!(!text.contains(acts), "{line:?} printed {text:?}");
        assert!(!text.lines().any(|line| line.starts_with('x')), "{line:?} broke a line: {text}");
    }
    Ran::new(&line, &output)
}

#[test]
fn nothing_acts_on_the_terminal() {
    let mut host = Host::new();
    let evil = |name: &str| host.path(name).join(EVIL);
    let not_utf8 = host.path("photos").join(OsStr::from_bytes(b"\x9b31m\xff.jpg"));
    write(&not_utf8, "a photo");
    for file in
        [evil("photos"), evil("photos/folder").join("f"), evil("other").join("f"), evil("files")]
    {
        write(&file, "a photo");
    }
    std::os::unix::fs::symlink(EVIL, host.path("photos/link")).expect("a link");
    std::os::unix::net::UnixListener::bind(host.path(&format!("photos/s{EVIL}")))
        .expect("a socket");
    fs::set_permissions(evil("photos"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("ours");
    run(&host, "snapshot|--init|-v|--tag|EVIL|--host|EVIL|photos");
    write(&evil("photos"), "it has changed");
    run(&host, "snapshot|--host|EVIL|photos");
    host.export_identity();
    let lines = [
        "snapshots",
        "snapshots|--tag|EVIL",
        "snapshots|--host|EVIL",
        "snapshots|--path|EVIL",
        "ls|-l|-R|latest",
        "ls|latest:EVIL",
        "ls|EVIL",
        "find|*",
        "find|EVIL*",
        "find|--snapshot|EVIL|*",
        "diff|latest~1|latest",
        "diff|EVIL|latest",
        "dump|latest:EVIL",
        "dump|latest:photos/folder",
        "dump|latest:photos/folder/EVIL",
        "snapshot|EVIL",
        "snapshot|--exclude|[EVIL|photos",
        "snapshot|--exclude-file|EVIL|photos",
        "restore|latest|--target|other/EVIL",
        "restore|latest|--target|files/EVIL",
        "restore|latest|--target|files/EVIL/x",
        "restore|latest:EVIL|--target|out",
        "restore|latest|--include|EVIL|--target|out1",
        "restore|latest|--plan|--target|EVIL",
        "--repo|EVIL|snapshots",
        "--repo|EVIL://x|snapshots",
        "--repo|s3://EVIL/x|snapshots",
        "-P|EVIL|snapshots",
        "--identity|EVIL|ls|latest",
        "-p|EVIL|ls|latest",
        "-p|files/EVIL|ls|latest",
        "--identity|files/EVIL|ls|latest",
        "--prices|EVIL|--repo|s3://x/y|cost",
        "audit|photos|EVIL",
        "audit|other",
        "audit|photos",
        "--cache-dir|files/EVIL/x|ls|latest",
        "--config-dir|files/EVIL/x|snapshot|photos",
        "prune|-n|--keep-last|1",
        "prune|--forget|EVIL",
        "prune|--keep-within|EVIL",
        "prune|--group-by|EVIL",
        "jobs|EVIL",
        "jobs|resume|EVIL",
        "jobs|cancel|EVIL",
        "check|--read-data|--repair|--seed|EVIL",
        "check|--read-data-subset|EVIL",
        "key|add|--label|EVIL|--new-password-file|other/EVIL/f",
        "key|list",
        "key|remove|EVIL",
        "key|export|--output|files/EVIL",
        "key|export|--output|EVIL/x",
        "cost|--restore|EVIL",
        "policy|backup|--pack-class|EVIL",
        "init|--pack-class|EVIL",
        "completions|EVIL",
        "EVIL",
        "--EVIL",
        "ls|--EVIL",
        "snapshot|--pack-size|EVIL|photos",
        "--color|EVIL|stats",
        "--lock-wait|EVIL|stats",
        "--expect-head|EVIL|stats",
        "help|EVIL",
        "stats|EVIL",
    ];
    for line in lines {
        run(&host, line);
        run(&host, &format!("--json|{line}"));
    }
    // Restore where files are in the way, and with damage.
    run(&host, "restore|latest:photos|--target|out2");
    host.remove("out2/folder");
    write(&host.path("out2/folder"), "in the way");
    run(&host, "restore|latest:photos|--target|out2|--overwrite|never");
    run(&host, "restore|latest:photos|--target|out2|--overwrite|if-changed");
    for prefix in ["hot", "packs", "meta"] {
        objects(&host.path("repo"), prefix).iter().for_each(|pack| overwrite(pack));
        for (number, line) in
            ["check|--read-data", "restore|latest|--target|outN", "ls|-R|latest", "check"]
                .into_iter()
                .enumerate()
        {
            run(&host, &line.replace('N', &format!("{prefix}{number}")));
        }
    }
}
