//! What the program shows about writers: in listings, for packs, and before one is revoked. Also tests the warning
//! about a host that has a password.

use serde_json::Value;

use crate::support::{Host, objects, write};
use crate::terminal;

/// Returns a host with an archive that two hosts have written to, opened with the identity.
fn of_two_writers() -> Host {
    let mut host = Host::new();
    host.set("ICECORE_HOST", "studio");
    write(&host.path("photos/first.txt"), "of the first host");
    host.run("snapshot --init photos --tag a-tag-that-takes-room").ok();
    host.export_identity();
    host.set("ICECORE_CONFIG_DIR", "config-2");
    host.run("key enrol --label laptop").ok();
    write(&host.path("photos/second.txt"), "of the second host");
    host.run("snapshot photos").ok();
    host
}

fn of_type(lines: &[Value], message_type: &str) -> Vec<Value> {
    let found = lines.iter().filter(|line| line["message_type"] == message_type);
    found.cloned().collect()
}

fn header(text: &str) -> Vec<&str> {
    text.lines()
        .next()
        .expect("a header")
        .split("  ")
        .map(str::trim)
        .filter(|w| !w.is_empty())
        .collect()
}

#[test]
fn snapshots_name_their_writers_where_there_are_several() {
    let mut one = Host::new();
    write(&one.path("photos/first.txt"), "of the first host");
    one.run("snapshot --init photos").ok();
    one.export_identity();
    // A plan shows the column of histories only if there are several.
    let plan = one.run("prune -n --keep-last 1").ok().stdout;
    assert!(!header(&plan).contains(&"history"), "{plan}");
    one.run("snapshot --history best photos").ok();
    let plan = one.run("prune -n --keep-last 1").ok().stdout;
    assert!(header(&plan).contains(&"history") && plan.contains("best"), "{plan}");
    assert!(!header(&one.run("snapshots").ok().stdout).contains(&"writer"));
    let shown = one.run("snapshots -v").ok().stdout;
    assert!(header(&shown).contains(&"writer") && shown.contains("first host"), "{shown}");

    let host = of_two_writers();
    let shown = host.run("snapshots").ok().stdout;
    assert!(header(&shown).contains(&"writer"), "{shown}");
    assert!(shown.contains("first host") && shown.contains("laptop"), "{shown}");
    let listed = of_type(&host.run("--json snapshots").ok().json(), "snapshot");
    let labels: Vec<&Value> = listed.iter().map(|line| &line["writer_label"]).collect();
    assert_eq!(labels, ["first host", "laptop"]);
    assert_ne!(listed[0]["writer"], listed[1]["writer"]);
    host.run("prune --keep-last 1").ok();
    let dropped = of_type(&host.run("--json snapshots --dropped").ok().json(), "snapshot");
    assert_eq!((dropped.len(), &dropped[0]["writer_label"]), (1, &listed[0]["writer_label"]));

    for line in ["snapshots", "snapshots --dropped", "key writers", "check -v", "check"] {
        for columns in [60, 100] {
            let rows = terminal::rows(host.command(line), columns);
            let is_listing = !line.starts_with("check");
            let wide = rows.iter().filter(|row| row.chars().count() >= columns.into());
            assert!(!is_listing || wide.count() == 0, "{line} at {columns}: {rows:#?}");
            assert!(rows.len() > 1, "{line} at {columns}: {rows:#?}");
        }
    }
}

/// Another computer with the same name and folder has not lost a cache: its files are new to it.
#[test]
fn files_of_a_second_computer_are_new() {
    let mut host = Host::new();
    write(&host.path("photos/a.xmp"), "of the first");
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.set("ICECORE_CONFIG_DIR", "config-2");
    host.set("ICECORE_CACHE_DIR", "cache-2");
    host.run("key enrol --label laptop").ok();
    write(&host.path("photos/a.xmp"), "of the second computer");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("files: 1 new, 0 changed, 0 unmodified"), "{ran:#?}");
    assert!(!ran.stdout.contains("read again"), "{ran:#?}");
    host.remove("cache-2");
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("files: 1 read again"), "{ran:#?}");
}

