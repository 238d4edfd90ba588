//! A campaign of kills: two hosts add snapshots to one bucket and a third prunes it, again and again, while each
//! process may be killed or suspended at any moment. Every acknowledged snapshot must be restorable.
//!
//! A seed determines the moments and the edits of the libraries, but not how far a process has come at that moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use icecore_testkit::tree::{self, Node};
use icecore_testkit::{S3Server, photos};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

#[derive(Parser)]
#[command(about = "Kill icecore at random moments, and restore what it has acknowledged")]
struct Args {
    #[arg(long, default_value = "target/release/icecore")]
    icecore: PathBuf,
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Maximum number of seconds that a frozen process sleeps
    #[arg(long, default_value_t = 10)]
    freeze: u64,
    /// Snapshots of each host that prune keeps
    #[arg(long, default_value_t = 6)]
    keep: usize,
}

const BUCKET: &str = "archive";
const HOSTS: [&str; 2] = ["a", "b"];

type Library = BTreeMap<Vec<u8>, Node>;

/// A snapshot whose success icecore has reported.
struct Acknowledged {
    host: &'static str,
    /// Number of the run that took it; also its tag.
    run: u64,
    id: String,
    library: Library,
    restored: bool,
}

#[derive(Default)]
struct Counts {
    runs: u64,
    kills: u64,
    /// Kills that met a running process.
    hits: u64,
    /// Runs that were acknowledged and then killed.
    acknowledged_and_hit: u64,
    /// Runs that were suspended for some time, like a laptop with a closed lid.
    frozen: u64,
    dropped_while_restored: u64,
}

struct Campaign {
    args: Args,
    server: S3Server,
    folder: PathBuf,
    until: Instant,
    over: AtomicBool,
    counts: Mutex<BTreeMap<&'static str, Counts>>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// Packs that prunes have repacked, according to those that ended normally.
    repacked: AtomicU64,
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    args.icecore = args.icecore.canonicalize().context("the program icecore")?;
    let temp = tempfile::tempdir()?;
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let campaign = Campaign {
        until: Instant::now() + Duration::from_secs(args.seconds),
        args,
        server,
        folder: temp.path().to_owned(),
        over: AtomicBool::new(false),
        counts: Mutex::default(),
        repacked: AtomicU64::new(0),
        acknowledged: Mutex::default(),
    };
    campaign.begin()?;
    thread::scope(|threads| {
        let hosts =
            HOSTS.map(|host| threads.spawn(|| campaign.until_over(|| campaign.takes(host))));
        let pruner = threads.spawn(|| campaign.until_over(|| campaign.prunes()));
        let restorer = threads.spawn(|| campaign.until_over(|| campaign.restores()));
        let all = hosts.into_iter().chain([pruner, restorer]);
        all.map(|thread| thread.join().expect("no thread panics")).collect::<Result<Vec<()>>>()
    })?;
    campaign.end()
}

/// A price table in which everything is free.
const FREE: &str = "date = \"2026-11-01\"\nsource = \"-\"\n[region.free]\negress_free_gb = 0\n\
    egress = [{ per_gb = 0.0 }]\n[region.free.class.STANDARD]\n\
    storage_per_gb_month = 0.0\nput_per_1000 = 0.0\nget_per_1000 = 0.0\n";

impl Campaign {
    /// Creates the archive and the folders of each host.
    fn begin(&self) -> Result<()> {
        for host in HOSTS.into_iter().chain(["p", "restorer"]) {
            fs::create_dir_all(self.folder.join(host).join("photos"))?;
        }
        fs::write(self.folder.join("password"), "correct horse\n")?;
        fs::write(self.folder.join("prices"), FREE)?;
        let init = ["init", "--pack-class=STANDARD", "--hot-class=STANDARD", "--pack-size=4MiB"];
        let export = ["key", "export", "--output", "../identity"];
        for command in [&init[..], &export] {
            self.quiet(self.command("p", command).env("ICECORE_PASSWORD_FILE", "../password"))?;
        }
        Ok(())
    }

    /// Runs one part of the campaign. If it fails, ends all others.
    fn until_over(&self, run: impl FnOnce() -> Result<()>) -> Result<()> {
        let ended = run();
        if ended.is_err() {
            self.over.store(true, Ordering::SeqCst);
        }
        ended
    }

    fn is_running(&self) -> bool {
        Instant::now() < self.until && !self.over.load(Ordering::SeqCst)
    }

    fn command(&self, host: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.args.icecore);
        command
            .args(args)
            .env_clear()
            .envs(self.server.env())
            .env("ICECORE_REPOSITORY", format!("s3://{BUCKET}/photos"))
            .env("ICECORE_CONFIG_DIR", "../config")
            .env("ICECORE_CACHE_DIR", "cache")
            .env("HOME", "home")
            .current_dir(self.folder.join(host))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command that must succeed.
    fn quiet(&self, command: &mut Command) -> Result<Output> {
        let output = command.output()?;
        ensure!(output.status.success(), "{command:?}: {}", told(&output));
        Ok(output)
    }

