//! What typed paths mean: however a folder is named, it is the same folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use icecore_testkit::tree;

use crate::support::{Host, Ran, assert_unchanged, word, write};

/// A name with the accent as most people type it; below, as a Mac stores it.
const ONE: &str = "M\u{fc}ller";
const TWO: &str = "Mu\u{308}ller";

fn host() -> Host {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    host
}

fn run_in(host: &Host, folder: &str, line: &str) -> Ran {
    let mut command = host.command(line);
    for name in ["IDENTITY", "REPOSITORY", "CONFIG_DIR", "CACHE_DIR"] {
        let file = name.trim_end_matches("_DIR").to_lowercase().replace("repository", "repo");
        command.env(format!("ICECORE_{name}"), host.path(&file));
    }
    let output = command.current_dir(host.path(folder)).output();
    Ran::new(line, &output.expect("the program starts"))
}

fn listed(host: &Host, line: &str) -> usize {
    host.run(&format!("--json snapshots {line}")).ok().json().len() - 1
}

#[test]
fn one_history_restores_to_one_layout() {
    let host = host();
    write(&host.path("home/Photos/2024/a.CR3"), "a photo");
    symlink("Photos", host.path("home/link")).expect("a symlink");
    let full = word(&host.path("home/Photos"));
    let at_full_path = full.trim_start_matches('/');
    let spellings = [
        ("home", "Photos", "Photos"),
        ("home", full.as_str(), at_full_path),
        ("home/Photos", ".", ""),
        ("home/Photos/2024", "..", at_full_path),
        ("", "home/Photos/", "home/Photos"),
        ("", "./home//Photos", "home/Photos"),
        ("home", "link", at_full_path),
    ];
    for (folder, typed, _) in spellings {
        run_in(&host, folder, &format!("snapshot {typed}")).ok();
    }
    let snapshots = host.run("--json snapshots").ok().json();
    assert_eq!(snapshots.len(), 7 + 1);
    assert!(snapshots[..7].iter().all(|one| one["history"] == snapshots[0]["history"]));
    let photos = host.state("home/Photos");
    for (one, (_, typed, restored)) in snapshots.iter().zip(spellings) {
        let id = one["id"].as_str().expect("an id");
        host.run(&format!("restore {id} --target back")).ok();
        let back = tree::snapshot_of(host.path("back").join(restored));
        assert_unchanged(&photos, &back, typed);
        assert_eq!(fs::read_dir(host.path("back")).expect("a folder").count(), 1, "{typed}");
        host.remove("back");
    }
    // A relative path in a snapshot begins in the current folder, and `~` is the home folder.
    for (folder, typed) in
        [("home", "Photos/2024/a.CR3"), ("home/Photos", "2024/a.CR3"), ("", "~/Photos/2024/a.CR3")]
    {
        let ran = run_in(&host, folder, &format!("dump -q latest:{typed}")).ok();
        assert_eq!(ran.stdout, "a photo", "{typed}");
    }
    // icecore expands a `~` that the shell has left because of quotes.
    let ran = host.run("history ~/Photos/2024/a.CR3").ok();
    assert!(ran.stdout.contains("a.CR3"), "{ran:#?}");
    let ran = host.run("rewrite -n --exclude ~/Photos/2024").ok();
    assert!(ran.stdout.contains("Photos/2024"), "{ran:#?}");
    run_in(&host, "home", "dump latest:2024/a.CR3").fails(4, &["is not in the snapshot"]);
}

#[test]
fn an_accent_is_the_same_in_either_form() {
    for (stored, typed) in [(ONE, TWO), (TWO, ONE)] {
        let host = host();
        write(&host.path(stored).join("a.jpg"), "a");
        write(&host.path("other/b.jpg"), "b");
        // The folder is found in both forms.
        host.run(&format!("snapshot {typed}")).ok();
        host.run("snapshot other").ok();
        let (as_typed, full) = (typed.to_owned(), word(&host.path(typed)));
        for path in [&as_typed, &full] {
            assert_eq!(listed(&host, &format!("--path {path}")), 1, "{path}");
            host.run(&format!("ls latest --path {path}")).ok();
            let audit = host.run(&format!("audit {path}")).ok();
            assert!(audit.stdout.contains("The file (1 B) is archived"), "{audit:#?}");
        }
        // On another computer there is no such folder.
        fs::rename(host.path(stored), host.path("away")).expect("it moves");
        assert_eq!(listed(&host, &format!("--path {full}")), 1);
        let pruned = host.run(&format!("prune -n --keep-last 1 --path {full}")).ok();
        assert!(!pruned.stderr.contains("no snapshot matches"), "{pruned:#?}");
        // The snapshot is found without the identity, too.
        let mut sealed = host.copy();
        sealed.unset("ICECORE_IDENTITY");
        assert_eq!(listed(&sealed, &format!("--path {full}")), 1);
        fs::rename(host.path("away"), host.path(stored)).expect("it moves");
        let ran = host.run(&format!("rewrite --exclude {full}")).ok();
        assert!(ran.stderr.contains("is still on this computer"), "{ran:#?}");
    }
}

