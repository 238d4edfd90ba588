//! Runs one command after the other, each killed at a random moment. After each, the archive opens, a check passes, and
//! acknowledged snapshots can be restored.
//!
//! `ICECORE_ROUNDS=1000` runs the campaign, `ICECORE_SEED` another one. The seed does not determine how far a process
//! has come when it is killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use icecore_testkit::{S3Server, photos};

use crate::support::{Host, Ran, State, write};

/// Number of snapshots that prunes keep, and that must therefore exist.
const KEEP: usize = 6;
/// Number of rounds after which everything is restored, and leftovers of killed runs must be deleted.
const THOROUGH: u64 = 50;
/// A price table in which everything is free, so that partially live packs are repacked.
const FREE: &str = "date = \"2026-11-01\"\nsource = \"-\"\n[region.free]\negress_free_gb = 0\n\
    egress = [{ per_gb = 0.0 }]\n[region.free.class.STANDARD]\n\
    storage_per_gb_month = 0.0\nput_per_1000 = 0.0\nget_per_1000 = 0.0\n";

/// Counts of the runs of one command.
#[derive(Debug, Default)]
struct Counts {
    runs: u64,
    /// Kills that met a running process.
    killed: u64,
    usual: Duration,
}

struct Campaign {
    host: Host,
    random: u64,
    counts: BTreeMap<&'static str, Counts>,
    /// Acknowledged snapshots, by round.
    acknowledged: BTreeMap<u64, (String, State)>,
    restored: u64,
    killed_after_acknowledging: u64,
    repacked: u64,
    /// Maximum number of objects at any time that are not in the log.
    left_most: u64,
}

impl Campaign {
    fn new(mut host: Host, init: &str) -> Campaign {
        std::fs::write(host.path("prices"), FREE).expect("prices");
        host.run(init).ok();
        host.export_identity();
        let random = std::env::var("ICECORE_SEED").map_or(1, |seed| seed.parse().expect("a seed"));
        for number in 0..8 {
            let path = host.path(&format!("photos/{}/{number}.cr3", number % 4));
            write(&path, photos::bytes(number, 250_000));
        }
        Campaign {
            host,
            random,
            counts: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            restored: 0,
            killed_after_acknowledging: 0,
            repacked: 0,
            left_most: 0,
        }
    }

    /// Returns a SplitMix64 number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Adds and removes a few photos; some return.
    fn edit(&mut self, round: u64) {
        for _ in 0..=self.below(2) {
            let number = self.below(16);
            let path = self.host.path(&format!("photos/{}/{number}.cr3", number % 4));
            if path.exists() {
                std::fs::remove_file(path).expect("a photo");
            } else {
                write(&path, photos::bytes(number, 250_000));
            }
        }
        // A file whose content and size no other round has.
        write(
            &self.host.path("photos/notes.xmp"),
            photos::bytes(1000 + round, 3000 + round as usize),
        );
    }

    fn round(&mut self, round: u64, repository: &dyn Fn(u64) -> String) {
        self.edit(round);
        match round % 15 {
            9 => self.init(&repository(round)),
            4 | 7 | 11 => self.restore(),
            2 | 5 | 8 | 12 => self.prune(),
            _ => self.snapshot(round),
        }
        let checked = self.host.run("--json check").ok().summary();
        let left = checked["objects_unreferenced"].as_u64().expect("a number");
        self.left_most = self.left_most.max(left);
        let thorough = round.is_multiple_of(THOROUGH);
        self.all_are_there(thorough);
    }

    fn snapshot(&mut self, round: u64) {
        let photos = self.host.state("photos");
        let line = format!("--json snapshot --tag {round} photos");
        let (ran, hit) = self.killed("snapshot", self.host.command(&line));
        // A printed snapshot is acknowledged, however the process ends afterwards.
        match summary(&ran).and_then(|summary| Some(summary["snapshot_id"].as_str()?.to_owned())) {
            Some(id) => {
                self.killed_after_acknowledging += u64::from(hit);
                self.acknowledged.insert(round, (id, photos));
            }
            None => assert!(hit, "{ran:#?}"),
        }
    }

    fn prune(&mut self) {
        let line = format!("--json prune --now --keep-last {KEEP}");
        let mut command = self.host.command(&line);
        if self.below(2) == 0 {
            // Without the identity, no pack is repacked.
            command.env_remove("ICECORE_IDENTITY");
        } else if !self.host.path("repo").exists() {
            command.args(["--prices", "prices"]);
        }
        let (ran, hit) = self.killed("prune", command);
        assert!(hit || ran.code == 0, "{ran:#?}");
        let repacked = summary(&ran).and_then(|summary| summary["packs_repacked"].as_u64());
        self.repacked += repacked.unwrap_or(0);
    }

    /// Restores into a target that killed restores may have left incomplete.
    fn restore(&mut self) {
        let Some((id, photos)) = self.acknowledged.values().last().cloned() else { return };
        let line = format!("restore {id}:photos --target half --overwrite if-changed --delete");
        let (ran, hit) = self.killed("restore", self.host.command(&line));
        assert!(hit || ran.code == 0, "{ran:#?}");
        if hit {
            self.host.run(&line).ok();
        }
        icecore_testkit::tree::assert_same_as(&photos, self.host.path("half"));
    }

    /// Creates another repository. After a kill, it either exists, or can be created.
    fn init(&mut self, repository: &str) {
        let line = format!("--repo {repository} init --password-file password");
        let (ran, hit) = self.killed("init", self.host.command(&line));
        assert!(hit || ran.code == 0, "{ran:#?}");
        let again = self.host.run(&line);
        let is_there = again.code == 1 && again.stderr.contains("there is already an archive at");
        assert!(again.code == 0 || is_there, "{again:#?}");
        let line = format!("--repo {repository} --password-file password check");
        let opened = self.host.command(&line).env_remove("ICECORE_IDENTITY").output();
        Ran::new(&line, &opened.expect("it starts")).ok();
    }

