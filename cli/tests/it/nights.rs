//! A season of nights: a library in use, unmounted disks, a missing target or network, a wrong clock, a killed process,
//! a library that an attacker encrypts. After each night, every acknowledged photo that its owner has not deleted can
//! be restored, and an incomplete night does not end with code 0.
//!
//! `ICECORE_NIGHTS=60` runs the campaign, `ICECORE_SEED` another one. libfaketime fakes the clock if it is installed;
//! otherwise all nights have the time of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use icecore_testkit::{BadNetwork, Outages, Port, S3Server, photos};

use crate::support::{Host, Ran, left_out, write};

/// The evening before the first night, 2027-01-01 02:30 UTC, in seconds since 1970.
const FIRST_NIGHT: i64 = 1_798_770_600;
const DAY: i64 = 86_400;
/// Maximum size of a photo; half of the photos are small files.
const PHOTO_BYTES: u64 = 900_000;

/// Content of files by their path below the folder of the host.
type Photos = BTreeMap<String, Vec<u8>>;

/// The trouble of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Nothing,
    /// The disk of the photos is not mounted, so its folder is empty.
    SourceAway,
    /// The disk of the archive is not mounted, or no server answers.
    TargetAway,
    /// Connections are reset, stalled and cut, and the server goes away for short times.
    BadNetwork,
    /// The process is killed at some moment.
    Killed,
    /// The clock is far in the future, or in 1970.
    Clock(i64),
    /// Two thirds of the photos disappear by accident.
    Lost,
    /// All photos get other contents by accident.
    Encrypted,
}

struct Season {
    host: Host,
    /// The server, if the archive is in a bucket.
    server: Option<S3Server>,
    /// No server listens there.
    closed: Port,
    random: u64,
    night: u64,
    next_photo: u64,
    /// The photos that the owner has now, which a complete snapshot must contain.
    library: Photos,
    /// The photos that were acknowledged and that the owner did not delete.
    owed: Photos,
    /// The accident that hides the library, and for how many more nights.
    accident: Option<(Trouble, u64)>,
    faketime: Option<PathBuf>,
    troubles: BTreeMap<Trouble, u64>,
    restored: u64,
}

impl Season {
    fn on_a_disk() -> Season {
        let mut host = Host::new();
        fs::create_dir(host.path("nas")).expect("the folder of a disk");
        host.set("ICECORE_REPOSITORY", "nas/archive");
        Season::new(host, None)
    }

    fn in_a_bucket() -> Season {
        let server = S3Server::start();
        let host = Host::with_bucket(&server);
        host.run("init --pack-class STANDARD --hot-class STANDARD").ok();
        Season::new(host, Some(server))
    }

