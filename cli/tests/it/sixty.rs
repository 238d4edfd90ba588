//! Nights of a computer that was set up once and is then left alone: the scheduler calls `run --if-due` every hour, and
//! things go wrong. A simple list of what should be reported ([`List`]) knows only the faults. After each call the exit
//! code and the notifications must be those of the list, and after each day the status.
//!
//! `ICECORE_NIGHTS=60` runs the campaign, `ICECORE_SEED` another one. libfaketime fakes the clock; without it, the test
//! is left out. Without root there is no full disk.

mod list;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use icecore_testkit::{BadNetwork, MotoServer, Outages, photos, tree};
use jiff::Timestamp;
use serde_json::Value;

use self::list::{DAY, Fault, HOUR, List};
use crate::disk::{Disk, fill};
use crate::nights::faketime;
use crate::notified::Ears;
use crate::support::{BUCKET, Host, Ran, left_out, write};

/// The midnight before the first night, 2027-01-01 00:00 UTC, in seconds since 1970.
const FIRST_DAY: i64 = 1_798_761_600;
const STATE: &str = "home/.local/state/icecore/home";

/// Where the archive is.
enum Place {
    /// A folder on a disk that can be full; without root, there is none.
    Folder(Option<Disk>),
    Bucket(Bucket),
}

/// A server of S3 with a fake clock, behind a network that can be away.
struct Bucket {
    _server: MotoServer,
    network: BadNetwork,
    clock: PathBuf,
}

struct LeftAlone {
    host: Host,
    ears: Ears,
    clock: PathBuf,
    place: Place,
    random: u64,
    list: List,
    now: i64,
    /// The fault of several days, and for how many more.
    lasting: Option<(Fault, u64)>,
    counts: std::collections::BTreeMap<Fault, u64>,
    said: std::collections::BTreeMap<&'static str, u64>,
}

impl LeftAlone {
    fn on_a_disk() -> Option<LeftAlone> {
        LeftAlone::begin(Host::new(), |host| {
            let disk = Disk::nearly_full(host.path("nas"));
            (Place::Folder(disk), "nas/archive".to_owned())
        })
    }

    fn in_a_bucket() -> Option<LeftAlone> {
        let mut host = Host::new();
        let clock = host.path("clock");
        write(&clock, (FIRST_DAY - DAY / 2).to_string());
        let Some(server) = faketime().and_then(|library| MotoServer::start_at(&clock, &library))
        else {
            left_out("nights with a bucket", "moto or libfaketime is not installed");
            return None;
        };
        server.create_bucket(BUCKET);
        let none = Duration::ZERO;
        let reliable =
            Outages { seed: 0, faults_max: 0, bytes_max: 1, unit: none, stall_max: none };
        let network = BadNetwork::before(&server.endpoint(), reliable);
        for (name, value) in server.env() {
            host.set(&name, &value);
        }
        host.set("AWS_ENDPOINT_URL", &network.endpoint());
        // Each call waits this long for a network that is away.
        host.set("ICECORE_RETRY_SECONDS", "0");
        let to = format!("s3://{BUCKET}/photos --pack-class STANDARD --hot-class STANDARD");
        let bucket = Bucket { _server: server, network, clock };
        LeftAlone::begin(host, |_| (Place::Bucket(bucket), to))
    }

