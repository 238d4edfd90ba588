//! A terminal of 60 columns: sentences and cells break between words, and tables keep the important
//! columns.

use std::path::Path;

use icecore_testkit::S3Server;

use crate::support::{Host, left_out, shoot, word, write};
use crate::terminal;
use crate::thaw::{archive, job_of};

const COLUMNS: u16 = 60;

/// Fails if a word on the screen is not a word of the output to a pipe. Returns the screen.
#[track_caller]
fn is_readable(host: &Host, line: &str) -> String {
    let plain = host.run(line).ok();
    let all = format!("{} {}", plain.stdout, plain.stderr);
    let words: Vec<&str> = all.split_whitespace().collect();
    let rows = terminal::rows(host.command(line), COLUMNS);
    let screen = rows.join("\n");
    for word in screen.split_whitespace() {
        // A path may be longer than a line.
        let is_path = word.contains('/');
        // The duration differs between runs.
        let is_time = word.parse::<f64>().is_ok();
        assert!(
            is_path || is_time || words.contains(&word),
            "{line}: {word:?} is broken:\n{screen}\n{all}"
        );
    }
    screen
}

#[test]
fn a_narrow_terminal_is_readable() {
    if let Some(why) = terminal::missing() {
        return left_out("a narrow terminal", &why);
    }
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2), ("oslo", 2)]);
    std::fs::remove_dir_all(host.path("photos/oslo")).expect("culled");
    host.run("snapshot photos").ok();
    let plan = is_readable(&host, "restore latest --plan");
    let figures = ["retrieval", "requests", "temporary copy", "download", "total", "hours"];
    for words in figures.iter().chain(&["to fetch", "bulk", "standard"]) {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    let cost = is_readable(&host, "cost");
    for words in ["a month", "objects", "it alone needs", "it alone a month", "DEEP_ARCHIVE"] {
        assert!(cost.contains(words), "{words}: {cost}");
    }
    let back = is_readable(&host, "cost --restore latest");
    for words in ["hours", "in one step", "in waves", "months"] {
        assert!(back.contains(words), "{words}: {back}");
    }
    let pruned = is_readable(&host, "prune -n --keep-last 1");
    assert!(pruned.contains("be undeleted") && pruned.contains("action"), "{pruned}");
    is_readable(&host, "find IMG_01*.xmp");
    is_readable(&host, "check");
    is_readable(&host, "snapshots");
    let job =
        job_of(&host.run("--json restore latest -t out --detach --max-cost 1").exits(20).summary());
    for line in ["jobs".to_owned(), format!("jobs {job}")] {
        let jobs = is_readable(&host, &line);
        assert!(jobs.contains(&job[..8]) && jobs.contains("ready"), "{jobs}");
        assert!(jobs.contains("\n    everything\n    to /"), "{jobs}");
    }
}

/// Paths are copied and typed again, so none is cut, and a path that fits on a line is not broken.
#[test]
fn a_path_is_whole_at_any_width() {
    if let Some(why) = terminal::missing() {
        return left_out("paths on a narrow terminal", &why);
    }
    let host = Host::new();
    let folder = "2024-06 Rome";
    write(&host.path(&format!("{folder}/wedding.xmp")), "three stars");
    write(&host.path(&format!("{folder} II/b.xmp")), "two stars");
    let [one, two] = [folder, "2024-06 Rome II"].map(|name| word(Path::new(name)));
    host.run(&format!("-q snapshot --init {one} {two}")).ok();
    let real = host.path("").canonicalize().expect("a folder");
    let path = |name: &str| real.join(name).to_string_lossy().into_owned();
    for (line, wanted) in [
        ("snapshots", vec![path(folder), path(&format!("{folder} II"))]),
        ("find wedding.xmp", vec![path(&format!("{folder}/wedding.xmp"))]),
    ] {
        for columns in [100, 80, 60, 40] {
            let rows = terminal::rows(host.command(line), columns);
            let screen = rows.concat();
            for path in &wanted {
                let path = path.trim_start_matches('/');
                let fits = path.chars().count() + 6 < usize::from(columns);
                let is_whole = rows.iter().any(|row| row.contains(path));
                assert!(is_whole || (!fits && screen.contains(path)), "{path}: {rows:#?}");
            }
            let used = rows.iter().filter(|row| row.chars().count() > usize::from(columns) - 1);
            let long = wanted.iter().filter(|path| path.chars().count() + 4 >= columns.into());
            assert!(used.count() <= long.count(), "{line} at {columns}: {rows:#?}");
        }
    }
}

#[test]
fn a_narrow_terminal_gets_sentences_of_a_folder_whole() {
    if let Some(why) = terminal::missing() {
        return left_out("a narrow terminal", &why);
    }
    let host = Host::new();
    shoot(&host.path("photos"), 1, 1);
    host.run("snapshot --init photos").ok();
    host.run("snapshot photos").ok();
    for line in ["prune -n --keep-last 1", "check", "retire", "find *.JPG", "snapshot -n photos"] {
        is_readable(&host, line);
    }
}
