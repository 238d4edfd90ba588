//! The experience of a person who reads no manual: wrong words, wrong folders, and unanswered questions.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::{Host, left_out, shoot, word, write};
use crate::terminal;

fn archived() -> Host {
    let mut host = Host::new();
    write(&host.path("photos/2024/a.jpg"), "a");
    write(&host.path("photos/b.jpg"), "b");
    host.run("init").ok();
    host.export_identity();
    host.run("snapshot photos").ok();
    host
}

#[test]
fn a_repository_does_not_take_itself_in() {
    let host = Host::new();
    write(&host.path("photos/a.jpg"), "a");
    // As in the README, the archive is in the folder that is archived later.
    host.run("snapshot --init photos").ok();
    let ran = host.run("snapshot .").ok();
    assert!(ran.stdout.contains("/repo, the archive itself"), "{ran:#?}");
    let done = host.run("--json snapshot .").ok().summary();
    let left_out = done["repository_left_out"].as_str().expect("a path");
    assert!(left_out.ends_with("/repo"), "{done}");
    assert!(!host.run("ls -R latest").ok().stdout.contains("repo/"));
    let done = host.run("--json snapshot photos").ok().summary();
    assert!(done["repository_left_out"].is_null(), "{done}");
    let before = host.state("repo");
    for line in ["snapshot repo", "snapshot photos repo/log", "snapshot ./photos/../repo"] {
        let words = [
            "the archive that the snapshot goes to",
            "leaves the archive out by itself",
            "`icecore mirror`",
        ];
        host.run(line).fails(2, &words);
    }
    assert_eq!(host.state("repo"), before);
}

#[test]
fn a_name_of_nothing_is_code_4() {
    let host = archived();
    for (line, said) in [
        ("ls latest:nothing", "is not in the snapshot"),
        ("dump latest:nothing", "is not in the snapshot"),
        ("restore latest:nothing --target out", "is not in the snapshot"),
        ("ls ffffffff", "no snapshot matches"),
        ("diff latest~7 latest", "there is no latest~7: history "),
        ("ls latest^", "no snapshot matches \"latest^\""),
        ("ls latest --host nowhere", "there is no snapshot of --host nowhere"),
        ("ls latest --tag a --history b", "there is no snapshot of --history b --tag a"),
        ("restore latest~1 --target out --path /mnt", "there is no snapshot of --path /mnt"),
        ("find *.jpg --host nowhere", "there is no snapshot of --host nowhere"),
        ("history photos/b.jpg --tag nothing", "there is no snapshot of --tag nothing"),
        ("tag add ffffffff best", "no snapshot matches"),
        ("accept ffffffff", "no snapshot matches"),
        ("prune --forget ffffffff", "no snapshot matches"),
        ("prune --undelete ffffffff", "no dropped snapshot matches"),
        ("retire nowhere", "no history is called"),
        ("jobs ffffffff", "no job matches"),
        ("jobs resume ffffffff", "no job matches"),
        ("key remove ffffffff", "no key matches"),
        ("key revoke nobody", "no writer has the name"),
        ("key dismiss 4000", "the log has no entry 4000"),
        ("find nothing", "nothing found"),
        ("history photos/nothing", "no snapshot contains"),
        ("rewrite --exclude photos/nothing", "no snapshot contains"),
    ] {
        host.run(line).fails(4, &[said]);
    }
    // An empty list is not a failure.
    for line in ["snapshots --host nowhere", "jobs", "snapshots --dropped"] {
        host.run(line).ok();
    }
    host.run("snapshot photos/nothing").fails(1, &["photos/nothing", "check the path"]);
}

#[test]
fn a_dropped_snapshot_and_other_names_of_a_path_are_known() {
    let mut host = archived();
    let all = host.run("--json snapshots").ok().json();
    let id = all[0]["id"].as_str().expect("an id")[..8].to_owned();
    host.run("snapshot photos").ok();
    host.run(&format!("prune --forget {id}")).ok();
    for line in [format!("ls {id}"), format!("restore {id} --target out")] {
        let hint = format!("`icecore prune --undelete {id}`");
        host.run(&line).fails(4, &["was dropped", &hint]);
    }
    // A path may begin in the current folder, and a shell does not expand `~` after a colon.
    let here = host.path("").canonicalize().expect("a folder");
    host.set("HOME", here.to_str().expect("a plain path"));
    host.run(&format!("snapshot {}", word(&host.path("photos")))).ok();
    let path = here.join("photos/2024/a.jpg").display().to_string();
    for typed in ["photos/2024", "~/photos/2024"] {
        let ran = host.run(&format!("ls latest:{typed}")).ok();
        assert_eq!(format!("/{}", ran.stdout.trim_end()), path, "{typed}");
    }
}

