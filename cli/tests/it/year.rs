//! A year of nights: what this computer keeps beside the archive (logs, records, the cache, what it knows of mirrors)
//! does not grow without bound.
//!
//! `ICECORE_NIGHTS=365` lives through the year. libfaketime fakes the clock; without it, the test is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use icecore_testkit::photos;

use crate::nights::faketime;
use crate::support::{Host, Ran, left_out, write};

/// 2025-01-01 02:30 UTC, in seconds since 1970. The year is over by the real clock, which dates new files: none of them
/// looks old before its night is over.
const FIRST_NIGHT: u64 = 1_735_698_600;
const DAY: u64 = 24 * 3_600;
/// By then, the logs of 30 days are there, and the policy of `[keep]` drops as many snapshots as are added.
const SETTLED: u64 = 60;
/// Nights after which a file that each of them leaves behind would be seen.
const FEW: u64 = 75;
/// Photos in the library; a night replaces one of them.
const PHOTOS: u64 = 12;

/// The files and bytes of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kept {
    files: u64,
    bytes: u64,
}

struct Year {
    host: Host,
    clock: std::path::PathBuf,
    now: u64,
}

impl Year {
    fn begin() -> Option<Year> {
        let Some(clock) = faketime() else {
            left_out("a year of nights", "libfaketime is not installed");
            return None;
        };
        let mut host = Host::new();
        let home = host.path("home").to_string_lossy().into_owned();
        host.set("HOME", &home);
        host.unset("ICECORE_REPOSITORY");
        let password = host.path("password").display().to_string();
        let profile = format!(
            "repo = 'HERE/archive'\npassword-file = '{password}'\nsources = ['HERE/photos']\n\
            [run]\nat = '02:30'\n[check]\nevery = '7d'\nsubset = '5%'\n[mirror]\nto = 'HERE/copy'\n\
            [prune]\nevery = '7d'\n[keep]\nkeep-daily = 7\nkeep-weekly = 4\n"
        );
        let here = host.path("").to_string_lossy().trim_end_matches('/').to_owned();
        write(&host.path("config/home.toml"), profile.replace("HERE", &here));
        (0..PHOTOS).for_each(|number| photo(&host, number));
        let year = Year { host, clock, now: FIRST_NIGHT - DAY / 2 };
        year.run("-P home init").ok();
        Some(year)
    }

    fn run(&self, line: &str) -> Ran {
        let mut command = self.host.command(line);
        command.env("LD_PRELOAD", &self.clock).env("FAKETIME_FMT", "%s");
        command.env("FAKETIME", self.now.to_string());
        command.env("NO_FAKE_STAT", "1").env("DONT_FAKE_MONOTONIC", "1");
        Ran::new(line, &command.output().expect("the program starts"))
    }

    fn night(&mut self, night: u64) {
        self.now = FIRST_NIGHT + night * DAY;
        self.host.remove(&format!("photos/{night}.cr3"));
        photo(&self.host, night + PHOTOS);
        self.run("-q run --if-due").ok();
        for folder in ["archive", "copy", "cache", "home"] {
            self.date(&self.host.path(folder));
        }
    }

    /// Gives the time of the fake clock to files that the system has dated: these times have fractions of a second.
    fn date(&self, folder: &Path) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.now);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                self.date(&entry.path());
                continue;
            }
            let file = fs::File::open(entry.path()).expect("a file");
            let time = file.metadata().and_then(|data| data.modified()).expect("a time");
            let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            if since.subsec_nanos() != 0 {
                file.set_modified(now).expect("a time can be set");
            }
        }
    }

    /// Returns what this computer keeps, by the folder or the name of the files.
    fn kept(&self) -> BTreeMap<String, Kept> {
        let mut kept = BTreeMap::new();
        for folder in ["cache", "home", "config"] {
            let root = self.host.path(folder);
            count(&root, &root, &mut |kind, bytes| {
                let kept: &mut Kept = kept.entry(format!("{folder}/{kind}")).or_default();
                kept.files += 1;
                kept.bytes += bytes;
            });
        }
        kept
    }
}

/// Writes the photo of this number.
fn photo(host: &Host, number: u64) {
    write(&host.path(&format!("photos/{number}.cr3")), photos::bytes(number, 20_000));
}

/// Passes the kind and the bytes of each file below a folder on. Files whose names differ in digits are of one kind.
fn count(root: &Path, folder: &Path, add: &mut impl FnMut(String, u64)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            count(root, &path, add);
            continue;
        }
        let name = path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
        let kind = name.split('/').map(|part| match part.contains(|c: char| c.is_ascii_digit()) {
            true => "…",
            false => part,
        });
        let bytes = entry.metadata().expect("a file").len();
        add(kind.collect::<Vec<_>>().join("/"), bytes);
    }
}

#[test]
fn a_year_of_nights_leaves_this_computer_as_it_is() {
    let Some(mut year) = Year::begin() else { return };
    let nights =
        std::env::var("ICECORE_NIGHTS").map_or(FEW, |nights| nights.parse().expect("a number"));
    let mut settled = BTreeMap::new();
    for night in 0..nights {
        year.night(night);
        if night + 1 == SETTLED {
            settled = year.kept();
        }
        if (night + 1).is_multiple_of(SETTLED) {
            eprintln!("after {} nights: {:#?}", night + 1, year.kept());
        }
    }
    let kept = year.kept();
    eprintln!("after {nights} nights: {kept:#?}");
    let runs = fs::read_to_string(year.host.path("home/.local/state/icecore/home/runs.jsonl"));
    let runs = runs.expect("runs");
    assert_eq!(runs.lines().count() as u64, nights, "each night has had its run");
    for step in ["snapshot", "check", "mirror", "prune"] {
        let name = format!("\"name\":\"{step}\"");
        assert!(runs.lines().filter(|run| run.contains(&name)).count() > 5, "{step}");
    }
    let logs = kept.iter().filter(|(kind, _)| kind.contains("/logs/"));
    let logs: u64 = logs.map(|(_, kept)| kept.files).sum();
    assert!((30..=32).contains(&logs), "{logs} logs");
    let nights = nights.max(SETTLED);
    for (kind, now) in &kept {
        let then = settled.get(kind).copied().unwrap_or_default();
        assert!(now.files <= then.files + 1, "{kind}: {then:?}, and then {now:?}");
        let more = match kind.rsplit('/').next() {
            // A line for each of the last 1000 runs.
            Some("runs.jsonl") => (nights - SETTLED) * then.bytes / SETTLED,
            // The log of the archive, of which it is the index.
            Some("catalog.sqlite") => (nights - SETTLED) * 2_000,
            _ => 0,
        };
        let bytes_max = then.bytes + then.bytes / 5 + more + 10_000;
        assert!(now.bytes <= bytes_max, "{kind}: {then:?}, and then {now:?}");
    }
}