    /// Takes snapshots of a library that changes between them.
    fn takes(&self, host: &'static str) -> Result<()> {
        let mut random =
            Random(self.args.seed * 1000 + host.len() as u64 + u64::from(host.as_bytes()[0]));
        let mut usual = Duration::from_millis(300);
        let library = self.folder.join(host).join("photos");
        for run in 0.. {
            if !self.is_running() {
                break;
            }
            edit(&library, &mut random)?;
            let state = tree::snapshot_of(&library);
            let tag = format!("{run}");
            let command = self
                .command(host, &["--json", "snapshot", "--host", host, "--tag", &tag, "photos"]);
            let (output, hit) = self.killed(host, command, &mut random, &mut usual)?;
            // A printed snapshot is acknowledged, however the process ends afterwards.
            let Some(id) = snapshot_id(&output) else {
                ensure!(hit, "a snapshot of {host}: {}", told(&output));
                continue;
            };
            if hit {
                self.count(host, |counts| counts.acknowledged_and_hit += 1);
            }
            let taken = Acknowledged { host, run, id, library: state, restored: false };
            lock(&self.acknowledged).push(taken);
        }
        Ok(())
    }

    fn prunes(&self) -> Result<()> {
        let mut random = Random(self.args.seed * 1000 + 7);
        let mut usual = Duration::from_millis(300);
        let keep = self.args.keep.to_string();
        while self.is_running() {
            let mut command =
                self.command("p", &["--json", "prune", "--now", "--keep-last", &keep]);
            // Every second prune also repacks partially live packs. With free prices, that pays at any age.
            if random.below(2) == 0 {
                command.env("ICECORE_IDENTITY", "../identity").args(["--prices", "../prices"]);
            }
            let (output, hit) = self.killed("p", command, &mut random, &mut usual)?;
            ensure!(hit || output.status.success(), "a prune: {}", told(&output));
            let repacked = objects(&output).filter_map(|object| object["packs_repacked"].as_u64());
            self.repacked.fetch_add(repacked.sum(), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Runs a command. Suspends it for some time in one of six runs, and kills it in two of three. Returns whether a
    /// kill hit it.
    fn killed(
        &self,
        host: &'static str,
        mut command: Command,
        random: &mut Random,
        usual: &mut Duration,
    ) -> Result<(Output, bool)> {
        let mut begun = Instant::now();
        let mut child = command.spawn()?;
        if random.below(6) == 0 {
            let asleep = self.freeze(host, &child, random, *usual)?;
            begun += asleep;
        }
        let kill = random.below(3) > 0;
        let mut hit = false;
        if kill {
            // At any moment in a run of the usual length, or just after it.
            let after = usual.mul_f64(random.below(1100) as f64 / 1000.0);
            while child.try_wait()?.is_none() {
                if begun.elapsed() >= after {
                    hit = true;
                    child.kill()?;
                    break;
                }
                thread::sleep(Duration::from_micros(300));
            }
        }
        let output = child.wait_with_output()?;
        // The process may have ended between the check and the kill.
        hit &= output.status.code().is_none();
        if !hit {
            *usual = (*usual * 7 + begun.elapsed()) / 8;
        }
        self.count(host, |counts| {
            counts.runs += 1;
            counts.kills += u64::from(kill);
            counts.hits += u64::from(hit);
        });
        Ok((output, hit))
    }

    /// Suspends a process at some moment of its usual duration, while the others continue. Returns for how long.
    fn freeze(
        &self,
        host: &'static str,
        child: &Child,
        random: &mut Random,
        usual: Duration,
    ) -> Result<Duration> {
        thread::sleep(usual.mul_f64(random.below(900) as f64 / 1000.0));
        let asleep = Duration::from_millis(random.below(self.args.freeze * 1000));
        // The process has not been reaped yet, so its id cannot belong to another one.
        let process = Pid::from_child(child);
        kill_process(process, Signal::STOP)?;
        thread::sleep(asleep);
        kill_process(process, Signal::CONT)?;
        self.count(host, |counts| counts.frozen += 1);
        Ok(asleep)
    }

    /// Restores the last acknowledged snapshot, while all other processes continue.
    fn restores(&self) -> Result<()> {
        while self.is_running() {
            let next = lock(&self.acknowledged).iter().rposition(|taken| !taken.restored);
            let Some(at) = next else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            if !self.restore(at)? {
                self.count("restorer", |counts| counts.dropped_while_restored += 1);
                // Older snapshots have been dropped as well, or soon will be.
                thread::sleep(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    /// Restores a snapshot and compares it with the library at that time. Returns false if the policy has dropped it.
    fn restore(&self, at: usize) -> Result<bool> {
        let (host, run, id, library) = {
            let taken = &mut lock(&self.acknowledged)[at];
            taken.restored = true;
            (taken.host, taken.run, taken.id.clone(), taken.library.clone())
        };
        let target = self.folder.join("restored");
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let from = format!("{id}:photos");
        let output = self.reads(&["restore", &from, "--target", "../restored"]).output()?;
        if output.status.success() {
            let lines = tree::differences(&library, &tree::snapshot_of(&target));
            ensure!(lines.is_empty(), "run {run} of {host} came back changed: {lines:?}");
            return Ok(true);
        }
        let listed = self.listed(host)?;
        let newer = listed.keys().filter(|other| **other > run).count();
        let dropped = !listed.contains_key(&run) && newer >= self.args.keep;
        ensure!(dropped, "run {run} of {host}, snapshot {id}: {}", told(&output));
        lock(&self.acknowledged)[at].restored = false;
        Ok(false)
    }

    fn reads(&self, args: &[&str]) -> Command {
        let mut command = self.command("restorer", args);
        command.env("ICECORE_IDENTITY", "../identity");
        command
    }

    /// Returns the snapshots of a host that are visible, by the runs that took them.
    fn listed(&self, host: &str) -> Result<BTreeMap<u64, String>> {
        let output = self.quiet(&mut self.reads(&["--json", "snapshots", "--host", host]))?;
        let mut listed = BTreeMap::new();
        for object in objects(&output).filter(|object| object["message_type"] == "snapshot") {
            let run = object["tags"][0].as_str().context("a tag")?.parse()?;
            listed.insert(run, object["id"].as_str().context("an id")?.to_owned());
        }
        Ok(listed)
    }

    /// Checks the archive, and that each acknowledged snapshot exists or was dropped by the policy.
    fn end(&self) -> Result<()> {
        self.quiet(&mut self.reads(&["check", "--read-data"]))?;
        let (mut restored, mut dropped, mut unacknowledged) = (0, 0, 0);
        for host in HOSTS {
            let listed = self.listed(host)?;
            let newest = listed.keys().rev().nth(self.args.keep - 1).copied();
            let its: Vec<(usize, u64, String)> = lock(&self.acknowledged)
                .iter()
                .enumerate()
                .filter(|(_, taken)| taken.host == host)
                .map(|(at, taken)| (at, taken.run, taken.id.clone()))
                .collect();
            let known = |run: &u64| its.iter().any(|(_, other, _)| other == run);
            unacknowledged += listed.keys().filter(|run| !known(run)).count();
            for (at, run, id) in &its {
                match listed.get(run) {
                    Some(other) => {
                        ensure!(other == id, "run {run} of {host} is another snapshot");
                        ensure!(self.restore(*at)?, "run {run} of {host} is gone");
                        restored += 1;
                    }
                    None if newest.is_some_and(|newest| newest > *run) => dropped += 1,
                    None => bail!("run {run} of {host}, snapshot {id}, is gone: {listed:?}"),
                }
            }
        }
        for (host, counts) in lock(&self.counts).iter().filter(|(_, counts)| counts.runs > 0) {
            let Counts { runs, kills, hits, acknowledged_and_hit, frozen, .. } = counts;
            println!(
                "{host}: {runs} runs, {kills} kills, {hits} of a running process, \
                 {acknowledged_and_hit} of them after the acknowledgement, {frozen} frozen for a while"
            );
        }
        let all = lock(&self.acknowledged);
        let ever = all.iter().filter(|taken| taken.restored).count();
        println!(
            "{} acknowledged, {ever} of them restored and compared ({restored} at the end), \
             {dropped} dropped by the policy; {unacknowledged} visible that were not acknowledged; \
             {} packs repacked, {} objects at the end",
            all.len(),
            self.repacked.load(Ordering::SeqCst),
            self.server.objects(BUCKET).len(),
        );
        Ok(())
    }

    fn count(&self, host: &'static str, with: impl FnOnce(&mut Counts)) {
        with(lock(&self.counts).entry(host).or_default());
    }
}

/// Adds and removes photos. Both hosts use the same photos, and some of these return.
fn edit(library: &Path, random: &mut Random) -> Result<()> {
    for _ in 0..=random.below(3) {
        let number = random.below(60);
        let folder = library.join(format!("{}", number % 5));
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{number}.jpg"));
        if path.exists() {
            fs::remove_file(path)?;
        } else {
            let bytes = if number.is_multiple_of(3) { 700_000 } else { 20_000 };
            fs::write(path, photos::bytes(number, bytes))?;
        }
    }
    // Content that no other run has.
    fs::write(library.join("notes.xmp"), photos::bytes(random.next(), 3000))?;
    Ok(())
}

fn objects(output: &Output) -> impl Iterator<Item = Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    lines.into_iter()
}

fn snapshot_id(output: &Output) -> Option<String> {
    objects(output)
        .find(|object| object["message_type"] == "summary")
        .and_then(|object| object["snapshot_id"].as_str().map(str::to_owned))
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    format!("{}: {}", output.status, String::from_utf8_lossy(&text))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics here")
}

/// A SplitMix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
