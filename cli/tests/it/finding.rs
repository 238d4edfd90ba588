//! Tests of `find` and `history`: a line for each file and version, with the snapshots that contain it.

use std::os::unix::ffi::OsStrExt;

use crate::support::{Host, word, write};
use crate::terminal;

/// Returns a host with four snapshots, and two versions of a file in them.
fn host() -> Host {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    write(&host.path("photos/2024/05/IMG_0042.CR3"), vec![1; 50_000]);
    write(&host.path("photos/2024/05/IMG_0042.xmp"), "three stars");
    write(&host.path("photos/notes.txt"), "Iceland");
    for _ in 0..3 {
        host.run("snapshot photos").ok();
    }
    write(&host.path("photos/2024/05/IMG_0042.xmp"), "five stars!");
    host.run("snapshot photos").ok();
    host
}

#[test]
fn versions_are_folded() {
    let host = host();
    let all: Vec<_> = host.run("--json snapshots").ok().json();
    let id = |at: usize| all[at]["id"].as_str().expect("an id").to_owned();
    let ran = host.run("--json find IMG_0042.*").ok();
    let mut lines = ran.json();
    let summary = lines.pop().expect("a summary");
    assert_eq!((summary["entries"].as_u64(), lines.len()), (Some(3), 3), "{ran:#?}");
    let facts: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().expect("a text").to_owned();
            assert_eq!(line["snapshot_id"], line["last_snapshot"]);
            (text("first_snapshot"), text("last_snapshot"), line["snapshots"].as_u64())
        })
        .collect();
    let expected = [(id(0), id(3), Some(4)), (id(0), id(2), Some(3)), (id(3), id(3), Some(1))];
    assert_eq!(facts, expected);
    let text = host.run("find 2024/*/IMG_0042.*").ok().stdout;
    assert_eq!(text.lines().count(), 3, "{text}");
    for (at, said) in [(0, "in 4 snapshots, "), (1, "in 3 snapshots, "), (2, "in 1 snapshot, ")] {
        let line = text.lines().nth(at).expect("a line");
        assert!(line.contains(said), "{line}");
    }
    // The snapshot in the line contains that version.
    let line = text.lines().nth(1).expect("a line");
    let snapshot = line.split(' ').next().expect("an id");
    let ran = host.run(&format!("dump {snapshot}:photos/2024/05/IMG_0042.xmp")).ok();
    assert_eq!(ran.stdout, "three stars");
    // The examples in the help find what they describe.
    let help = host.run("find --help").ok().stdout;
    assert!(help.contains("'2024/*/IMG_0042.*'") && help.contains("'*.CR3'"), "{help}");
    assert_eq!(host.run("find *.CR3").ok().stdout.lines().count(), 1);
    let folder = word(&host.path("photos/2024"));
    assert_eq!(host.run(&format!("find {folder}")).ok().stdout.lines().count(), 1);
    // A folder with a new file has another time, and its line names a snapshot with this version.
    write(&host.path("photos/2024/new.txt"), "new");
    host.run("snapshot photos").ok();
    for line in host.run(&format!("--json find {folder}")).ok().json().iter().take(2) {
        let snapshot = line["snapshot_id"].as_str().expect("an id");
        let listed = host.run(&format!("--json ls {snapshot}:photos")).ok().json();
        let is_it = |entry: &&serde_json::Value| entry["path"] == line["path"];
        let entry = listed.iter().find(is_it).expect("the folder");
        assert_eq!(entry["mtime"], line["mtime"], "{line}");
    }
}

#[test]
fn files_are_chosen_by_time_and_size() {
    let host = host();
    let count = |line: &str| host.run(line).ok().stdout.lines().count();
    assert_eq!(count("find * --larger 40KB"), 1);
    assert_eq!(count("find *.xmp --smaller 40KB"), 2);
    // All files have times in November 2023.
    assert_eq!(count("find *.CR3 --newer 2023-11-14 --older 2023-11-15"), 1);
    for line in ["find *.CR3 --newer 30d", "find *.CR3 --older 2023-11-14", "find *.cr3"] {
        host.run(line).fails(4, &["nothing found"]);
    }
    let ran = host.run("--json find *.CR9").exits(4);
    assert_eq!(ran.summary()["code"], 4);
    host.run("find *.CR3 --newer tomorrow").exits(2);
}

