//! Very many small files: a snapshot, another one without changes, a check, and a restore of a
//! folder.
//!
//! `ICECORE_FILES=1000000` is the campaign.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use icecore_testkit::tree;

use crate::support::{Host, Ran, write};

const FOLDER: u64 = 1000;
/// Memory limit of every command, however many files there are.
const MEMORY_MAX_KB: u64 = 1 << 20;

/// Runs a command, and checks its peak memory.
fn measured(host: &Host, line: &str) -> Ran {
    let mut command = host.command(line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let mut peak = 0;
    while child.try_wait().expect("a child can be asked").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|most| most.trim().strip_suffix(" kB")?.parse().ok());
        peak = most.unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = Ran::new(line, &child.wait_with_output().expect("it ends")).ok();
    println!("{line}: {:.1} s, {} MiB", begun.elapsed().as_secs_f64(), peak >> 10);
    assert!(peak < MEMORY_MAX_KB, "{line}: {peak} kB");
    ran
}

#[test]
fn files() {
    let files: u64 =
        std::env::var("ICECORE_FILES").map_or(3 * FOLDER, |files| files.parse().expect("a number"));
    let mut host = Host::new();
    for number in 0..files {
        let path = host.path(&format!("photos/{}/{number}.xmp", number / FOLDER));
        write(&path, format!("rating of photo {number}"));
    }
    host.run("init").ok();
    host.export_identity();
    let first = measured(&host, "--json snapshot photos").summary();
    assert_eq!(
        (first["files_new"].as_u64(), first["files_failed"].as_u64()),
        (Some(files), Some(0))
    );
    // File times that are only seconds old are not trusted yet.
    std::thread::sleep(Duration::from_secs(4));
    measured(&host, "--json snapshot photos");
    let again = measured(&host, "--json snapshot photos").summary();
    assert_eq!(again["files_unmodified"].as_u64(), Some(files), "{again}");
    assert!(again["bytes_stored"].as_u64() < Some(20_000), "{again}");
    measured(&host, "check");
    measured(&host, "check --read-data");
    measured(&host, "restore latest:photos/1 --target out");
    tree::assert_same(host.path("photos/1"), host.path("out"));
    measured(&host, "find 1234.xmp");
    host.remove("cache");
    measured(&host, "rebuild-index");
}