    fn new(mut host: Host, server: Option<S3Server>) -> Season {
        host.set("ICECORE_HOST", "home");
        let random = std::env::var("ICECORE_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
        let faketime = faketime();
        if faketime.is_none() {
            left_out("the clocks of the nights", "libfaketime is not installed");
        }
        Season {
            host,
            server,
            closed: Port::take(),
            random,
            night: 0,
            next_photo: 0,
            library: Photos::new(),
            owed: Photos::new(),
            accident: None,
            faketime,
            troubles: BTreeMap::new(),
            restored: 0,
        }
    }

    /// Returns a SplitMix64 number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Simulates a day of the owner: a few new photos and edits, and now and then a deletion.
    fn live(&mut self) {
        let first = self.library.is_empty();
        for _ in 0..if first { 12 } else { self.below(3) } {
            let number = self.next_photo;
            self.next_photo += 1;
            let bytes = 2_000 + self.below(PHOTO_BYTES) as usize;
            let path = format!("photos/{}/{number}.cr3", number / 8);
            self.library.insert(path, photos::bytes(number, bytes));
        }
        for _ in 0..2 {
            let (number, version) = (self.below(6), self.night);
            let path = format!("edits/{number}.xmp");
            self.library.insert(path, photos::bytes(10_000 + 10 * version + number, 3_000));
        }
        if self.below(4) == 0 {
            let nth = self.below(self.library.len() as u64) as usize;
            if let Some(path) = self.library.keys().nth(nth).cloned() {
                self.library.remove(&path);
                self.owed.remove(&path);
            }
        }
    }

    fn draw(&mut self) -> Trouble {
        if let Some((trouble, left)) = self.accident {
            self.accident = (left > 1).then_some((trouble, left - 1));
            return trouble;
        }
        let trouble = match self.below(20) {
            // The first nights create the archive without trouble.
            _ if self.night < 2 => Trouble::Nothing,
            0 | 1 => Trouble::SourceAway,
            2 => Trouble::TargetAway,
            3 | 4 => Trouble::Killed,
            5 => Trouble::Clock(4_070_908_800),
            6 => Trouble::Clock(1_000),
            7 => Trouble::Lost,
            8 => Trouble::Encrypted,
            9..=11 if self.server.is_some() => Trouble::BadNetwork,
            _ => Trouble::Nothing,
        };
        if matches!(trouble, Trouble::SourceAway | Trouble::Lost | Trouble::Encrypted) {
            let nights = self.below(6);
            self.accident = (nights > 0).then_some((trouble, nights));
        }
        trouble
    }

    /// Returns the photos that are on the disks tonight.
    fn on_disk(&self, trouble: Trouble) -> Photos {
        let mut shown = self.library.clone();
        match trouble {
            Trouble::SourceAway => shown.retain(|path, _| !path.starts_with("photos/")),
            Trouble::Lost => {
                let mut nth = 0;
                shown.retain(|path, _| {
                    nth += u32::from(path.starts_with("photos/"));
                    !path.starts_with("photos/") || nth.is_multiple_of(4)
                });
            }
            Trouble::Encrypted => {
                for content in shown.values_mut() {
                    content.iter_mut().for_each(|byte| *byte ^= 0x5a);
                }
            }
            _ => {}
        }
        shown
    }

    /// Writes tonight's photos to the disks. Unchanged files keep their times.
    fn put(&self, shown: &Photos) {
        for folder in ["photos", "edits"] {
            fs::create_dir_all(self.host.path(folder)).expect("a source");
        }
        for (name, _) in files(&self.host.path(""), &["photos", "edits"]) {
            if !shown.contains_key(&name) {
                fs::remove_file(self.host.path(&name)).expect("a photo is removed");
            }
        }
        for (name, content) in shown {
            let path = self.host.path(name);
            if fs::read(&path).ok().as_ref() != Some(content) {
                write(&path, content);
            }
        }
    }

    fn command(&self, line: &str, trouble: Trouble) -> Command {
        let mut command = self.host.command(line);
        // A server refuses clients with a wrong clock, so only the snapshot of such a night has the wrong time.
        let is_fake = self.server.is_none()
            || matches!(trouble, Trouble::Clock(_)) && line.contains(" snapshot ");
        if let Some(library) = self.faketime.as_ref().filter(|_| is_fake) {
            let tonight = FIRST_NIGHT + self.night as i64 * DAY;
            let time = if let Trouble::Clock(time) = trouble { time } else { tonight };
            command.env("LD_PRELOAD", library).env("FAKETIME_FMT", "%s");
            command.env("FAKETIME", time.to_string());
            command.env("NO_FAKE_STAT", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command
    }

    fn night(&mut self) {
        self.live();
        let trouble = self.draw();
        *self.troubles.entry(trouble).or_default() += 1;
        let shown = self.on_disk(trouble);
        self.put(&shown);
        if trouble == Trouble::TargetAway && self.server.is_none() {
            fs::rename(self.host.path("nas"), self.host.path("parked")).expect("unmounted");
            fs::create_dir(self.host.path("nas")).expect("the folder that is left");
        }
        let mut snapshot = self.command("--json snapshot --init photos edits", trouble);
        let _network = self.server.as_ref().and_then(|server| match trouble {
            Trouble::TargetAway => {
                snapshot.env("AWS_ENDPOINT_URL", format!("http://{}", self.closed.address()));
                None
            }
            Trouble::BadNetwork => {
                let network = BadNetwork::before(&server.endpoint(), outages(self.night));
                snapshot.env("AWS_ENDPOINT_URL", network.endpoint());
                snapshot.env("ICECORE_RETRY_SECONDS", "120").env("ICECORE_IDLE_SECONDS", "0.4");
                Some(network)
            }
            _ => None,
        });
        let ran = if trouble == Trouble::Killed {
            self.killed(snapshot)
        } else {
            Ran::new("snapshot", &{ snapshot }.output().expect("the program starts"))
        };
        let acknowledged = ran.stdout.contains("\"snapshot_id\":\"");
        let is_whole = match trouble {
            Trouble::Nothing | Trouble::BadNetwork => true,
            Trouble::Clock(_) => self.server.is_none() || self.faketime.is_none(),
            _ => false,
        };
        match is_whole {
            true => assert_eq!(ran.code, 0, "night {}, {trouble:?}: {ran:#?}", self.night),
            false => {
                assert!(ran.code != 0 || acknowledged && trouble == Trouble::Killed, "{ran:#?}")
            }
        }
        if acknowledged && trouble != Trouble::Encrypted {
            self.owed.extend(shown);
        }
        if trouble == Trouble::TargetAway && self.server.is_none() {
            fs::remove_dir(self.host.path("nas")).expect("nothing was made where no disk is");
            fs::rename(self.host.path("parked"), self.host.path("nas")).expect("mounted");
        }
        if self.night > 0 {
            let line = "-q prune --now --keep-last 2 --keep-daily 4";
            let ran = Ran::new(line, &self.command(line, trouble).output().expect("it starts"));
            assert_eq!(ran.code, 0, "night {}: {ran:#?}", self.night);
        }
        self.everything_restores(trouble);
        self.night += 1;
    }

    /// Runs a command, and kills it at some moment of its usual duration, or just after.
    fn killed(&mut self, mut command: Command) -> Ran {
        let out = fs::File::create(self.host.path("out")).expect("a file");
        command.stdout(out);
        let mut child = command.spawn().expect("the program starts");
        std::thread::sleep(Duration::from_millis(self.below(400)));
        // This fails only if the process has ended.
        _ = child.kill();
        let status = child.wait().expect("it ends");
        let stdout = fs::read(self.host.path("out")).expect("what it printed");
        Ran::new("snapshot", &std::process::Output { status, stdout, stderr: Vec::new() })
    }

    /// Restores all acknowledged photos from the newest snapshots that contain them.
    fn everything_restores(&mut self, trouble: Trouble) {
        let listed = Ran::new(
            "snapshots",
            &self.command("--json snapshots", trouble).output().expect("it starts"),
        );
        let mut ids: Vec<String> = listed
            .ok()
            .json()
            .iter()
            .filter_map(|line| Some(line["id"].as_str()?.to_owned()))
            .collect();
        ids.reverse();
        let mut missing = self.owed.clone();
        for id in ids {
            if missing.is_empty() {
                break;
            }
            self.host.remove("back");
            let line = format!("-q restore {id} --target back");
            let ran = Ran::new(&line, &self.command(&line, trouble).output().expect("it starts"));
            ran.ok();
            let back = files(&self.host.path("back"), &["photos", "edits"]);
            let before = missing.len();
            missing.retain(|name, content| back.get(name) != Some(content));
            self.restored += (before - missing.len()) as u64;
        }
        let names: Vec<&String> = missing.keys().collect();
        assert!(names.is_empty(), "lost after night {}, {trouble:?}: {names:?}", self.night);
    }
}

/// Returns the files below some folders, by path.
fn files(root: &Path, folders: &[&str]) -> Photos {
    let mut found = Photos::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("it is below").to_str().expect("plain");
            found.insert(name.to_owned(), fs::read(&path).expect("a photo"));
        }
    }
    found
}

/// Finds the library of the Debian package faketime.
pub fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let paths = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    { paths }.find(|path| path.is_file())
}

fn outages(seed: u64) -> Outages {
    Outages {
        seed,
        faults_max: 6,
        bytes_max: 1 << 20,
        unit: Duration::from_millis(50),
        stall_max: Duration::from_secs(3),
    }
}

fn live_through(mut season: Season) {
    let nights =
        std::env::var("ICECORE_NIGHTS").map_or(8, |count| count.parse().expect("a number"));
    for _ in 0..nights {
        season.night();
    }
    eprintln!(
        "{nights} nights, {} photos owed, {} restored, {:?}",
        season.owed.len(),
        season.restored,
        season.troubles
    );
    assert!(season.restored >= season.owed.len() as u64 && !season.owed.is_empty());
}

#[test]
fn a_season_on_a_disk() {
    live_through(Season::on_a_disk());
}

#[test]
fn a_season_in_a_bucket() {
    live_through(Season::in_a_bucket());
}