#[test]
fn history_lists_the_versions_of_one_file() {
    let host = host();
    let path = "photos/2024/05/IMG_0042.xmp";
    let real = word(&host.path(path));
    for typed in [path, &real, &real[1..], "./photos/2024/05/IMG_0042.xmp"] {
        let ran = host.run(&format!("--json history {typed}")).ok();
        let counts: Vec<_> = ran.json().iter().map(|line| line["snapshots"].as_u64()).collect();
        assert_eq!(counts, [Some(3), Some(1), None], "{typed}: {ran:#?}");
    }
    let text = host.run(&format!("history {path}")).ok().stdout;
    assert!(text.lines().next().is_some_and(|line| line.contains("in 3 snapshots, ")), "{text}");
    host.run("history photos/nothing").fails(4, &["no snapshot contains photos/nothing"]);
}

#[test]
fn history_finds_what_was_given_by_its_full_path_and_by_a_relative_one() {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    write(&host.path("photos/a.xmp"), "three stars");
    host.run(&format!("snapshot {}", word(&host.path("photos")))).ok();
    write(&host.path("photos/a.xmp"), "five stars!");
    host.run("snapshot photos").ok();
    let real = word(&host.path("photos/a.xmp"));
    for typed in ["photos/a.xmp", "./photos/a.xmp", &real] {
        let found = host.run(&format!("--json history {typed}")).ok().summary();
        assert_eq!(found["versions"], 2, "{typed}: {found}");
    }
}

#[test]
fn a_path_is_found_by_either_form_of_its_accents() {
    let mut host = Host::new();
    let forms = ["M\u{fc}ller", "Mu\u{308}ller"];
    let names = ["Jos\u{e9}.jpg", "Jose\u{301}.jpg"];
    host.run("init").ok();
    host.export_identity();
    write(&host.path("photos/others.jpg"), "stays");
    write(&host.path("photos").join(forms[1]).join(names[0]), "of a Mac");
    host.run("snapshot photos").ok();
    for (number, form) in forms.into_iter().enumerate() {
        let folder = format!("photos/{form}");
        for typed in [folder.clone(), word(&host.path(&folder))] {
            assert!(host.run(&format!("ls latest:{typed}")).ok().stdout.contains(names[0]));
            for name in names {
                let ran = host.run(&format!("dump latest:{typed}/{name}")).ok();
                assert_eq!(ran.stdout, "of a Mac", "{ran:#?}");
                host.run(&format!("history {typed}/{name}")).ok();
            }
        }
        let out = format!("out{number}");
        host.run(&format!("restore latest:{folder} --target {out} --exclude /others.jpg")).ok();
        assert!(host.path(&out).join(names[0]).exists());
    }
    host.run("ls latest:photos/M\u{fc}l").fails(4, &[]);
    // If both forms exist, the exact name comes first; `rewrite` removes both forms.
    write(&host.path("photos").join(forms[0]).join("b.jpg"), "of another computer");
    host.run(&format!("snapshot photos/{} photos", forms[1])).ok();
    for (form, file) in forms.into_iter().zip(["b.jpg", names[0]]) {
        let ran = host.run(&format!("ls latest:photos/{form}")).ok();
        assert!(ran.stdout.contains(file), "{ran:#?}");
    }
    let typed = word(&host.path("photos").join(forms[0]));
    let done = host.run(&format!("--json rewrite --exclude {typed}")).ok().summary();
    assert_eq!(done["snapshots_rewritten"], 2, "{done}");
    for form in forms {
        host.run(&format!("ls latest:photos/{form}")).fails(4, &[]);
    }
    host.run("ls latest:photos/others.jpg").ok();
}