#[test]
fn check_says_of_each_writer_what_was_read_back() {
    let host = of_two_writers();
    let found = host.run("check").ok().stdout;
    for words in ["oldest not read", "first host", "laptop"] {
        assert!(found.contains(words), "{words}: {found}");
    }
    let lines = host.run("--json check").ok().json();
    let packs = of_type(&lines, "pack");
    let of = |label: &str| packs.iter().filter(|pack| pack["writer_label"] == label).count();
    assert!(of("first host") > 0 && of("laptop") > 0, "{packs:#?}");
    assert_eq!(of("first host") + of("laptop"), packs.len());
    // This check has read listings, but no contents.
    assert!(packs.iter().any(|pack| pack["read"] == false), "{packs:#?}");
    let sums = lines.last().expect("a summary")["writers"].clone();
    let sums = sums.as_array().expect("a list").clone();
    let total: u64 = sums.iter().map(|sum| sum["packs"].as_u64().expect("a number")).sum();
    assert_eq!((sums.len(), total), (2, packs.len() as u64));
    assert!(sums.iter().all(|sum| sum["oldest_unread"].is_string()), "{sums:#?}");

    let read = host.run("--json check --read-data").ok().json();
    let packs = of_type(&read, "pack");
    assert!(packs.iter().all(|pack| pack["read"] == true && pack["read_at"].is_string()));
    let sums = read.last().expect("a summary")["writers"].clone();
    let all_read =
        |sum: &Value| sum["oldest_unread"].is_null() && sum["bytes"] == sum["bytes_read"];
    assert!(sums.as_array().expect("a list").iter().all(all_read), "{sums:#?}");
    let each = host.run("check -v").ok().stdout;
    for pack in &packs {
        let object = pack["object"].as_str().expect("a name");
        assert!(each.contains(object), "{object}: {each}");
    }
}

#[test]
fn a_writer_is_called_as_its_snapshots_call_the_host() {
    let mut host = of_two_writers();
    for (number, (name, line)) in [
        ("tower", "snapshot photos"),
        ("cellar", "snapshot photos --host cellar"),
        ("attic", "--profile nightly snapshot photos"),
        ("shed", "key enrol"),
    ]
    .into_iter()
    .enumerate()
    {
        let config = format!("config-of-{number}");
        host.set("ICECORE_CONFIG_DIR", &config);
        write(&host.path(&format!("{config}/nightly.toml")), "host = \"attic\"\n");
        match name {
            "attic" => host.unset("ICECORE_HOST"),
            "shed" => host.set("ICECORE_HOST", "shed"),
            _ => host.set("ICECORE_HOST", "tower"),
        }
        let ran = host.run(line).ok();
        assert!(ran.stderr.contains(&format!("({name})")), "{ran:#?}");
    }
    // The first two writers both took snapshots that record the host studio.
    let words = ["no writer", "(first host, snapshots of studio)", "(laptop, snapshots of studio)"];
    host.run("key revoke studio").fails(4, &words);
    host.run("key revoke nobody")
        .fails(4, &["(attic, snapshots of attic)", "(shed, no snapshots)"]);
    let revoked = host.run("--json key revoke tower --from 1 --yes").ok().summary();
    assert_eq!(revoked["apart"], 1, "{revoked}");
}

#[test]
fn a_profile_with_a_password_is_said_to_void_the_promise() {
    let host = Host::new();
    write(&host.path("photos/first.txt"), "of the first host");
    host.run("snapshot --init photos").ok();
    let posture = || host.run("--json check --posture").summary()["keys_in_profiles"].clone();
    assert_eq!(posture(), serde_json::json!([]));
    write(&host.path("config/nightly.toml"), "password-file = \"password\"\n");
    write(&host.path("config/elsewhere.toml"), "repo = \"other\"\nidentity = \"identity\"\n");
    let found = serde_json::json!([{ "profile": "nightly", "option": "password-file" }]);
    assert_eq!(posture(), found);
    let said = host.run("check --posture").exits(22).stdout;
    assert!(said.contains("profile nightly contains `password-file`"), "{said}");
}