#[test]
fn a_new_history_is_said() {
    let host = host();
    write(&host.path("photos/a.jpg"), "a");
    write(&host.path("films/b.mov"), "b");
    write(&host.path("config/nightly.toml"), "tag = []\n");
    let begins = "this begins a new history";
    let check = |line: &str, words: &[&str]| {
        let ran = host.run(line).ok();
        assert_eq!(ran.stderr.contains(begins), !words.is_empty(), "{ran:#?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word}: {ran:#?}");
        }
    };
    check("snapshot --host mac photos", &[]);
    check("snapshot --host mac photos", &[]);
    check("snapshot --host mac films", &["of other folders", "--history NAME"]);
    check("snapshot --host mac photos", &[]);
    check("snapshot --host mac -P nightly photos", &["nightly", "without a profile"]);
    check("snapshot --host mac -P nightly photos films", &[]);
    check("snapshot --host nas -P nightly photos", &["from host mac", "--host mac"]);
    check("snapshot --host mac --history best photos", &["use --history nightly"]);
    check("snapshot --host pi photos", &["of these folders are from host mac"]);
    write(&host.path("scans/c.tif"), "c");
    check("snapshot --host lab --history scans scans", &[]);
    check("snapshot --host kiosk scans", &["--host lab --history scans continues"]);
}

#[test]
fn a_password_that_is_easy_to_guess_is_said() {
    let host = Host::new();
    for (password, is_weak) in
        [("abc\n", true), ("12345678\n", true), ("correct horse\n", false), ("tXq7#mP2\n", false)]
    {
        write(&host.path("password"), password);
        let ran = host.run(&format!("--repo {} init", password.trim().replace(' ', "-"))).ok();
        assert_eq!(ran.stderr.contains("it is easy to guess"), is_weak, "{ran:#?}");
    }
    // A short password still opens an archive that was created with it.
    write(&host.path("password"), "abc\n");
    write(&host.path("new"), "aaaaaaaaaa\n");
    write(&host.path("photos/a.jpg"), "a");
    let ran = host.run("--repo abc snapshot photos").ok();
    assert!(!ran.stderr.contains("easy to guess"), "{ran:#?}");
    let ran = host.run("--repo abc key passwd --new-password-file new").ok();
    assert!(ran.stderr.contains("different character"), "{ran:#?}");
}

#[test]
fn accept_names_each_snapshot() {
    let host = host();
    for number in 0..40 {
        write(&host.path(&format!("photos/{number}.jpg")), format!("photo {number}"));
    }
    host.run("snapshot photos").ok();
    for number in 1..40 {
        host.remove(&format!("photos/{number}.jpg"));
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let ran = host.run("--json snapshot photos").exits(3);
        let id = ran.summary()["snapshot_id"].as_str().expect("an id").to_owned();
        ids.push(id.chars().take(8).collect::<String>());
    }
    let ran = host.run("accept latest").ok();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], format!("snapshot {} accepted", ids[1]), "{ran:#?}");
    assert!(
        lines[1].starts_with("1 snapshot of the same history, marked before it, is accepted")
            && lines[1].contains(&format!(": {} of ", ids[0])),
        "{ran:#?}"
    );
    assert_eq!(lines.len(), 2, "{ran:#?}");
}

/// Uses the path of a folder that does not exist.
#[test]
fn a_hint_says_what_was_meant() {
    let host = host();
    write(&host.path("My Photos/a.jpg"), "a");
    write(&host.path("home/Pictures/b.jpg"), "b");
    let check = |typed: &str, hint: &str| {
        let mut command: Command = host.command("snapshot");
        let output = command.arg(Path::new(typed)).output().expect("it runs");
        Ran::new(typed, &output).fails(1, &[hint]);
    };
    check("My Photos ", "did you mean 'My Photos'?");
    check("\u{201c}My Photos\u{201d}", "a quotation mark is a part of the name");
    check("my photos", "did you mean 'My Photos'?");
    check("My\\ Photos", "needs no backslash: 'My Photos'");
    check("C:\\Users\\maria\\Pictures", "/mnt/c/Users/maria/Pictures");
    check("My Photos,home", "by spaces, not by commas");
    check("My Photos/*.jpg", "nothing matches this pattern");
    check("file:///home", "write a path, not a URL");
    // A quoted `~` still means the home folder.
    host.run("snapshot ~/Pictures").ok();
}

/// `latest` together with an id means the newest snapshot of the same history. The output names it if it is not the
/// newest of all.
#[test]
fn diff_says_what_latest_was() {
    let host = Host::new();
    write(&host.path("a/1.CR3"), "one");
    write(&host.path("b/2.CR3"), "two");
    for line in ["snapshot --init a", "snapshot a", "snapshot b"] {
        host.run(line).ok();
    }
    let snapshots = host.run("--json snapshots").ok().json();
    let id = |at: usize| snapshots[at]["id"].as_str().expect("an id")[..8].to_owned();
    let (first, second) = (id(0), id(1));
    let ran = host.run(&format!("diff {first} latest")).ok();
    assert!(ran.stderr.contains(&format!("compared with snapshot {second}")), "{ran:#?}");
    assert!(ran.stderr.contains(&format!("the same history as {first}")), "{ran:#?}");
    let ran = host.run(&format!("diff {second} latest")).ok();
    assert!(ran.stderr.contains(&format!("are the same snapshot, {second}")), "{ran:#?}");
    let ran = host.run(&format!("diff {first} {second}")).ok();
    assert!(!ran.stderr.contains("compared with"), "{ran:#?}");
}