#[test]
fn commands_of_other_habits_are_led_on() {
    let host = archived();
    host.run("init /mnt/archive").fails(2, &["`icecore --repo /mnt/archive init`"]);
    host.run("restore latest ./one").fails(2, &["--target ./one"]);
    for (command, below) in [("policy", "backup"), ("key", "list"), ("tag", "add")] {
        let said = format!("`icecore {command}` is missing a command");
        host.run(command).fails(2, &[&said, &format!("one of: {below}, ")]);
    }
    // The repository in the environment has no effect.
    let mut bare = Host::new();
    bare.unset("ICECORE_REPOSITORY");
    bare.run("policy").fails(2, &["`icecore policy` is missing a command"]);
    for host in [&host, &bare] {
        assert!(host.run("").exits(2).stderr.contains("Usage: icecore [OPTIONS] <COMMAND>"));
    }
    host.run("help restor").fails(2, &["no command 'restor'", "`icecore help restore`"]);
    host.run("man snapsho").fails(2, &["no command \"snapsho\"", "`icecore man snapshot`"]);
    let words = ["missing --overwrite", "--overwrite if-changed"];
    host.run("restore latest --target out --delete").fails(2, &words);
    host.run("--repo s3.eu-central-1.wasabisys.com/b snapshots")
        .fails(2, &["a server, not of a folder", "write s3://b, and set AWS_ENDPOINT_URL"]);
    host.run("--repo arn:aws:s3:::b snapshots")
        .fails(2, &["policies name a bucket", "write s3://b"]);
    host.run("--repo nowhere snapshots").fails(10, &["`icecore --repo nowhere init`"]);
    host.run("key export --output page.pdf").fails(2, &["page.pdf", ".html, .svg or .txt"]);
    assert!(!host.path("page.pdf").exists());
    let ran = host.run("key export --prune-host --output prune.credential").ok();
    let place = "~/.config/icecore/credentials/";
    let id = host.run("--json key export").ok().summary()["repository"].clone();
    let name = format!("{place}{}.prune.credential", id.as_str().expect("an id"));
    assert!(ran.stderr.contains(&name), "{ran:#?}");
    // On a host with this file, the credential opens the archive for a prune.
    let other = host.copy();
    let file = format!("config/credentials/{}.prune.credential", id.as_str().expect("an id"));
    fs::copy(host.path("prune.credential"), other.path(&file)).expect("copied");
    let mut other = other;
    other.unset("ICECORE_IDENTITY");
    other.run("prune --keep-last 1").ok();
    // The host adds snapshots as before.
    other.run("snapshot photos").ok();
}

/// A mistyped host or tag must not look like a policy that keeps everything.
#[test]
fn options_that_choose_nothing_are_said() {
    let host = archived();
    for line in [
        "prune --host nosuch",
        "prune -n --keep-last 1 --tag nosuch",
        "prune --path nosuch",
        "snapshots --history nosuch",
        "snapshots --dropped --host nosuch",
        "retire --host nosuch",
    ] {
        let ran = host.run(line).ok();
        assert!(ran.stderr.contains("warning: --"), "{ran:#?}");
        assert!(ran.stderr.contains("nosuch: no "), "{ran:#?}");
        let json = host.run(&format!("--json {line}")).ok();
        assert!(json.stdout.contains("snapshot matches"), "{json:#?}");
    }
    for line in ["prune -n --keep-last 1", "snapshots", "snapshots --dropped", "retire"] {
        assert!(!host.run(line).ok().stderr.contains("warning"), "{line}");
    }
}

#[test]
fn what_is_too_old_is_said_with_the_oldest() {
    let host = archived();
    host.run("snapshot photos").ok();
    let all = host.run("--json snapshots").ok().json();
    let oldest = all[0]["id"].as_str().expect("an id")[..8].to_owned();
    let of = |name: &str| format!("ls {name}");
    let oldest_one = format!("the oldest one is {oldest}, taken 20");
    host.run(&of("latest@2020-01-01"))
        .fails(4, &["no snapshot was taken before 2020-01-01", &oldest_one]);
    host.run(&of("latest@2020-01-01T14:30:/home"))
        .fails(4, &["no snapshot was taken before 2020-01-01T14:30", &oldest_one]);
    let last = format!("the oldest one is latest~1: {oldest}, taken 20");
    for name in ["latest~9", "latest~2", "latest~99999999999999999999"] {
        let said = format!("there is no {name}: history ");
        host.run(&of(name)).fails(4, &[&said, " has 2 snapshots", &last]);
    }
    host.run("diff latest~9 latest").fails(4, &["there is no latest~9"]);
    for name in ["latest~", "latest~x"] {
        host.run(&of(name)).fails(4, &["no snapshot matches", "latest~2 or latest@"]);
    }
    host.run(&of("latest-1")).fails(4, &["no snapshot matches", "did you mean latest~1?"]);
    let empty = Host::new();
    empty.run("init").ok();
    empty.run("ls latest").fails(4, &["the archive has no snapshots", "`icecore snapshot PATH`"]);
}

