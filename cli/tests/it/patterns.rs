//! Patterns mean what a person means by them, and one without effect is reported.

use std::path::Path;

use serde_json::Value;

use crate::support::{Host, shoot, word, write};

/// Returns everything in the newest snapshot as `ls` shows it.
fn listed(host: &Host) -> String {
    host.run("ls -R latest").ok().stdout.clone()
}

fn last(text: &str) -> Value {
    let line = text.lines().last().expect("a summary");
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn a_number_sign_is_a_letter_on_the_command_line_and_in_a_profile() {
    let mut host = Host::new();
    host.run("init").ok();
    host.export_identity();
    for name in ["#waste/a.jpg", "keep/b.jpg", "# old/c.jpg"] {
        write(&host.path(&format!("photos/{name}")), name);
    }
    host.run("-q snapshot photos --exclude #waste").ok();
    assert!(!listed(&host).contains("#waste"));
    let profile = "exclude = [\"#waste\"]\n";
    write(&host.path("config/night.toml"), profile);
    host.run("-P night -q snapshot photos").ok();
    assert!(!listed(&host).contains("#waste"));
    // In a pattern file, `#` begins a comment unless it is escaped. Windows may write a byte order mark or UTF-16.
    let file = "\u{feff}# waste is left out\r\n\r\n\\#waste\r\n";
    write(&host.path("patterns"), file);
    host.run("-q snapshot photos --exclude-file patterns").ok();
    let all = listed(&host);
    assert!(!all.contains("#waste") && all.contains("# old"), "{all}");
    let wide: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
    write(&host.path("wide"), wide);
    host.run("-q snapshot photos --exclude-file wide").ok();
    assert!(!listed(&host).contains("#waste"));
}

#[test]
fn an_empty_pattern_is_a_mistake() {
    let mut host = Host::new();
    write(&host.path("photos/a.jpg"), "a");
    host.run("snapshot --init photos").ok();
    host.export_identity();
    for line in [
        "snapshot photos --exclude=",
        "snapshot photos --iexclude=",
        "restore latest --target out --include=",
        "restore latest --target out --iexclude=",
        "audit photos --exclude=",
    ] {
        let ran = host.run(line).exits(2);
        assert!(ran.stderr.contains("a pattern is empty"), "{line}: {}", ran.stderr);
    }
    host.run("find /").exits(2);
    write(&host.path("config/empty.toml"), "exclude = [\"\"]\n");
    host.run("-P empty snapshot photos").exits(2);
    assert!(!host.path("out").exists());
}

#[test]
fn paths_mean_places_on_this_computer() {
    let mut host = Host::new();
    for name in ["keep/a.jpg", "cache/b.jpg", "2024/cache/c.jpg"] {
        write(&host.path(&format!("photos/{name}")), name);
    }
    host.run("init").ok();
    host.export_identity();
    let absolute = word(&host.path("photos/cache"));
    let (home, up) = ("~/../photos/cache", "../photos/cache");
    std::fs::create_dir_all(host.path("home")).expect("a folder");
    let here = host.path("");
    host.set("HOME", &here.join("home").display().to_string());
    for pattern in [&absolute[..], "./photos/cache", "./photos/./cache/", home, "photos/cache/"] {
        host.run(&format!("-q snapshot photos --exclude {pattern}")).ok();
        let all = listed(&host);
        assert!(!all.contains("photos/cache"), "{pattern}: {all}");
        assert!(all.contains("2024/cache/c.jpg"), "{pattern}: {all}");
        // This works however the source was given.
        host.run(&format!("-q snapshot {} --exclude {pattern}", word(&host.path("photos")))).ok();
        assert!(!listed(&host).contains("photos/cache"), "{pattern}");
    }
    // A single name, and names with a slash between, match at any place.
    host.run("-q snapshot photos --exclude 2024/cache").ok();
    assert!(listed(&host).contains("photos/cache/b.jpg"));
    assert!(!listed(&host).contains("2024/cache"));
    let ran = host.run(&format!("-q snapshot photos --exclude {up}")).ok();
    assert!(ran.stderr.contains("matched nothing"), "{}", ran.stderr);
    // The same paths work for --include and `find`.
    host.run(&format!("restore latest --target out --include {absolute}")).ok();
    assert!(host.path("out").read_dir().expect("a folder").count() > 0);
    let found = host.run("find ./photos/cache").ok();
    assert_eq!(found.stdout.lines().count(), 1, "{}", found.stdout);
}

#[test]
fn a_path_with_a_bracket_means_itself() {
    let mut host = Host::new();
    for name in ["Portraits [1]/a.jpg", "Portraits 1/b.jpg", "a[b/c.jpg"] {
        write(&host.path(&format!("photos/{name}")), name);
    }
    host.run("init").ok();
    host.export_identity();
    let absolute = word(&host.path("photos/Portraits [1]"));
    let relative = word(Path::new("./photos/Portraits [1]"));
    let below = word(Path::new("./photos/Portraits [1]/*"));
    for pattern in [&absolute, &relative, &below] {
        let ran = host.run(&format!("snapshot photos --exclude {pattern}")).ok();
        assert!(!ran.stderr.contains("matched nothing"), "{ran:#?}");
        let all = listed(&host);
        assert!(!all.contains("a.jpg") && all.contains("b.jpg"), "{pattern}: {all}");
    }
    host.run("-q snapshot photos").ok();
    host.run(&format!("restore latest:photos --target out --include {absolute}")).ok();
    assert!(host.path("out/Portraits [1]/a.jpg").exists());
    assert!(!host.path("out/Portraits 1").exists());
    let found = host.run(&format!("find {relative}")).ok().stdout;
    assert!(found.lines().all(|line| line.contains("[1]")), "{found}");
    // The folder is gone from the disk, but the snapshot contains it by that name.
    std::fs::rename(host.path("photos"), host.path("moved")).expect("moved");
    let again = host.run(&format!("find {relative}")).ok().stdout;
    assert!(found.lines().all(|line| again.contains(line)), "{again}");
    host.run("find ./photos/a[b").ok();
    // A single name is a pattern, and the hint says how to write a bracket.
    let ran = host.run("-q snapshot moved --exclude [b-d]1").ok();
    assert!(ran.stderr.contains("write \\[ or \\{ for it"), "{ran:#?}");
    for pattern in ["a[b", "[", "[!]", "2024/a[b"] {
        host.run(&format!("snapshot moved --exclude {pattern}"))
            .fails(2, &["a bracket", "is not closed", "write \\["]);
    }
    host.run("snapshot moved --exclude a\\[b").ok();
    assert!(!listed(&host).contains("c.jpg"));
}

#[test]
fn a_pattern_without_effect_is_reported() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 2, 1);
    write(&host.path("photos/a.tmp"), "a");
    host.run("init").ok();
    host.export_identity();
    let ran = host.run("-q snapshot photos --exclude *.tpm --exclude *.tmp").ok();
    assert!(ran.stderr.contains("*.tpm: this pattern matched nothing"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("*.tmp"), "{}", ran.stderr);
    // What another pattern leaves out is not looked at.
    write(&host.path("photos/exports/b.tif"), "b");
    let ran = host.run("-q snapshot photos --exclude exports --exclude *.tif").ok();
    let said = "*.tif: this pattern matched nothing below the given paths, or only what other";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    // Patterns of a profile need not match, so there is no message for the mail.
    write(&host.path("config/night.toml"), "exclude = [\"*.tpm\"]\n");
    let ran = host.run("-P night -q snapshot photos").ok();
    assert_eq!(ran.stderr, "");
    let ran = host.run("-P night snapshot photos").ok();
    assert!(ran.stderr.contains("*.tpm: this pattern matched nothing"), "{}", ran.stderr);
    // The summary is still the last line of JSON.
    let ran = host.run("--json snapshot photos --exclude *.tpm").ok();
    assert!(ran.stdout.contains("\"message_type\":\"problem\""), "{}", ran.stdout);
    assert_eq!(last(&ran.stdout)["message_type"], "summary");
    let ran = host.run("restore latest --target out --exclude *.tpm --include *.CR9");
    let ran = ran.fails(4, &["nothing to restore", "--iinclude ignores case"]);
    assert!(!host.path("out").exists());
    for pattern in ["*.tpm", "*.CR9"] {
        let said = format!("{pattern}: this pattern matched nothing in the snapshot");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    // What is left out is not searched, so it is unknown whether the pattern matches something there.
    let said = "*.CR3: this pattern matched nothing, or only what --exclude leaves out";
    for left_out in ["photos", "*.CR3"] {
        let line =
            format!("restore latest --target none --plan --include *.CR3 --exclude {left_out}");
        let ran = host.run(&line).fails(4, &["nothing to restore"]);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = host.run("restore latest --target none --plan --include *.CR3 --exclude *.tmp").ok();
    assert!(!ran.stderr.contains("*.CR3"), "{}", ran.stderr);
}

#[test]
fn either_case_and_either_spelling_of_an_accent_are_found() {
    let mut host = Host::new();
    write(&host.path("photos/IMG_1.CR3"), "a");
    // A Mac stores the accent as a separate character.
    write(&host.path("photos/Ko\u{308}ln.jpg"), "b");
    host.run("init").ok();
    host.export_identity();
    host.run("snapshot photos").ok();
    for option in ["-i", "--ignore-case"] {
        let found = host.run(&format!("find {option} *.cr3")).ok();
        assert!(found.stdout.contains("IMG_1.CR3"), "{}", found.stdout);
    }
    assert!(host.run("find K\u{f6}ln.jpg").ok().stdout.contains("ln.jpg"));
    assert!(host.run("find -i K\u{d6}LN.JPG").ok().stdout.contains("ln.jpg"));
    for typed in ["Ko\u{308}ln.jpg", "KO\u{308}LN.JPG"] {
        assert!(host.run(&format!("find -i {typed}")).ok().stdout.contains("ln.jpg"), "{typed}");
        let line = format!("--json snapshot -n photos --iexclude {typed}");
        assert_eq!(host.run(&line).ok().summary()["files_unmodified"], 1, "{typed}");
    }
    host.run("restore latest:photos --target accents --iinclude KO\u{308}LN*").ok();
    assert_eq!(host.path("accents").read_dir().expect("a folder").count(), 1);
    host.run("restore latest:photos --target picked --iinclude *.cr3").ok();
    assert_eq!(host.path("picked").read_dir().expect("a folder").count(), 1);
    host.run("restore latest:photos --target rest --iexclude *.cr3").ok();
    assert!(!host.path("rest/IMG_1.CR3").exists());
    host.run("-q snapshot photos --iexclude *.cr3 --exclude K\u{f6}ln*").exits(3);
    assert!(!listed(&host).contains("IMG_1"));
}

#[test]
fn litter_is_left_out_counted_and_taken_if_asked_for() {
    let mut host = Host::new();
    for name in [
        "photos/IMG_1.CR3",
        "photos/.DS_Store",
        "photos/Thumbs.db",
        "photos/.Trashes",
        "photos/@eaDir/IMG_1.CR3/THUMB.jpg",
        "photos/#recycle/old.jpg",
        "photos/lr/lr Previews.lrdata/a/b.lrprev",
        "photos/lr/lr Smart Previews.lrdata/a.dng",
        "photos/lr/lr.lrcat.lock",
    ] {
        write(&host.path(name), name);
    }
    host.run("init").ok();
    host.export_identity();
    let ran = host.run("snapshot photos").ok();
    assert!(ran.stdout.contains("left out: 7 files and folders"), "{}", ran.stdout);
    let all = listed(&host);
    for gone in [".DS_Store", "Thumbs", "@eaDir", "#recycle", ".Trashes", "lr Previews", "lock"] {
        assert!(!all.contains(gone), "{gone}: {all}");
    }
    assert!(all.contains("lr Smart Previews.lrdata/a.dng"), "{all}");
    // An audit ignores the same files as a snapshot.
    let ran = host.run("--json audit photos").ok();
    assert_eq!(last(&ran.stdout)["litter_left_out"], 7);
    // `--delete` does not remove it.
    host.run("restore latest:photos --target photos --overwrite if-changed --delete").ok();
    assert!(host.path("photos/#recycle/old.jpg").exists());
    let ran = host.run("--json snapshot photos --no-exclude-litter").ok();
    assert_eq!(last(&ran.stdout)["litter_left_out"], 0);
    assert!(listed(&host).contains("#recycle/old.jpg"));
    write(&host.path("config/all.toml"), "exclude-litter = false\n");
    let ran = host.run("-P all --json snapshot photos").ok();
    assert_eq!(last(&ran.stdout)["litter_left_out"], 0);
    let ran = host.run("-P all --json snapshot photos --exclude-litter").exits(3);
    assert_eq!(last(&ran.stdout)["litter_left_out"], 7);
}
