//! Kills a program that writes a catalog, before and during a snapshot.
//!
//! `ICECORE_CATALOGS=200` runs the campaign, `ICECORE_SEED` another one. The seed does not determine how far the writer
//! has come when it is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{host, integrity};
use crate::support::Ran;

const WRITER: &str = include_str!("writer.py");
const MODES: [&str; 4] = ["wal", "delete", "truncate", "persist"];

struct Random(u64);

impl Random {
    /// Returns a number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().expect("a number"))
}

fn writer(database: &Path, mode: &str, seed: u64) -> Child {
    let mut writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(database)
        .args([mode, &seed.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is there, as a test run needs it");
    let mut line = String::new();
    let output = writer.stdout.as_mut().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("it says when it is ready");
    assert_eq!(line, "ready\n");
    writer
}

/// Returns how many photos a catalog contains, and how many it records.
fn counts(catalog: &Path) -> rusqlite::Result<(i64, i64)> {
    let catalog = Connection::open(catalog)?;
    catalog.query_row("SELECT (SELECT count(*) FROM photo), n FROM total", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

#[test]
fn a_catalog_is_whole_in_every_snapshot_whenever_its_program_is_killed() {
    let (rounds, seed) = (number("ICECORE_CATALOGS", 6), number("ICECORE_SEED", 1));
    let mut random = Random(seed);
    let host = host();
    let mut seen = [[0_u64; 3]; MODES.len()];
    let mut begun = None;
    for round in 0..rounds {
        let which = (round % MODES.len() as u64) as usize;
        // A program keeps its journal mode; a new mode begins with a new catalog.
        if round % 20 < MODES.len() as u64 {
            host.remove(&format!("lr-{which}"));
            std::fs::create_dir(host.path(&format!("lr-{which}"))).expect("a folder");
        }
        let folder = format!("lr-{which}");
        let catalog = host.path(&folder).join("Catalog.lrcat");
        let mut process = writer(&catalog, MODES[which], seed + round);
        std::thread::sleep(Duration::from_millis(random.below(400)));
        // Kill the writer before or during the snapshot, or let it write during the whole snapshot.
        let when = random.below(3);
        if when == 0 {
            process.kill().expect("it is killed");
            process.wait().expect("it ends");
        }
        let mut command = host.command(&format!("snapshot {folder}"));
        let started = Instant::now();
        let snapshot =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        if when == 1 {
            let usual = begun.unwrap_or(Duration::from_millis(300));
            let moment = usual.mul_f64(random.below(1000) as f64 / 1000.0);
            std::thread::sleep(moment);
            process.kill().expect("it is killed");
        }
        let ran = Ran::new("snapshot", &snapshot.wait_with_output().expect("it ends"));
        begun = Some(started.elapsed());
        // The process may have ended or been killed already.
        let _ = process.kill();
        process.wait().expect("it ends");
        assert!([0, 3].contains(&ran.code), "round {round}: {ran:#?}");
        host.remove("out");
        host.run(&format!("restore latest:{folder} --target out")).ok();
        let copy = host.path("out/Catalog.lrcat");
        let whole = integrity(&copy) == "ok" && counts(&copy).is_ok_and(|(is, says)| is == says);
        seen[which][0] += 1;
        seen[which][1] += u64::from(whole);
        seen[which][2] += u64::from(ran.code == 3);
        if ran.code == 3 {
            eprintln!(
                "round {round}, {}, {when}: whole {whole}: {}",
                MODES[which],
                ran.stderr.trim_end()
            );
        }
        assert!(
            whole || ran.code == 3,
            "round {round}, {}: torn, and not a word: {ran:#?}",
            MODES[which]
        );
        host.run("prune --now --keep-last 2").ok();
    }
    let mut all_whole = 0;
    for (mode, [rounds, whole, named]) in MODES.iter().zip(seen) {
        eprintln!("{mode}: {whole} of {rounds} are whole; the run said 3 in {named}");
        all_whole += whole;
    }
    // On a busy machine, a program without a write-ahead log may leave SQLite no time to begin a copy, which the run
    // reports (checked above). The campaign runs alone.
    let wanted = if std::env::var_os("ICECORE_CATALOGS").is_some() { rounds } else { rounds / 2 };
    assert!(all_whole >= wanted, "{all_whole} of {rounds} are whole");
}