#[test]
fn what_was_erased_cannot_be_undeleted_and_says_so() {
    for line in ["prune --now --keep-last 1", "rewrite --now --yes --exclude photos/2024"] {
        let mut host = Host::new();
        shoot(&host.path("photos/2024"), 1, 1);
        write(&host.path("photos/b.jpg"), "b");
        host.run("init --pack-size 4MiB").ok();
        host.export_identity();
        let taken = host.run("--json snapshot photos").ok().summary();
        let id = taken["snapshot_id"].as_str().expect("an id")[..8].to_owned();
        if line.starts_with("prune") {
            host.remove("photos/2024/IMG_01000.CR3");
            host.run("snapshot photos").ok();
        }
        host.run(line).ok();
        let words =
            ["cannot be undeleted: data that only it had was erased", "snapshots --dropped"];
        host.run(&format!("prune --undelete {id}")).fails(1, &words);
        let ran = host.run(&format!("ls {id}")).fails(4, &["was dropped, and cannot be undeleted"]);
        assert!(!ran.stderr.contains("prune --undelete"), "{ran:#?}");
    }
}

#[test]
fn what_was_done_already_is_said_and_not_done_again() {
    let host = archived();
    host.run("key enrol --label studio --output studio.credential").ok();
    for late in ["--from 4000", "--since 2999-01-01"] {
        let words =
            if late.starts_with("--from") { "the log ends at entry" } else { "in the future" };
        host.run(&format!("key revoke --yes studio {late}"))
            .fails(2, &[words, "so far still counts"]);
    }
    let revoked = host.run("--json key revoke --yes studio").ok().summary();
    let before = host.state("repo");
    for line in ["key revoke studio", "key revoke studio --from 4000", "key revoke -n studio"] {
        let ran = host.run(line).ok();
        assert!(ran.stdout.contains("is already revoked from entry "), "{ran:#?}");
    }
    assert_eq!(host.run("--json key revoke --yes studio").ok().summary()["from"], revoked["from"]);
    assert_eq!(host.state("repo"), before, "nothing was written");
    // Revoking from an earlier entry on is a different request.
    let ran = host.run("key revoke studio --from 1 --yes").ok();
    assert!(ran.stderr.contains("revoked writer"), "{ran:#?}");
}

#[test]
fn a_catalog_that_was_rebuilt_was_not_missing() {
    let host = archived();
    host.run("rebuild-index").ok();
    for line in ["-v snapshots", "snapshot photos"] {
        let ran = host.run(line).ok();
        assert!(!ran.stderr.contains("missing") && !ran.stdout.contains("missing"), "{ran:#?}");
    }
}

#[test]
fn a_file_below_two_paths_is_one_file() {
    let host = archived();
    write(&host.path("photos/2024/.DS_Store"), "litter");
    for line in ["audit photos photos/2024", "audit photos/2024 photos photos/2024/a.jpg photos"] {
        let ran = host.run(line).ok();
        assert!(ran.stdout.contains("All 2 files (2 B) are archived"), "{ran:#?}");
        assert!(ran.stderr.contains("left out: 1 file or folder that"), "{ran:#?}");
    }
    write(&host.path("photos/2024/c.jpg"), "c");
    let ran = host.run("audit photos photos/2024").exits(3);
    assert!(ran.stdout.contains("1 of 3 files is not archived"), "{ran:#?}");
}

#[test]
fn one_and_several_are_told_apart() {
    let host = archived();
    let all = host.run("--json retire").ok().json();
    let id = all[0]["id"].as_str().expect("an id").to_owned();
    host.run(&format!("prune --forget latest --history {id}"))
        .fails(2, &["every snapshot of a history would be dropped"]);
    let ran = host.run(&format!("retire {id}")).ok();
    assert!(ran.stderr.contains("frees its space"), "{ran:#?}");
    assert!(ran.stderr.contains("brings it back"), "{ran:#?}");
}

#[test]
fn the_first_snapshot_is_all_new() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 3);
    let made = host.run("snapshot --init photos").ok();
    assert!(made.stdout.contains("files: 9 new, 0 changed, 0 unmodified"), "{made:#?}");
    // Listings do not count as bytes of files.
    let again = host.run("snapshot photos").ok();
    assert!(
        again.stdout.contains(" in all; nothing to store but its list of files, which takes "),
        "{again:#?}"
    );
}