    /// Sets a host up for an archive at a place, with the options of `setup` that name it.
    fn begin(mut host: Host, place: impl FnOnce(&Host) -> (Place, String)) -> Option<LeftAlone> {
        let Some(clock) = faketime() else {
            left_out("nights of a computer that is left alone", "libfaketime is not installed");
            return None;
        };
        host.unset("ICECORE_REPOSITORY");
        let home = host.path("home").to_string_lossy().into_owned();
        host.set("HOME", &home);
        for number in 0..20 {
            write(&host.path(&format!("photos/{number}.cr3")), photos::bytes(number, 20_000));
        }
        let (place, to) = place(&host);
        let random = std::env::var("ICECORE_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
        let (counts, said) = Default::default();
        let away_code = if matches!(place, Place::Folder(_)) { 10 } else { 1 };
        let list = List { away_code, ..List::default() };
        let (now, lasting, ears) = (FIRST_DAY, None, Ears::open());
        let mut alone =
            LeftAlone { host, ears, clock, place, random, list, now, lasting, counts, said };
        alone.set_up(&to);
        Some(alone)
    }

    /// Runs `setup` at noon before the first night, and adds to its profile what has no option.
    fn set_up(&mut self, to: &str) {
        self.set_clock(FIRST_DAY - DAY / 2);
        let ntfy = format!("http://127.0.0.1:{}/topic", self.ears.port);
        let line = format!(
            "setup --yes --source photos --to {to} --no-identity-page --no-schedule --snapshot --ntfy {ntfy}"
        );
        self.run(&line).ok();
        self.ears.take();
        let here = self.host.path("").to_string_lossy().trim_end_matches('/').to_owned();
        let path = self.host.path("config/home.toml");
        let text = fs::read_to_string(&path).expect("the profile");
        let changed = text
            .replace("at = \"02:30\"", "at = \"02:30\"\nretries = 0")
            .replace("every = \"7d\"\nsubset = \"1%\"", "every = \"2d\"\nsubset = \"1%\"");
        let more = "[prune]\nevery = '2d'\n[keep]\nkeep-daily = 7\n[hooks]\n\
            before = 'case $(cat HERE/die 2>/dev/null) in before) rm HERE/die; kill -9 $PPID;; middle) rm HERE/die; (sleep 0.03; kill -9 $PPID) >/dev/null 2>&1 & esac'\n\
            after = 'case $(cat HERE/die 2>/dev/null) in after) rm HERE/die; kill -9 $PPID;; esac'\n";
        fs::write(&path, format!("{changed}\n{}", more.replace("HERE", &here))).expect("written");
        (self.list.last, self.list.whole, self.list.result) = (self.now, self.now, "done");
    }

    /// Sets the clock of the computer, and with it that of the store.
    fn set_clock(&mut self, now: i64) {
        self.now = now;
        if let Place::Bucket(bucket) = &self.place {
            write(&bucket.clock, now.to_string());
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.host.command(line);
        command.env("LD_PRELOAD", &self.clock).env("FAKETIME_FMT", "%s");
        command.env("FAKETIME", self.now.to_string());
        command.env("NO_FAKE_STAT", "1").env("DONT_FAKE_MONOTONIC", "1");
        command
    }

    fn run(&self, line: &str) -> Ran {
        Ran::new(line, &self.command(line).output().expect("the program starts"))
    }

    /// Returns a SplitMix64 number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Draws the fault of a day, and the hour at which it ends.
    fn draw(&mut self) -> (Fault, i64) {
        let (fault, more) = match self.lasting.take() {
            Some(lasting) => lasting,
            None => {
                let fault = match self.below(16) {
                    0 => Fault::Off,
                    1 | 2 => Fault::TargetAway,
                    3 => Fault::TargetAwayIsFine,
                    4 | 5 if matches!(self.place, Place::Folder(Some(_))) => Fault::FullDisk,
                    6 | 7 => Fault::SourceAway,
                    8 => Fault::Password,
                    9 => Fault::Killed("before"),
                    10 => Fault::Killed("middle"),
                    11 => Fault::Killed("after"),
                    _ => Fault::Nothing,
                };
                let is_long = !matches!(fault, Fault::Nothing | Fault::Killed(_));
                (fault, if is_long { self.below(5) } else { 0 })
            }
        };
        if more > 0 {
            self.lasting = Some((fault, more - 1));
            return (fault, 24);
        }
        (fault, [3, 9, 15, 24][self.below(4) as usize])
    }

    fn set(&self, fault: Fault, is_begin: bool) {
        let rename = |from: &str, to: &str| {
            let (from, to) = if is_begin { (from, to) } else { (to, from) };
            fs::rename(self.host.path(from), self.host.path(to)).expect("it is moved");
        };
        match fault {
            Fault::Nothing | Fault::Off | Fault::Killed(_) => {}
            Fault::TargetAway => match &self.place {
                Place::Folder(_) => rename("nas/archive", "nas/away"),
                Place::Bucket(bucket) => bucket.network.set_away(is_begin),
            },
            Fault::TargetAwayIsFine => {
                self.set(Fault::TargetAway, is_begin);
                let path = self.host.path("config/home.toml");
                let text = fs::read_to_string(&path).expect("the profile");
                let (is, was) = ("[run]\nonly-if-there = true\n", "[run]\n");
                let (from, to) = if is_begin { (was, is) } else { (is, was) };
                let changed = text.replace(from, to);
                assert_ne!(text, changed);
                fs::write(&path, changed).expect("the profile");
            }
            Fault::FullDisk if is_begin => fill(&self.host.path("nas/full")),
            Fault::FullDisk => self.host.remove("nas/full"),
            Fault::SourceAway => {
                if !is_begin {
                    fs::remove_dir(self.host.path("photos")).expect("it is empty");
                }
                rename("photos", "photos-away");
                if is_begin {
                    fs::create_dir(self.host.path("photos")).expect("a folder");
                }
            }
            Fault::Password => {
                let word = if is_begin { "another one" } else { crate::support::PASSWORD };
                fs::write(self.host.path("password"), format!("{word}\n")).expect("a password");
            }
        }
    }

    fn day(&mut self, day: i64) {
        let (fault, ends) = self.draw();
        *self.counts.entry(fault).or_default() += 1;
        let midnight = FIRST_DAY + day * DAY;
        let photo = self.host.path(&format!("photos/of-day-{day}.cr3"));
        write(&photo, photos::bytes(1_000 + day as u64, 20_000));
        self.set(fault, true);
        if let Fault::Killed(when) = fault {
            write(&self.host.path("die"), when);
        }
        for hour in 0..24 {
            if hour == ends {
                self.set(fault, false);
            }
            self.set_clock(midnight + hour * HOUR + HOUR / 2);
            match fault {
                Fault::Off if hour < ends => {}
                fault if hour < ends => self.call(fault),
                _ => self.call(Fault::Nothing),
            }
        }
        self.set_clock(midnight + DAY - 60);
        if fault != Fault::Off || ends < 24 {
            self.look(fault);
        }
        if ends == 24 {
            self.set(fault, false);
        }
        self.host.remove("die");
    }

    /// One call of the scheduler.
    fn call(&mut self, fault: Fault) {
        let kills = matches!(fault, Fault::Killed(_)) && self.host.path("die").exists();
        let fault =
            if matches!(fault, Fault::Killed(_)) && !kills { Fault::Nothing } else { fault };
        let before = self.list.clone();
        let expected = self.list.call(self.now, fault);
        let output = self.command("run --if-due").output().expect("the program starts");
        let was_due = before.is_due(self.now);
        // A signal that comes after a run has left its record does not count as a kill.
        let has_record = fs::read(self.host.path(&format!("{STATE}/lock"))).expect("it").is_empty();
        let is_killed = output.status.signal() == Some(9) && !has_record;
        let ran = Ran::new("run --if-due", &output);
        if fault == Fault::Killed("middle") && !is_killed {
            self.list = before;
            self.list.call(self.now, Fault::Nothing);
        } else {
            assert_eq!(ran.code, expected, "{fault:?} at {}: {ran:#?}", self.clock_text());
        }
        if is_killed {
            // A snapshot that has begun may still be completed, and then counts.
            std::thread::sleep(Duration::from_millis(500));
            self.list.whole = self.newest(&self.status());
        }
        if was_due {
            if matches!(self.place, Place::Folder(_)) {
                self.date(&self.host.path("nas"));
            }
            self.date(&self.host.path(&format!("{STATE}/logs")));
        }
        self.hears(fault);
    }

    /// Sets the times of files below a folder to the fake clock, if the system has dated the files. Times that the
    /// system sets have fractions of a second.
    fn date(&self, folder: &Path) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.now.unsigned_abs());
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                self.date(&entry.path());
                continue;
            }
            let file = fs::File::options().read(true).open(entry.path()).expect("a file");
            let time = file.metadata().and_then(|data| data.modified()).expect("a time");
            let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            if since.subsec_nanos() != 0 {
                file.set_modified(now).expect("a time can be set");
            }
        }
    }

    fn hears(&mut self, fault: Fault) {
        let titles = ["needs attention", "is well again"];
        let titles = titles.into_iter().chain(["is overdue", "failed"]);
        let title = |headers: &str| {
            let line = headers.lines().find(|line| line.starts_with("title:")).expect("a title");
            titles.clone().find(|title| line.contains(title)).expect("a known title")
        };
        let heard: Vec<_> = self.ears.take().iter().map(|asked| title(&asked.headers)).collect();
        let expected = std::mem::take(&mut self.list.said);
        assert_eq!(heard, expected, "{fault:?} at {}: {:#?}", self.clock_text(), self.list);
        for title in heard {
            *self.said.entry(title).or_default() += 1;
        }
    }

    fn status(&self) -> Ran {
        self.run("--json status")
    }

    /// Returns the time of the newest snapshot that counts; the recorded one if the archive is away.
    fn newest(&self, status: &Ran) -> i64 {
        let line = status.stdout.lines().next().expect("a profile");
        let json: Value = serde_json::from_str(line).expect("JSON");
        json["newest_snapshot"].as_str().map_or(self.list.whole, seconds)
    }

    /// Compares the status at the end of a day with the list.
    fn look(&self, fault: Fault) {
        let status = self.status();
        let json: Value =
            serde_json::from_str(status.stdout.lines().next().expect("a profile")).expect("JSON");
        let list = &self.list;
        let at = format!("{fault:?} at {}: {json:#} {list:#?}", self.clock_text());
        assert_eq!(status.code, list.status(self.now), "{at}");
        assert_eq!(json["overdue"], list.is_overdue(self.now), "{at}");
        assert_eq!(json["failures_in_a_row"], list.failures, "{at}");
        if !list.was_killed {
            assert_eq!(json["result"], list.result, "{at}");
        }
        assert_eq!(self.newest(&status), list.whole, "{at}");
        if fault == Fault::Nothing {
            // A night without a fault has its snapshot, whatever was before.
            assert!(list.whole > self.now - DAY, "{at}");
        }
    }

    fn clock_text(&self) -> String {
        Timestamp::from_second(self.now).expect("a time").to_string()
    }
}

