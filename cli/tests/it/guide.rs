//! The guide in `docs/`: runs the commands of its pages as a reader would type them, with the real program, in a home
//! folder that contains only some photos. Most pages run twice: with an archive in a folder and on an S3 server.
//!
//! A page states what its commands do. Comments that a reader does not see prepare them:
//!
//! | in the page | |
//! | --- | --- |
//! | `# exit code 3` behind a command | It ends with this code, otherwise with 0. `on a disk` or `in a bucket`: only there. |
//! | a block `text` after commands | They print these lines; numbers, times and ids may differ. |
//! | `<!-- before: COMMAND -->` | what has happened before |
//! | `<!-- a new computer -->` | The home folder is empty, and nothing is set. |
//! | `<!-- 48 hours pass -->` | for the server |
//! | `<!-- not run: REASON -->` | The next block is only read. There are few. |

mod links;
mod page;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use self::page::{Page, Step};
use self::world::{Place, World};

/// Replacements in the commands of a page. `WORLD` is the temporary folder of a test.
const NAMES: [(&str, &str); 7] = [
    ("/home/maria", "WORLD/home/maria"),
    ("/media/", "WORLD/media/"),
    ("/mnt/nas", "WORLD/mnt/nas"),
    // Each test has only one computer.
    ("--host desktop", "--host $(uname -n)"),
    ("key revoke laptop", "key revoke --yes 'first host'"),
    // A test cannot type a new password.
    ("key add", "key add --new-password-file WORLD/new-password"),
    ("key passwd", "key passwd --new-password-file WORLD/new-password"),
];

/// The archive of most pages, and where it is in a bucket.
const BUCKET: (&str, &str) = ("/media/disk/archive", "s3://my-photo-archive/photos");

/// Ids in a page, and the commands that find the corresponding ids of the test.
const IDS: [(&str, &str); 4] = [
    (
        "4f1c02ab",
        r#"icecore --json snapshots --dropped | sed -n '1s/.*"id":"\([0-9a-f]\{8\}\).*/\1/p'"#,
    ),
    ("1f0c9a3e", r#"icecore --json jobs | sed -n '1s/.*"job_id":"\([0-9a-f]\{8\}\).*/\1/p'"#),
    ("5a6b7c8d", r#"icecore --json snapshots | sed -n '1s/.*"id":"\([0-9a-f]\{8\}\).*/\1/p'"#),
    ("412:9f3a", "cat ~/head"),
];

/// The initial state of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Photos in `~/Pictures` and on a card.
    Photos,
    /// Photos, and an archive with a snapshot of them.
    Archive,
    /// An archive with photos that are large enough to be frozen.
    Frozen,
}

use Place::{Bucket, Folder};
use Start::{Archive, Frozen, Photos};

const BOTH: &[Place] = &[Folder, Bucket];

/// Makes a test for each page.
macro_rules! pages {
    ($($test:ident: $start:expr, $places:expr;)*) => {
        const TRIED: &[&str] = &[$(stringify!($test)),*];
        $(#[test]
        fn $test() {
            for place in $places {
                try_page(&stringify!($test).replace('_', "-"), $start, *place);
            }
        })*
    };
}

pages! {
    home: Photos, &[Folder];
    nas: Photos, &[Folder];
    s3: Photos, &[Bucket];
    buckets: Archive, &[Bucket];
    nightly: Archive, BOTH;
    restore: Archive, BOTH;
    frozen: Frozen, &[Bucket];
    card: Archive, BOTH;
    catalogs: Archive, BOTH;
    cost: Archive, BOTH;
    old: Archive, BOTH;
    erasing: Archive, BOTH;
    computers: Archive, &[Folder];
    disaster: Archive, &[Folder];
    stolen: Archive, BOTH;
    damaged: Archive, &[Folder];
    finding: Archive, BOTH;
    restoring: Archive, BOTH;
    prune: Archive, BOTH;
    mirror: Archive, BOTH;
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn try_page(name: &str, start: Start, place: Place) {
    let text = fs::read_to_string(docs().join(format!("{name}.md"))).expect("the page");
    let page = Page::parse(name, &text);
    let mut world = World::new(place, if start == Frozen { 1_500_000 } else { 400_000 });
    if start != Photos {
        let ran = world.type_in(
            "export ICECORE_REPOSITORY=/media/disk/archive; icecore snapshot --init ~/Pictures",
        );
        assert_eq!(ran.code, 0, "{ran:#?}");
    }
    let (mut printed, mut tried) = (String::new(), 0);
    for step in &page.steps {
        match step {
            Step::Run { line, command, ends } => {
                let ran = world.type_in(command);
                let expected = ends.in_place(place);
                assert_eq!(
                    ran.code, expected,
                    "docs/{name}.md:{line}, {place:?}: `{command}` was to end with {expected}:\n{ran:#?}"
                );
                printed.push_str(&ran.printed);
                tried += 1;
            }
            Step::Prints { line, text } => {
                let known: Vec<String> = printed.lines().map(page::without_numbers).collect();
                for wanted in text.lines() {
                    let is_known = known.contains(&page::without_numbers(wanted));
                    assert!(
                        is_known,
                        "docs/{name}.md:{line}, {place:?}: not printed: {wanted}\n{printed}"
                    );
                }
            }
            Step::Block => printed.clear(),
            Step::Before(command) => {
                let ran = world.type_in(command);
                assert_eq!(ran.code, 0, "docs/{name}.md, {place:?}: before: {ran:#?}");
            }
            Step::NewComputer { keeps } => world.new_computer(keeps),
            Step::Hours(hours) => world.pass(*hours),
            Step::NotRun(_) => {}
        }
    }
    assert!(tried > 0, "docs/{name}.md has commands");
    eprintln!("docs/{name}.md, {place:?}: {tried} commands");
}

/// Returns the pages of the book, in order.
fn summary() -> Vec<String> {
    let text = fs::read_to_string(docs().join("SUMMARY.md")).expect("the summary");
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

#[test]
fn each_page_with_commands_is_tried() {
    let (mut not_run, mut commands) = (0, 0);
    for file in summary() {
        let text = fs::read_to_string(docs().join(&file)).expect("a page of the summary");
        let engineers = file.starts_with("..")
            || ["protocol.md", "performance.md", "reliability.md"].contains(&&*file);
        if engineers || !text.contains("```sh") {
            continue;
        }
        let name = file.trim_end_matches(".md");
        assert!(
            TRIED.contains(&&*name.replace('-', "_")),
            "no test tries the commands of docs/{file}"
        );
        let page = Page::parse(name, &text);
        for step in &page.steps {
            match step {
                Step::NotRun(reason) => {
                    assert!(reason.len() > 10, "docs/{file}: why not? {reason}");
                    not_run += 1;
                }
                Step::Run { .. } => commands += 1,
                _ => {}
            }
        }
    }
    assert!(commands > 100, "{commands} commands are tried");
    assert!(not_run <= 14, "{not_run} blocks are not run");
    eprintln!("{commands} commands are tried, {not_run} blocks are not run");
}

#[test]
fn all_pages_are_in_the_summary() {
    let summary = summary();
    for entry in fs::read_dir(docs()).expect("docs") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(summary.contains(&name), "docs/{name} is not in docs/SUMMARY.md");
        }
    }
}