    /// Runs a command and kills it in three of four rounds, at any moment of its usual duration or just after. Returns
    /// whether the kill hit it.
    fn killed(&mut self, name: &'static str, mut command: Command) -> (Ran, bool) {
        let moment = self.below(1100);
        let spared = self.below(4) == 0;
        let counts = self.counts.entry(name).or_default();
        let after = counts.usual.mul_f64(moment as f64 / 1000.0);
        // The first run shows how long they take.
        let kill = counts.runs > 0 && !spared;
        let begun = Instant::now();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        while kill && begun.elapsed() < after {
            if child.try_wait().expect("a child can be asked").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        if kill {
            child.kill().expect("it is killed, or has ended");
        }
        let output = child.wait_with_output().expect("it ends");
        let hit = output.status.code().is_none();
        counts.runs += 1;
        counts.killed += u64::from(hit);
        if !hit {
            // Do not use the mean: if the machine was busy at first, many kills would come too late.
            counts.usual = begun.elapsed();
        }
        (Ran::new(name, &output), hit)
    }

    /// Asserts that acknowledged snapshots are listed, unless there are enough newer ones, and can be restored: the
    /// newest one, or all.
    fn all_are_there(&mut self, all: bool) {
        let listed = self.host.run("--json snapshots").ok().json();
        let listed: BTreeMap<u64, String> = listed
            .iter()
            .filter(|line| line["message_type"] == "snapshot")
            .map(|line| {
                let tag = line["tags"][0].as_str().expect("a tag").parse().expect("a round");
                (tag, line["id"].as_str().expect("an id").to_owned())
            })
            .collect();
        let newest = listed.keys().rev().nth(KEEP - 1).copied();
        self.acknowledged.retain(|round, (id, _)| match listed.get(round) {
            Some(other) => {
                assert_eq!(id, other, "round {round} is another snapshot");
                true
            }
            // The policy has dropped it.
            None => {
                assert!(newest > Some(*round), "round {round} is gone: {listed:?}");
                false
            }
        });
        let wanted = if all { self.acknowledged.len() } else { 1 };
        for (id, photos) in self.acknowledged.values().rev().take(wanted) {
            self.host.restores(id, photos);
            self.restored += 1;
        }
    }

    /// Asserts that a prune deletes what killed runs have left once it is old enough, and nothing else.
    fn clean_up(&mut self) {
        let repo = self.host.path("repo");
        if repo.is_dir() {
            let aged = Command::new("find")
                .arg(&repo)
                .args(["-type", "f", "-exec", "touch", "-d", "3 days ago", "{}", "+"])
                .status();
            assert!(aged.is_ok_and(|status| status.success()), "files can be aged");
            // The first prune finds out what became of a killed upload, and the second deletes it.
            for _ in 0..2 {
                self.host.run(&format!("prune --now --keep-last {KEEP}")).ok();
            }
            let checked = self.host.run("--json check --read-data").ok().summary();
            assert_eq!(checked["objects_unreferenced"], 0, "{checked}");
            assert_eq!(unfinished(&repo), 0, "files that no run will finish are left");
        }
        self.all_are_there(true);
    }

    /// Returns the number of kills that met a running process.
    fn kills(&self) -> u64 {
        self.counts.values().map(|counts| counts.killed).sum()
    }

    fn run(mut self, rounds: u64, repository: impl Fn(u64) -> String) {
        let begun = Instant::now();
        let mut round = 0;
        // On a busy machine, most kills of a short campaign may come too late.
        while round < rounds || (self.kills() <= rounds / 4 && round < 4 * rounds) {
            round += 1;
            self.round(round, &repository);
            if round.is_multiple_of(THOROUGH) {
                self.clean_up();
                println!("{round} rounds, {:.0} s", begun.elapsed().as_secs_f64());
            }
        }
        self.host.run("check --read-data").ok();
        self.clean_up();
        println!(
            "{round} rounds, {:.0} s: {:?}; {} snapshots restored; killed after the \
             acknowledgement: {}; {} packs emptied; at most {} objects left by kills",
            begun.elapsed().as_secs_f64(),
            self.counts,
            self.restored,
            self.killed_after_acknowledging,
            self.repacked,
            self.left_most,
        );
        let killed = self.kills();
        assert!(killed > rounds / 4, "only {killed} kills met a running process");
        // Each killed run leaves at most the packs that it was uploading, and an entry.
        assert!(self.left_most <= 6 * killed, "{} objects were left", self.left_most);
    }
}

fn summary(ran: &Ran) -> Option<serde_json::Value> {
    let lines = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.into_iter().find(|line: &serde_json::Value| line["message_type"] == "summary")
}

fn unfinished(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| match path.is_dir() {
            true => unfinished(&path),
            false => usize::from(path.to_string_lossy().contains('#')),
        })
        .sum()
}

fn rounds() -> u64 {
    std::env::var("ICECORE_ROUNDS").map_or(15, |rounds| rounds.parse().expect("a number"))
}

#[test]
fn killed_on_disk() {
    let campaign = Campaign::new(Host::new(), "init --pack-size 1MiB");
    campaign.run(rounds(), |round| format!("other-{round}"));
}

#[test]
fn killed_at_a_bucket() {
    let server = S3Server::start();
    let init = "init --pack-class STANDARD --hot-class STANDARD --pack-size 1MiB";
    let campaign = Campaign::new(Host::with_bucket(&server), init);
    let bucket = crate::support::BUCKET;
    campaign.run(rounds(), |round| format!("s3://{bucket}/other-{round}"));
}