#[test]
fn options_of_thaws_have_no_effect_in_a_folder() {
    let mut host = Host::new();
    write(&host.path("photos/first.txt"), "of the first host");
    host.run("snapshot --init photos").ok();
    host.export_identity();
    let ran = host.run("restore latest -t a --tier standard --days 3 --max-cost 1").ok();
    let note = "--tier, --days and --max-cost have no effect: the archive is in a folder";
    assert!(ran.stderr.contains(note), "{ran:#?}");
    let ran = host.run("restore latest -t b").ok();
    assert!(!ran.stderr.contains("no effect"), "{ran:#?}");
    let ran = host.run("check --read-data --max-cost 1").ok();
    assert!(ran.stderr.contains("--max-cost has no effect"), "{ran:#?}");
}

#[test]
fn the_owner_is_listed_and_explained() {
    let host = of_two_writers();
    let listed = of_type(&host.run("--json key writers").ok().json(), "writer");
    let owner = listed.last().expect("a line");
    assert_eq!((&owner["label"], &owner["rights"]), (&"owner".into(), &"everything".into()));
    assert_eq!((&owner["snapshots"], &owner["enrolled_by_entry"]), (&0.into(), &Value::Null));
    // Only the owner can rewrite snapshots.
    host.run("rewrite --exclude photos/second.txt").ok();
    let listed = of_type(&host.run("--json key writers").ok().json(), "writer");
    assert_eq!(listed.last().expect("a line")["snapshots"], 1, "{listed:?}");
    for line in ["key writers", "snapshots"] {
        let shown = host.run(line).ok();
        assert!(shown.stdout.contains("owner"), "{shown:#?}");
        assert!(shown.stderr.contains("owner: not a computer"), "{shown:#?}");
    }
    host.run("key revoke owner --yes").fails(2, &["the owner cannot be locked out"]);
}

#[test]
fn without_a_password_a_list_has_what_there_is_to_choose_by() {
    if let Some(why) = terminal::missing() {
        return crate::support::left_out("a narrow list", &why);
    }
    let mut host = of_two_writers();
    host.unset("ICECORE_PASSWORD_FILE");
    host.unset("ICECORE_IDENTITY");
    for columns in [100, 60] {
        let rows = terminal::rows(host.command("snapshots"), columns).join("\n");
        assert!(rows.contains("host") && rows.contains("studio"), "{columns}: {rows}");
        assert!(!rows.contains("paths") && !rows.contains("needs the password"), "{rows}");
    }
}

#[test]
fn a_host_that_was_enrolled_again_keeps_its_name() {
    let host = of_two_writers();
    host.run("key enrol --label studio").ok();
    host.run("key enrol --label studio").ok();
    host.run("key revoke studio --yes").fails(2, &["several writers have the name studio"]);
    let writers = of_type(&host.run("key writers --json").json(), "writer");
    let studio = writers.iter().find(|writer| writer["label"] == "studio").expect("the first");
    let id = studio["id"].as_str().expect("an id").to_owned();
    let planned = host.run(&format!("key revoke {id} -n")).ok();
    assert!(planned.stderr.contains("this would revoke studio"), "{planned:#?}");
    host.run(&format!("key revoke {id} --yes")).ok();
    // The name belongs to the remaining writer.
    host.run("snapshot photos --host shed").ok();
    let ran = host.run("key revoke studio --from 1 --yes").ok();
    assert!(ran.stderr.contains("1 snapshot set apart"), "{ran:#?}");
    host.run("ls latest --host shed").fails(4, &["`icecore snapshots --set-apart` lists them"]);
}

