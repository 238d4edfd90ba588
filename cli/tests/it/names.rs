//! Names that file systems allow and programs often handle wrongly: they are restored unchanged,
//! and ls and find show them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use crate::support::{Host, write};

/// Returns names of one byte that are invalid in some encodings, and names that are special to some
/// program.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "IMG_1.jpg",
        "img_1.JPG",
        "caf\u{e9}.jpg",
        "cafe\u{301}.jpg",
        "\u{1f4f7}\u{1f3d4}\u{fe0f}.jpg",
        "\u{5199}\u{771f}.jpg",
        "\u{202e}gpj.exe",
        "\u{feff}bom",
        "dot.",
        "dots...",
        "...",
        "space ",
        " space",
        "tab\t",
        "line\nbreak",
        "\n",
        "carriage\rreturn",
        "escape\x1b[31m",
        "bell\x07",
        "-rf",
        "--",
        "-",
        "*",
        "?",
        "[a]",
        "~",
        "#1",
        "a#1",
        "$HOME",
        "`id`",
        "'single'",
        "\"double\"",
        "back\\slash",
        "colon:",
        ":",
        "CON",
        "aux.txt",
        "a|b",
        "<tag>",
        ".icecore-0000000000000000.part",
        ".icecore-photo",
    ]
    .into_iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.extend([b"latin1-\xe9".to_vec(), b"\xff\xfe".to_vec(), b"\xf0\x9f".to_vec()]);
    // Add a name of maximum length, and one with each byte that a name may contain.
    names.push(vec![b'n'; 255]);
    names.push("\u{1f4f7}".repeat(63).into_bytes());
    names.push(vec![0xe9; 255]);
    names.extend((1..=255).filter(|byte| !b"/.".contains(byte)).map(|byte| vec![byte, b'x']));
    names
}

#[test]
fn come_back_as_they_were() {
    let mut host = Host::new();
    let names = names();
    for (number, name) in names.iter().enumerate() {
        let file = host.path("photos").join(OsStr::from_bytes(name));
        write(&file, format!("file {number}"));
        let folder = host.path("photos/folders").join(OsStr::from_bytes(name));
        write(&folder.join(OsStr::from_bytes(name)), format!("deep {number}"));
    }
    let photos = host.state("photos");
    let all = names.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(photos.len(), 3 * all + 1, "the file system holds them all");
    host.run("snapshot --init photos").ok();
    host.export_identity();
    host.restores("latest", &photos);
    host.run("check --read-data").ok();
    // Take another snapshot. Nothing has changed.
    let again = host.run("--json snapshot photos").ok().summary();
    assert_eq!(again["files_unmodified"].as_u64(), Some(2 * all as u64), "{again}");
    // There is one line for each name, whatever it contains.
    let listed = host.run("ls -R latest:photos").ok();
    assert_eq!(listed.stdout.lines().count(), photos.len(), "{listed:#?}");
    assert!(!listed.stdout.contains(['\x1b', '\x07', '\r']), "{listed:#?}");
    let listed = host.run("--json ls -R latest:photos").ok().json();
    assert_eq!(listed.iter().filter(|line| line["path"].is_string()).count(), photos.len());
    for (pattern, found) in [("caf*.jpg", 4), ("IMG_1.jpg", 2), ("dots...", 2), ("-rf", 2)] {
        let mut find = host.command("find --snapshot latest");
        let output = find.args(["--", pattern]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let files = text.lines().filter(|line| !line.ends_with('/')).count();
        assert!(files >= found, "{pattern}: {text}");
    }
    // Restore them one by one, by name.
    for name in ["line\nbreak", " space", "cafe\u{301}.jpg", "-rf", "colon:", "*"] {
        let mut dump = host.command("dump");
        let output = dump.arg(format!("latest:photos/{name}")).output().expect("it runs");
        let content = fs::read(host.path("photos").join(name)).expect("a file");
        assert_eq!(output.stdout, content, "{name:?}: {output:?}");
    }
}

/// A terabyte of holes with three islands of data needs no time, no memory and no space.
#[test]
fn a_sparse_file_of_a_terabyte() {
    const BYTES: u64 = 1 << 40;
    const ISLAND: usize = 1 << 20;
    let mut host = Host::new();
    let path = host.path("photos/disk.img");
    write(&path, "");
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.set_len(BYTES).expect("the file system has files of a terabyte");
    let islands = [0, BYTES / 2 + 12_345, BYTES - ISLAND as u64];
    let island = |number: usize| icecore_testkit::photos::bytes(number as u64, ISLAND);
    for (number, at) in islands.iter().enumerate() {
        file.write_all_at(&island(number), *at).expect("an island");
    }
    host.run("init").ok();
    host.export_identity();
    for line in ["--json snapshot photos", "restore latest:photos --target out"] {
        let program = host.command(line);
        // Limit the address space to two gigabytes, including stacks.
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", "ulimit -v 2000000 && exec \"$0\" \"$@\""]);
        limited.arg(program.get_program()).args(program.get_args());
        limited.env_clear().current_dir(host.path(""));
        limited.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = limited.output().expect("it starts");
        assert!(output.status.success(), "{line}: {output:?}");
    }
    let out = fs::File::open(host.path("out/disk.img")).expect("it is back");
    let found = out.metadata().expect("a file");
    assert_eq!(found.len(), BYTES);
    assert!(found.blocks() * 512 < 8 * ISLAND as u64, "{} blocks", found.blocks());
    for (number, at) in islands.iter().enumerate() {
        let mut read = vec![0; ISLAND];
        out.read_exact_at(&mut read, *at).expect("an island");
        assert!(read == island(number), "island {number} is not what it was");
    }
    let repo: u64 = crate::support::objects(&host.path("repo"), "packs")
        .iter()
        .map(|pack| fs::metadata(pack).expect("a pack").len())
        .sum();
    assert!(repo <= 4 * ISLAND as u64, "{repo} bytes are stored");
}
