//! Runs snapshots and restores through a network that resets, stalls, cuts and refuses connections, and goes down, at
//! moments that a seed decides. Each command must end with 0, no pack that has arrived may be sent again, and the
//! restore must equal the library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use icecore_benches::library::{self, Spec};
use icecore_benches::size;
use icecore_testkit::{BadNetwork, Outages, S3Server, tree};

#[derive(Parser)]
#[command(about = "Run icecore through outages of the network")]
struct Args {
    #[arg(long, default_value = "target/release/icecore")]
    icecore: PathBuf,
    /// Size of the library that is archived
    #[arg(long, default_value = "1G")]
    size: String,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 20)]
    count: u64,
    /// Faults of a snapshot, and of a restore
    #[arg(long, default_value_t = 12)]
    faults: u32,
    /// The network is away for one to five times as many seconds: 60 is full length
    #[arg(long, default_value_t = 1.0)]
    unit: f64,
}

const BUCKET: &str = "archive";
/// The SQLite database of a generated library.
const CATALOG: &str = "Lightroom/Catalog.lrcat";

struct Scene<'a> {
    args: &'a Args,
    icecore: &'a Path,
    work: &'a Path,
    server: &'a S3Server,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let icecore = args.icecore.canonicalize().context("icecore is not built")?;
    let library = tempfile::tempdir()?;
    let bytes = size::parse(&args.size)?;
    library::generate(&library.path().join("library"), &Spec { seed: 1, bytes })?;
    let mut failed = 0;
    for seed in args.seed..args.seed + args.count {
        let work = tempfile::tempdir()?;
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        let scene = Scene { args: &args, icecore: &icecore, work: work.path(), server: &server };
        match round(&scene, &library.path().join("library"), seed) {
            Ok(line) => println!("seed {seed}: {line}"),
            Err(error) => {
                failed += 1;
                println!("seed {seed}: FAILED: {error:#}");
            }
        }
    }
    println!("{} of {} seeds", args.count - failed, args.count);
    ensure!(failed == 0, "{failed} seeds failed");
    Ok(())
}

fn round(scene: &Scene, library: &Path, seed: u64) -> Result<String> {
    std::fs::write(scene.work.join("password"), "of a bench")?;
    let library = library.to_string_lossy().into_owned();
    let (up, saved) =
        scene.through(seed, &["snapshot", "--init", "--pack-class", "STANDARD", &library])?;
    let puts = scene.server.requests().into_iter().filter(|request| request.method == "PUT");
    let mut packs: Vec<_> = puts.filter(|put| put.path.contains("/packs/")).collect();
    let refused = packs.iter().filter(|put| put.status == 412).count();
    let whole = packs.len();
    packs.sort_by(|a, b| a.path.cmp(&b.path));
    packs.dedup_by(|a, b| a.path == b.path);
    ensure!(refused == 0, "{refused} packs were sent although they had arrived");
    ensure!(whole == packs.len(), "{} packs arrived twice", whole - packs.len());
    let target = scene.work.join("out");
    let (down, restored) = scene
        .through(seed + 1_000_000, &["restore", "latest", "--target", &target.to_string_lossy()])?;
    let inside = target.join(library.trim_start_matches('/'));
    ensure!(catalog(Path::new(&library))? == catalog(&inside)?, "another catalog was restored");
    let [taken, back] = [Path::new(&library), &inside].map(|folder| {
        let mut state = tree::snapshot_of(folder);
        state.remove(CATALOG.as_bytes());
        state
    });
    let differences = tree::differences(&taken, &back);
    ensure!(differences.is_empty(), "restored otherwise: {differences:?}");
    Ok(format!(
        "{whole} packs, snapshot {:.0} s with {up}, restore {:.0} s with {down}",
        saved.as_secs_f64(),
        restored.as_secs_f64()
    ))
}

/// Reads the catalog of a library, and clears its change counters. icecore archives SQLite's copy of a database, in
/// which these differ (spec section 4.6).
fn catalog(library: &Path) -> Result<Vec<u8>> {
    let mut catalog = std::fs::read(library.join(CATALOG))?;
    for field in [24..28, 40..44, 92..100] {
        catalog.get_mut(field).context("the catalog has no header")?.fill(0);
    }
    Ok(catalog)
}

impl Scene<'_> {
    /// Runs a command through a bad network. Returns what happened, and how long it took.
    fn through(&self, seed: u64, command: &[&str]) -> Result<(String, Duration)> {
        let unit = Duration::from_secs_f64(self.args.unit);
        let outages = Outages {
            seed,
            faults_max: self.args.faults,
            bytes_max: 100 << 20,
            unit,
            stall_max: unit * 5,
        };
        let network = BadNetwork::before(&self.server.endpoint(), outages);
        let near = network.endpoint();
        let far = self.server.endpoint();
        let env =
            self.server.env().into_iter().map(|(key, value)| (key, value.replace(&far, &near)));
        let start = Instant::now();
        let mut run = Command::new(self.icecore);
        run.current_dir(self.work)
            .envs(env)
            .env("ICECORE_REPOSITORY", format!("s3://{BUCKET}/photos"))
            .env("ICECORE_CONFIG_DIR", "config")
            .env("ICECORE_CACHE_DIR", "cache")
            .env("ICECORE_PASSWORD_FILE", "password")
            .env("HOME", self.work)
            .args(command);
        if self.args.unit < 60.0 {
            run.env("ICECORE_IDLE_SECONDS", self.args.unit.to_string());
        }
        let ended = run.output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "{}: {}: {said}", command[0], ended.status);
        let happened = network.happened();
        ensure!(happened.len() as u32 * 4 > self.args.faults, "too little happened: {happened:?}");
        let said = said.matches("network is away").count();
        Ok((format!("{} faults, said {said} times", happened.len()), start.elapsed()))
    }
}