/// A key that cannot be written enrols no writer, because no computer could ever use it.
#[test]
fn a_key_without_a_file_enrols_no_writer() {
    let mut host = Host::new();
    write(&host.path("photos/first.txt"), "of the first host");
    host.run("snapshot --init photos").ok();
    host.export_identity();
    write(&host.path("taken"), "a file of the user");
    let before = host.state("repo");
    for output in ["taken", "no-such-folder/key", "taken/key", "photos"] {
        for line in ["key enrol --label new --output", "key export --prune-host --output"] {
            let failed = host.run(&format!("{line} {output}")).exits(1);
            assert!(failed.stderr.contains(output), "{failed:#?}");
        }
    }
    assert_eq!(std::fs::read(host.path("taken")).expect("a file"), b"a file of the user");
    // A label that is not valid, and a folder for keys that is a file.
    let label = "x".repeat(300);
    host.run(&format!("key enrol --output key --label {label}")).fails(1, &["label"]);
    assert!(!host.path("key").exists(), "a key that is not enrolled stayed");
    host.set("ICECORE_CONFIG_DIR", "config-2");
    write(&host.path("config-2/credentials"), "not a folder");
    for line in ["key enrol --label new", "snapshot photos"] {
        let failed = host.run(line).exits(1);
        assert!(failed.stderr.contains("credentials"), "{failed:#?}");
    }
    assert_eq!(host.state("repo"), before, "a writer was enrolled");
    // A key that the archive did not accept leaves the earlier one of this computer.
    host.set("ICECORE_CONFIG_DIR", "config");
    let keys = || -> Vec<_> {
        let files = objects(&host.path("config"), "credentials").into_iter();
        files.map(|file| (std::fs::read(&file).expect("a key"), file)).collect()
    };
    let before_it = keys();
    assert_eq!(before_it.len(), 1, "{before_it:?}");
    host.run(&format!("key enrol --label {label}")).fails(1, &["label"]);
    assert_eq!(keys(), before_it, "the key of this computer changed");
    host.run("key enrol --label new --output key").ok();
    assert_ne!(host.state("repo"), before);
}

/// A revocation shows the snapshots that come back or are dropped again. That is not the sum of what the entries have
/// done, because one may have undone what another did.
#[test]
fn a_revocation_counts_what_changes() {
    let mut host = Host::new();
    for number in 0..4 {
        write(&host.path(&format!("photos/{number}.txt")), format!("photo {number}"));
        let init = if number == 0 { "--init" } else { "" };
        host.run(&format!("snapshot {init} photos")).ok();
    }
    host.export_identity();
    let visible = |host: &Host| -> Vec<String> {
        let listed = of_type(&host.run("--json snapshots").ok().json(), "snapshot");
        listed.iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
    };
    let ids = visible(&host);
    host.run(&format!("prune --forget {}", ids[1])).ok();
    host.run("key export --prune-host --output pruner").ok();
    let credential = objects(&host.path("config"), "credentials").remove(0);
    std::fs::copy(host.path("pruner"), credential).expect("a key");
    host.unset("ICECORE_IDENTITY");
    // This host drops two snapshots. It undeletes one of them, and the one that the owner has dropped.
    host.run("prune --keep-last 1").ok();
    for id in &ids[..2] {
        host.run(&format!("prune --undelete {id}")).ok();
    }
    assert_eq!(visible(&host), [&*ids[0], &ids[1], &ids[3]]);
    host.set("ICECORE_IDENTITY", "identity");
    let writers = of_type(&host.run("--json key writers").ok().json(), "writer");
    let pruner = writers.iter().find(|writer| writer["label"] == "prune host").expect("a line");
    let revoke = format!("key revoke prune\u{e000}host --from {}", pruner["first_entry"]);
    let planned = host.run(&format!("--json {revoke} -n")).ok().json();
    let entries = of_type(&planned, "entry");
    let sum = |field: &str| -> u64 {
        entries.iter().map(|entry| entry[field].as_u64().expect("a number")).sum()
    };
    assert_eq!((sum("snapshots_dropped"), sum("snapshots_undeleted")), (2, 2), "{planned:#?}");
    let changes = |summary: &Value| {
        ["snapshots_back", "undeletes_void", "apart"].map(|name| summary[name].as_u64())
    };
    let expected = [Some(1), Some(1), Some(0)];
    assert_eq!(changes(planned.last().expect("a summary")), expected, "{planned:#?}");
    let shown = host.run(&format!("{revoke} -n")).ok().stderr;
    for words in [
        "sets apart no snapshot; 1 dropped snapshot is back; 1 undeleted snapshot is dropped again",
        "its host would need a key of `icecore key export --prune-host`",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let done = host.run(&format!("--json {revoke} --yes")).ok().summary();
    assert_eq!(changes(&done), expected, "{done}");
    assert_eq!(visible(&host), [&*ids[0], &ids[2], &ids[3]]);
}
