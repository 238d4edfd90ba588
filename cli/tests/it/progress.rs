//! The progress that a person sees at 100, 80, 60 and 40 columns, and the output for a log and a script.

use std::collections::BTreeSet;
use std::process::Command;

use icecore_testkit::S3Server;
use serde_json::{Value, json};

use crate::support::{Host, Ran, left_out, shoot};
use crate::terminal::{self, Frame, Terminal, slow_link};
use crate::thaw::{HOURS, archive};

const WIDTHS: [u16; 4] = [100, 80, 60, 40];

/// Runs a command while the terminal becomes narrower, each time after `wanted` has appeared. Returns its frames.
fn narrowing(command: Command, wanted: &str) -> Vec<Frame> {
    let mut terminal = Terminal::start(command, WIDTHS[0]);
    terminal.see(|row| row.contains(wanted));
    for columns in &WIDTHS[1..] {
        terminal.resize(*columns);
        terminal.see(|row| row.contains(wanted));
    }
    let (code, frames) = terminal.end();
    assert_eq!(code, 0, "{frames:#?}");
    frames
}

/// Returns a row without its numbers and units: `snapshot [#] N% N/N files N MiB/s`.
fn form(row: &str) -> String {
    let mut form = String::new();
    for c in row.chars() {
        match c {
            '0'..='9' | '.' if form.ends_with('N') => {}
            '0'..='9' => form.push('N'),
            '#' | '-' if form.ends_with('[') => form.push('#'),
            '#' | '-' if form.ends_with("[#") => {}
            c => form.push(c),
        }
    }
    let form = ["KiB", "GiB"].iter().fold(form, |form, unit| form.replace(unit, "MiB"));
    form.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asserts that no frame has remains of another line, a total of zero, or zero time left. At each width, each frame has
/// one of the golden forms, and the first of these was seen. There is a bar if it fits, which is always so at 100
/// columns.
#[track_caller]
fn assert_frames(frames: &[Frame], golden: &[(u16, &[&str])]) {
    for (width, rows) in frames {
        let [row] = &rows[..] else {
            assert!(rows.is_empty(), "debris at {width}: {rows:#?}");
            continue;
        };
        assert!(row.chars().count() < usize::from(*width), "{row}");
        for bad in ["/0 ", " 0 s ", "of 0 ", "ETA 0"] {
            assert!(!row.contains(bad), "{row}");
        }
    }
    for (width, forms) in golden {
        let of_width = frames.iter().filter(|(at, rows)| at == width && !rows.is_empty());
        let seen: BTreeSet<String> = of_width.map(|(_, rows)| form(&rows[0])).collect();
        assert!(*width < 100 || seen.iter().any(|form| form.contains("[#]")), "{seen:#?}");
        let seen: BTreeSet<String> = seen.iter().map(|form| form.replace("[#] ", "")).collect();
        for form in &seen {
            assert!(forms.contains(&form.as_str()), "{form:?} at {width} is not golden");
        }
        assert!(seen.contains(forms[0]), "{:?} was not seen at {width}: {seen:#?}", forms[0]);
    }
    assert_eq!(frames.last().map(|(_, rows)| rows.len()), Some(0), "the line is gone at the end");
}

/// Returns a host with photos and a bucket behind a link.
fn host(server: &S3Server) -> Host {
    let mut host = Host::with_bucket(server);
    shoot(&host.path("photos"), 1, 3);
    host.run("init --pack-class STANDARD --pack-size 1MiB").ok();
    host.export_identity();
    let link = slow_link(&server.endpoint(), 1.5e6);
    host.set("AWS_ENDPOINT_URL", &link);
    host
}

#[test]
fn a_snapshot_a_check_and_a_restore() {
    if let Some(why) = terminal::missing() {
        return left_out("progress in a terminal", &why);
    }
    let server = S3Server::start();
    let host = host(&server);
    let frames = narrowing(host.command("snapshot photos"), " left");
    let wide: &[&str] = &[
        "snapshot N% N/N MiB N/N files N MiB/s N s left",
        "snapshot N% N/N MiB N/N files N MiB/s finishing",
        "snapshot N% N/N MiB N/N files",
        "snapshot N/N MiB N/N files still counting",
        "snapshot still counting",
        // On a slow machine, this is shown before any counts are known.
        "snapshot",
    ];
    let narrow: &[&str] = &["snapshot N% N/N MiB N s left", "snapshot N% N/N MiB finishing"];
    assert_frames(&frames, &[(100, wide), (80, wide), (60, wide), (40, narrow)]);

    let frames = narrowing(host.command("check --read-data"), " left");
    // Other steps end almost immediately.
    let is_read = |row: &String| row.starts_with("reading data");
    let frames = frames.into_iter().filter(|(_, rows)| rows.is_empty() || rows.iter().any(is_read));
    let wide: &[&str] = &[
        "reading data N% N/N MiB N/N objects N MiB/s N s left",
        "reading data N% N/N MiB N/N objects N MiB/s finishing",
        "reading data N% N/N MiB N/N objects",
        "reading data",
    ];
    let middle: &[&str] =
        &["reading data N% N/N MiB N MiB/s N s left", "reading data N% N/N MiB N MiB/s finishing"];
    let narrow: &[&str] =
        // The bytes are left out if they have too many digits.
        &[
            "reading data N% N/N MiB N s left",
            "reading data N% N/N MiB finishing",
            "reading data N% N s left",
            "reading data N% finishing",
        ];
    let golden = [(100, wide), (80, wide), (60, middle), (40, narrow)];
    assert_frames(&frames.collect::<Vec<_>>(), &golden);

    let frames = narrowing(host.command("restore latest:photos -t out"), " left");
    // On a slow machine, the planning is visible as well.
    let is_restore = |row: &String| row.starts_with("restore");
    let frames =
        frames.into_iter().filter(|(_, rows)| rows.is_empty() || rows.iter().any(is_restore));
    let frames = frames.collect::<Vec<_>>();
    let wide: &[&str] = &[
        "restore N% N/N MiB N/N files N MiB/s N s left",
        "restore N% N/N MiB N/N files N MiB/s finishing",
        "restore N% N/N MiB N/N files",
        "restore",
    ];
    let narrow: &[&str] = &["restore N% N/N MiB N s left", "restore N% N/N MiB finishing"];
    assert_frames(&frames, &[(100, wide), (80, wide), (60, wide), (40, narrow)]);
}

#[test]
fn an_outage_is_said_and_then_the_step_again() {
    if let Some(why) = terminal::missing() {
        return left_out("an outage in a terminal", &why);
    }
    let server = S3Server::start();
    let mut host = host(&server);
    host.set("ICECORE_RETRY_SECONDS", "60");
    let mut terminal = Terminal::start(host.command("snapshot photos"), 80);
    terminal.see(|row| row.contains(" left"));
    server.stop();
    terminal.see(|row| row.starts_with("network is away, trying again since") && row.contains('%'));
    terminal.resize(40);
    terminal.see(|row| row.starts_with("network is away since"));
    server.start_again();
    terminal.resize(80);
    terminal.see(|row| row.contains(" left"));
    let (code, frames) = terminal.end();
    assert_eq!(code, 0, "{frames:#?}");
    let last = |(width, rows): &Frame| Some((*width, form(rows.last()?)));
    let seen: BTreeSet<(u16, String)> = frames.iter().filter_map(last).collect();
    for (width, wanted) in [
        (80, "network is away, trying again since N:N N% N/N MiB"),
        (40, "network is away since N:N N%"),
        (80, "snapshot N% N/N MiB N/N files N MiB/s N s left"),
    ] {
        // Whether a bar fits depends on the number of digits.
        let is_seen =
            seen.iter().any(|(w, form)| *w == width && form.replace("[#] ", "") == wanted);
        assert!(is_seen, "{wanted} at {width}: {seen:#?}");
    }
}

#[test]
fn a_wait_for_a_thaw() {
    if let Some(why) = terminal::missing() {
        return left_out("progress of a thaw in a terminal", &why);
    }
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 3), ("oslo", 3)]);
    host.set("ICECORE_POLL_SECONDS", "1");
    let line = "restore latest:photos -t out --wait --max-cost 1";
    let mut terminal = Terminal::start(host.command(line), WIDTHS[0]);
    for columns in WIDTHS {
        terminal.resize(columns);
        terminal.see(|row| row.contains("ready"));
    }
    server.advance(48 * HOURS);
    let (code, frames) = terminal.end();
    assert_eq!(code, 0, "{frames:#?}");
    // Other tests cover the frames before and after the wait.
    let waits = frames
        .into_iter()
        .filter(|(_, rows)| rows.is_empty() || rows.len() > 1 || rows[0].contains("ready"));
    let waits: Vec<Frame> = waits
        .map(|(width, rows)| {
            let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            let any_day =
                |row: &String| days.iter().fold(row.clone(), |row, day| row.replace(day, "Day"));
            (width, rows.iter().map(any_day).collect())
        })
        .collect();
    let text = "N of N packs ready, the rest by Day N:N, next look in N s";
    assert_frames(
        &waits,
        &[
            (100, &[&format!("thaw {text}")]),
            (80, &[&format!("thaw {text}")]),
            (60, &[text]),
            (40, &["thaw N/N packs ready, rest by Day N:N"]),
        ],
    );
}