/// A photographer need not know the internals of an archive in the first days. `-v` shows more.
#[test]
fn no_command_of_the_first_days_speaks_of_the_inside() {
    let host = Host::new();
    shoot(&host.path("photos"), 1, 3);
    let mut all = vec![host.run("init").ok(), host.run("snapshot photos").ok()];
    fs::remove_file(host.path("photos/IMG_01000.CR3")).expect("culled");
    all.push(host.run("snapshot photos").ok());
    for line in [
        "snapshots",
        "ls -l latest",
        "find *.CR3",
        "history photos/IMG_01000.CR3",
        "diff latest~1 latest",
        "restore latest -t out",
        "restore latest --plan",
        "check",
        "check --read-data",
        "check --read-data --repair",
        "stats",
        "settings",
        "audit photos",
        "key list",
        "key writers",
        "jobs",
        "retire",
        "prune -n --keep-last 1",
        "prune --keep-last 1",
        "snapshots --dropped",
        "prune -n --now",
        "prune --now",
        "rebuild-index",
        "rewrite -n --exclude photos/IMG_01001.CR3",
        "rewrite -n --now --exclude photos/IMG_01001.CR3",
    ] {
        all.push(host.run(line).ok());
    }
    for ran in all {
        let words = format!("{} {}", ran.stdout, ran.stderr).to_lowercase();
        let mut words = words.split(|c: char| !c.is_alphabetic());
        let inside = ["pack", "packs", "chunk", "chunks", "slot", "slots", "head", "tombstone"];
        assert_eq!(words.find(|word| inside.contains(word)), None, "{ran:#?}");
        let said = ran.stdout.replace('\n', " ");
        for none in [" 0 objects", " 0 dropped", " 0 repacked", " 0 would"] {
            assert!(!format!(" {said}").contains(none), "{ran:#?}");
        }
    }
}

#[test]
fn ctrl_c_at_a_question_ends_with_130() {
    if let Some(why) = terminal::missing() {
        return left_out("a question on a terminal", &why);
    }
    let mut host = archived();
    host.unset("ICECORE_IDENTITY");
    let asking = host.command("ls latest");
    // `setsid` separates the program from this terminal.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(asking.get_program()).args(asking.get_args());
    command.env_clear().current_dir(host.path(""));
    for (name, value) in asking.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    let (mut user, program) = terminal::pair(100);
    let copy = || Stdio::from(program.try_clone().expect("a descriptor"));
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let Ok(mut child) = command.spawn() else {
        return left_out("a question on a terminal", "there is no `setsid`");
    };
    drop(command);
    drop(program);
    let (mut said, mut bytes, mut is_asked) = (String::new(), [0; 4096], false);
    while let Ok(count @ 1..) = user.read(&mut bytes) {
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if !is_asked && said.contains("Password") {
            is_asked = true;
            user.write_all(b"\x03").expect("it is typed");
        }
    }
    let code = child.wait().expect("it ends").code();
    if !is_asked && said.contains("setsid") {
        return left_out("a question on a terminal", &said);
    }
    assert_eq!(code, Some(130), "{said}");
    assert!(!said.contains("error") && !said.contains("Stopping"), "{said}");
}

#[test]
fn files_that_come_back_are_counted_as_such() {
    let host = Host::new();
    for photo in 0..30 {
        write(&host.path(&format!("photos/{photo}.cr3")), format!("photo {photo}"));
    }
    host.run("snapshot --init photos").ok();
    fs::create_dir(host.path("away")).expect("a folder");
    for photo in 5..30 {
        let name = format!("{photo}.cr3");
        fs::rename(host.path("photos").join(&name), host.path("away").join(&name)).expect("a move");
    }
    // A dry run makes nothing that could be accepted.
    let dry = host.run("snapshot -n photos").exits(3);
    assert!(dry.stderr.contains("it would be marked"), "{dry:#?}");
    assert!(dry.stderr.contains("accept the snapshot once it is taken"), "{dry:#?}");
    assert!(!dry.stderr.contains("icecore accept"), "{dry:#?}");
    host.run("snapshot photos").exits(3);
    host.run("accept latest").ok();
    for photo in 5..30 {
        let name = format!("{photo}.cr3");
        fs::rename(host.path("away").join(&name), host.path("photos").join(&name)).expect("a move");
    }
    write(&host.path("photos/new.cr3"), "a new photo");
    let counts = "files: 1 new, 25 known from earlier snapshots, 0 changed, 5 unmodified";
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains(counts) || ran.stderr.contains(counts), "{ran:#?}");
    let diff = host.run("diff latest~1 latest").ok().stdout;
    assert_eq!(diff.lines().filter(|line| line.starts_with("+ ")).count(), 26, "{diff}");
    let summary = host.run("--json snapshot photos").ok().summary();
    assert_eq!((&summary["files_back"], &summary["files_unmodified"]), (&0.into(), &31.into()));
}