#[test]
fn names_that_are_no_text_can_be_told_apart() {
    let mut host = Host::new();
    for name in [&b"\xfe"[..], b"\xff", br"\xff"] {
        write(&host.path("photos").join(std::ffi::OsStr::from_bytes(name)), "a");
    }
    host.run("init").ok();
    host.export_identity();
    host.run("snapshot photos").ok();
    let lines = host.run("--json ls latest:photos").ok().json();
    let name = |line: &serde_json::Value| format!("{} {}", line["path"], line["path_hex"]);
    let names: std::collections::BTreeSet<String> = lines.iter().map(name).collect();
    assert_eq!(names.len(), 3 + 1, "{names:?}");
    let text = host.run("ls latest:photos").ok().stdout;
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
}

/// Returns a row without its digits and ids.
fn form(row: &str) -> String {
    let (id, rest) = row.split_at_checked(8).unwrap_or((row, ""));
    let is_id = id.len() == 8 && id.chars().all(|c| c.is_ascii_hexdigit());
    let text = if is_id { format!("IDIDIDID{rest}") } else { row.to_owned() };
    text.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect()
}

#[test]
fn listings_fit_the_terminal() {
    let host = host();
    // The folder of the test has a different name on every computer.
    let path = host.path("photos").canonicalize().expect("a folder");
    let path = path.to_str().expect("a plain path").trim_start_matches('/');
    let photo = format!("{path}/2024/05/IMG_0042.CR3");
    let all = "IDIDIDID   NN.NN KiB  NNNN-NN-NN NN:NN:NN  in N snapshots, NNNN-NN-NN  ";
    let facts =
        [all, "IDIDIDID   NN.NN KiB  NNNN-NN-NN NN:NN:NN  ", "IDIDIDID  NNNN-NN-NN NN:NN:NN  "];
    for columns in [200, 80, 40] {
        // The path is never cut; if necessary, it is below the facts.
        let rows = terminal::rows(host.command("find *.CR3"), columns);
        let bare = |text: &str| form(text).replace(' ', "");
        let found = bare(&rows.concat());
        let known = facts.iter().find(|facts| found == bare(&format!("{facts}{photo}")));
        let known = known.unwrap_or_else(|| panic!("{columns}: {rows:#?}"));
        assert!(form(&rows[0]).starts_with(known.trim_end()), "{columns}: {rows:#?}");
        let is_whole = rows.iter().any(|row| row.contains(&photo));
        assert!(is_whole || photo.chars().count() + 4 >= columns.into(), "{columns}: {rows:#?}");
    }
    let mut gone = 0;
    for columns in [200, 80, 60, 40] {
        let rows = terminal::rows(host.command("snapshots"), columns);
        assert!(rows.iter().all(|row| row.chars().count() < usize::from(columns)), "{rows:#?}");
        // A path that does not fit in its row is on a separate line below it.
        let (below, rows): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.starts_with("    "));
        assert_eq!(rows.len(), 5, "a line each: {rows:#?}");
        let paths = if below.is_empty() { &rows[1..] } else { &below };
        assert_eq!(paths.len(), 4, "{below:#?}");
        assert!(paths.iter().all(|row| row.ends_with("photos")), "{rows:#?} {below:#?}");
        // Columns disappear in this order, and the remaining ones keep their order.
        let first_to_go = ["tags", "files", "size", "history", "host"];
        let all = ["id", "time", "host", "history", "tags", "files", "size", "paths"];
        let header: Vec<&str> = rows[0].split_whitespace().collect();
        let without = |count: usize| -> Vec<&str> {
            let is_there = |name: &&str| {
                !first_to_go[..count].contains(name) && (*name != "paths" || below.is_empty())
            };
            all.into_iter().filter(is_there).collect()
        };
        let found = (gone..=first_to_go.len()).find(|count| without(*count) == header);
        gone = found.unwrap_or_else(|| panic!("{columns}: {rows:#?}"));
    }
    assert_eq!(gone, 4, "the time and the host are left at 40, and the path");
    // For a script, nothing is left out.
    assert!(host.run("find *.CR3").ok().stdout.contains(&photo));
}
