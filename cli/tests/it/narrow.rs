//! A terminal of 60 columns: sentences and cells break between words, and tables have what matters.

use icecore_testkit::S3Server;

use crate::support::{Host, left_out, shoot};
use crate::terminal;
use crate::thaw::{archive, job_of};

const COLUMNS: u16 = 60;

/// Fails if a word on the screen is no word of what a pipe gets. Returns the screen.
#[track_caller]
fn is_readable(host: &Host, line: &str) -> String {
    let plain = host.run(line).ok();
    let all = format!("{} {}", plain.stdout, plain.stderr);
    let words: Vec<&str> = all.split_whitespace().collect();
    let rows = terminal::rows(host.command(line), COLUMNS);
    let screen = rows.join("\n");
    for word in screen.split_whitespace() {
        // The beginning of a path may be cut, and a path may be longer than a line.
        let is_path = word.starts_with('…') || word.contains('/');
        // How long it took differs.
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
    for words in ["to fetch", "retrieval", "download", "total", "bulk", "standard"] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    let cost = is_readable(&host, "cost");
    assert!(cost.contains("a month") && cost.contains("snapshot"), "{cost}");
    is_readable(&host, "cost --restore latest");
    let pruned = is_readable(&host, "prune -n --keep-last 1");
    assert!(pruned.contains("can be undeleted") && pruned.contains("action"), "{pruned}");
    is_readable(&host, "find IMG_01*.xmp");
    is_readable(&host, "check");
    is_readable(&host, "snapshots");
    let job =
        job_of(&host.run("--json restore latest -t out --detach --max-cost 1").exits(20).summary());
    for line in ["jobs".to_owned(), format!("jobs {job}")] {
        let jobs = is_readable(&host, &line);
        assert!(jobs.contains(&job[..8]) && jobs.contains("ready"), "{jobs}");
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