fn seconds(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a time").as_second()
}

#[test]
fn set_up_once_and_left_alone() {
    LeftAlone::on_a_disk().into_iter().for_each(|alone| live_through(alone, 10));
}

#[test]
fn set_up_once_with_a_bucket_and_left_alone() {
    LeftAlone::in_a_bucket().into_iter().for_each(|alone| live_through(alone, 3));
}

/// Lives through the days of `ICECORE_NIGHTS`, or else through `few`.
fn live_through(mut alone: LeftAlone, few: i64) {
    let days = std::env::var("ICECORE_NIGHTS").map_or(few, |days| days.parse().expect("a number"));
    for day in 0..days {
        alone.day(day);
    }
    let runs = fs::metadata(alone.host.path(&format!("{STATE}/runs.jsonl"))).expect("runs").len();
    eprintln!(
        "{days} days, {:?}, said {:?}; runs.jsonl has {runs} bytes",
        alone.counts, alone.said
    );
    // A night without a fault makes up for everything, and then every photo is in the archive.
    alone.lasting = Some((Fault::Nothing, 0));
    alone.day(days);
    let photos = alone.host.path("photos").display().to_string();
    alone.run(&format!("-P home -q restore latest:{photos} --target back")).ok();
    tree::assert_same_as(&alone.host.state("photos"), alone.host.path("back"));
}