/// Returns the status objects of a run.
fn statuses(ran: &Ran) -> Vec<Value> {
    ran.json().into_iter().filter(|object| object["message_type"] == "status").collect()
}

/// Returns the last status of a stage.
#[track_caller]
fn last_of(ran: &Ran, stage: &str) -> Value {
    let of_stage = statuses(ran).into_iter().rfind(|status| status["stage"] == stage);
    of_stage.unwrap_or_else(|| panic!("no {stage} in {ran:#?}"))
}

#[test]
fn a_script_gets_objects_that_add_up() {
    let mut host = Host::new();
    shoot(&host.path("photos"), 1, 4);
    host.run("init").ok();
    host.export_identity();
    let bytes: u64 = host.state("photos").values().map(|node| node.size).sum();
    assert!(statuses(&host.run("--json snapshot -n photos").ok()).is_empty());
    host.run("--json-progress snapshot photos").exits(2);
    host.run("--json-progress snapshot -n photos --json").ok();
    host.run("--json --json-progress --no-progress snapshot photos").exits(2);
    let ran = host.run("--json --json-progress snapshot -n photos").ok();
    assert_eq!(last_of(&ran, "snapshot")["bytes_done"], bytes, "a dry run sends nothing");
    let ran = host.run("--json --json-progress snapshot photos").ok();
    let last = last_of(&ran, "snapshot");
    for (field, wanted) in [
        ("total_files", json!(12)),
        ("files_done", json!(12)),
        ("total_bytes", json!(bytes)),
        ("bytes_done", json!(bytes)),
        ("percent_done", json!(1.0)),
        ("total_is_final", json!(true)),
    ] {
        assert_eq!(last[field], wanted, "{field} of {last}");
    }
    assert!(last["seconds_elapsed"].is_u64() && last["seconds_remaining"].is_null(), "{last}");
    // The second time, nothing is sent, but everything counts as done.
    let last = last_of(&host.run("--json --json-progress snapshot photos").ok(), "snapshot");
    assert_eq!((&last["files_done"], &last["percent_done"]), (&json!(12), &json!(1.0)), "{last}");
    // Existing files do not count as work.
    host.run("restore latest:photos -t out").ok();
    host.remove("out/IMG_01000.CR3");
    host.remove("out/IMG_01001.JPG");
    let line = "--json --json-progress restore latest:photos -t out --overwrite if-changed";
    let last = last_of(&host.run(line).ok(), "restore");
    assert_eq!((&last["total_files"], &last["files_done"]), (&json!(2), &json!(2)), "{last}");
    assert_eq!(last["total_bytes"], json!(3_900_000), "{last}");
    // A check does not count files.
    let ran = host.run("--json --json-progress check --read-data").ok();
    for status in statuses(&ran) {
        assert!(status["total_files"].is_null() && status["files_done"].is_null(), "{status}");
    }
    let read = last_of(&ran, "reading data");
    assert_eq!(
        (&read["objects_done"], &read["percent_done"]),
        (&read["total_objects"], &json!(1.0))
    );
}

#[test]
fn a_log_gets_a_line_now_and_then_and_only_if_asked() {
    let server = S3Server::start();
    let mut host = host(&server);
    host.set("ICECORE_PROGRESS_SECONDS", "0.2");
    let line = "snapshot photos";
    let said = host.run(line).ok().stderr;
    assert!(!said.contains("snapshot: "), "{said}");
    shoot(&host.path("photos"), 2, 4);
    let said = host.run(&format!("-v {line}")).ok().stderr;
    let forms: BTreeSet<String> = said.lines().map(form).collect();
    for wanted in [
        "snapshot: N%, N of N MiB, N of N files, N MiB/s, N s left",
        "snapshot: N%, N of N MiB, N of N files, N MiB/s",
    ] {
        let known = forms.iter().any(|form| form.starts_with(wanted));
        assert!(known, "{wanted:?} is not in {forms:#?}");
    }
    assert!(!said.contains('\r') && !said.contains('\u{1b}'), "{said}");
    shoot(&host.path("photos"), 3, 1);
    let said = host.run(&format!("-v --no-progress {line}")).ok().stderr;
    assert!(!said.contains("snapshot: "), "{said}");
}
